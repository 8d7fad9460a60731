-- The background workers: the launcher always, the lease worker where streamhouse.database says.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT backend_type, application_name, datname FROM pg_stat_activity WHERE backend_type LIKE 'streamhouse%';
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset

-- True as soon as the query says so, false after half a minute.
CREATE FUNCTION fixture.comes_true(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    deadline timestamptz := clock_timestamp() + interval '30 seconds';
    reached boolean;
BEGIN
    LOOP
        PERFORM pg_stat_clear_snapshot();
        EXECUTE query INTO reached;
        IF reached OR clock_timestamp() > deadline THEN
            RETURN reached;
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;

-- They do not look for what they call where the database's owner says.
CREATE SCHEMA prepared;
CREATE TABLE prepared.called (by text);
CREATE FUNCTION prepared.gt(bigint, integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO prepared.called VALUES (current_user);
    RETURN false;
END $$;
CREATE OPERATOR prepared.> (FUNCTION = prepared.gt, LEFTARG = bigint, RIGHTARG = integer);
SELECT format('ALTER DATABASE %I SET search_path = prepared, pg_catalog', current_database()) \gexec

-- Settings of the database do not keep them from their work.
SELECT format('ALTER DATABASE %I SET default_transaction_isolation = ''repeatable read''', current_database()) \gexec
SELECT format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()) \gexec
SELECT format('ALTER SYSTEM SET streamhouse.database = %L', current_database()) \gexec
ALTER SYSTEM SET streamhouse.tick_interval = '20ms';
ALTER SYSTEM SET streamhouse.retention_interval = '20ms';
SELECT pg_reload_conf();
SELECT comes_true($$ SELECT count(*) = 1 FROM pg_stat_activity
                     WHERE backend_type = 'streamhouse lease' AND application_name = 'streamhouse lease'
                         AND datname = current_database() $$);

-- It lets the lease run out, and places anew.
SELECT comes_true($$ SELECT state = 'expired' FROM streamhouse.agents $$);
SELECT comes_true($$ SELECT placed_agents = '{}' FROM streamhouse.cluster $$);

-- The retention worker does its rounds beside it.
SELECT comes_true($$ SELECT count(*) = 1 FROM pg_stat_activity
                     WHERE backend_type = 'streamhouse retention' AND datname = current_database() $$);
SELECT streamhouse.drop_topic('t');
SELECT comes_true($$ SELECT is_purged FROM streamhouse.dropped_topic $$);
-- It looks at the server's clocks.
UPDATE streamhouse.server_clock SET seen_at = seen_at - interval '1 day';
SELECT comes_true($$ SELECT cardinality(leaps) = 1 FROM streamhouse.server_clock $$);
SELECT * FROM prepared.called;
SELECT format('ALTER DATABASE %I RESET search_path', current_database()) \gexec
DROP SCHEMA prepared CASCADE;

-- It survives an error, and ends with the extension.
ALTER FUNCTION streamhouse.prune_publish_results RENAME TO prune_nothing;
UPDATE streamhouse.lease SET ticks_left = 3;
SELECT comes_true($$ SELECT state = 'expired' FROM streamhouse.agents $$);
SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'streamhouse lease';
DROP EXTENSION streamhouse;
SELECT comes_true($$ SELECT count(*) = 0 FROM pg_stat_activity
                     WHERE backend_type IN ('streamhouse lease', 'streamhouse retention') $$);

SELECT format('ALTER DATABASE %I RESET default_transaction_isolation', current_database()) \gexec
SELECT format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()) \gexec

-- A worker does not keep its database from being dropped.
CREATE DATABASE regress_streamhouse_dropped;
\set here :DBNAME
\c regress_streamhouse_dropped
CREATE EXTENSION streamhouse;
ALTER SYSTEM SET streamhouse.database = 'regress_streamhouse_dropped';
SELECT pg_reload_conf();
\c :here
SET search_path = fixture;
SELECT comes_true($$ SELECT count(*) = 1 FROM pg_stat_activity
WHERE backend_type = 'streamhouse lease' AND datname = 'regress_streamhouse_dropped' $$);
DROP DATABASE regress_streamhouse_dropped;

-- And one that does not exist harms nobody.
SELECT backend_type FROM pg_stat_activity WHERE backend_type LIKE 'streamhouse%';
ALTER SYSTEM RESET streamhouse.database;
ALTER SYSTEM RESET streamhouse.tick_interval;
ALTER SYSTEM RESET streamhouse.retention_interval;
SELECT pg_reload_conf();
