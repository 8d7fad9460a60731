"""Idempotent producers (G8): what is sent again is stored once, with the offset that it got first."""
import os
import signal
import subprocess

import pytest

from harness.batch import batch
from harness.processes import BUILD, free_port, run, wait_until
from harness.rpc import error_of, partition_error

RANGE = 1 << 28


class Producer:
    """A foreign idempotent producer of one partition, with raw batches of its own making."""

    def __init__(self, client, topic="t", partition=0):
        self.topic, self.partition = topic, partition
        started = client.init_producer()
        self.id, self.epoch = started.producer_id, started.producer_epoch

    def batch(self, sequence, *values, epoch=None):
        return batch(list(values), producer_id=self.id, producer_epoch=self.epoch if epoch is None else epoch,
                     base_sequence=sequence)

    def send(self, client, sequence, *values, epoch=None, unacked=None, confirms=True):
        stored = client.produce(self.topic, self.partition, batches=self.batch(sequence, *values, epoch=epoch),
                                first_unacked_seq=sequence if unacked is None else unacked)
        if confirms:
            client.confirm(self.topic, self.partition, self.id, self.epoch if epoch is None else epoch,
                           sequence + len(values))
        return stored


def values(client):
    """What can be read now: up to the end, or to a gap."""
    return [value for _, value in records(client)]


def records(client):
    found = []
    offset = 0
    while True:
        answer = client.fetch("t", offset=offset)
        assert not answer.HasField("error"), answer.error
        if not answer.records:
            return found
        found += [(r.offset, r.value) for r in answer.records]
        offset = answer.next_offset


def reason(call):
    return partition_error(error_of(call)).reason


def test_ids_are_given_once(client):
    first, second = client.init_producer(), client.init_producer()
    assert first.producer_id != second.producer_id and first.producer_epoch == 0
    assert first.producer_id >> 52 == 1, "the term stands in the high bits"
    assert error_of(lambda: client.init_producer(transactional_id="t1")).code().name == "UNIMPLEMENTED"


@pytest.mark.parametrize("durability", ["wal", "object"])
def test_what_is_sent_again_is_stored_once(database, agent, client, durability):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 1, durability => %s)", durability)
    producer = Producer(client)
    assert producer.send(client, 0, b"a", b"b").base_offset == 0
    client.produce("t", values=[b"other"])
    assert producer.send(client, 2, b"c").base_offset == 3

    again = producer.send(client, 0, b"a", b"b")
    assert (again.base_offset, again.record_count) == (0, 2)
    assert producer.send(client, 2, b"c").base_offset == 3
    assert reason(lambda: producer.send(client, 4, b"e")) == "OUT_OF_ORDER_SEQUENCE"
    assert reason(lambda: producer.send(client, 5, b"f")) == "OUT_OF_ORDER_SEQUENCE"
    assert producer.send(client, 3, b"d").base_offset == 4
    assert producer.send(client, 4, b"e").base_offset == 5

    assert producer.send(client, 0, b"new", epoch=1).base_offset == 6
    assert reason(lambda: producer.send(client, 5, b"f", epoch=0)) == "INVALID_PRODUCER_EPOCH"
    assert reason(lambda: producer.send(client, 5, b"f", epoch=2)) == "OUT_OF_ORDER_SEQUENCE"
    producer.id += 1000
    assert reason(lambda: producer.send(client, 7, b"x")) == "UNKNOWN_PRODUCER_ID"
    assert values(client) == [b"a", b"b", b"other", b"c", b"d", b"e", b"new"]


@pytest.mark.parametrize("durability", ["wal", "object"])
def test_the_batches_of_a_call_are_checked_in_their_order(database, client, durability):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 1, durability => %s)", durability)
    producer = Producer(client)
    three = producer.batch(0, b"0") + producer.batch(1, b"1") + producer.batch(2, b"2")
    assert client.produce("t", batches=three).base_offset == 0
    client.produce("t", values=[b"other"])

    mixed = client.produce("t", batches=producer.batch(2, b"2") + producer.batch(3, b"3"))
    assert (mixed.base_offset, list(mixed.batch_offsets)) == (2, [2, 4])
    whole = client.produce("t", batches=three)
    assert (whole.base_offset, whole.record_count, list(whole.batch_offsets)) == (0, 3, [])
    gap = producer.batch(4, b"4") + producer.batch(6, b"6")
    assert reason(lambda: client.produce("t", batches=gap)) == "OUT_OF_ORDER_SEQUENCE"
    strangers = producer.batch(4, b"4") + batch([b"x"])
    assert error_of(lambda: client.produce("t", batches=strangers)).code().name == "INVALID_ARGUMENT"
    client.confirm("t", 0, producer.id, producer.epoch, 4)
    assert values(client)[:5] == [b"0", b"1", b"2", b"other", b"3"]


@pytest.mark.parametrize("published", [False, True])
def test_a_restart_forgets_nothing(database, make_agent, connect, published):
    """kill -9 with the records in the WAL alone, and with all of them published."""
    agent = make_agent(flush_interval="50ms" if published else "1h").start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 1)")
    client = connect(agent)
    producer = Producer(client)
    producer.send(client, 0, b"a", b"b")
    client.produce("t", values=[b"other"])
    producer.send(client, 2, b"c")
    if published:
        wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == 4)
    agent.kill()
    agent.start()

    client = connect(agent)
    assert producer.send(client, 2, b"c").base_offset == 3
    assert producer.send(client, 0, b"a", b"b").base_offset == 0
    assert reason(lambda: producer.send(client, 4, b"e")) == "OUT_OF_ORDER_SEQUENCE"
    assert producer.send(client, 3, b"d").base_offset == 4
    assert values(client) == [b"a", b"b", b"other", b"c", b"d"]


def test_a_hand_over_takes_the_producers_along(database, make_agent, connect):
    first = make_agent("a1").start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 1)")
    client = connect(first)
    producer = Producer(client)
    producer.send(client, 0, b"a")
    producer.send(client, 1, b"b", b"c")
    second = make_agent("a2").start()
    assert first.terminate() == 0
    wait_until("a2 owns it", lambda: database.value("SELECT owner FROM streamhouse.partitions") == "a2")

    client = connect(second)
    assert producer.send(client, 1, b"b", b"c").base_offset == 1
    assert producer.send(client, 0, b"a").base_offset == 0
    assert producer.send(client, 3, b"d").base_offset == 3
    assert values(client) == [b"a", b"b", b"c", b"d"]


# --- while an earlier epoch is unresolved


@pytest.fixture
def pair(database, make_agent, request):
    """a1 owns t/0 and publishes nothing by itself, or as seldom as the parameter says; a2 has nothing."""
    first = make_agent("a1", flush_interval=getattr(request, "param", "1h")).start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 1)")
    wait_until("a1 owns it", lambda: owner(database) == "a1")
    return first, make_agent("a2").start()


def owner(database):
    return database.value("SELECT owner FROM streamhouse.partitions WHERE topic = 't'")


def expire(database, agent_id):
    """As the lease worker does when an agent has been silent long enough."""
    database.execute("UPDATE streamhouse.lease SET ticks_left = 0 WHERE incarnation_id = "
                     "(SELECT incarnation_id FROM streamhouse.agents WHERE agent_id = %s)", agent_id)
    database.execute("SELECT streamhouse.rebalance()")


def take_over(database, first, second, how=signal.SIGKILL):
    if how is signal.SIGKILL:
        first.kill()
    else:
        os.kill(first.process.pid, how)
    expire(database, "a1")
    wait_until("a2 owns it", lambda: owner(database) == "a2")


def resolved(database):
    return database.value("SELECT count(*) FROM streamhouse.orphans") == 0


@pytest.mark.parametrize("returns", ["restarted", "continued"])
def test_after_a_takeover_what_was_not_acknowledged_is_stored_once(database, pair, connect, returns):
    """a1 has 0 to 3; the producer has seen the answers to 0 and 1 only, and sends 2 and 3 to the heir."""
    first, second = pair
    producer, other = Producer(connect(first)), Producer(connect(first))
    producer.send(connect(first), 0, b"0")
    producer.send(connect(first), 1, b"1")
    other.send(connect(first), 0, b"other")
    producer.send(connect(first), 2, b"2", confirms=False)
    producer.send(connect(first), 3, b"3", unacked=2, confirms=False)
    # Readers do not have what is going to be at another offset.
    assert records(connect(first)) == [(0, b"0"), (1, b"1"), (2, b"other")]
    assert connect(first).offset_at("t", -1).offset == 3
    take_over(database, first, second, signal.SIGKILL if returns == "restarted" else signal.SIGSTOP)

    heir = connect(second)
    assert reason(lambda: producer.send(heir, 4, b"4", unacked=2)) == "OUT_OF_ORDER_SEQUENCE"
    assert reason(lambda: producer.send(heir, 1, b"1", unacked=2)) == "DUPLICATE_SEQUENCE"
    second_try = producer.send(heir, 2, b"2", unacked=2)
    assert second_try.base_offset == RANGE
    assert producer.send(heir, 3, b"3", unacked=3).base_offset == RANGE + 1
    assert producer.send(heir, 2, b"2", unacked=2).base_offset == RANGE
    assert database.execute("SELECT producer_id, first_unacked_seq FROM streamhouse.producer_claim") == [(producer.id, 2)]

    if returns == "restarted":
        first.start()
    else:
        os.kill(first.process.pid, signal.SIGCONT)
        wait_until("a1 publishes what it has", lambda: "partition_taken_over" in first.log_text())
    wait_until("the old epoch is resolved", lambda: resolved(database), 30)
    # Now known to the heir without a claim: the other producer is told where its batch is.
    assert other.send(heir, 0, b"other", unacked=0).base_offset == 2
    assert other.send(heir, 1, b"more").base_offset == RANGE + 2
    assert producer.send(heir, 4, b"4").base_offset == RANGE + 3
    wait_until("readers go on", lambda: len(values(heir)) == 7, 30)
    assert values(heir) == [b"0", b"1", b"other", b"2", b"3", b"more", b"4"]
    assert [offset for offset, _ in records(heir)] == [0, 1, 2, RANGE, RANGE + 1, RANGE + 2, RANGE + 3]


def test_a_claim_comes_too_late_for_what_is_published(database, pair, connect):
    """The old epoch is published between the takeover and the producer's first batch at the heir."""
    first, second = pair
    producer = Producer(connect(first))
    producer.send(connect(first), 0, b"0")
    producer.send(connect(first), 1, b"1", confirms=False)
    take_over(database, first, second)
    first.start()
    wait_until("the old epoch is resolved", lambda: resolved(database), 30)
    heir = connect(second)
    assert producer.send(heir, 1, b"1", unacked=1).base_offset == 1
    assert producer.send(heir, 2, b"2", unacked=1).base_offset == RANGE
    wait_until("readers go on", lambda: len(values(heir)) == 3, 30)
    assert values(heir) == [b"0", b"1", b"2"]


def test_leftovers_of_a_forced_seal_bring_nothing_twice(database, pair, connect):
    first, second = pair
    producer = Producer(connect(first))
    producer.send(connect(first), 0, b"0")
    producer.send(connect(first), 1, b"1", confirms=False)
    take_over(database, first, second)
    database.execute("SELECT streamhouse.force_seal('t', 0)")
    heir = connect(second)
    assert producer.send(heir, 1, b"1", unacked=1).base_offset == RANGE
    first.start()
    wait_until("the leftovers are there", lambda: database.value(
        "SELECT count(*) FROM streamhouse.epoch WHERE leftover_of IS NOT NULL AND state = 'sealed'") == 1, 30)
    wait_until("readers go on", lambda: len(values(heir)) == 2, 30)
    assert values(heir) == [b"1", b"0"]


# --- the client library


@pytest.mark.parametrize("durability", ["wal", "object"])
def test_the_command_stores_each_line_once_though_answers_are_lost(database, make_agent, connect, tmp_path, durability):
    agent = make_agent()
    agent.environment["STREAMHOUSE_FAULTS"] = "rpc.produce.reply=error:5"
    agent.start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 1, durability => %s)", durability)
    lines = [b"line %d" % i for i in range(2000)]
    source = tmp_path / "lines"
    source.write_bytes(b"".join(line + b"\n" for line in lines))
    done = run([str(BUILD / "streamhouse"), "--server", agent.address, "produce", "t", "--file", str(source),
                "--batch-size", "1kB", "--retry", "always", "--acks-file", str(tmp_path / "acks")])
    assert done.returncode == 0, done.stderr
    assert values(connect(agent)) == lines
    acks = [line.split() for line in (tmp_path / "acks").read_text().splitlines()]
    assert [int(offset) for _, _, offset in acks] == list(range(len(lines)))


def test_the_command_writes_on_through_a_kill_and_restart(database, make_agent, connect, tmp_path):
    agent = make_agent(listen_address=f"127.0.0.1:{free_port()}").start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 1)")
    lines = [b"line %d" % i for i in range(3000)]
    source = tmp_path / "lines"
    source.write_bytes(b"".join(line + b"\n" for line in lines))
    command = subprocess.Popen([str(BUILD / "streamhouse"), "--server", agent.address, "produce", "t", "--file",
                                str(source), "--batch-size", "1kB", "--rate", "3000"], stdout=subprocess.PIPE)
    wait_until("it writes", lambda: connect(agent).offset_at("t", -1).offset > 300)
    agent.kill()
    agent.start()
    assert command.wait(60) == 0
    assert values(connect(agent)) == lines


@pytest.mark.parametrize("pair", ["1s"], indirect=True)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_command_writes_on_through_a_takeover(database, pair, connect, tmp_path, how):
    """With requests in flight when the owner goes: what comes late, and what is sent again, is stored once."""
    first, second = pair
    lines = [b"line %d" % i for i in range(4000)]
    source = tmp_path / "lines"
    source.write_bytes(b"".join(line + b"\n" for line in lines))
    command = subprocess.Popen([str(BUILD / "streamhouse"), "--server", f"{first.address},{second.address}", "produce", "t",
                                "--file", str(source), "--batch-size", "1kB", "--rate", "4000"], stdout=subprocess.PIPE)
    wait_until("it writes", lambda: connect(first).offset_at("t", -1).offset > 500)
    take_over(database, first, second, how)
    if how is signal.SIGSTOP:  # its connections do not break by themselves
        wait_until("the heir is known", lambda: owner(database) == "a2")
        os.kill(first.process.pid, signal.SIGCONT)
    assert command.wait(90) == 0
    if how is signal.SIGKILL:
        first.start()
    wait_until("the old epoch is resolved", lambda: resolved(database), 30)
    heir = connect(second)
    wait_until("readers go on", lambda: len(values(heir)) >= len(lines), 30)
    assert values(heir) == lines
