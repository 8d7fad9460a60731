-- Which agent should own which partition.

CREATE VIEW streamhouse.live_agent AS
SELECT a.agent_id, a.incarnation_id, a.address, a.http_address, a.zone, l.ticks_left
FROM streamhouse.agent AS a
JOIN streamhouse.lease AS l USING (incarnation_id)
WHERE l.ticks_left > 0;
COMMENT ON VIEW streamhouse.live_agent IS 'Agents whose lease has not run out';

CREATE FUNCTION streamhouse.live_agent_ids() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT coalesce(array_agg(agent_id ORDER BY agent_id), '{}') FROM live_agent $$;
COMMENT ON FUNCTION streamhouse.live_agent_ids IS 'Names of the live agents, in order';

CREATE FUNCTION streamhouse.place_partitions() RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    moved int;
BEGIN
    -- Each live agent gets a quota, the larger quotas going to those that hold most already. An agent
    -- keeps what it holds up to its quota, of each topic about the same share; the rest is dealt out in
    -- turn. A partition whose open epoch belongs to an agent that is gone stays: only that agent can end
    -- the epoch.
    WITH movable AS (
        SELECT p.topic_id, p.partition, t.name, live.agent_id AS holder
        FROM partition AS p
        JOIN topic AS t USING (topic_id)
        LEFT JOIN live_agent AS live ON live.agent_id = p.target_agent
        WHERE t.durability = 'wal'
          AND NOT EXISTS (
              SELECT FROM epoch AS e
              LEFT JOIN live_agent AS owner USING (incarnation_id)
              WHERE e.topic_id = p.topic_id AND e.partition = p.partition AND e.state = 'open'
                AND e.incarnation_id IS NOT NULL AND owner.agent_id IS NULL)
    ), depth AS (
        SELECT *, percent_rank() OVER (PARTITION BY holder, topic_id ORDER BY partition) AS topic_rank
        FROM movable
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY holder ORDER BY topic_rank, name, partition) AS holder_rank
        FROM depth
    ), held AS (
        SELECT live.agent_id, count(r.holder) AS held
        FROM live_agent AS live LEFT JOIN ranked AS r ON r.holder = live.agent_id
        GROUP BY live.agent_id
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

    UPDATE cluster SET placed_agents = live_agent_ids() WHERE placed_agents <> live_agent_ids();
    RETURN moved;
END
$$;
COMMENT ON FUNCTION streamhouse.place_partitions IS
    'Spreads partitions evenly over live agents, moving as few as it can; returns how many. Needs the '
    'control lock';

CREATE FUNCTION streamhouse.rebalance() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    moved int;
BEGIN
    PERFORM control_lock();
    moved := place_partitions();
    PERFORM bump_versions(assignments => true);
    RETURN moved;
END
$$;
COMMENT ON FUNCTION streamhouse.rebalance IS
    'Spreads partitions evenly over live agents and returns how many get another owner. Owners hand over '
    'cleanly';

CREATE FUNCTION streamhouse.lease_tick() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    -- A locked lease belongs to an agent in the middle of a call: it is alive, and the tick does not wait
    -- for it.
    UPDATE lease AS l SET ticks_left = l.ticks_left - 1
    FROM (SELECT wal_uuid FROM lease WHERE ticks_left > 0 FOR UPDATE SKIP LOCKED) AS idle
    WHERE l.wal_uuid = idle.wal_uuid;
    RETURN coalesce((SELECT placed_agents <> live_agent_ids() FROM cluster), false);
END
$$;
COMMENT ON FUNCTION streamhouse.lease_tick IS
    'One tick of the lease worker: every lease loses a tick. True when the set of live agents is not the '
    'one that placement last saw, so that rebalance() is due';

CREATE FUNCTION streamhouse.prune_publish_results() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    pruned bigint;
BEGIN
    DELETE FROM publish_result AS r
    WHERE NOT EXISTS (SELECT FROM lease AS l WHERE l.incarnation_id = r.incarnation_id);
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION streamhouse.prune_publish_results IS
    'Forgets the publish results of incarnations that were fenced or ended; returns how many';
