-- Agents that never return: what they may still have uploaded is garbage, and nobody waits for them.

CREATE FUNCTION streamhouse.agent_retention_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_agent_retention_ms';
COMMENT ON FUNCTION streamhouse.agent_retention_ms IS
    'The setting streamhouse.agent_retention in milliseconds; 0: agents are retired by hand alone';

CREATE VIEW streamhouse.retirable_agent AS
SELECT i.agent_id, i.incarnation_id, l.renewed_at
FROM streamhouse.lease AS l
JOIN streamhouse.incarnation AS i USING (incarnation_id)
WHERE l.ticks_left = 0
  AND NOT EXISTS (SELECT FROM streamhouse.incarnation AS of_wal JOIN streamhouse.epoch AS e USING (incarnation_id)
                  WHERE of_wal.wal_uuid = l.wal_uuid AND e.state IN ('open', 'orphaned'));
COMMENT ON VIEW streamhouse.retirable_agent IS
    'Agents whose lease has run out and whose WALs have nothing to end: retired by themselves after '
    'streamhouse.agent_retention';

CREATE FUNCTION streamhouse.retire_incarnations(incarnations bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    -- As in fence_predecessors. The lease's row stays, with its count of calls: should the WAL return, nothing is lost.
    UPDATE lease AS l SET incarnation_id = NULL, ticks_left = 0 WHERE l.incarnation_id = ANY (incarnations);
    UPDATE incarnation AS i SET state = 'retired' WHERE i.incarnation_id = ANY (incarnations);
    DELETE FROM epoch AS e WHERE e.incarnation_id = ANY (incarnations) AND e.state = 'granted';
    PERFORM place_partitions();
    PERFORM bump_versions(assignments => true);
END
$$;
COMMENT ON FUNCTION streamhouse.retire_incarnations IS
    'Ends incarnations that own nothing: what they uploaded and never published becomes garbage. Needs the control lock';

CREATE FUNCTION streamhouse.retire_agent(agent_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    doomed bigint[];
BEGIN
    PERFORM control_lock();
    PERFORM check_agent(retire_agent.agent_id);
    -- A renewal under way is waited for, and counts.
    PERFORM FROM lease AS l
    WHERE l.wal_uuid IN (SELECT i.wal_uuid FROM incarnation AS i WHERE i.agent_id = retire_agent.agent_id)
    ORDER BY l.wal_uuid FOR UPDATE;
    IF EXISTS (SELECT FROM live_agent AS live WHERE live.agent_id = retire_agent.agent_id) THEN
        RAISE EXCEPTION 'agent "%" is live', retire_agent.agent_id
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Stop it; if it cannot end in good order, wait until its lease has run out.';
    ELSIF EXISTS (SELECT FROM incarnation AS i JOIN epoch AS e USING (incarnation_id)
                  WHERE i.agent_id = retire_agent.agent_id AND e.state IN ('open', 'orphaned')) THEN
        RAISE EXCEPTION 'agent "%" may hold records that are not published', retire_agent.agent_id
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'streamhouse.epochs and streamhouse.orphans list the epochs that it has not ended.',
                  HINT = 'If its disk is gone, end them with streamhouse.force_seal() first.';
    END IF;
    SELECT array_agg(i.incarnation_id) INTO doomed FROM incarnation AS i
    WHERE i.agent_id = retire_agent.agent_id AND i.state = 'live';
    PERFORM retire_incarnations(doomed) WHERE doomed IS NOT NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.retire_agent IS
    'Says that an agent that is gone does not return: what it uploaded and never published becomes garbage. Refused while it '
    'is live, or has epochs to end. Should it return all the same, it registers as ever';

CREATE FUNCTION streamhouse.retire_silent_agents() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    span   interval := agent_retention_ms() * interval '1 millisecond';
    doomed bigint[];
BEGIN
    IF span = interval '0' OR NOT EXISTS (SELECT FROM retirable_agent AS r WHERE r.renewed_at < time_ago(span))
       OR NOT control_lock_if_free() THEN
        RETURN 0;
    END IF;
    -- A renewal under way is left alone: the lease's row is locked.
    SELECT array_agg(l.incarnation_id) INTO doomed
    FROM (SELECT l.incarnation_id FROM lease AS l
          WHERE l.ticks_left = 0 AND l.renewed_at < time_ago(span)
            AND l.incarnation_id IN (SELECT r.incarnation_id FROM retirable_agent AS r)
          ORDER BY l.wal_uuid FOR UPDATE SKIP LOCKED) AS l;
    IF doomed IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM retire_incarnations(doomed);
    RETURN cardinality(doomed);
END
$$;
COMMENT ON FUNCTION streamhouse.retire_silent_agents IS
    'The retention worker''s: retires agents that own nothing and were not heard of for streamhouse.agent_retention; returns '
    'how many';
