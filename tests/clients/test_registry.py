"""Stock Node.js clients of the schema registry: they register, write, read, evolve, and are refused."""
import json
import pathlib

from harness.processes import run

HERE = pathlib.Path(__file__).resolve().parent


def life(script, agent):
    result = run(["node", HERE / script, f"http://{agent.ports['registry']}"])
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_kafkajs_client(agent, node_modules):
    each = {"same": True, "header": True, "read": 7, "evolved": True, "refused": 409, "found": True}
    assert life("registry_kafkajs.js", agent) == {
        "AVRO": each, "JSON": each, "PROTOBUF": each, "reference": "BLUE", "unknown": 404,
    }


def test_confluent_client(agent, node_modules):
    each = {"read": 7, "level": "FULL", "compatible": [True, False], "refused": 409, "versions": [1, 2],
            "latest": True, "version": 1, "id": True}
    assert life("registry_confluent.js", agent) == {
        "AVRO": each, "JSON": each,
        "PROTOBUF": {"read": 7, "newer": "hello", "refused": 409, "same": True, "versions": [1, 2]},
        "deletion": {"subjects": True, "soft": [1], "missing": 40401, "permanent": [1], "unknown": 40403,
                     "invalid": 42201, "rules": 422, "level": "BACKWARD"},
    }
