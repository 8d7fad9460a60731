-- What all control functions share: the lock, the versions, the check of history, the check of the caller.
--
-- Functions that agents and people call set jit = off: their queries are short, and where tables have no
-- statistics yet, PostgreSQL takes them for long ones and spends half a second on compiling them.
--
-- SQLSTATEs of StreamHouse (docs/reference/sql.md explains them):
--   SH001 fenced incarnation              SH006 incarnation has open epochs
--   SH002 unknown incarnation             SH007 publish number in use by another object
--   SH003 the database lost history       SH008 object was abandoned
--   SH004 agent id is live elsewhere      SH009 object was published and confirmed
--   SH005 incarnation number not above    SH010 a later epoch has claimed sequences of
--         the known ones                        the object
--                                         SH011 not in this isolation level
--   SH201 invalid schema or reference     SH401 no such subject
--   SH202 invalid version                 SH402 no such version
--   SH203 invalid compatibility level     SH403 no such schema
--   SH204 invalid mode                    SH404 subject is soft deleted
--   SH205 not permitted in this mode      SH405 subject is not soft deleted
--   SH206 others refer to it              SH406 version is soft deleted
--   SH207 another id names the schema     SH407 version is not soft deleted
--   SH208 invalid subject                 SH408 subject has no compatibility level
--   SH209 schema is too large             SH409 subject has no mode
--                                         SH490 incompatible schema
-- Those of the schema registry are named after the error codes of its REST API: 422nn, 404nn, 409.

CREATE FUNCTION streamhouse.current_timeline() RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
                        (SELECT min_recovery_end_timeline FROM pg_control_recovery()));
    END IF;
    RETURN ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint;
END
$$;
COMMENT ON FUNCTION streamhouse.current_timeline IS
    'Timeline that the server writes now (pg_control_checkpoint lags behind a promotion), or that a standby has read';

CREATE FUNCTION streamhouse.current_identity()
RETURNS TABLE (system_identifier bigint, timeline bigint, database_oid oid, installation_id uuid)
LANGUAGE sql VOLATILE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT s.system_identifier, current_timeline(), d.oid, i.installation_id
    FROM pg_control_system() AS s, pg_database AS d, installation AS i WHERE d.datname = current_database()
$$;
COMMENT ON FUNCTION streamhouse.current_identity IS
    'What tells this database from copies of it: the server, its timeline, the database within the server, and the '
    'CREATE EXTENSION that no dump brings along';

CREATE FUNCTION streamhouse.identity_change(OUT message text, OUT detail text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    stored  cluster;
    present record;
BEGIN
    SELECT * INTO stored FROM cluster;
    SELECT * INTO present FROM current_identity();
    IF stored.system_identifier <> present.system_identifier THEN
        message := 'this database is a copy of another server''s';
        detail := format('Its agents worked with system identifier %s; this server has %s.', stored.system_identifier,
                         present.system_identifier);
    ELSIF stored.timeline <> present.timeline THEN
        message := 'this server was promoted or recovered to a point in time';
        detail := format('Its agents worked on timeline %s; the server is on %s.', stored.timeline, present.timeline);
    ELSIF stored.database_oid <> present.database_oid THEN
        message := 'this database is a copy of another one of this server';
        detail := format('Its agents worked with the database of oid %s; this one has %s.', stored.database_oid,
                         present.database_oid);
    ELSIF stored.one_row AND stored.installation_id IS DISTINCT FROM present.installation_id THEN
        message := 'this database was restored from a dump';
        detail := format('Its agents worked with installation %s; this one is %s.', stored.installation_id,
                         present.installation_id);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.identity_change IS
    'How the database that is here is not the one that agents have worked with; null: it is that one';

CREATE FUNCTION streamhouse.begin_decision() RETURNS void
    LANGUAGE c SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_begin_decision';
COMMENT ON FUNCTION streamhouse.begin_decision IS
    'What every function does first whose answer somebody acts on: refuses isolation levels other than read '
    'committed (SH011), and makes the commit durable whatever synchronous_commit says for the role or database';

CREATE FUNCTION streamhouse.control_lock() RETURNS streamhouse.cluster
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    locked cluster;
BEGIN
    PERFORM begin_decision();
    SELECT * INTO locked FROM cluster FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO cluster (system_identifier, timeline, database_oid, installation_id)
        SELECT system_identifier, timeline, database_oid, installation_id FROM current_identity()
        ON CONFLICT DO NOTHING;
        SELECT * INTO locked FROM cluster FOR UPDATE;
    END IF;
    RETURN locked;
END
$$;
COMMENT ON FUNCTION streamhouse.control_lock IS
    'Serialises changes of topics, agents and epochs until the transaction ends; returns the cluster''s row';

CREATE FUNCTION streamhouse.check_history() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    change record;
BEGIN
    SELECT * INTO change FROM identity_change();
    IF change.message IS NOT NULL THEN
        RAISE EXCEPTION '%', change.message
            USING ERRCODE = 'SH003', DETAIL = change.detail,
                  HINT = 'It may lack history: a new term begins when an agent registers.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_history IS
    'Raises SH003 when the database is not the one that the cluster was made in: another server or timeline, a copy, or '
    'restored from a dump';

CREATE FUNCTION streamhouse.check_calls(calls bigint, calls_seen bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF calls_seen > calls THEN
        RAISE EXCEPTION 'the database lost history'
            USING ERRCODE = 'SH003',
                  DETAIL = format('The agent has seen call number %s; the database knows of %s.',
                                  calls_seen, calls),
                  HINT = 'It was restored, or failed over to a server that lagged behind: a new term begins '
                         'when the agent registers again.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_calls IS
    'Raises SH003 when an agent has seen more calls than the database remembers';

CREATE FUNCTION streamhouse.bump_versions(assignments boolean) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    UPDATE cluster
    SET metadata_version = metadata_version + 1,
        assignment_version = assignment_version + bump_versions.assignments::int;
    SELECT pg_notify('streamhouse', (SELECT metadata_version::text FROM cluster));
$$;
COMMENT ON FUNCTION streamhouse.bump_versions IS
    'Tells agents, by versions and NOTIFY streamhouse, that metadata (and assignments) changed. Needs the '
    'control lock';

CREATE FUNCTION streamhouse.bump_schema_version() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ UPDATE cluster SET schema_version = schema_version + 1 $$;
COMMENT ON FUNCTION streamhouse.bump_schema_version IS
    'Tells agents, by a version, that what they validate against changed: schemas, or settings of topics. '
    'Needs the control lock';

CREATE FUNCTION streamhouse.acting_role() RETURNS name
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT rolname FROM pg_roles WHERE rolname = session_user AND NOT rolsuper $$;
COMMENT ON FUNCTION streamhouse.acting_role IS
    'The role that the session logged in with; null for a superuser, who is bound to nothing';

CREATE FUNCTION streamhouse.check_role(bound name, what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF bound <> acting_role() THEN
        RAISE EXCEPTION '% is bound to role "%"', what, bound
            USING ERRCODE = 'insufficient_privilege', DETAIL = format('The session''s role is "%s".', session_user),
                  HINT = 'Use that role, or have an administrator call streamhouse.release_agent(agent_id).';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_role IS
    'Raises 42501 unless the session''s role is the one that something is bound to, or a superuser';

CREATE FUNCTION streamhouse.check_object_key(object_key text, incarnation bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    writer text := (regexp_match(object_key, '^[0-9a-f]{2}/[^/]+/([0-9]{1,18})/'))[1];
BEGIN
    IF object_key IS NULL OR object_key !~ '^[a-zA-Z0-9._-]+(/[a-zA-Z0-9._-]+)*$' OR length(object_key) > 511
       OR object_key ~ '(^|/)[.]{1,2}(/|$)' THEN
        RAISE EXCEPTION 'invalid object key "%"', left(object_key, 100)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'A key has at most 511 letters a-z and A-Z, digits, ".", "_", "-" and "/", and no part "." or "..".';
    ELSIF writer::bigint <> incarnation THEN
        RAISE EXCEPTION 'object key "%" is that of another incarnation', object_key
            USING ERRCODE = 'invalid_parameter_value', DETAIL = format('The caller is incarnation %s.', incarnation);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_object_key IS
    'Raises 22023 for a key that is no plain path in the store, or that names another writer than this incarnation '
    '(null: any)';

CREATE FUNCTION streamhouse.agent_enter(incarnation bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    held    record;
    counted bigint;
    bound   name;
    known   incarnation;
BEGIN
    PERFORM begin_decision();
    -- Locked first: who waits for a call under way gets the row at whatever stage that has left it.
    SELECT l.* INTO held
    FROM incarnation AS i
    CROSS JOIN LATERAL (SELECT n.ctid AS place, n.incarnation_id FROM lease AS n WHERE n.wal_uuid = i.wal_uuid
                        ORDER BY n.wal_uuid DESC, n.stage DESC LIMIT 1 FOR UPDATE) AS l
    WHERE i.incarnation_id = agent_enter.incarnation;
    IF held.incarnation_id = agent_enter.incarnation THEN
        UPDATE lease AS l SET calls = l.calls + 1, updates = l.updates + 1
        WHERE l.ctid = held.place
        RETURNING l.calls, l.bound_role INTO counted, bound;
        PERFORM check_role(bound, 'the WAL of this incarnation') WHERE bound <> session_user;
        -- What stays the same is not reported: the transaction tells two calls of one count apart.
        PERFORM set_config('streamhouse.calls', counted || ' ' || pg_current_xact_id()::text, false);
        RETURN counted;
    END IF;

    SELECT * INTO known FROM incarnation AS i WHERE i.incarnation_id = agent_enter.incarnation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'incarnation % is unknown', coalesce(agent_enter.incarnation::text, 'null')
            USING ERRCODE = 'SH002', HINT = 'Register the agent with streamhouse.agent_register().';
    END IF;
    IF known.state = 'outdated' THEN
        RAISE EXCEPTION 'incarnation % of agent "%" is of an older term', known.incarnation_id, known.agent_id
            USING ERRCODE = 'SH003', HINT = 'Register again, and present what the agent knows.';
    END IF;
    RAISE EXCEPTION 'incarnation % of agent "%" is %', known.incarnation_id, known.agent_id, known.state
        USING ERRCODE = 'SH001',
              DETAIL = CASE WHEN known.state = 'ended' THEN 'It ended its lease itself.'
                            WHEN known.state = 'retired' THEN 'It was silent, and owned nothing.'
                            ELSE 'A newer incarnation of its WAL, or another WAL under its agent id, took '
                                 'its place.' END,
              HINT = 'Start the agent again: it registers a new incarnation and recovers its WAL.';
END
$$;
COMMENT ON FUNCTION streamhouse.agent_enter IS
    'Begins an agent''s call: counts it, reports the count in streamhouse.calls, and locks the lease''s row, so that no newer incarnation can '
    'register before the transaction ends. Raises SH001, SH002 or SH003 for an incarnation that holds no '
    'lease';
