-- Idempotent producers: ids, what is remembered of them, claims, and the check of object topics.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SET streamhouse.offset_range = 1000;
SELECT streamhouse.create_topic('t', partitions => 1) IS NOT NULL AS made;
SELECT streamhouse.create_topic('o', partitions => 1, durability => 'object') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
CREATE VIEW state AS
SELECT fixture.topic_name(topic_id) AS topic, producer_id AS id, producer_epoch AS ep, base_sequences,
       sequence_counts, base_offsets
FROM streamhouse.producer_state ORDER BY 1, 2;

-- Ids have the term in their high bits, and below it what nobody can guess.
SELECT producer_id >> 52 AS term, producer_epoch FROM streamhouse.agent_init_producer(:a);
CREATE FUNCTION ids(incarnation bigint) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
BEGIN
    FOR n IN 1 .. 100 LOOP
        RETURN QUERY SELECT producer_id FROM streamhouse.agent_init_producer(incarnation);
    END LOOP;
END
$$;
SELECT count(DISTINCT i) AS ids, to_hex(bit_or(i & ((1::bigint << 52) - 1))) AS set_in_some,
       bit_and(i & ((1::bigint << 52) - 1)) AS set_in_all, min(i >> 52), max(i >> 52) FROM ids(:a) AS i;
DROP FUNCTION ids;
SELECT streamhouse.agent_init_producer(99);
-- There are bounds.
SELECT streamhouse.producers_counted();
SET streamhouse.producers_max = 101;
SELECT streamhouse.agent_init_producer(:a);
\echo :SQLSTATE
-- The oldest with which no batch has come makes room, but not for who comes a moment later; it is the same number then.
CREATE FUNCTION aged(ids bigint[], old interval) RETURNS void LANGUAGE sql AS $$
    UPDATE streamhouse.producer SET used_at = now() - old WHERE producer_id = ANY (ids)
$$;
BEGIN;
UPDATE streamhouse.producer SET used_at = now();
SELECT array_agg(producer_id) AS ids FROM (SELECT producer_id FROM streamhouse.producer ORDER BY producer_id LIMIT 3) AS p \gset
SELECT (:'ids'::bigint[])[1] AS one, (:'ids'::bigint[])[2] AS two, (:'ids'::bigint[])[3] AS three \gset
SELECT is_known FROM streamhouse.agent_lookup_producers(:a, ARRAY[topic('t')], '{0}', ARRAY[:one]);
SELECT aged(ARRAY[:one], '50 minutes'), aged(ARRAY[:two], '20 seconds'), aged(ARRAY[:three], '30 seconds');
SELECT count(*) FROM streamhouse.agent_init_producer(:a);
SELECT producer_id = :one AS one, producer_id = :two AS two FROM streamhouse.producer
WHERE producer_id IN (:one, :two, :three) ORDER BY 1 DESC;
SELECT is_known FROM streamhouse.agent_lookup_producers(:a, ARRAY[topic('t')], '{0}', ARRAY[:three]);
SELECT count(*) FROM streamhouse.agent_init_producer(:a);
SELECT failure(format('SELECT streamhouse.agent_init_producer(%s)', :a)) IS NULL AS given;
SELECT count(*), streamhouse.producers_counted() FROM streamhouse.producer;
COMMIT;
RESET streamhouse.producers_max;
-- Else it is forgotten after an hour; one with a batch, or with state, is not.
SELECT array_agg(producer_id) AS ids FROM (SELECT producer_id FROM streamhouse.producer WHERE NOT has_batches LIMIT 2) AS p \gset
SELECT aged(:'ids', '59 minutes'), aged(ARRAY[:one], '2 hours');
SELECT streamhouse.expire_producers(100);
SELECT aged(:'ids', '61 minutes');
INSERT INTO streamhouse.producer_state (topic_id, partition, producer_id, producer_epoch, base_sequences, sequence_counts, base_offsets)
SELECT topic('t'), 0, (:'ids'::bigint[])[2], 0, '{}', '{}', '{}';
SELECT streamhouse.expire_producers(100);
SELECT producer_id = (:'ids'::bigint[])[2] AS has_state, has_batches FROM streamhouse.producer
WHERE producer_id = ANY (:'ids');
SELECT count(*) FROM streamhouse.producer WHERE producer_id = :one;
DELETE FROM streamhouse.producer_state;
DROP FUNCTION aged;
-- What an owner learns of one that it does not know.
INSERT INTO streamhouse.producer SELECT generate_series(5, 30);
SELECT * FROM streamhouse.agent_lookup_producers(:a, ARRAY[topic('t'), topic('t')], '{0,0}', '{5,4}');

-- Stretches that continue each other become one; the last five are kept.
SELECT * FROM publish(:a, 1, '{t 0 0+10}', stretches => '{1 5.0 0+4@0,1 6.0 0+2@4,1 5.0 4+4@6}');
SELECT * FROM state;
SELECT * FROM publish(:a, 2, '{t 0 10+10}', stretches => '{1 5.0 8+2@10,1 6.0 2+1@12}');
SELECT * FROM state;
SELECT * FROM publish(:a, 3, '{t 0 20+10}',
    stretches => '{1 5.0 10+1@20,1 5.0 11+1@22,1 5.0 12+1@24,1 5.0 13+1@26,1 5.0 14+1@28}');
SELECT * FROM state WHERE id = 5;

-- Published again in another shape, it is the same; what is refused leaves nothing; a newer epoch replaces.
SELECT * FROM publish(:a, 4, '{t 0 25+10,t 0 60+10}', stretches => '{1 5.0 13+6@26,2 8.0 0+10@60}');
SELECT * FROM state;
SELECT * FROM publish(:a, 5, '{t 0 35+2}', stretches => '{1 6.1 0+2@35}');
SELECT * FROM state WHERE id = 6;

-- Sequences begin again behind the last.
SELECT * FROM publish(:a, 6, '{t 0 37+4}', stretches => '{1 9.0 2147483646+2@37,1 9.0 0+2@39}');
SELECT * FROM state WHERE id = 9;
SELECT streamhouse.sequence_distance(1, 2147483647), streamhouse.sequence_distance(2147483647, 1),
       streamhouse.sequence_distance(5, 5);

-- An id that has state is known, and is not forgotten for that it was asked for long ago.
SELECT * FROM streamhouse.agent_lookup_producers(:a, ARRAY[topic('t'), topic('o'), topic('t')], '{0,0,0}', '{5,5,9}');
-- What the next owner is told: the producers that wrote last.
UPDATE streamhouse.producer_state SET updated_at = now() - interval '1 day' WHERE producer_id = 6;
SELECT ordinal, unresolved, producer_id, producer_epoch, base_sequence, sequence_count, base_offset
FROM streamhouse.agent_producer_state(:a, ARRAY[topic('o'), topic('t')], '{0,0}', '{9,9}', 2);

-- Object topics: in order, also within one call; each batch is a run.
SELECT * FROM publish(:a, 7, '{o 0 ?+2,o 0 ?+3,o 0 ?+1,o 0 ?+2,o 0 ?+1,o 0 ?+1}',
    stretches => '{1 5.0 0+2,2 5.0 2+3,4 5.0 0+2,5 5.0 6+1,6 7.0 3+1}');
SELECT * FROM publish(:a, 8, '{o 0 ?+2,o 0 ?+1,o 0 ?+3,o 0 ?+1,o 0 ?+1,o 0 ?+4}',
    stretches => '{1 5.0 0+2,2 5.1 1+1,3 5.0 3+3,4 5.1 0+1,5 5.0 5+1,6 5.1 1+4}');
SELECT result FROM publish(:a, 80, '{o 0 ?+1}', stretches => '{1 4.0 0+1}');
SELECT * FROM state WHERE topic = 'o';
SELECT first_offset, last_offset, records FROM streamhouse.segments WHERE topic = 'o' ORDER BY 1;
SELECT published_end, records FROM streamhouse.partitions WHERE topic = 'o';
-- A lost answer is given again.
SELECT * FROM publish(:a, 8, '{o 0 ?+2,o 0 ?+1,o 0 ?+3,o 0 ?+1,o 0 ?+1,o 0 ?+4}',
    stretches => '{1 5.0 0+2,2 5.1 1+1,3 5.0 3+3,4 5.1 0+1,5 5.0 5+1,6 5.1 1+4}');
-- A duplicate whose place is forgotten has no offset.
UPDATE streamhouse.producer_state SET base_sequences = '{100}', sequence_counts = '{1}', base_offsets = '{7}'
WHERE topic_id = topic('o');
SELECT * FROM publish(:a, 9, '{o 0 ?+1}', stretches => '{1 5.1 3+1}');

-- Nonsense.
\set VERBOSITY terse
SELECT publish(:a, 10, '{t 0 41+1}', stretches => '{2 5.0 19+1@41}');
SELECT publish(:a, 10, '{t 0 41+1}', stretches => '{1 5.40000 19+1@41}');
\set VERBOSITY default

-- A takeover: b claims while a's epoch is unresolved.
SELECT register('b', 2) AS b \gset
UPDATE streamhouse.lease SET ticks_left = 0 WHERE incarnation_id = :a;
SELECT streamhouse.rebalance() IS NOT NULL AS moved;
SELECT epoch AS old FROM streamhouse.epoch WHERE topic_id = topic('t') \gset
SELECT take(:b);
SELECT latest_epoch('t', 0) AS new \gset
SELECT DISTINCT unresolved FROM streamhouse.agent_producer_state(:b, ARRAY[topic('t')], '{0}', ARRAY[:new], 10);
-- Published up to 18: the claim of 19 is made, that of 17 comes too late, as does the older epoch of 6.
SELECT * FROM streamhouse.agent_claim(:b, array_fill(topic('t'), '{4}'), '{0,0,0,0}', array_fill(:new::bigint, '{4}'),
    '{5,5,6,10}', '{0,1,0,0}', '{19,0,2,7}');
SELECT producer_id, producer_epoch, first_unacked_seq FROM streamhouse.producer_claim ORDER BY 1, 2;
-- Asked again: the same.
SELECT DISTINCT ordinal, claimed_from FROM streamhouse.agent_claim(:b, ARRAY[topic('t')], '{0}', ARRAY[:new], '{5}',
    '{0}', '{19}');
SELECT DISTINCT ordinal, claimed_from FROM streamhouse.agent_claim(:b, ARRAY[topic('t')], '{0}', ARRAY[:new], '{9}',
    '{0}', '{1}');

-- Every way in which a late stretch can lie to the claim of 19: what has a claimed sequence is refused.
CREATE FUNCTION late(base int, count int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM streamhouse.check_claims(ARRAY[topic('t')], '{0}', ARRAY(SELECT min(epoch) FROM streamhouse.epoch
                                     WHERE topic_id = topic('t')), '{1}', '{5}', '{0}', ARRAY[base], ARRAY[count]);
    RETURN 'passes';
EXCEPTION WHEN SQLSTATE 'SH010' THEN RETURN 'refused';
END
$$;
SELECT base, count, streamhouse.sequences_before(base, count, 19) AS before, late(base, count)
FROM (VALUES (10, 9), (18, 1), (10, 10), (18, 2), (10, 20), (19, 1), (19, 5), (20, 3),
             (2147483647, 19), (2147483647, 20), (2147483647, 21)) AS v(base, count);
SELECT streamhouse.sequences_before(2147483645, 10, 2147483645) AS none,
       streamhouse.sequences_before(2147483645, 10, 1) AS some, streamhouse.sequences_before(2147483645, 10, 7) AS all;
DROP FUNCTION late;

-- The late publish is refused until it leaves out what was claimed.
\set VERBOSITY terse
SELECT publish(:a, 11, ARRAY['t 0 @' || (:old & 1099511627775) || ' 41+4'], stretches => '{1 5.0 19+2@41,1 10.0 5+2@43}');
\echo :SQLSTATE
\set VERBOSITY default
SELECT * FROM streamhouse.agent_claims(:a, ARRAY[topic('t'), topic('t')], '{0,0}', ARRAY[:old, :new]);
SELECT * FROM publish(:a, 11, ARRAY['t 0 @' || (:old & 1099511627775) || ' void 41+2',
                                    't 0 @' || (:old & 1099511627775) || ' 43+2'], stretches => '{2 10.0 5+2@43}');
-- The same sequences are the new epoch's to store.
SELECT * FROM publish(:b, 1, '{t 0 1000+2}', stretches => '{1 5.0 19+2@1000}');
SELECT * FROM state WHERE topic = 't' AND id IN (5, 10);
-- An owner that has given up what it knew asks again: what is published is not claimed, nor is less than was.
CREATE FUNCTION claimed(producer bigint, producer_epoch int, sequence int) RETURNS int LANGUAGE sql AS $$
    SELECT DISTINCT c.claimed_from FROM streamhouse.epoch AS e,
        streamhouse.agent_claim(e.incarnation_id, ARRAY[e.topic_id], '{0}', ARRAY[e.epoch], ARRAY[producer],
                                ARRAY[producer_epoch], ARRAY[sequence]) AS c
    WHERE e.topic_id = topic('t') AND e.state = 'open'
$$;
SELECT claimed(5, 0, 19) AS published, claimed(5, 0, 20) AS "within", claimed(5, 0, 21) AS behind,
       claimed(10, 0, 6) AS published_late, claimed(10, 0, 7) AS behind_that;
SELECT claimed(12, 0, 3) AS made, claimed(12, 0, 1) AS below, claimed(12, 0, 4) AS above, claimed(12, 1, 0) AS newer;
BEGIN;
SELECT * FROM publish(:b, 2, '{t 0 1002+1}', stretches => '{1 12.1 0+1@1002}');
SELECT claimed(12, 0, 3) AS older, claimed(12, 1, 0) AS published, claimed(12, 1, 1) AS behind;
ROLLBACK;
DROP FUNCTION claimed;
DELETE FROM streamhouse.producer_claim WHERE producer_id = 12;

-- Leftovers of a forced seal stand above what their producer has sent since, and yet before it in its sequences.
SELECT claimed_from FROM streamhouse.agent_claim(:b, ARRAY[topic('t')], '{0}', ARRAY[:new::bigint], '{11}', '{0}', '{3}');
SELECT * FROM publish(:b, 2, '{t 0 1002+2}', stretches => '{1 11.0 3+2@1002}');
-- The time in which they may come counts from the forced end, and does not end while they come.
UPDATE streamhouse.epoch SET orphaned_at = now() - interval '8 days' WHERE state = 'orphaned';
UPDATE streamhouse.producer_claim SET claimed_at = now() - interval '8 days';
SELECT streamhouse.force_seal('t', 0) IS NOT NULL AS forced;
SELECT epoch = :old AS is_old FROM streamhouse.unresolved_epoch WHERE topic_id = topic('t');
SELECT streamhouse.expire_producers(100);
SELECT count(*) FROM streamhouse.producer_claim;
BEGIN;
UPDATE streamhouse.epoch SET forced_at = now() - interval '8 days' WHERE forced;
SELECT count(*) FROM streamhouse.unresolved_epoch WHERE topic_id = topic('t');
SELECT count(*) FROM streamhouse.agent_leftover(:a, ARRAY[topic('t')], '{0}', ARRAY[:old::bigint]);
SELECT epoch = :old AS is_old FROM streamhouse.unresolved_epoch WHERE topic_id = topic('t') ORDER BY epoch;
ROLLBACK;
SELECT epoch AS left, start_offset AS at FROM streamhouse.agent_leftover(:a, ARRAY[topic('t')], '{0}',
    ARRAY[:old::bigint]) \gset
SELECT result FROM publish(:a, 12, ARRAY['t 0 @' || (:left & 1099511627775) || ' ' || :at || '+2'],
    stretches => ARRAY['1 11.0 1+2@' || :at]);
SELECT base_sequences, sequence_counts, base_offsets[1] > base_offsets[2] AS above
FROM streamhouse.producer_state WHERE producer_id = 11;

-- A topic that becomes `object` while an epoch of it is unresolved: the ownerless epoch claims as an owner does.
SELECT streamhouse.create_topic('w', partitions => 1) IS NOT NULL AS made;
SELECT register('d', 4) AS d \gset
UPDATE streamhouse.partition SET target_agent = 'd' WHERE topic_id = topic('w');
SELECT take(:d);
SELECT latest_epoch('w', 0) AS w_old \gset
UPDATE streamhouse.lease SET ticks_left = 0 WHERE incarnation_id = :d;
SELECT streamhouse.alter_topic('w', durability => 'object');
SELECT state, durability FROM streamhouse.epochs WHERE topic = 'w' ORDER BY epoch;
-- The retry of two batches whose first answers were lost; one that comes too early; one that is acknowledged; one
-- that is known to be in the other epoch up to there; one that was never there before.
SELECT * FROM publish(:b, 3, '{w 0 ?+2,w 0 ?+1,w 0 ?+1,w 0 ?+1,w 0 ?+1,w 0 ?+1}',
    stretches => '{1 20.0 0+2~0,2 20.0 2+1~0,3 21.0 5+1~4,4 22.0 5+1~6,5 23.0 5+1~5,6 24.0 0+1~0}');
SELECT producer_id, first_unacked_seq FROM streamhouse.producer_claim WHERE topic_id = topic('w') ORDER BY 1;
SELECT * FROM publish(:b, 4, '{w 0 ?+2,w 0 ?+1,w 0 ?+1,w 0 ?+1}',
    stretches => '{1 20.0 1+2~0,2 20.0 3+1~0,3 21.0 4+1~4,4 23.0 4+1~4}');
-- Its WAL comes back with all of that: what was claimed is refused, what was not goes in.
\set VERBOSITY terse
SELECT publish(:d, 1, ARRAY['w 0 @' || (:w_old & 1099511627775) || ' 0+2'], stretches => '{1 20.0 0+2@0}');
\set VERBOSITY default
SELECT result FROM publish(:d, 1, ARRAY['w 0 @' || (:w_old & 1099511627775) || ' 0+5',
                                        'w 0 @' || (:w_old & 1099511627775) || ' void 5+1'], stretches => '{1 23.0 0+5@0}');
SELECT seal(:d, '{recover}');
SELECT * FROM publish(:b, 5, '{w 0 ?+1,w 0 ?+1}', stretches => '{1 25.0 3+1~3,2 23.0 6+1~6}');
SELECT id, base_sequences, sequence_counts FROM state WHERE topic = 'w';

-- Producers that write no more are forgotten, by steps: their state once an hour, and ids that have none.
UPDATE streamhouse.producer_expiry SET checked_at = now() - interval '2 hours';
SELECT count(*) FROM state;
UPDATE streamhouse.producer_state SET updated_at = now() - interval '8 days' WHERE producer_id IN (5, 9);
UPDATE streamhouse.producer SET used_at = now() - interval '8 days' WHERE producer_id IN (6, 7, 8, 10, 11, 12);
SELECT streamhouse.expire_producers(3);
SELECT producer_id IS NOT NULL AS is_at_it, checked_at > now() - interval '1 hour' AS is_through
FROM streamhouse.producer_expiry;
SELECT streamhouse.expire_producers(3) FROM generate_series(1, 9);
SELECT producer_id IS NOT NULL AS is_at_it, checked_at > now() - interval '1 hour' AS is_through
FROM streamhouse.producer_expiry;
SELECT topic, id FROM state;
SELECT producer_id, used_at < now() - interval '1 day' AS is_old FROM streamhouse.producer WHERE producer_id < 20
ORDER BY 1;
SELECT streamhouse.producers_counted() = count(*) FROM streamhouse.producer;
-- Until they are counted again, each that is forgotten is one less: here two that were used and three that were not.
BEGIN;
INSERT INTO streamhouse.producer SELECT 100 + n, now() - interval '8 days', n <= 2 FROM generate_series(1, 5) AS n;
SELECT streamhouse.producers_counted() AS counted \gset
SELECT streamhouse.expire_producers(100);
SELECT streamhouse.producers_counted() - :counted AS counted FROM streamhouse.producer_expiry WHERE checked_at < now();
ROLLBACK;
-- The clock was turned back: unused ids of before that make room, behind those that are old by any clock; used ones do not.
BEGIN;
UPDATE streamhouse.producer SET used_at = now() + interval '30 seconds', has_batches = false;
UPDATE streamhouse.producer SET used_at = now() + interval '1 day' WHERE producer_id IN (15, 16);
UPDATE streamhouse.producer SET has_batches = true WHERE producer_id = 16;
UPDATE streamhouse.producer SET used_at = now() - interval '20 seconds' WHERE producer_id = 17;
SELECT streamhouse.make_room_for_id();
SELECT producer_id FROM streamhouse.producer WHERE producer_id IN (15, 16, 17) ORDER BY 1;
SELECT streamhouse.make_room_for_id();
SELECT producer_id FROM streamhouse.producer WHERE producer_id IN (15, 16, 17) ORDER BY 1;
SELECT streamhouse.make_room_for_id();
SELECT seen FROM streamhouse.forget_ids(true, now() - interval '7 days', 10);
ROLLBACK;
-- A claim stays as long as anything can be late for it.
UPDATE streamhouse.producer_claim SET claimed_at = now() - interval '8 days';
SELECT streamhouse.expire_producers(100);
SELECT fixture.topic_name(topic_id) AS topic, count(*) FROM streamhouse.producer_claim GROUP BY 1;

-- A dropped topic takes them along.
SELECT streamhouse.drop_topic('t');
SELECT topic, id FROM state;
SELECT count(*) FROM streamhouse.producer_claim;

-- In a new term: that batches had come with an older id may be forgotten. So it makes no room, whatever the clock of the
-- server that gave it, until all have come who may have some, or for as long as producers are remembered.
SELECT streamhouse.new_term();
CREATE FUNCTION makes_room(id bigint, since interval, settled_at timestamptz DEFAULT NULL) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM streamhouse.producer;
    UPDATE streamhouse.term SET began_at = now() - since, settled_at = makes_room.settled_at;
    INSERT INTO streamhouse.producer VALUES (id, now() - interval '20 minutes');
    RETURN streamhouse.make_room_for_id();
END
$$;
BEGIN;
SELECT makes_room(40, '10 minutes') AS older, makes_room(40, '1 hour') AS older_by_a_fast_clock,
       makes_room((2::bigint << 52) + 40, '1 hour') AS of_this_term, makes_room(40, '10 minutes', now()) AS settled,
       makes_room(40, '8 days') AS long_ago;
ROLLBACK;
DROP FUNCTION makes_room;
-- An id that may be one of those that were lost is not refused for good where there is no room for it: it may have room later,
-- when a batch of it is published that came before. What is published already shows that the id was given.
SELECT register('a', 1, 2) AS a \gset
SET streamhouse.producers_max = 1;
INSERT INTO streamhouse.producer_state (topic_id, partition, producer_id, producer_epoch, base_sequences, sequence_counts, base_offsets)
VALUES (topic('w'), 0, 42, 0, '{0}', '{2}', '{0}');
SELECT ordinal, is_known, base_sequence FROM streamhouse.agent_lookup_producers(:a, array_fill(topic('w'), '{3}'), '{0,0,0}',
    ARRAY[41, 42, (2::bigint << 52) + 41]);
SELECT ordinal, is_known, base_sequence FROM streamhouse.agent_claim(:a, array_fill(topic('w'), '{3}'), '{0,0,0}', '{1,1,1}',
    ARRAY[41, 42, (2::bigint << 52) + 41], '{0,0,0}', '{0,0,0}');
SELECT * FROM publish(:a, 1, '{o 0 ?+1,o 0 ?+1}', stretches => ARRAY['1 41.0 0+1', format('2 %s.0 0+1', (2::bigint << 52) + 41)]);
RESET streamhouse.producers_max;
SELECT ordinal, is_known FROM streamhouse.agent_lookup_producers(:a, ARRAY[topic('w'), topic('w')], '{0,0}',
    ARRAY[41, (2::bigint << 52) + 41]);
DROP VIEW state;
