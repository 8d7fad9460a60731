"""A private PostgreSQL server with the extension, and databases in it."""
import os
import pathlib
import subprocess
import tempfile

import psycopg2

from harness.processes import PATIENCE, ROOT

_SCRIPT = ROOT / "tests" / "harness" / "postgres.sh"


class Postgres:
    """One server. Its worker serves the database `streamhouse`; others have no expiry of leases."""

    def __init__(self):
        # Directly under /tmp: the user postgres must reach it.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sh-pg-", dir="/tmp"))
        os.chmod(self.directory, 0o755)
        subprocess.run([_SCRIPT, "start", self.directory], check=True)
        settings = dict(
            pair.split("=", 1)
            for line in (self.directory / "env").read_text().splitlines()
            for pair in line.removeprefix("export ").split(" ")
            if pair.startswith("PG")
        )
        self.port = int(settings["PGPORT"])
        self._databases = 0

    def conninfo(self, database):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def database(self, name=None):
        """A new database with the extension in it, in place of an older one of that name."""
        self._databases += 1
        return Database(self, name or f"t{self._databases}")

    def control(self, *arguments):
        """pg_ctl, as the server's owner."""
        command = [f"{_bindir()}/pg_ctl", "-D", str(self.directory / "data"), "-l", str(self.directory / "log"), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=90 * PATIENCE)

    def stop(self):
        subprocess.run([_SCRIPT, "stop", self.directory], check=True)


class Database:
    def __init__(self, server, name):
        self.server, self.name = server, name
        self.conninfo = server.conninfo(name)
        admin = _autocommit(server.conninfo("postgres"))
        admin.cursor().execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        admin.cursor().execute(f'CREATE DATABASE "{name}"')
        admin.close()
        self._connection = _autocommit(self.conninfo)
        self.execute("CREATE EXTENSION streamhouse")

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


def _bindir():
    return subprocess.run(["pg_config", "--bindir"], check=True, capture_output=True, text=True).stdout.strip()
