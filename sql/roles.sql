-- Who may do what. PUBLIC may do nothing.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
GRANT USAGE ON SCHEMA fixture TO PUBLIC;
SELECT p.oid::regprocedure AS open_to_public
FROM pg_proc AS p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
WHERE p.pronamespace = 'streamhouse'::regnamespace AND a.grantee = 0;
SELECT c.oid::regclass AS open_to_public FROM pg_class AS c, aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'streamhouse'::regnamespace AND a.grantee = 0;

SELECT p.proname,
       has_function_privilege('streamhouse_read', p.oid, 'EXECUTE') AS read,
       has_function_privilege('streamhouse_agent', p.oid, 'EXECUTE') AS agent,
       has_function_privilege('streamhouse_admin', p.oid, 'EXECUTE') AS admin
FROM pg_proc AS p
WHERE p.pronamespace = 'streamhouse'::regnamespace
  AND (has_function_privilege('streamhouse_read', p.oid, 'EXECUTE')
       OR has_function_privilege('streamhouse_agent', p.oid, 'EXECUTE')
       OR has_function_privilege('streamhouse_admin', p.oid, 'EXECUTE'))
ORDER BY p.proname COLLATE "C";

-- No role writes a table.
SELECT c.oid::regclass AS writable
FROM pg_class AS c, unnest(ARRAY['streamhouse_read', 'streamhouse_agent', 'streamhouse_admin']) AS role
WHERE c.relnamespace = 'streamhouse'::regnamespace AND c.relkind IN ('r', 'v')
  AND has_table_privilege(role, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE');

CREATE ROLE regress_streamhouse_nobody;
SET ROLE regress_streamhouse_nobody;
SELECT * FROM streamhouse.topics;
SELECT streamhouse.create_topic('t');
RESET ROLE;
DROP ROLE regress_streamhouse_nobody;

SET ROLE streamhouse_admin;
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT streamhouse.alter_topic('t', partitions => 2);
SELECT streamhouse.rebalance();
SELECT streamhouse.agent_end(1);
DELETE FROM streamhouse.topic;
SELECT streamhouse.register_schema('t-value', avro('a')) AS id;
SELECT streamhouse.set_compatibility('FULL', 't-value');
SELECT streamhouse.agent_schemas_seen('{}', '{}');
DELETE FROM streamhouse.schema;
RESET ROLE;

-- An agent's whole day.
SET ROLE streamhouse_agent;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT * FROM publish(:a, 1, '{t 0 0+1}');
SELECT count(*) FROM streamhouse.read_index(topic('t'), 0, 0, 1);
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:a, 0);
SELECT count(*) FROM streamhouse.agent_metadata();
SELECT count(*) FROM streamhouse.agent_topic_schemas();
SELECT record_name FROM streamhouse.agent_schema_by_id(1);
SELECT subject, version FROM streamhouse.agent_list_schemas('', false, false, 0, -1);
SELECT streamhouse.agent_schemas_seen('{1}', ARRAY[topic('t')]);
SELECT streamhouse.register_schema('t-value', avro('a b=1')) AS id;
SELECT streamhouse.delete_version('t-value', 2);
SELECT streamhouse.set_mode('READONLY', 't-value');
SELECT seal(:a, '{own}');
SELECT streamhouse.agent_end(:a);
SELECT streamhouse.rebalance();
RESET ROLE;

SET ROLE streamhouse_read;
SELECT topic, records FROM streamhouse.topics;
SELECT topic, partition, records, status FROM streamhouse.partitions;
SELECT agent_id, state FROM streamhouse.agents;
SELECT count(*) FROM streamhouse.leases;
SELECT count(*) FROM streamhouse.epochs;
SELECT count(*) FROM streamhouse.objects;
SELECT count(*) FROM streamhouse.segments;
SELECT published_end FROM streamhouse.read_bounds(ARRAY[topic('t')], ARRAY[0]);
SELECT subject, version, deleted FROM streamhouse.schemas;
SELECT subject, version, change FROM streamhouse.schema_evolution;
SELECT topic, subject FROM streamhouse.schema_topics;
SELECT schema_id, subjects, topic FROM streamhouse.schema_usage;
SELECT schema_id FROM streamhouse.lookup_schema('t-value', avro('a'));
SELECT is_compatible FROM streamhouse.check_compatibility('t-value', avro('a'));
SELECT count(*) FROM streamhouse.schema_diff('t-value', 1, 2);
SELECT streamhouse.create_topic('u');
SELECT streamhouse.drop_topic('t');
SELECT streamhouse.register_schema('t-value', avro('a'));
SELECT streamhouse.delete_subject('t-value');
SELECT streamhouse.set_mode('READWRITE');
RESET ROLE;

-- What is granted can be read to the end: by each role, with a row in each table that a view's functions ask.
SELECT register('b', 2) AS b \gset
SELECT take(:b);
INSERT INTO streamhouse.index_snapshot DEFAULT VALUES;
INSERT INTO streamhouse.store_marker DEFAULT VALUES;
INSERT INTO streamhouse.object_deletion (object_id, reason) SELECT object_id, 'unreferenced' FROM streamhouse.object LIMIT 1;
SET streamhouse.snapshot_interval = '1min';
SET streamhouse.require_store_marker = on;
CREATE FUNCTION fixture.unreadable(role text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    asked  text;
    failed text;
BEGIN
    FOR asked IN
        SELECT format('SELECT * FROM %s', c.oid::regclass) FROM pg_class AS c
        WHERE c.relnamespace = 'streamhouse'::regnamespace AND c.relkind IN ('r', 'v')
        UNION ALL
        SELECT format('SELECT * FROM %s()', p.oid::regproc) FROM pg_proc AS p
        WHERE p.pronamespace = 'streamhouse'::regnamespace AND p.pronargs = p.pronargdefaults
          AND has_function_privilege(role, p.oid, 'EXECUTE') AND p.provolatile <> 'v'
    LOOP
        EXECUTE format('SET ROLE %I', role);
        failed := fixture.failure(asked);
        RESET ROLE;
        IF failed IS NOT NULL THEN
            RETURN NEXT asked || ': ' || failed;
        END IF;
    END LOOP;
END $$;
GRANT USAGE ON SCHEMA fixture TO PUBLIC;
SELECT r AS role, u AS unreadable
FROM unnest(ARRAY['streamhouse_read', 'streamhouse_agent', 'streamhouse_admin', 'pg_monitor']) AS r, unreadable(r) AS u;
REVOKE USAGE ON SCHEMA fixture FROM PUBLIC;
