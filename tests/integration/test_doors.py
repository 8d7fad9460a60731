"""What strangers do at the agent's ports: others are served, memory stays bounded, the agent lives."""
import gzip
import http.client
import json
import os
import pathlib
import resource
import select
import socket
import time

import grpc
import pytest

from harness import batch
from harness.http2 import Http2
from harness.processes import wait_until
from harness.rpc import pb


@pytest.fixture
def files():
    """Room for many sockets in the test itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def with_limit(agent, files):
    """Start the agent with so many descriptors, as its hard limit."""
    command = agent.command
    agent.command = lambda *options: ["prlimit", f"--nofile=512:{files}", *command(*options)]
    return agent.start()


def start_measurable(agent):
    """Start the agent without what AddressSanitizer keeps aside of freed memory, which is not the agent's."""
    agent.environment["ASAN_OPTIONS"] = (os.environ.get("ASAN_OPTIONS", "") +
                                         ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64").lstrip(":")
    return agent.start()


def place(agent):
    host, port = agent.address.rsplit(":", 1)
    return host, int(port)


def open_idle(agent, count):
    """Connections that say nothing; those that the agent does not take are refused or wait in its backlog."""
    made = []
    for _ in range(count):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(place(agent))
        made.append(one)
    return made


def test_idle_connections_beyond_all_descriptors(database, make_agent, connect, files):
    agent = with_limit(make_agent(), 1024)
    database.execute("SELECT streamhouse.create_topic('t')")
    before = connect(agent)
    before.produce("t", values=[b"a"])
    idle = open_idle(agent, 1100)
    wait_until("the agent makes room", lambda: agent.metric("streamhouse_rpc_connections_ended_total") > 0)
    assert connect(agent).produce("t", values=[b"b"]).base_offset == 1, "a new client comes in beside them"
    assert before.produce("t", values=[b"c"]).base_offset == 2
    assert agent.http("/ready")[0] == 200
    for one in idle:
        one.close()
    assert [r.value for r in connect(agent).read_all("t")] == [b"a", b"b", b"c"]
    assert agent.metric("streamhouse_rpc_connections") <= 512


def test_silent_connections_are_ended(agent):
    one, = open_idle(agent, 1)
    one.settimeout(30)
    while one.recv(1000):
        pass
    wait_until("the log says why", lambda: "said nothing" in agent.log_text())


def test_an_agent_that_nobody_reaches_gives_its_partitions_up(database, make_agent, connect):
    deaf = make_agent("a1")
    deaf.environment["STREAMHOUSE_FAULTS"] = "rpc.accept=error"
    database.execute("SELECT streamhouse.create_topic('t')")
    deaf.start()
    wait_until("it owns the partition", lambda: database.value("SELECT owner FROM streamhouse.partitions") == "a1")
    wait_until("it says so", lambda: deaf.http("/ready")[0] == 503)
    assert "reach" in deaf.http("/ready")[1]
    other = make_agent("a2").start()
    wait_until("its partition is another's",
               lambda: database.value("SELECT owner FROM streamhouse.partitions") == "a2", 120)
    assert connect(other).produce("t", values=[b"a"]).base_offset == 0
    assert deaf.process.wait(30) == 1


PRODUCE = "/streamhouse.v1.StreamHouse/Produce"
PRODUCE_STREAM = "/streamhouse.v1.StreamHouse/ProduceStream"


@pytest.mark.parametrize("path", [PRODUCE, PRODUCE_STREAM])
@pytest.mark.parametrize("streams", [1, 20])
def test_requests_that_stall_are_bounded(database, make_agent, connect, path, streams):
    """300 MB of messages that lack their ends, over one connection each or many streams of a few."""
    agent = make_agent(memory_budget="64MB")
    start_measurable(agent)
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    client.produce("t", values=[b"first"])
    before = agent.metric("streamhouse_agent_memory_bytes")
    message = b"\0" + (15_500_000).to_bytes(4, "big") + b"\x0a" * 15_000_000
    peak = 0
    slowest = 0
    attackers = []
    for _ in range(20 // streams):
        attacker = Http2(agent.address)
        attackers.append(attacker)
        for _ in range(streams):
            attacker.send(attacker.open(path) if not attacker.closed else 0, message)
            peak = max(peak, agent.metric("streamhouse_agent_memory_bytes"))
            begun = time.monotonic()
            client.produce("t", values=[b"more"])
            slowest = max(slowest, time.monotonic() - begun)
    for attacker in attackers:
        attacker.close()
    assert peak - before < 64e6, "and the attack is ten times as large"
    assert slowest < 5
    assert "sends more than there is memory for" in agent.log_text()


def produce_foldable(client, topic, size):
    """A record of so many zeros, which gzip makes very small."""
    body = b"\0" + batch.varint(0) + batch.varint(0) + batch.varint(-1) + batch.varint(size) + bytes(size) + batch.varint(0)
    records = gzip.compress(batch.varint(len(body)) + body)
    client.produce(topic, batches=batch.batch([b""], codec=1, records=records, timestamp_ms=int(time.time() * 1000)))


def fetch_request(topic):
    request = pb.FetchRequest(decode=True, max_bytes=1000)
    request.partitions.add(topic=topic)
    return request


@pytest.mark.parametrize("method", ["Fetch", "FetchStream"])
def test_answers_that_nobody_takes_make_room(database, make_agent, connect, method):
    """Two strangers ask for 240 MB of records that unfold, and take none of them."""
    agent = make_agent(memory_budget="64MB")
    agent.environment["ASAN_OPTIONS"] = (os.environ.get("ASAN_OPTIONS", "") +
                                         ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64").lstrip(":")
    agent.start()
    client = connect(agent)
    for topic in ("wide", "narrow"):
        database.execute("SELECT streamhouse.create_topic(%s)", (topic,))
    produce_foldable(client, "wide", 6_000_000)
    client.produce("narrow", values=[b"v"])
    before = agent.metric("streamhouse_agent_memory_bytes")
    request = fetch_request("wide").SerializeToString()
    message = b"\0" + len(request).to_bytes(4, "big") + request
    strangers = [Http2(agent.address, source, takes_answers=False) for source in ("127.0.0.2", "127.0.0.3") for _ in range(5)]
    for stranger in strangers:
        for _ in range(4):
            stranger.send_last(stranger.open(f"/streamhouse.v1.StreamHouse/{method}"), message)
    peak = 0
    values = []
    deadline = time.monotonic() + 30
    while not values and time.monotonic() < deadline:
        begun = time.monotonic()
        assert client._Fetch(fetch_request("narrow"), timeout=10).results[0].records[0].value == b"v"
        assert time.monotonic() - begun < 2, "small answers do not wait"
        peak = max(peak, agent.metric("streamhouse_agent_memory_bytes"))
        try:
            answer = (client._Fetch(fetch_request("wide"), timeout=10) if method == "Fetch"
                      else next(client._FetchStream(fetch_request("wide"), timeout=20)))
            values = [len(r.value) for r in answer.results[0].records]
        except grpc.RpcError as refused:
            assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    for stranger in strangers:
        stranger.close()
    assert values == [6_000_000]
    assert peak - before < 100e6


def registry_place(agent):
    host, port = agent.ports["registry"].rsplit(":", 1)
    return host, int(port)


def test_the_registry_serves_beside_connections_that_hang(agent, files):
    hanging = []
    for _ in range(1100):
        one = socket.create_connection(registry_place(agent), timeout=20)
        one.sendall(b"GET /sub")
        hanging.append(one)
    status, body = ask_registry(agent, "GET", "/subjects")
    assert (status, body) == (200, "[]")
    for one in hanging:
        one.close()


def test_slow_uploads_make_room_for_others(agent):
    """Bodies of more than all together may have; the ones that do not end give way to one that does."""
    hanging = []
    for _ in range(9):
        one = socket.create_connection(registry_place(agent), timeout=20)
        one.sendall(b"POST /subjects/slow/versions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
                    b"Content-Type: application/vnd.schemaregistry.v1+json\r\n\r\n" + b" " * 8_900_000)
        hanging.append(one)
    status, _ = ask_registry(agent, "POST", "/subjects/s/versions", " " * 8_900_000)
    assert status == 503 or select.select(hanging, [], [], 0)[0], "there is room for it only where another makes some"
    schema = json.dumps({"schema": json.dumps({"type": "string"})})

    def registered():
        return ask_registry(agent, "POST", "/subjects/s/versions", schema + " " * 4_000_000)[0] == 200
    wait_until("a body of 4 MB is taken", registered, 20)
    for one in hanging:
        one.close()


def post_from(agent, source, body):
    one = socket.socket()
    one.settimeout(20)
    one.bind((source, 0))
    one.connect(registry_place(agent))
    one.sendall(b"POST /subjects/s/versions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n"
                b"Content-Type: application/vnd.schemaregistry.v1+json\r\n\r\n%s" % (len(body), body))
    return one


def test_slow_questions_of_one_address_leave_others_their_turn(database, make_agent, files):
    """More registrations than one address may have waiting; what PostgreSQL is not asked with is not kept of them."""
    agent = start_measurable(make_agent())
    schema = json.dumps({"schema": json.dumps("string")})
    costly = json.dumps({"schema": json.dumps("string"), "x": [{}] * 10_000}).encode()
    assert ask_registry(agent, "POST", "/subjects/s/versions", schema)[0] == 200
    before = agent.metric("streamhouse_agent_memory_bytes")
    holder = database.connect().cursor()
    holder.execute("BEGIN; LOCK TABLE streamhouse.schema_version")
    waiting = [post_from(agent, "127.0.0.2", costly) for _ in range(280)]
    wait_until("one is refused", lambda: select.select(waiting, [], [], 0)[0], 20)
    other = post_from(agent, "127.0.0.3", schema.encode())
    assert post_from(agent, "127.0.0.2", costly).recv(12) == b"HTTP/1.1 503"
    memory = agent.metric("streamhouse_agent_memory_bytes")
    holder.execute("ROLLBACK")
    assert other.recv(12) == b"HTTP/1.1 200"
    assert memory - before < 100e6
    for one in [other, *waiting]:
        one.close()


def test_answers_that_are_not_taken_make_room_for_others(make_agent):
    """Lists of 15 MB, 60 of them, whose clients do not read."""
    agent = start_measurable(make_agent())
    for i in range(4):
        text = json.dumps({"type": "record", "name": f"F{i}", "doc": "x" * 3_900_000, "fields": []})
        assert ask_registry(agent, "POST", f"/subjects/fat{i}/versions", json.dumps({"schema": text}))[0] == 200
    whole = len(ask_registry(agent, "GET", "/schemas")[1])
    before = agent.metric("streamhouse_agent_memory_bytes")
    peak = 0
    hanging = []
    for _ in range(60):
        hanging.append(ask_and_wait(agent, "127.0.0.1", "/schemas"))
        assert ask_registry(agent, "GET", "/schemas/ids/1")[0] == 200
        peak = max(peak, agent.metric("streamhouse_agent_memory_bytes"))
    wait_until("some made room", lambda: "makes room for other answers" in agent.log_text(), 60)
    peak = max(peak, agent.metric("streamhouse_agent_memory_bytes"))
    wait_until("another gets its list", lambda: len(ask_registry(agent, "GET", "/schemas")[1]) == whole, 60)
    peak = max(peak, agent.metric("streamhouse_agent_memory_bytes"))
    for one in hanging:
        one.close()
    assert peak - before < 300e6, "and all of them have three times as much"


def test_many_small_answers_leave_a_large_one_alone(agent):
    """Two addresses hold more than all may in answers of 300 KB: who fetches 3.9 MB from a third gets them."""
    for subject, size in ("fat", 3_900_000), ("slim", 300_000):
        text = json.dumps({"type": "record", "name": subject, "doc": "x" * size, "fields": []})
        assert ask_registry(agent, "POST", f"/subjects/{subject}/versions", json.dumps({"schema": text}))[0] == 200
    whole = len(ask_registry(agent, "GET", "/schemas/ids/1")[1])
    assert ask_registry(agent, "GET", "/schemas/ids/2")[0] == 200  # from memory now: the queue of look-ups refuses nobody
    honest = ask_and_wait(agent, "127.0.0.1", "/schemas/ids/1")
    assert honest.recv(12) == b"HTTP/1.1 200"
    hanging = [ask_and_wait(agent, source, "/schemas/ids/2") for _ in range(125) for source in ("127.0.0.2", "127.0.0.3")]

    def another_makes_room():
        hanging.append(ask_and_wait(agent, "127.0.0.2", "/schemas/ids/2"))  # of equals one goes when it was not taken for a second
        return "makes room for other answers" in agent.log_text()
    wait_until("some made room", another_makes_room, 60)
    taken = 0
    while piece := honest.recv(1 << 20):
        taken += len(piece)
    assert taken > whole
    for one in [honest, *hanging]:
        one.close()


def ask_and_wait(agent, source, path):
    """A connection from an address that asks the registry one thing, the last on it, and takes little of what comes."""
    one = socket.socket()
    one.settimeout(20)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.bind((source, 0))
    one.connect(registry_place(agent))
    one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return one


def test_answers_that_are_not_taken_do_not_fill_the_kernel(agent):
    """A schema of 3.9 MB for each of 16 that do not read: what is sent and not taken stays small."""
    text = json.dumps({"type": "record", "name": "F", "doc": "x" * 3_900_000, "fields": []})
    assert ask_registry(agent, "POST", "/subjects/fat/versions", json.dumps({"schema": text}))[0] == 200
    hanging = [ask_and_wait(agent, "127.0.0.1", "/schemas/ids/1") for _ in range(16)]
    for one in hanging:
        assert one.recv(12) == b"HTTP/1.1 200"
    local = f"{registry_place(agent)[1]:04X}"
    rows = [row.split() for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    unsent = [int(row[4].split(":")[0], 16) for row in rows if row[1].endswith(":" + local)]
    assert 0 < max(unsent) < 300_000
    for one in hanging:
        one.close()


def ask_registry(agent, method, path, body=None):
    connection = http.client.HTTPConnection(*registry_place(agent), timeout=20)
    connection.request(method, path, body, {"Content-Type": "application/vnd.schemaregistry.v1+json"} if body else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text
