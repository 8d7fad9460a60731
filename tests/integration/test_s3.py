"""The journey through a real S3 server, and what is wrong with one is told at start."""
import re
import subprocess

import pytest

import check_reference
from harness.agent import PROGRAM
from harness.processes import ROOT, free_port, run, wait_until
from harness.s3proxy import S3Proxy

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
    assert_labels_are_documented(agent.http("/metrics")[1])


def assert_labels_are_documented(text):
    """Against docs/reference/metrics.md; that it has every metric is seen without an agent."""
    page = (check_reference.PAGES / "metrics.md").read_text()
    labels_of = {check_reference.names_in(name)[0]: set(check_reference.names_in(labels))
                 for name, _, labels, _ in check_reference.rows(page, 4)}
    values_of = {label: set(check_reference.names_in(values)) for labels, values in check_reference.rows(page, 2)
                 for label in check_reference.names_in(labels)}
    for name, labels in re.findall(r"^(\w+)\{(.*)\} \S+$", text, re.M):
        pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        pairs.pop("le", None)
        name = next(n for n in (name, re.sub("_(bucket|sum|count)$", "", name)) if n in labels_of)
        assert pairs.keys() == labels_of[name], name
        for label in pairs.keys() - {"code", "method", "route", "status"}:  # of which the page names only the kind
            assert pairs[label] in values_of[label], f"{name}: {label}={pairs[label]}"


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


def test_a_start_waits_for_a_store_that_is_away(database, make_s3_agent, s3):
    """Nothing listens there: the log and /ready name the endpoint. Then it is busy, and then it is well."""
    port = free_port()
    agent = make_s3_agent(s3_endpoint=f"http://127.0.0.1:{port}", http_address=f"127.0.0.1:{free_port()}",
                          breaker_failures_max="4", breaker_open="1s")
    agent.start(wait=False)
    agent.ports["http"] = agent.settings["http_address"]
    wait_until("the log says what the start waits for", lambda: "start_waits for=store" in agent.log_text())
    status, body = agent.http("/ready")
    assert status == 503 and f"127.0.0.1:{port}" in body and "waits for the store" in body and "s3_endpoint" in body
    # Nor does the reason go when S3 is asked no more for a while.
    wait_until("the circuit is open", lambda: "did not answer lately" in agent.http("/ready")[1])
    wait_until("the reason stands beside it", lambda: re.search("did not answer lately.*s3_endpoint", agent.http("/ready")[1]))
    proxy = S3Proxy(s3["s3_endpoint"], port=port)
    try:
        proxy.fault("any", "slow_down")
        wait_until("the store is busy", lambda: proxy.count("list", "slow_down") >= 2)
        assert agent.process.poll() is None
        wait_until("/ready says so", lambda: "SlowDown" in agent.http("/ready")[1])
        proxy.clear()
        agent.wait_ready()
        wait_until("the agent is ready", lambda: agent.http("/ready")[0] == 200)
        assert agent.terminate() == 0
    finally:
        proxy.close()


@pytest.fixture
def tls(directory):
    """(certificate, key): one that vouches for itself."""
    certificate, key = directory / "cert.pem", directory / "key.pem"
    made = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=s3", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate])
    assert made.returncode == 0, made.stderr
    return certificate, key


def test_tls_with_an_authority_of_ones_own(database, make_s3_agent, s3, tls, connect):
    proxy = S3Proxy(s3["s3_endpoint"], tls=tls)
    try:
        status, line = make_s3_agent(s3_endpoint=proxy.endpoint).run_to_failure()
        assert status not in (0, 66) and "not trusted" in line and "s3_ca_file" in line
        status, line = make_s3_agent(s3_endpoint=proxy.endpoint, s3_ca_file="/no/such/file").run_to_failure()
        assert status not in (0, 66) and "/no/such/file" in line and "s3_ca_file" in line
        agent = make_s3_agent(s3_endpoint=proxy.endpoint, s3_ca_file=tls[0]).start()
        database.execute("SELECT streamhouse.create_topic('t')")
        connect(agent).produce("t", values=[b"over TLS"])
        wait_until("published", lambda: database.value("SELECT sum(records) FROM streamhouse.partitions") == 1)
        assert agent.terminate() == 0
        del agent.settings["s3_ca_file"]
        agent.environment["SSL_CERT_FILE"] = str(tls[0])
        agent.start()
        assert [r.value for r in connect(agent).read_all("t")] == [b"over TLS"]
        assert agent.terminate() == 0
        agent.settings["s3_endpoint"] = proxy.endpoint.replace("https://", "http://")
        agent.start(wait=False)
        wait_until("the log tells what is wrong", lambda: "must begin with https://" in agent.log_text())
    finally:
        proxy.close()
