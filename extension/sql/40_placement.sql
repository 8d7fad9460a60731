-- Which agent should own which partition.

CREATE VIEW streamhouse.live_agent AS
SELECT a.agent_id, a.incarnation_id, a.address, a.http_address, a.zone, l.ticks_left
FROM streamhouse.agent AS a
JOIN streamhouse.incarnation AS i USING (incarnation_id)
CROSS JOIN LATERAL (SELECT n.incarnation_id, n.ticks_left FROM streamhouse.lease AS n WHERE n.wal_uuid = i.wal_uuid
                    ORDER BY n.wal_uuid DESC, n.stage DESC LIMIT 1) AS l
WHERE l.incarnation_id = a.incarnation_id AND l.ticks_left > 0;
COMMENT ON VIEW streamhouse.live_agent IS 'Agents whose lease has not run out';

CREATE VIEW streamhouse.placeable_agent AS
SELECT live.agent_id, live.incarnation_id
FROM streamhouse.live_agent AS live
JOIN streamhouse.agent AS a USING (agent_id)
WHERE NOT a.draining AND NOT a.lacks_room
  AND NOT EXISTS (SELECT FROM streamhouse.epoch AS e
                  WHERE e.incarnation_id = live.incarnation_id AND e.state <> 'sealed' AND e.inherited);
COMMENT ON VIEW streamhouse.placeable_agent IS
    'Agents that partitions may be given to: live, not drained, with room on their disk, and done with what their WAL had left';

CREATE FUNCTION streamhouse.placeable_agent_ids() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT coalesce(array_agg(agent_id ORDER BY agent_id), '{}') FROM placeable_agent $$;
COMMENT ON FUNCTION streamhouse.placeable_agent_ids IS
    'Names of the agents that partitions may be given to, in order';

CREATE FUNCTION streamhouse.live_agent_ids() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT coalesce(array_agg(agent_id ORDER BY agent_id), '{}') FROM live_agent $$;
COMMENT ON FUNCTION streamhouse.live_agent_ids IS 'Names of the agents whose lease has not run out, in order';

CREATE FUNCTION streamhouse.agents_changed() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT coalesce((SELECT c.placed_agents <> placeable_agent_ids() OR c.seen_agents <> live_agent_ids()
                     FROM cluster AS c), false)
$$;
COMMENT ON FUNCTION streamhouse.agents_changed IS
    'True when the agents that are live, or may be given partitions, are not those that placement last saw';

-- Joins by hashing: the work grows with the number of partitions, whatever the statistics say after many were made
-- or dropped at once.
CREATE FUNCTION streamhouse.place_partitions() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_nestloop = off SET jit = off
SET work_mem = '64MB' -- 200,000 partitions are sorted in memory
AS $$
DECLARE
    placeable   text[] := placeable_agent_ids();
    live        text[] := live_agent_ids();
    changed     text[];
    moved_count int;
    topics      uuid[]; -- of those that moved, unless they are more than are noted one by one
    parts       int[];
    formers     text[];
    targets     text[];
BEGIN
    -- Each agent gets a quota, the larger quotas going to those that hold most already. An agent keeps
    -- what it holds up to its quota, of each topic about the same share; the rest is dealt out in turn.
    -- An agent that recovers its WAL keeps what it holds, and gets no more: it could not begin yet.
    WITH open AS (
        SELECT o.agent_id, o.agent_no FROM unnest(placeable) WITH ORDINALITY AS o(agent_id, agent_no)
    ), keeper AS (
        SELECT k.agent_id FROM unnest(live) AS k(agent_id) JOIN agent AS a USING (agent_id)
        WHERE NOT a.draining AND NOT a.lacks_room AND k.agent_id <> ALL (placeable)
    ), movable AS ( -- place: by topic's name, then by number. Numbers are sorted several times faster than text
        SELECT p.topic_id, p.partition, p.target_agent, t.topic_no << 32 | p.partition AS place,
               open.agent_no AS holder
        FROM partition AS p
        JOIN (SELECT w.topic_id, row_number() OVER (ORDER BY w.name) AS topic_no
              FROM topic AS w WHERE w.durability = 'wal') AS t USING (topic_id)
        LEFT JOIN open ON open.agent_id = p.target_agent
        LEFT JOIN keeper ON keeper.agent_id = p.target_agent
        WHERE keeper.agent_id IS NULL
    ), counted AS (
        SELECT m.holder, count(*) AS partitions FROM movable AS m GROUP BY m.holder
    ), held AS (
        SELECT open.agent_no, coalesce(c.partitions, 0) AS held
        FROM open LEFT JOIN counted AS c ON c.holder = open.agent_no
    ), quota AS (
        SELECT agent_no, held,
               n.total / count(*) OVER ()
               + (row_number() OVER (ORDER BY held DESC, agent_no) <= n.total % count(*) OVER ())::int
                   AS quota
        FROM held, (SELECT sum(c.partitions)::bigint AS total FROM counted AS c) AS n
    ), depth AS (
        SELECT *, percent_rank() OVER (PARTITION BY holder, topic_id ORDER BY place) AS topic_rank
        FROM movable
        WHERE holder IN (SELECT q.agent_no FROM quota AS q WHERE q.held > q.quota)
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY holder ORDER BY topic_rank, place) AS holder_rank
        FROM depth
    ), free_partition AS (
        SELECT f.topic_id, f.partition, f.target_agent, row_number() OVER (ORDER BY f.place) AS seat
        FROM (SELECT m.topic_id, m.partition, m.target_agent, m.place FROM movable AS m WHERE m.holder IS NULL
              UNION ALL
              SELECT r.topic_id, r.partition, r.target_agent, r.place
              FROM ranked AS r JOIN quota AS q ON q.agent_no = r.holder
              WHERE r.holder_rank > q.quota) AS f
    ), free_seat AS (
        SELECT array_agg(agent_no::int ORDER BY nth << 32 | agent_no) AS agents
        FROM quota, generate_series(1, quota - held) AS nth
    ), moved AS (
        UPDATE partition AS p SET target_agent = o.agent_id
        FROM free_partition AS f JOIN open AS o ON o.agent_no = (SELECT agents FROM free_seat)[f.seat]
        WHERE (p.topic_id, p.partition) = (f.topic_id, f.partition)
          AND p.target_agent IS DISTINCT FROM o.agent_id
        RETURNING p.topic_id, p.partition, f.target_agent AS former, o.agent_id AS target
    )
    SELECT (SELECT count(*) FROM moved),
           array_agg(m.topic_id), array_agg(m.partition), array_agg(m.former), array_agg(m.target)
    INTO moved_count, topics, parts, formers, targets
    FROM moved AS m WHERE (SELECT count(*) FROM moved) <= change_rows_max();

    SELECT coalesce(array_agg(coalesce(n.agent_id, o.agent_id)), '{}') INTO changed
    FROM (SELECT unnest(c.seen_agents) AS agent_id FROM cluster AS c) AS o
    FULL JOIN unnest(live) AS n(agent_id) USING (agent_id)
    WHERE n.agent_id IS NULL OR o.agent_id IS NULL;
    IF moved_count > change_rows_max() THEN
        PERFORM note_everything();
    ELSE
        PERFORM note_placement(topics, parts, formers, targets);
        PERFORM note_agents(changed);
    END IF;
    UPDATE cluster SET placed_agents = placeable, seen_agents = live
    WHERE (placed_agents, seen_agents) IS DISTINCT FROM (placeable, live);
    RETURN moved_count;
END
$$;
COMMENT ON FUNCTION streamhouse.place_partitions IS
    'Spreads partitions evenly over the agents that may be given some, moving as few as it can; returns how '
    'many. Needs the control lock';

CREATE FUNCTION streamhouse.note_placement(topic_ids uuid[], partitions int[], formers text[], targets text[])
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    noted_under bigint := next_version();
BEGIN
    IF topic_ids IS NULL THEN
        RETURN;
    ELSIF cardinality(topic_ids) > change_rows_max() THEN
        PERFORM note_everything();
        RETURN;
    END IF;
    INSERT INTO control_change (version, topic_id, partition, agent_id)
    SELECT DISTINCT noted_under, m.topic_id, m.partition, concerned.agent_id
    FROM unnest(topic_ids, partitions, formers, targets) AS m(topic_id, partition, former, target)
    LEFT JOIN LATERAL find_current(m.topic_id, m.partition) AS e ON true
    LEFT JOIN incarnation AS owner ON owner.incarnation_id = e.incarnation_id
    CROSS JOIN LATERAL (VALUES (m.former), (m.target), (owner.agent_id)) AS concerned(agent_id)
    WHERE concerned.agent_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.note_placement IS
    'Notes partitions that got another target, for that, the former one, and the owner. Needs the control lock';

CREATE FUNCTION streamhouse.note_agents(agent_ids text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    topics  uuid[];
    parts   int[];
    targets text[];
BEGIN
    IF agent_ids = '{}' THEN
        RETURN;
    END IF;
    SELECT array_agg(f.topic_id), array_agg(f.partition), array_agg(f.target_agent) INTO topics, parts, targets
    FROM (SELECT p.topic_id, p.partition, p.target_agent FROM partition AS p
          WHERE p.target_agent IN (SELECT unnest(agent_ids))
          UNION
          SELECT p.topic_id, p.partition, p.target_agent
          FROM agent AS a
          JOIN epoch AS e ON e.incarnation_id = a.incarnation_id AND e.state IN ('granted', 'open')
          JOIN partition AS p USING (topic_id, partition)
          WHERE a.agent_id IN (SELECT unnest(agent_ids))) AS f;
    PERFORM note_placement(topics, parts, targets, targets);
END
$$;
COMMENT ON FUNCTION streamhouse.note_agents IS
    'Notes, for agents whose lease has run out or is held again, the partitions that they own or should own: what '
    'others may do there has changed. Needs the control lock';

CREATE FUNCTION streamhouse.rebalance() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    moved int;
BEGIN
    PERFORM control_lock();
    PERFORM orphan_abandoned();
    moved := place_partitions();
    PERFORM bump_versions(assignments => true);
    RETURN moved;
END
$$;
COMMENT ON FUNCTION streamhouse.rebalance IS
    'Spreads partitions evenly over live agents and returns how many get another owner. Owners hand over '
    'cleanly';

CREATE FUNCTION streamhouse.lease_tick(passed_ms int DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    counted_ms int := least(coalesce(passed_ms, tick_interval_ms()), tick_interval_ms());
    places     tid[];
BEGIN
    PERFORM begin_decision();
    PERFORM term_tick(); -- first: the control lock comes before leases
    -- A locked lease belongs to an agent in the middle of a call: it is alive, and the tick does not wait
    -- for it. A lease that ran out is counted on as long as epochs of its WAL wait for an end; a WAL whose
    -- incarnations all ended in good order has none.
    SELECT array_agg(idle.place) INTO places
    FROM (SELECT DISTINCT i.wal_uuid FROM incarnation AS i WHERE i.state NOT IN ('ended', 'retired')) AS known
    CROSS JOIN LATERAL newest_lease(known.wal_uuid) AS seen
    CROSS JOIN LATERAL (SELECT n.ctid AS place FROM lease AS n WHERE n.wal_uuid = seen.wal_uuid
                        ORDER BY n.wal_uuid DESC, n.stage DESC LIMIT 1 FOR UPDATE SKIP LOCKED) AS idle
    WHERE seen.ticks_left > 0
       OR EXISTS (SELECT FROM incarnation AS i JOIN epoch AS e USING (incarnation_id)
                  WHERE i.wal_uuid = seen.wal_uuid AND e.state <> 'sealed');
    UPDATE lease AS l
    SET ticks_left = greatest(l.ticks_left - 1, 0), silent_ms = l.silent_ms + counted_ms, updates = l.updates + 1
    WHERE l.ctid = ANY (places);
    RETURN agents_changed();
END
$$;
COMMENT ON FUNCTION streamhouse.lease_tick IS
    'One tick of the lease worker: every lease loses a tick. passed_ms is the time since the tick before, of '
    'which at most one interval counts. True when the agents that are live, or may be given partitions, are not those '
    'that placement last saw, so that rebalance() is due';

CREATE FUNCTION streamhouse.set_draining(agent_id text, draining boolean) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    moved int;
BEGIN
    PERFORM control_lock();
    UPDATE agent AS a SET draining = set_draining.draining WHERE a.agent_id = set_draining.agent_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'agent "%" does not exist', coalesce(set_draining.agent_id, '')
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT agent_id FROM streamhouse.agents lists the agents.';
    END IF;
    moved := place_partitions();
    PERFORM bump_versions(assignments => true);
    RETURN moved;
END
$$;
COMMENT ON FUNCTION streamhouse.set_draining IS
    'Keeps partitions away from an agent, or no longer; returns how many get another owner';

CREATE FUNCTION streamhouse.drain_agent(agent_id text) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$ SELECT set_draining(agent_id, true) $$;
COMMENT ON FUNCTION streamhouse.drain_agent IS
    'Has an agent hand over its partitions cleanly and keeps new ones away from it, over restarts too, until '
    'undrain_agent(). Returns how many move; without another agent they stay';

CREATE FUNCTION streamhouse.undrain_agent(agent_id text) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$ SELECT set_draining(agent_id, false) $$;
COMMENT ON FUNCTION streamhouse.undrain_agent IS
    'Ends drain_agent(): the agent gets its share of partitions again. Returns how many move';

CREATE FUNCTION streamhouse.prune_publish_results() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    pruned bigint;
BEGIN
    PERFORM begin_decision();
    DELETE FROM publish_result AS r
    WHERE NOT EXISTS (SELECT FROM lease AS l WHERE l.incarnation_id = r.incarnation_id);
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION streamhouse.prune_publish_results IS
    'Forgets the publish results of incarnations that were fenced or ended; returns how many';
