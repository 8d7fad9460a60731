"""A server that is lost or cloned, agents on one store that outlive it, and what they have acknowledged."""
import time

import grpc

from harness.agent import Agent
from harness.postgres import Postgres
from harness.processes import PATIENCE, wait_until
from harness.rpc import Client
from harness.tcpproxy import TcpProxy


def close_all(clients, agents, servers):
    """Servers are stopped, whatever agents have to say."""
    for client in clients:
        client.close()
    failures = []
    for agent in agents:
        try:
            agent.close()
        except AssertionError as failure:
            failures.append(str(failure))
    for server in servers:
        server.stop()
    assert not failures, "\n".join(failures)


class World:
    """A server behind a proxy, agents on one store, and what they have acknowledged."""

    def __init__(self, directory):
        self.directory = directory
        self.server = Postgres()
        self.database = self.server.database("streamhouse")
        # A lease of a second: so long a term is not settled.
        self.database.execute("ALTER SYSTEM SET streamhouse.lease_ticks = 5")
        self.database.execute("SELECT pg_reload_conf()")
        self.proxy = TcpProxy(f"127.0.0.1:{self.server.port}")
        self.agents, self.clients, self.servers = [], [], [self.server]
        self.acknowledged = {}  # (partition, offset): number
        self.number = 0
        self.published_before = 0

    def agent(self, agent_id, port=None, **settings):
        conninfo = f"host=127.0.0.1 port={port or self.proxy.port} user=postgres dbname=streamhouse connect_timeout=5"
        settings = {"flush_interval": "20ms", "garbage_interval": "100ms", "store_dir": str(self.directory / "store"), **settings}
        (self.directory / "store").mkdir(exist_ok=True)
        agent = Agent(self.directory / agent_id, conninfo, agent_id, **settings)
        self.agents.append(agent)
        return agent.start()

    def client(self, agent):
        self.clients.append(Client(agent.address))
        return self.clients[-1]

    def produce(self, agents, partition=0, count=1):
        """Acknowledged by whoever owns the partition, each number under its first acknowledgement only."""
        deadline = time.monotonic() + 30 * PATIENCE
        clients = [self.client(a) for a in agents]
        for _ in range(count):
            self.number += 1
            while True:
                try:
                    answer = clients[0].produce("t", values=[b"%d" % self.number], partition=partition)
                    break
                except grpc.RpcError as error:
                    # Refused before anything was accepted, or not known: a new number, as the old one may be there.
                    assert error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAVAILABLE,
                                            grpc.StatusCode.CANCELLED), error
                    assert time.monotonic() < deadline, error
                    clients.append(clients.pop(0))
                    self.number += 1
                    time.sleep(0.02)
            self.acknowledged[partition, answer.base_offset] = self.number

    def produce_object(self, agent, *numbers):
        """To the topic `o` of durability `object`: [(offset, number)]"""
        base = self.client(agent).produce("o", values=[b"%d" % n for n in numbers]).base_offset
        return [(base + i, n) for i, n in enumerate(numbers)]

    def read_object(self, agent, count):
        found, offset = [], 0
        client = self.client(agent)
        deadline = time.monotonic() + 30 * PATIENCE
        while len(found) < count and time.monotonic() < deadline:
            answer = client.fetch("o", offset=offset, max_wait_ms=200)
            found += [(r.offset, int(r.value)) for r in answer.records]
            offset = answer.next_offset
        return found

    def check(self, agents, partition=0):
        """All of it is read, once, in order; at the partition's end only its owner has it all."""
        expected = {o: n for (p, o), n in self.acknowledged.items() if p == partition}
        found, offset = {}, 0
        clients = [self.client(a) for a in agents]
        deadline = time.monotonic() + 30 * PATIENCE
        while max(expected) not in found:
            assert time.monotonic() < deadline, f"found {len(found)}, {offset} of {max(expected)}"
            try:
                answer = clients[0].fetch("t", partition=partition, offset=offset, max_wait_ms=500)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
                clients.append(clients.pop(0))
                continue
            assert not answer.HasField("error"), answer.error
            found |= {r.offset: int(r.value) for r in answer.records}
            offset = answer.next_offset
        missing = {o: n for o, n in expected.items() if found.get(o) != n}
        assert not missing, missing
        numbers = [found[o] for o in sorted(found)]
        assert numbers == sorted(set(numbers)), numbers

    def records(self):
        return self.database.value("SELECT coalesce(sum(records), 0) FROM streamhouse.epochs")

    def published(self):
        wait_until("everything is published", lambda: self.records() >= len(self.acknowledged), 20 * PATIENCE)
        self.published_before = self.records()

    def go_on_with(self, server, lost=False):
        """The server in use is gone; this one is reached in its place. It may have lost what was published."""
        self.servers.append(server)
        published = self.published_before
        self.database = server.open("streamhouse")
        assert (self.records() < published) == lost
        self.proxy.target = f"127.0.0.1:{server.port}"

    def backup(self):
        """A copy of the server as it is now; agents do not see it go down."""
        self.proxy.cut()
        self.server.control("-m", "fast", "stop")
        copy = self.server.copy()
        self.server.control("-w", "start")
        self.proxy.heal()
        self.database.reconnect()
        return copy

    def settled(self, term):
        wait_until(f"term {term} is settled", lambda: self.database.value(
            "SELECT settled_at FROM streamhouse.term_status WHERE term = %s", term), 30 * PATIENCE)

    def close(self):
        self.proxy.close()
        close_all(self.clients, self.agents, self.servers)
