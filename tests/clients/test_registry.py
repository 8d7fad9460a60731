"""Stock Node.js clients of the schema registry: they register, write, read, evolve, and are refused."""
import json
import pathlib

from harness.processes import run

HERE = pathlib.Path(__file__).resolve().parent


def life(script, agent):
    result = run(["node", HERE / script, f"http://{agent.ports['registry']}"])
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def check_written(database, client, topic, wire):
    """What a serializer writes fits the schema that it registered; without its last byte it does not."""
    database.execute("SELECT streamhouse.create_topic(%s, 1, value_validation => 'full')", topic)
    result = client.produce(topic, values=[wire, wire[:-1], wire])
    assert [e.index for e in result.record_errors] == [1] and result.record_count == 2, result
    assert [r.value for r in client.read_all(topic)] == [wire, wire]


def test_kafkajs_client(database, agent, connect, node_modules):
    each = {"same": True, "header": True, "read": 7, "evolved": True, "refused": 409, "found": True}
    seen = life("registry_kafkajs.js", agent)
    written = {kind: bytes.fromhex(seen[kind].pop("wire")) for kind in ("AVRO", "JSON", "PROTOBUF")}
    assert seen == {
        "AVRO": each, "JSON": each, "PROTOBUF": each, "reference": "BLUE", "unknown": 404,
    }
    for kind, wire in written.items():
        schema_id = int.from_bytes(wire[1:5], "big")
        topic = f"kafkajs-{kind}"
        assert schema_id == database.value(
            "SELECT streamhouse.register_schema(%s, (SELECT schema FROM streamhouse.agent_schema_by_id(%s)), %s)",
            topic + "-value", schema_id, kind)
        if kind != "PROTOBUF":
            check_written(database, connect(agent), topic, wire)
            continue
        # It writes no list of message indexes, and so nothing that the other registry clients could read.
        database.execute("SELECT streamhouse.create_topic(%s, 1, value_validation => 'full')", topic)
        refused, = connect(agent).produce(topic, values=[wire]).record_errors
        assert "message indexes" in refused.message


def test_confluent_client(database, agent, connect, node_modules):
    each = {"read": 7, "level": "FULL", "compatible": [True, False], "refused": 409, "versions": [1, 2],
            "latest": True, "version": 1, "id": True}
    seen = life("registry_confluent.js", agent)
    written = {kind: bytes.fromhex(seen[kind].pop("wire")) for kind in ("AVRO", "JSON", "PROTOBUF")}
    assert seen == {
        "AVRO": each, "JSON": each,
        "PROTOBUF": {"read": 7, "newer": "hello", "refused": 409, "same": True, "versions": [1, 2]},
        "deletion": {"subjects": True, "soft": [1], "missing": 40401, "permanent": [1], "unknown": 40403,
                     "invalid": 42201, "rules": 422, "level": "BACKWARD"},
    }

    for topic, wire in zip(("avros", "jsons", "protos"), written.values()):
        check_written(database, connect(agent), topic, wire)
