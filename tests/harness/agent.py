"""A real agent process on its own directory and ports."""
import os
import pathlib
import signal
import subprocess
import urllib.error
import urllib.request

from harness.processes import BUILD, end, run, wait_until

PROGRAM = BUILD / "streamhouse-agent"


class Agent:
    """`settings` override the test defaults below; the object outlives restarts of the process."""

    def __init__(self, directory, conninfo, agent_id="a1", **settings):
        self.directory = pathlib.Path(directory)
        self.agent_id = agent_id
        self.process = None
        self.ports = {}
        self.environment = {}
        self.settings = {
            "agent_id": agent_id,
            "data_dir": str(self.directory),
            "listen_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "schema_registry_address": "127.0.0.1:0",
            "postgres": conninfo,
            "port_file": str(self.directory / "ports"),
            "flush_interval": "100ms",
            "object_flush_interval": "50ms",
            "heartbeat_interval": "200ms",
            **settings,
        }
        (self.directory / "wal").mkdir(parents=True, exist_ok=True)
        (self.directory / "store").mkdir(exist_ok=True)

    # --- life

    def write_config(self):
        path = self.directory / "agent.yaml"
        quoted = {name: "'" + str(value).replace("'", "''") + "'" for name, value in self.settings.items()}
        path.write_text("".join(f"{name}: {value}\n" for name, value in quoted.items()))
        return path

    def command(self, *options):
        return [str(PROGRAM), "--config", str(self.write_config()), *options]

    def start(self, wait=True):
        port_file = pathlib.Path(self.settings["port_file"])
        port_file.unlink(missing_ok=True)
        self.log = open(self.directory / "agent.log", "ab")
        self.process = subprocess.Popen(
            self.command(), stdout=self.log, stderr=self.log, env={**os.environ, **self.environment})
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=30):
        def ready():
            assert self.process.poll() is None, f"the agent exited with {self.process.returncode}:\n{self.log_text()[-4000:]}"
            return pathlib.Path(self.settings["port_file"]).exists()

        wait_until(f"agent {self.agent_id} is ready", ready, seconds)
        lines = pathlib.Path(self.settings["port_file"]).read_text().split()
        self.ports = dict(line.split("=", 1) for line in lines)

    def run_to_failure(self):
        """Start an agent that must not come up: (exit status, the last line on stderr)."""
        result = run(self.command(), env={**os.environ, **self.environment})
        return result.returncode, (result.stderr.strip().splitlines() or [""])[-1]

    def kill(self):
        """kill -9."""
        end(self.process, signal.SIGKILL)

    def terminate(self):
        """Drain and exit: the exit status."""
        return end(self.process, signal.SIGTERM)

    def close(self):
        """End whatever runs; a sanitizer's report fails the test."""
        if self.process and self.process.poll() is None:
            end(self.process, signal.SIGKILL)
        text = self.log_text()
        for mark in ("ERROR: AddressSanitizer", "runtime error:", "WARNING: ThreadSanitizer", "ERROR: LeakSanitizer"):
            assert mark not in text, text[max(0, text.index(mark) - 200):][:6000]

    # --- looking at it

    @property
    def address(self):
        return self.ports["grpc"]

    def log_text(self):
        path = self.directory / "agent.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def http(self, path):
        """(status, body)"""
        try:
            with urllib.request.urlopen(f"http://{self.ports['http']}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name):
        """The value of a metric without labels, or the sum over all its labels."""
        values = [float(line.rsplit(" ", 1)[1]) for line in self.http("/metrics")[1].splitlines()
                  if line.startswith((name + " ", name + "{"))]
        assert values, f"no metric {name}"
        return sum(values)

    def wal_files(self):
        """Log files in the WAL directory (not the identity or the lock)."""
        return [p for p in pathlib.Path(self.settings.get("wal_dir", self.directory / "wal")).iterdir() if p.suffix == ".wal"]
