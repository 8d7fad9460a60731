"""PgBouncer between agents and PostgreSQL: its session mode works, any other is refused at the start, in words."""
import pathlib
import shutil
import subprocess
import tempfile

import psycopg2
import pytest

from harness.processes import end, lasting_port, wait_until


class PgBouncer:
    def __init__(self, server, mode):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sh-pgb-", dir="/tmp"))
        self.port = lasting_port()
        (self.directory / "users").write_text('"postgres" ""\n')
        (self.directory / "ini").write_text(f"""
[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.directory / "users"}
pool_mode = {mode}
default_pool_size = 40
""")
        shutil.chown(self.directory, "postgres")
        for path in self.directory.iterdir():
            shutil.chown(path, "postgres")
        self.log = open(self.directory / "log", "wb")
        self.process = subprocess.Popen(["pgbouncer", "-u", "postgres", str(self.directory / "ini")], stdout=self.log, stderr=self.log)

    def conninfo(self, database):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def wait(self, database):
        def answers():
            try:
                psycopg2.connect(self.conninfo(database)).close()
                return True
            except psycopg2.OperationalError:
                assert self.process.poll() is None, (self.directory / "log").read_text()
                return False
        wait_until("PgBouncer answers", answers)

    def close(self):
        end(self.process)
        self.log.close()
        shutil.rmtree(self.directory)


@pytest.fixture
def pooler(postgres, database):
    made = []

    def make(mode):
        made.append(PgBouncer(postgres, mode))
        made[-1].wait(database.name)
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_session_mode_works(pooler, database, make_agent, connect):
    agent = make_agent()
    agent.settings["postgres"] = pooler("session").conninfo(database.name)
    agent.start()
    database.execute("SELECT streamhouse.create_topic('t')")
    client = connect(agent)
    for n in range(5):
        assert client.produce("t", values=[b"%d" % n]).base_offset == n
    wait_until("all is published", lambda: database.value("SELECT records FROM streamhouse.topics") == 5)
    seen = database.value("SELECT calls FROM streamhouse.agents")
    identity = agent.directory / "wal" / "identity"
    wait_until("the counts of calls come through", lambda: int(dict(
        line.split("=", 1) for line in identity.read_text().splitlines() if "=" in line)["calls"]) >= seen)
    assert agent.terminate() == 0


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_other_modes_are_refused_at_the_start(pooler, database, make_agent, mode):
    agent = make_agent()
    agent.settings["postgres"] = pooler(mode).conninfo(database.name)
    status, line = agent.run_to_failure()
    assert status > 0
    assert "postgres:" in line and "pool_mode = session" in line, line
