"""Fixtures: one PostgreSQL for the whole run, a database and a directory for each test, agents that always end."""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.agent import Agent  # noqa: E402
from harness.postgres import Postgres  # noqa: E402
from harness.processes import set_sanitizer_options  # noqa: E402
from harness.rpc import Client  # noqa: E402


set_sanitizer_options()


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture
def database(postgres):
    db = postgres.database()
    yield db
    db.close()


@pytest.fixture
def directory():
    path = pathlib.Path(tempfile.mkdtemp(prefix="sh-it-"))
    yield path
    if not os.environ.get("SH_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make_agent(database, directory):
    """Make agents: make_agent("a2", zone="z1"). Not started yet. All of one test share the directory store."""
    made = []

    def make(agent_id="a1", **settings):
        settings.setdefault("store_dir", str(directory / "store"))
        (directory / "store").mkdir(exist_ok=True)
        agent = Agent(directory / agent_id, database.conninfo, agent_id, **settings)
        made.append(agent)
        return agent

    yield make
    failures = []
    for agent in made:
        try:
            agent.close()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture
def agent(make_agent):
    return make_agent().start()


@pytest.fixture
def connect():
    """Make clients: connect(agent)."""
    made = []

    def make(agent, **options):
        client = Client(agent.address, **options)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(agent, connect):
    return connect(agent)


@pytest.fixture(scope="session")
def s3():
    """Settings of the S3 server that tests/run.sh started."""
    try:
        return {
            "store": "s3",
            "s3_endpoint": os.environ["STREAMHOUSE_TEST_S3_ENDPOINT"],
            "s3_bucket": os.environ["STREAMHOUSE_TEST_S3_BUCKET"],
            "s3_access_key": os.environ["STREAMHOUSE_TEST_S3_ACCESS_KEY"],
            "s3_secret_key": os.environ["STREAMHOUSE_TEST_S3_SECRET_KEY"],
            "s3_path_style": "true",
        }
    except KeyError as missing:
        pytest.fail(f"{missing} is not set; start an S3 server with tests/harness/radosgw.sh start DIR and source DIR/env")
