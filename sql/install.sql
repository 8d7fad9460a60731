-- The extension installs into its own schema, says what everything is, and leaves nothing behind.
CREATE EXTENSION streamhouse;
SELECT extversion, extnamespace::regnamespace, extrelocatable FROM pg_extension
WHERE extname = 'streamhouse';

-- Every function, table, view and column has a comment.
SELECT p.oid::regprocedure AS without_comment FROM pg_proc AS p
WHERE p.pronamespace = 'streamhouse'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL;
SELECT c.oid::regclass AS without_comment FROM pg_class AS c
WHERE c.relnamespace = 'streamhouse'::regnamespace AND c.relkind IN ('r', 'v')
  AND obj_description(c.oid, 'pg_class') IS NULL;

SELECT a.attrelid::regclass AS relation, a.attname AS without_comment FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'streamhouse'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
  AND col_description(a.attrelid, a.attnum) IS NULL
ORDER BY a.attrelid::regclass::text, a.attnum;

-- Every function pins its search path.
SELECT p.oid::regprocedure AS without_search_path FROM pg_proc AS p
WHERE p.pronamespace = 'streamhouse'::regnamespace
  AND p.prosqlbody IS NULL -- such a body is bound when the function is made
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c LIKE 'search_path=pg_catalog, %pg_temp');

-- pg_dump keeps every table and sequence, but for what tells a restored database from the one that was dumped. No table
-- has a foreign key: they would be checked while tables are restored in any order.
SELECT c.oid::regclass AS not_dumped FROM pg_class AS c
WHERE c.relnamespace = 'streamhouse'::regnamespace AND c.relkind IN ('r', 'S')
  AND c.oid <> ALL (SELECT unnest(extconfig) FROM pg_extension WHERE extname = 'streamhouse');

SELECT conrelid::regclass AS relation, conname AS foreign_key FROM pg_constraint
WHERE connamespace = 'streamhouse'::regnamespace AND contype = 'f';

SELECT name, boot_val, unit, context, min_val, max_val FROM pg_settings
WHERE name LIKE 'streamhouse.%' ORDER BY name;
SET streamhouse.lease_ticks = 1;
SET streamhouse.unheard_of = 1;

DROP EXTENSION streamhouse;
SELECT to_regnamespace('streamhouse') AS left_behind;

-- The owner of a database prepares what CREATE EXTENSION and later calls would find: a schema of the name, and a
-- search_path that puts operators of his own first. None of it runs with the rights of a superuser.
\set here :DBNAME
\set superuser :USER
CREATE ROLE regress_streamhouse_owner LOGIN;
CREATE DATABASE regress_streamhouse_owned OWNER regress_streamhouse_owner;
\c regress_streamhouse_owned regress_streamhouse_owner
CREATE SCHEMA streamhouse;
CREATE SCHEMA prepared;
CREATE FUNCTION prepared.rise() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    ALTER ROLE regress_streamhouse_owner SUPERUSER;
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN true;
END $$;
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN SELECT target, operator, l, r, row_number() OVER () AS n
                FROM unnest(ARRAY['streamhouse', 'prepared']) AS target,
                     unnest(ARRAY['=', '<>', '<', '>', '<=', '>=']) AS operator,
                     (VALUES ('text', 'text'), ('text[]', 'text[]'), ('uuid', 'uuid'), ('bigint', 'bigint'),
                             ('bigint', 'integer'), ('integer', 'integer'), ('name', 'text')) AS types(l, r)
    LOOP
        EXECUTE format('CREATE FUNCTION %I.f%s(l %s, r %s) RETURNS boolean LANGUAGE sql AS $f$ SELECT prepared.rise() $f$',
                       made.target, made.n, made.l, made.r);
        EXECUTE format('CREATE OPERATOR %I.%s (FUNCTION = %I.f%s, LEFTARG = %s, RIGHTARG = %s)',
                       made.target, made.operator, made.target, made.n, made.l, made.r);
    END LOOP;
END $$;
ALTER DATABASE regress_streamhouse_owned SET search_path = prepared, pg_catalog;
\set SHOW_CONTEXT never
\c regress_streamhouse_owned :superuser
CREATE EXTENSION streamhouse;
ALTER SCHEMA streamhouse RENAME TO renamed;
CREATE EXTENSION streamhouse;
SELECT streamhouse.create_topic('t', partitions => 2) IS NOT NULL AS made;
SELECT streamhouse.lease_tick();
SELECT streamhouse.rebalance();
SELECT streamhouse.apply_retention();
SELECT streamhouse.drop_topic('t');
SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'regress_streamhouse_owner';
\c :here :superuser
DROP DATABASE regress_streamhouse_owned;
DROP ROLE regress_streamhouse_owner;

-- A role that was renamed is the same one.
CREATE EXTENSION streamhouse;
ALTER ROLE streamhouse_read RENAME TO regress_streamhouse_reader;
DROP EXTENSION streamhouse;
CREATE EXTENSION streamhouse;
SELECT rolname FROM pg_roles WHERE rolname ~ 'streamhouse_(read|agent|admin)' ORDER BY rolname;
SELECT has_table_privilege('regress_streamhouse_reader', 'streamhouse.topics', 'SELECT');
ALTER ROLE regress_streamhouse_reader RENAME TO streamhouse_read;

-- Uninstalled, it leaves nothing but roles that have rights in other databases of the server.
SET client_min_messages = warning;
SELECT streamhouse.uninstall();
RESET client_min_messages;
SELECT to_regnamespace('streamhouse') AS left_behind;

-- Helpers of the tests that follow. They name topics and WALs, so that no test shows a random id.
CREATE SCHEMA fixture;
SET search_path = fixture;

-- What the test before has left is whole.
CREATE FUNCTION renew() RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
    dangling text;
BEGIN
    IF to_regclass('streamhouse.dangling_references') IS NOT NULL THEN
        EXECUTE 'SELECT string_agg(d::text, E''\n'') FROM streamhouse.dangling_references AS d' INTO dangling;
        IF dangling IS NOT NULL THEN
            RAISE EXCEPTION 'references dangle' USING DETAIL = dangling;
        END IF;
    END IF;
    DROP EXTENSION IF EXISTS streamhouse CASCADE;
    CREATE EXTENSION streamhouse;
    PERFORM set_config('streamhouse.snapshot_interval', '0', false); -- but in snapshot.sql
    PERFORM set_config('streamhouse.require_store_marker', 'off', false); -- but in marker.sql
END $$;

CREATE FUNCTION wal(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT lpad(n::text, 32, '0')::uuid $$;

CREATE FUNCTION topic(topic_name text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce((SELECT topic_id FROM streamhouse.topic WHERE name = topic_name),
                    (SELECT topic_id FROM streamhouse.dropped_topic WHERE name = topic_name LIMIT 1),
                    fixture.wal(404));
END $$;

CREATE FUNCTION topic_name(id uuid) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT name FROM streamhouse.topic WHERE topic_id = id);
END $$;

CREATE FUNCTION latest_epoch(topic_name text, partition_no int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT max(epoch) FROM streamhouse.epoch
            WHERE topic_id = fixture.topic(topic_name) AND partition = partition_no);
END $$;

-- The first start of agent n's WAL, or the start with the given number.
CREATE FUNCTION register(agent text, n int, incarnation_no bigint DEFAULT 1, calls_seen bigint DEFAULT 0)
RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT incarnation_id FROM streamhouse.agent_register(agent, fixture.wal(n), incarnation_no,
                agent || ':9000', agent || ':9001', 'zone-' || n, 'boot', '0.1.0', calls_seen));
END $$;

-- Grant and open all that the incarnation should have.
CREATE FUNCTION take(incarnation bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    topics uuid[];
    parts int[];
    numbers bigint[];
BEGIN
    SELECT array_agg(topic_id), array_agg(partition) INTO topics, parts
    FROM streamhouse.agent_assignments(incarnation) WHERE action = 'grant';
    SELECT array_agg(epoch) INTO numbers FROM streamhouse.agent_grant(incarnation, topics, parts)
    WHERE result = 'granted';
    RETURN (SELECT count(*) FROM streamhouse.agent_open(incarnation, topics, parts, numbers)
            WHERE result = 'open');
END $$;

-- Seal all that the incarnation has open and the action names, at the published end.
CREATE FUNCTION seal(incarnation bigint, actions text[], is_lost boolean DEFAULT false) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    a record;
BEGIN
    SELECT array_agg(topic_id) AS topics, array_agg(partition) AS parts, array_agg(epoch) AS numbers,
           array_agg(published_end) AS ends, array_agg(is_lost) AS lost INTO a
    FROM streamhouse.agent_assignments(incarnation) WHERE action = ANY (actions);
    RETURN (SELECT count(*)
            FROM streamhouse.agent_seal(incarnation, a.topics, a.parts, a.numbers, a.ends, a.lost)
            WHERE result = 'sealed');
END $$;

-- Publish runs written as 'topic partition first+count', with '?' for an offset that the publish is to
-- assign, 'void' before a void range and '@n' before that for epoch n in place of the latest. A record
-- has 10 bytes, and its time is its offset, unless the newest of each run is given. Stretches are written as
-- 'run producer.epoch sequence+count', with '@offset' where they have one, and '~sequence' for the first that the
-- producer had no acknowledgement of.
CREATE FUNCTION publish(incarnation bigint, number bigint, runs text[], confirmed bigint DEFAULT 0,
    object text DEFAULT NULL, stretches text[] DEFAULT '{}', times bigint[] DEFAULT NULL)
RETURNS TABLE (run text, result text, first_offset bigint, published_end bigint) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    WITH parsed AS (
        SELECT r.run, r.n, regexp_match(r.run, '^(\S+) (\d+) (?:@(\d+) )?(void )?(\d+|\?)\+(\d+)$') AS m
        FROM unnest(runs) WITH ORDINALITY AS r(run, n)
    ), a AS (
        SELECT array_agg(fixture.topic(m[1]) ORDER BY n) AS topics,
               array_agg(m[2]::int ORDER BY n) AS parts,
               array_agg(coalesce((1::bigint << 40) + m[3]::bigint,
                                  fixture.latest_epoch(m[1], m[2]::int), 1) ORDER BY n) AS epochs,
               array_agg(nullif(m[5], '?')::bigint ORDER BY n) AS firsts,
               array_agg(m[6]::bigint ORDER BY n) AS counts,
               array_agg(m[6]::bigint * 10 ORDER BY n) AS lengths, array_agg(n ORDER BY n) AS positions,
               array_agg(coalesce(nullif(m[5], '?')::bigint, 0) ORDER BY n) AS mins,
               array_agg(coalesce(times[n], coalesce(nullif(m[5], '?')::bigint, 0) + m[6]::bigint - 1)
                         ORDER BY n) AS maxs,
               array_agg(m[4] IS NOT NULL ORDER BY n) AS voids
        FROM parsed
    ), s AS (
        SELECT array_agg(m[1]::int ORDER BY n) AS on_runs, array_agg(m[2]::bigint ORDER BY n) AS ids,
               array_agg(m[3]::int ORDER BY n) AS epochs, array_agg(m[4]::int ORDER BY n) AS sequences,
               array_agg(m[5]::int ORDER BY n) AS counts, array_agg(m[6]::bigint ORDER BY n) AS offsets,
               array_agg(m[7]::int ORDER BY n) AS unacked
        FROM (SELECT n, regexp_match(t, '^(\d+) (\d+)\.(\d+) (\d+)\+(\d+)(?:@(\d+))?(?:~(\d+))?$') AS m
              FROM unnest(stretches) WITH ORDINALITY AS u(t, n)) AS parsed
    )
    SELECT runs[p.ordinal], p.result, p.first_offset, p.published_end
    FROM a, s, LATERAL streamhouse.publish_object(incarnation, number, confirmed,
        md5(coalesce(object, incarnation || '/' || number))::uuid,
        coalesce(object, incarnation || '/' || number), 1000,
        coalesce(a.topics, '{}'), coalesce(a.parts, '{}'), coalesce(a.epochs, '{}'),
        coalesce(a.firsts, '{}'), coalesce(a.counts, '{}'), coalesce(a.counts, '{}'),
        coalesce(a.positions, '{}'), coalesce(a.lengths, '{}'),
        coalesce(a.mins, '{}'), coalesce(a.maxs, '{}'), coalesce(a.voids, '{}'), coalesce(s.on_runs, '{}'),
        coalesce(s.ids, '{}'), coalesce(s.epochs, '{}'), coalesce(s.sequences, '{}'), coalesce(s.counts, '{}'),
        coalesce(s.offsets, '{}'), coalesce(s.unacked, '{}')) AS p;
END $$;

-- As the lease worker does when an agent has been silent long enough.
CREATE FUNCTION expire(agent text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    UPDATE streamhouse.lease SET ticks_left = 0
    WHERE incarnation_id = (SELECT a.incarnation_id FROM streamhouse.agent AS a WHERE a.agent_id = agent);
    RETURN streamhouse.rebalance();
END $$;

-- The epochs of t/0.
CREATE FUNCTION epochs()
RETURNS TABLE (no bigint, state text, agent text, starts bigint, ends bigint, published_end bigint,
               records bigint, records_base bigint, forced boolean, leftover_of bigint) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT v.epoch - (1::bigint << 40), v.state, v.agent_id, v.start_offset, v.end_offset, v.published_end,
           v.records, e.records_base, v.forced, v.leftover_of - (1::bigint << 40)
    FROM streamhouse.epochs AS v JOIN streamhouse.epoch AS e USING (topic_id, partition, epoch)
    WHERE v.topic = 't' AND v.partition = 0 ORDER BY v.epoch;
END $$;

-- How a statement fails: SQLSTATE, message, and what is said besides, a line each. Null: it does not.
CREATE FUNCTION failure(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
BEGIN
    EXECUTE statement;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;

-- A record of Avro with int fields. 'a b=1' has the fields a, and b with the default 1; 'a:long' is a long.
CREATE FUNCTION avro(fields text, name text DEFAULT 'R') RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT format('{"type":"record","name":"%s","fields":[%s]}', name,
                          string_agg(format('{"name":"%s","type":%s%s}', m[1], to_json(coalesce(m[2], 'int')),
                                            ',"default":' || m[3]), ',' ORDER BY n))
            FROM (SELECT n, regexp_match(f, '^([^:=]+)(?::([^=]+))?(?:=(.+))?$') AS m
                  FROM regexp_split_to_table(fields, ' ') WITH ORDINALITY AS u(f, n)) AS parsed);
END $$;
