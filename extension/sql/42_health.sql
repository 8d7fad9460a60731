-- Whether the server does its part: workers that tick, and connections enough.

CREATE FUNCTION streamhouse.worker_problem() RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    without text := 'leases do not run out and partitions are not placed: ';
BEGIN
    IF pg_is_in_recovery()
       OR EXISTS (SELECT FROM lease_clock AS c
                  WHERE monotonic_ms() - c.ticked_ms BETWEEN -tick_interval_ms() AND 3 * tick_interval_ms() + 1000)
       OR pg_postmaster_start_time() > now() - interval '10 seconds' THEN
        RETURN NULL;
    ELSIF NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'streamhouse launcher') THEN
        RETURN without || 'add streamhouse to shared_preload_libraries, and start PostgreSQL again';
    ELSIF current_setting('streamhouse.database') <> current_database() THEN
        RETURN without || format('streamhouse.database is "%s", and this database is "%s"',
                                 current_setting('streamhouse.database'), current_database());
    ELSIF NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'streamhouse lease') THEN
        RETURN without || format('the lease worker does not run; max_worker_processes (%s) may leave no slot, see the '
                                 'server''s log', current_setting('max_worker_processes'));
    END IF;
    RETURN without || 'the lease worker does not tick, see the server''s log';
END
$$;
COMMENT ON FUNCTION streamhouse.worker_problem IS
    'Why no worker ticks in this database, and what to do; null: one does, or the server has started just now';

CREATE FUNCTION streamhouse.connection_problem(each_agent int) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    agents int := (SELECT count(*) FROM live_agent);
    served int := current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int;
    bound  int;
BEGIN
    IF agents * each_agent > served THEN
        RETURN format('%s live agents open up to %s connections each, and max_connections leaves %s', agents, each_agent,
                      served);
    END IF;
    SELECT d.datconnlimit INTO bound FROM pg_database AS d WHERE d.datname = current_database() AND d.datconnlimit >= 0;
    IF agents * each_agent > bound THEN
        RETURN format('%s live agents open up to %s connections each, and this database allows %s', agents, each_agent,
                      bound);
    END IF;
    SELECT r.rolconnlimit INTO bound FROM pg_roles AS r WHERE r.rolname = session_user AND r.rolconnlimit >= 0;
    IF each_agent > bound THEN
        RETURN format('an agent opens up to %s connections, and role "%s" may have %s', each_agent, session_user, bound);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.connection_problem IS
    'Which limit on connections live agents reach when each opens so many; null: none';

CREATE FUNCTION streamhouse.agent_advice(connections int, heartbeat_ms bigint, marker_ms bigint) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT a.problem
    FROM (VALUES
        (worker_problem()), (connection_problem(connections)),
        (CASE WHEN 2 * heartbeat_ms > lease_ticks()::bigint * tick_interval_ms() THEN
             format('the lease runs out after %s ms (streamhouse.lease_ticks x streamhouse.tick_interval), which '
                    'heartbeats each %s ms may miss: lower heartbeat_interval', lease_ticks()::bigint * tick_interval_ms(),
                    heartbeat_ms) END),
        (CASE WHEN require_store_marker() AND marker_ms > 3 * marker_interval_ms() THEN
             format('the marker in the store is to be renewed each %s ms (streamhouse.marker_interval), and this agent looks '
                    'each %s ms: nothing is deleted from the store. Lower garbage_interval, or raise the other',
                    marker_interval_ms(), marker_ms) END)) AS a(problem)
    WHERE a.problem IS NOT NULL
$$;
COMMENT ON FUNCTION streamhouse.agent_advice IS
    'What is wrong with the server for an agent that opens so many connections, renews its lease and looks after the marker in '
    'the store so often: it warns of that when it starts';

