"""Records of validated topics name a schema that is registered under their subject, and fit it, or are refused one by one."""
import struct

import grpc
import pytest

from harness import batch as batches
from harness.agent import PROGRAM
from harness.processes import run, wait_until
from harness.rpc import pb
from harness.tcpproxy import TcpProxy

JSON = '{"type": "object", "properties": {"a": {"type": "integer"}}}'
OTHER = '{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}'
AVRO = '{"type": "record", "name": "n.A", "fields": [{"name": "a", "type": "string"}]}'
AVRO_2 = '{"type": "record", "name": "n.A", "fields": [{"name": "a", "type": "string"}, {"name": "b", "type": "int", "default": 1}]}'
PROTO = 'syntax = "proto3"; package p; message M { int32 a = 1; } message N { string b = 1; }'


def named(schema_id, payload=b'{"a": 1}'):
    return struct.pack(">BI", 0, schema_id) + payload


def register(database, subject, schema=JSON, kind="JSON"):
    """Returns the id."""
    database.execute("SELECT streamhouse.set_compatibility('NONE')")
    return database.value("SELECT streamhouse.register_schema(%s, %s, type => %s)", subject, schema, kind)


def refusals(result):
    """{place of a record: why it is refused}"""
    return {e.index: e.message for e in result.record_errors}


def produce(client, *records, **fields):
    """What does not fit; the others are stored."""
    result = client.produce("t", values=records, **fields)
    refused = refusals(result)
    assert result.HasField("error") == (len(refused) == len(records)), result
    assert result.record_count == len(records) - len(refused)
    return refused


@pytest.fixture
def client(database, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t', 1)")
    return connect(make_agent().start())


def validate(database, client, settings):
    database.execute(f"SELECT streamhouse.alter_topic('t', {settings})")
    wait_until("the agent validates", lambda: produce(client, pb.Record(key=b"plain", value=b"plain")))


def values(client, count):
    return [r.value for r in client.read_all("t")[-count:]]


def test_value_names_a_registered_schema(database, client):
    assert not produce(client, b"anything")
    schema_id = register(database, "t-value")
    foreign_id = register(database, "u-value", OTHER)
    validate(database, client, "value_validation => 'id'")
    good = [named(schema_id), named(schema_id, b"")]
    assert not produce(client, good[0], pb.Record(key=b"k"), good[1])
    bad = [b"", b"\0\0\0\0", b"\1" + named(schema_id)[1:], named(0), named(2**31), named(foreign_id)]
    refused = produce(client, *bad[:3], *good, *bad[3:])
    assert list(refused) == [0, 1, 2, 5, 6, 7]
    assert f"schema {foreign_id}, which is not registered" in refused[7]
    assert values(client, 2) == good

    # A version that is registered meanwhile is taken at once: an id that is not known yet is asked about.
    new_id = register(database, "t-value", '{"type": "string"}')
    assert not produce(client, named(new_id))

    wait_until("it is noted what was seen", lambda: database.value(
        "SELECT count(*) FROM streamhouse.schema_usage WHERE topic = 't' AND schema_id IN (%s, %s)", schema_id, new_id) == 2,
        30)
    database.execute("SELECT streamhouse.alter_topic('t', value_validation => 'none')")
    wait_until("the agent no longer validates", lambda: not produce(client, b"anything"))


def test_payload_fits_its_schema(database, client):
    """Avro, JSON and Protobuf, each with what does not fit; a schema that refers to another one too."""
    avro = register(database, "t-value", AVRO, "AVRO")
    json = register(database, "t-value")
    proto = register(database, "t-value", PROTO, "PROTOBUF")
    base = register(database, "base", 'syntax = "proto3"; message B { int32 n = 1; }', "PROTOBUF")
    assert base
    user = database.value(
        "SELECT streamhouse.register_schema('t-value', %s, 'PROTOBUF', %s)",
        'syntax = "proto3"; import "b.proto"; message U { B b = 1; }',
        '[{"name": "b.proto", "subject": "base", "version": 1}]')
    validate(database, client, "value_validation => 'full'")
    good = [named(avro, b"\x02x"), named(json), named(proto, b"\0\x08\1"), named(user, b"\0\x0a\2\x08\1")]
    bad = [named(avro, b"\x04x"), named(json, b'{"a": "x"}'), named(proto, b"\0\x08"), named(user, b"\0\x0a\2\x08")]
    refused = produce(client, *(record for pair in zip(good, bad) for record in pair))
    assert list(refused) == [1, 3, 5, 7]
    for place, schema_id in zip(refused, (avro, json, proto, user)):
        assert f"the value does not fit schema {schema_id}" in refused[place]
    assert values(client, 4) == good

    # The schema evolves; what was written with either version fits.
    database.execute("SELECT streamhouse.alter_topic('t', value_validation => 'full')")
    newer = register(database, "t-value", AVRO_2, "AVRO")
    assert not produce(client, named(newer, b"\x02x\x02"), named(avro, b"\x02x"))
    assert list(produce(client, named(newer, b"\x02x"), named(avro, b"\x02x"))) == [0]


def test_work_is_bounded(database, client):
    """A pattern that tries all ways: its record is refused for that; a request of many is, and nothing waits for long."""
    schema_id = register(database, "t-value", '{"pattern": "^(a+)+$"}')
    validate(database, client, "value_validation => 'full'")
    good, evil = named(schema_id, b'"aaa"'), named(schema_id, b'"' + b"a" * 60 + b'b"')
    refused = produce(client, good, evil, good)
    assert list(refused) == [1]
    assert "cannot be held against schema" in refused[1] and "more work" in refused[1]
    before = len(client.read_all("t"))
    with pytest.raises(grpc.RpcError) as told:
        client.produce("t", values=[evil] * 20000)
    assert told.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "send fewer at once" in told.value.details()
    assert len(client.read_all("t")) == before
    assert not produce(client, good)


@pytest.mark.parametrize("strategy, prefix", [("record", ""), ("topic-record", "t-")])
def test_subjects_by_record_name(database, client, strategy, prefix):
    avro = register(database, prefix + "n.A", AVRO, "AVRO")
    proto = register(database, prefix + "p.M", PROTO, "PROTOBUF")
    elsewhere = register(database, prefix + "p.M", OTHER.replace("{", '{"title": "p.X", ', 1))
    by_topic = register(database, "t-value", AVRO_2, "AVRO")
    validate(database, client, f"value_validation => 'full', value_subject_strategy => '{strategy}'")
    refused = produce(client, named(avro, b"\x02x"), named(proto, b"\0\x08\1"),
                      named(proto, b"\2\2\x0a\1b"),  # p.N, which has no subject
                      named(elsewhere),  # registered, but not under its own name
                      named(by_topic, b"\x02x\x02"), named(avro, b"\x04x"))
    assert list(refused) == [2, 3, 4, 5]
    assert all("not registered under the subject" in refused[i] for i in (2, 3, 4)) and "does not fit" in refused[5]
    # The subject comes into being: its records are taken.
    register(database, prefix + "p.N", PROTO, "PROTOBUF")
    wait_until("p.N has a subject", lambda: not produce(client, named(proto, b"\2\2\x0a\1b")))


def test_no_record_of_a_new_topic_passes_unchecked(database, make_agent, connect):
    """The first records come before the agent knows the topic, and so what it asks of them."""
    client = connect(make_agent().start())
    for number in range(10):
        topic = f"new-{number}"
        schema_id = register(database, topic + "-value", AVRO, "AVRO")
        database.execute("SELECT streamhouse.create_topic(%s, 1, value_validation => 'full')", topic)
        result = client.produce(topic, values=[named(schema_id, b"\x02x"), b"plain", named(schema_id)])
        assert list(refusals(result)) == [1, 2] and result.record_count == 1


def test_key_and_value_separately(database, client):
    key_id = register(database, "t-key")
    value_id = register(database, "t-value", AVRO, "AVRO")
    validate(database, client, "key_validation => 'id', value_validation => 'full'")
    good = pb.Record(key=named(key_id), value=named(value_id, b"\x02x"))
    refused = produce(client, good, pb.Record(value=named(value_id, b"\x02x")), pb.Record(key=named(value_id), value=good.value),
                      pb.Record(key=good.key, value=named(value_id, b"")), pb.Record(key=good.key))
    assert list(refused) == [2, 3]
    assert "the key names" in refused[2] and "the value does not fit" in refused[3]


def test_batches_and_streams(database, client):
    """Raw batches without sequences lose what does not fit; an idempotent producer's are refused as a whole, and its next
    ones follow as if nothing had been sent. What was stored before is a duplicate, not an error."""
    producer = client.init_producer()

    def sequenced(sequence, *contents):
        return batches.batch(list(contents), producer_id=producer.producer_id, producer_epoch=producer.producer_epoch,
                             base_sequence=sequence)
    before = client.produce("t", batches=sequenced(0, b"plain"))
    schema_id = register(database, "t-value", AVRO, "AVRO")
    good, bad = named(schema_id, b"\x02x"), named(schema_id, b"\x04x")
    validate(database, client, "value_validation => 'full'")

    result = client.produce("t", batches=batches.batch([good, bad]) + batches.batch([bad]) + batches.batch([bad, good, good]))
    assert list(refusals(result)) == [1, 2, 3] and result.record_count == 3 and not result.HasField("error")
    # The tail waits for what the idempotent producer has not confirmed; then it is published.
    wait_until("they can be read", lambda: values(client, 3) == [good] * 3)

    again = client.produce("t", batches=sequenced(0, b"plain"))
    assert not again.HasField("error") and again.base_offset == before.base_offset and not again.record_errors
    refused = client.produce("t", batches=sequenced(1, good, bad))
    assert refused.error.reason == "INVALID" and list(refusals(refused)) == [1]
    taken = client.produce("t", batches=sequenced(1, good))
    assert not taken.HasField("error") and taken.base_offset == result.base_offset + 3

    request = pb.ProduceRequest(request_id=7)
    part = request.partitions.add(topic="t")
    for value in (good, bad):
        part.records.add(value=value)
    answer = next(client.produce_stream(iter([request])))
    assert answer.request_id == 7 and not answer.results[0].HasField("error")
    assert list(refusals(answer.results[0])) == [1] and answer.results[0].record_count == 1


def test_known_schemas_go_on_without_postgres(postgres, database, make_agent, connect):
    proxy = TcpProxy(f"127.0.0.1:{postgres.port}")
    try:
        schema_id = register(database, "t-value", AVRO, "AVRO")
        database.execute("SELECT streamhouse.create_topic('t', 1, value_validation => 'full')")
        agent = make_agent(postgres=database.conninfo + f" host=127.0.0.1 port={proxy.port}").start()
        client = connect(agent)
        good = named(schema_id, b"\x02x")
        assert not produce(client, good)
        proxy.cut()
        assert list(produce(client, good, named(schema_id))) == [1]
        request = pb.ProduceRequest()
        request.partitions.add(topic="t").records.add(value=named(schema_id + 1))
        with pytest.raises(grpc.RpcError) as refused:
            client._Produce(request, timeout=client.deadline)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "PostgreSQL is asked" in refused.value.details()
    finally:
        proxy.heal()
        proxy.close()


def test_a_renamed_topic_goes_by_its_new_subject(database, client):
    schema_id = register(database, "t-value")
    validate(database, client, "value_validation => 'id'")
    assert not produce(client, named(schema_id))
    new_id = register(database, "new-value", OTHER)
    database.execute("SELECT streamhouse.rename_topic('t', 'new')")

    def is_taken():
        try:
            return client.produce("new", values=[named(new_id)]).record_count == 1
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND
            return False
    wait_until("the new name counts", is_taken)
    assert refusals(client.produce("new", values=[named(schema_id)]))


@pytest.mark.parametrize("idempotence, compression", [("on", "none"), ("on", "zstd"), ("off", "none")])
def test_the_command_names_the_lines_that_do_not_fit(database, make_agent, connect, idempotence, compression):
    """libstreamhouse tells each record's fate, and brings the others in, in their order and once."""
    schema_id = register(database, "t-value")
    assert schema_id < 10  # no newline in the head
    database.execute("SELECT streamhouse.create_topic('t', 1, value_validation => 'full')")
    agent = make_agent().start()
    lines = [named(schema_id, b'{"a": %d}' % i if i % 7 else b'{"a": "%d"}' % i).decode() for i in range(200)]
    result = run([PROGRAM.with_name("streamhouse"), "--server", agent.address, "produce", "t", "--batch-size", "1kB",
                  "--idempotence", idempotence, "--compression", compression], input="".join(line + "\n" for line in lines))
    good = [line for i, line in enumerate(lines) if i % 7]
    assert result.returncode == 1 and f"Produced {len(good)} records" in result.stdout
    assert f"{len(lines) - len(good)} of {len(lines)} records failed" in result.stderr
    told = [line for line in result.stderr.splitlines() if "line " in line]
    assert told and all("the value does not fit schema" in line for line in told)
    assert [int(line.split("line ")[1].split(":")[0]) % 7 for line in told] == [1] * len(told)
    assert [r.value.decode() for r in connect(agent).read_all("t")] == good
