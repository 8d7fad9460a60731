"""PostgreSQL fails over, comes back older, or is cloned: agents present what it has forgotten, and every acknowledged
record is there afterwards, once and at its offset."""
import signal
import threading
import time

import grpc
import pytest

from harness.batch import batch
from harness.processes import PATIENCE, wait_until
from harness.world import World


@pytest.fixture
def world(directory):
    made = World(directory)
    yield made
    made.close()


def owner_count(world):
    return world.database.value("SELECT count(DISTINCT owner) FROM streamhouse.partitions WHERE status = 'ok'")


def test_synchronous_replica_has_lost_nothing(world):
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    world.produce([a1], count=5)
    replica = world.server.replica(synchronous=True)
    world.produce([a1], count=5)
    world.published()
    world.server.control("-m", "immediate", "stop")
    world.produce([a1], count=5)
    world.go_on_with(replica.promote())
    world.settled(2)
    world.produce([a1], count=5)
    world.check([a1])
    assert world.database.value("SELECT unresolved FROM streamhouse.term") == 0
    wait_until("deletion goes on", lambda: world.database.value("SELECT streamhouse.deletion_allowed()"))


def test_asynchronous_replica_without_the_last_grants_and_publishes(world):
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('t', partitions => 2)")
    for partition in 0, 1:
        world.produce([a1], partition, count=3)
    world.published()
    replica = world.server.replica()
    replica.sever()
    # One partition gets another owner, both get records; then a1 stays behind with some that are not published.
    a2 = world.agent("a2")
    wait_until("each has a partition", lambda: owner_count(world) == 2, 20)
    for partition in 0, 1:
        world.produce([a1, a2], partition, count=10)
    world.published()
    world.server.control("-m", "immediate", "stop")
    for partition in 0, 1:
        world.produce([a1, a2], partition, count=3)
    world.go_on_with(replica.promote(), lost=True)
    world.settled(2)
    for partition in 0, 1:
        world.produce([a1, a2], partition, count=5)
        world.check([a1, a2], partition)
    assert world.database.value("SELECT count(*) FROM streamhouse.orphans") == 0


def test_backup_of_before(world):
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    world.produce([a1], count=3)
    world.published()
    backup = world.backup()
    world.produce([a1], count=10)
    world.published()
    # The agent's next start opens an epoch of which the backup knows nothing.
    a1.terminate()
    a1.start()
    world.produce([a1], count=10)
    world.published()
    world.server.control("-m", "immediate", "stop")
    world.go_on_with(backup.start(), lost=True)
    world.settled(2)
    world.produce([a1], count=5)
    world.check([a1])


@pytest.mark.parametrize("where", ["store", "log"])
def test_backup_of_before_a_term(world, where):
    """The backup knows nothing of the term, and would begin it a second time: an agent comes first that was not in the
    other one. What was acknowledged there is in the store, or in the log of an agent that is down."""
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    world.produce([a1], count=3)
    world.published()
    backup = world.backup()
    world.database.execute("SELECT streamhouse.new_term()")
    world.settled(2)
    if where == "log":
        a1.terminate()
        a1.settings["flush_interval"] = "1min"
        a1.start()
    world.produce([a1], count=10)
    if where == "store":
        world.published()
    a1.kill()
    world.server.control("-m", "immediate", "stop")
    world.go_on_with(backup.start(), lost=where == "store")
    world.database.execute("SELECT streamhouse.new_term()")
    a2 = world.agent("a2")
    assert world.database.value("SELECT term FROM streamhouse.cluster") == 3
    assert "number 2 was in use" in world.database.value("SELECT reason FROM streamhouse.term_status WHERE term = 3")
    world.produce([a2], count=5)
    a1.settings["flush_interval"] = "20ms"
    a1.start()
    world.settled(3)
    world.produce([a1, a2], count=5)
    world.check([a1, a2])
    assert world.database.value("SELECT sum(unresolved) FROM streamhouse.term_status") == 0


def test_records_of_object_topics_stay_with_a_synchronous_replica(world):
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    sent = world.produce_object(a1, 0, 1)
    replica = world.server.replica(synchronous=True)
    sent += world.produce_object(a1, 2)
    world.server.control("-m", "immediate", "stop")
    world.go_on_with(replica.promote())
    world.settled(2)
    sent += world.produce_object(a1, 3)
    assert world.read_object(a1, 4) == sent


@pytest.mark.parametrize("agent_crashes", [False, True])
def test_forgotten_records_of_object_topics_come_back_at_their_offsets(world, agent_crashes):
    """Each object tells the results of those before it, and an agent that starts over those that none tells yet. What only
    a crashed agent knew is not passed over silently."""
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    sent = world.produce_object(a1, 0, 1)
    replica = world.server.replica()
    replica.sever()
    sent += world.produce_object(a1, 2) + world.produce_object(a1, 3, 4)
    last = world.produce_object(a1, 5)
    if agent_crashes:
        a1.kill()
    world.server.control("-m", "immediate", "stop")
    world.go_on_with(replica.promote())
    if agent_crashes:
        a1.start()
    else:
        sent += last
        world.settled(2)
        assert world.read_object(a1, len(sent)) == sent
        return
    wait_until("the agent has presented", lambda: world.database.value(
        "SELECT presented = 1 AND unresolved = 1 FROM streamhouse.term_status"), 30 * PATIENCE)
    assert world.database.value("SELECT sum(records) FROM streamhouse.epochs") == len(sent)
    wait_until("no ticks are left", lambda: world.database.value("SELECT ticks_left FROM streamhouse.term") == 0,
               20 * PATIENCE)
    later = world.produce_object(a1, 6)
    assert world.database.value("SELECT settled_at FROM streamhouse.term_status") is None
    assert "boundary of a term" in world.database.value("SELECT status FROM streamhouse.partitions")
    assert not world.database.value("SELECT streamhouse.deletion_allowed()")
    assert not world.client(a1).fetch("o", offset=5, max_wait_ms=0).records
    world.database.execute("SELECT streamhouse.accept_term_boundary()")
    assert world.read_object(a1, len(sent) + 1) == sent + later


def produce_in_turn(world, agents, numbers):
    """One record for each number, by whoever's turn it is, in one ownerless epoch: the results of the last are in no object."""
    return [pair for n in numbers for pair in world.produce_object(agents[n % len(agents)], n)]


def paused_while_another_presents(world, agent):
    """The agent is stopped until another one has presented, without a place for what only this one knows the offsets of."""
    agent.process.send_signal(signal.SIGSTOP)
    yield
    wait_until("the other one has presented", lambda: world.database.value(
        "SELECT presented = 1 AND unresolved > 0 FROM streamhouse.term_status ORDER BY term DESC LIMIT 1"), 30 * PATIENCE)
    agent.process.send_signal(signal.SIGCONT)
    yield


def test_what_two_agents_wrote_in_turn_comes_back_though_the_first_to_present_does_not_know_all_of_it(world):
    a1, a2 = world.agent("a1"), world.agent("a2")
    world.database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    sent = produce_in_turn(world, [a1, a2], range(4))
    replica = world.server.replica()
    replica.sever()
    sent += produce_in_turn(world, [a1, a2], range(4, 7)) + world.produce_object(a2, 7) + world.produce_object(a1, 8, 9)
    pause = paused_while_another_presents(world, a2)
    next(pause)
    world.server.control("-m", "immediate", "stop")
    world.go_on_with(replica.promote())
    next(pause)
    world.settled(2)
    assert world.read_object(a1, len(sent)) == sent
    assert world.database.value("SELECT unresolved FROM streamhouse.term_status") == 0


@pytest.mark.parametrize("one_is_late", [False, True])
def test_what_two_agents_wrote_in_an_ownerless_epoch_that_is_forgotten_comes_back(world, one_is_late):
    """Whoever comes late knows where it began."""
    a1, a2 = world.agent("a1"), world.agent("a2")
    world.database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    sent = produce_in_turn(world, [a1, a2], range(4))
    backup = world.backup()
    world.database.execute("SELECT streamhouse.new_term()")
    world.settled(2)
    sent += world.produce_object(a2, 4) + produce_in_turn(world, [a1] if one_is_late else [a1, a2], range(5, 9))
    pause = paused_while_another_presents(world, a2) if one_is_late else iter((None, None))
    next(pause)
    world.server.control("-m", "immediate", "stop")
    world.go_on_with(backup.start())
    next(pause)
    world.settled(3)
    assert world.read_object(a1, len(sent)) == sent
    assert world.database.value("SELECT sum(unresolved) FROM streamhouse.term_status") == 0


def test_a_forgotten_topic_comes_back_under_another_name(world):
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    replica = world.server.replica()
    replica.sever()
    topic_id = world.database.value("SELECT streamhouse.create_topic('forgotten', partitions => 2)")
    client = world.client(a1)
    base = client.produce("forgotten", values=[b"1", b"2"], partition=1).base_offset
    world.server.control("-m", "immediate", "stop")
    world.go_on_with(replica.promote())
    world.settled(2)
    name = f"recovered-{str(topic_id)[:8]}"
    assert world.database.execute("SELECT topic, partitions FROM streamhouse.topics WHERE topic_id = %s", topic_id) == [(name, 2)]
    world.database.execute("SELECT streamhouse.rename_topic(%s, 'found')", name)
    wait_until("the agent knows the new name", lambda: "found" in [t.name for t in client.metadata().topics], 10 * PATIENCE)
    answer = client.fetch("found", partition=1, max_wait_ms=1000)
    assert [(r.offset, r.value) for r in answer.records] == [(base, b"1"), (base + 1, b"2")]


def test_clone_cannot_delete(world):
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    world.produce([a1], count=3)
    world.published()
    wait_until("the marker is held", lambda: world.database.value("SELECT streamhouse.deletion_allowed()"))
    clone = world.server.replica()
    world.servers.append(clone)
    clone.sever()
    clone.promote()
    theirs = clone.open("streamhouse")
    assert not theirs.value("SELECT streamhouse.deletion_allowed()")
    a9 = world.agent("a9", port=clone.port)
    assert theirs.value("SELECT term FROM streamhouse.cluster") == 2
    wait_until("no ticks are left", lambda: theirs.value("SELECT ticks_left FROM streamhouse.term") == 0, 20 * PATIENCE)
    assert theirs.execute("SELECT awaited_agents, settled_at FROM streamhouse.term_status") == [(["a1"], None)]
    assert not theirs.value("SELECT streamhouse.deletion_allowed()")
    incarnation = theirs.value("SELECT incarnation_id FROM streamhouse.agents WHERE agent_id = 'a9'")
    assert not theirs.value("SELECT streamhouse.agent_scan_claim(%s)", incarnation)
    wait_until("the original goes on", lambda: world.database.value("SELECT streamhouse.deletion_allowed()"))
    world.produce([a1], count=3)
    world.check([a1])
    a9.kill()


def test_neither_a_file_copy_nor_its_original_deletes(world):
    """A copy of the data directory, started as it is: same system, same timeline, same term. Only the store tells."""
    allowed = "SELECT streamhouse.deletion_allowed()"
    world.database.execute("ALTER DATABASE streamhouse SET streamhouse.garbage_grace = 0")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    a1 = world.agent("a1")
    world.produce([a1], count=5)
    world.published()
    wait_until("the marker is held", lambda: world.database.value(allowed))
    world.server.control("-m", "fast", "stop")
    copy = world.server.copy()
    world.servers.append(copy)
    world.server.control("-w", "start")
    world.database.reconnect()
    theirs = copy.start().open("streamhouse")
    assert theirs.value("SELECT term FROM streamhouse.cluster") == 1
    a9 = world.agent("a9", port=copy.port)
    theirs.execute("SELECT streamhouse.drop_topic('t')")  # all that the original has is garbage there
    for database in (theirs, world.database):
        wait_until("it has met the other", lambda: database.value("SELECT contested_by FROM streamhouse.store_marker"))
        assert not database.value(allowed)
        assert "new_term()" in database.value("SELECT status FROM streamhouse.store_marker_status")
    assert "store_contested" in a9.log_text() and "store_contested" in a1.log_text()
    world.check([a1])

    # The operator decides for the original.
    store = world.directory / "store"
    a1_objects, a9_objects = ([p for p in store.rglob("*.seg") if p.parts[-3] == agent] for agent in ("a1", "a9"))
    assert a1_objects
    world.database.execute("SELECT streamhouse.new_term()")
    world.settled(2)
    world.database.execute("SELECT streamhouse.accept_term_boundary(allow_deletion => true, force => true)")
    wait_until("the original may delete", lambda: world.database.value(allowed))
    world.check([a1])
    assert not theirs.value(allowed)
    world.database.execute("SELECT streamhouse.drop_topic('t')")
    wait_until("the original's objects are gone", lambda: not any(p.exists() for p in a1_objects), 20 * PATIENCE)
    assert all(p.exists() for p in a9_objects)
    assert world.database.value("SELECT contested_by FROM streamhouse.store_marker") is None
    a9.kill()


def test_a_server_that_crashes_has_forgotten_nothing_whatever_a_role_asks_for(world):
    """With synchronous_commit off a commit is answered before it is anywhere but in memory."""
    world.database.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
    world.database.execute("ALTER SYSTEM SET wal_writer_flush_after = '1GB'")
    world.database.execute("SELECT pg_reload_conf()")
    world.database.execute("ALTER ROLE postgres SET synchronous_commit = off")
    world.database.execute("ALTER DATABASE streamhouse SET synchronous_commit = off")
    world.database.reconnect()
    a1 = world.agent("a1", heartbeat_interval="10s")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    for _ in range(4):
        world.produce([a1], count=10)
        world.published()
    world.server.kill()
    world.server.control("-w", "start")
    world.database.reconnect()
    world.database.execute("SET synchronous_commit = on")
    assert world.records() == 40
    world.produce([a1], count=5)
    world.published()
    world.check([a1])
    assert world.database.value("SELECT term FROM streamhouse.cluster") == 1


def forget_publishes(world, offset):
    """As a database that lost the publishes from an offset on, but not the count of calls."""
    world.database.execute("CREATE TEMP TABLE gone AS SELECT DISTINCT s.object_id FROM streamhouse.segment AS s JOIN "
                           "streamhouse.topic AS t USING (topic_id) WHERE t.name = 't' AND s.first_offset >= %s", offset)
    world.database.execute("DELETE FROM streamhouse.segment WHERE object_id IN (SELECT object_id FROM gone)")
    world.database.execute("DELETE FROM streamhouse.object WHERE object_id IN (SELECT object_id FROM gone)")
    world.database.execute("UPDATE streamhouse.epoch_head AS h SET published_end = %s, records = %s FROM streamhouse.topic AS t "
                           "WHERE t.topic_id = h.topic_id AND t.name = 't'", offset, offset)


def agent_with_publishes_behind_it(world):
    """What it has published to `t`, offsets 0 to 9, is in no file of its write-ahead log any more."""
    a1 = world.agent("a1", wal_file_size="1MB")
    world.database.execute("SELECT streamhouse.create_topic(name) FROM unnest(ARRAY['t', 'u']) AS name")
    world.produce([a1], count=5)
    world.published()
    world.produce([a1], count=5)
    world.published()
    for _ in range(4):
        world.client(a1).produce("u", values=[bytes(500000)])
    wait_until("the filling is published", lambda: world.records() == 14, 20 * PATIENCE)
    return a1


@pytest.mark.parametrize("next_call", ["publish", "seal", "recovery"])
def test_publishes_that_the_database_forgot_come_back(world, next_call):
    """Whatever the agent does next, it finds out: a publish that leaves a gap, a seal at an end that is not known, a start
    that recovers what is left."""
    a1 = agent_with_publishes_behind_it(world)
    if next_call == "publish":
        forget_publishes(world, 5)
        world.produce([a1], count=5)  # one of their objects may be in the store and the one before it not
    elif next_call == "seal":
        forget_publishes(world, 5)
        a1.terminate()
        a1.start()
    else:
        world.proxy.cut()
        world.produce([a1], count=5)
        a1.kill()
        forget_publishes(world, 5)
        world.proxy.heal()
        a1.start()
    world.settled(2)
    world.produce([a1], count=5)
    world.check([a1])
    assert world.database.value("SELECT reason FROM streamhouse.term") == (
        "forgotten: an agent found that what it had published is not known")


def test_what_follows_an_object_that_is_not_in_the_store_gets_its_place_from_the_log(world):
    """Of two objects that were uploaded at once, one may get there alone: the term is settled all the same, as both are
    in the write-ahead log."""
    store = world.directory / "store"
    a1 = agent_with_publishes_behind_it(world)
    known = set(store.rglob("*.seg"))
    world.proxy.cut()
    for n in range(1, 4):
        world.produce([a1])
        wait_until("it is in the store", lambda: len(set(store.rglob("*.seg")) - known) == n)
    a1.kill()
    unknown = sorted(set(store.rglob("*.seg")) - known, key=lambda p: int(p.name.split("-")[0]))
    unknown[0].unlink()
    forget_publishes(world, 5)
    world.proxy.heal()
    a1.start()
    world.settled(2)
    assert world.database.value("SELECT unresolved FROM streamhouse.term_status") == 0
    world.produce([a1], count=5)
    world.check([a1])


@pytest.mark.parametrize("another_comes_first", [False, True])
def test_a_forgotten_epoch_begins_where_the_log_says_and_not_where_the_store_does(world, another_comes_first):
    """The database has forgotten the epoch, and of what was uploaded at once the first object has not got there."""
    store = world.directory / "store"
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    world.produce([a1], count=5)
    world.published()
    replica = world.server.replica()
    replica.sever()
    a1.terminate()
    a1.start()
    wait_until("its next epoch is open", lambda: owner_count(world) == 1)
    known = set(store.rglob("*.seg"))
    world.proxy.cut()
    for n in range(1, 4):
        world.produce([a1])
        wait_until("it is in the store", lambda: len(set(store.rglob("*.seg")) - known) == n)
    a1.kill()
    unknown = sorted(set(store.rglob("*.seg")) - known, key=lambda p: int(p.name.split("-")[0]))
    unknown[0].unlink()
    world.server.control("-m", "immediate", "stop")
    world.servers.append(replica.promote())
    world.database = replica.open("streamhouse")
    world.proxy.target = f"127.0.0.1:{replica.port}"
    world.proxy.heal()
    agents = [a1]
    if another_comes_first:
        world.database.execute("SELECT streamhouse.new_term()")
        agents.append(world.agent("a2"))
        wait_until("it has presented", lambda: world.database.value(
            "SELECT count(*) FROM streamhouse.epoch AS e JOIN streamhouse.incarnation AS i USING (incarnation_id) "
            "WHERE i.agent_id = 'a1' AND held_at > 5"))
    a1.start()
    world.settled(2)
    assert world.database.value("SELECT unresolved FROM streamhouse.term_status") == 0
    world.produce(agents, count=5)
    world.check(agents)


@pytest.mark.parametrize("comes_first", ["old owner", "heir"])
def test_what_was_sent_again_to_an_heir_is_stored_once_though_the_claim_is_forgotten(world, comes_first):
    """The old owner's log has a batch whose answer was lost, and the heir's has it too; the database knows of no claim."""
    a1 = world.agent("a1", flush_interval="1h")
    world.database.execute("SELECT streamhouse.create_topic('t', partitions => 1)")
    wait_until("a1 owns it", lambda: owner_count(world) == 1)
    a2 = world.agent("a2", flush_interval="1h")
    producer = world.client(a1).init_producer()

    def send(agent, sequence, number, first_unacked):
        sent = batch([b"%d" % number], producer_id=producer.producer_id, producer_epoch=producer.producer_epoch,
                     base_sequence=sequence)
        return world.client(agent).produce("t", batches=sent, first_unacked_seq=first_unacked).base_offset

    world.acknowledged[0, send(a1, 0, 1, 0)] = 1
    send(a1, 1, 2, 1)
    send(a1, 2, 3, 1)
    replica = world.server.replica()
    replica.sever()
    a1.kill()
    world.database.execute("UPDATE streamhouse.lease SET ticks_left = 0 WHERE incarnation_id = "
                           "(SELECT incarnation_id FROM streamhouse.agents WHERE agent_id = 'a1')")
    world.database.execute("SELECT streamhouse.rebalance()")
    wait_until("a2 owns it", lambda: world.database.value("SELECT owner FROM streamhouse.partitions") == "a2")
    world.acknowledged[0, send(a2, 1, 2, 1)] = 2
    world.acknowledged[0, send(a2, 2, 3, 2)] = 3
    a2.kill()
    world.server.control("-m", "immediate", "stop")
    world.go_on_with(replica.promote())
    for agent in (a1, a2) if comes_first == "old owner" else (a2, a1):
        agent.start()
        wait_until("it has presented", lambda: agent.agent_id in world.database.value(
            "SELECT array_agg(agent_id) FROM streamhouse.term_awaited WHERE presented_at IS NOT NULL") or [])
    world.settled(2)
    world.number = 3
    world.produce([a1, a2], count=2)
    world.check([a1, a2])
    assert world.database.value("SELECT sum(records) FROM streamhouse.epochs") == 3


@pytest.mark.parametrize("how", ["promoted", "fenced", "terminated"])
def test_calls_that_wait_for_an_object_do_not_hold_an_agent_that_cannot_go_on(world, how):
    """They are answered, with a delay after which to try again; then the agent starts over, or exits."""
    a1 = world.agent("a1", object_flush_interval="1min", flush_interval="20ms")
    world.database.execute("SELECT streamhouse.create_topic('o', durability => 'object')")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    world.produce([a1], count=5)
    world.published()
    client = world.client(a1)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(failure_of(lambda: client.produce("o", values=[b"1"]))))
    waiting.start()
    wait_until("the call waits", lambda: world.database.value("SELECT unpublished FROM streamhouse.lease") == 1)
    leases = "SELECT i.wal_uuid, i.incarnation_no FROM streamhouse.agent AS a JOIN streamhouse.incarnation AS i USING (incarnation_id)"
    if how == "promoted":
        world.database.execute("UPDATE streamhouse.cluster SET timeline = 77")
    elif how == "fenced":
        wal_uuid, number = world.database.execute(leases)[0]
        world.database.execute("SELECT streamhouse.agent_register('a1', %s, %s, 'h:1', '', '', '', '', 0)", wal_uuid, number + 1)
    else:
        world.database.execute("UPDATE streamhouse.cluster SET timeline = 77")
        wait_until("it stops", lambda: "engine_failed" in a1.log_text())
        a1.process.send_signal(signal.SIGTERM)
    waiting.join(10 * PATIENCE)
    assert not waiting.is_alive(), "the call is held"
    (error,) = answers
    assert error.code() == grpc.StatusCode.UNAVAILABLE, error
    assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) > 0
    if how in ("fenced", "terminated"):
        wait_until("the agent has exited", lambda: a1.process.poll() is not None, 15)
        return
    world.settled(2)
    world.produce([a1], count=5)
    assert "rpc_stop_waits" not in a1.log_text()


def failure_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    return None


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_no_lease_runs_out_while_the_server_sleeps(world, how):
    a1 = world.agent("a1")
    world.database.execute("SELECT streamhouse.create_topic('t')")
    world.produce([a1], count=3)
    epoch = "SELECT epoch FROM streamhouse.partitions"
    before = world.database.value(epoch)
    lease_s = world.database.value("SELECT streamhouse.lease_ticks() * streamhouse.tick_interval_ms()") / 1000
    with world.server.asleep(how):
        until = time.monotonic() + lease_s + 0.5
        while time.monotonic() < until:
            world.produce([a1])
            time.sleep(0.05)
    world.database.reconnect()
    world.published()
    assert world.database.value(epoch) == before
    assert world.database.value("SELECT term FROM streamhouse.cluster") == 1
    world.check([a1])
