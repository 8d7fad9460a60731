"""Records of validated topics name a schema that is registered under the topic's subject, or are refused."""
import struct

import grpc
import pytest

from harness.processes import wait_until
from harness.rpc import pb
from harness.tcpproxy import TcpProxy

SCHEMA = '{"type": "object", "properties": {"a": {"type": "integer"}}}'
OTHER = '{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}'


def named(schema_id, payload=b'{"a": 1}'):
    return struct.pack(">BI", 0, schema_id) + payload


def register(database, subject, schema=SCHEMA):
    """Returns the id."""
    database.execute("SELECT streamhouse.set_compatibility('NONE')")
    database.execute("SELECT streamhouse.register_schema(%s, %s, type => 'JSON')", subject, schema)
    return database.value("SELECT schema_id FROM streamhouse.schema_version WHERE subject = %s ORDER BY version DESC LIMIT 1",
                          subject)


def attempt(client, *records, **fields):
    """The message that refuses the records, or None."""
    try:
        client.produce("t", values=records, **fields)
        return None
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED), error
        return error.details()


@pytest.fixture
def client(database, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t', 1)")
    return connect(make_agent().start())


def test_value_names_a_registered_schema(database, client):
    assert attempt(client, b"anything") is None
    schema_id = register(database, "t-value")
    foreign_id = register(database, "u-value", OTHER)
    database.execute("SELECT streamhouse.alter_topic('t', value_validation => 'id')")
    wait_until("the agent validates", lambda: attempt(client, b"anything") is not None)

    assert attempt(client, named(schema_id), pb.Record(key=b"k"), named(schema_id, b"")) is None
    refusal = attempt(client, named(schema_id), named(foreign_id))
    assert "record 1" in refusal and f"schema {foreign_id}" in refusal
    for value in (b"", b"\0\0\0\0", b"\1" + named(schema_id)[1:], named(0), named(2**31)):
        assert "record 0" in attempt(client, value), value

    # A version that is registered meanwhile is taken at once: an id that is not known yet is asked about.
    new_id = register(database, "t-value", '{"type": "string"}')
    assert attempt(client, named(new_id)) is None

    database.execute("SELECT streamhouse.alter_topic('t', value_validation => 'none')")
    wait_until("the agent no longer validates", lambda: attempt(client, b"anything") is None)


def test_known_ids_go_on_without_postgres(postgres, database, make_agent, connect):
    proxy = TcpProxy(f"127.0.0.1:{postgres.port}")
    try:
        schema_id = register(database, "t-value")
        database.execute("SELECT streamhouse.create_topic('t', 1, value_validation => 'id')")
        agent = make_agent(postgres=database.conninfo + f" host=127.0.0.1 port={proxy.port}").start()
        client = connect(agent)
        assert attempt(client, named(schema_id)) is None
        proxy.cut()
        assert attempt(client, named(schema_id)) is None
        request = pb.ProduceRequest()
        request.partitions.add(topic="t").records.add(value=named(schema_id + 1))
        with pytest.raises(grpc.RpcError) as refused:
            client._Produce(request, timeout=client.deadline)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "PostgreSQL is asked" in refused.value.details()
    finally:
        proxy.heal()
        proxy.close()


def test_key_names_a_registered_schema(database, client):
    schema_id = register(database, "t-key")
    database.execute("SELECT streamhouse.alter_topic('t', key_validation => 'id')")
    wait_until("the agent validates", lambda: attempt(client, pb.Record(key=b"k", value=b"v")) is not None)
    assert attempt(client, pb.Record(key=named(schema_id), value=b"v"), pb.Record(value=b"no key")) is None


def test_stream_and_batches_are_checked(database, client):
    attempt(client, b"plain")
    plain = client.fetch("t", decode=False).batches
    schema_id = register(database, "t-value")
    database.execute("SELECT streamhouse.alter_topic('t', value_validation => 'id')")
    wait_until("the agent validates", lambda: attempt(client, b"plain") is not None)
    assert "record 0" in attempt(client, batches=plain)

    request = pb.ProduceRequest(request_id=7)
    part = request.partitions.add(topic="t")
    part.records.add(value=named(schema_id))
    part.records.add(value=b"plain")
    answer = next(client.produce_stream(iter([request])))
    assert answer.request_id == 7
    assert answer.results[0].error.reason == "INVALID" and "record 1" in answer.results[0].error.message


@pytest.mark.parametrize("settings", ["value_validation => 'full'", "value_validation => 'id', value_subject_strategy => 'record'"])
def test_what_cannot_be_checked_is_refused(database, client, settings):
    schema_id = register(database, "t-value")
    database.execute(f"SELECT streamhouse.alter_topic('t', {settings})")
    wait_until("the agent refuses", lambda: attempt(client, named(schema_id)) is not None)
