-- What agents tell their clients.

CREATE FUNCTION streamhouse.metadata_version() RETURNS bigint
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT coalesce((SELECT c.metadata_version FROM cluster AS c), 0) $$;
COMMENT ON FUNCTION streamhouse.metadata_version IS
    'Rises with every change of topics, agents and owners; 0 before the first';

CREATE FUNCTION streamhouse.agent_metadata()
RETURNS TABLE (topic_id uuid, name text, durability text, retention_ms bigint, segment_bytes bigint,
               batch_bytes_max int, partition int, agent_id text, address text, zone text, epoch bigint,
               metadata_version bigint, key_validation text, value_validation text, key_subject_strategy text,
               value_subject_strategy text, schema_version bigint, timestamp_type text, timestamp_before_ms bigint,
               timestamp_after_ms bigint)
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT t.topic_id, t.name, t.durability, (extract(epoch FROM t.retention) * 1000)::bigint,
           t.segment_bytes, t.batch_bytes_max, p.partition, a.agent_id, a.address, a.zone, e.epoch,
           c.metadata_version, t.key_validation, t.value_validation, t.key_subject_strategy,
           t.value_subject_strategy, c.schema_version, t.timestamp_type,
           (extract(epoch FROM t.timestamp_before_max) * 1000)::bigint,
           (extract(epoch FROM t.timestamp_after_max) * 1000)::bigint
    FROM cluster AS c, topic AS t
    JOIN partition AS p USING (topic_id)
    LEFT JOIN LATERAL (SELECT * FROM epoch AS e
                       WHERE (e.topic_id, e.partition) = (p.topic_id, p.partition)
                         AND e.state IN ('granted', 'open')) AS e ON true
    LEFT JOIN agent AS a ON a.incarnation_id = e.incarnation_id
    ORDER BY t.name, p.partition
$$;
COMMENT ON FUNCTION streamhouse.agent_metadata IS
    'Every partition with its topic''s settings and its owner. epoch is null while no epoch is granted. An '
    'object topic whose partition still shows an owner has yet to be released by it. schema_version rises '
    'with every change of the schema registry, metadata_version with those that concern a validated topic';

CREATE FUNCTION streamhouse.agent_versions(incarnation bigint)
RETURNS TABLE (assignment_version bigint, metadata_version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    RETURN QUERY SELECT c.assignment_version, c.metadata_version FROM cluster AS c;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_versions IS
    'The versions that agent_heartbeat tells, without renewing the lease. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_metadata_changes(after_version bigint)
RETURNS TABLE (version bigint, is_whole boolean, topic_id uuid, name text, durability text, retention_ms bigint,
               segment_bytes bigint, batch_bytes_max int, timestamp_type text, timestamp_before_ms bigint,
               timestamp_after_ms bigint, partition_count int, partition int, agent_id text, address text,
               zone text, epoch bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    whole boolean := is_whole_due(after_version);
BEGIN
    RETURN QUERY SELECT next_version() - 1, whole, NULL::uuid, NULL, NULL, NULL::bigint, NULL::bigint, NULL::int,
                        NULL, NULL::bigint, NULL::bigint, NULL::int, NULL::int, NULL, NULL, NULL, NULL::bigint;
    IF whole THEN
        RETURN QUERY
        SELECT NULL::bigint, NULL::boolean, t.topic_id, t.name, t.durability,
               (extract(epoch FROM t.retention) * 1000)::bigint, t.segment_bytes, t.batch_bytes_max,
               t.timestamp_type, (extract(epoch FROM t.timestamp_before_max) * 1000)::bigint,
               (extract(epoch FROM t.timestamp_after_max) * 1000)::bigint,
               t.partition_count, p.partition, a.agent_id, a.address, a.zone, e.epoch
        FROM topic AS t
        JOIN partition AS p USING (topic_id)
        LEFT JOIN epoch AS e ON (e.topic_id, e.partition) = (p.topic_id, p.partition)
                            AND e.state IN ('granted', 'open')
        LEFT JOIN agent AS a ON a.incarnation_id = e.incarnation_id
        ORDER BY t.topic_id, p.partition;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT NULL::bigint, NULL::boolean, c.topic_id, t.name, t.durability,
           (extract(epoch FROM t.retention) * 1000)::bigint, t.segment_bytes, t.batch_bytes_max,
           t.timestamp_type, (extract(epoch FROM t.timestamp_before_max) * 1000)::bigint,
           (extract(epoch FROM t.timestamp_after_max) * 1000)::bigint,
           t.partition_count, c.partition, a.agent_id, a.address, a.zone, e.epoch
    FROM (SELECT DISTINCT c.topic_id, c.partition FROM control_change AS c
          WHERE c.version > after_version AND c.agent_id IS NULL) AS c
    LEFT JOIN topic AS t USING (topic_id)
    LEFT JOIN LATERAL (SELECT * FROM epoch AS e
                       WHERE (e.topic_id, e.partition) = (c.topic_id, c.partition)
                         AND e.state IN ('granted', 'open')) AS e ON true
    LEFT JOIN agent AS a ON a.incarnation_id = e.incarnation_id
    ORDER BY c.topic_id, c.partition NULLS FIRST;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_metadata_changes IS
    'agent_metadata, of what has changed since a version: partitions with their owners, topics that were made or '
    'changed (partition null) and topics that are gone (name null). The first row has the version that the rest is '
    'of, and is_whole: everything is told, because what changed since after_version (null: never) is not known';

CREATE FUNCTION streamhouse.agent_live_agents()
RETURNS TABLE (agent_id text, address text, http_address text, zone text, version text, incarnation_id bigint,
               ticks_left int)
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT live.agent_id, live.address, live.http_address, live.zone, i.version, live.incarnation_id,
           live.ticks_left
    FROM live_agent AS live JOIN incarnation AS i USING (incarnation_id)
    ORDER BY live.agent_id
$$;
COMMENT ON FUNCTION streamhouse.agent_live_agents IS
    'Agents whose lease has not run out, with their addresses';
