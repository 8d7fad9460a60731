-- The schema is made here and not by "schema" in the control file, with which PostgreSQL takes one that is there. It
-- would be searched while this script and every function runs, so what its owner had put there would be called with
-- the rights of a superuser. The script itself runs with nothing but pg_catalog on its search_path, whence views name
-- schemas.
DO $$
BEGIN
    IF to_regnamespace('streamhouse') IS NOT NULL THEN
        RAISE EXCEPTION 'schema "streamhouse" exists already'
            USING ERRCODE = 'duplicate_schema',
                  DETAIL = (SELECT format('It belongs to %I; StreamHouse''s functions would trust what is in it.',
                                          pg_get_userbyid(n.nspowner))
                            FROM pg_namespace AS n WHERE n.nspname = 'streamhouse'),
                  HINT = 'Drop or rename it: CREATE EXTENSION makes a schema of its own.';
    END IF;
END
$$;
CREATE SCHEMA streamhouse;
COMMENT ON SCHEMA streamhouse IS 'StreamHouse: topics, agents and the index of records in object storage';

-- Roles belong to the whole server: they may be there already, from another database, and may have been renamed since,
-- which their comments tell. A renamed one has its first name while this script runs (99_privileges gives the other
-- back), so that all below names it by that.
DO $$
DECLARE
    role_name text;
    renamed   text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['streamhouse_admin', 'streamhouse_agent', 'streamhouse_read'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            IF shobj_description(role_name::regrole, 'pg_authid') IS NULL THEN
                EXECUTE format('COMMENT ON ROLE %I IS %L', role_name, format('StreamHouse: made as %s', role_name));
            END IF;
            CONTINUE;
        END IF;
        SELECT r.rolname INTO renamed FROM pg_roles AS r
        WHERE shobj_description(r.oid, 'pg_authid') = format('StreamHouse: made as %s', role_name)
        ORDER BY r.oid LIMIT 1;
        IF renamed IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            EXECUTE format('COMMENT ON ROLE %I IS %L', role_name, format('StreamHouse: made as %s', role_name));
        ELSE
            EXECUTE format('ALTER ROLE %I RENAME TO %I', renamed, role_name);
            PERFORM set_config('streamhouse_install.' || role_name, renamed, true);
        END IF;
    END LOOP;
END
$$;

-- Settings, in plain units. Calling one loads the library, which declares them.
CREATE FUNCTION streamhouse.tick_interval_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_tick_interval_ms';
CREATE FUNCTION streamhouse.lease_ticks() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_lease_ticks';
CREATE FUNCTION streamhouse.offset_range() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_offset_range';
CREATE FUNCTION streamhouse.garbage_grace_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_garbage_grace_ms';
CREATE FUNCTION streamhouse.scan_interval_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_scan_interval_ms';
CREATE FUNCTION streamhouse.compaction_delay_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_compaction_delay_ms';
CREATE FUNCTION streamhouse.compaction_objects() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_compaction_objects';
CREATE FUNCTION streamhouse.producers_max() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_producers_max';
COMMENT ON FUNCTION streamhouse.tick_interval_ms IS 'The setting streamhouse.tick_interval in milliseconds';
COMMENT ON FUNCTION streamhouse.lease_ticks IS 'The setting streamhouse.lease_ticks';
COMMENT ON FUNCTION streamhouse.offset_range IS 'The setting streamhouse.offset_range';
COMMENT ON FUNCTION streamhouse.producers_max IS 'The setting streamhouse.producers_max';
COMMENT ON FUNCTION streamhouse.garbage_grace_ms IS 'The setting streamhouse.garbage_grace in milliseconds';
COMMENT ON FUNCTION streamhouse.scan_interval_ms IS 'The setting streamhouse.scan_interval in milliseconds';
COMMENT ON FUNCTION streamhouse.compaction_delay_ms IS
    'The setting streamhouse.compaction_delay in milliseconds';
COMMENT ON FUNCTION streamhouse.compaction_objects IS 'The setting streamhouse.compaction_objects';
