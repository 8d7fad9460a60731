-- Agents: register, heartbeat, end.

CREATE FUNCTION streamhouse.agent_register(
    agent_id       text,
    wal_uuid       uuid,
    incarnation_no bigint,
    address        text,
    http_address   text,
    zone           text,
    boot_id        text,
    version        text,
    calls_seen     bigint
) RETURNS TABLE (incarnation_id bigint, cluster_id uuid, term bigint, lease_ticks int, tick_interval_ms int,
                 calls bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    control   cluster := control_lock();
    lost      text    := lost_history(wal_uuid, calls_seen);
    new_id    bigint;
    new_calls bigint;
BEGIN
    PERFORM check_binding(agent_id, wal_uuid);
    IF lost IS NOT NULL THEN
        control := begin_term(lost, above => agent_register.calls_seen >> 40);
    END IF;
    PERFORM check_registration(agent_id, wal_uuid, incarnation_no, calls_seen);
    PERFORM fence_predecessors(agent_id, wal_uuid);

    INSERT INTO incarnation AS i (wal_uuid, incarnation_no, agent_id, boot_id, version)
    VALUES (agent_register.wal_uuid, agent_register.incarnation_no, agent_register.agent_id,
            agent_register.boot_id, agent_register.version)
    RETURNING i.incarnation_id INTO new_id;
    INSERT INTO agent AS a (agent_id, incarnation_id, address, http_address, zone, bound_role)
    VALUES (agent_register.agent_id, new_id, agent_register.address, agent_register.http_address,
            agent_register.zone, acting_role())
    ON CONFLICT ON CONSTRAINT agent_pkey DO UPDATE
    SET incarnation_id = excluded.incarnation_id, address = excluded.address,
        http_address = excluded.http_address, zone = excluded.zone, registered_at = now(), lacks_room = false,
        bound_role = coalesce(a.bound_role, excluded.bound_role);
    -- Leases are made here alone, and the control lock is held.
    UPDATE lease AS l
    SET incarnation_id = new_id, ticks_left = lease_ticks(), silent_ms = 0, unpublished = 0,
        calls = greatest(l.calls, term_calls(control.term)) + 1, renewed_at = now(),
        bound_role = coalesce(l.bound_role, acting_role()), updates = l.updates + 1
    WHERE l.wal_uuid = agent_register.wal_uuid
    RETURNING l.calls INTO new_calls;
    IF NOT FOUND THEN
        INSERT INTO lease AS l (wal_uuid, incarnation_id, ticks_left, calls, bound_role)
        VALUES (agent_register.wal_uuid, new_id, lease_ticks(), term_calls(control.term) + 1, acting_role())
        RETURNING l.calls INTO new_calls;
    END IF;
    PERFORM join_term(control.term, wal_uuid, agent_id, calls_seen);

    -- What the WAL's older incarnations opened, this one recovers and seals, though others may have taken
    -- the partition over.
    UPDATE epoch AS e SET incarnation_id = new_id, inherited = true
    FROM incarnation AS i
    WHERE e.incarnation_id = i.incarnation_id AND i.wal_uuid = agent_register.wal_uuid
      AND e.state IN ('open', 'orphaned');

    PERFORM place_partitions();
    PERFORM bump_versions(assignments => true);
    RETURN QUERY
    SELECT new_id, control.cluster_id, control.term, lease_ticks(), tick_interval_ms(), new_calls;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_register IS
    'An agent''s start: registers an incarnation of its WAL, fences the older ones and hands it their open '
    'epochs. Begins a new term first when the database may have lost history. Raises SH004, SH005, SH011';

CREATE FUNCTION streamhouse.check_binding(agent_id text, wal_uuid uuid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT check_role(a.bound_role, format('agent id "%s"', a.agent_id)) FROM agent AS a
    WHERE a.agent_id = check_binding.agent_id;
    SELECT check_role(l.bound_role, format('WAL %s', l.wal_uuid)) FROM lease AS l WHERE l.wal_uuid = check_binding.wal_uuid;
$$;
COMMENT ON FUNCTION streamhouse.check_binding IS
    'Raises 42501 when the agent id or the WAL was registered by another role: whoever has one agent''s password is no '
    'other agent. Superusers are bound to nothing, and bind nothing';

CREATE FUNCTION streamhouse.release_agent(agent_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM control_lock();
    PERFORM check_agent(release_agent.agent_id);
    UPDATE agent AS a SET bound_role = NULL WHERE a.agent_id = release_agent.agent_id;
    UPDATE lease AS l SET bound_role = NULL
    WHERE l.wal_uuid IN (SELECT i.wal_uuid FROM incarnation AS i WHERE i.agent_id = release_agent.agent_id);
END
$$;
COMMENT ON FUNCTION streamhouse.release_agent IS
    'Has an agent id and its WALs bound to no role any more: the next role that registers them is it';

CREATE FUNCTION streamhouse.check_agent(agent_id text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM agent AS a WHERE a.agent_id = check_agent.agent_id) THEN
        RAISE EXCEPTION 'agent "%" does not exist', coalesce(check_agent.agent_id, '')
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT agent_id FROM streamhouse.agents lists the agents.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_agent IS 'Raises 42704 for an agent that never registered';

CREATE FUNCTION streamhouse.check_registration(agent_id text, wal_uuid uuid, incarnation_no bigint,
                                               calls_seen bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    newest bigint;
    other  uuid;
BEGIN
    IF check_registration.agent_id !~ '^[a-zA-Z0-9._-]{1,249}$' OR check_registration.incarnation_no < 1
       OR num_nulls(check_registration.agent_id, check_registration.wal_uuid,
                    check_registration.incarnation_no, check_registration.calls_seen) > 0 THEN
        RAISE EXCEPTION 'an agent needs an id, a WAL uuid, an incarnation number above 0 and the calls seen'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'An id has 1 to 249 letters a-z and A-Z, digits, ".", "_" and "-".';
    END IF;
    SELECT i.wal_uuid INTO other
    FROM live_agent AS live JOIN incarnation AS i USING (incarnation_id)
    WHERE live.agent_id = check_registration.agent_id AND i.wal_uuid <> check_registration.wal_uuid;
    IF FOUND THEN
        RAISE EXCEPTION 'agent id "%" is in use by a live agent with another WAL', check_registration.agent_id
            USING ERRCODE = 'SH004',
                  DETAIL = format('The live agent''s WAL is %s, this one''s is %s.', other,
                                  check_registration.wal_uuid),
                  HINT = 'Give each agent an agent id of its own, or stop the other agent and wait until its '
                         'lease has run out.';
    END IF;

    SELECT max(incarnation_no) INTO newest FROM incarnation WHERE wal_uuid = check_registration.wal_uuid;
    -- Each start raises it by one, whether it gets as far as here or not; a leap would leave no numbers for others.
    IF check_registration.incarnation_no > coalesce(newest + (1 << 20), 1::bigint << 40) THEN
        RAISE EXCEPTION 'incarnation number % is out of range', check_registration.incarnation_no
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('The last known of WAL %s is %s.', check_registration.wal_uuid,
                                  coalesce(newest::text, 'none'));
    END IF;
    IF check_registration.incarnation_no <= newest THEN
        RAISE EXCEPTION 'incarnation number % is not above the last known, %',
                        check_registration.incarnation_no, newest
            USING ERRCODE = 'SH005',
                  DETAIL = format('The WAL is %s.', check_registration.wal_uuid),
                  HINT = 'The WAL directory was copied, or restored from a backup. Only its newest copy may '
                         'be used.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_registration IS
    'Raises an error for an incarnation that may not register';

CREATE FUNCTION streamhouse.fence_predecessors(agent_id text, wal_uuid uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    fenced bigint[];
BEGIN
    -- Those of the WAL, and one of another WAL whose lease ran out under the same agent id.
    SELECT array_agg(i.incarnation_id) INTO fenced FROM incarnation AS i
    WHERE i.state = 'live'
      AND (i.wal_uuid = fence_predecessors.wal_uuid OR i.agent_id = fence_predecessors.agent_id);
    IF fenced IS NULL THEN
        RETURN;
    END IF;
    -- Taking the incarnation from the lease is the fence: it waits for calls under way, and later ones
    -- find no lease.
    UPDATE lease SET incarnation_id = NULL, ticks_left = 0 WHERE incarnation_id = ANY (fenced);
    UPDATE incarnation SET state = 'fenced' WHERE incarnation_id = ANY (fenced);
    DELETE FROM epoch WHERE incarnation_id = ANY (fenced) AND state = 'granted';
    -- Nobody is shown as their owner any more.
    PERFORM note_partitions(array_agg(e.topic_id), array_agg(e.partition), array_agg(e.incarnation_id))
    FROM epoch AS e WHERE e.incarnation_id = ANY (fenced) AND e.state <> 'sealed';
END
$$;
COMMENT ON FUNCTION streamhouse.fence_predecessors IS
    'Fences the older incarnations of a WAL and of an agent id; what was granted to them but never open '
    'vanishes';

CREATE FUNCTION streamhouse.agent_heartbeat(incarnation bigint, calls_seen bigint,
                                            unpublished bigint DEFAULT 0)
RETURNS TABLE (assignment_version bigint, metadata_version bigint, calls bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    counted bigint := agent_enter(incarnation);
BEGIN
    PERFORM check_history();
    PERFORM check_calls(counted - 1, calls_seen);
    UPDATE lease AS l
    SET ticks_left = lease_ticks(), silent_ms = 0, unpublished = agent_heartbeat.unpublished, renewed_at = now(),
        updates = l.updates + 1
    WHERE l.ctid = (SELECT n.place FROM incarnation AS i
                    CROSS JOIN LATERAL (SELECT n.ctid AS place FROM lease AS n WHERE n.wal_uuid = i.wal_uuid
                                        ORDER BY n.wal_uuid DESC, n.stage DESC LIMIT 1) AS n
                    WHERE i.incarnation_id = agent_heartbeat.incarnation);
    RETURN QUERY SELECT c.assignment_version, c.metadata_version, counted FROM cluster AS c;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_heartbeat IS
    'Renews an agent''s lease and tells the versions of assignments and metadata. unpublished: how many records '
    'the agent has accepted and not published. A lease that ran out is renewed too, and what other agents have '
    'taken over meanwhile shows in agent_assignments. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_lacks_room(incarnation bigint, lacks boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    UPDATE agent AS a SET lacks_room = lacks WHERE a.incarnation_id = agent_lacks_room.incarnation;
    PERFORM place_partitions();
    PERFORM bump_versions(assignments => true);
END
$$;
COMMENT ON FUNCTION streamhouse.agent_lacks_room IS
    'Keeps partitions away from an agent whose write-ahead log gets no room on its disk, or no longer; without another agent '
    'those that it has stay. A registration ends it. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_end(incarnation bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    open_epochs int;
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    SELECT count(*) INTO open_epochs FROM epoch AS e
    WHERE e.incarnation_id = agent_end.incarnation AND e.state IN ('open', 'orphaned');
    IF open_epochs > 0 THEN
        RAISE EXCEPTION 'incarnation % has % open epochs', incarnation, open_epochs
            USING ERRCODE = 'SH006',
                  HINT = 'Publish what is left of them and seal them with agent_seal() first.';
    END IF;
    DELETE FROM epoch AS e WHERE e.incarnation_id = agent_end.incarnation AND e.state = 'granted';
    UPDATE lease AS l SET incarnation_id = NULL, ticks_left = 0
    WHERE l.incarnation_id = agent_end.incarnation;
    UPDATE incarnation AS i SET state = 'ended' WHERE i.incarnation_id = agent_end.incarnation;
    PERFORM place_partitions();
    PERFORM bump_versions(assignments => true);
END
$$;
COMMENT ON FUNCTION streamhouse.agent_end IS
    'An agent''s clean end, after it has sealed its epochs: ends the lease and gives its partitions to '
    'others. Raises SH001, SH002, SH003, SH006';
