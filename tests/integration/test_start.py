"""What keeps an agent from starting: one line that names the thing and the remedy, a non-zero exit."""
import os
import pathlib
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness.agent import PROGRAM
from harness.processes import PATIENCE, free_port, run, wait_until
from harness.tcpproxy import TcpProxy


def assert_refuses(agent, *fragments):
    status, line = agent.run_to_failure()
    assert status not in (0, 66) and status > 0, line
    for fragment in fragments:
        assert fragment in line, line
    return line


def test_a_missing_wal_directory(make_agent, directory):
    missing = directory / "nowhere"
    assert_refuses(make_agent(wal_dir=missing), str(missing))
    assert not missing.exists()


def test_a_wal_directory_that_is_a_file(make_agent, directory):
    file = directory / "file"
    file.touch()
    assert_refuses(make_agent(wal_dir=file), str(file))


def test_an_unwritable_wal_directory(make_agent, directory):
    # Root may write anywhere but to a read-only mount.
    path = directory / "readonly"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", path], check=True)
    try:
        assert_refuses(make_agent(wal_dir=path), str(path))
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_wal_directory_in_use(agent, make_agent):
    other = make_agent("a2", wal_dir=agent.settings["data_dir"] + "/wal")
    assert_refuses(other, agent.settings["data_dir"] + "/wal", str(agent.process.pid))
    assert agent.http("/health")[0] == 200


@pytest.fixture
def away(make_agent):
    """An agent, not started, whose PostgreSQL is behind a proxy that refuses."""
    proxy = TcpProxy()
    agent = make_agent(http_address=f"127.0.0.1:{free_port()}")
    agent.ports["http"] = agent.settings["http_address"]
    agent.proxy, agent.server = proxy, agent.settings["postgres"]
    agent.settings["postgres"] += f" port={proxy.port} password=hunter2"
    yield agent
    proxy.close()


def let_in(agent):
    agent.proxy.target = "127.0.0.1:" + re.search(r"port=(\d+)", agent.server)[1]


def test_a_start_waits_for_a_postgresql_that_is_away(away):
    away.start(wait=False)
    wait_until("the log says what the start waits for", lambda: "start_waits for=postgresql" in away.log_text())
    status, body = away.http("/ready")
    assert status == 503 and "waits for PostgreSQL" in body and str(away.proxy.port) in body, body
    let_in(away)
    away.wait_ready()
    wait_until("the agent is ready", lambda: away.http("/ready")[0] == 200)
    assert away.terminate() == 0
    assert "hunter2" not in away.log_text() + body


def test_a_signal_ends_the_wait(away):
    away.start(wait=False)
    wait_until("the start waits", lambda: "start_waits" in away.log_text())
    began = time.monotonic()
    assert away.terminate() == 1
    assert time.monotonic() - began < 5 * PATIENCE
    assert "stopped by a signal before it was ready" in away.log_text()


def test_a_start_that_loses_postgresql_on_its_way_begins_anew(database, make_agent):
    """Between the registration and the end of the start the server goes: what was registered is left behind."""
    advice = database.value("SELECT pg_get_functiondef('streamhouse.agent_advice'::regproc)")
    database.execute("CREATE OR REPLACE FUNCTION streamhouse.agent_advice(connections int, heartbeat_ms bigint, marker_ms bigint) "
                     "RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$")
    agent = make_agent()
    agent.start(wait=False)
    wait_until("it begins anew", lambda: "starting_over status=UNAVAILABLE" in agent.log_text())
    database.execute(advice)
    agent.wait_ready()
    wait_until("it serves", lambda: agent.http("/ready")[0] == 200)
    assert agent.terminate() == 0


WRONG_CONNECTIONS = {
    "no such role": ("user=nobody_known", "nobody_known"),
    "no such database": ("dbname=nowhere", "nowhere"),
    "a value that libpq does not know": ("sslmode=perhaps", "perhaps"),
    "a port that is none": ("port=99999", "99999"),
    "a server without TLS": ("sslmode=require", "SSL"),
    "a service that is not defined": ("service=nowhere", "nowhere"),
}


@pytest.mark.parametrize("name", WRONG_CONNECTIONS)
def test_what_waiting_for_postgresql_does_not_change(make_agent, name):
    setting, fragment = WRONG_CONNECTIONS[name]
    agent = make_agent()
    agent.settings["postgres"] += f" {setting} password=hunter2"
    line = assert_refuses(agent, fragment, "postgres")
    assert "hunter2" not in line + agent.log_text()
    assert "start_waits" not in agent.log_text()


def test_no_extension(postgres, database, make_agent):
    agent = make_agent()
    agent.settings["postgres"] = postgres.conninfo("postgres")
    assert_refuses(agent, "CREATE EXTENSION streamhouse")


def test_an_old_server(make_agent):
    """A scripted server that greets as PostgreSQL 14."""
    def message(kind, body):
        return kind + struct.pack(">i", len(body) + 4) + body

    def serve(listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                (length,) = struct.unpack(">i", connection.recv(4))
                request = connection.recv(length - 4)
                if request[:4] in (struct.pack(">i", 80877103), struct.pack(">i", 80877104)):  # SSL, GSS
                    connection.sendall(b"N")
                    (length,) = struct.unpack(">i", connection.recv(4))
                    connection.recv(length - 4)
                connection.sendall(message(b"R", struct.pack(">i", 0)) + message(b"S", b"server_version\x0014.9\0")
                                   + message(b"K", struct.pack(">ii", 1, 1)) + message(b"Z", b"I"))
                while connection.recv(4096):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        agent = make_agent()
        agent.settings["postgres"] = f"host=127.0.0.1 port={listener.getsockname()[1]} user=x dbname=x sslmode=disable"
        assert_refuses(agent, "14", "15")


def test_grpc_port_in_use(make_agent):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refuses(make_agent(listen_address=f"127.0.0.1:{port}"), str(port))


def test_a_second_agent_on_the_same_port(agent, make_agent):
    assert_refuses(make_agent("a2", listen_address=agent.address), agent.address)


def test_http_port_in_use(make_agent):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert_refuses(make_agent(http_address=f"127.0.0.1:{port}"), str(port))


def test_another_store_than_the_clusters(database, agent, make_agent, connect, directory):
    """A mistyped store would take partitions, and nobody would find the records."""
    connect(agent).create_topic("t", partitions=4)
    owners = "SELECT string_agg(DISTINCT owner, ',') FROM streamhouse.partitions"
    own = pathlib.Path(agent.settings["store_dir"])
    other = directory / "elsewhere"
    lost = make_agent("a2", store_dir=other)
    assert_refuses(lost, str(other), str(own), "is not the cluster's store", "look at store_dir", "streamhouse.forget_store()")
    assert database.value("SELECT string_agg(agent_id, ',') FROM streamhouse.agents") == "a1"
    assert database.value(owners) == "a1" and not (other / "store").exists()
    scrubbed = run(lost.command("--scrub"))
    assert scrubbed.returncode == 1 and "is not the cluster's store" in scrubbed.stderr and scrubbed.stdout == ""

    # One that has lost its number is no longer known, until somebody says that it is the one.
    number = (own / "store" / "identity").read_text()
    (own / "store" / "identity").unlink()
    agent.terminate()
    assert_refuses(agent, "without a number", number.split()[-1])
    database.execute("SELECT streamhouse.forget_store()")
    agent.start()
    assert (own / "store" / "identity").read_text() != number
    assert str(own) in database.value("SELECT store_place FROM streamhouse.cluster")


def test_the_same_agent_id_twice(agent, make_agent, directory):
    twin = make_agent("a1")
    twin.directory = directory / "twin"
    (twin.directory / "wal").mkdir(parents=True)
    twin.settings |= {"data_dir": str(twin.directory), "port_file": str(twin.directory / "ports")}
    assert_refuses(twin, "a1")


BAD_SETTINGS = {
    "unknown name": ({"flush_intervall": "1s"}, ("flush_intervall", "flush_interval")),
    "not a number": ({"uploads_max": "many"}, ("uploads_max", "many")),
    "out of range": ({"uploads_max": "0"}, ("uploads_max", "1")),
    "bad unit": ({"wal_budget": "4 parsecs"}, ("wal_budget", "parsecs")),
    "bad choice": ({"wal_sync": "sometimes"}, ("wal_sync", "always")),
    "bad address": ({"listen_address": "nowhere"}, ("listen_address",)),
    "every address and no advertised one": ({"listen_address": "0.0.0.0:0"}, ("advertised_address",)),
    "s3 without a bucket": ({"store": "s3"}, ("s3_bucket",)),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings(make_agent, name):
    settings, fragments = BAD_SETTINGS[name]
    agent = make_agent(**settings)
    assert_refuses(agent, *fragments)
    checked = run(agent.command("--check-config"))
    assert checked.returncode == 2 and len(checked.stderr.splitlines()) == 1, checked.stderr


def test_settings_from_the_environment(make_agent):
    agent = make_agent()
    good = run(agent.command("--check-config"), env={**os.environ, "STREAMHOUSE_UPLOADS_MAX": "7",
                                                     "STREAMHOUSE_S3_SECRET_KEY": "hunter2"})
    assert good.returncode == 0, good.stderr
    assert "uploads_max: 7" in good.stdout and "hunter2" not in good.stdout
    bad = run(agent.command("--check-config"), env={**os.environ, "STREAMHOUSE_UPLOADS_MAX": "-7"})
    assert bad.returncode == 2 and "STREAMHOUSE_UPLOADS_MAX" in bad.stderr


def test_the_command_line():
    assert "0.1.0" in run([PROGRAM, "--version"]).stdout
    assert "--check-config" in run([PROGRAM, "--help"]).stdout
    unknown = run([PROGRAM, "--nope"])
    assert unknown.returncode == 2 and unknown.stderr
    absent = run([PROGRAM, "--config", "/nowhere/agent.yaml"])
    assert absent.returncode == 2 and "/nowhere/agent.yaml" in absent.stderr


def test_a_damaged_wal_is_refused_and_left_alone(database, make_agent, connect):
    agent = make_agent(flush_interval="1h", flush_size="128MB").start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    for i in range(50):
        client.produce("t", values=[b"%d" % i * 100])
    agent.kill()
    # One of the first batches, long since synced: the file is not the one that is prepared for later.
    file = next(f for f in agent.wal_files() if b"7" * 100 in f.read_bytes())
    data = bytearray(file.read_bytes())
    data[data.index(b"7" * 100) + 50] ^= 0xFF
    file.write_bytes(data)
    assert_refuses(agent, file.name)
    assert file.read_bytes() == bytes(data)


def test_the_port_file_is_not_written_through_a_link(make_agent, directory):
    """Somebody else, who may write where it lies, guesses the name under which it is prepared."""
    agent = make_agent()
    victim, ports = directory / "victim", agent.settings["port_file"]
    victim.write_text("precious")
    command = agent.command()
    agent.command = lambda: ["sh", "-c", f'ln -s {victim} {ports}.$$; exec "$@"', "sh", *command]
    agent.start()
    assert victim.read_text() == "precious"
    assert "grpc=" in open(ports).read()


def test_root_is_warned(make_agent):
    agent = make_agent().start()
    assert ("runs_as_root" in agent.log_text()) == (os.geteuid() == 0)


def test_a_variable_may_name_the_settings_file(make_agent):
    agent = make_agent()
    command = agent.command()
    agent.command = lambda: command[:1]
    agent.environment["STREAMHOUSE_CONFIG"] = command[2]
    agent.start()
    assert agent.http("/ready")[0] == 200
