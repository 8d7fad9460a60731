-- What a decision needs of the session it is made in, whatever its role's and database's settings.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();

-- Every function that somebody may call, that writes, begins as a decision, or calls one that does: whatever happens,
-- so not within an IF or a loop, whose statements stand further to the right.
WITH RECURSIVE door AS (
    SELECT 'begin_decision'::name AS name
    UNION
    SELECT p.proname FROM door AS d, pg_proc AS p, pg_language AS l
    WHERE p.pronamespace = 'streamhouse'::regnamespace AND l.oid = p.prolang
      AND p.prosrc ~ (CASE l.lanname WHEN 'plpgsql' THEN '\n    (PERFORM|SELECT|RETURN|[a-z_]+ +[a-z_]* *:=)[^;]*' ELSE '' END
                      || '\m' || d.name || '\(')
)
SELECT p.oid::regprocedure AS not_a_decision FROM pg_proc AS p
WHERE p.pronamespace = 'streamhouse'::regnamespace AND p.provolatile = 'v' AND p.proname NOT IN (SELECT name FROM door)
  AND p.prorettype <> 'trigger'::regtype
  -- These write nothing, or nothing before they call one.
  AND p.proname NOT IN ('warn_of_open_transactions', 'current_timeline', 'current_identity', 'identity_change', 'check_history',
                        'register_schema', 'retire_silent_agents')
  AND (p.prosecdef OR EXISTS (SELECT FROM unnest(ARRAY['streamhouse_read', 'streamhouse_agent', 'streamhouse_admin']) AS r
                              WHERE has_function_privilege(r, p.oid, 'EXECUTE')))
ORDER BY 1;

SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT streamhouse.rebalance() AS moved, take(:a) AS taken;

-- Read committed only: who waited for a lock must see what its holder did.
SELECT failure($$ SELECT streamhouse.rebalance() $$);
SET default_transaction_isolation = 'repeatable read';
SELECT failure($$ SELECT streamhouse.force_seal('t', 0) $$);
SELECT failure($$ SELECT * FROM publish(1, 1, ARRAY['t 0 0+1']) $$);
SELECT left(failure($$ SELECT streamhouse.agent_heartbeat(1, 0) $$), 5) AS heartbeat,
       left(failure($$ SELECT streamhouse.lease_tick() $$), 5) AS tick,
       left(failure($$ SELECT streamhouse.apply_retention() $$), 5) AS retention,
       left(failure($$ SELECT streamhouse.agent_garbage(1, 10) $$), 5) AS garbage;
SET default_transaction_isolation = 'serializable';
SELECT failure($$ SELECT streamhouse.drop_topic('t') $$);
RESET default_transaction_isolation;

-- A commit is durable, until the transaction ends, and never less so than the session or the server asks for.
CREATE FUNCTION fixture.durability_of(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE call;
    RETURN current_setting('synchronous_commit');
END $$;
SET synchronous_commit = off;
SELECT durability_of($$ SELECT publish(1, 1, ARRAY['t 0 0+1']) $$) AS publish;
SHOW synchronous_commit;
SELECT durability_of($$ SELECT streamhouse.agent_heartbeat(1, 0) $$) AS heartbeat,
       durability_of($$ SELECT streamhouse.create_topic('u') $$) AS create_topic;
SET synchronous_commit = local;
SELECT durability_of($$ SELECT streamhouse.agent_seal(1, '{}', '{}', '{}', '{}', '{}') $$) AS seal;
SELECT durability_of($$ SELECT streamhouse.agent_init_producer(1) $$) AS init_producer,
       durability_of($$ SELECT streamhouse.agent_lookup_producers(1, '{}', '{}', '{}') $$) AS lookup_producers;
SET synchronous_commit = remote_write;
SELECT durability_of($$ SELECT streamhouse.agent_grant(1, '{}', '{}') $$) AS grants;
SET synchronous_commit = remote_apply;
SELECT durability_of($$ SELECT streamhouse.rebalance() $$) AS rebalance;
-- The server's own setting is that of its files, where a role or a session has hidden it.
ALTER SYSTEM SET synchronous_commit = remote_apply;
SELECT pg_reload_conf();
\c -
SET search_path = fixture;
SET synchronous_commit = off;
SELECT durability_of($$ SELECT streamhouse.rebalance() $$) AS rebalance;
ALTER SYSTEM RESET synchronous_commit;
SELECT pg_reload_conf();
RESET synchronous_commit;

-- A session that checks no foreign keys checks them here.
SET session_replication_role = replica;
SELECT durability_of($$ SELECT streamhouse.rebalance() $$) IS NOT NULL AS ok;
BEGIN;
SELECT streamhouse.rebalance() IS NOT NULL AS ok;
SHOW session_replication_role;
ROLLBACK;
RESET session_replication_role;

-- How values are written and read makes no difference.
SELECT streamhouse.topics_digest() AS digest \gset
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'sql_standard';
SET timezone = 'Asia/Kolkata';
SET bytea_output = 'escape';
SET row_security = off;
SET quote_all_identifiers = on;
SET transform_null_equals = on;
SET escape_string_warning = off;
SET standard_conforming_strings = off;
SET search_path = public, fixture;
SELECT streamhouse.topics_digest() = :'digest' AS same_digest;
SELECT fixture.publish(:a, 2, ARRAY['t 0 1+2']);
SELECT streamhouse.create_topic('v', retention => '36 hours', durability => 'object') IS NOT NULL AS made;
SELECT fixture.publish(:a, 3, ARRAY['v 0 ?+2'], stretches => ARRAY['1 7.0 0+2']);
SELECT streamhouse.delete_records('t', 0, 2);
SELECT streamhouse.register_schema('s', '{"type":"record","name":"R","fields":[]}') IS NOT NULL AS registered;
SELECT fixture.failure($$ SELECT streamhouse.register_schema(E'a\x01b', '"int"') $$);
SELECT durability, retention, segments FROM (SELECT topic, durability, extract(epoch FROM retention) AS retention
                                             FROM streamhouse.topics) AS t
JOIN (SELECT topic, count(*) AS segments FROM streamhouse.segments GROUP BY topic) AS s USING (topic) ORDER BY topic;
