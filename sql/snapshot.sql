-- Snapshots of the index: when one is due, what it holds, what it keeps from being deleted, and into what it goes back.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
-- What a table holds: dump and snapshot keep the same, sequences first.
SELECT kind, name, columns FROM streamhouse.snapshot_tables() WHERE name ~ '(cluster|topic|_number|index_snapshot)$';
SELECT count(*) = (SELECT count(*) FROM pg_class WHERE relnamespace = 'streamhouse'::regnamespace AND relkind IN ('r', 'S')
    AND relname <> 'installation')
    AS all_of_them FROM streamhouse.snapshot_tables();

SELECT streamhouse.request_snapshot();
SELECT register('a', 1) AS a \gset
SELECT register('b', 2) AS b \gset
SELECT * FROM streamhouse.agent_snapshot_claim(:a);
SET streamhouse.snapshot_interval = '1h';
SELECT number, status FROM streamhouse.snapshot_status;

-- The first is due at once, and is one agent's.
SELECT * FROM streamhouse.agent_snapshot_claim(:a);
SELECT number, written_by, status FROM streamhouse.snapshot_status;
SELECT * FROM streamhouse.agent_snapshot_claim(:b);
SELECT * FROM streamhouse.agent_snapshot_claim(:a);
SELECT streamhouse.agent_snapshot_done(:a, 1, 100);
SELECT number, status FROM streamhouse.snapshot_status;
SELECT streamhouse.agent_snapshot_done(:b, 2, 100);
SELECT streamhouse.agent_snapshot_done(:a, 2, 100);
SELECT number, bytes, status FROM streamhouse.snapshot_status;
SELECT * FROM streamhouse.agent_snapshot_claim(:a);

-- The next one: asked for, after the interval, or a part of it when topics have changed.
CREATE FUNCTION pg_temp.pass(how_long interval) RETURNS void LANGUAGE sql AS $$
    UPDATE streamhouse.index_snapshot SET began_at = began_at - how_long, finished_at = finished_at - how_long,
        former_began_at = former_began_at - how_long
$$;
SELECT streamhouse.request_snapshot();
SELECT status FROM streamhouse.snapshot_status;
SELECT n AS third, streamhouse.agent_snapshot_done(:b, n, 200) AS keep_from FROM streamhouse.agent_snapshot_claim(:b) AS n;
-- One that is met is not written again, and one that is asked for while another is being written comes after it.
SELECT status FROM streamhouse.snapshot_status;
SELECT streamhouse.request_snapshot();
SELECT n AS number FROM streamhouse.agent_snapshot_claim(:b) AS n \gset
SELECT streamhouse.request_snapshot();
SELECT streamhouse.agent_snapshot_done(:b, :number, 200) AS keep_from;
SELECT status FROM streamhouse.snapshot_status;
SELECT n > :number AS again, streamhouse.agent_snapshot_done(:b, n, 200) > 0 AS kept FROM streamhouse.agent_snapshot_claim(:b) AS n;
SELECT status FROM streamhouse.snapshot_status;
-- Who asks all the time waits for three times as long as the last one took.
SELECT streamhouse.request_snapshot();
UPDATE streamhouse.index_snapshot SET took = '1 minute', finished_at = now() - interval '2 minutes';
SELECT status FROM streamhouse.snapshot_status;
UPDATE streamhouse.index_snapshot SET finished_at = now() - interval '4 minutes';
SELECT status FROM streamhouse.snapshot_status;
SELECT n > :number AS again, streamhouse.agent_snapshot_done(:b, n, 200) > 0 AS kept FROM streamhouse.agent_snapshot_claim(:b) AS n;
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT status FROM streamhouse.snapshot_status;
SELECT pg_temp.pass('2 min');
SELECT status FROM streamhouse.snapshot_status;
SELECT n AS fourth, streamhouse.agent_snapshot_done(:b, n, 200) AS keep_from FROM streamhouse.agent_snapshot_claim(:b) AS n;
SELECT pg_temp.pass('2 min');
SELECT status FROM streamhouse.snapshot_status;
SELECT pg_temp.pass('1 hour');
SELECT status FROM streamhouse.snapshot_status;

-- Garbage that the last two snapshots may still refer to stays.
SET streamhouse.garbage_grace = 0;
SELECT take(:a);
SELECT count(*) FROM publish(:a, 1, '{t 0 0+3}');
SELECT streamhouse.delete_records('t', 0, 3);
CREATE FUNCTION pg_temp.cycle() RETURNS void LANGUAGE sql AS $$ SELECT streamhouse.apply_retention() $$;
SELECT count(*) >= 0 AS done FROM (SELECT pg_temp.cycle() FROM generate_series(1, 3)) AS c;
SELECT reason, state FROM streamhouse.garbage;
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);
SELECT streamhouse.agent_snapshot_done(:a, n, 200) FROM streamhouse.agent_snapshot_claim(:a) AS n;
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);
SELECT streamhouse.request_snapshot();
SELECT streamhouse.agent_snapshot_done(:a, n, 200) FROM streamhouse.agent_snapshot_claim(:a) AS n;
SELECT state FROM streamhouse.garbage;
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);

-- No snapshot while this database may not be the one that works with the store.
SELECT streamhouse.new_term();
SELECT status FROM streamhouse.snapshot_status;
SELECT register('a', 1, 2) AS a \gset
SELECT streamhouse.request_snapshot();
SELECT * FROM streamhouse.agent_snapshot_claim(:a);

-- A rebuild only where nothing is known, and only for the owner.
SELECT streamhouse.rebuild_begin();
SET ROLE streamhouse_admin;
SELECT streamhouse.rebuild_begin();
RESET ROLE;
SELECT renew();
BEGIN;
SELECT streamhouse.rebuild_begin();
COPY streamhouse.cluster (cluster_id, term, system_identifier, timeline) FROM STDIN;
00000000-0000-0000-0000-00000000000c	4	1	1
\.
COPY streamhouse.incarnation (incarnation_id, wal_uuid, incarnation_no, agent_id, state) FROM STDIN;
17	00000000-0000-0000-0000-000000000001	5	a	live
\.
COPY streamhouse.agent (agent_id, incarnation_id, address) FROM STDIN;
a	17	a:1
\.
COPY streamhouse.lease (wal_uuid, incarnation_id, ticks_left, calls) FROM STDIN;
00000000-0000-0000-0000-000000000001	17	3	30
\.
SELECT streamhouse.rebuild_end(9, 6);
COMMIT;
SELECT term, reason, awaited_agents FROM streamhouse.term_status;
SELECT cluster_id, system_identifier <> 1 AS is_ours FROM streamhouse.cluster;
SELECT register('b', 2) >> 40 AS term;
