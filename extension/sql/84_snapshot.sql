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
SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET timezone = 'UTC' -- the texts of times are in it
AS $$ SELECT md5(coalesce(string_agg(md5(t::text), '' ORDER BY t.topic_id), '')) FROM topic AS t $$;
COMMENT ON FUNCTION streamhouse.topics_digest IS 'Changes when a topic is made, changed or dropped';

CREATE FUNCTION streamhouse.snapshot_hold_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_snapshot_hold_ms';
COMMENT ON FUNCTION streamhouse.snapshot_hold_ms IS
    'The setting streamhouse.snapshot_hold in milliseconds; 0: for ever';

CREATE FUNCTION streamhouse.garbage_bound(OUT made_before xid8, OUT holds pg_snapshot)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT CASE WHEN k.is_free THEN '18446744073709551615' ELSE pg_snapshot_xmax(k.holds) END, k.holds
    FROM (SELECT snapshot_interval_ms() = 0 OR s.given_up_at IS NOT NULL AND s.claim_holds IS NULL,
                 CASE WHEN snapshot_interval_ms() = 0 THEN NULL
                      WHEN s.given_up_at IS NOT NULL THEN s.claim_holds
                      WHEN s.former_number IS NOT NULL THEN s.former_holds
                      ELSE s.holds END
          FROM (SELECT) AS one LEFT JOIN index_snapshot AS s ON true) AS k(is_free, holds)
$$;
COMMENT ON FUNCTION streamhouse.garbage_bound IS
    'What the snapshots that are kept in the store know as garbage: what a transaction did that is before made_before and '
    'visible in holds, or all of that when holds is null. No clock is asked, and open transactions of others change nothing';

CREATE FUNCTION streamhouse.is_snapshot_due(snapshot streamhouse.index_snapshot) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT snapshot_interval_ms() > 0
       AND (snapshot.failures = 0
            OR now() NOT BETWEEN snapshot.failed_at
                         AND snapshot.failed_at + least(power(2, least(snapshot.failures - 1, 10)), 600) * interval '1 second')
       -- Whoever asks or changes topics all the time keeps agents busy for a quarter of it at most.
       AND (snapshot.finished_at IS NULL
            OR now() NOT BETWEEN snapshot.finished_at
                         AND snapshot.finished_at + greatest(3 * snapshot.took, interval '1 second'))
       AND (snapshot.finished_at IS NULL OR snapshot.requests > snapshot.answered
            OR snapshot.finished_at NOT BETWEEN now() - span.whole AND now()
            OR snapshot.finished_at <= now() - least(span.whole / 5, interval '1 minute')
               AND snapshot.topics IS DISTINCT FROM topics_digest())
    FROM (SELECT snapshot_interval_ms() * interval '1 millisecond') AS span(whole)
$$;
COMMENT ON FUNCTION streamhouse.is_snapshot_due IS
    'True when the interval is over (or the clock was turned back), a fifth of it since topics have changed, or a snapshot '
    'was asked for; and the last one is a second ago, and three times as long as it took; and not soon after one that came to '
    'nothing, the less so the more there were';

CREATE FUNCTION streamhouse.is_snapshot_overdue(snapshot streamhouse.index_snapshot) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT snapshot_interval_ms() > 0 AND snapshot_hold_ms() > 0
       AND snapshot.given_up_at IS NULL AND snapshot.failures > 0
       AND snapshot.waits_since < time_ago(snapshot_hold_ms() * interval '1 millisecond')
$$;
COMMENT ON FUNCTION streamhouse.is_snapshot_overdue IS
    'True when those that are kept hold up deletion for longer than streamhouse.snapshot_hold, and no new one could be '
    'finished: not by the clock alone';

CREATE FUNCTION streamhouse.snapshot_left(number bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT format('number %s was left: its agent ended, or did not go on', number) $$;
COMMENT ON FUNCTION streamhouse.snapshot_left IS 'What is noted of a snapshot that its agent did not go on with';

CREATE FUNCTION streamhouse.agent_snapshot_claim(incarnation bigint) RETURNS TABLE (number bigint, give_up_below bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    -- Of two databases that work with one store, only the one that may delete leaves snapshots there.
    IF snapshot_interval_ms() = 0 OR NOT deletion_allowed() THEN
        RETURN;
    END IF;
    INSERT INTO index_snapshot DEFAULT VALUES ON CONFLICT DO NOTHING;
    -- One that is being written in time is left alone. One whose agent did not go on is deleted with the others, so it
    -- is taken from that agent first: finished later it counts for nothing.
    UPDATE index_snapshot AS s
    SET claimed_by = NULL, claimed_at = NULL, claimed_until = NULL, claim_began_at = NULL, claimed_topics = NULL,
        claim_holds = NULL, claim_answers = NULL, failures = s.failures + 1, failed_at = now(),
        failure = snapshot_left(s.attempt)
    WHERE s.claimed_by IS NOT NULL AND is_snapshot_overdue(s)
      AND (s.claimed_by = agent_snapshot_claim.incarnation OR is_claim_over(s.claimed_by, s.claimed_until));
    RETURN QUERY
    SELECT NULL::bigint, s.attempt + CASE WHEN s.claimed_by IS NULL THEN 1 ELSE 0 END
    FROM index_snapshot AS s WHERE is_snapshot_overdue(s);
    IF FOUND THEN
        RETURN;
    END IF;
    -- The agent reads the tables after this: what is visible now is visible to it. Transactions that are under
    -- way may commit what is older than they are; so began_at, for people, is when the oldest of them began.
    RETURN QUERY
    UPDATE index_snapshot AS s
    SET attempt = s.attempt + 1, claimed_by = agent_snapshot_claim.incarnation, claimed_at = now(),
        claimed_until = now() + interval '10 minutes', claimed_topics = topics_digest(),
        claim_began_at = least(now(), (SELECT min(a.xact_start) FROM pg_stat_activity AS a
                                       WHERE a.datname = current_database())),
        claim_holds = pg_current_snapshot(), claim_answers = s.requests,
        failures = s.failures + CASE WHEN s.claimed_by IS NULL THEN 0 ELSE 1 END,
        failed_at = CASE WHEN s.claimed_by IS NULL THEN s.failed_at ELSE now() END,
        failure = CASE WHEN s.claimed_by IS NULL THEN s.failure
                       ELSE snapshot_left(s.attempt) END
    WHERE is_snapshot_due(s)
      AND (s.claimed_by = agent_snapshot_claim.incarnation OR is_claim_over(s.claimed_by, s.claimed_until))
    RETURNING s.attempt, NULL::bigint;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_snapshot_claim IS
    'When the agent is to write a snapshot, its number; or below which number it is to delete all of them from the store, '
    'and say so to agent_snapshots_gone; else no row. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_snapshot_renew(incarnation bigint, number bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter_beside(incarnation);
    UPDATE index_snapshot AS s SET claimed_until = now() + interval '10 minutes'
    WHERE s.claimed_by = incarnation AND s.attempt = agent_snapshot_renew.number
      AND (snapshot_hold_ms() = 0 OR s.claimed_at >= now() - snapshot_hold_ms() * interval '1 millisecond');
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_snapshot_renew IS
    'The agent is still writing that snapshot, and wants ten minutes more. False: it is no longer its to write, or has taken '
    'longer than streamhouse.snapshot_hold. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_snapshot_failed(incarnation bigint, number bigint, reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter_beside(incarnation);
    UPDATE index_snapshot AS s
    SET failures = s.failures + 1, failed_at = now(), failure = left(reason, 1000),
        claimed_by = NULL, claimed_at = NULL, claimed_until = NULL, claim_began_at = NULL, claimed_topics = NULL,
        claim_holds = NULL, claim_answers = NULL
    WHERE s.claimed_by = incarnation AND s.attempt = agent_snapshot_failed.number;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_snapshot_failed IS
    'The agent could not write that snapshot, and why. Raises SH001, SH002, SH003';

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
    SET former_number = s.number, former_began_at = s.began_at, former_holds = s.holds, holds = s.claim_holds,
        answered = greatest(s.answered, s.claim_answers), claim_holds = NULL, claim_answers = NULL,
        number = agent_snapshot_done.number, began_at = s.claim_began_at, finished_at = now(),
        bytes = agent_snapshot_done.bytes, topics = s.claimed_topics,
        claimed_by = NULL, claimed_at = NULL, claimed_until = NULL, claim_began_at = NULL, claimed_topics = NULL,
        took = greatest(now() - s.claimed_at, interval '0'),
        waits_since = now(), failures = 0, failed_at = NULL, failure = NULL, given_up_at = NULL
    WHERE s.claimed_by = agent_snapshot_done.incarnation AND s.attempt = agent_snapshot_done.number;
    -- Asked again after a lost answer it says the same.
    SELECT coalesce(s.former_number, s.number) INTO kept FROM index_snapshot AS s
    WHERE s.number = agent_snapshot_done.number;
    RETURN kept;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_snapshot_done IS
    'The agent has written that snapshot. Returns from which number on snapshots are kept: older ones are to be deleted; or '
    'null: it was no longer its to write, and counts for nothing. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_snapshots_gone(incarnation bigint, below bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    -- Not if one was finished meanwhile.
    UPDATE index_snapshot AS s
    SET number = NULL, began_at = NULL, finished_at = NULL, bytes = NULL, topics = NULL, holds = NULL,
        former_number = NULL, former_began_at = NULL, former_holds = NULL, given_up_at = now()
    WHERE is_snapshot_overdue(s) AND (s.number < below OR s.number IS NULL);
END
$$;
COMMENT ON FUNCTION streamhouse.agent_snapshots_gone IS
    'The store holds no snapshot below that number any more: none of them holds up deletion. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.request_snapshot() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF snapshot_interval_ms() = 0 THEN
        RAISE EXCEPTION 'snapshots are turned off'
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Set streamhouse.snapshot_interval above 0.';
    END IF;
    PERFORM begin_decision();
    -- One is enough for all who ask before it begins.
    INSERT INTO index_snapshot AS s (requests) VALUES (1)
    ON CONFLICT (one_row) DO UPDATE SET requests = s.requests + 1
    WHERE s.requests = s.answered OR s.claim_answers = s.requests;
END
$$;
COMMENT ON FUNCTION streamhouse.request_snapshot IS
    'Has an agent write a snapshot of the index into the store soon; streamhouse.snapshot_status tells when it is done';

CREATE FUNCTION streamhouse.forget_snapshots() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    UPDATE index_snapshot SET holds = NULL, former_holds = NULL, claim_holds = NULL, claimed_by = NULL, claimed_at = NULL,
        claimed_until = NULL, waits_since = now(), failures = 0, failed_at = NULL, failure = NULL, given_up_at = NULL;
    UPDATE object_deletion SET made_by = DEFAULT;
$$;
COMMENT ON FUNCTION streamhouse.forget_snapshots IS
    'In a new term: numbers of transactions of another server mean nothing here, so nothing is deleted before the snapshots '
    'that are kept were taken in this term. They stay for a rebuild';

CREATE VIEW streamhouse.snapshot_status AS
SELECT s.number, s.began_at, s.finished_at, s.bytes, i.agent_id AS written_by,
       CASE WHEN streamhouse.snapshot_interval_ms() = 0 THEN 'off: streamhouse.snapshot_interval is 0'
            WHEN i.agent_id IS NOT NULL THEN 'being written'
            WHEN NOT streamhouse.deletion_allowed() THEN
                'waits: history is not settled (streamhouse.term_status), or the marker in the store is not held '
                '(streamhouse.store_marker_status)'
            WHEN s.failures > 0 THEN 'fails'
            WHEN s.number IS NULL THEN 'no snapshot yet'
            WHEN streamhouse.is_snapshot_due(s) THEN 'due'
            WHEN s.requests > s.answered THEN 'asked for'
            ELSE 'done' END AS status,
       s.failures, s.failed_at, s.failure, s.given_up_at
FROM streamhouse.index_snapshot AS s
LEFT JOIN streamhouse.incarnation AS i ON i.incarnation_id = s.claimed_by AND s.claimed_until > now();
COMMENT ON VIEW streamhouse.snapshot_status IS
    'The last snapshot of the index in the store: its number, what it holds (all that was committed before began_at), '
    'its size in the store, which agent is writing the next one, and what that waits for. How many attempts have failed '
    'since, when, and why the last did; and since when the store holds none because too many did';

CREATE FUNCTION streamhouse.snapshot_problem() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT CASE WHEN s.given_up_at IS NOT NULL
                THEN format('the store holds no snapshot of the index since %s: without the database its records are lost. ',
                            to_char(s.given_up_at, 'YYYY-MM-DD HH24:MI'))
                ELSE format('no snapshot of the index was finished since %s, and what became garbage since the one before '
                            'stays in the store%s. ', to_char(s.waits_since, 'YYYY-MM-DD HH24:MI'),
                            CASE WHEN snapshot_hold_ms() > 0 THEN
                                ' until streamhouse.snapshot_hold is over, when both are given up' ELSE '' END) END
           || format('%s attempts failed, the last: %s', s.failures, s.failure)
    FROM index_snapshot AS s
    WHERE snapshot_interval_ms() > 0 AND s.failures > 0
      AND (s.failures >= 3 OR s.given_up_at IS NOT NULL
           OR s.waits_since < now() - 4 * snapshot_interval_ms() * interval '1 millisecond')
$$;
COMMENT ON FUNCTION streamhouse.snapshot_problem IS
    'Why snapshots of the index are not finished, and what follows; null: they are, or one has failed just now';

CREATE FUNCTION streamhouse.rebuild_begin() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    held record;
    all_of_them text := (SELECT 'TRUNCATE ' || string_agg(t.name, ', ') FROM snapshot_tables() AS t WHERE t.kind = 'table');
BEGIN
    PERFORM begin_decision();
    SELECT (SELECT count(*) FROM topic) AS topics, (SELECT count(*) FROM incarnation) AS agents,
           (SELECT count(*) FROM object) AS objects INTO held;
    IF held.topics + held.agents + held.objects > 0 THEN
        RAISE EXCEPTION 'this database is in use: it knows % topics, % starts of agents and % objects', held.topics,
                        held.agents, held.objects
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Rebuild into a database where the extension was just created.';
    END IF;
    -- The workers lock tables in orders of their own. Who waits for one of them gives back what it has, with the
    -- subtransaction.
    FOR tries IN 1 .. 20 LOOP
        BEGIN
            EXECUTE all_of_them;
            RETURN;
        EXCEPTION WHEN deadlock_detected THEN
            CONTINUE WHEN tries < 20;
            RAISE;
        END;
    END LOOP;
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
