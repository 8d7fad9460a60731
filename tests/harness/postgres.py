"""A private PostgreSQL server with the extension, and databases in it."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import psycopg2

from harness.processes import PATIENCE, ROOT, lasting_port, wait_until

_SCRIPT = ROOT / "tests" / "harness" / "postgres.sh"


class Postgres:
    """One server. Its worker serves the database `streamhouse`; others have no expiry of leases."""

    environment = None  # of the server's processes; None: this process's

    def __init__(self, environment=None):
        self.environment = environment and {**os.environ, **environment}
        # Directly under /tmp: the user postgres must reach it.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sh-pg-", dir="/tmp"))
        os.chmod(self.directory, 0o755)
        subprocess.run([_SCRIPT, "start", self.directory], check=True, env=self.environment)
        settings = dict(
            pair.split("=", 1)
            for line in (self.directory / "env").read_text().splitlines()
            for pair in line.removeprefix("export ").split(" ")
            if pair.startswith("PG")
        )
        self.port = int(settings["PGPORT"])
        self._databases = 0
        self._paused = []

    def conninfo(self, database):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def database(self, name=None):
        """A new database with the extension in it, in place of an older one of that name."""
        self._databases += 1
        return Database(self, name or f"t{self._databases}")

    def open(self, name):
        """A database that is there."""
        return Database(self, name, create=False)

    @contextlib.contextmanager
    def asleep(self, how):
        """The server is "stopped", or "paused" with all its processes."""
        if how == "stopped":
            self.control("-m", "immediate", "stop")
            yield
            self.control("-w", "start")
            return
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def kill(self):
        """kill -9 of all processes at once: what only the server's memory held is gone."""
        self.pause()
        pids, self._paused = self._paused, []
        for pid in reversed(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            wait_until("the server's processes are gone", lambda pid=pid: _is_gone(pid))
        (self.directory / "data" / "postmaster.pid").unlink()  # its process may be a zombie that nobody reaps

    def pause(self):
        """Stop all processes: the parent first, and last on the way back, so that it misses no child's end."""
        first = int((self.directory / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGSTOP)
        children = [int(p) for p in pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split()]
        self._paused = [*children, first]
        for pid in children:
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in self._paused:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._paused = []

    def replica(self, synchronous=False):
        """A streaming replica of this server, up to date. Synchronous: commits wait for it until `sever` or `promote`."""
        return Replica(self, synchronous)

    def copy(self, name="copy"):
        """The data directory of the stopped server as a server of its own, not started: a backup, or a clone."""
        return Copy(self, name)

    def control(self, *arguments):
        """pg_ctl, as the server's owner."""
        command = [f"{bindir()}/pg_ctl", "-D", str(self.directory / "data"), "-l", str(self.directory / "log"), *arguments]
        as_postgres(command, self.environment)

    def stop(self):
        subprocess.run([_SCRIPT, "stop", self.directory], check=True)


class Copy(Postgres):
    """A server on a copy of another one's data directory, at a port of its own."""

    def __init__(self, origin, name):  # pylint: disable=super-init-not-called
        self.origin = origin
        self.directory = origin.directory.with_name(f"{origin.directory.name}-{name}")
        self.port = lasting_port()
        self._databases = 0
        self.directory.mkdir()
        if os.getuid() == 0:
            shutil.chown(self.directory, "postgres")
        self._fill()
        with open(self.directory / "data" / "postgresql.auto.conf", "a", encoding="utf8") as settings:
            settings.write(f"port = {self.port}\n")

    def _fill(self):
        as_postgres(["cp", "-a", str(self.origin.directory / "data"), str(self.directory / "data")])
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)

    def start(self):
        self.control("-w", "-t", "30", "start")
        return self

    def stop(self):
        if (self.directory / "data" / "postmaster.pid").exists():
            self.control("-m", "immediate", "-w", "stop")
        shutil.rmtree(self.directory, ignore_errors=True)


class Replica(Copy):
    def __init__(self, origin, synchronous):
        super().__init__(origin, "replica")
        self.start()
        self.synchronous = synchronous
        self._origin_sql("SELECT 1")
        wait_until("the replica streams", lambda: self._origin_sql("SELECT count(*) FROM pg_stat_replication")[0][0] == 1)
        if synchronous:
            self._origin_set("synchronous_standby_names", "*")
            wait_until("the replica is synchronous", lambda: self._origin_sql(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")[0][0] == 1)

    def _fill(self):
        as_postgres([f"{bindir()}/pg_basebackup", "-h", "127.0.0.1", "-p", str(self.origin.port), "-U", "postgres",
                      "-D", str(self.directory / "data"), "-R", "-c", "fast", "--no-sync"])

    def sever(self):
        """Nothing that happens from now on gets here."""
        connection = _autocommit(self.conninfo("postgres"))
        cursor = connection.cursor()
        cursor.execute("ALTER SYSTEM SET primary_conninfo = ''")
        cursor.execute("SELECT pg_reload_conf()")
        connection.close()
        wait_until("the replica is cut off", lambda: self._origin_sql("SELECT count(*) FROM pg_stat_replication")[0][0] == 0)

    def promote(self):
        """Become a server of its own. The origin must be stopped."""
        self.control("-w", "-t", "30", "promote")
        return self

    def _origin_sql(self, sql):
        connection = _autocommit(self.origin.conninfo("postgres"))
        cursor = connection.cursor()
        cursor.execute(sql)
        rows = cursor.fetchall() if cursor.description else []
        connection.close()
        return rows

    def _origin_set(self, name, value):
        self._origin_sql(f"ALTER SYSTEM SET {name} = '{value}'")
        self._origin_sql("SELECT pg_reload_conf()")


class Database:
    def __init__(self, server, name, create=True):
        self.server, self.name = server, name
        self.conninfo = server.conninfo(name)
        if create:
            self._create()
        self._connection = _autocommit(self.conninfo)
        if create:
            self.execute("CREATE EXTENSION streamhouse")

    def _create(self):
        admin = _autocommit(self.server.conninfo("postgres"))
        admin.cursor().execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')
        admin.cursor().execute(f'CREATE DATABASE "{self.name}"')
        admin.close()

    def execute(self, sql, *parameters):
        """Run a statement; the rows as tuples, [] for none."""
        cursor = self._connection.cursor()
        cursor.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def value(self, sql, *parameters):
        rows = self.execute(sql, *parameters)
        return rows[0][0] if rows else None

    def reconnect(self):
        self._connection = _autocommit(self.conninfo)

    def connect(self):
        """A connection of one's own, for another thread."""
        return _autocommit(self.conninfo)

    def close(self):
        self._connection.close()


def _autocommit(conninfo):
    """Statements have a deadline: a paused agent may hold the lock that one waits for."""
    connection = psycopg2.connect(conninfo, connect_timeout=10, options=f"-c statement_timeout={60 * PATIENCE}s")
    connection.autocommit = True
    return connection


def _is_gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def bindir():
    """Where pg_ctl, pg_dump and their like are."""
    return subprocess.run(["pg_config", "--bindir"], check=True, capture_output=True, text=True).stdout.strip()


def as_postgres(command, environment=None):
    """Run a command as the server's owner."""
    if os.getuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=90 * PATIENCE,
                   env=environment)
