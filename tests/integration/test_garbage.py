"""Retention, compaction and garbage while records come and readers read; in the end the store holds what the index says."""
import pathlib
import threading

import grpc
import pytest

from harness.processes import wait_until

FAST = {"garbage_interval": "100ms", "compaction_interval": "100ms", "compaction_rate": "1GB"}


@pytest.fixture
def impatient(database):
    """Everything is due at once in this database, for connections made from now on."""
    for setting, value in (("garbage_grace", "0"), ("compaction_delay", "0"), ("compaction_objects", "4"),
                           ("scan_interval", "0")):
        database.execute(f'ALTER DATABASE "{database.name}" SET streamhouse.{setting} = {value}')
    database.reconnect()


@pytest.fixture
def retention(database):
    """The retention worker of a database that has none."""
    stop = threading.Event()
    failures = []

    def work():
        connection = database.connect()
        try:
            while not stop.wait(0.05):
                connection.cursor().execute("SELECT streamhouse.apply_retention(20)")
        except Exception as failure:
            failures.append(failure)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()
    assert not failures


def stored(agent):
    root = pathlib.Path(agent.settings["store_dir"])
    return {str(path.relative_to(root)) for path in root.rglob("*.seg")}


def indexed(database):
    return {key for key, in database.execute("SELECT object_key FROM streamhouse.object")}


def referred(database):
    return {key for key, in database.execute("SELECT DISTINCT object_key FROM streamhouse.segments")}


def segments(database, topic="t"):
    return database.value("SELECT count(*) FROM streamhouse.segments WHERE topic = %s", topic)


def produce_objects(database, client, topic, objects, first=0, records=10):
    """Each batch becomes an object of its own."""
    for i in range(first, first + objects):
        base = client.produce(topic, values=[b"%d" % (i * records + n) for n in range(records)]).base_offset
        wait_until("published", lambda: database.value(
            "SELECT published_end FROM streamhouse.partitions WHERE topic = %s", topic) >= base + records)


def settle(database, agent):
    """Until nothing is garbage and the store holds the objects that segments refer to, and no others."""
    wait_until("the store holds what the index says",
               lambda: stored(agent) == indexed(database) == referred(database), 60)


def test_small_objects_become_one_and_go(database, impatient, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t')")
    agent = make_agent(flush_interval="20ms", **FAST).start()
    client = connect(agent)
    produce_objects(database, client, "t", 12)
    # Up to three small ones may be left, and what became of the nine others.
    wait_until("compacted", lambda: segments(database) <= 5)
    settle(database, agent)
    assert any("/compact-" in key for key in stored(agent))
    assert agent.metric("streamhouse_compactions_total") >= 1
    assert agent.metric("streamhouse_garbage_objects_deleted_total") >= 8
    agent.terminate()
    agent.start()  # nothing in memory now
    values = [int(r.value) for r in connect(agent).read_all("t")]
    assert values == list(range(120))


def test_readers_see_everything_while_objects_come_and_go(database, impatient, retention, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t')")
    database.execute("SELECT streamhouse.create_topic('short', retention => '1 second')")
    agents = [make_agent(name, flush_interval="20ms", **FAST).start() for name in ("a1", "a2")]
    clients = [connect(agent) for agent in agents]
    owner = wait_until("placed", lambda: database.value(
        "SELECT owner FROM streamhouse.partitions WHERE topic = 't' AND status = 'ok'"))
    producer = clients[owner == "a2"]
    stop = threading.Event()
    failures, reads = [], []

    def read():
        reader = connect(agents[owner == "a1"])  # from the store: the other agent has nothing in memory
        while not stop.is_set():
            try:
                values, offset = [], 0
                while True:
                    result = reader.fetch("t", offset=offset)
                    values += [int(r.value) for r in result.records]
                    if not result.records:
                        break
                    offset = result.next_offset
                assert values == list(range(len(values)))
                reads.append(len(values))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:  # its end is at the owner
                    failures.append(error)
                else:
                    reads.append(len(values))
                    if values != list(range(len(values))):
                        failures.append(values)
            except Exception as failure:
                failures.append(failure)

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(30):
        produce_objects(database, producer, "t", 1, first=i)
        for client in clients:
            try:
                client.produce("short", values=[b"gone soon"])
                break
            except grpc.RpcError:
                continue
    wait_until("compacted", lambda: segments(database) <= 8)
    wait_until("retired", lambda: segments(database, "short") == 0)
    seen = len(reads)
    wait_until("read on", lambda: len(reads) > seen + 1 or failures)
    stop.set()
    thread.join()
    assert not failures, failures[0]
    assert max(reads) > 0
    settle(database, agents[0])


def test_a_log_start_is_out_of_range_below(database, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t')")
    agent = make_agent(**FAST).start()
    client = connect(agent)
    produce_objects(database, client, "t", 3)
    assert database.value("SELECT streamhouse.delete_records('t', 0, 15)") == 15

    def refused():
        try:
            client.fetch("t", offset=3)
        except grpc.RpcError as error:
            return error
        return None

    error = wait_until("the agent knows", refused)
    assert error.code() is grpc.StatusCode.OUT_OF_RANGE and "15" in error.details()
    assert client.offset_at("t", -2).offset == 15
    assert [int(r.value) for r in client.read_all("t", offset=15)] == list(range(15, 30))
    assert database.execute("SELECT records, log_start FROM streamhouse.partitions") == [(15, 15)]


def test_what_a_dead_writer_uploaded_is_collected(database, impatient, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t')")
    agent = make_agent(**FAST)
    agent.environment["STREAMHOUSE_FAULTS"] = "publish.before=crash"
    agent.start()
    connect(agent).produce("t", values=[b"once"])
    wait_until("it crashed between upload and publish", lambda: agent.process.poll() is not None)
    left = stored(agent)
    assert len(left) == 1 and not indexed(database)
    agent.environment.clear()
    agent.start()
    wait_until("it was published as another object and the first one is gone",
               lambda: stored(agent) and not stored(agent) & left, 20)
    settle(database, agent)
    assert [r.value for r in connect(agent).read_all("t")] == [b"once"]
    assert agent.metric("streamhouse_garbage_objects_given_up_total") >= 1


def test_a_crash_in_the_middle_of_a_compaction(database, impatient, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t')")
    agent = make_agent(flush_interval="20ms", **{**FAST, "compaction_rate": "0"}).start()
    produce_objects(database, connect(agent), "t", 6)
    agent.terminate()
    agent.settings["compaction_rate"] = "1GB"
    agent.environment["STREAMHOUSE_FAULTS"] = "compact.before_swap=crash"
    agent.start()
    wait_until("it crashed", lambda: agent.process.poll() is not None)
    agent.environment.clear()
    agent.start()
    assert [int(r.value) for r in connect(agent).read_all("t")] == list(range(60))
    wait_until("compacted", lambda: segments(database) == 1, 20)
    settle(database, agent)
    agent.terminate()
    agent.start()
    assert [int(r.value) for r in connect(agent).read_all("t")] == list(range(60))


def test_a_dropped_topic_leaves_nothing_in_the_store(database, impatient, retention, make_agent, connect):
    database.execute("SELECT streamhouse.create_topic('t')")
    agent = make_agent(flush_interval="20ms", **FAST).start()
    produce_objects(database, connect(agent), "t", 3)
    database.execute("SELECT streamhouse.drop_topic('t')")
    wait_until("the store is empty", lambda: not indexed(database) and not stored(agent), 25)


def test_the_bucket_holds_what_the_index_says(database, impatient, retention, make_agent, s3, connect, directory):
    database.execute("SELECT streamhouse.create_topic('t', durability => 'object')")
    database.execute("SELECT streamhouse.create_topic('short', retention => '1 second')")
    agent = make_agent(**{**s3, "s3_prefix": directory.name + "/"}, flush_interval="20ms", **FAST).start()
    client = connect(agent)
    produce_objects(database, client, "t", 8)
    produce_objects(database, client, "short", 4)
    # One large segment, and at most three small ones: four are what a compaction takes.
    wait_until("compacted and retired", lambda: segments(database) <= 4 and segments(database, "short") == 0, 60)
    wait_until("no garbage is left", lambda: indexed(database) == referred(database), 60)
    agent.terminate()
    agent.start()
    assert [int(r.value) for r in connect(agent).read_all("t")] == list(range(80))
    assert agent.metric("streamhouse_s3_requests_total") > 0
