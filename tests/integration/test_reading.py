"""Fetch, FetchStream and ListOffsets: waiting, bounds, order."""
import random
import threading
import time

import grpc
import pytest

from harness.processes import PATIENCE, wait_until
from harness.rpc import error_of, pb


@pytest.fixture
def topic(database, agent):
    database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")
    return "t"


def test_a_long_poll_wakes_when_records_come(topic, client, connect, agent):
    waiting = connect(agent)
    results = []
    reader = threading.Thread(target=lambda: results.append(waiting.fetch(topic, max_wait_ms=25_000)))
    reader.start()
    wait_until("the agent has a waiting fetch", lambda: agent.metric("streamhouse_fetches_waiting") == 1)
    client.produce(topic, values=[b"now"])
    reader.join(10 * PATIENCE)
    assert results, "it waits although enough is there"
    assert [r.value for r in results[0].records] == [b"now"]


def test_a_long_poll_ends_empty_at_its_time(topic, client):
    begun = time.monotonic()
    result = client.fetch(topic, max_wait_ms=200)
    assert not result.records and result.next_offset == 0 and result.high_watermark == 0
    assert time.monotonic() - begun >= 0.2


def test_min_bytes_gathers(topic, client, connect, agent):
    waiting = connect(agent)
    results = []
    reader = threading.Thread(
        target=lambda: results.append(waiting.fetch(topic, max_wait_ms=25_000, min_bytes=3000)))
    reader.start()
    wait_until("the agent has a waiting fetch", lambda: agent.metric("streamhouse_fetches_waiting") == 1)
    for _ in range(3):
        client.produce(topic, values=[b"x" * 1200])
    reader.join(10 * PATIENCE)
    assert results, "it waits although enough is there"
    assert len(results[0].records) == 3


def test_a_waiting_fetch_can_be_cancelled(topic, client, agent):
    request = pb.FetchRequest(max_wait_ms=30_000)
    request.partitions.add(topic=topic)
    future = client._Fetch.future(request)
    wait_until("it waits", lambda: agent.metric("streamhouse_fetches_waiting") == 1)
    future.cancel()
    wait_until("the agent let go of it", lambda: agent.metric("streamhouse_fetches_waiting") == 0)


def test_max_bytes_cuts_between_batches_but_always_moves_on(topic, client):
    for i in range(10):
        client.produce(topic, values=[b"%d" % i * 1000])
    first = client.fetch(topic, max_bytes=1, decode=False)
    assert first.next_offset == 1
    some = client.fetch(topic, offset=1, max_bytes=3000)
    assert 2 <= some.next_offset <= 4


def test_reading_begins_inside_a_batch(topic, client):
    client.produce(topic, values=[b"%d" % i for i in range(10)])
    assert [r.offset for r in client.fetch(topic, offset=7).records] == [7, 8, 9]


@pytest.mark.parametrize("offset", [5, 1 << 40])
def test_offsets_above_the_end_are_out_of_range(topic, client, offset):
    client.produce(topic, values=[b"0"])
    error = error_of(lambda: client.fetch(topic, offset=offset))
    assert error.code() is grpc.StatusCode.OUT_OF_RANGE
    assert str(offset) in error.details() and "1" in error.details()


def test_a_negative_offset_is_refused(topic, client):
    assert error_of(lambda: client.fetch(topic, offset=-5)).code() in (
        grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.INVALID_ARGUMENT)


def test_a_stream_follows_the_tail_of_two_partitions(topic, client, connect, agent):
    reader = connect(agent)
    request = pb.FetchRequest(max_wait_ms=1000, decode=True)
    for partition in (0, 1):
        request.partitions.add(topic=topic, partition=partition)
    stream = reader.fetch_stream(request)
    seen = {0: [], 1: []}

    def read():
        for response in stream:
            for result in response.results:
                seen[result.partition] += [int(r.value) for r in result.records]
            if sum(map(len, seen.values())) == 100:
                return

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(100):
        client.produce(topic, i % 2, values=[b"%d" % i])
    thread.join(30)
    stream.cancel()
    assert seen == {0: list(range(0, 100, 2)), 1: list(range(1, 100, 2))}


def test_a_stalled_reader_holds_little(topic, client, connect, agent):
    payload = b"x" * 100_000
    for _ in range(100):
        client.produce(topic, values=[payload])
    before = agent.metric("streamhouse_agent_memory_bytes")
    request = pb.FetchRequest(max_wait_ms=1000, max_bytes=200_000)
    request.partitions.add(topic=topic)
    streams = [connect(agent).fetch_stream(request) for _ in range(20)]
    firsts = [next(iter(s)) for s in streams]
    assert all(f.results[0].batches for f in firsts)
    client.produce(topic, 1, values=[b"others are served"])
    assert agent.metric("streamhouse_agent_memory_bytes") - before < 200e6
    for stream in streams:
        stream.cancel()


def test_list_offsets(topic, client, database, agent, connect):
    assert client.offset_at(topic, -1).offset == client.offset_at(topic, -2).offset == 0
    base = 1_700_000_000_000
    client.produce(topic, values=[pb.Record(value=b"x", timestamp_ms=base + i * 1000) for i in range(10)])

    def check(reader):
        assert reader.offset_at(topic, -1).offset == 10
        assert reader.offset_at(topic, -2).offset == 0
        for asked, offset in ((base - 5, 0), (base, 0), (base + 1, 1), (base + 4500, 5), (base + 9000, 9)):
            result = reader.offset_at(topic, asked)
            assert (result.offset, result.timestamp_ms) == (offset, base + offset * 1000), asked
        after = reader.offset_at(topic, base + 9001)
        assert (after.offset, after.timestamp_ms) == (10, -1)

    check(client)
    wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == 10)
    agent.terminate()
    agent.start()
    check(connect(agent))


def test_offsets_by_time_over_random_histories(database, agent, connect):
    """The lowest offset from the log start on whose time is at the asked one or after it, whatever is removed."""
    database.execute("SELECT streamhouse.create_topic('t')")
    generator = random.Random(11)
    base, times, start = 1_700_000_000_000, [], 0

    def check(client, asked):
        expected = next((o for o in range(start, len(times)) if times[o] >= asked), None)
        found = client.offset_at("t", base + asked)
        assert (found.offset, found.timestamp_ms) == (
            (len(times), -1) if expected is None else (expected, base + times[expected])), (asked, start, times)

    client = connect(agent)
    for _ in range(25):
        new = [generator.randrange(5000 if generator.random() < 0.1 else 500) for _ in range(generator.randint(1, 5))]
        client.produce("t", values=[pb.Record(value=b"x", timestamp_ms=base + t) for t in new])
        times += new
        if generator.random() < 0.5:
            wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.epochs") == len(times))
        if generator.random() < 0.3:
            published = database.value("SELECT published_end FROM streamhouse.partitions")
            start = database.value("SELECT streamhouse.delete_records('t', 0, %s)", generator.randint(start, max(start, published)))
        if generator.random() < 0.3:
            database.execute("SELECT streamhouse.apply_retention()")
        if generator.random() < 0.1:
            assert agent.terminate() == 0
            agent.start()
            client = connect(agent)
        for _ in range(10):
            check(client, generator.randrange(5500 if generator.random() < 0.3 else 600))
