-- What expires by age, and is gone then, goes by time that has really passed, whatever becomes of the wall clock.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
-- Of a start of the extension: nothing has leapt.
CREATE FUNCTION fixture.hours(span interval) RETURNS int LANGUAGE sql AS $$ SELECT round(extract(epoch FROM span) / 3600)::int $$;
CREATE FUNCTION fixture.leaps(OUT ago int[], OUT leaps int[], OUT stepped boolean) LANGUAGE sql AS $$
    SELECT ARRAY(SELECT hours(now() - l) FROM unnest(c.leap_ends) AS l), ARRAY(SELECT hours(l) FROM unnest(c.leaps) AS l),
           c.stepped_at IS NOT NULL
    FROM streamhouse.server_clock AS c
$$;
-- The wall clock is set ahead by that, or back: all that is stored is of before.
CREATE FUNCTION fixture.step(ahead interval) RETURNS void LANGUAGE sql AS $$
    UPDATE streamhouse.server_clock AS c
    SET seen_at = c.seen_at - ahead, leap_ends = ARRAY(SELECT l - ahead FROM unnest(c.leap_ends) WITH ORDINALITY AS u(l, n) ORDER BY n),
        stepped_at = c.stepped_at - ahead
$$;
-- That much time passes.
CREATE FUNCTION fixture.pass(span interval) RETURNS void LANGUAGE sql AS $$
    SELECT step(span);
    UPDATE streamhouse.server_clock SET seen_at = seen_at + span
$$;
SELECT hours(streamhouse.uncounted('1 hour')), streamhouse.note_clock(), leaps(), streamhouse.clock_problem();

-- A step is left out of ages at once, and when it is noted, for as long as they reach back beyond it.
SELECT step('7 days');
SELECT hours(streamhouse.uncounted('1 hour')) AS short, hours(streamhouse.uncounted('1 year')) AS long,
       hours(now() - streamhouse.time_ago('2 hours')) AS two, leaps();
SELECT regexp_replace(streamhouse.clock_problem(), 'at about [^.]*', 'at about TIME', 'g') AS told;
SELECT hours(streamhouse.note_clock()) AS noted;
SELECT hours(streamhouse.note_clock()) AS noted_once, leaps();
-- Also for a transaction that had begun when it was noted.
BEGIN;
SELECT step('1 day');
\set VERBOSITY terse
SELECT hours(streamhouse.note_clock()) AS noted;
\set VERBOSITY default
SELECT hours(streamhouse.uncounted('1 hour')) AS both_leaps, hours(streamhouse.uncounted('1 minute')) AS both;
ROLLBACK;
SELECT subject, is_well, status LIKE 'the wall clock of the server leapt ahead by @ 7 days at about %' AS told
FROM streamhouse.health WHERE subject = 'clock';
SELECT pass('5 hours');
SELECT hours(streamhouse.uncounted('4 hours')) AS since, hours(streamhouse.uncounted('6 hours')) AS beyond, leaps();
-- A second one; what reaches beyond both is less by both.
SELECT step('10 hours');
\set VERBOSITY terse
SELECT hours(streamhouse.note_clock()) AS noted;
\set VERBOSITY default
SELECT pass('1 hour');
SELECT s AS span, hours(streamhouse.uncounted(s * interval '1 hour')) AS uncounted
FROM unnest(ARRAY[0, 1, 2, 5, 6, 7, 100, 10000]) AS s;
SELECT leaps();
SELECT streamhouse.uncounted('170000000 years') > '7 days' AS ever;

-- Turned back: a leap that is still to come is undone, all or in part.
SELECT step('-10 hours');
SELECT hours(streamhouse.uncounted('100 hours')) AS not_seen_yet;
SELECT hours(streamhouse.note_clock()) AS noted;
SELECT leaps(), hours(streamhouse.uncounted('5 hours')) AS none, hours(streamhouse.uncounted('7 hours')) AS the_first,
       streamhouse.clock_problem() IS NULL AS well;
SELECT step('-5 days');
\set VERBOSITY terse
SELECT hours(streamhouse.note_clock()) AS noted;
\set VERBOSITY default
SELECT leaps(), streamhouse.clock_problem() LIKE '%2 days%' AS told;
SELECT step('-3 days');
SELECT hours(streamhouse.note_clock()) AS noted;
SELECT leaps();
-- Small ones add up.
UPDATE streamhouse.server_clock SET leap_ends = '{}', leaps = '{}', stepped_at = NULL;
SELECT step('50 seconds');
SELECT hours(streamhouse.note_clock()) AS noted, leaps();
SELECT step('50 seconds');
SET client_min_messages = error;
SELECT date_trunc('minute', streamhouse.note_clock()) AS noted;
SELECT streamhouse.clock_problem() IS NOT NULL AS told;
SELECT pass('8 days');
SELECT streamhouse.clock_problem() IS NOT NULL AS told;
RESET client_min_messages;
-- A machine that has started since was down, for all that is known, and that is no fault of its clock. So for another one,
-- whatever its monotonic clock says.
UPDATE streamhouse.server_clock
SET leap_ends = '{}', leaps = '{}', stepped_at = NULL, seen_at = clock_timestamp() - interval '3 days', boot = 'another';
SELECT ms, hours(streamhouse.clock_ahead(jsonb_populate_record(c, jsonb_build_object('monotonic_ms', ms)))) AS ahead
FROM streamhouse.server_clock AS c, unnest(ARRAY[-1000000000000, 0, 1000000000000]) AS ms;
SELECT b.id IS NULL AS unknown, hours(streamhouse.clock_ahead(jsonb_populate_record(c, jsonb_build_object(
           'monotonic_ms', streamhouse.monotonic_ms() - 3600000, 'boot', b.id)))) AS ahead
FROM streamhouse.server_clock AS c, unnest(ARRAY[streamhouse.machine_boot(), NULL]) AS b(id);
SELECT hours(streamhouse.uncounted('1 hour')) AS down, streamhouse.clock_problem() IS NULL AS well;
SELECT hours(streamhouse.note_clock()) AS noted;
SELECT leaps(), streamhouse.clock_problem() IS NULL AS well;
-- No more are remembered than 50: the oldest become one.
SET client_min_messages = error;
DO $$
BEGIN
    FOR i IN 1 .. 60 LOOP
        PERFORM step('1 hour'), streamhouse.note_clock(), pass('1 hour');
    END LOOP;
END $$;
RESET client_min_messages;
SELECT cardinality(c.leaps) AS n, hours(c.leaps[1]) AS first, hours(c.leaps[50]) AS last, hours(l.sum) AS all
FROM streamhouse.server_clock AS c, LATERAL (SELECT sum(u) FROM unnest(c.leaps) AS u) AS l;

-- A database that was rebuilt from a snapshot of before has no row: nothing is known to have leapt.
DELETE FROM streamhouse.server_clock;
SELECT streamhouse.uncounted('1 hour'), streamhouse.clock_problem() IS NULL AS well, streamhouse.note_clock() IS NULL AS made;
SELECT leaps();

-- What goes by it: each is an hour old, but for a leap of 14 days, and then as old as it must be.
SELECT streamhouse.create_topic('t', retention => '2 days') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT register('b', 2) AS b \gset
SELECT streamhouse.rebalance() >= 0 AS is_placed;
UPDATE streamhouse.partition SET target_agent = 'a';
SELECT take(:a);
SELECT count(*) FROM publish(:a, 1, '{t 0 0+10}');
SELECT count(*) FROM publish(:a, 2, '{t 0 10+10}');
INSERT INTO streamhouse.producer VALUES (7, now(), true), (8, now(), true);
SELECT register('c', 3) > 0 AS c;
UPDATE streamhouse.lease SET ticks_left = 0 WHERE incarnation_id IN (:a, :b);
SELECT streamhouse.force_seal('t', 0);
INSERT INTO streamhouse.producer_claim SELECT topic('t'), 0, 7, 0, latest_epoch('t', 0) + 1, 3;
INSERT INTO streamhouse.object (object_id, object_key, incarnation_id, bytes, state)
VALUES (md5('gone')::uuid, 'gone', :a, 1, 'abandoned');
INSERT INTO streamhouse.object_deletion (object_id, reason) VALUES (md5('gone')::uuid, 'abandoned');
CREATE FUNCTION fixture.stamp(age interval) RETURNS void LANGUAGE sql AS $$
    UPDATE streamhouse.segment SET max_timestamp_ms = 0, arrived_ms = (extract(epoch FROM now() - age) * 1000)::bigint;
    UPDATE streamhouse.producer SET used_at = now() - age;
    UPDATE streamhouse.epoch SET forced_at = now() - age WHERE forced;
    UPDATE streamhouse.producer_claim SET claimed_at = now() - age;
    UPDATE streamhouse.lease SET renewed_at = now() - age;
    UPDATE streamhouse.object_deletion SET since = now() - age;
    UPDATE streamhouse.term SET began_at = now() - age;
$$;
CREATE FUNCTION fixture.left_of(OUT segments int, OUT ids int, OUT claims int, OUT unresolved int, OUT retired int,
                                OUT garbage text, OUT due int) LANGUAGE plpgsql AS $$
BEGIN
    unresolved := (SELECT count(*) FROM streamhouse.unresolved_epoch);
    PERFORM streamhouse.expire_producers(100);
    ids := (SELECT count(*) FROM streamhouse.producer);
    claims := (SELECT count(*) FROM streamhouse.producer_claim);
    PERFORM streamhouse.apply_retention();
    segments := (SELECT count(*) FROM streamhouse.segment);
    garbage := (SELECT state FROM streamhouse.garbage WHERE object_key = 'gone');
    due := (SELECT count(*) FROM streamhouse.incarnation AS i, streamhouse.agent_garbage(i.incarnation_id, 10)
            WHERE i.agent_id = 'c');
    retired := streamhouse.retire_silent_agents();
END $$;
UPDATE streamhouse.server_clock SET leap_ends = '{}', leaps = '{}', stepped_at = NULL;
SET streamhouse.garbage_grace = 7200000;
SELECT step('14 days');
SELECT stamp('14 days 1 hour');
SELECT * FROM left_of();
SET client_min_messages = error;
SELECT hours(streamhouse.note_clock());
RESET client_min_messages;
SELECT * FROM left_of();
SELECT stamp('14 days 47 hours');
SELECT segments, due, garbage FROM left_of();
SELECT stamp('14 days 49 hours');
SELECT segments, ids, claims, unresolved FROM left_of();
SELECT stamp('21 days 1 hour');
SELECT * FROM left_of();
-- And so do the hold of a snapshot that cannot be made, and ids of an older term.
SET streamhouse.snapshot_interval = 60000;
SELECT age, streamhouse.is_snapshot_overdue(jsonb_populate_record(NULL::streamhouse.index_snapshot,
           jsonb_build_object('failures', 1, 'waits_since', now() - age::interval))) AS overdue
FROM unnest(ARRAY['14 days 1 hour', '21 days 1 hour']) AS age;
SELECT streamhouse.new_term();
SELECT stamp('14 days 1 hour'), streamhouse.adopt_producers('{99}');
SELECT producer_id FROM streamhouse.producer WHERE producer_id IN (98, 99);
SELECT stamp('21 days 1 hour'), streamhouse.adopt_producers('{98}');
SELECT producer_id FROM streamhouse.producer WHERE producer_id IN (98, 99);
