"""Databases in other encodings, and with settings that change what a text means: records go in, come out, and survive a
restart."""
import pytest

from harness.processes import wait_until

ENCODINGS = ["SQL_ASCII", "LATIN1", "EUC_JP"]

SETTINGS = {
    "texts": {"bytea_output": "escape", "standard_conforming_strings": "off", "escape_string_warning": "off",
              "backslash_quote": "off", "xmlbinary": "hex", "array_nulls": "off", "quote_all_identifiers": "on"},
    "times": {"DateStyle": "SQL, DMY", "IntervalStyle": "sql_standard", "TimeZone": "Asia/Kathmandu",
              "extra_float_digits": "-15"},
    "plans": {"jit_above_cost": "0", "enable_indexscan": "off", "enable_seqscan": "off", "plan_cache_mode": "force_custom_plan",
              "from_collapse_limit": "1", "work_mem": "64kB", "row_security": "off"},
    "transactions": {"default_transaction_deferrable": "on", "synchronous_commit": "off", "check_function_bodies": "off",
                     "search_path": "pg_temp"},
}


def journey(world, database):
    world.database = database
    agent = world.agent(database=database).start()
    database.execute("SELECT streamhouse.create_topic('t', partitions => 2, retention => '1 day', orphan_timeout => '1 hour')")
    database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    schema = """{"type": "record", "name": "R", "doc": "back\\\\slash ''quote''", "fields": [{"name": "a", "type": "int"}]}"""
    schema_id = database.value("SELECT streamhouse.register_schema('t-value', %s)", schema)
    assert database.value("SELECT schema_id FROM streamhouse.schemas") == schema_id
    for topic, partition in (("t", 0), ("t", 1), ("o", 0)):
        world.produce(agent, topic, partition)
    world.published()
    agent.kill()
    agent.start()
    world.produce(agent, "t", 0)
    world.check(agent, database)
    assert agent.http("/ready")[0] == 200
    wait_until("nothing is missing", lambda: database.execute("SELECT * FROM streamhouse.dangling_references") == [])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings(world, encoding):
    admin = world.server.open("postgres")
    admin.execute(f"CREATE DATABASE odd TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    admin.close()
    database = world.server.open("odd")
    database.execute("CREATE EXTENSION streamhouse")
    world.set(world.server, "streamhouse.database", "odd")
    journey(world, database)
    database.close()


@pytest.mark.parametrize("group", SETTINGS)
def test_settings(world, group):
    for name, value in SETTINGS[group].items():
        value = value if name in ("DateStyle", "search_path") else f"'{value}'"
        world.database.execute(f"ALTER DATABASE streamhouse SET {name} = {value}")
    world.database.reconnect()
    journey(world, world.database)
