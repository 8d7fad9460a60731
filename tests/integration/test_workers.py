"""The background workers: whoever is terminated comes back, and leases are counted once an interval all the same."""
import contextlib
import pathlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from harness.postgres import Postgres
from harness.processes import wait_until

WORKERS = ("streamhouse lease", "streamhouse retention")


@pytest.fixture
def server():
    """A server of its own: what its workers do is counted."""
    own = Postgres()
    yield own
    own.stop()


@pytest.fixture
def database(server):  # pylint: disable=redefined-outer-name
    own = server.database("streamhouse")
    yield own
    own.close()


def pids(database, kind):
    return [pid for (pid,) in database.execute(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = %s ORDER BY pid", kind)]


def ticks(database):
    return database.value("SELECT number FROM streamhouse.lease_clock") or 0


def terminate(database, pid):
    assert database.value("SELECT pg_terminate_backend(%s)", pid)
    wait_until("it is gone", lambda: not database.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid))


def titles(server):
    """What the server's processes call themselves."""
    pid_file = server.directory / "data" / "postmaster.pid"
    written = pid_file.read_text().split() if pid_file.exists() else []
    first = written[0] if written else "0"  # it is there a moment before anything stands in it
    children = pathlib.Path(f"/proc/{first}/task/{first}/children")
    found = ""
    for pid in children.read_text().split() if children.exists() else []:
        with contextlib.suppress(OSError):
            found += pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    return found


def test_a_launcher_that_comes_back_goes_on_with_the_workers_that_run(database):
    wait_until("it ticks", lambda: ticks(database) > 0)
    before = {kind: pids(database, kind) for kind in WORKERS}
    for _ in range(2):
        terminate(database, pids(database, "streamhouse launcher")[0])
        wait_until("the launcher is back", lambda: len(pids(database, "streamhouse launcher")) == 1)
    # Long enough for a launcher that starts what it has no handle of: its first look is before it waits.
    launcher = pids(database, "streamhouse launcher")[0]
    wait_until("it waits for its next look", lambda: database.value(
        "SELECT wait_event = 'Extension' FROM pg_stat_activity WHERE pid = %s", launcher))
    begun, number = time.monotonic(), ticks(database)
    wait_until("ten intervals", lambda: time.monotonic() - begun > 10 * 0.2)
    ticked, intervals = ticks(database) - number, (time.monotonic() - begun) / 0.2
    assert {kind: pids(database, kind) for kind in WORKERS} == before
    assert 1 <= ticked <= intervals + 1

    # One that ends is started again, by the launcher that did not start the one before.
    terminate(database, before["streamhouse lease"][0])
    wait_until("another one is there", lambda: len(pids(database, "streamhouse lease")) == 1)
    number = ticks(database)
    wait_until("it ticks", lambda: ticks(database) > number)


def test_the_launcher_outlives_a_start_of_the_server_that_nobody_connects_to(server, database):
    wait_until("it ticks", lambda: ticks(database) > 0)
    database.close()
    log = server.directory / "log"
    for mode in ("fast", "immediate"):
        server.control("-m", mode, "-w", "stop")
        seen = len(log.read_text())
        server.control("-W", "start")
        wait_until("a worker runs before the first session", lambda: "streamhouse lease" in titles(server))
        assert "FATAL" not in log.read_text()[seen:]


def test_dropping_the_extension_meets_no_step_of_a_worker_in_a_deadlock(server, database):
    for name, value in (("tick_interval", "10ms"), ("retention_interval", "10ms")):
        database.execute(f"ALTER SYSTEM SET streamhouse.{name} = '{value}'")
    database.execute("SELECT pg_reload_conf()")
    for _ in range(3):
        wait_until("it ticks", lambda: ticks(database) > 0)
        for change in ("create", "drop"):  # work for the retention worker
            database.execute(f"SELECT streamhouse.{change}_topic('t' || n) FROM generate_series(1, 20) AS n")
        database.execute("DROP EXTENSION streamhouse")
        database.execute("CREATE EXTENSION streamhouse")
    assert "deadlock" not in (server.directory / "log").read_text()


def test_a_transaction_left_open_is_warned_of_and_expires_nobody_elses_lease(server, database):
    database.execute("ALTER SYSTEM SET streamhouse.open_transaction_warning = '500ms'")
    database.execute("SELECT pg_reload_conf()")
    database.execute("SELECT incarnation_id FROM streamhouse.agent_register('a', md5('a')::uuid, 1, 'a:1', '', '', '', '', 0)")
    wait_until("it ticks", lambda: ticks(database) > 0)
    idle = database.connect()
    idle.autocommit = False
    cursor = idle.cursor()
    cursor.execute("SELECT streamhouse.create_topic('t')")
    pid = idle.info.backend_pid
    warning = re.compile(rf'WARNING:  process {pid} \(role "postgres", .*idle in transaction\) has held .*control lock')
    wait_until("the log names it", lambda: warning.search((server.directory / "log").read_text()), seconds=20)
    assert database.value("SELECT pid FROM streamhouse.open_transactions WHERE holds @> '{control lock}'") == pid
    # Ticks go on: the lease of who sends no heartbeat runs out, and one that is renewed stays.
    wait_until("the lease ran out", lambda: database.value("SELECT state FROM streamhouse.agents") == "expired")
    assert database.value("SELECT calls > 0 FROM streamhouse.agent_heartbeat("
                          "(SELECT incarnation_id FROM streamhouse.agents), 0)")
    idle.rollback()
    idle.close()


def test_a_snapshot_held_open_is_warned_of(server, database):
    database.execute("ALTER SYSTEM SET streamhouse.open_transaction_warning = '500ms'")
    database.execute("SELECT pg_reload_conf()")
    reader = database.connect()
    reader.autocommit = False
    cursor = reader.cursor()
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("SELECT 1")
    pid = reader.info.backend_pid
    warning = re.compile(rf'WARNING:  process {pid} \(role "postgres", .*\) has held old row versions of StreamHouse')
    wait_until("the log names it", lambda: warning.search((server.directory / "log").read_text()), seconds=20)
    assert database.value("SELECT holds FROM streamhouse.open_transactions WHERE pid = %s", pid) == ["old row versions"]
    reader.rollback()
    assert database.value("SELECT count(*) FROM streamhouse.open_transactions WHERE pid = %s", pid) == 0
    reader.close()


MANY_DROPS = """DO $$ BEGIN
    FOR i IN 1 .. 100 LOOP
        BEGIN
            EXECUTE 'DROP EXTENSION streamhouse CASCADE';
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
    END LOOP;
    RAISE insufficient_privilege;
END $$"""


@pytest.mark.parametrize("where, statement", [
    ("streamhouse", MANY_DROPS),
    ("postgres", "DROP DATABASE streamhouse"),
    ("postgres", "ALTER DATABASE streamhouse RENAME TO taken"),
], ids=["extension", "database", "rename"])
def test_who_may_not_drop_it_does_not_keep_the_workers_off(server, database, where, statement):
    """Each statement is refused, but not before it has asked for the lock that an owner's would need."""
    database.execute("CREATE ROLE stranger LOGIN")
    stop = threading.Event()
    refused = []

    def say():
        with contextlib.closing(psycopg2.connect(server.conninfo(where).replace("user=postgres", "user=stranger"))) as own:
            own.autocommit = True
            cursor = own.cursor()
            while not stop.is_set():
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(statement)
                refused.append(True)

    wait_until("it ticks", lambda: ticks(database) > 0)
    with ThreadPoolExecutor(4) as threads:
        strangers = [threads.submit(say) for _ in range(4)]
        try:
            wait_until("they are at it", lambda: len(refused) > 20)
            for _ in range(5):
                before = ticks(database)
                wait_until("it ticks on", lambda before=before: ticks(database) > before + 3)
        finally:
            stop.set()
        for stranger in strangers:
            stranger.result()
