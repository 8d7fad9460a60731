"""Idempotent producers (G8): what is sent again is stored once, with the offset that it got first."""
import pytest

from harness.batch import batch
from harness.processes import wait_until
from harness.rpc import error_of, partition_error


class Producer:
    """A foreign idempotent producer of one partition, with raw batches of its own making."""

    def __init__(self, client, topic="t", partition=0):
        self.topic, self.partition = topic, partition
        started = client.init_producer()
        self.id, self.epoch = started.producer_id, started.producer_epoch

    def batch(self, sequence, *values, epoch=None):
        return batch(list(values), producer_id=self.id, producer_epoch=self.epoch if epoch is None else epoch,
                     base_sequence=sequence)

    def send(self, client, sequence, *values, epoch=None, unacked=None):
        return client.produce(self.topic, self.partition, batches=self.batch(sequence, *values, epoch=epoch),
                              first_unacked_seq=sequence if unacked is None else unacked)


def values(client, topic="t", partition=0):
    return [r.value for r in client.read_all(topic, partition)]


def reason(call):
    return partition_error(error_of(call)).reason


def test_ids_are_given_once(client):
    first, second = client.init_producer(), client.init_producer()
    assert first.producer_id != second.producer_id and first.producer_epoch == 0
    assert first.producer_id >> 40 == 1, "the term stands in the high bits"
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
