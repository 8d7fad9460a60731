"""An agent whose disk has no room for its write-ahead log: it is not ready, does not begin, and gives its partitions to
others, until there is room."""
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.loopdisk import LoopDisk
from harness.processes import free_port, wait_until


@pytest.fixture
def disk(directory):
    disk = LoopDisk(directory / "small", megabytes=48)
    (disk.path / "wal").mkdir()
    yield disk
    disk.close()


def on_disk(disk):
    return {"wal_dir": str(disk.path / "wal"), "wal_file_size": "1MB", "wal_budget": "32MB"}


def test_a_start_waits_for_room(database, make_agent, disk, connect):
    disk.fill()
    agent = make_agent(http_address=f"127.0.0.1:{free_port()}", **on_disk(disk))
    agent.ports["http"] = agent.settings["http_address"]
    agent.start(wait=False)
    wait_until("the log says what the start waits for", lambda: "start_waits for=disk" in agent.log_text())
    status, body = agent.http("/ready")
    assert status == 503 and "waits for room" in body and "No space left on device" in body and str(disk.path) in body, body
    assert database.value("SELECT count(*) FROM streamhouse.agents") == 0
    disk.clear()
    agent.wait_ready()
    wait_until("the agent is ready", lambda: agent.http("/ready")[0] == 200)
    database.execute("SELECT streamhouse.create_topic('t')")
    assert connect(agent).produce("t", values=[b"0"]).base_offset == 0
    disk.fill()
    assert agent.terminate() == 0


def test_partitions_go_while_the_disk_is_full_and_come_back(database, make_agent, disk, connect):
    """A batch needs a larger file than those that there are, and there is no room for one: the partition that it waits
    in stays, the others go. Readers are served all the while."""
    full = make_agent("full", flush_interval="50ms", batch_bytes_max="8MB", message_bytes_max="16MB", **on_disk(disk)).start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 4, max_batch_size => '8MB')")
    client = connect(full, deadline=120)
    other = make_agent("other").start()

    def owners():
        return [o for (o,) in database.execute("SELECT owner FROM streamhouse.partitions ORDER BY owner")]

    wait_until("both have partitions", lambda: owners() == ["full", "full", "other", "other"], 30)
    mine = [p for (p,) in database.execute("SELECT partition FROM streamhouse.partitions WHERE owner = 'full'")]
    for partition in mine:
        assert client.produce("t", partition, values=[b"before"]).base_offset == 0
    disk.fill()
    with ThreadPoolExecutor(1) as threads:
        large = threads.submit(client.produce, "t", mine[0], values=[b"x" * 6_000_000])
        wait_until("the agent is not ready", lambda: full.http("/ready")[0] == 503)
        status, body = full.http("/ready")
        assert status == 503 and "gets no space" in body and "No space left on device" in body, body

        def gone():
            disk.fill()  # what is published makes room, which somebody else takes
            return owners() == ["full", "other", "other", "other"]

        wait_until("others have its partitions", gone, 90)
        assert "disk_full" in full.log_text()
        assert "no room" in database.value("SELECT problem FROM streamhouse.agents WHERE agent_id = 'full' AND state = 'live'")
        assert '"full"' in database.value("SELECT status FROM streamhouse.health WHERE subject = 'agents'")
        assert [r.value for r in client.read_all("t", mine[0])] == [b"before"]
        assert [r.value for r in connect(other).read_all("t", mine[1])] == [b"before"]

        disk.clear()
        assert large.result().base_offset == 1
    wait_until("it is ready again", lambda: full.http("/ready")[0] == 200, 30)
    wait_until("it has its share again", lambda: owners() == ["full", "full", "other", "other"], 30)
    assert "disk_has_room" in full.log_text()
    assert database.value("SELECT is_well FROM streamhouse.health WHERE subject = 'agents'")
    for agent in (full, other):
        assert agent.terminate() == 0
