"""A damaged write-ahead log: what the tools tell, a refused start, and a start that goes past the damage."""
import json
import time
import subprocess

from harness.agent import PROGRAM
from harness.processes import PATIENCE, run, wait_until

STREAMHOUSE = PROGRAM.with_name("streamhouse")


def wal(command, agent, *options):
    return run([STREAMHOUSE, "wal", command, agent.directory / "wal", *options])


def values(partition):
    """What was produced to it: 20 batches of one record, 1000 bytes each."""
    return [b"%d-%d" % (partition, i) + b"x" * 1000 for i in range(20)]


def read(client, count):
    """So many records of t/0, whose end may lie in an epoch that is empty yet."""
    records, offset, deadline = [], 0, time.monotonic() + 20 * PATIENCE
    while len(records) < count and time.monotonic() < deadline:
        answer = client.fetch("t", offset=offset, max_wait_ms=500)
        records += answer.records
        offset = answer.next_offset
    return records


def damage(agent, value):
    """Overwrite a value in the log, where it stands."""
    for path in agent.wal_files():
        bytes_ = path.read_bytes()
        at = bytes_.find(value)
        if at > 0:
            with open(path, "r+b") as file:
                file.seek(at)
                file.write(b"!" * 100)
            return path
    raise AssertionError("no such value in the log")


def test_damage_is_refused_told_and_skipped(database, make_agent, connect):
    agent = make_agent(flush_interval="1h", flush_size="128MB", wal_file_size="1MB").start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")
    client = connect(agent)
    for i in range(20):
        for partition in range(2):
            assert client.produce("t", partition, values=[values(partition)[i]]).base_offset == i

    # Beside the running agent: nothing is locked, nothing is changed.
    assert wal("verify", agent).returncode == 0
    told = json.loads(wal("inspect", agent, "--output", "json").stdout)
    assert [(p["partition"], p["ranges"], p["records"]) for p in told["partitions"]] == [
        (p, [{"first": 0, "end": 20}], 20) for p in range(2)]
    assert told["policy"] == "always" and told["incarnation"] == 1 and told["holes"] == []
    agent.kill()
    topic_id, epoch = told["partitions"][0]["topic_id"], told["partitions"][0]["epoch"]
    lines = wal("export", agent, "--topic-id", topic_id, "--partition", "1").stdout.splitlines()
    assert [(r["offset"], r["value"].encode()) for r in map(json.loads, lines)] == list(enumerate(values(1)))
    assert wal("export", agent, "--epoch", str(epoch + 1000)).stdout == ""

    path = damage(agent, values(0)[7])
    verified = wal("verify", agent)
    assert verified.returncode == 1 and path.name in verified.stderr and "position" in verified.stderr
    assert len(verified.stderr.splitlines()) == 1
    told = json.loads(wal("inspect", agent, "--output", "json").stdout)
    assert [hole["file"] for hole in told["holes"]] == [path.name]
    assert told["partitions"][0]["ranges"] == [{"first": 0, "end": 7}, {"first": 8, "end": 20}]
    exported = wal("export", agent)
    assert exported.returncode == 1 and len(exported.stdout.splitlines()) == 39 and path.name in exported.stderr

    before = path.read_bytes()
    status, said = agent.run_to_failure()
    assert status == 1 and path.name in said and "wal_corruption" in said
    assert path.read_bytes() == before
    result = run(agent.command())
    assert f"wal_records_missing topic_id={topic_id} partition=0 epoch={epoch} from=7 to=7" in result.stderr

    agent.settings["wal_corruption"] = "skip"
    agent.start()
    client = connect(agent)
    # Nobody knows how far the log went: the next record comes behind the whole range.
    after = 1 << 28
    for partition in range(2):
        assert client.produce("t", partition, values=[b"next"]).base_offset == after
    rest = [record for record in enumerate(values(0)) if record[0] != 7]
    assert [(r.offset, r.value) for r in client.read_all("t", 0)] == rest + [(after, b"next")]
    assert [(r.offset, r.value) for r in client.read_all("t", 1)] == [*enumerate(values(1)), (after, b"next")]
    assert f"records_lost partition=t/0 epoch={epoch} from=7 to=7" in agent.log_text()
    assert agent.terminate() == 0
    assert database.value("SELECT sum(records) FROM streamhouse.partitions") == 41
    assert agent.wal_files() == []
    assert wal("verify", agent).returncode == 0


def test_damage_is_not_forgotten_by_a_start_that_fails(database, make_agent, connect):
    """All that could be read is published when the start fails; nothing but the identity knows
    that more was there, when an operator has taken the damaged file away."""
    agent = make_agent(flush_interval="1h", flush_size="128MB", wal_file_size="1MB").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    for value in values(0):
        client.produce("t", 0, values=[value])
    assert len(client.read_all("t", 0)) == 20
    agent.kill()
    damage(agent, values(0)[7])
    agent.settings["wal_corruption"] = "skip"
    agent.environment["STREAMHOUSE_FAULTS"] = "recover.before_seal=error"
    status, said = agent.run_to_failure()
    del agent.environment["STREAMHOUSE_FAULTS"]
    assert status == 1 and "recover.before_seal" in said
    for path in agent.wal_files():
        path.unlink()
    agent.start()
    assert "epochs_recovered count=1 lost=possible" in agent.log_text()
    assert connect(agent).produce("t", 0, values=[b"next"]).base_offset == 1 << 28


def test_what_is_left_of_a_forced_seal_keeps_its_hole(database, make_agent, connect):
    """The epoch is over when its damaged log returns: the rest follows as an epoch of its own, without the lost one."""
    agent = make_agent(flush_interval="1h", flush_size="128MB", wal_file_size="1MB").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    for value in values(0):
        client.produce("t", 0, values=[value])
    agent.kill()
    database.execute("UPDATE streamhouse.lease SET ticks_left = 0")
    other = make_agent("a2").start()
    wait_until("a2 owns it", lambda: database.value("SELECT owner FROM streamhouse.partitions") == "a2")
    assert database.value("SELECT streamhouse.force_seal('t', 0)") == 0
    damage(agent, values(0)[7])
    agent.settings["wal_corruption"] = "skip"
    agent.start()
    wait_until("all is counted", lambda: database.value("SELECT records FROM streamhouse.partitions") == 19, 20)
    records = read(connect(other), 19)
    assert [r.value for r in records] == values(0)[:7] + values(0)[8:]
    first = records[0].offset
    assert [r.offset - first for r in records] == [i for i in range(20) if i != 7]


def test_a_torn_tail_is_good(database, make_agent, connect):
    agent = make_agent(flush_interval="1h", wal_file_size="1MB").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    for i in range(5):
        client.produce("t", 0, values=[b"%d" % i + b"x" * 1000])
    agent.kill()
    damage(agent, b"4xxxxxxxx")
    verified = wal("verify", agent)
    assert verified.returncode == 0 and "unfinished" in verified.stdout
    assert [f["state"] for f in json.loads(wal("inspect", agent, "--output", "json").stdout)["files"]][0] == "torn"


def test_misuse(directory):
    for words, said in (
        (["wal", "verify"], "the directory of a write-ahead log is missing"),
        (["wal", "verify", "/nowhere"], "/nowhere is no write-ahead log: name the directory"),
        (["wal", "inspect", directory], "is no write-ahead log"),
        (["wal", "export", "--topic-id", "orders", directory], "is no UUID"),
        (["wal", "export", "--output", "text", directory], "json or batches"),
    ):
        result = run([STREAMHOUSE, *words])
        assert result.returncode in (1, 2) and said in result.stderr, result
