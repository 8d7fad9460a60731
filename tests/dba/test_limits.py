"""A server that has too little for StreamHouse says so: worker slots, connections, settings that were left out."""
from harness.processes import wait_until

PROBLEM = "SELECT problem FROM streamhouse.agents"


def restart(world):
    world.server.control("-w", "-m", "fast", "restart")
    world.database.reconnect()


def server_log(world):
    return (world.server.directory / "log").read_text(errors="replace")


def long_after_its_start(world):
    """No problem is told in the server's first ten seconds."""
    wait_until("the server has run for a while", lambda: world.database.value(
        "SELECT pg_postmaster_start_time() < now() - interval '11 seconds'"), 20)


def test_no_slot_for_a_worker(world):
    """The launcher takes one of the slots. With one more, leases come first; with none, the log and the views tell."""
    world.set(world.server, "max_parallel_workers", "0")
    world.set(world.server, "max_logical_replication_workers", "0")
    world.set(world.server, "max_worker_processes", "2")
    restart(world)
    wait_until("retention has no slot", lambda: 'no slot for the background worker "streamhouse retention"' in server_log(world), 20)
    wait_until("the lease worker ticks", lambda: world.database.value(
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'streamhouse lease'") == 1, 20)
    assert 'no slot for the background worker "streamhouse lease"' not in server_log(world)
    assert "max_worker_processes" in server_log(world)

    world.set(world.server, "max_worker_processes", "1")
    restart(world)
    wait_until("the lease worker has no slot", lambda: 'no slot for the background worker "streamhouse lease"' in server_log(world), 20)
    long_after_its_start(world)
    agent = world.agent().start()
    assert "max_worker_processes" in world.database.value(PROBLEM)
    assert "server_unfit" in agent.log_text() and "max_worker_processes" in agent.log_text()
    assert world.database.execute("SELECT subject FROM streamhouse.health WHERE NOT is_well AND subject = 'workers'")


def test_the_workers_serve_another_database(world):
    world.set(world.server, "streamhouse.database", "elsewhere")
    restart(world)
    long_after_its_start(world)
    agent = world.agent().start()
    assert 'streamhouse.database is "elsewhere"' in world.database.value(PROBLEM)
    assert "server_unfit" in agent.log_text()
    world.set(world.server, "streamhouse.database", "streamhouse")
    wait_until("it ticks again", lambda: world.database.value(PROBLEM) is None, 20)


def test_the_library_is_not_preloaded(world):
    world.set(world.server, "shared_preload_libraries", "auto_explain")
    restart(world)
    long_after_its_start(world)
    agent = world.agent().start()
    assert "shared_preload_libraries" in world.database.value(PROBLEM)
    assert "shared_preload_libraries" in agent.log_text()


def test_connections_are_counted(world):
    """What an agent says it may open is not less than what it opens, and limits below that are told."""
    agent = world.agent(read_threads=2, schema_registry_connections=3).start()
    world.database.execute("SELECT streamhouse.create_topic('t')")
    world.produce(agent)
    world.published()
    world.client(agent).fetch("t")
    opened = world.database.value("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'streamhouse-agent%'")
    assert 0 < opened <= 8 + 2 + 3
    assert "server_unfit" not in agent.log_text()
    agent.terminate()
    world.database.execute("ALTER DATABASE streamhouse CONNECTION LIMIT 12")
    agent.start()
    assert "this database allows 12" in agent.log_text()
    agent.terminate()
    world.database.execute("ALTER DATABASE streamhouse CONNECTION LIMIT -1")
    world.set(world.server, "max_connections", "15")
    restart(world)
    agent.start()
    assert "max_connections leaves 12" in agent.log_text()


def test_agents_keep_the_extension(world):
    """DROP EXTENSION is refused while agents are live."""
    world.set(world.server, "streamhouse.allow_drop", "off")
    agent = world.agent().start()
    try:
        world.database.execute("DROP EXTENSION streamhouse")
        assert False
    except Exception as error:  # pylint: disable=broad-except
        assert "agents are live" in str(error)
    agent.terminate()
    world.database.execute("DROP EXTENSION streamhouse")


def test_uninstalled_it_leaves_no_role(world):
    other = world.server.database("other")
    world.database.execute("ALTER ROLE streamhouse_read RENAME TO readers")
    world.database.execute("SELECT streamhouse.uninstall()")
    roles = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'streamhouse%' OR rolname = 'readers' ORDER BY 1"
    assert other.execute(roles) == [("readers",), ("streamhouse_admin",), ("streamhouse_agent",)]
    other.execute("SELECT streamhouse.uninstall()")
    assert other.execute(roles) == []
    other.close()
