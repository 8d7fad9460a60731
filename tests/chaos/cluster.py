"""A cluster to be hurt: PostgreSQL, an S3 server behind a proxy, agents on WAL directories of their own, and between any two
of them a network that can fail. Agents are restarted when they end, as a service manager would."""
import os
import pathlib
import shutil
import signal
import tempfile
import threading
import time

import psycopg2

from harness.agent import Agent
from harness.loopdisk import LoopDisk
from harness.postgres import Postgres
from harness.processes import end, lasting_port, wait_until
from harness.s3proxy import S3Proxy
from harness.tcpproxy import TcpProxy

_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
_RESTART_AFTER_S = 0.2
# Signals that the nemesis sends; any other is a crash.
_OURS = (-signal.SIGKILL, -signal.SIGTERM)


class Clock:
    """A wall clock that can be turned, of processes that get the environment that start() returns."""

    def __init__(self, path):
        self.path = path

    @staticmethod
    def forget_the_dead():
        """libfaketime leaves a semaphore and a page in memory behind for each process that was killed; a process of another user
        that comes by the same number cannot start."""
        for left in pathlib.Path("/dev/shm").glob("*faketime_*"):
            if not pathlib.Path("/proc", left.name.rpartition("_")[2]).exists():
                left.unlink(missing_ok=True)

    def start(self):
        self.forget_the_dead()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.turn(0)
        return {"LD_PRELOAD": _FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.path), "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_NO_CACHE": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0"}

    def turn(self, seconds):
        """It goes so far ahead of the true one."""
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(f"{seconds:+d}s\n")
        temporary.chmod(0o644)
        temporary.replace(self.path)


class Node:
    """One agent with its networks: to PostgreSQL, to the store, from its clients."""

    def __init__(self, cluster, agent_id):
        self.agent_id = agent_id
        self.postgres = TcpProxy(f"127.0.0.1:{cluster.postgres.port}")
        self.s3 = S3Proxy(f"http://{cluster.store_target}", seed=len(cluster.nodes)) if cluster.s3 else None
        self.store = TcpProxy(self.s3.endpoint.removeprefix("http://") if self.s3 else None)
        port = lasting_port()
        self.clients = TcpProxy(f"127.0.0.1:{port}")
        self.directory = cluster.directory / agent_id
        self.disk = LoopDisk(self.directory) if cluster.disks else None
        if self.disk:
            (self.disk.path / "wal").mkdir()
        wal = {"wal_dir": str(self.disk.path / "wal")} if self.disk else {}
        conninfo = cluster.database.conninfo.replace(f"port={cluster.postgres.port}", f"port={self.postgres.port}")
        self.agent = Agent(
            self.directory, conninfo, agent_id, listen_address=f"127.0.0.1:{port}",
            advertised_address=self.clients.address, wal_sync="always", wal_file_size="1MB", wal_budget="64MB",
            s3_timeout="2s", **wal, **cluster.store_settings(self.store.address))
        self.clock = Clock(self.directory / "clock")
        if cluster.clocks:
            self.agent.environment.update(self.clock.start())
        self.wanted = False
        self.ended_at = 0.0

    @property
    def alive(self):
        return self.agent.process is not None and self.agent.process.poll() is None

    def ready(self):
        """Has this start of the process told its ports?"""
        return self.alive and pathlib.Path(self.agent.settings["port_file"]).exists()

    def close(self):
        self.wanted = False
        if self.alive:
            self.agent.process.send_signal(signal.SIGCONT)
            end(self.agent.process, signal.SIGKILL)
        for proxy in (self.postgres, self.store, self.clients, *([self.s3] if self.s3 else [])):
            proxy.close()
        if self.disk:
            self.disk.close()


class Cluster:
    """`s3` is an S3Server; without, a directory is the store. With `disks` each WAL has a disk of its own, with `clocks` each
    agent, and PostgreSQL, a wall clock."""

    def __init__(self, directory, agents=3, s3=None, disks=False, clocks=False):
        self.disks, self.clocks = disks, clocks
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.s3 = s3
        # Of its own directory: the user postgres must reach it.
        self.server_clock = Clock(pathlib.Path(tempfile.mkdtemp(prefix="sh-clock-")) / "server") if clocks else None
        if clocks:
            self.server_clock.path.parent.chmod(0o755)
        self.postgres = Postgres(self.server_clock.start() if clocks else None)
        # The worker that expires leases serves this database.
        self.database = self.postgres.database("streamhouse")
        self.database.execute("ALTER SYSTEM SET streamhouse.snapshot_interval = '2s'")
        self.database.execute("SELECT pg_reload_conf()")
        self.store_target = s3.settings()["s3_endpoint"].removeprefix("http://") if s3 else None
        self.crashes = []
        self.exits = 0
        self.nodes = []
        for i in range(agents):
            self.nodes.append(Node(self, f"a{i + 1}"))
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def store_settings(self, endpoint):
        if not self.s3:
            (self.directory / "store").mkdir(exist_ok=True)
            return {"store_dir": str(self.directory / "store")}
        return {**self.s3.settings(), "s3_endpoint": f"http://{endpoint}", "s3_prefix": f"chaos-{os.getpid()}-{self.directory.name}/"}

    @property
    def addresses(self):
        return [n.clients.address for n in self.nodes]

    def start(self):
        for node in self.nodes:
            self.launch(node)
        self._supervisor.start()
        for node in self.nodes:
            node.agent.wait_ready()
        return self

    def launch(self, node):
        with self._lock:
            node.wanted = True
            node.agent.start(wait=False)

    # --- what the nemesis does to processes

    def kill(self, node):
        with self._lock:
            node.wanted = False
            if node.alive:
                node.agent.kill()

    def pause(self, node):
        with self._lock:
            if node.alive:
                node.agent.process.send_signal(signal.SIGSTOP)

    def resume(self, node):
        with self._lock:
            if node.alive:
                node.agent.process.send_signal(signal.SIGCONT)

    def _supervise(self):
        while not self._closing.wait(0.05):
            with self._lock:
                for node in self.nodes:
                    if node.wanted and not node.alive:
                        self._restart(node)

    def _restart(self, node):
        now = time.monotonic()
        if not node.ended_at:
            node.ended_at = now
            status = node.agent.process.returncode
            self.exits += 1
            if status < 0 and status not in _OURS:
                self.crashes.append(f"agent {node.agent_id} ended by signal {-status}: {node.directory}/agent.log")
        elif now - node.ended_at > _RESTART_AFTER_S:
            node.ended_at = 0.0
            node.agent.start(wait=False)

    def stored_files(self):
        """Of a store that is a directory: what is complete in it. Folders may go meanwhile, which os.walk bears."""
        files = (pathlib.Path(folder) / name for folder, _, names in os.walk(self.directory / "store") for name in names)
        return sorted(p for p in files if "tmp" not in str(p.relative_to(self.directory)))

    def crash_postgres(self):
        self.postgres.control("stop", "-m", "immediate")

    def start_postgres(self):
        Clock.forget_the_dead()
        self.postgres.control("-w", "start")

    # --- the end

    def heal(self):
        if self.server_clock:
            self.server_clock.turn(0)
        for node in self.nodes:
            for proxy in (node.postgres, node.store, node.clients):
                proxy.heal()
            if node.s3:
                node.s3.clear()
            self.resume(node)
            if node.disk:
                node.disk.clear()
            with self._lock:
                if not node.alive and not node.wanted:
                    node.agent.start(wait=False)
                node.wanted = True

    def settle(self, seconds=90):
        """Wait until every agent serves and no epoch but the newest of each partition is unresolved. An agent whose circuit
        has just opened tries the store after 30 seconds (`breaker_open`), and perhaps once more."""
        for node in self.nodes:
            wait_until(f"agent {node.agent_id} is ready", node.ready, seconds)
        wait_until("PostgreSQL answers", self.reconnect, seconds)
        wait_until("every earlier epoch is sealed", lambda: self.unresolved() == 0, seconds)

    def reconnect(self):
        try:
            self.database.reconnect()
        except psycopg2.OperationalError:  # it is starting, or recovering from a crash
            return False
        return True

    def unresolved(self):
        return len(self.describe_unresolved())

    def describe_unresolved(self):
        return [" ".join(map(str, row)) for row in self.database.execute(
            "SELECT 'unresolved', e.topic, e.partition, e.epoch, e.state, e.agent_id, e.start_offset, e.published_end"
            " FROM streamhouse.epochs AS e WHERE e.state <> 'sealed' AND EXISTS (SELECT FROM streamhouse.epoch AS l"
            " WHERE (l.topic_id, l.partition) = (e.topic_id, e.partition) AND l.epoch > e.epoch)")]

    def restart_cleanly(self):
        """Everything must reach the store: nothing is read from memory afterwards."""
        statuses = []
        # A circuit that was opened last is tried again after 30 s.
        wait_until("everything is published", lambda: self.database.value("SELECT sum(unpublished) FROM streamhouse.lease") == 0, 60)
        for node in self.nodes:
            with self._lock:
                node.wanted = False
            statuses.append(end(node.agent.process, signal.SIGTERM, 60))
            self.launch(node)
            node.agent.wait_ready(60)
        return statuses

    def close(self):
        self._closing.set()
        self._supervisor.join(5)
        for node in self.nodes:
            node.close()
        self.database.close()
        self.postgres.stop()
        if self.server_clock:
            shutil.rmtree(self.server_clock.path.parent, ignore_errors=True)

    def discard(self):
        shutil.rmtree(self.directory, ignore_errors=True)
