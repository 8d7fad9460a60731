-- Garbage: objects that no segment refers to are deleted from the store by agents, after a grace period.
--
-- An object is garbage for good: nothing gives it rows again. Readers that found it in the index before have
-- the grace period, and an index that is rebuilt from a snapshot in the store needs what was no garbage when that
-- was taken.
-- Its row goes when the store has confirmed the deletion.

CREATE FUNCTION streamhouse.agent_enter_beside(incarnation bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    bound name;
BEGIN
    PERFORM begin_decision();
    -- Whatever ends an incarnation changes its state and waits for this lock; publishes and heartbeats do not take it.
    PERFORM FROM incarnation AS i
    WHERE i.incarnation_id = agent_enter_beside.incarnation AND i.state = 'live' FOR SHARE;
    SELECT l.bound_role INTO bound FROM held_lease(agent_enter_beside.incarnation) AS l;
    IF NOT FOUND THEN
        PERFORM agent_enter(incarnation);
    END IF;
    PERFORM check_role(bound, 'the WAL of this incarnation') WHERE bound <> session_user;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_enter_beside IS
    'Begins a call that an agent makes beside its publishes and heartbeats, which do not wait for it: no '
    'newer incarnation can register before the transaction ends. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.is_claim_over(claimed_by bigint, claimed_until timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT claimed_until IS NULL OR claimed_until <= now()
           OR NOT EXISTS (SELECT FROM lease AS l WHERE l.incarnation_id = claimed_by AND l.ticks_left > 0)
$$;
COMMENT ON FUNCTION streamhouse.is_claim_over IS
    'True when work that an incarnation has claimed is free for others: there is no claim, its time is over, '
    'or the incarnation is gone. All such work may be done twice';

CREATE FUNCTION streamhouse.agent_garbage(incarnation bigint, max_objects int)
RETURNS TABLE (object_id uuid, object_key text, bytes bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    bound record;
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    IF NOT deletion_allowed() THEN
        RETURN;
    END IF;
    SELECT * INTO bound FROM garbage_bound();
    RETURN QUERY
    WITH claimed AS (
        UPDATE object_deletion AS d
        SET claimed_by = agent_garbage.incarnation, claimed_until = now() + interval '5 minutes'
        WHERE d.object_id = ANY (ARRAY(
            SELECT c.object_id FROM object_deletion AS c
            WHERE c.since <= time_ago(garbage_grace_ms() * interval '1 millisecond')
              AND c.made_by < bound.made_before
              AND (bound.holds IS NULL OR pg_visible_in_snapshot(c.made_by, bound.holds))
              -- What a live agent has announced it may be uploading: it says itself when it gives it up.
              AND (c.reason <> 'announced'
                   OR NOT EXISTS (SELECT FROM object AS a JOIN incarnation AS i USING (incarnation_id)
                                  WHERE a.object_id = c.object_id AND i.state = 'live'))
              AND (c.claimed_by = agent_garbage.incarnation OR is_claim_over(c.claimed_by, c.claimed_until))
            ORDER BY c.made_by, c.since LIMIT max_objects FOR UPDATE SKIP LOCKED))
        RETURNING d.object_id
    )
    UPDATE object AS o SET state = 'deleting'
    FROM claimed AS c WHERE o.object_id = c.object_id AND o.live_rows = 0
    RETURNING o.object_id, o.object_key, o.bytes;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_garbage IS
    'Gives an agent objects to delete from the store, whose grace period is over. What it does not confirm '
    'within five minutes is given to others. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_garbage_done(incarnation bigint, object_ids uuid[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    removed int;
BEGIN
    PERFORM agent_enter_beside(incarnation);
    WITH forgotten AS (
        DELETE FROM object AS o WHERE o.object_id = ANY (object_ids) AND o.state = 'deleting'
        RETURNING o.object_id
    )
    DELETE FROM object_deletion AS d USING forgotten AS f WHERE d.object_id = f.object_id;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_garbage_done IS
    'Confirms that objects are no longer in the store, and forgets them; returns how many. Raises SH001, '
    'SH002, SH003';

CREATE FUNCTION streamhouse.has_fenced_since(since timestamptz) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM incarnation AS n JOIN incarnation AS o USING (wal_uuid)
                   WHERE n.registered_at > has_fenced_since.since AND o.incarnation_no < n.incarnation_no
                     AND o.state = 'fenced')
$$;
COMMENT ON FUNCTION streamhouse.has_fenced_since IS
    'True when an agent has registered since then that had not ended before: what it uploaded without '
    'publishing it is in the store';

CREATE FUNCTION streamhouse.agent_announce_object(incarnation bigint, object_id uuid, object_key text,
                                                  object_bytes bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_variable
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    INSERT INTO object (object_id, object_key, incarnation_id, bytes, state)
    VALUES (object_id, object_key, incarnation, object_bytes, 'announced');
    INSERT INTO object_deletion (object_id, reason) VALUES (object_id, 'announced');
END
$$;
COMMENT ON FUNCTION streamhouse.agent_announce_object IS
    'Makes an object known before a compaction uploads it, so that it is garbage, and no orphan, when the '
    'agent is gone before its rows are swapped in. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_give_up_object(incarnation bigint, object_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_variable
BEGIN
    PERFORM agent_enter_beside(incarnation);
    UPDATE object AS o SET state = 'abandoned'
    WHERE o.object_id = agent_give_up_object.object_id AND o.incarnation_id = incarnation
      AND o.state = 'announced';
    IF FOUND THEN
        UPDATE object_deletion AS d SET reason = 'abandoned', since = now()
        WHERE d.object_id = agent_give_up_object.object_id;
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_give_up_object IS
    'What the agent has announced comes to nothing: the object is garbage. Does nothing to one whose rows were '
    'swapped in. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_scan_claim(incarnation bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    IF NOT deletion_allowed() THEN
        RETURN false;
    END IF;
    INSERT INTO bucket_scan DEFAULT VALUES ON CONFLICT DO NOTHING;
    UPDATE bucket_scan AS s
    SET claimed_by = agent_scan_claim.incarnation, claimed_until = now() + interval '5 minutes',
        started_at = now()
    WHERE (s.finished_at <= now() - scan_interval_ms() * interval '1 millisecond'
           OR (s.finished_at <= now() - garbage_grace_ms() * interval '0.5 milliseconds'
               AND has_fenced_since(s.started_at)))
      AND (s.claimed_by = agent_scan_claim.incarnation OR is_claim_over(s.claimed_by, s.claimed_until));
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_scan_claim IS
    'True when the agent is to look through the store for objects that the index does not know: once per '
    'streamhouse.scan_interval, and soon after an agent has died and come back. Each agent_unknown_objects '
    'prolongs the claim. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_unknown_objects(incarnation bigint, object_keys text[],
                                                  object_bytes bigint[])
RETURNS TABLE (object_key text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    IF NOT deletion_allowed() THEN
        RETURN;
    END IF;
    UPDATE bucket_scan AS s SET claimed_until = now() + interval '5 minutes'
    WHERE s.claimed_by = agent_unknown_objects.incarnation;
    -- A writer that is fenced or ended stays so: nothing that it uploaded can be published any more.
    -- Objects of a live writer may be about to be; those of one that is not known are not ours to judge.
    RETURN QUERY
    WITH found AS (
        SELECT k.object_key, k.bytes, m[1] AS agent_id, m[2]::bigint AS writer, m[3]::uuid AS object_id
        FROM unnest(object_keys, object_bytes) AS k(object_key, bytes),
             regexp_match(k.object_key, '^[0-9a-f]{2}/([a-zA-Z0-9._-]{1,249})/([0-9]{1,18})/'
                 '(?:[0-9]{1,18}|compact)-([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})[.]seg$') AS m
        WHERE m IS NOT NULL
    ), given_up AS (
        INSERT INTO object AS o (object_id, object_key, incarnation_id, bytes, state)
        SELECT f.object_id, f.object_key, f.writer, f.bytes, 'abandoned'
        FROM found AS f
        JOIN incarnation AS i ON i.incarnation_id = f.writer AND i.agent_id = f.agent_id
        WHERE i.state <> 'live' AND NOT EXISTS (SELECT FROM object AS k WHERE k.object_id = f.object_id)
        ON CONFLICT DO NOTHING
        RETURNING o.object_id, o.object_key
    ), noted AS (
        INSERT INTO object_deletion (object_id, reason)
        SELECT g.object_id, 'abandoned' FROM given_up AS g
    )
    SELECT g.object_key FROM given_up AS g;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_unknown_objects IS
    'Of objects that are in the store, gives up those that the index does not know and whose writer can '
    'publish no more, and returns them: from now on a publish of one raises SH008, and it is garbage. '
    'Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_scan_done(incarnation bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter_beside(incarnation);
    UPDATE bucket_scan AS s SET finished_at = now(), claimed_by = NULL, claimed_until = NULL
    WHERE s.claimed_by = agent_scan_done.incarnation;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_scan_done IS
    'Ends the agent''s look through the store. Raises SH001, SH002, SH003';

CREATE VIEW streamhouse.garbage AS
SELECT o.object_key, d.reason,
       CASE WHEN d.claimed_until > now() THEN 'being deleted'
            WHEN d.reason = 'announced' AND w.state = 'live' THEN 'being uploaded'
            WHEN due.due_at > now() THEN 'in grace'
            WHEN d.made_by < b.made_before AND (b.holds IS NULL OR pg_visible_in_snapshot(d.made_by, b.holds)) THEN 'due'
            ELSE 'waits for a snapshot' END AS state,
       o.bytes, d.since, due.due_at, i.agent_id AS deleted_by, d.object_id
FROM streamhouse.object_deletion AS d
JOIN streamhouse.object AS o USING (object_id)
CROSS JOIN streamhouse.garbage_bound() AS b
LEFT JOIN streamhouse.incarnation AS w ON w.incarnation_id = o.incarnation_id
CROSS JOIN (SELECT g.span, streamhouse.uncounted(g.span) AS held
            FROM (SELECT streamhouse.garbage_grace_ms() * interval '1 millisecond') AS g(span) OFFSET 0) AS grace
CROSS JOIN LATERAL (
    SELECT d.since + grace.span
           + CASE WHEN d.since + grace.span > now() - grace.held THEN grace.held ELSE interval '0' END AS due_at) AS due
LEFT JOIN streamhouse.incarnation AS i ON i.incarnation_id = d.claimed_by AND d.claimed_until > now()
ORDER BY d.since;
COMMENT ON VIEW streamhouse.garbage IS
    'Objects that nothing refers to: why, since when, when they may be deleted, and by which agent they are '
    'being deleted';
