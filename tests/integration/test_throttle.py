"""An S3 server that is too busy, forgetful or gone: producing goes on, callers are pushed back, nothing is lost.

STREAMHOUSE_TEST_S3_AWAY_S=120 makes the outage under load two minutes long instead of some seconds.
"""
import os
import threading
import time

import grpc
import pytest

from harness.processes import PATIENCE, run, wait_until
from harness.rpc import error_of, partition_error, pb, trailing
from harness.s3proxy import S3Proxy

AWAY_S = float(os.environ.get("STREAMHOUSE_TEST_S3_AWAY_S", "3"))
MEMORY = 16 << 20
BIG = bytes(range(256)) * 800  # 200 kB


@pytest.fixture
def proxy(s3):
    proxy = S3Proxy(s3["s3_endpoint"])
    yield proxy
    proxy.close()


@pytest.fixture
def make_s3_agent(make_agent, s3, directory, proxy):
    def make(**settings):
        return make_agent(**{**s3, "s3_endpoint": proxy.endpoint, "s3_prefix": directory.name + "/", "s3_timeout": "5s",
                             "breaker_failures_max": "3", "breaker_open": "1s", **settings})
    return make


def produce_once(client, topic, value):
    """One attempt, whatever comes of it."""
    request = pb.ProduceRequest()
    request.partitions.add(topic=topic).records.add(value=value)
    return client._Produce(request, timeout=client.deadline)


def wait_published(database, topic, records, seconds=30):
    wait_until(f"{records} records of {topic} are published", lambda: database.value(
        "SELECT records FROM streamhouse.topics WHERE topic = %s", topic) == records, seconds)


class Producer(threading.Thread):
    """Numbered records until stop(): what was acknowledged, and how the rest was refused, by status. It waits as long
    as it is told to."""

    def __init__(self, client, topic, padding=b""):
        super().__init__()
        self.client, self.topic, self.padding = client, topic, padding
        self.acknowledged, self.refusals, self.failure = [], [], None
        self._stop_wanted = threading.Event()
        self.start()

    def run(self):
        number = 0
        while not self._stop_wanted.is_set():
            value = b"%d " % number + self.padding
            try:
                produce_once(self.client, self.topic, value)
                self.acknowledged.append(value)
                number += 1
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.CANCELLED:
                    return  # the test has ended, and closed the client
                delay_ms = int(trailing(error, "grpc-retry-pushback-ms") or 0)
                self.refusals.append((error.code(), delay_ms, partition_error(error)))
                self._stop_wanted.wait(delay_ms / 1000)
            except Exception as failure:
                self.failure = failure
                return

    def stop(self):
        self._stop_wanted.set()
        self.join()
        assert self.failure is None, self.failure


def test_producing_goes_on_under_a_503_storm(database, make_s3_agent, proxy, connect):
    agent = make_s3_agent(throttle_put_rate="70", flush_interval="10ms").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    client.produce("t", values=[b"first"])
    proxy.limit("put", 10)
    producer = Producer(client, "t")
    wait_until("the rate is cut to what S3 takes", lambda: rate(agent, "put") <= 10, 15)
    refused, passed = proxy.count("put", "refused"), proxy.count("put", "passed")
    wait_until("many more puts go through", lambda: proxy.count("put", "passed") >= passed + 15, 15)
    assert proxy.count("put", "refused") <= refused + 1
    producer.stop()
    assert not producer.refusals and len(producer.acknowledged) > 100
    proxy.clear()
    wait_published(database, "t", len(producer.acknowledged) + 1)
    assert [r.value for r in client.read_all("t")] == [b"first", *producer.acknowledged]
    assert state(agent, "put") == "closed"


def test_a_slow_store_pushes_back_with_resource_exhausted(database, make_s3_agent, proxy, connect):
    agent = make_s3_agent(memory_budget=str(MEMORY), flush_size="1MB", throttle_put_rate="1", uploads_max="1").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    producer = Producer(connect(agent), "t", BIG)
    wait_until("producers are pushed back", lambda: producer.refusals)
    producer.stop()
    code, delay_ms, error = producer.refusals[0]
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and delay_ms > 0 and error.retry_after_ms == delay_ms
    assert agent.metric("streamhouse_memory_budget_used_bytes") <= MEMORY
    assert decisions(agent, "put", "rate_limited") > 0
    assert state(agent, "put") == "closed"


def test_s3_is_away_under_load(database, make_s3_agent, proxy, connect):
    agent = make_s3_agent(memory_budget=str(MEMORY), flush_size="1MB").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    client = connect(agent)
    client.produce("t", values=[b"first"])
    client.produce("o", values=[b"first"])

    proxy.leave()
    producer = Producer(client, "t", BIG)
    ends = time.monotonic() + AWAY_S
    object_refusals = 0
    wait_until("producers are pushed back", lambda: producer.refusals)
    acknowledged = len(producer.acknowledged)
    assert acknowledged * len(BIG) > MEMORY / 3  # it went on until the bound
    while time.monotonic() < ends:
        assert agent.metric("streamhouse_memory_budget_used_bytes") <= MEMORY
        object_refusals += is_object_topic_refused(client, agent)
        time.sleep(0.1)
    assert object_refusals > 3
    for code, delay_ms, error in producer.refusals:
        assert code is grpc.StatusCode.UNAVAILABLE, error
        assert 0 < delay_ms <= 1000 and error.retry_after_ms == delay_ms and "store does not answer" in error.message

    proxy.come_back()
    recovered = len(producer.acknowledged)
    wait_until("producers get through again", lambda: len(producer.acknowledged) > recovered + 20)
    producer.stop()
    client.produce("o", values=[b"second"])
    wait_published(database, "t", len(producer.acknowledged) + 1)
    assert [r.value for r in client.read_all("t")] == [b"first", *producer.acknowledged]
    assert [r.value for r in client.read_all("o")] == [b"first", b"second"]
    assert state(agent, "put") == "closed"


def is_object_topic_refused(client, agent):
    """While the circuit is open: at once."""
    if state(agent, "put") == "closed":
        return False
    begun = time.monotonic()
    error = error_of(lambda: produce_once(client, "o", b"refused"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE and int(trailing(error, "grpc-retry-pushback-ms")) > 0
    assert time.monotonic() - begun < 1 * PATIENCE
    return True


def test_reads_of_the_store_are_refused_and_the_tail_goes_on(database, make_s3_agent, proxy, connect):
    agent = make_s3_agent(breaker_open="30s").start()
    database.execute("SELECT streamhouse.create_topic('old')")
    database.execute("SELECT streamhouse.create_topic('new')")
    connect(agent).produce("old", values=[b"1", b"2"])
    wait_published(database, "old", 2)
    assert agent.terminate() == 0
    agent.start()
    client = connect(agent)
    client.produce("new", values=[b"a"])
    wait_published(database, "new", 1)

    proxy.fault("get", "cut")
    request = pb.FetchRequest()
    request.partitions.add(topic="old")
    for _ in range(2):  # the first one's attempts open the circuit
        error = error_of(lambda: client._Fetch(request, timeout=client.deadline))
        assert error.code() is grpc.StatusCode.UNAVAILABLE and int(trailing(error, "grpc-retry-pushback-ms")) > 0
    assert state(agent, "get") == "open" and state(agent, "put") == "closed"
    passed = proxy.count("get", "cut")
    begun = time.monotonic()
    error = error_of(lambda: client._Fetch(request, timeout=client.deadline))
    assert time.monotonic() - begun < 1 * PATIENCE and proxy.count("get", "cut") == passed
    assert 1000 < int(trailing(error, "grpc-retry-pushback-ms")) <= 30000 and "did not answer" in error.details()
    client.produce("new", values=[b"b"])
    assert [r.value for r in client.read_all("new")] == [b"a", b"b"]


def test_lost_replies_and_truncated_reads_harm_nobody(database, make_s3_agent, proxy, connect):
    agent = make_s3_agent(breaker_failures_max="100").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    proxy.fault("put", "lose_reply", 2)
    proxy.fault("put", "error", 2)
    values = [b"%d" % i for i in range(20)]
    for value in values:
        client.produce("t", values=[value])
    wait_published(database, "t", len(values))
    assert agent.terminate() == 0
    agent.start()
    proxy.fault("get", "truncate", 2)
    proxy.fault("get", "cut", 1)
    assert [r.value for r in connect(agent).read_all("t")] == values
    assert [proxy.count(*what) for what in (("put", "lose_reply"), ("put", "error"), ("get", "truncate"))] == [2, 2, 2]


@pytest.mark.parametrize("answer", ["page_404", "no_user"])
def test_what_stands_between_is_not_taken_for_the_store(database, make_s3_agent, proxy, connect, answer):
    """Reads wait and go on, uploads are made again, and the agent says that it is cut off from its store."""
    agent = make_s3_agent(breaker_failures_max="4").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    values = [b"%d" % i for i in range(10)]
    connect(agent).produce("t", values=values)
    wait_published(database, "t", len(values))
    assert agent.terminate() == 0
    agent.start()
    client = connect(agent)

    proxy.fault("get", answer)
    request = pb.FetchRequest()
    request.partitions.add(topic="t")
    for _ in range(4):
        error = error_of(lambda: client._Fetch(request, timeout=client.deadline))
        assert error.code() is grpc.StatusCode.UNAVAILABLE and int(trailing(error, "grpc-retry-pushback-ms")) > 0
    assert state(agent, "get") != "closed" and agent.metric("streamhouse_s3_errors_total") >= 4
    proxy.clear()
    wait_until("the circuit closes", lambda: readable(client) and state(agent, "get") == "closed")
    assert [r.value for r in client.read_all("t")] == values

    proxy.fault("put", answer, 3)
    client.produce("t", values=[b"more"])
    wait_published(database, "t", len(values) + 1)
    assert proxy.count("put", answer) == 3
    assert agent.terminate() == 0
    agent.start()
    assert [r.value for r in connect(agent).read_all("t")] == [*values, b"more"]


def readable(client):
    try:
        return bool(client.fetch("t").records)
    except grpc.RpcError:
        return False


def test_an_upload_whose_answer_was_lost_is_not_made_twice(database, make_s3_agent, proxy, connect, s3):
    """All repeats fail until the circuit opens; the put after that meets the object, which is this agent's own."""
    agent = make_s3_agent(breaker_failures_max="3", s3_retries_max="2").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    client.produce("t", values=[b"first"])
    wait_published(database, "t", 1)
    proxy.fault("put", "lose_reply", 1)
    proxy.fault("put", "error", 3)  # the client library sends the lost one again by itself
    client.produce("t", values=[b"second"])
    wait_published(database, "t", 2)
    assert [proxy.count("put", what) for what in ("lose_reply", "error")] == [1, 3]
    assert agent.metric('streamhouse_circuit_breaker_transitions_total{operation="put",to="open"}') == 1
    known = {key for key, in database.execute("SELECT object_key FROM streamhouse.object")}
    scrubbed = run(agent.command("--scrub"))
    assert "unknown" not in scrubbed.stdout.replace("unknown=0", ""), (scrubbed.stdout, known)


# --- what the gate says of itself

def rate(agent, operation):
    return agent.metric(f'streamhouse_throttle_rate_current{{operation="{operation}"}}')


def decisions(agent, operation, decision):
    return agent.metric(f'streamhouse_throttle_decisions_total{{operation="{operation}",decision="{decision}"}}')


def state(agent, operation):
    return next(name for name in ("closed", "open", "half_open") if agent.metric(
        f'streamhouse_circuit_breaker_state{{operation="{operation}",state="{name}"}}') == 1)
