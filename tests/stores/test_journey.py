"""What an S3 server must do for StreamHouse, against each maker's: the way of records into it and out again, and its bad days.

STREAMHOUSE_TEST_STORES="versitygw" runs one server's; STREAMHOUSE_TEST_BUSY_S=5 shortens its busy half minute.
"""
import os
import threading

import grpc

from harness.processes import BUILD, run, wait_until
from harness.s3proxy import S3Proxy

OBJECTS = 1_050
BUSY_S = float(os.environ.get("STREAMHOUSE_TEST_BUSY_S", "30"))
MEGABYTE = 1 << 20


def published(world, topic, records):
    wait_until(f"{records} records of {topic} are published", lambda: world.database.value(
        "SELECT records FROM streamhouse.topics WHERE topic = %s", topic) == records, 60)


def values(world, agent, topic):
    return [record.value for record in world.client(agent).read_all(topic)]


def test_the_contract_of_a_store(server):
    """Puts that never overwrite, ranges, lists in pages, parts, lost answers, what is told of wrong settings."""
    made = run([BUILD / "tests/unit/agent/store/test_s3_server"], env={
        **os.environ, **server.environment(), "STREAMHOUSE_TEST_S3_SKIP": "test_keeps_the_contract_in_virtual_host_style"})
    assert made.returncode == 0, made.stdout + made.stderr


def test_records_come_back_after_a_restart_and_a_rebuild_and_go_when_they_are_deleted(world):
    agent = world.agent().start()
    world.database.execute("SELECT streamhouse.create_topic('many')")
    client = world.client(agent)
    sent = []
    while world.database.value("SELECT count(*) FROM streamhouse.object") < OBJECTS:
        assert len(sent) < 20 * OBJECTS
        for _ in range(20):
            sent.append(b"%d" % len(sent))
            client.produce("many", values=sent[-1:])
    published(world, "many", len(sent))
    assert agent.terminate() == 0
    agent.start()
    assert values(world, agent, "many") == sent

    before = world.database.value("SELECT coalesce(max(number), 0) FROM streamhouse.index_snapshot")
    world.database.execute("SELECT streamhouse.request_snapshot()")
    wait_until("a snapshot is written", lambda: world.database.value(
        "SELECT count(*) FROM streamhouse.snapshot_status WHERE number > %s AND status = 'done'", before), 60)
    sent.append(b"after the snapshot")
    world.client(agent).produce("many", values=sent[-1:])
    published(world, "many", len(sent))
    assert agent.terminate() == 0

    world.new_database()
    agent.settings["postgres"] = world.database.conninfo
    rebuilt = run(agent.command("--rebuild"))
    assert rebuilt.returncode == 0 and "damaged" not in rebuilt.stdout, rebuilt.stdout + rebuilt.stderr
    agent.start()
    wait_until("the term is settled", lambda: world.database.value(
        "SELECT bool_and(status = 'settled') FROM streamhouse.term_status"), 60)
    wait_until("readers are told so", lambda: values(world, agent, "many") == sent, 10)  # an end may be a second old

    world.database.execute("SELECT streamhouse.drop_topic('many')")
    for _ in range(3):  # what the last two snapshots refer to stays
        world.database.execute("SELECT streamhouse.request_snapshot()")
        number = world.database.value("SELECT max(number) FROM streamhouse.index_snapshot")
        wait_until("another snapshot is written", lambda: world.database.value(
            "SELECT count(*) FROM streamhouse.snapshot_status WHERE number > %s AND status = 'done'", number), 60)
    wait_until("all objects are deleted", lambda: world.database.value("SELECT count(*) FROM streamhouse.object") == 0, 120)
    scrubbed = run(agent.command("--scrub"))
    # The last object of the agent that was ended holds answers and no records: a look through the store finds it.
    assert scrubbed.returncode == 0 and scrubbed.stdout.count("unknown object=") <= 1 and (
        " missing=0 size=0 " in scrubbed.stdout), scrubbed.stdout + scrubbed.stderr


def test_a_compaction_goes_up_in_parts(world):
    agent = world.agent(s3_multipart_size="5MB", compaction_interval="200ms").start()
    world.database.execute("SELECT streamhouse.create_topic('large')")
    sent = [bytes([i]) * (MEGABYTE - 1000) for i in range(14)]
    client = world.client(agent)
    for value in sent:
        client.produce("large", values=[value])
    published(world, "large", len(sent))
    # It begins when all are there, and takes them together.
    assert agent.terminate() == 0
    agent.settings["compaction_rate"] = "1GB"
    agent.start()
    wait_until("a compaction has made a large object", lambda: world.database.value(
        "SELECT count(*) FROM streamhouse.object WHERE state = 'live' AND object_key LIKE '%%/compact-%%' AND bytes > %s",
        12 * MEGABYTE), 60)
    assert agent.metric('streamhouse_s3_requests_total{operation="upload_complete",result="ok"}') > 0
    assert agent.terminate() == 0
    agent.start()
    assert values(world, agent, "large") == sent


class Producer(threading.Thread):
    """Numbered records until stop(), whatever happens: those that were acknowledged."""

    def __init__(self, client, topic):
        super().__init__()
        self.client, self.topic, self.acknowledged = client, topic, []
        self._stop_wanted = threading.Event()
        self.start()

    def run(self):
        while not self._stop_wanted.is_set():
            value = b"%d" % len(self.acknowledged)
            try:
                self.client.produce(self.topic, values=[value])
                self.acknowledged.append(value)
            except grpc.RpcError:
                self._stop_wanted.wait(0.1)

    def stop(self):
        self._stop_wanted.set()
        self.join()


def test_a_server_that_is_killed_under_load(world, server):
    agent = world.agent(s3_timeout="5s", breaker_open="1s").start()
    world.database.execute("SELECT streamhouse.create_topic('t')")
    producer = Producer(world.client(agent), "t")
    wait_until("records are published", lambda: world.database.value("SELECT records FROM streamhouse.topics") > 20)
    server.kill()
    failed = len(producer.acknowledged)
    wait_until("the agent notices", lambda: agent.metric("streamhouse_s3_errors_total") > 0)
    wait_until("producing goes on", lambda: len(producer.acknowledged) > failed + 20)
    server.start()
    again = world.database.value("SELECT records FROM streamhouse.topics")
    wait_until("publishing goes on", lambda: world.database.value("SELECT records FROM streamhouse.topics") > again, 60)
    producer.stop()
    published(world, "t", len(producer.acknowledged))
    assert agent.terminate() == 0
    agent.start()
    assert values(world, agent, "t") == producer.acknowledged
    scrubbed = run(agent.command("--scrub"))
    assert scrubbed.returncode == 0, scrubbed.stdout + scrubbed.stderr


def test_a_server_that_is_busy(world, server):
    proxy = S3Proxy(server.endpoint)
    try:
        agent = world.agent(s3_endpoint=proxy.endpoint, breaker_open="1s").start()
        world.database.execute("SELECT streamhouse.create_topic('t')")
        producer = Producer(world.client(agent), "t")
        wait_until("records are published", lambda: world.database.value("SELECT records FROM streamhouse.topics") > 20)
        proxy.fault("any", "slow_down")
        threading.Event().wait(BUSY_S)  # the length of the outage is what is tested
        assert agent.process.poll() is None
        proxy.clear()
        producer.stop()
        published(world, "t", len(producer.acknowledged))
        assert agent.terminate() == 0
        agent.start()
        assert values(world, agent, "t") == producer.acknowledged
    finally:
        proxy.close()


def test_wrong_keys_and_bucket_are_told(world):
    for setting, value in (("s3_access_key", "nobody"), ("s3_secret_key", "not-the-secret"), ("s3_bucket", "no-such-bucket")):
        status, line = world.agent(**{setting: value}).run_to_failure()
        assert status not in (0, 66) and setting in line and "not-the-secret" not in line, line


def test_tls_with_an_authority_of_ones_own(world, server):
    certificate, key = world.directory / "cert.pem", world.directory / "key.pem"
    made = run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=s3", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate])
    assert made.returncode == 0, made.stderr
    proxy = S3Proxy(server.endpoint, tls=(certificate, key))
    try:
        status, line = world.agent(s3_endpoint=proxy.endpoint).run_to_failure()
        assert status not in (0, 66) and "s3_ca_file" in line, line
        agent = world.agent(s3_endpoint=proxy.endpoint, s3_ca_file=certificate).start()
        world.database.execute("SELECT streamhouse.create_topic('t')")
        world.client(agent).produce("t", values=[b"over TLS"])
        published(world, "t", 1)
        assert agent.terminate() == 0
        agent.start()
        assert values(world, agent, "t") == [b"over TLS"]
    finally:
        proxy.close()
