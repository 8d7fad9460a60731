"""Base backups, recovery to a point in time, standbys and templates: what of them knows that it is a copy, and goes on."""
import subprocess

from conftest import negative_counts
from harness.postgres import Copy, as_postgres, bindir
from harness.processes import wait_until


class BaseBackup(Copy):
    """pg_basebackup, started as a server of its own."""

    def _fill(self):
        as_postgres([f"{bindir()}/pg_basebackup", "-h", "127.0.0.1", "-p", str(self.origin.port), "-U", "postgres",
                     "-D", str(self.directory / "data"), "-X", "stream", "-c", "fast", "--no-sync"])

    def configure(self, **settings):
        with open(self.directory / "data" / "postgresql.auto.conf", "a", encoding="utf8") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def touch(self, name):
        as_postgres(["touch", str(self.directory / "data" / name)])


def begin(world):
    agent = world.agent().start()
    world.database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")
    world.produce(agent, "t", 0)
    world.published()
    return agent


def go_on(world, agent, server, term):
    """The agent works with the server from now on, and has lost nothing."""
    database = server.open("streamhouse")
    agent.terminate()
    agent.settings["postgres"] = database.conninfo
    agent.start()
    assert database.value("SELECT term FROM streamhouse.cluster") == term
    world.settled(database, term)
    world.check(agent, database)
    assert negative_counts(database) == []
    assert database.execute("SELECT * FROM streamhouse.dangling_references") == []
    database.close()


def test_a_base_backup_is_older_than_its_agents(world):
    agent = begin(world)
    backup = BaseBackup(world.server, "base")
    world.servers.append(backup)
    world.produce(agent, "t", 1)
    world.published()
    world.server.control("-m", "immediate", "stop")
    backup.start()
    go_on(world, agent, backup, 2)


def test_recovery_to_a_point_in_time(world):
    archive = world.directory / "archive"
    archive.mkdir()
    subprocess.run(["chmod", "777", world.directory, archive], check=True)
    for name, value in (("archive_mode", "on"), ("archive_command", f"cp %p {archive}/%f")):
        world.set(world.server, name, value)
    world.server.control("-w", "-m", "fast", "restart")
    world.database.reconnect()
    agent = begin(world)
    backup = BaseBackup(world.server, "pitr")
    world.servers.append(backup)
    world.produce(agent, "t", 0)
    world.published()
    world.database.execute("SELECT pg_create_restore_point('here')")
    world.produce(agent, "t", 1)
    world.published()
    last = world.database.value("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    world.database.execute("SELECT pg_switch_wal()")
    wait_until("all is archived", lambda: world.database.value(
        "SELECT last_archived_wal >= %s FROM pg_stat_archiver", last), 20)
    world.server.control("-m", "immediate", "stop")
    backup.configure(restore_command=f"cp {archive}/%f %p", recovery_target_name="here", recovery_target_action="promote",
                     archive_mode="off")
    backup.touch("recovery.signal")
    backup.start()
    restored = backup.open("streamhouse")
    wait_until("it has recovered", lambda: not restored.value("SELECT pg_is_in_recovery()"), 20)
    restored.close()
    go_on(world, agent, backup, 2)


def test_a_standby_answers(world):
    """Every view and check can be asked there, and it knows itself for what it is after its promotion."""
    agent = begin(world)
    standby = world.server.replica(synchronous=True)
    world.servers.append(standby)
    world.produce(agent, "t", 1)
    world.published()
    database = standby.open("streamhouse")
    wait_until("it has replayed", lambda: database.value(
        "SELECT count(*) FROM streamhouse.segments") == world.database.value("SELECT count(*) FROM streamhouse.segments"))
    database.execute("SELECT streamhouse.check_history()")
    for view, in database.execute("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'v' "
                                  "AND relnamespace = 'streamhouse'::regnamespace"):
        database.execute(f"SELECT * FROM {view}")
    database.close()
    world.server.control("-m", "immediate", "stop")
    standby.promote()
    go_on(world, agent, standby, 2)


def test_a_template_copy_knows_itself(world):
    agent = begin(world)
    agent.terminate()
    admin = world.server.open("postgres")
    world.database.close()
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'streamhouse'")
    wait_until("it can be copied", lambda: not admin.execute("SELECT FROM pg_stat_activity WHERE datname = 'streamhouse'"))
    admin.execute("ALTER SYSTEM SET streamhouse.database = 'copy'")
    admin.execute("SELECT pg_reload_conf()")
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'streamhouse'")
    wait_until("it is copied", lambda: _try(admin, "CREATE DATABASE copy TEMPLATE streamhouse"))
    admin.close()
    copy = world.server.open("copy")
    assert not copy.value("SELECT streamhouse.history_is_whole()")
    agent.settings["postgres"] = copy.conninfo
    agent.start()
    assert copy.value("SELECT term FROM streamhouse.cluster") == 2
    world.settled(copy, 2)
    world.check(agent, copy)
    copy.close()


def _try(database, statement):
    try:
        database.execute(statement)
        return True
    except Exception:  # pylint: disable=broad-except
        return False


def test_drop_and_create_brings_everything_back(world):
    """The index is gone, the store and the agent are there: the topics come back under other names, with an owner and true
    counts, and without deletion."""
    agent = begin(world)
    world.produce(agent, "t", 1)
    world.published()
    topic_id = world.database.value("SELECT topic_id FROM streamhouse.topics")
    world.database.execute("DROP EXTENSION streamhouse CASCADE")
    wait_until("the agent says why", lambda: "CREATE EXTENSION streamhouse" in agent.log_text(), 20)
    world.database.execute("CREATE EXTENSION streamhouse")
    wait_until("the term has begun", lambda: world.database.value("SELECT max(term) FROM streamhouse.term") or
               (agent.process.poll() is not None and agent.start() is agent and False), 30)
    term = world.database.value("SELECT term FROM streamhouse.cluster")
    world.settled(world.database, term)
    world.check(agent, world.database)
    name = f"recovered-{str(topic_id)[:8]}"
    wait_until("it has owners", lambda: world.database.execute(
        "SELECT partition, owner FROM streamhouse.partitions WHERE topic = %s ORDER BY 1", name) == [(0, "a1"), (1, "a1")], 20)
    assert world.database.value("SELECT records FROM streamhouse.topics") == len(world.acknowledged)
    for partition in 0, 1:
        world.database.execute("SELECT streamhouse.delete_records(%s, %s, -1)", name, partition)
    assert world.database.value("SELECT records FROM streamhouse.topics") == 0
    assert negative_counts(world.database) == []
    assert not world.database.value("SELECT streamhouse.deletion_allowed()")
