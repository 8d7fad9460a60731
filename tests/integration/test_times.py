"""The times of records: what is believed, what is refused, and what rests on them."""
import time

from harness.batch import batch, crc32c
from harness.processes import wait_until
from harness.rpc import error_of, partition_error, pb

import pytest
import struct


def claim(data, newest_ms):
    """The batch with another newest time in its header, and a right CRC."""
    covered = data[21:35] + struct.pack(">q", newest_ms) + data[43:]
    return data[:17] + struct.pack(">I", crc32c(covered)) + covered


def now_ms():
    return int(time.time() * 1000)


def published(database, records):
    wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == records)


def test_a_header_without_its_newest_time_is_not_believed(database, agent, client):
    database.execute("SELECT streamhouse.create_topic('t', retention => '1 hour')")
    at = now_ms()
    for i, newest in enumerate((-1, 0, 2**63 - 1)):
        assert client.produce("t", batches=claim(batch([b"v"], timestamp_ms=at + i), newest)).base_offset == i
    for _ in range(2):
        assert [client.offset_at("t", at + i).offset for i in range(4)] == [0, 1, 2, 3]
        published(database, 3)
    assert database.value("SELECT max(max_timestamp_ms) FROM streamhouse.segment") == at + 2
    assert database.value("SELECT streamhouse.apply_retention()") == 0
    assert len(client.read_all("t")) == 3


@pytest.mark.parametrize("durability", ["wal", "object"])
def test_times_out_of_bounds_are_refused(database, agent, client, durability):
    database.execute("SELECT streamhouse.create_topic('t', durability => %s, timestamp_before_max => '1 day')", durability)
    at = now_ms()
    for wrong in (at + 2 * 3600_000, 4102444800000, 2**63 - 1, at - 25 * 3600_000, 1):
        records = [pb.Record(value=b"right"), pb.Record(value=b"wrong", timestamp_ms=wrong)]
        error = partition_error(error_of(lambda: client.produce("t", values=records)))
        assert error.reason == "INVALID" and "batch 0: record 1: its time" in error.message, error
    assert client.produce("t", values=[pb.Record(value=b"soon", timestamp_ms=at + 3500_000)]).base_offset == 0
    error = partition_error(error_of(lambda: client.produce("t", batches=batch([b"v"], timestamp_ms=at, attributes=8))))
    assert error.reason == "INVALID" and "LogAppendTime" in error.message


def test_append_time_is_the_agents(database, agent, client):
    database.execute("SELECT streamhouse.create_topic('t', timestamp_type => 'append_time')")
    before = now_ms()
    client.produce("t", batches=batch([b"a", b"b"], timestamp_ms=1000))
    client.produce("t", values=[pb.Record(value=b"c", timestamp_ms=2**62)])
    after = now_ms()
    for _ in range(2):
        assert all(before <= r.timestamp_ms <= after for r in client.read_all("t"))
        assert client.offset_at("t", before).offset == 0 and client.offset_at("t", after + 1).offset == 3
        published(database, 3)


def test_fresh_records_of_a_clock_that_is_behind_are_kept(database, agent, client):
    """Theirs are two hours old when they arrive, and one of 2100 pins nothing."""
    database.execute("SELECT streamhouse.create_topic('t', retention => '1 hour', timestamp_after_max => NULL)")
    client.produce("t", values=[pb.Record(value=b"late", timestamp_ms=now_ms() - 2 * 3600_000)])
    client.produce("t", values=[pb.Record(value=b"of 2100", timestamp_ms=4102444800000)])
    client.produce("t", values=[pb.Record(value=b"never", timestamp_ms=2**63 - 1)])
    published(database, 3)
    assert database.value("SELECT streamhouse.apply_retention()") == 0
    assert database.value("SELECT count(*) FROM streamhouse.segments WHERE max_timestamp > now()") >= 1
    database.execute("UPDATE streamhouse.segment SET arrived_ms = arrived_ms - 3 * 3600000")
    while database.value("SELECT streamhouse.apply_retention()") > 0:
        pass
    assert database.execute("SELECT log_start, records FROM streamhouse.partitions") == [(3, 0)]
