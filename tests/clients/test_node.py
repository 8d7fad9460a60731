"""Stock Node.js clients of the gRPC services: @grpc/grpc-js with the proto file, `buf curl` without it (server reflection)."""
import json
import pathlib

from harness.processes import run

HERE = pathlib.Path(__file__).resolve().parent


def test_grpc_js_produces_and_fetches(agent, node_modules):
    result = run(["node", HERE / "journey.js", agent.address])
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "base_offset": 0,
        "streamed": [2, 3, 4],
        "fetched": ["two", "three", "four", "five"],
        "fetched_over_stream": ["one", "two", "three", "four", "five"],
        "latest": 5,
        "owner": agent.address,
        "refused": "NOT_FOUND",
    }


def test_buf_curl_needs_no_proto_file(agent, node_modules):
    def curl(method, request):
        result = run([node_modules / ".bin" / "buf", "curl", "--protocol", "grpc", "--http2-prior-knowledge",
                      "-d", json.dumps(request), f"http://{agent.address}/{method}"], cwd=agent.directory)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    curl("streamhouse.v1.Admin/CreateTopic", {"name": "curled"})
    produced = curl("streamhouse.v1.StreamHouse/Produce", {
        "partitions": [{"topic": "curled", "records": [{"value": "aGVsbG8="}]}]})
    assert produced["results"][0]["recordCount"] == "1"
    fetched = curl("streamhouse.v1.StreamHouse/Fetch", {"decode": True, "partitions": [{"topic": "curled"}]})
    assert fetched["results"][0]["records"][0]["value"] == "aGVsbG8="
    assert curl("grpc.health.v1.Health/Check", {})["status"] == "SERVING"
