"""Stock Node.js clients: @grpc/grpc-js with the proto file, `buf curl` without it (server reflection)."""
import json
import pathlib
import shutil

import pytest

from harness.processes import run

HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def node_modules():
    """The pinned packages; npm is asked only when they are not there yet."""
    installed, wanted = HERE / "node_modules" / ".package-lock.json", HERE / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
        # Not `npm ci`: it refuses a lock file that lacks buf's binaries for other machines than this one.
        result = run(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=HERE, timeout=300)
        assert result.returncode == 0, result.stderr
    assert shutil.which("node")
    return HERE / "node_modules"


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
