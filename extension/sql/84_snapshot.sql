-- Snapshots of the index: what the tables hold, written into the store by agents now and then, so that the index can
-- be rebuilt from the store alone. docs/internals/snapshot.md has the argument.

CREATE FUNCTION streamhouse.snapshot_interval_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_snapshot_interval_ms';
COMMENT ON FUNCTION streamhouse.snapshot_interval_ms IS
    'The setting streamhouse.snapshot_interval in milliseconds; 0: no snapshots';

CREATE FUNCTION streamhouse.snapshot_tables() RETURNS TABLE (kind text, name text, columns text)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    -- What pg_dump keeps of the extension. A table comes after those that it refers to: it was made later.
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, format('%I.%I', n.nspname, c.relname),
           CASE c.relkind WHEN 'S' THEN 'last_value,is_called' ELSE (
               SELECT string_agg(quote_ident(a.attname), ',' ORDER BY a.attnum) FROM pg_attribute AS a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') END
    FROM (SELECT unnest(e.extconfig) FROM pg_extension AS e WHERE e.extname = 'streamhouse') AS kept(oid)
    JOIN pg_class AS c USING (oid)
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    ORDER BY c.relkind, c.oid
$$;
COMMENT ON FUNCTION streamhouse.snapshot_tables IS
    'What a snapshot holds: sequences and tables, in an order in which they can be filled, with their columns';

CREATE FUNCTION streamhouse.topics_digest() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT md5(coalesce(string_agg(md5(t::text), '' ORDER BY t.topic_id), '')) FROM topic AS t $$;
COMMENT ON FUNCTION streamhouse.topics_digest IS 'Changes when a topic is made, changed or dropped';

CREATE FUNCTION streamhouse.snapshot_floor() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT CASE WHEN snapshot_interval_ms() = 0 THEN 'infinity'
                ELSE coalesce((SELECT coalesce(s.former_began_at, s.began_at) FROM index_snapshot AS s), '-infinity')
           END::timestamptz
$$;
COMMENT ON FUNCTION streamhouse.snapshot_floor IS
    'What was garbage before this time, the snapshots in the store know as garbage: it may be deleted';

CREATE FUNCTION streamhouse.is_snapshot_due(snapshot streamhouse.index_snapshot) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT snapshot_interval_ms() > 0
       AND (snapshot.finished_at IS NULL
            -- Whoever asks all the time keeps agents busy for a quarter of it at most.
            OR snapshot.requests > snapshot.requests_met
               AND (snapshot.took < interval '1 second' OR snapshot.took IS NULL
                    OR snapshot.finished_at <= now() - 3 * snapshot.took)
            OR snapshot.finished_at <= now() - span.whole
            OR snapshot.finished_at <= now() - least(span.whole / 5, interval '1 minute')
               AND snapshot.topics IS DISTINCT FROM topics_digest())
    FROM (SELECT snapshot_interval_ms() * interval '1 millisecond') AS span(whole)
$$;
COMMENT ON FUNCTION streamhouse.is_snapshot_due IS
    'True when the interval is over, a fifth of it since topics have changed, or a snapshot was asked for, and the last '
    'one is three times as long ago as it took';

CREATE FUNCTION streamhouse.agent_snapshot_claim(incarnation bigint) RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    looked_at timestamptz := clock_timestamp();
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    -- Of two databases that work with one store, only the one that may delete leaves snapshots there.
    IF snapshot_interval_ms() = 0 OR NOT deletion_allowed() THEN
        RETURN;
    END IF;
    INSERT INTO index_snapshot DEFAULT VALUES ON CONFLICT DO NOTHING;
    -- What becomes garbage is dated behind its table's lock. So the snapshot holds all that is dated before this
    -- look, and before the oldest transaction under way that has that lock; others, however old, date theirs later.
    RETURN QUERY
    UPDATE index_snapshot AS s
    SET attempt = s.attempt + 1, claimed_by = agent_snapshot_claim.incarnation,
        claimed_until = now() + interval '10 minutes', claimed_topics = topics_digest(),
        claimed_at = clock_timestamp(), claim_meets = s.requests,
        claim_began_at = least(looked_at, (SELECT min(t.since) FROM find_open_transactions() AS t
                                           WHERE t.holds @> '{object_deletion}'))
    WHERE is_snapshot_due(s)
      AND (s.claimed_by = agent_snapshot_claim.incarnation OR is_claim_over(s.claimed_by, s.claimed_until))
    RETURNING s.attempt;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_snapshot_claim IS
    'When the agent is to write a snapshot, its number; else no row. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_snapshot_done(incarnation bigint, number bigint, bytes bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    kept bigint;
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    UPDATE index_snapshot AS s
    SET former_number = s.number, former_began_at = s.began_at,
        number = agent_snapshot_done.number, began_at = s.claim_began_at, finished_at = now(),
        bytes = agent_snapshot_done.bytes, topics = s.claimed_topics, took = clock_timestamp() - s.claimed_at,
        requests_met = s.claim_meets,
        claimed_by = NULL, claimed_until = NULL, claimed_at = NULL, claim_began_at = NULL, claim_meets = NULL,
        claimed_topics = NULL
    WHERE s.claimed_by = agent_snapshot_done.incarnation AND s.attempt = agent_snapshot_done.number;
    SELECT coalesce(s.former_number, s.number) INTO kept FROM index_snapshot AS s;
    RETURN coalesce(kept, 0);
END
$$;
COMMENT ON FUNCTION streamhouse.agent_snapshot_done IS
    'The agent has written that snapshot. Returns from which number on snapshots are kept: older ones are to be deleted. '
    'Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.request_snapshot() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF snapshot_interval_ms() = 0 THEN
        RAISE EXCEPTION 'snapshots are turned off'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Set streamhouse.snapshot_interval above 0.';
    END IF;
    INSERT INTO index_snapshot AS s (requests) VALUES (1)
    ON CONFLICT (one_row) DO UPDATE SET requests = s.requests + 1;
END
$$;
COMMENT ON FUNCTION streamhouse.request_snapshot IS
    'Has an agent write a snapshot of the index into the store soon; streamhouse.snapshot_status tells when it is done';

CREATE VIEW streamhouse.snapshot_status AS
SELECT s.number, s.began_at, s.finished_at, s.bytes, i.agent_id AS written_by,
       CASE WHEN streamhouse.snapshot_interval_ms() = 0 THEN 'off: streamhouse.snapshot_interval is 0'
            WHEN i.agent_id IS NOT NULL THEN 'being written'
            WHEN NOT streamhouse.deletion_allowed() THEN
                'waits: history is not settled (streamhouse.term_status), or the marker in the store is not held '
                '(streamhouse.store_marker_status)'
            WHEN s.number IS NULL THEN 'no snapshot yet'
            WHEN streamhouse.is_snapshot_due(s) THEN 'due'
            ELSE 'done' END AS status
FROM streamhouse.index_snapshot AS s
LEFT JOIN streamhouse.incarnation AS i ON i.incarnation_id = s.claimed_by AND s.claimed_until > now();
COMMENT ON VIEW streamhouse.snapshot_status IS
    'The last snapshot of the index in the store: its number, what it holds (all that was committed before began_at), '
    'its size in the store, which agent is writing the next one, and what that waits for';

CREATE FUNCTION streamhouse.rebuild_begin() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    held record;
BEGIN
    SELECT (SELECT count(*) FROM topic) AS topics, (SELECT count(*) FROM incarnation) AS agents,
           (SELECT count(*) FROM object) AS objects INTO held;
    IF held.topics + held.agents + held.objects > 0 THEN
        RAISE EXCEPTION 'this database is in use: it knows % topics, % starts of agents and % objects', held.topics,
                        held.agents, held.objects
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Rebuild into a database where the extension was just created.';
    END IF;
    EXECUTE (SELECT 'TRUNCATE ' || string_agg(t.name, ', ') FROM snapshot_tables() AS t WHERE t.kind = 'table');
END
$$;
COMMENT ON FUNCTION streamhouse.rebuild_begin IS
    'Empties the tables, for a snapshot to be put into them. Only for the owner of the extension, and only where '
    'nothing is known yet';

CREATE FUNCTION streamhouse.rebuild_end(number bigint, above bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    begun cluster;
BEGIN
    PERFORM control_lock();
    begun := begin_term(format('rebuilt from snapshot %s in the store', number), above);
    -- The snapshots that are kept know all that may have been deleted.
    UPDATE term AS t SET known_until = t.began_at WHERE t.term = begun.term;
    RETURN begun.term;
END
$$;
COMMENT ON FUNCTION streamhouse.rebuild_end IS
    'Ends a rebuild: a new term, higher than "above", in which agents present what came after the snapshot. Returns its '
    'number';
