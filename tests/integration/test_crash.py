"""kill -9: every acknowledged record is there, at its offset, once (G1, G2)."""
import json
import subprocess

from harness.agent import PROGRAM
from harness.processes import ROOT, end, run, wait_until

STREAMHOUSE = PROGRAM.with_name("streamhouse")
DATA = ROOT / "examples" / "earthquakes.ndjson"


def test_kill_during_the_stream_of_earthquakes(database, agent, connect):
    lines = DATA.read_bytes().splitlines()
    database.execute("SELECT streamhouse.create_topic('q', partitions => 4)")
    acks_file = agent.directory / "acks"
    acknowledged = lambda: acks_file.read_text().splitlines() if acks_file.exists() else []

    # An unknown outcome is not repeated (--retry safe), so that nothing may be stored twice.
    producer = subprocess.Popen(
        [STREAMHOUSE, "--server", agent.address, "produce", "q", "--file", DATA, "--key-json", "net", "--rate", "1500",
         "--batch-size", "4kB", "--linger", "2ms", "--retry", "safe", "--acks-file", acks_file], stderr=subprocess.PIPE)
    wait_until("a good part is acknowledged", lambda: len(acknowledged()) > 300, 30)
    agent.kill()
    # The same ports, as a service manager would restart it.
    agent.settings["listen_address"] = agent.ports["grpc"]
    agent.start()
    producer.wait(timeout=120)
    end(producer)

    acks = [tuple(map(int, line.split()[:3])) for line in acknowledged()]
    assert len(acks) > 300
    client = connect(agent)
    stored = {}
    for partition in range(4):
        for record in client.read_all("q", partition):
            assert (partition, record.offset) not in stored, "an offset was given twice"
            stored[partition, record.offset] = record.value
    for line_number, partition, offset in acks:
        assert stored.get((partition, offset)) == lines[line_number - 1], (line_number, partition, offset)
    values = list(stored.values())
    for line_number, _, _ in acks:
        assert values.count(lines[line_number - 1]) == lines.count(lines[line_number - 1]), "stored once"
    # Each partition keeps the order of the file.
    position = {line: i for i, line in enumerate(lines)}
    for partition in range(4):
        order = [position[v] for (p, _), v in sorted(stored.items()) if p == partition]
        assert order == sorted(order)
    wait_until("the rest is published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == len(stored))


def test_restart_publishes_what_the_wal_had_left(database, make_agent, connect):
    agent = make_agent(flush_interval="1h", flush_size="128MB").start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 3)")
    client = connect(agent)
    for i in range(30):
        client.produce("t", i % 3, values=[b"%d" % i])
    assert database.value("SELECT coalesce(sum(records), 0) FROM streamhouse.partitions") == 0
    agent.kill()
    agent.start()
    assert database.value("SELECT sum(records) FROM streamhouse.partitions") == 30
    client = connect(agent)
    for partition in range(3):
        assert [(r.offset, int(r.value)) for r in client.read_all("t", partition)] == [
            (i, partition + 3 * i) for i in range(10)]
        # No hole: nothing can have been lost, so the next record follows the last.
        assert client.produce("t", partition, values=[b"next"]).base_offset == 10
    assert agent.metric("streamhouse_wal_batches_recovered_total") == 30


def test_many_crashes_in_a_row(database, agent, connect):
    database.execute("SELECT streamhouse.create_topic('t')")
    count = 0
    for _ in range(5):
        client = connect(agent)
        for _ in range(20):
            assert client.produce("t", values=[b"%d" % count]).base_offset == count
            count += 1
        agent.kill()
        agent.start()
    assert [int(r.value) for r in connect(agent).read_all("t")] == list(range(count))


def test_crash_between_publish_and_its_reply(database, make_agent, connect):
    """The object is stored and published, the agent dies before it knows: nothing is published twice."""
    agent = make_agent()
    agent.environment["STREAMHOUSE_FAULTS"] = "publish.after=crash"
    agent.start()
    database.execute("SELECT streamhouse.create_topic('t')")
    connect(agent).produce("t", values=[b"once"])
    wait_until("the agent crashed", lambda: agent.process.poll() is not None)
    del agent.environment["STREAMHOUSE_FAULTS"]
    agent.start()
    client = connect(agent)
    assert [r.value for r in client.read_all("t")] == [b"once"]
    assert client.produce("t", values=[b"two"]).base_offset == 1
    assert agent.terminate() == 0
    assert database.value("SELECT sum(records) FROM streamhouse.partitions") == 2


def test_crash_before_the_upload(database, make_agent, connect):
    agent = make_agent()
    agent.environment["STREAMHOUSE_FAULTS"] = "flush.before_upload=crash"
    agent.start()
    database.execute("SELECT streamhouse.create_topic('t')")
    connect(agent).produce("t", values=[b"kept"])
    wait_until("the agent crashed", lambda: agent.process.poll() is not None)
    del agent.environment["STREAMHOUSE_FAULTS"]
    agent.start()
    assert [r.value for r in connect(agent).read_all("t")] == [b"kept"]


def test_a_lost_publish_reply_is_asked_again(database, make_agent, connect):
    agent = make_agent()
    agent.environment["STREAMHOUSE_FAULTS"] = "pg.publish.reply=error:2"
    agent.start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    for i in range(5):
        assert client.produce("t", values=[b"%d" % i]).base_offset == i
    wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == 5)
    assert agent.terminate() == 0
    assert agent.wal_files() == []


def test_postgresql_away_for_a_while(postgres, database, agent, connect):
    """Accepting goes on, publishing resumes by itself (G5)."""
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    client.produce("t", values=[b"0"])
    assert len(client.read_all("t")) == 1  # the agent knows that no earlier epoch is open
    postgres.control("stop", "-m", "immediate")
    try:
        for i in range(1, 20):
            assert client.produce("t", values=[b"%d" % i]).base_offset == i
        assert [int(r.value) for r in client.read_all("t")] == list(range(20))
    finally:
        postgres.control("-w", "start")
    database.reconnect()
    wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == 20, 30)
    assert agent.terminate() == 0


def test_sigterm_leaves_nothing_in_the_wal(database, agent, connect):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 8)")
    client = connect(agent)
    for i in range(40):
        client.produce("t", i % 8, values=[b"x" * 1000])
    assert agent.terminate() == 0
    assert agent.wal_files() == []
    assert database.value("SELECT sum(records) FROM streamhouse.partitions") == 40
    assert database.value("SELECT count(*) FROM streamhouse.epochs WHERE state <> 'sealed'") == 0
