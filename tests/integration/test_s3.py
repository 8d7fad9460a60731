"""The journey through a real S3 server, and what is wrong with one is told at start."""
import subprocess

import pytest

from harness.agent import PROGRAM
from harness.processes import ROOT, free_port, run, wait_until

STREAMHOUSE = PROGRAM.with_name("streamhouse")
DATA = ROOT / "examples" / "earthquakes.ndjson"


@pytest.fixture
def make_s3_agent(make_agent, s3, directory):
    def make(**settings):
        return make_agent(**{**s3, "s3_prefix": directory.name + "/", **settings})
    return make


def test_the_earthquakes_through_s3(database, make_s3_agent):
    agent = make_s3_agent().start()
    server = ["--server", agent.address]
    database.execute("SELECT streamhouse.create_topic('q', partitions => 3)")
    produced = run([STREAMHOUSE, *server, "produce", "q", "--file", DATA, "--key-json", "net"])
    assert produced.returncode == 0, produced.stderr
    wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == 1707)
    assert agent.terminate() == 0
    agent.start()  # nothing in memory now: everything comes from S3
    read = subprocess.run([STREAMHOUSE, "--server", agent.address, "consume", "q", "--from", "earliest", "--output", "value"],
                          capture_output=True, timeout=120)
    assert read.returncode == 0, read.stderr
    assert sorted(read.stdout.splitlines()) == sorted(DATA.read_bytes().splitlines())
    assert agent.metric("streamhouse_s3_requests_total") > 0


def test_large_objects_go_up_in_parts(database, make_s3_agent, connect):
    agent = make_s3_agent(s3_multipart_size="5MB", flush_size="12MB", flush_interval="1h").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    for i in range(14):
        client.produce("t", values=[bytes([i]) * 999_000])
    wait_until("published", lambda: database.value("SELECT coalesce(sum(records), 0) FROM streamhouse.partitions") >= 12)
    assert database.value("SELECT max(bytes) FROM streamhouse.objects") > 10_000_000
    agent.terminate()
    agent.start()
    assert [r.value[:1] for r in connect(agent).read_all("t")] == [bytes([i]) for i in range(14)]


@pytest.mark.parametrize("setting, value, fragments", [
    ("s3_secret_key", "not-the-secret", ("s3_secret_key",)),
    ("s3_access_key", "nobody", ("s3_access_key",)),
    ("s3_bucket", "no-such-bucket", ("no-such-bucket", "s3_bucket")),
])
def test_wrong_settings_are_told_at_start(make_s3_agent, setting, value, fragments):
    status, line = make_s3_agent(**{setting: value}).run_to_failure()
    assert status not in (0, 66)
    for fragment in fragments:
        assert fragment in line, line
    assert "not-the-secret" not in line


def test_a_wrong_endpoint_is_told_at_start(make_s3_agent):
    endpoint = f"http://127.0.0.1:{free_port()}"
    status, line = make_s3_agent(s3_endpoint=endpoint, s3_retries_max="1").run_to_failure()
    assert status not in (0, 66) and endpoint in line and "s3_endpoint" in line
