"""The `streamhouse` command against a real agent."""
import json
import os
import subprocess

import pytest

from harness.agent import PROGRAM
from harness.processes import ROOT, free_port, run, wait_until

STREAMHOUSE = PROGRAM.with_name("streamhouse")
DATA = ROOT / "examples" / "earthquakes.ndjson"


@pytest.fixture
def sh(agent):
    """Run the command; sh("topic", "list") or sh(..., ok=False) for one that must fail."""
    def call(*arguments, ok=True, stdin=None):
        result = run([STREAMHOUSE, "--server", agent.address, *arguments], input=stdin)
        assert (result.returncode == 0) == ok, result.stderr
        return result.stdout if ok else result.stderr
    return call


def test_topics(sh):
    sh("topic", "create", "orders", "--partitions", "3", "--retention", "7d", "--segment-size", "64MB")
    sh("topic", "create", "other")
    assert {"orders", "other"} <= set(sh("topic", "list").split())
    assert "other" not in sh("topic", "list", "--filter", "ord*")
    described = sh("topic", "describe", "orders")
    for fragment in ("orders", "Partitions: 3", "7 days", "Record count: 0"):
        assert fragment in described
    assert json.loads(sh("topic", "describe", "orders", "--output", "json"))["topic"] == "orders"
    assert "--confirm" in sh("topic", "delete", "orders", ok=False)
    sh("topic", "delete", "orders", "--confirm")
    assert "orders" not in sh("topic", "list").split()


def test_errors_are_one_line(sh):
    for arguments, fragment in [
        (("topic", "describe", "nope"), "nope"),
        (("topic", "delete", "nope", "--confirm"), "nope"),
        (("consume", "nope"), "nope"),
        (("topic", "create", "bad/name"), "bad/name"),
        (("topic", "create", "x", "--partitions", "0"), "0"),
        (("produce", "nope", "--file", "/nowhere"), "/nowhere"),
    ]:
        message = sh(*arguments, ok=False)
        assert len(message.strip().splitlines()) == 1 and fragment in message, message


def test_usage_errors_exit_with_2(agent):
    for arguments in (["frobnicate"], ["topic"], ["consume"], ["produce", "t", "--nope"]):
        result = run([STREAMHOUSE, "--server", agent.address, *arguments])
        assert result.returncode == 2 and result.stderr, arguments


def test_no_agent_there():
    address = f"127.0.0.1:{free_port()}"
    result = run([STREAMHOUSE, "--server", address, "topic", "list"])
    assert result.returncode == 1 and address in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_zone_prefers_its_agents(database, make_agent):
    """Any agent takes records of `object` topics: those of the zone are asked first."""
    agents = {zone: make_agent(zone, zone=zone).start() for zone in ("z1", "z2")}
    database.execute("SELECT streamhouse.create_topic('o', 1, durability => 'object')")
    server = ",".join(a.address for a in agents.values())
    for zone, arguments, environment in (("z2", ["--zone", "z2"], {}), ("z1", [], {"STREAMHOUSE_ZONE": "z1"}),
                                         ("z1", ["--zone=z1"], {"STREAMHOUSE_ZONE": "z2"})):
        before = {z: a.metric("streamhouse_producer_records_total") for z, a in agents.items()}
        result = run([STREAMHOUSE, "--server", server, *arguments, "produce", "o"], input="x\n", env=os.environ | environment)
        assert result.returncode == 0, result.stderr
        risen = [z for z, a in agents.items() if a.metric("streamhouse_producer_records_total") > before[z]]
        assert risen == [zone], arguments
    result = run([STREAMHOUSE, "--zone", "z" * 64, "topic", "list"])
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "--zone" in result.stderr
    # What needs no agent needs no zone.
    result = run([STREAMHOUSE, "wal", "inspect", agents["z1"].directory / "wal"], env=os.environ | {"STREAMHOUSE_ZONE": "z1"})
    assert result.returncode == 0, result.stderr


def test_lines_in_lines_out(sh):
    sh("topic", "create", "t")
    sh("produce", "t", "--key-separator", ":", stdin="a:1\nb:2\na:3\n")
    assert sh("consume", "t", "--from", "earliest", "--output", "value") == "1\n2\n3\n"
    rows = [json.loads(line) for line in sh("consume", "t", "--from", "earliest", "--output", "json").splitlines()]
    assert [(r["offset"], r["key"], r["value"]) for r in rows] == [(0, "a", "1"), (1, "b", "2"), (2, "a", "3")]
    assert sh("consume", "t", "--partition", "0", "--from", "2", "--output", "value") == "3\n"
    assert sh("consume", "t", "--from", "earliest", "--max", "1", "--output", "value") == "1\n"
    assert sh("consume", "t", "--from", "latest", "--output", "value") == ""


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_the_earthquakes_with_every_codec(sh, codec):
    sh("topic", "create", "q", "--partitions", "4")
    sh("produce", "q", "--file", DATA, "--key-json", "net", "--compression", codec)
    read = sh("consume", "q", "--from", "earliest", "--output", "value")
    assert sorted(read.splitlines()) == sorted(DATA.read_text().splitlines())
    rows = [json.loads(line) for line in sh("consume", "q", "--from", "earliest", "--output", "json").splitlines()]
    by_key = {}
    for row in rows:
        assert json.loads(row["value"])["net"] == row["key"]
        by_key.setdefault(row["key"], set()).add(row["partition"])
    assert all(len(partitions) == 1 for partitions in by_key.values()), "a key has one partition"


def test_consume_from_a_time(sh, client):
    from harness.rpc import pb
    sh("topic", "create", "t")
    base = 1_700_000_000_000
    client.produce("t", values=[pb.Record(value=b"%d" % i, timestamp_ms=base + i * 1000) for i in range(5)])
    assert sh("consume", "t", "--from", f"@{base + 2500}", "--output", "value") == "3\n4\n"


def test_follow_sees_new_records(sh, agent, client):
    sh("topic", "create", "t")
    follower = subprocess.Popen([STREAMHOUSE, "--server", agent.address, "consume", "t", "--from", "earliest", "--follow",
                                 "--max", "2", "--output", "value"], stdout=subprocess.PIPE)
    client.produce("t", values=[b"first"])
    client.produce("t", values=[b"second"])
    out, _ = follower.communicate(timeout=30)
    assert out == b"first\nsecond\n" and follower.returncode == 0


def test_the_consumer_follows_a_moved_owner(database, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")
    first = make_agent("a1").start()
    wait_until("a1 owns all", lambda: database.value(
        "SELECT count(*) FROM streamhouse.partitions WHERE owner = 'a1'") == 2)
    follower = subprocess.Popen([STREAMHOUSE, "--server", first.address, "consume", "t", "--from", "earliest", "--follow",
                                 "--max", "4", "--output", "value"], stdout=subprocess.PIPE)
    for partition in (0, 1):
        connect(first).produce("t", partition, values=[b"%d before" % partition])
    second = make_agent("a2").start()
    moved = wait_until("one partition moved", lambda: database.value(
        "SELECT min(partition) + 1 FROM streamhouse.partitions WHERE owner = 'a2'"), 30) - 1
    connect(second).produce("t", moved, values=[b"%d after" % moved])
    connect(first).produce("t", 1 - moved, values=[b"%d after" % (1 - moved)])
    out, _ = follower.communicate(timeout=60)
    lines = out.decode().split("\n")
    for partition in (0, 1):
        assert [l for l in lines if l.startswith(str(partition))] == [f"{partition} before", f"{partition} after"]


def test_bench_prints_json(sh):
    sh("topic", "create", "t")
    for arguments in (("produce", "t", "--records", "2000", "--record-size", "100"), ("consume", "t", "--records", "2000")):
        lines = sh("bench", *arguments).splitlines()
        assert lines and all(json.loads(line) for line in lines)
