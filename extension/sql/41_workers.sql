-- What the lease worker does. None of it waits for a lock that an open transaction may hold: what is locked is left
-- for the next tick.

CREATE FUNCTION streamhouse.open_transaction_warning_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_open_transaction_warning_ms';
COMMENT ON FUNCTION streamhouse.open_transaction_warning_ms IS
    'The setting streamhouse.open_transaction_warning in milliseconds; 0: no warnings';

CREATE FUNCTION streamhouse.control_lock_if_free() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    PERFORM begin_decision();
    PERFORM FROM cluster FOR UPDATE SKIP LOCKED;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION streamhouse.control_lock_if_free IS
    'Takes the control lock if nobody holds it, and tells whether it did; never waits';

CREATE FUNCTION streamhouse.worker_tick(now_ms bigint DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    ticked    bigint;
    passed_ms bigint;
BEGIN
    PERFORM begin_decision();
    SELECT c.ticked_ms INTO ticked FROM lease_clock AS c FOR UPDATE SKIP LOCKED;
    IF FOUND THEN
        -- Read behind the lock: of two workers, the later one sees the later time. A clock that is far behind is
        -- another machine's, or that of another start of this one.
        passed_ms := coalesce(worker_tick.now_ms, monotonic_ms()) - ticked;
        IF passed_ms > -tick_interval_ms() AND passed_ms < tick_interval_ms() THEN
            RETURN false;
        END IF;
        UPDATE lease_clock AS c SET number = c.number + 1, ticked_ms = ticked + passed_ms;
    ELSE
        INSERT INTO lease_clock (number, ticked_ms) VALUES (1, coalesce(worker_tick.now_ms, monotonic_ms()))
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN false; -- somebody else ticks
        END IF;
    END IF;
    -- Of an unknown time an interval counts.
    RETURN lease_tick(least(CASE WHEN passed_ms > 0 THEN passed_ms END, tick_interval_ms())::int);
END
$$;
COMMENT ON FUNCTION streamhouse.worker_tick IS
    'The lease worker''s tick: lease_tick(), if the last one was tick_interval ago, so that any number of callers '
    'tick once an interval. now_ms is the time by monotonic_ms(). True when rebalance() is due';

CREATE FUNCTION streamhouse.rebalance_if_free() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    IF NOT control_lock_if_free() THEN
        RETURN false;
    END IF;
    PERFORM rebalance();
    RETURN true;
END
$$;
COMMENT ON FUNCTION streamhouse.rebalance_if_free IS
    'rebalance(), unless somebody holds the control lock; tells whether it did';

CREATE FUNCTION streamhouse.find_open_transactions()
RETURNS TABLE (pid int, role name, application text, client inet, state text, since timestamptz,
               age interval, holds text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    -- A prepared transaction has no process.
    WITH open AS (
        SELECT a.pid, NULL::text AS prepared, a.usename AS role, a.application_name AS application, a.client_addr AS client,
               a.state, a.xact_start AS since, coalesce(a.backend_xid, a.backend_xmin) IS NOT NULL AS keeps_rows
        FROM pg_stat_activity AS a
        WHERE a.datname = current_database() AND a.xact_start IS NOT NULL AND a.pid <> pg_backend_pid()
          AND a.backend_type NOT IN ('autovacuum worker', 'parallel worker')
          -- Who waits for a lock is not to blame: locks on tables show before those on their rows are there.
          AND a.wait_event_type IS DISTINCT FROM 'Lock'
        UNION ALL
        SELECT NULL, '-1/' || p.transaction, p.owner, NULL, NULL, format('prepared as "%s"', p.gid), p.prepared, true
        FROM pg_prepared_xacts AS p WHERE p.database = current_database()
    ), hold AS (
        -- Row locks show as locks of their table.
        SELECT o.*, CASE c.relname WHEN 'cluster' THEN 'control lock' WHEN 'epoch_head' THEN 'heads'
                                   ELSE c.relname::text END AS what
        FROM open AS o
        JOIN pg_locks AS l ON l.pid = o.pid OR (l.pid IS NULL AND l.virtualtransaction = o.prepared)
        JOIN pg_class AS c ON c.oid = l.relation AND c.relkind = 'r'
                          AND c.relnamespace = 'streamhouse'::regnamespace
        WHERE l.locktype = 'relation' AND l.granted
          AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
          AND l.mode NOT IN ('AccessShareLock', 'ShareUpdateExclusiveLock')
        UNION ALL
        -- Everybody does for a moment.
        SELECT o.*, 'old row versions' FROM open AS o
        WHERE o.keeps_rows AND open_transaction_warning_ms() > 0
          AND clock_timestamp() - o.since >= open_transaction_warning_ms() * interval '1 millisecond'
    )
    SELECT h.pid, h.role, h.application, h.client, h.state, h.since, clock_timestamp() - h.since,
           array_agg(DISTINCT h.what)
    FROM hold AS h
    GROUP BY h.pid, h.prepared, h.role, h.application, h.client, h.state, h.since
$$;
COMMENT ON FUNCTION streamhouse.find_open_transactions IS
    'Open transactions that have locked or changed rows of StreamHouse, and of which tables; and those that have kept old '
    'row versions from being removed for longer than streamhouse.open_transaction_warning';

CREATE VIEW streamhouse.open_transactions AS
SELECT * FROM streamhouse.find_open_transactions() ORDER BY since;
COMMENT ON VIEW streamhouse.open_transactions IS
    'Open transactions that have locked or changed rows of StreamHouse (pid null: a prepared one), since when, and '
    'what they hold: the control lock, which every change of topics, agents and epochs takes; heads, which '
    'publishing takes; or rows of other tables. From streamhouse.open_transaction_warning on also those that, whatever '
    'they do, hold old row versions, which cannot be removed before they end';

CREATE FUNCTION streamhouse.warn_of_open_transactions(passed_ms bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    bound_ms float8 := open_transaction_warning_ms();
    warned   int := 0;
    found    record;
BEGIN
    IF bound_ms = 0 THEN
        RETURN 0;
    END IF;
    -- When its age has passed the bound, or twice, four times, eight times that, since the last look.
    FOR found IN
        SELECT t.* FROM open_transactions AS t
        CROSS JOIN LATERAL (SELECT extract(epoch FROM t.age)::float8 * 1000) AS a(age_ms)
        WHERE a.age_ms >= bound_ms
          AND (a.age_ms - passed_ms < bound_ms
               OR floor(log(2, (a.age_ms / bound_ms)::numeric))
                  > floor(log(2, greatest((a.age_ms - passed_ms) / bound_ms, 0.001)::numeric)))
    LOOP
        RAISE WARNING '% has held % of StreamHouse in an open transaction for % s',
                      coalesce(format('process %s (role "%s", application "%s", %s)', found.pid, found.role,
                                      found.application, found.state),
                               format('a transaction of role "%s" (%s)', found.role, found.state)),
                      array_to_string(found.holds, ', '), round(extract(epoch FROM found.age))
            USING DETAIL = CASE WHEN found.holds = ARRAY['old row versions'] THEN
                                    'No row that was changed or deleted since is removed from any table before its end.'
                                ELSE 'Agents that need what it holds wait for its end.' END,
                  HINT = CASE WHEN found.pid IS NULL THEN 'Commit it or roll it back (pg_prepared_xacts).'
                              ELSE format('Commit it, or end it: SELECT pg_terminate_backend(%s). '
                                          'idle_in_transaction_session_timeout ends such ones.', found.pid) END;
        warned := warned + 1;
    END LOOP;
    RETURN warned;
END
$$;
COMMENT ON FUNCTION streamhouse.warn_of_open_transactions IS
    'Warns, in the server''s log when the lease worker asks, of transactions in streamhouse.open_transactions older '
    'than streamhouse.open_transaction_warning: once when they get so old, and each time when twice as old. '
    'passed_ms is the time since the last look. Returns how many';
