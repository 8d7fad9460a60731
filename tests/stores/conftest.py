"""One S3 server of each maker for the run, and for each test a PostgreSQL database and agents on a prefix of its own."""
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parent)]

import servers  # noqa: E402
from harness.agent import Agent  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.rpc import Client  # noqa: E402


@pytest.fixture(scope="module", params=servers.chosen(), ids=lambda server: server.name)
def server(request):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sh-stores-"))
    made = servers.make(request.param, directory)
    try:
        yield made.start()
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)


class World:
    """Databases, agents and clients of one test, which end with it."""

    def __init__(self, directory, server):
        self.directory, self.server = directory, server
        self.postgres, self.agents, self.clients = [], [], []
        self.new_database()

    def new_database(self):
        self.postgres.append(Postgres())
        self.database = self.postgres[-1].database("streamhouse")
        for setting in ("marker_interval = '100ms'", "snapshot_interval = '1h'", "garbage_grace = 0", "compaction_delay = 0",
                        "compaction_objects = 2", "retention_interval = '200ms'"):
            self.database.execute(f"ALTER SYSTEM SET streamhouse.{setting}")
        self.database.execute("SELECT pg_reload_conf()")

    def agent(self, agent_id="a1", **settings):
        agent = Agent(self.directory / agent_id, self.database.conninfo, agent_id, **{
            **self.server.settings(), "s3_prefix": self.directory.name + "/", "flush_interval": "10ms", "garbage_interval": "200ms",
            "compaction_rate": "0", **settings})
        self.agents.append(agent)
        return agent

    def client(self, agent):
        self.clients.append(Client(agent.address))
        return self.clients[-1]

    def close(self):
        for part in self.clients:
            part.close()
        for agent in self.agents:
            agent.close()
        for postgres in self.postgres:
            postgres.stop()


@pytest.fixture
def world(server):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sh-stores-test-"))
    made = World(directory, server)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)
