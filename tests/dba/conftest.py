"""Fixtures: a server of one's own for each test, an agent with its store, and what it has acknowledged."""
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.agent import Agent  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.processes import PATIENCE, wait_until  # noqa: E402
from harness.rpc import Client  # noqa: E402
from harness.world import close_all  # noqa: E402


class World:
    """One server with the database `streamhouse`, one agent, and the records that it has acknowledged."""

    def __init__(self, directory):
        self.directory = directory
        self.servers, self.agents, self.clients = [Postgres()], [], []
        self.server = self.servers[0]
        self.database = self.server.database("streamhouse")
        self.set(self.server, "streamhouse.lease_ticks", "5")
        self.acknowledged = {}  # (topic_id, partition, offset): value
        self.number = 0
        (directory / "store").mkdir()

    def set(self, server, name, value):
        """ALTER SYSTEM; a setting of the start needs `restart`."""
        database = server.open("postgres")
        database.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        database.execute("SELECT pg_reload_conf()")
        database.close()

    def agent(self, agent_id="a1", database=None, **settings):
        settings = {"flush_interval": "20ms", "garbage_interval": "100ms", "store_dir": str(self.directory / "store"), **settings}
        agent = Agent(self.directory / agent_id, (database or self.database).conninfo, agent_id, **settings)
        self.agents.append(agent)
        return agent

    def client(self, agent):
        self.clients.append(Client(agent.address))
        return self.clients[-1]

    def produce(self, agent, topic="t", partition=0, count=10):
        topic_id = self.database.value("SELECT topic_id FROM streamhouse.topic WHERE name = %s", topic)
        client = self.client(agent)
        for _ in range(count):
            self.number += 1
            value = b"%d" % self.number
            self.acknowledged[topic_id, partition, client.produce(topic, partition, [value]).base_offset] = value

    def published(self):
        wait_until("everything is published", lambda: self.database.value(
            "SELECT coalesce(sum(records), 0) FROM streamhouse.epochs") >= len(self.acknowledged), 20 * PATIENCE)

    def check(self, agent, database):
        """All that was acknowledged is read at its offset, whatever its topic is called now."""
        client = self.client(agent)
        names = dict(database.execute("SELECT topic_id, name FROM streamhouse.topic"))
        for topic_id, partition in {key[:2] for key in self.acknowledged}:
            expected = {o: v for (t, p, o), v in self.acknowledged.items() if (t, p) == (topic_id, partition)}
            found, offset = {}, 0

            def read():
                nonlocal offset
                answer = client.fetch(names[topic_id], partition=partition, offset=offset, max_wait_ms=200)
                assert not answer.HasField("error"), answer.error
                found.update({r.offset: r.value for r in answer.records})
                offset = answer.next_offset
                return max(expected) in found

            wait_until(f"all of {names[topic_id]}/{partition} is read", read, 30)
            assert {o: found.get(o) for o in expected} == expected

    def settled(self, database, term):
        wait_until(f"term {term} is settled", lambda: (database.value(
            "SELECT status FROM streamhouse.term_status WHERE term = %s", term) or "").startswith("settled"), 30)

    def close(self):
        close_all(self.clients, self.agents, self.servers)


@pytest.fixture
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="sh-dba-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def world(directory):
    made = World(directory)
    yield made
    made.close()


def negative_counts(database):
    """Every count of every view that is below zero: none, ever."""
    found = []
    for view, column in database.execute(
            "SELECT c.oid::regclass::text, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid "
            "WHERE c.relnamespace = 'streamhouse'::regnamespace AND c.relkind = 'v' AND a.attnum > 0 "
            "AND a.atttypid IN ('int'::regtype, 'bigint'::regtype, 'numeric'::regtype)"):
        if database.value(f'SELECT count(*) FROM {view} WHERE "{column}" < 0'):
            found.append((view, column))
    return found
