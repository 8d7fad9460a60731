"""What producers may send: a clear error, nothing stored, the agent keeps serving others."""
import gzip
import socket
import subprocess

import grpc
import pytest

from harness import batch
from harness.processes import wait_until
from harness.rpc import error_of, partition_error, pb, trailing

GOOD = batch.batch([b"a", b"b"])


def flip(data, position):
    return data[:position] + bytes([data[position] ^ 0x40]) + data[position + 1:]


def zip_bomb():
    """300 MB of zeros as one value, in 300 kB."""
    size = 300_000_000
    body = b"\0" + batch.varint(0) + batch.varint(0) + batch.varint(-1) + batch.varint(size) + b"\0" * size + b"\0"
    return batch.batch([b""], codec=1, records=gzip.compress(batch.varint(len(body)) + body, 1))


BAD_BATCHES = {
    "corrupt payload": (flip(GOOD, len(GOOD) - 1), "CORRUPT"),
    "corrupt crc": (flip(GOOD, 18), "CORRUPT"),
    "truncated": (GOOD[:-1], "CORRUPT"),
    "header only": (GOOD[:30], "CORRUPT"),
    "trailing garbage": (GOOD + b"junk", "CORRUPT"),
    "old magic": (batch.batch([b"a"], magic=1), "UNSUPPORTED"),
    "unknown codec": (batch.batch([b"a"], codec=5), "UNSUPPORTED"),
    "count too high": (batch.batch([b"a"], count=2), "CORRUPT"),
    "count too low": (batch.batch([b"a", b"b"], count=1), "CORRUPT"),
    "no record": (batch.batch([], count=0), "INVALID"),
    "record longer than the batch": (batch.batch([b"a"], records=batch.varint(1000) + b"\0\0\0\1\2a\0"), "CORRUPT"),
    "over the batch limit": (batch.batch([b"x" * 1_100_000]), "TOO_LARGE"),
    "control batch": (batch.batch([b"a"], attributes=0x20), "INVALID"),
    "not gzip": (batch.batch([b"a"], codec=1, records=b"this is not gzip"), "CORRUPT"),
}


@pytest.fixture
def topic(database, agent):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")
    return "t"


@pytest.fixture
def unharmed(topic, client):
    """After the test: nothing bad is stored, and good records still go in and out."""
    yield
    assert client.produce(topic, 1, values=[b"fine"]).base_offset == 0
    assert [r.value for r in client.read_all(topic, 1)] == [b"fine"]
    assert client.read_all(topic, 0) == []


@pytest.mark.parametrize("name", BAD_BATCHES)
def test_bad_batches(unharmed, topic, client, name):
    data, reason = BAD_BATCHES[name]
    error = error_of(lambda: client.produce(topic, batches=data))
    assert partition_error(error).reason == reason, error.details()
    assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED)
    assert len(error.details()) > 15


def test_a_good_batch_before_a_bad_one_is_not_stored(unharmed, topic, client):
    error = error_of(lambda: client.produce(topic, batches=GOOD + flip(GOOD, 40)))
    assert partition_error(error).reason == "CORRUPT"


def test_a_zip_bomb(unharmed, topic, client, agent):
    before = agent.metric("streamhouse_agent_memory_bytes")
    error = error_of(lambda: client.produce(topic, batches=zip_bomb()))
    assert partition_error(error).reason == "TOO_LARGE"
    assert agent.metric("streamhouse_agent_memory_bytes") - before < 150e6


def test_unknown_topic(unharmed, client):
    error = error_of(lambda: client.produce("nope", values=[b"x"]))
    assert error.code() is grpc.StatusCode.NOT_FOUND and "nope" in error.details()
    assert error_of(lambda: client.fetch("nope")).code() is grpc.StatusCode.NOT_FOUND
    assert client.metadata("nope").topics[0].error.reason == "NOT_FOUND"


def test_unknown_partition(unharmed, topic, client):
    for partition in (2, -1, 1 << 30):
        error = error_of(lambda: client.produce(topic, partition, values=[b"x"]))
        assert error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
    assert "2" in error.details(), "says how many there are"
    assert error_of(lambda: client.fetch(topic, 2)).code() is grpc.StatusCode.NOT_FOUND


def test_neither_or_both_forms(unharmed, topic, client):
    assert error_of(lambda: client.produce(topic)).code() is grpc.StatusCode.INVALID_ARGUMENT
    both = error_of(lambda: client.produce(topic, values=[b"x"], batches=GOOD))
    assert both.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_odd_topic_id(unharmed, topic, client):
    error = error_of(lambda: client.produce(topic, values=[b"x"], topic_id=b"short"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_empty_request(unharmed, client):
    error = error_of(lambda: client.produce_request(pb.ProduceRequest()))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_over_the_limit(unharmed, topic, client):
    error = error_of(lambda: client.produce(topic, batches=b"x" * 17_000_000))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_bytes_that_are_no_message(unharmed, client):
    garbage = client.channel.unary_unary("/streamhouse.v1.StreamHouse/Produce")
    error = error_of(lambda: garbage(b"\xff\xff\xff\xff\xff\xff", timeout=20))
    assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL)


def test_bad_requests_on_a_stream_leave_it_open(unharmed, topic, client):
    def requests():
        for i, data in enumerate((flip(GOOD, 40), b"junk")):
            request = pb.ProduceRequest(request_id=i)
            request.partitions.add(topic=topic, batches=data)
            yield request
        request = pb.ProduceRequest(request_id=9)
        request.partitions.add(topic="nope").records.add(value=b"x")
        yield request

    answers = {a.request_id: a.results[0].error for a in client.produce_stream(requests())}
    assert {i: e.reason for i, e in answers.items()} == {0: "CORRUPT", 1: "CORRUPT", 9: "NOT_FOUND"}


def test_an_unknown_method(unharmed, client):
    unknown = client.channel.unary_unary("/streamhouse.v1.StreamHouse/Nope")
    assert error_of(lambda: unknown(b"", timeout=20)).code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_stranger_on_the_port(unharmed, agent):
    host, port = agent.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"\xff" * 1000)


def produce_until_refused(client, size=500_000):
    """How many records the topic took, and the error that ended it."""
    for accepted in range(400):
        try:
            client.produce("t", values=[b"x" * size])
        except grpc.RpcError as error:
            return accepted, error
    raise AssertionError("the bound was never reached")


def test_the_memory_bound_pushes_back_and_loses_nothing(database, make_agent, connect, directory):
    """A store that is full: at the bound RESOURCE_EXHAUSTED with a delay; once there is room, all is published."""
    store = directory / "full-store"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", store], check=True)
    try:
        agent = make_agent(memory_budget="32MB", flush_size="4MB", store_dir=store).start()
        database.execute("SELECT streamhouse.create_topic('t')")
        client = connect(agent)
        accepted, error = produce_until_refused(client)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert int(trailing(error, "grpc-retry-pushback-ms")) > 0
        subprocess.run(["mount", "-o", "remount,size=256m", store], check=True)
        wait_until("all accepted is published",
                   lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == accepted, 60)
        assert len(client.read_all("t")) == accepted
        agent.kill()
    finally:
        subprocess.run(["umount", "-l", store], check=True)


def test_the_wal_bound_pushes_back(database, make_agent, connect):
    agent = make_agent(wal_budget="8MB", wal_file_size="1MB", memory_budget="256MB", flush_interval="1h", flush_size="128MB")
    agent.start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    accepted, error = produce_until_refused(client)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert int(trailing(error, "grpc-retry-pushback-ms")) > 0
    assert accepted >= 10
    assert len(client.read_all("t")) == accepted
