"""What a call of an agent costs PostgreSQL grows with what it asks about, whatever statistics say: nothing yet, or what was true
of a few partitions. What every plan has worked through is counted, not timed."""
import json
import uuid

import psycopg2
import pytest

from harness.postgres import Postgres

PARTITIONS = 600
AT_ONCE = 200
ROWS_EACH = 30  # that one node of a plan may work through for each element; one that compares all with all has AT_ONCE


@pytest.fixture(scope="module")
def server():
    """A server of its own, where nobody gathers statistics."""
    own = Postgres()
    admin = own.open("postgres")
    admin.execute("ALTER SYSTEM SET autovacuum = off")
    admin.execute("SELECT pg_reload_conf()")
    admin.close()
    yield own
    own.stop()


class Notices:
    """All that a connection is told; psycopg2 keeps the last fifty in a list."""

    def __init__(self):
        self.texts = []

    def append(self, text):
        self.texts.append(text)


class Plans:
    """A connection as agents have one: its plans stay."""

    def __init__(self, conninfo):
        self.connection = psycopg2.connect(conninfo)
        self.connection.autocommit = True
        self.execute("LOAD 'auto_explain'")
        for setting, value in {"log_min_duration": "0", "log_analyze": "on", "log_timing": "off", "log_format": "json",
                               "log_nested_statements": "on"}.items():
            self.execute(f"SET auto_explain.{setting} = '{value}'")
        self.costly = {}

    def execute(self, sql, *parameters):
        cursor = self.connection.cursor()
        cursor.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def call(self, elements, sql, *parameters):
        """The rows; a statement within that works through too much is noted."""
        self.connection.notices = Notices()
        self.execute("SET client_min_messages = log")
        rows = self.execute(sql, *parameters)
        self.execute("SET client_min_messages = notice")
        for text in self.connection.notices.texts:
            if "plan:" not in text:
                continue
            told = json.JSONDecoder().raw_decode(text.split("plan:", 1)[1].strip())[0]
            most = max(map(work, nodes(told["Plan"])))
            if most > ROWS_EACH * (elements + 20):
                self.costly[f"{' '.join(told['Query Text'].split())[:150]} in {sql}"] = f"{most} rows for {elements} elements"
        return rows


def nodes(plan):
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def work(node):
    return node.get("Actual Loops", 0) * sum(node.get(what, 0) for what in (
        "Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter", "Rows Removed by Index Recheck"))


class Owner:
    """An agent, as PostgreSQL sees one."""

    def __init__(self, plans, number, start=1):
        self.plans, self.published = plans, 0
        name = f"a{number}"
        self.incarnation = plans.execute(
            "SELECT incarnation_id FROM streamhouse.agent_register(%s, %s, %s, %s, '', '', '', '', 0)",
            name, str(uuid.UUID(int=number)), start, f"{name}:1")[0][0]

    def call(self, elements, function, *parameters):
        places = ", ".join(["%s"] * (1 + len(parameters)))
        return self.plans.call(elements, f"SELECT * FROM streamhouse.{function}({places})", self.incarnation, *parameters)

    def assigned(self, action):
        rows = self.plans.call(PARTITIONS, "SELECT topic_id, partition, epoch, published_end, action FROM "
                               "streamhouse.agent_assign_changes(%s, NULL) WHERE version IS NULL", self.incarnation)
        return [row[:4] for row in rows if row[4] == action]

    def take(self, partitions):
        """Grant, open, write, and read."""
        topics, numbers = [p[0] for p in partitions], [p[1] for p in partitions]
        many = len(partitions)
        zeros = [0] * many
        granted = self.call(many, "agent_grant", uuids(topics), numbers)
        assert [row[2] for row in granted] == ["granted"] * many
        epochs, starts = [row[3] for row in granted], [row[4] for row in granted]
        opened = self.call(many, "agent_open", uuids(topics), numbers, epochs)
        assert [row[3] for row in opened] == ["open"] * many
        self.call(many, "agent_producer_state", uuids(topics), numbers, epochs, 10000)
        self.plans.call(many, "SELECT * FROM streamhouse.read_bounds(%s, %s)", uuids(topics), numbers)
        ids = [self.call(1, "agent_init_producer")[0][0] for _ in range(3)]
        producers = [ids[i % 3] for i in range(many)]
        self.call(many, "agent_lookup_producers", uuids(topics), numbers, producers)
        self.publish(topics, numbers, epochs, starts, producers)
        self.plans.call(many, "SELECT * FROM streamhouse.find_timestamps(%s, %s, %s, %s)", uuids(topics), numbers,
                        big(zeros), big(zeros))
        self.call(many, "agent_claims", uuids(topics), numbers, epochs)
        self.call(many, "agent_claim", uuids(topics), numbers, epochs, producers, zeros, [1] * many)

    def publish(self, topics, numbers, epochs, firsts, producers):
        many = len(topics)
        zeros, ones = [0] * many, [1] * many
        self.published += 1
        key = f"{self.incarnation}/{self.published}"
        rows = self.call(many, "publish_object", self.published, self.published - 1, str(uuid.uuid4()), key, 1000,
                         uuids(topics), numbers, epochs, big(firsts), big(ones), big(ones), big(range(many)), big(ones),
                         big(zeros), big(zeros), [False] * many, list(range(1, many + 1)), producers, zeros, zeros, ones,
                         big(firsts), zeros)
        assert [row[1] for row in rows] == ["published"] * many

    def seal(self, partitions):
        topics, numbers, epochs, ends = zip(*partitions)
        sealed = self.call(len(partitions), "agent_seal", uuids(topics), list(numbers), list(epochs), big(ends),
                           [False] * len(partitions))
        assert [row[3] for row in sealed] == ["sealed"] * len(partitions)


class Typed:
    """An array with its type, which its elements do not tell."""

    def __init__(self, values, kind):
        self.values, self.kind = list(values), kind

    def __conform__(self, _protocol):
        return self

    def getquoted(self):
        elements = ",".join(str(value) for value in self.values)
        return f"'{{{elements}}}'::{self.kind}[]".encode()


def uuids(values):
    return Typed(values, "uuid")


def big(values):
    return Typed(values, "bigint")


@pytest.mark.parametrize("statistics", ["none", "stale"])
def test_work_grows_with_what_is_asked(server, statistics):  # pylint: disable=redefined-outer-name
    """An agent's session plans its calls while there are two partitions; then there are hundreds."""
    database = server.database()
    plans = Plans(database.conninfo)
    first = Owner(plans, 1)
    small = plans.execute("SELECT streamhouse.create_topic('small', partitions => 2)")[0][0]
    for _ in range(7):
        first.take([(small, 0), (small, 1)])
        first.seal(first.assigned("own"))
    if statistics == "stale":
        plans.execute("VACUUM ANALYZE")

    plans.call(PARTITIONS, "SELECT streamhouse.create_topic('many', partitions => %s)", PARTITIONS)
    free = first.assigned("grant")
    assert len(free) == PARTITIONS + 2
    for at in range(0, PARTITIONS, AT_ONCE):
        first.take(free[at:at + AT_ONCE])
    first.seal(first.assigned("own")[:AT_ONCE])
    plans.call(PARTITIONS, "SELECT streamhouse.agent_metadata_changes(NULL)")

    # It is gone, and another one takes over; then its epochs are ended by force, and it comes back.
    plans.execute("UPDATE streamhouse.lease SET ticks_left = 0")
    second = Owner(plans, 2)
    plans.call(PARTITIONS, "SELECT streamhouse.rebalance()")
    second.take(second.assigned("grant")[-AT_ONCE:])
    lost = plans.execute("SELECT topic_id, partition, epoch FROM streamhouse.epoch WHERE state = 'orphaned'")
    assert len(lost) >= AT_ONCE // 2
    keys = uuids(row[0] for row in lost), [row[1] for row in lost], [row[2] for row in lost]
    plans.call(len(lost), "SELECT streamhouse.force_ends(%s, %s, %s)", *keys)
    back = Owner(plans, 1, start=2)
    left = back.call(len(lost), "agent_leftover", *keys)
    assert [row[2] for row in left] == ["leftover"] * len(lost)

    # Topics without owners, and a new term.
    plans.call(PARTITIONS, "SELECT streamhouse.create_topic('free', partitions => %s, durability => 'object')", PARTITIONS)
    plans.call(PARTITIONS, "SELECT streamhouse.alter_topic('free', durability => 'wal')")
    plans.call(PARTITIONS, "SELECT streamhouse.alter_topic('free', durability => 'object')")
    plans.call(PARTITIONS, "SELECT streamhouse.drop_topic('free')")
    plans.execute("SELECT streamhouse.new_term()")
    again = Owner(plans, 1, start=3)
    again.call(len(lost), "agent_present_epochs", *keys, big([0] * len(lost)))
    plans.call(3 * PARTITIONS, "SELECT streamhouse.accept_term_boundary()")
    assert not plans.costly
    plans.connection.close()
    database.close()


def test_an_id_at_the_bound_costs_little_whatever_is_remembered(server):  # pylint: disable=redefined-outer-name
    """It takes the place of the oldest unused one: neither the state of others is read for that, nor, beside an open snapshot,
    the places of all that were forgotten since."""
    database = server.database()
    plans = Plans(database.conninfo)
    owner = Owner(plans, 1)
    owner.call(1, "agent_init_producer")
    plans.execute("SET streamhouse.producers_max = 1")
    plans.execute("INSERT INTO streamhouse.producer SELECT n, now() - interval '1 minute' + n * interval '1 ms' "
                  "FROM generate_series(1, 3000) AS n ORDER BY md5(n::text)")  # else one block has many, and counts once
    plans.execute("INSERT INTO streamhouse.producer_state (topic_id, partition, producer_id, producer_epoch, base_sequences, "
                  "sequence_counts, base_offsets) SELECT gen_random_uuid(), 0, 10000 + n, 0, '{}', '{}', '{}' "
                  "FROM generate_series(1, 20000) AS n")
    plans.execute("VACUUM ANALYZE")
    reader = psycopg2.connect(database.conninfo)
    reader.set_session(isolation_level="REPEATABLE READ")
    reader.cursor().execute("SELECT count(*) FROM streamhouse.producer")
    plans.execute("SELECT streamhouse.agent_init_producer(%s) FROM generate_series(1, 2000)", owner.incarnation)
    assert plans.execute("SELECT min(producer_id) FROM streamhouse.producer") == [(2001,)]
    owner.call(1, "agent_init_producer")
    assert not plans.costly
    explained = plans.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT streamhouse.agent_init_producer(%s)",
                              owner.incarnation)[0][0][0]["Plan"]
    assert explained["Shared Hit Blocks"] + explained["Shared Read Blocks"] < 500
    assert plans.execute("SELECT min(producer_id) FROM streamhouse.producer") == [(2003,)]
    reader.close()
    plans.connection.close()
    database.close()
