"""`make quickstart`'s script, on an instance of its own: twice, beside others on its ports, and down."""
import contextlib
import os
import socket

from harness.processes import ROOT, run

SCRIPTS = ROOT / "deploy" / "local"


def hold(port):
    """Somebody else has the port, unless somebody has it already."""
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", port))
    return contextlib.nullcontext()


def agent_ports(home):
    lines = dict(line.split("=", 1) for line in (home / "env").read_text().splitlines())
    return [int(lines[name]) for name in ("GRPC_PORT", "HTTP_PORT", "REGISTRY_PORT")]


def test_quickstart_twice_and_down(directory):
    home = directory / "home"
    environment = {**os.environ, "SH_INSTANCE_DIR": str(directory / "home")}
    for name in ("PGHOST", "PGPORT", "PGUSER"):
        environment.pop(name, None)

    def quickstart():
        result = run([SCRIPTS / "quickstart.sh"], env=environment, timeout=120)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Read back 1707 records: byte for byte" in result.stdout
        assert "What runs where" in result.stdout and "make down" in result.stdout
        ports = agent_ports(home)
        assert len(set(ports)) == 3
        return ports

    try:
        with hold(8080):
            first = quickstart()
        assert quickstart() == first  # it runs still
        assert run([SCRIPTS / "down.sh"], env=environment, timeout=120).returncode == 0
        with hold(first[1]):
            assert first[1] not in quickstart()
    finally:
        down = run([SCRIPTS / "down.sh", "--purge"], env=environment, timeout=120)
    assert down.returncode == 0, down.stderr
    assert not home.exists()
