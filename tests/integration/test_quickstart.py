"""`make quickstart`'s script, on an instance of its own: twice, and down."""
import os

from harness.processes import ROOT, run

SCRIPTS = ROOT / "deploy" / "local"


def test_quickstart_twice_and_down(directory):
    environment = {**os.environ, "SH_INSTANCE_DIR": str(directory / "home")}
    for name in ("PGHOST", "PGPORT", "PGUSER"):
        environment.pop(name, None)
    try:
        for _ in range(2):
            result = run([SCRIPTS / "quickstart.sh"], env=environment, timeout=120)
            assert result.returncode == 0, result.stdout + result.stderr
            assert "Read back 1707 records: byte for byte" in result.stdout
            assert "What runs where" in result.stdout and "make down" in result.stdout
    finally:
        down = run([SCRIPTS / "down.sh", "--purge"], env=environment, timeout=120)
    assert down.returncode == 0, down.stderr
    assert not (directory / "home").exists()
