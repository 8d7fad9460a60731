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
SELECT streamhouse.agent_snapshot_done(:a, 1, 100) IS NULL AS counts_for_nothing;
SELECT number, status FROM streamhouse.snapshot_status;
SELECT streamhouse.agent_snapshot_done(:b, 2, 100) IS NULL AS counts_for_nothing;
SELECT streamhouse.agent_snapshot_done(:a, 2, 100), streamhouse.agent_snapshot_done(:a, 2, 100) AS again;
SELECT number, bytes, status FROM streamhouse.snapshot_status;
SELECT * FROM streamhouse.agent_snapshot_claim(:a);

-- The next one: asked for, after the interval, or a part of it when topics have changed.
CREATE FUNCTION pg_temp.pass(how_long interval) RETURNS void LANGUAGE sql AS $$
    UPDATE streamhouse.index_snapshot SET began_at = began_at - how_long, finished_at = finished_at - how_long,
        former_began_at = former_began_at - how_long
$$;
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '2 seconds';
SELECT streamhouse.request_snapshot();
SELECT status FROM streamhouse.snapshot_status;
SELECT n AS third, streamhouse.agent_snapshot_done(:b, n, 200) AS keep_from FROM streamhouse.agent_snapshot_claim(:b) AS c(n);
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT status FROM streamhouse.snapshot_status;
SELECT pg_temp.pass('2 min');
SELECT status FROM streamhouse.snapshot_status;
SELECT n AS fourth, streamhouse.agent_snapshot_done(:b, n, 200) AS keep_from FROM streamhouse.agent_snapshot_claim(:b) AS c(n);
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
SELECT streamhouse.agent_snapshot_done(:a, n, 200) FROM streamhouse.agent_snapshot_claim(:a) AS c(n);
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '2 seconds';
SELECT streamhouse.request_snapshot();
SELECT streamhouse.agent_snapshot_done(:a, n, 200) FROM streamhouse.agent_snapshot_claim(:a) AS c(n);
SELECT state FROM streamhouse.garbage;
-- Not by a clock: one that was turned back makes older what the snapshots refer to.
BEGIN;
UPDATE streamhouse.object_deletion SET since = since - interval '1 hour', made_by = DEFAULT;
SELECT state FROM streamhouse.garbage;
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);
ROLLBACK;
-- Nor is a snapshot late for longer than that.
BEGIN;
UPDATE streamhouse.index_snapshot SET finished_at = now() + interval '30 minutes';
SELECT status FROM streamhouse.snapshot_status;
ROLLBACK;
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);
-- Whoever asks again and again before it begins gets one; one that is being written does not count.
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '2 seconds';
SELECT streamhouse.request_snapshot() FROM generate_series(1, 3);
SELECT requests - answered AS asked FROM streamhouse.index_snapshot;
SELECT n > 0 AS claimed FROM streamhouse.agent_snapshot_claim(:a) AS c(n);
SELECT streamhouse.request_snapshot() FROM generate_series(1, 3);
SELECT streamhouse.agent_snapshot_done(:a, s.attempt, 200) > 0 AS done FROM streamhouse.index_snapshot AS s;
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '2 seconds';
SELECT status, requests - answered AS asked FROM streamhouse.snapshot_status, streamhouse.index_snapshot;
SELECT streamhouse.agent_snapshot_done(:a, n, 200) > 0 AS done FROM streamhouse.agent_snapshot_claim(:a) AS c(n);
SELECT status FROM streamhouse.snapshot_status;

-- Whoever asks, or changes topics, all the time keeps agents busy for a quarter of it at most, and gets one a second.
SELECT streamhouse.request_snapshot();
SELECT status FROM streamhouse.snapshot_status;
SELECT * FROM streamhouse.agent_snapshot_claim(:a);
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '2 seconds';
SELECT status FROM streamhouse.snapshot_status;
SELECT c.number FROM streamhouse.agent_snapshot_claim(:a) AS c \gset
UPDATE streamhouse.index_snapshot SET claimed_at = claimed_at - interval '1 minute';
SELECT streamhouse.agent_snapshot_done(:a, :number, 200) > 0 AS done;
SELECT streamhouse.request_snapshot(), streamhouse.create_topic('u') IS NOT NULL AS made;
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '175 seconds';
SELECT status FROM streamhouse.snapshot_status;
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '10 seconds';
SELECT status FROM streamhouse.snapshot_status;
SELECT c.number FROM streamhouse.agent_snapshot_claim(:a) AS c \gset
SELECT streamhouse.agent_snapshot_done(:a, :number, 200) > 0 AS done;

-- A claim is kept by renewing it, for as long as that may take; what its agent does not renew goes on elsewhere.
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '2 seconds';
SELECT streamhouse.request_snapshot();
SELECT c.number FROM streamhouse.agent_snapshot_claim(:a) AS c \gset
UPDATE streamhouse.index_snapshot SET claimed_until = now() + interval '1 second';
SELECT streamhouse.agent_snapshot_renew(:a, :number), streamhouse.agent_snapshot_renew(:a, :number - 1) AS older,
       streamhouse.agent_snapshot_renew(:b, :number) AS others;
SELECT claimed_until - now() > interval '9 minutes' AS renewed FROM streamhouse.index_snapshot;
SELECT failures FROM streamhouse.snapshot_status;
UPDATE streamhouse.index_snapshot SET claimed_until = now() - interval '1 second';
SELECT c.number - :number AS next FROM streamhouse.agent_snapshot_claim(:b) AS c;
SELECT streamhouse.agent_snapshot_renew(:a, :number);
SELECT status, failures, replace(failure, :'number', 'N') AS failure FROM streamhouse.snapshot_status;

-- One that fails is tried again, less and less often, and is seen.
SELECT streamhouse.agent_snapshot_failed(:a, :number + 1, 'not its own');
SELECT streamhouse.agent_snapshot_failed(:b, :number + 1, 'the store is full');
SELECT status, failures, failed_at IS NOT NULL AS at, failure FROM streamhouse.snapshot_status;
SELECT is_well FROM streamhouse.health WHERE subject = 'snapshots';
SELECT * FROM streamhouse.agent_snapshot_claim(:b);
CREATE FUNCTION pg_temp.fail(agent bigint) RETURNS interval LANGUAGE plpgsql AS $$
DECLARE waited interval := '0';
BEGIN
    LOOP
        PERFORM streamhouse.agent_snapshot_failed(agent, c.number, 'the store is full')
        FROM streamhouse.agent_snapshot_claim(agent) AS c WHERE c.number > 0;
        EXIT WHEN FOUND;
        UPDATE streamhouse.index_snapshot SET failed_at = failed_at - interval '1 second';
        waited := waited + interval '1 second';
    END LOOP;
    RETURN waited;
END $$;
SELECT pg_temp.fail(:b) FROM generate_series(1, 4);
UPDATE streamhouse.index_snapshot SET failures = 2000;
SELECT pg_temp.fail(:b);
SELECT is_well, regexp_replace(status, '20[-0-9]+ [0-9]+:[0-9]+', 'T') AS status FROM streamhouse.health WHERE subject = 'snapshots';

-- Those that are kept hold up deletion for no longer than snapshot_hold then, and are given up: but not before they are gone.
CREATE FUNCTION pg_temp.make_garbage(agent bigint, no int) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM fixture.publish(agent, no, ARRAY[format('t 0 %s+3', 3 * (no - 1))]);
$$;
SELECT streamhouse.agent_garbage_done(:a, ARRAY(SELECT object_id FROM streamhouse.garbage)) AS deleted;
SELECT pg_temp.make_garbage(:a, 2);
SELECT streamhouse.delete_records('t', 0, 6);
SELECT count(*) >= 0 AS done FROM (SELECT pg_temp.cycle() FROM generate_series(1, 3)) AS c;
SELECT state FROM streamhouse.garbage;
SET streamhouse.snapshot_hold = '1d';
UPDATE streamhouse.index_snapshot SET waits_since = now() - interval '23 hours';
SELECT c.give_up_below FROM streamhouse.agent_snapshot_claim(:a) AS c;
SELECT streamhouse.agent_snapshots_gone(:a, 1000);
SELECT state FROM streamhouse.garbage;
UPDATE streamhouse.index_snapshot SET waits_since = now() - interval '25 hours';
SET streamhouse.snapshot_hold = 0;
SELECT c.give_up_below FROM streamhouse.agent_snapshot_claim(:a) AS c;
SET streamhouse.snapshot_hold = '1d';
-- A clock that was set forward is no reason: one must have failed.
BEGIN;
UPDATE streamhouse.index_snapshot SET failures = 0;
SELECT c.number > 0 AS writes, c.give_up_below FROM streamhouse.agent_snapshot_claim(:a) AS c;
ROLLBACK;
SELECT c.number, c.give_up_below - s.attempt AS below FROM streamhouse.agent_snapshot_claim(:a) AS c, streamhouse.index_snapshot AS s;
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);
SELECT attempt + 1 AS below FROM streamhouse.index_snapshot \gset
SELECT streamhouse.agent_snapshots_gone(:a, :below);
SELECT number, given_up_at IS NOT NULL AS given_up FROM streamhouse.snapshot_status;
SELECT state FROM streamhouse.garbage;
SELECT is_well, regexp_replace(status, '20[-0-9]+ [0-9]+:[0-9]+', 'T') AS status FROM streamhouse.health WHERE subject = 'snapshots';
-- One that is being written then keeps what becomes garbage meanwhile, for as long as it may take.
UPDATE streamhouse.index_snapshot SET failed_at = now() - interval '1 hour';
SELECT c.number FROM streamhouse.agent_snapshot_claim(:b) AS c \gset
SELECT pg_temp.make_garbage(:a, 3);
SELECT streamhouse.delete_records('t', 0, 9);
SELECT count(*) >= 0 AS done FROM (SELECT pg_temp.cycle() FROM generate_series(1, 3)) AS c;
SELECT state FROM streamhouse.garbage;
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);
BEGIN;
UPDATE streamhouse.index_snapshot SET claimed_at = now() - interval '25 hours';
SELECT streamhouse.agent_snapshot_renew(:b, :number);
SELECT streamhouse.agent_snapshot_failed(:b, :number, 'it took too long');
SELECT state, count(*) FROM streamhouse.garbage GROUP BY state;
ROLLBACK;
-- The next one that is finished makes all well. One that is being written in time is not given up with the others.
SELECT streamhouse.agent_snapshot_done(:b, :number, 200) = :number AS done;
SELECT status, failures, failure, given_up_at FROM streamhouse.snapshot_status;
SELECT is_well FROM streamhouse.health WHERE subject = 'snapshots';
SELECT state, count(*) FROM streamhouse.garbage GROUP BY state ORDER BY state;
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '2 seconds';
SELECT streamhouse.request_snapshot();
SELECT pg_temp.fail(:b);
UPDATE streamhouse.index_snapshot SET failed_at = now() - interval '1 hour';
SELECT c.number FROM streamhouse.agent_snapshot_claim(:b) AS c \gset
UPDATE streamhouse.index_snapshot SET waits_since = now() - interval '25 hours';
SELECT c.give_up_below = :number AS below_it FROM streamhouse.agent_snapshot_claim(:a) AS c;
SELECT streamhouse.agent_snapshot_done(:b, :number, 200) < :number AS done;
-- Finished meanwhile: the older ones that were to be given up are none of its.
SELECT streamhouse.agent_snapshots_gone(:a, :number);
SELECT number = :number AS kept, given_up_at FROM streamhouse.snapshot_status;
-- One whose agent does not go on is given up with them, and cannot be finished any more: its parts are being deleted.
UPDATE streamhouse.index_snapshot SET finished_at = finished_at - interval '2 seconds';
SELECT streamhouse.request_snapshot();
SELECT pg_temp.fail(:b);
UPDATE streamhouse.index_snapshot SET failed_at = now() - interval '1 hour';
SELECT c.number FROM streamhouse.agent_snapshot_claim(:b) AS c \gset
UPDATE streamhouse.index_snapshot SET waits_since = now() - interval '25 hours', claimed_until = now() - interval '1 second';
SELECT c.give_up_below - :number AS with_it FROM streamhouse.agent_snapshot_claim(:a) AS c;
SELECT streamhouse.agent_snapshot_renew(:b, :number), streamhouse.agent_snapshot_done(:b, :number, 200) IS NULL AS counts_for_nothing;
SELECT status, failures, replace(failure, :'number', 'N') AS failure FROM streamhouse.snapshot_status;
SELECT streamhouse.agent_snapshots_gone(:a, :number + 1);
SELECT number, given_up_at IS NOT NULL AS given_up FROM streamhouse.snapshot_status;
RESET streamhouse.snapshot_hold;

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
