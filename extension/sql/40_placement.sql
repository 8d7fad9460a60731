-- Which agent should own which partition.

CREATE VIEW streamhouse.live_agent AS
SELECT a.agent_id, a.incarnation_id, a.address, a.http_address, a.zone, l.ticks_left
FROM streamhouse.agent AS a
JOIN streamhouse.lease AS l USING (incarnation_id)
WHERE l.ticks_left > 0;
COMMENT ON VIEW streamhouse.live_agent IS 'Agents whose lease has not run out';

CREATE VIEW streamhouse.placeable_agent AS
SELECT live.agent_id, live.incarnation_id
FROM streamhouse.live_agent AS live
JOIN streamhouse.agent AS a USING (agent_id)
WHERE NOT a.draining
  AND NOT EXISTS (SELECT FROM streamhouse.epoch AS e
                  WHERE e.incarnation_id = live.incarnation_id AND e.state <> 'sealed' AND e.inherited);
COMMENT ON VIEW streamhouse.placeable_agent IS
    'Agents that partitions may be given to: live, not drained, and done with what their WAL had left';

CREATE FUNCTION streamhouse.placeable_agent_ids() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT coalesce(array_agg(agent_id ORDER BY agent_id), '{}') FROM placeable_agent $$;
COMMENT ON FUNCTION streamhouse.placeable_agent_ids IS
    'Names of the agents that partitions may be given to, in order';

CREATE FUNCTION streamhouse.place_partitions() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    moved int;
BEGIN
    -- Each agent gets a quota, the larger quotas going to those that hold most already. An agent keeps
    -- what it holds up to its quota, of each topic about the same share; the rest is dealt out in turn.
    -- An agent that recovers its WAL keeps what it holds, and gets no more: it could not begin yet.
    WITH movable AS (
        SELECT p.topic_id, p.partition, t.name, open.agent_id AS holder
        FROM partition AS p
        JOIN topic AS t USING (topic_id)
        LEFT JOIN placeable_agent AS open ON open.agent_id = p.target_agent
        WHERE t.durability = 'wal'
          AND NOT (open.agent_id IS NULL
                   AND EXISTS (SELECT FROM live_agent AS live JOIN agent AS a USING (agent_id)
                               WHERE live.agent_id = p.target_agent AND NOT a.draining))
    ), depth AS (
        SELECT *, percent_rank() OVER (PARTITION BY holder, topic_id ORDER BY partition) AS topic_rank
        FROM movable
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY holder ORDER BY topic_rank, name, partition) AS holder_rank
        FROM depth
    ), held AS (
        SELECT open.agent_id, count(r.holder) AS held
        FROM placeable_agent AS open LEFT JOIN ranked AS r ON r.holder = open.agent_id
        GROUP BY open.agent_id
    ), quota AS (
        SELECT agent_id, held,
               n.total / count(*) OVER ()
               + (row_number() OVER (ORDER BY held DESC, agent_id) <= n.total % count(*) OVER ())::int
                   AS quota
        FROM held, (SELECT count(*) AS total FROM movable) AS n
    ), free_partition AS (
        SELECT r.topic_id, r.partition, row_number() OVER (ORDER BY r.name, r.partition) AS seat
        FROM ranked AS r LEFT JOIN quota AS q ON q.agent_id = r.holder
        WHERE q.agent_id IS NULL OR r.holder_rank > q.quota
    ), free_seat AS (
        SELECT agent_id, row_number() OVER (ORDER BY nth, agent_id) AS seat
        FROM quota, generate_series(1, quota - held) AS nth
    )
    UPDATE partition AS p SET target_agent = s.agent_id
    FROM free_partition AS f JOIN free_seat AS s USING (seat)
    WHERE (p.topic_id, p.partition) = (f.topic_id, f.partition)
      AND p.target_agent IS DISTINCT FROM s.agent_id;
    GET DIAGNOSTICS moved = ROW_COUNT;

    UPDATE cluster SET placed_agents = placeable_agent_ids() WHERE placed_agents <> placeable_agent_ids();
    RETURN moved;
END
$$;
COMMENT ON FUNCTION streamhouse.place_partitions IS
    'Spreads partitions evenly over the agents that may be given some, moving as few as it can; returns how '
    'many. Needs the control lock';

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
AS $$
DECLARE
    counted_ms int := least(coalesce(passed_ms, tick_interval_ms()), tick_interval_ms());
BEGIN
    PERFORM begin_decision();
    PERFORM term_tick(); -- first: the control lock comes before leases
    -- A locked lease belongs to an agent in the middle of a call: it is alive, and the tick does not wait
    -- for it. A lease that ran out is counted on as long as epochs of its WAL wait for an end.
    UPDATE lease AS l
    SET ticks_left = greatest(l.ticks_left - 1, 0), silent_ms = l.silent_ms + counted_ms
    FROM (SELECT wal_uuid FROM lease AS idle
          WHERE ticks_left > 0
             OR EXISTS (SELECT FROM incarnation AS i JOIN epoch AS e USING (incarnation_id)
                        WHERE i.wal_uuid = idle.wal_uuid AND e.state <> 'sealed')
          FOR UPDATE OF idle SKIP LOCKED) AS idle
    WHERE l.wal_uuid = idle.wal_uuid;
    RETURN coalesce((SELECT placed_agents <> placeable_agent_ids() FROM cluster), false);
END
$$;
COMMENT ON FUNCTION streamhouse.lease_tick IS
    'One tick of the lease worker: every lease loses a tick. passed_ms is the time since the tick before, of '
    'which at most one interval counts. True when the agents that may be given partitions are not those that '
    'placement last saw, so that rebalance() is due';

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
