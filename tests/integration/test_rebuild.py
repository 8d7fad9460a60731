"""The database is gone: the index is rebuilt from the store alone, and is the one that was lost."""
import pathlib
import shutil
import subprocess
import time

import pytest

from harness.agent import Agent
from harness.batch import batch
from harness.postgres import Postgres
from harness.processes import BUILD, PATIENCE, run, wait_until
from harness.rpc import Client
from harness.s3proxy import S3Proxy
from harness.world import close_all

# What a new term changes: who is at work, what begins next, and versions of what agents cache.
CHANGES = {
    "cluster": ["term", "system_identifier", "timeline", "database_oid", "installation_id", "metadata_version",
                "assignment_version", "placed_agents", "seen_agents"],
    "dropped_topic": ["is_purged"],
    "partition": ["next_offset", "next_epoch", "target_agent"],
    "incarnation": ["state"],
    "epoch": ["state", "orphaned_at", "held_at"],
    "lease": ["incarnation_id", "ticks_left", "silent_ms", "unpublished", "calls", "renewed_at", "updates", "stage"],
    "lease_clock": None, "server_clock": None, "control_change": None, "store_marker": None, "index_snapshot": None, "term": None, "term_awaited": None, "publish_result": None,
}


class World:
    """A server, agents on one store, and what was acknowledged; the server can be lost, and the disks."""

    def __init__(self, directory):
        self.directory = directory
        (directory / "store").mkdir()
        self.servers, self.agents, self.clients = [], [], []
        self.acknowledged = {}
        self.new_server()

    def new_server(self):
        self.servers.append(Postgres())
        self.database = self.servers[-1].database("streamhouse")
        for setting in ("lease_ticks = 5", "marker_interval = '50ms'", "snapshot_interval = '1h'", "garbage_grace = 0",
                        "compaction_delay = 0", "compaction_objects = 2", "retention_interval = '100ms'"):
            self.database.execute(f"ALTER SYSTEM SET streamhouse.{setting}")
        self.database.execute("SELECT pg_reload_conf()")
        wait_until("the settings are in force", lambda: self.database.value("SHOW streamhouse.snapshot_interval") == "1h")

    def agent(self, agent_id, directory=None, **settings):
        agent = Agent(self.directory / (directory or agent_id), self.database.conninfo, agent_id, **{
            "flush_interval": "20ms", "garbage_interval": "50ms", "compaction_rate": "0",
            "store_dir": str(self.directory / "store"), **settings})
        self.agents.append(agent)
        return agent

    def client(self, agent):
        self.clients.append(Client(agent.address))
        return self.clients[-1]

    def produce(self, agent, topic, *values, partition=0, **fields):
        result = self.client(agent).produce(topic, partition, [b"%d" % v for v in values], **fields)
        for i, value in enumerate(values):
            self.acknowledged[topic, partition, result.base_offset + i] = b"%d" % value

    def published(self):
        wait_until("all is published", lambda: self.database.value(
            "SELECT sum(records) FROM streamhouse.epochs") == len(self.acknowledged), 20 * PATIENCE)

    def snapshot(self):
        before = self.database.value("SELECT max(number) FROM streamhouse.snapshot_status") or 0
        self.database.execute("SELECT streamhouse.request_snapshot()")
        wait_until("a snapshot is written", lambda: self.database.value(
            "SELECT number > %s AND status = 'done' FROM streamhouse.snapshot_status", before), 20 * PATIENCE)

    def rebuild(self, agent):
        result = run(agent.command("--rebuild"))
        return result.returncode, result.stdout.splitlines(), result.stderr.strip()

    def tables(self):
        """{table: rows as text}, but for what a new term changes."""
        found = {}
        for name, columns in self.database.execute(
                "SELECT name, columns FROM streamhouse.snapshot_tables() WHERE kind = 'table'"):
            table = name.split(".")[1]
            changes = CHANGES.get(table, [])
            if changes is None:
                continue
            kept = ", ".join(c for c in columns.split(",") if c not in changes)
            below = " WHERE epoch < 2::bigint << 40" if "epoch" in columns.split(",") else ""
            found[table] = sorted(str(row) for row in self.database.execute(f"SELECT {kept} FROM {name}{below}"))
        return found

    def segments(self):
        return sorted(self.database.execute(
            "SELECT topic, partition, first_offset, last_offset, records, bytes, object_key, position FROM streamhouse.segments"))

    def check(self, agent):
        """Everything is there, once, at its offset."""
        for topic, partition in sorted({(t, p) for t, p, _ in self.acknowledged}):
            expected = {o: v for (t, p, o), v in self.acknowledged.items() if (t, p) == (topic, partition)}
            client, found, offset = self.client(agent), [], 0
            deadline = time.monotonic() + 20 * PATIENCE
            while len(found) < len(expected) and time.monotonic() < deadline:
                answer = client.fetch(topic, partition, offset, max_wait_ms=200)
                assert not answer.HasField("error"), answer.error
                found += [(r.offset, r.value) for r in answer.records]
                offset = answer.next_offset
            assert found == sorted(expected.items()), (topic, partition, offset)
            assert not client.fetch(topic, partition, offset).records
        for topic in sorted({t for t, _, _ in self.acknowledged}):
            self.check_consume(agent, topic)

    def check_consume(self, agent, topic):
        """The command gets to the end, over the holes that terms and forced ends have left."""
        consumed = subprocess.run([BUILD / "streamhouse", "--server", agent.address, "consume", topic, "--output", "value"],
                                  capture_output=True, text=True, timeout=60 * PATIENCE, check=True)
        expected = sorted(v.decode() for (t, _, _), v in self.acknowledged.items() if t == topic)
        assert sorted(consumed.stdout.splitlines()) == expected

    def settled(self):
        wait_until("the term is settled", lambda: self.database.value(
            "SELECT bool_and(status = 'settled') FROM streamhouse.term_status"), 30 * PATIENCE)

    def close(self):
        close_all(self.clients, self.agents, self.servers)


@pytest.fixture
def world(directory):
    world = World(directory)
    yield world
    world.close()


def fill(world, agent):
    for name, durability in (("w", "wal"), ("o", "object")):
        world.database.execute("SELECT streamhouse.create_topic(%s, partitions => 2, durability => %s, retention => '9 days')",
                               name, durability)
    for i in range(4):
        world.produce(agent, "w", 10 * i, 10 * i + 1, partition=i % 2)
        world.produce(agent, "o", 10 * i + 2, partition=i % 2)
        world.published()


def test_another_ones_404_is_no_absence(world, s3):
    """A proxy between the agent and the store says 404 of its own: nothing is taken for missing, neither a part of the
    newest snapshot nor an object that is to be presented."""
    proxy = S3Proxy(s3["s3_endpoint"])
    settings = {**s3, "s3_endpoint": proxy.endpoint, "s3_prefix": world.directory.name + "/", "s3_retries_max": "4",
                "breaker_failures_max": "100", "breaker_failure_percent": "100"}
    try:
        a1 = world.agent("a1", **settings).start()
        fill(world, a1)
        world.snapshot()
        world.snapshot()
        newest = world.database.value("SELECT max(number) FROM streamhouse.snapshot_status")
        for i in range(5):
            world.produce(a1, "w", 500 + i)
            world.published()
        assert a1.terminate() == 0
        segments = world.segments()

        world.new_server()
        a2 = world.agent("a2", **settings)
        proxy.fault("get", "page_404", 3)
        status, lines, error = world.rebuild(a2)
        assert (status, error.count("s3_retry")) == (0, 3), error
        assert len(lines) == 1 and lines[0].startswith(f"rebuilt snapshot={newest} ")
        proxy.fault("get", "page_404", 12)
        proxy.fault("list", "slow_down", 8, share=0.9)  # longer than one request is tried
        a2.start()
        wait_until("the agent has presented", lambda: world.segments() == segments, 20 * PATIENCE)
        assert proxy.count("get", "page_404") == 15
        assert world.database.value("SELECT unresolved FROM streamhouse.term_status") == 0
    finally:
        proxy.close()


def send_idempotent(world, agent, producer, sequence, value):
    client = world.client(agent)
    stored = client.produce("w", batches=batch([value], producer_id=producer.producer_id, producer_epoch=producer.producer_epoch,
                                               base_sequence=sequence), first_unacked_seq=sequence)
    client.confirm("w", 0, producer.producer_id, producer.producer_epoch, sequence + 1)
    return stored.base_offset


def test_the_index_is_the_one_that_was_lost(world):
    a1 = world.agent("a1").start()
    fill(world, a1)
    world.database.execute("SELECT streamhouse.create_topic('gone')")
    world.database.execute("SELECT streamhouse.drop_topic('gone')")
    producer = world.client(a1).init_producer()
    first = send_idempotent(world, a1, producer, 0, b"first")
    world.acknowledged["w", 0, first] = b"first"
    world.published()
    world.snapshot()
    a1.kill()
    before, segments = world.tables(), world.segments()

    world.new_server()
    a1.settings["postgres"] = world.database.conninfo
    status, lines, error = world.rebuild(a1)
    assert (status, error) == (0, "")
    assert lines[-1].startswith("rebuilt snapshot=") and lines[-1].endswith("term=2")
    assert world.tables() == before
    assert world.segments() == segments
    assert world.rebuild(a1)[::2] == (1, f"streamhouse-agent: this database is in use: it knows 2 topics, 1 starts of agents and "
                                         f"{len(before['object'])} objects. Rebuild into a database where the extension was just "
                                         "created.")

    a1.start()
    world.settled()
    world.check(a1)
    assert send_idempotent(world, a1, producer, 0, b"first") == first
    world.produce(a1, "w", 1000)
    world.produce(a1, "o", 1001)
    world.check(a1)
    world.snapshot()


def test_a_term_of_which_the_store_has_no_records_is_not_begun_again(world):
    """What was acknowledged in it is in the log of an agent that is down."""
    a1 = world.agent("a1").start()
    fill(world, a1)
    world.snapshot()
    a1.terminate()
    world.database.execute("SELECT streamhouse.new_term()")
    a1.settings["flush_interval"] = "1min"
    a1.start()
    world.produce(a1, "w", 500)
    a1.kill()

    world.new_server()
    a1.settings.update(postgres=world.database.conninfo, flush_interval="20ms")
    a2 = world.agent("a2")
    lines = world.rebuild(a2)[1]
    assert lines[-1].startswith("rebuilt snapshot=") and lines[-1].endswith("term=3")
    a2.start()
    world.produce(a2, "w", 501)
    a1.start()
    world.settled()
    assert a2.terminate() == 0
    wait_until("a1 has them all", lambda: world.database.value(
        "SELECT bool_and(owner = 'a1' AND status = 'ok') FROM streamhouse.partitions WHERE topic = 'w'"), 20 * PATIENCE)
    world.check(a1)


def test_what_came_after_the_snapshot_is_found_in_the_store(world):
    """Agents' disks are lost with the database: what was published comes back, all of it, and nothing twice."""
    a1 = world.agent("a1").start()
    fill(world, a1)
    world.snapshot()
    world.produce(a1, "w", 500)
    world.produce(a1, "o", 501)
    world.produce(a1, "o", 502, partition=1)
    producer = world.client(a1).init_producer()
    late = send_idempotent(world, a1, producer, 0, b"late")
    world.acknowledged["w", 0, late] = b"late"
    world.published()
    assert a1.terminate() == 0  # its last results are in the store
    segments = world.segments()

    world.new_server()
    a2 = world.agent("a2")
    assert world.rebuild(a2)[0] == 0
    assert world.segments() != segments
    a2.start()
    wait_until("the agent has presented", lambda: world.segments() == segments, 20 * PATIENCE)
    assert world.database.value("SELECT unresolved FROM streamhouse.term_status") == 0
    # Nobody can know whether a1 comes back: an operator says that it does not.
    for topic, partition, epoch in world.database.execute(
            "SELECT topic, partition, epoch FROM streamhouse.orphans WHERE agent_id = 'a1'"):
        world.database.execute("SELECT streamhouse.force_seal(%s, %s, %s)", topic, partition, epoch)
    world.database.execute("SELECT streamhouse.accept_term_boundary(allow_deletion => true)")
    world.check(a2)
    assert send_idempotent(world, a2, producer, 0, b"late") == late
    world.produce(a2, "w", 503)
    world.check(a2)
    world.snapshot()


def test_a_damaged_snapshot_is_passed_over(world):
    empty = world.agent("empty", store_dir=str(world.directory / "empty"))
    status, _, error = world.rebuild(empty)
    assert status == 1 and "holds no snapshot of the index" in error
    a1 = world.agent("a1").start()
    status, _, error = world.rebuild(empty)
    assert status == 1 and "is not the cluster's store" in error
    fill(world, a1)
    world.snapshot()
    world.snapshot()
    snapshots = world.directory / "store" / "snapshot"
    wait_until("the last two are kept", lambda: len([p for p in snapshots.iterdir() if list(p.iterdir())]) == 2, 20 * PATIENCE)
    a1.kill()
    kept = sorted(p for p in snapshots.iterdir() if list(p.iterdir()))
    part = next(p for p in kept[1].iterdir() if p.suffix == ".part")
    damaged = bytearray(part.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    part.write_bytes(damaged)

    world.new_server()
    a1.settings["postgres"] = world.database.conninfo
    status, lines, error = world.rebuild(a1)
    assert (status, error) == (0, "")
    assert lines[0].startswith(f"damaged snapshot={int(kept[1].name)} reason=\"snapshot/") and "checksum" in lines[0]
    assert lines[1].startswith(f"rebuilt snapshot={int(kept[0].name)} ")
    number = (world.directory / "store" / "store" / "identity").read_text().split()[-1]
    assert world.database.value("SELECT store_id::text FROM streamhouse.cluster") == number
    a1.start()
    world.settled()
    world.check(a1)
    # The damaged one's number is taken; the next one is written all the same, and the damaged one goes in time.
    world.snapshot()
    world.snapshot()
    world.snapshot()
    wait_until("the damaged one is deleted", lambda: not part.exists(), 20 * PATIENCE)

    world.new_server()
    shutil.rmtree(kept[0], ignore_errors=True)
    for manifest in snapshots.glob("*/manifest"):
        manifest.write_bytes(b"streamhouse snapshot 1\nend 00000000\n")
    a1.settings["postgres"] = world.database.conninfo
    status, lines, error = world.rebuild(a1)
    assert status == 1 and "snapshots in the store is whole: nothing was changed" in error
    assert world.database.value("SELECT count(*) FROM streamhouse.topics") == 0


def test_garbage_waits_for_two_snapshots(world):
    """Compaction replaces objects; those that a rebuild from the last snapshot but one needs stay."""
    a1 = world.agent("a1").start()
    fill(world, a1)
    world.snapshot()
    world.snapshot()
    store = pathlib.Path(world.directory / "store")
    before = set(store.glob("??/**/*.seg"))
    assert a1.terminate() == 0
    a1.settings |= {"compaction_rate": "100MB", "compaction_interval": "50ms"}
    a1.start()
    wait_until("objects are compacted", lambda: world.database.value(
        "SELECT count(*) FROM streamhouse.garbage WHERE state = 'waits for a snapshot'") > 0, 20 * PATIENCE)
    world.snapshot()
    assert before <= set(store.glob("??/**/*.seg"))
    world.snapshot()
    world.snapshot()
    wait_until("garbage is deleted", lambda: not before <= set(store.glob("??/**/*.seg")), 20 * PATIENCE)
    world.check(a1)


def test_snapshots_that_fail_are_seen_and_hold_up_deletion_for_a_bounded_time(world):
    """The kept ones are given up then, and what is garbage goes; the next one that can be written makes all well."""
    a1 = world.agent("a1").start()
    fill(world, a1)
    world.snapshot()
    world.snapshot()
    assert a1.terminate() == 0
    store, snapshots = pathlib.Path(world.directory / "store"), pathlib.Path(world.directory / "store" / "snapshot")
    a1.environment["STREAMHOUSE_FAULTS"] = "snapshot.put=error"
    a1.start()
    world.database.execute("SELECT streamhouse.request_snapshot()")
    wait_until("one has failed", lambda: world.database.value("SELECT failure FROM streamhouse.snapshot_status") is not None,
               40 * PATIENCE)
    wait_until("the view says so", lambda: world.database.value(  # an agent that began a moment ago still makes its marker
        "SELECT status FROM streamhouse.snapshot_status") == "fails", 40 * PATIENCE)
    assert "snapshot.put" in world.database.value("SELECT failure FROM streamhouse.snapshot_status")
    assert " snapshot_failed " in a1.log_text()
    assert a1.metric("streamhouse_snapshot_failures_total") >= 1
    kept = set(snapshots.rglob("*.part"))
    assert len(kept) == 2, "the parts of the last two, and nothing of the one that failed"

    before = set(store.glob("??/**/*.seg"))
    world.database.execute("SELECT streamhouse.delete_records(topic, partition, -1) FROM streamhouse.partitions")
    wait_until("there is garbage", lambda: world.database.value(
        "SELECT count(*) FROM streamhouse.garbage WHERE state = 'waits for a snapshot'") > 0, 20 * PATIENCE)
    assert before <= set(store.glob("??/**/*.seg"))
    world.database.execute("ALTER SYSTEM SET streamhouse.snapshot_hold = '1s'")
    world.database.execute("SELECT pg_reload_conf()")
    wait_until("garbage is deleted", lambda: not before & set(store.glob("??/**/*.seg")), 40 * PATIENCE)
    assert not list(snapshots.rglob("*.part")) and not list(snapshots.rglob("manifest"))
    assert " snapshots_given_up " in a1.log_text()
    assert world.database.value("SELECT status FROM streamhouse.health WHERE subject = 'snapshots'").startswith(
        "the store holds no snapshot of the index since ")

    assert a1.terminate() == 0
    del a1.environment["STREAMHOUSE_FAULTS"]
    a1.start()
    wait_until("a snapshot is written", lambda: world.database.value(
        "SELECT status = 'done' FROM streamhouse.snapshot_status"), 40 * PATIENCE)
    assert world.database.value("SELECT is_well FROM streamhouse.health WHERE subject = 'snapshots'")
    assert list(snapshots.rglob("manifest"))
