"""Dumps: whole, in any order and in parallel, into the same server and another one; and agents that go on with them."""
import subprocess

import pytest

from conftest import negative_counts
from harness.postgres import Postgres, bindir
from harness.processes import wait_until

FORMATS = {
    "plain": (["-Fp"], None),
    "inserts": (["-Fp", "--rows-per-insert=100"], None),
    "custom": (["-Fc"], ["-e"]),
    "parallel": (["-Fd", "-j4"], ["-e", "-j4"]),
    "reversed": (["-Fc"], ["-e", "reversed"]),
}


def dump_and_restore(source, target, path, how):
    """pg_dump of the database `source` into the empty database `target`. Returns how many rows the dump has seen."""
    dump, restore = FORMATS[how]
    source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")  # workers change rows meanwhile
    snapshot = source.value("SELECT pg_export_snapshot()")
    counts = row_counts(source)
    subprocess.run([f"{bindir()}/pg_dump", *dump, f"--snapshot={snapshot}", "-f", path, source.conninfo], check=True)
    source.execute("COMMIT")
    restore_dump(target, path, restore)
    return counts


def restore_dump(target, path, restore):
    if restore is None:
        subprocess.run([f"{bindir()}/psql", "-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", path, target], check=True)
        return
    if "reversed" in restore:
        # Data in the reverse of the order that pg_dump has found: as bad as chance in parallel can make it.
        restore = [r for r in restore if r != "reversed"]
        listed = subprocess.run([f"{bindir()}/pg_restore", "-l", path], check=True, capture_output=True, text=True).stdout
        lines = [line for line in listed.splitlines() if line and not line.startswith(";")]
        data = [line for line in lines if " TABLE DATA " in line]
        before = [line for line in lines if " TABLE DATA " not in line]
        (path.parent / "order").write_text("\n".join(before + data[::-1]) + "\n")
        restore += ["-L", path.parent / "order"]
    subprocess.run([f"{bindir()}/pg_restore", *restore, "-d", target, path], check=True)


def row_counts(database):
    return {name: database.value(f"SELECT count(*) FROM {name}") for name, in database.execute(
        "SELECT name FROM streamhouse.snapshot_tables() WHERE kind = 'table' AND name <> 'streamhouse.control_change' "
        "ORDER BY name")}  # restoring epochs and topics is a change of them, too


def empty_database(server, name):
    database = server.open("postgres")
    database.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    database.close()
    return server.conninfo(name)


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize("where", ["same server", "another server"])
def test_a_dump_goes_on_with_its_agents(world, how, where):
    database = world.database
    agent = world.agent().start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 3)")
    database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    database.execute("""SELECT streamhouse.register_schema('s-value', '{"type": "string"}')""")
    for partition in range(3):
        world.produce(agent, "t", partition)
    world.produce(agent, "o")
    world.published()
    agent.terminate()
    world.produce(agent.start(), "t", 1)
    world.published()
    agent.terminate()

    server = world.server
    if where == "another server":
        server = Postgres()
        world.servers.append(server)
    target = empty_database(server, "restored")
    counts = dump_and_restore(database, target, world.directory / "dump", how)
    restored = server.open("restored")
    assert restored.execute("SELECT * FROM streamhouse.dangling_references") == []
    assert row_counts(restored) == counts
    assert not restored.value("SELECT streamhouse.deletion_allowed()")
    assert database.value("SELECT streamhouse.history_is_whole()")

    world.set(server, "streamhouse.database", "restored")
    world.set(server, "streamhouse.lease_ticks", "5")
    agent.settings["postgres"] = target
    agent.start()
    assert restored.value("SELECT term FROM streamhouse.cluster") == 2
    assert database.value("SELECT term FROM streamhouse.cluster") == 1
    world.settled(restored, 2)
    world.check(agent, restored)
    wait_until("each partition has an owner", lambda: restored.value(
        "SELECT bool_and(owner IS NOT NULL) FROM streamhouse.partitions WHERE topic = 't'"), 20)
    assert negative_counts(restored) == []
    assert restored.execute("SELECT * FROM streamhouse.dangling_references") == []
    restored.close()


def test_a_million_segments_in_parallel(world):
    database = world.database
    database.execute("SET statement_timeout = 0")
    database.execute("SELECT streamhouse.create_topic('t', partitions => 100)")
    database.execute("""
        INSERT INTO streamhouse.object (object_id, object_key, bytes, live_rows)
        SELECT md5(n::text)::uuid, 'k/' || n, 1000, 10 FROM generate_series(0, 99999) AS n""")
    database.execute("""
        INSERT INTO streamhouse.segment (topic_id, partition, first_offset, base_offset, last_offset, epoch, records, bytes,
                                         position, object_id, min_timestamp_ms, max_timestamp_ms, timestamp_high_ms)
        SELECT t.topic_id, n % 100, n / 100 * 10, n / 100 * 10, n / 100 * 10 + 9, 1, 10, 100, 0,
               md5((n / 10)::text)::uuid, n, n, n
        FROM streamhouse.topic AS t, generate_series(0, 999999) AS n""")
    target = empty_database(world.server, "restored")
    counts = dump_and_restore(database, target, world.directory / "dump", "parallel")
    restored = world.server.open("restored")
    restored.execute("SET statement_timeout = 0")
    assert restored.value("SELECT count(*) FROM streamhouse.segment") == 1000000
    assert row_counts(restored) == counts
    assert restored.execute("SELECT * FROM streamhouse.dangling_references") == []
    restored.close()


def test_roles_in_pg_dumpall(world):
    """A renamed role is the one that the restored database gives its rights to."""
    world.database.execute("ALTER ROLE streamhouse_read RENAME TO readers")
    path = world.directory / "all"
    with open(path, "w", encoding="utf8") as out:
        subprocess.run([f"{bindir()}/pg_dumpall", "-d", world.server.conninfo("postgres")], check=True, stdout=out)
    other = Postgres()
    world.servers.append(other)
    admin = other.open("postgres")
    admin.execute("DROP DATABASE unit")  # the dump makes it
    admin.close()
    path.write_text(path.read_text().replace("CREATE ROLE postgres;", ""))
    subprocess.run([f"{bindir()}/psql", "-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", path, other.conninfo("postgres")],
                   check=True, stderr=subprocess.DEVNULL)
    restored = other.open("streamhouse")
    assert restored.value("SELECT has_table_privilege('readers', 'streamhouse.topics', 'SELECT')")
    assert restored.execute("SELECT FROM pg_roles WHERE rolname = 'streamhouse_read'") == []
    restored.close()
