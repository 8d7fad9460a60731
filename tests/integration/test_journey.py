"""A record's whole way: gRPC, WAL, object, PostgreSQL, and back."""
import pathlib

import pytest

from harness import batch
from harness.processes import wait_until
from harness.rpc import pb


def published(database, topic):
    return database.value("SELECT coalesce(sum(records), 0)::bigint FROM streamhouse.partitions WHERE topic = %s", topic)


def objects(agent):
    return [p for p in pathlib.Path(agent.settings["store_dir"]).rglob("*.seg")]


def test_structured_records_come_back_from_memory_and_from_the_store(database, agent, client, connect):
    database.execute("SELECT streamhouse.create_topic('t')")
    first = client.produce("t", values=[b"one", pb.Record(key=b"k", value=b"two", timestamp_ms=1_600_000_000_123,
                                                          headers=[pb.Header(key="h", value=b"v"), pb.Header(key="n")])])
    assert (first.base_offset, first.record_count) == (0, 2)
    second = client.produce("t", values=[pb.Record(key=b"gone")])
    assert second.base_offset == 2

    def check(reader):
        records = reader.read_all("t")
        assert [r.offset for r in records] == [0, 1, 2]
        assert [r.value for r in records] == [b"one", b"two", b""]
        assert records[1].key == b"k" and records[1].timestamp_ms == 1_600_000_000_123
        assert [(h.key, h.HasField("value"), h.value) for h in records[1].headers] == [("h", True, b"v"), ("n", False, b"")]
        assert not records[0].HasField("key") and not records[2].HasField("value")
        assert records[0].timestamp_ms > 1_600_000_000_000

    check(client)
    wait_until("all three are published", lambda: published(database, "t") == 3)
    assert objects(agent), "records rest in objects"
    assert agent.terminate() == 0
    agent.start()
    check(connect(agent))


@pytest.mark.parametrize("codec", range(5))
def test_raw_batches_keep_their_bytes(database, agent, client, codec):
    database.execute("SELECT streamhouse.create_topic('t')")
    if codec in (0, 1):
        raw = batch.batch([b"a" * 100, (b"k", b"b"), (b"k", None)], codec=codec)
        result = client.produce("t", batches=raw + raw)
        assert (result.base_offset, result.record_count) == (0, 6)
        sent = [raw, raw]
    else:
        result = client.produce("t", values=[b"x" * 1000] * 10, compression=codec)
        assert result.record_count == 10
        sent = None
    answer = client.fetch("t", decode=False)
    assert answer.high_watermark == answer.next_offset == result.record_count
    if sent:
        # Only the base offset and the leader epoch may differ.
        got, size = answer.batches, len(sent[0])
        assert len(got) == 2 * size
        for i, part in enumerate((got[:size], got[size:])):
            assert part[12 + 4:] == sent[i][16:] and part[8:12] == sent[i][8:12]
            assert int.from_bytes(part[:8], "big") == 3 * i
    else:
        assert answer.batches[22] & 7 == codec
        assert len(answer.batches) < 1000


def test_several_partitions_and_topics_in_one_request(database, agent, client):
    for name, partitions in (("x", 3), ("y", 1)):
        database.execute("SELECT streamhouse.create_topic(%s, partitions => %s)", name, partitions)
    request = pb.ProduceRequest(request_id=7)
    for topic, partition in (("x", 0), ("x", 2), ("y", 0), ("x", 0)):
        request.partitions.add(topic=topic, partition=partition).records.add(value=f"{topic}{partition}".encode())
    answer = client.produce_request(request)
    assert answer.request_id == 7
    assert [(r.topic, r.partition, r.base_offset) for r in answer.results] == [
        ("x", 0, 0), ("x", 2, 0), ("y", 0, 0), ("x", 0, 1)]

    wait_until("published", lambda: published(database, "x") == 3 and published(database, "y") == 1)
    # One object holds all partitions of one flush.
    assert database.value("SELECT count(DISTINCT object_key) FROM streamhouse.segments") <= 2


def test_one_bad_partition_does_not_spoil_the_others(database, agent, client):
    database.execute("SELECT streamhouse.create_topic('t')")
    request = pb.ProduceRequest()
    request.partitions.add(topic="t").records.add(value=b"good")
    request.partitions.add(topic="t", partition=9).records.add(value=b"lost")
    request.partitions.add(topic="nope").records.add(value=b"lost")
    good, no_partition, no_topic = client.produce_request(request).results
    assert good.base_offset == 0 and not good.HasField("error")
    assert no_partition.error.reason == no_topic.error.reason == "NOT_FOUND"
    assert "nope" in no_topic.error.message
    assert len(client.read_all("t")) == 1


def test_a_stream_pipelines_and_keeps_the_order_of_a_partition(database, agent, client):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")

    def requests():
        for i in range(200):
            request = pb.ProduceRequest(request_id=i)
            request.partitions.add(topic="t", partition=i % 2).records.add(value=b"%d" % i)
            yield request

    for partition in (0, 1):
        client.produce("t", partition, values=[b"the partition is open"])
    answers = {a.request_id: a.results[0] for a in client.produce_stream(requests())}
    assert sorted(answers) == list(range(200))
    for partition in (0, 1):
        assert [answers[i].base_offset for i in range(partition, 200, 2)] == list(range(1, 101))
        assert [int(r.value) for r in client.read_all("t", partition, offset=1)] == list(range(partition, 200, 2))


def test_object_topics_are_acknowledged_after_their_publish(database, agent, client):
    database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    result = client.produce("o", values=[b"1", b"2"])
    assert (result.base_offset, published(database, "o")) == (0, 2)
    assert client.produce("o", values=[b"3"]).base_offset == 2
    assert [(r.offset, r.value) for r in client.read_all("o")] == [(0, b"1"), (1, b"2"), (2, b"3")]
    assert agent.wal_files() == [] or agent.metric("streamhouse_wal_append_bytes_total") == 0


def test_every_agent_takes_records_of_object_topics(database, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    clients = [connect(make_agent(name).start()) for name in ("a1", "a2")]
    seen = [clients[i % 2].produce("o", values=[b"%d" % i]).base_offset for i in range(6)]
    assert sorted(seen) == list(range(6))
    for reader in clients:
        wait_until("both agents serve all", lambda: len(reader.read_all("o")) == 6)


def test_a_dropped_topic_and_its_successor_are_two(database, agent, client):
    old_id = client.create_topic("t", partitions=1).topic_id
    client.produce("t", values=[b"old"])
    client.delete_topic("t")
    new_id = client.create_topic("t", partitions=1).topic_id
    assert old_id != new_id
    assert wait_until("the new topic takes records", lambda: _base_offset(client, "t")) == 1  # offset 0, plus one
    error = None
    try:
        client.produce("t", values=[b"late"], topic_id=old_id)
    except Exception as failure:  # grpc.RpcError
        error = failure
    assert error is not None and error.code().name == "NOT_FOUND", error
    assert [r.value for r in client.read_all("t")] == [b"new"]


def _base_offset(client, topic):
    try:
        return client.produce(topic, values=[b"new"]).base_offset + 1
    except Exception as failure:
        assert failure.code().name in ("NOT_FOUND", "UNAVAILABLE", "FAILED_PRECONDITION"), failure
        return None


def test_publishing_asks_postgresql_per_flush_not_per_record(database, make_agent, connect):
    agent = make_agent(flush_interval="2s").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    for i in range(300):
        client.produce("t", values=[b"%d" % i])
    wait_until("published", lambda: published(database, "t") == 300)
    assert database.value("SELECT count(*) FROM streamhouse.objects") < 10
