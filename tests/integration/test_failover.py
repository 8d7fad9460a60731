"""An agent is gone: another takes over, and what its WAL still holds comes late, once, in its place."""
import collections
import os
import signal
import subprocess
import threading
import time

import grpc
import pytest

from harness.agent import Agent
from harness.processes import BUILD, PATIENCE, wait_until
from harness.rpc import Client, error_of, partition_error, pb
from harness.tcpproxy import TcpProxy

RANGE = 1 << 28


@pytest.fixture
def pair(database, make_agent):
    """a1 owns t/0 and does not publish by itself; a2 waits with nothing."""
    first = make_agent("a1", flush_interval="1h").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    wait_until("a1 owns it", lambda: owner(database) == "a1")
    return first, make_agent("a2").start()


def owner(database):
    return database.value("SELECT owner FROM streamhouse.partitions WHERE topic = 't'")


def expire(database, agent_id):
    """As the lease worker does when an agent has been silent long enough, until another has taken over. A renewal may
    have been under way when the agent was stopped: it is seen, as a tick sees it, before the lease ends again."""
    def place():
        if database.value("SELECT streamhouse.agents_changed()"):
            database.execute("SELECT streamhouse.rebalance()")

    def is_taken():
        place()
        database.execute("UPDATE streamhouse.lease SET ticks_left = 0 WHERE ticks_left > 0 AND incarnation_id = "
                         "(SELECT incarnation_id FROM streamhouse.agents WHERE agent_id = %s)", agent_id)
        place()
        return owner(database) != agent_id
    wait_until(f"another agent has taken over from {agent_id}", is_taken)


def epochs(database):
    return database.execute("SELECT state, agent_id, start_offset, end_offset, forced FROM streamhouse.epochs "
                            "WHERE topic = 't' ORDER BY epoch")


def produce(client, *numbers):
    """[(offset, number)]"""
    base = client.produce("t", values=[b"%d" % n for n in numbers]).base_offset
    return [(base + i, n) for i, n in enumerate(numbers)]


def produce_once(client, number):
    """As produce, but a refusal is one at once."""
    part = pb.ProducePartition(topic="t", records=[pb.Record(value=b"%d" % number)])
    answer = client._Produce(pb.ProduceRequest(partitions=[part]), timeout=client.deadline)
    return [(answer.results[0].base_offset, number)]


def produce_when_owned(client, *numbers):
    """Refusals of an agent that does not own the partition yet are no failure."""
    deadline = time.monotonic() + 20 * PATIENCE
    while True:
        try:
            return produce(client, *numbers)
        except grpc.RpcError as error:
            refused = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNAVAILABLE)
            if error.code() not in refused or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def read(client, count, offset=0):
    """[(offset, number)] of `count` records, waiting for them at gaps."""
    found = []
    deadline = time.monotonic() + 30 * PATIENCE
    while len(found) < count:
        answer = client.fetch("t", offset=offset, max_wait_ms=500)
        assert not answer.HasField("error"), answer.error
        found += [(r.offset, int(r.value)) for r in answer.records]
        offset = answer.next_offset
        assert time.monotonic() < deadline, f"found only {found}"
    return found


def test_takeover_then_the_late_records_come_in_their_place(database, pair, connect):
    first, second = pair
    heir = connect(second)
    sent = produce(connect(first), 0, 1, 2)
    first.kill()
    expire(database, "a1")
    sent += produce_when_owned(heir, 3, 4)
    assert sent[-2:] == [(RANGE, 3), (RANGE + 1, 4)]
    wait_until("published", lambda: database.value("SELECT records FROM streamhouse.partitions") == 2)

    # Readers wait at the gap, though the records above it are published.
    waited = heir.fetch("t", max_wait_ms=300)
    assert not waited.records and waited.high_watermark == 0 and not waited.HasField("error")
    assert not heir.fetch("t", offset=RANGE, max_wait_ms=300).records
    assert heir.offset_at("t", -1).offset == 0
    assert database.execute("SELECT partition, agent_id, agent_state, published_end FROM streamhouse.orphans") \
        == [(0, "a1", "gone", 0)]

    found = []
    reader = threading.Thread(target=lambda: found.extend(read(heir, 5)))
    reader.start()
    first.start()
    reader.join(30 * PATIENCE)
    assert found == sent
    assert epochs(database)[0] == ("sealed", "a1", 0, 3, False)
    assert database.execute("SELECT records, status FROM streamhouse.partitions") == [(5, "ok")]
    wait_until("a1's WAL is empty", lambda: database.value(
        "SELECT count(*) FROM streamhouse.orphans") == 0)


def test_reading_reaches_an_end_above_a_hole_with_nothing_behind_it(database, pair, connect):
    first, second = pair
    sent = produce(connect(first), 0, 1, 2)
    first.kill()
    expire(database, "a1")
    heir = connect(second)
    wait_until("a2 owns it", lambda: owner(database) == "a2")
    first.start()
    wait_until("its records came", lambda: epochs(database)[0] == ("sealed", "a1", 0, 3, False))
    wait_until("the heir knows", lambda: heir.fetch("t", offset=3, max_wait_ms=100).high_watermark == RANGE)
    assert read(heir, 3) == sent
    assert heir.fetch("t", offset=3, max_wait_ms=100).next_offset == RANGE
    assert heir.fetch("t", offset=1000, max_wait_ms=100).next_offset == RANGE


def consume(agent, *arguments):
    return subprocess.Popen([BUILD / "streamhouse", "--server", agent.address, "consume", "t", "--output", "value",
                             *arguments], stdout=subprocess.PIPE, text=True)


def test_readers_of_an_idle_partition_are_led_over_the_hole_of_a_takeover(database, pair, connect):
    """The owner was gone before it wrote a word in the new epoch: nothing comes that would lead readers to the end."""
    first, second = pair
    produce(connect(first), 0, 1)
    follower = consume(second, "--follow", "--max", "3")
    request = pb.FetchRequest(max_wait_ms=20000, decode=True)
    request.partitions.add(topic="t", offset=2)
    first.kill()
    expire(database, "a1")
    first.start()
    wait_until("its records came", lambda: epochs(database)[0] == ("sealed", "a1", 0, 2, False))
    heir = connect(second)
    wait_until("the heir knows", lambda: heir.offset_at("t", -1).offset == RANGE)

    stream = heir.fetch_stream(request)
    result = next(stream).results[0]
    assert not result.records and result.next_offset == result.high_watermark == RANGE
    for start in ("earliest", "2", "1000", "latest"):
        ended = consume(second, "--from", start)
        assert ended.communicate(timeout=20 * PATIENCE)[0] == ("0\n1\n" if start == "earliest" else "")
        assert ended.returncode == 0
    assert produce_when_owned(heir, 2) == [(RANGE, 2)]
    result = next(stream).results[0]
    assert [r.value for r in result.records] == [b"2"] and result.next_offset == RANGE + 1
    stream.cancel()
    assert follower.communicate(timeout=20 * PATIENCE)[0] == "0\n1\n2\n" and follower.returncode == 0
    ended = consume(second)
    assert ended.communicate(timeout=20 * PATIENCE)[0] == "0\n1\n2\n"


def test_failover_is_done_a_second_after_the_lease(postgres, directory, connect):
    """With the real lease worker: ticks of 200 ms, 10 of them."""
    database = postgres.database("streamhouse")
    (directory / "store").mkdir()
    agents = [Agent(directory / name, database.conninfo, name, store_dir=str(directory / "store"))
              for name in ("a1", "a2")]
    try:
        agents[0].start()
        database.execute("SELECT streamhouse.create_topic('t')")
        wait_until("a1 owns it", lambda: owner(database) == "a1")
        agents[1].start()
        wait_until("the worker ticks", lambda: database.value(
            "SELECT min(ticks_left) < 10 FROM streamhouse.leases"))
        heir = connect(agents[1])
        agents[0].kill()
        killed = time.monotonic()
        produce_when_owned(heir, 1)
        took = time.monotonic() - killed
        print(f"failover took {took:.2f} s of the lease's 2 s and one")
        assert took < 3 * PATIENCE
    finally:
        for agent in agents:
            agent.close()
        database.close()


def test_an_agent_that_was_stopped_refuses_publishes_late_and_loses_nothing(database, pair, connect):
    first, second = pair
    zombie, heir = connect(first), connect(second)
    sent = produce(zombie, 0, 1)
    os.kill(first.process.pid, signal.SIGSTOP)
    expire(database, "a1")
    sent += produce_when_owned(heir, 2)
    os.kill(first.process.pid, signal.SIGCONT)
    wait_until("a1 knows", lambda: "partition_taken_over" in first.log_text())
    error = error_of(lambda: produce(zombie, 99))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert partition_error(error).owner.agent_id in ("a1", "a2")
    assert read(heir, 3) == sent
    assert epochs(database)[0] == ("sealed", "a1", 0, 2, False)


@pytest.mark.parametrize("returns", ["restarted", "continued"])
def test_leftovers_of_a_forced_seal_follow_as_an_epoch_of_their_own(database, pair, connect, returns):
    first, second = pair
    heir = connect(second)
    lost = produce(connect(first), 0, 1) + produce(connect(first), 2)
    os.kill(first.process.pid, signal.SIGSTOP)
    expire(database, "a1")
    sent = produce_when_owned(heir, 3)
    assert database.value("SELECT streamhouse.force_seal('t', 0)") == 0
    assert read(heir, 1) == sent
    if returns == "restarted":
        first.kill()
        first.start()
    else:
        os.kill(first.process.pid, signal.SIGCONT)
    found = read(heir, 4)
    assert found[0] == sent[0]
    assert [n for _, n in found[1:]] == [n for _, n in lost]
    assert [o for o, _ in found[1:]] == [2 * RANGE, 2 * RANGE + 1, 2 * RANGE + 2]
    # Its owner rolls over the leftovers: for a moment nobody owns it.
    wait_until("the range above the leftovers is owned", lambda: database.value(
        "SELECT epoch_state = 'open' AND owner IS NOT NULL FROM streamhouse.partitions WHERE topic = 't'"))
    later = produce_when_owned(connect(second if owner(database) == "a2" else first), 4)
    assert later[0][0] == 3 * RANGE
    reader = connect(first if owner(database) == "a1" else second)
    assert read(reader, 5) == found + later
    # The owner's memory holds what stands before the leftovers and behind them.
    assert read(reader, 5, offset=RANGE) == found + later
    assert read(reader, 4, offset=RANGE + 1) == found[1:] + later
    assert [(s, e, f) for s, _, _, e, f in epochs(database)[:3]] == [
        ("sealed", 0, True), ("sealed", RANGE + 1, False), ("sealed", 2 * RANGE + 3, False)]
    assert database.value("SELECT records FROM streamhouse.partitions") in (4, 5)
    assert not database.execute("SELECT * FROM streamhouse.orphans")


def test_an_agent_cut_off_from_postgresql_stops_before_its_orphan_timeout(postgres, database, make_agent, connect):
    """Nothing passes between a1 and the server, on old connections and on new ones."""
    proxy = TcpProxy(f"127.0.0.1:{postgres.port}")
    first = make_agent("a1", flush_interval="1h", postgres=database.conninfo + f" host=127.0.0.1 port={proxy.port}").start()
    database.execute("SELECT streamhouse.create_topic('t', orphan_timeout => '2 seconds')")
    wait_until("a1 owns it", lambda: owner(database) == "a1")
    second = make_agent("a2").start()
    cut_off, heir = connect(first), connect(second)
    wait_until("a1 was told", lambda: database.value("SELECT orphan_timeout FROM streamhouse.epoch") is not None)
    sent = produce(cut_off, 0)
    proxy.silence()
    try:
        started = time.monotonic()
        error = None
        while error is None:
            try:
                sent += produce_once(cut_off, len(sent))
            except grpc.RpcError as failed:
                error = failed
            assert time.monotonic() < started + 10 * PATIENCE, "a1 goes on acknowledging"
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert "orphan_timeout" in error.details()
        assert len(sent) > 1, "a1 went on for a while"
        database.execute("UPDATE streamhouse.lease SET ticks_left = 0, silent_ms = 3000 WHERE incarnation_id = "
                         "(SELECT incarnation_id FROM streamhouse.agents WHERE agent_id = 'a1')")
        assert database.value("SELECT streamhouse.orphan_tick()") == 1
        expire(database, "a1")
        later = produce_when_owned(heir, 1000)
        assert read(heir, 1) == later
        proxy.heal()
        found = read(connect(second), 1 + len(sent))
        numbers = [n for _, n in found[1:]]
        # What a1 could not tell about any more may be there too.
        assert found[0] == later[0] and numbers[:len(sent)] == [n for _, n in sent] and len(numbers) <= len(sent) + 1
    finally:
        proxy.close()


def test_drain_and_rolling_restart_lose_and_double_nothing(database, make_agent, tmp_path):
    """The command writes on while each agent is drained, restarted and given its share again."""
    database.execute("SELECT streamhouse.create_topic('t', partitions => 4)")
    agents = [make_agent("a1").start()]
    wait_until("a1 owns all", lambda: shares(database) == {"a1": 4})
    agents.append(make_agent("a2").start())
    wait_until("both own their share", lambda: shares(database) == {"a1": 2, "a2": 2})
    with open(tmp_path / "errors", "wb") as errors:
        process = subprocess.Popen([BUILD / "streamhouse", "--server", ",".join(a.address for a in agents), "produce", "t"],
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors)
    sent = 0

    def write_until(what, condition):
        nonlocal sent
        def step():
            nonlocal sent
            process.stdin.write(b"".join(b"%d\n" % n for n in range(sent, sent + 20)))
            process.stdin.flush()
            sent += 20
            return condition()
        wait_until(what, step, 30)

    write_until("records flow", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") > 100)
    for agent, other in (agents, agents[::-1]):
        database.execute("SELECT streamhouse.drain_agent(%s)", agent.agent_id)
        write_until("it is empty", lambda: shares(database) == {other.agent_id: 4})
        agent.settings["listen_address"] = agent.address
        stopping = threading.Thread(target=agent.terminate)
        stopping.start()
        write_until("it has stopped", lambda: not stopping.is_alive())
        assert agent.process.returncode == 0 and agent.wal_files() == []
        agent.start()
        database.execute("SELECT streamhouse.undrain_agent(%s)", agent.agent_id)
        write_until("it has its share again", lambda: shares(database) == {"a1": 2, "a2": 2})
    process.stdin.close()
    assert process.wait(30 * PATIENCE) == 0, (tmp_path / "errors").read_text()
    wait_until("all is published", lambda: database.value(
        "SELECT sum(records) FROM streamhouse.partitions") == sent)
    found = []
    for partition in range(4):
        with Client(next(a.address for a in agents if a.agent_id == owners(database)[partition])) as client:
            numbers = [int(r.value) for r in client.read_all("t", partition)]
        assert numbers == sorted(numbers), "in order"
        found += numbers
    assert sorted(found) == list(range(sent))


def owners(database):
    return dict(database.execute("SELECT partition, owner FROM streamhouse.partitions WHERE topic = 't'"))


def shares(database):
    return collections.Counter(o for o in owners(database).values() if o is not None)
