"""What tools see without our proto file: health, reflection, metrics."""
import re

from harness.processes import wait_until
from harness.rpc import health_pb


def test_health_ready_metrics(database, agent, client):
    assert agent.http("/health")[0] == 200
    assert agent.http("/ready")[0] == 200
    assert agent.http("/nope")[0] == 404
    status, text = agent.http("/metrics")
    assert status == 200
    names = set(re.findall(r"^# TYPE (\S+) \S+$", text, re.M))
    assert {"streamhouse_producer_records_total", "streamhouse_producer_bytes_total", "streamhouse_wal_size_bytes",
            "streamhouse_wal_sync_duration_seconds", "streamhouse_agent_memory_bytes",
            "streamhouse_partition_count"} <= names
    for line in text.splitlines():
        assert line.startswith("# ") or re.fullmatch(r'[a-z_:][a-z0-9_:]*(\{[^}]*\})? \S+', line), line


def test_produce_is_counted(database, agent, client):
    database.execute("SELECT streamhouse.create_topic('t')")
    client.produce("t", values=[b"x"] * 5)
    assert agent.metric("streamhouse_producer_records_total") == 5


def test_grpc_health(agent, client):
    serving = health_pb.HealthCheckResponse.SERVING
    assert client.health() == serving
    assert client.health("streamhouse.v1.StreamHouse") == serving


def test_draining_is_announced(database, agent, client):
    watch = client.channel.unary_stream(
        "/grpc.health.v1.Health/Watch", request_serializer=health_pb.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb.HealthCheckResponse.FromString)
    stream = watch(health_pb.HealthCheckRequest(), timeout=60)
    assert next(stream).status == health_pb.HealthCheckResponse.SERVING
    import signal
    agent.process.send_signal(signal.SIGTERM)
    assert next(stream).status == health_pb.HealthCheckResponse.NOT_SERVING
    wait_until("it ends", lambda: agent.process.poll() is not None, 40)
    assert agent.process.returncode == 0


def test_workers_are_visible(postgres, database):
    kinds = {row[0] for row in database.execute("SELECT DISTINCT backend_type FROM pg_stat_activity")}
    assert any(kind and kind.startswith("streamhouse") for kind in kinds), kinds


def test_the_worker_expires_leases_in_its_database(postgres, make_agent, database):
    """The worker serves the database named by streamhouse.database; there a silent agent's lease runs out, in ticks."""
    served = postgres.database("streamhouse")
    agent = make_agent("w1")
    agent.settings["postgres"] = served.conninfo
    agent.start()
    state = lambda: served.value("SELECT ticks_left FROM streamhouse.leases WHERE agent_id = 'w1'")
    assert state() > 0
    agent.kill()
    wait_until("the lease has run out", lambda: state() == 0, 30)
    served.close()
