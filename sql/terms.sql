-- A new term: everything is handed back, readers wait at the boundary, and what was forgotten is presented.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result, published_end FROM publish(:a, 1, '{t 0 0+10}');
SELECT streamhouse.deletion_allowed();

CREATE FUNCTION first_term(n bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT (1::bigint << 40) + n $$;
CREATE FUNCTION ranges() RETURNS TABLE (term bigint, number bigint, state text, durability text, starts bigint,
                                        ends bigint, limits bigint, published bigint)
LANGUAGE sql AS $$
    SELECT epoch >> 40, epoch & ((1::bigint << 40) - 1), state, durability, start_offset, end_offset, limit_offset,
           published_end
    FROM streamhouse.epochs ORDER BY epoch
$$;
CREATE FUNCTION present(incarnation bigint, n int, agent text, object text, epoch bigint, first bigint, count int,
                        starts bigint, is_last boolean DEFAULT false, producer_seq int DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
    SELECT result FROM streamhouse.agent_present_object(
        incarnation, wal(n), agent, md5(object)::uuid, object, 1000, is_last, true, 0, ARRAY[topic('t')], '{0}', ARRAY[epoch],
        ARRAY[first], ARRAY[count], ARRAY[count], '{64}', '{500}', '{1}', '{2}', '{f}',
        CASE WHEN producer_seq IS NULL THEN '{}' ELSE '{1}'::int[] END,
        CASE WHEN producer_seq IS NULL THEN '{}' ELSE '{7}'::bigint[] END,
        CASE WHEN producer_seq IS NULL THEN '{}' ELSE '{0}'::int[] END,
        CASE WHEN producer_seq IS NULL THEN '{}' ELSE ARRAY[producer_seq] END,
        CASE WHEN producer_seq IS NULL THEN '{}' ELSE ARRAY[count] END,
        CASE WHEN producer_seq IS NULL THEN '{}' ELSE ARRAY[first] END,
        ARRAY[starts], '{f}')
$$;

-- The agent has seen more than the database knows of.
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT term, awaited_agents, presented, deletion_allowed, status FROM streamhouse.term_status;
SELECT * FROM ranges();
SELECT streamhouse.deletion_allowed();
SELECT streamhouse.agent_awaited(:a);
-- Another one of the same past finds the term begun; a new one has nothing to present.
SELECT register('b', 2, 5, 700) AS b \gset
SELECT register('c', 3) AS c \gset
SELECT term, awaited_agents FROM streamhouse.term_status;

-- Objects: of a known epoch, of a forgotten one, out of order, of a WAL that never came.
SELECT * FROM streamhouse.agent_unknown_keys(:a, '{1/1,lost-1,lost-2}');
-- An object of this term is its writer's to publish.
SELECT * FROM streamhouse.agent_unknown_keys(:a, ARRAY['0a/b/7/1-x.seg', '0a/b/' || :a || '/1-x.seg']);
SELECT present(:a, 1, 'a', 'lost-2', first_term(1), 20, 5, 0);
SELECT present(:a, 1, 'a', 'lost-1', first_term(1), 10, 10, 0, false, 0);
SELECT present(:a, 1, 'a', 'lost-2', first_term(1), 20, 5, 0);
SELECT present(:a, 1, 'a', 'lost-2', first_term(1), 20, 5, 0);
SELECT present(:a, 1, 'a', 'again', first_term(1), 12, 8, 0);
SELECT present(:a, 2, 'b', 'of-b', first_term(2), 25, 5, 25);
SELECT present(:a, 4, 'd', 'of-d', first_term(3), 30, 5, 30);
SELECT present(:a, 4, 'd', 'not-of-d', first_term(1), 25, 5, 25);
SELECT present(:a, 4, 'd', 'inside', first_term(9), 3, 5, 3);
SELECT present(:a, 1, 'a', 'far', first_term(1), 90, 5, 0, true);
-- The chain of what began where shows which epochs were sealed.
SELECT * FROM ranges();
SELECT producer_id, base_sequences, sequence_counts, base_offsets FROM streamhouse.producer_state;
-- An id of the older term may be one that was forgotten; one of this term, or of a later one, was not given.
SELECT l.is_known FROM streamhouse.agent_lookup_producers(:a, array_fill(topic('t'), '{4}'), '{0,0,0,0}',
    ARRAY[7, (1::bigint << 52) + 5, (2::bigint << 52) + 5, (3::bigint << 52) + 5]) AS l;

-- A WAL that holds more of it, and a forgotten epoch above everything: the boundary makes room.
SELECT result, start_offset, published_end FROM
    streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{27}');
SELECT result, start_offset, published_end FROM
    streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(4)], '{2000000000000}');
SELECT result FROM streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(1)], '{0}');
SELECT * FROM ranges() WHERE number IN (0, 4);
SELECT published_end FROM streamhouse.read_bounds(ARRAY[topic('t')], '{0}');

-- Nobody crosses before all are done, and the time of a lease is over.
SELECT seal(:a, '{recover}');
SELECT streamhouse.agent_presented(:a, 0);
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked FROM generate_series(1, streamhouse.lease_ticks());
SELECT term, awaited_agents, presented, status FROM streamhouse.term_status;
SELECT seal(:b, '{recover}');
SELECT streamhouse.agent_presented(:b, 3);
SELECT status FROM streamhouse.term_status;
SELECT streamhouse.accept_term_boundary();
SELECT status, accepted, deletion_allowed FROM streamhouse.term_status;
SELECT streamhouse.deletion_allowed();
SELECT streamhouse.accept_term_boundary(allow_deletion => true, force => true);
SELECT streamhouse.deletion_allowed();
-- Of the agent that has not come, readers wait for the epoch; one that is not known comes too late.
SELECT * FROM ranges();
SELECT present(:a, 4, 'd', 'too-late', first_term(8), 500, 5, 500);
SELECT streamhouse.agent_awaited(:a);
-- New ranges lie far above.
SELECT rebalance > 0 AS moved FROM streamhouse.rebalance();
UPDATE streamhouse.partition SET target_agent = 'a';
SELECT take(:a);
SELECT term, number, state, starts FROM ranges() WHERE term = 2;

-- By hand, and again while one is not settled.
SELECT streamhouse.new_term();
SELECT streamhouse.new_term();
SELECT streamhouse.agent_heartbeat(:a, 0);
\echo :SQLSTATE
SELECT term, awaited_agents, status FROM streamhouse.term_status;
SELECT register('a', 1, 3, 1 + (2::bigint << 40)) AS a \gset
SELECT term, term_status.reason FROM streamhouse.term_status;

-- A database that knows nothing: what comes back has an owner, and counts that are true.
SELECT renew();
SELECT register('a', 1, 1, 1000) AS a \gset
SELECT present(:a, 1, 'a', 'lost-1', first_term(1), 0, 10, 0);
SELECT present(:a, 1, 'a', 'lost-2', first_term(2), 20, 5, 20);
SELECT present(:a, 1, 'a', 'lost-3', first_term(2), 25, 5, 20);
CREATE FUNCTION recovered() RETURNS TABLE (topic text, records bigint, bytes bigint, target text, base bigint[])
LANGUAGE sql AS $$
    SELECT p.topic, p.records, p.bytes, p.target,
           ARRAY(SELECT e.records_base FROM streamhouse.epoch AS e WHERE e.topic_id = p.topic_id ORDER BY e.epoch)
    FROM streamhouse.partitions AS p
$$;
SELECT * FROM recovered();
SELECT seal(:a, '{recover}');
SELECT streamhouse.agent_presented(:a, 0);
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked FROM generate_series(1, streamhouse.lease_ticks() - 1);
SELECT * FROM recovered();
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked;
SELECT status FROM streamhouse.term_status;
SELECT take(:a);
SELECT * FROM recovered();
SELECT streamhouse.delete_records((SELECT topic FROM streamhouse.topics), 0, 27);
SELECT * FROM recovered();
SELECT streamhouse.delete_records((SELECT topic FROM streamhouse.topics), 0, -1);
SELECT * FROM recovered();

-- A database as it was an hour ago: of what was compacted since, objects that it has no use for may be the only copy.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}');
UPDATE streamhouse.incarnation SET registered_at = registered_at - interval '1 hour';
UPDATE streamhouse.object SET created_at = created_at - interval '1 hour';
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT present(:a, 1, 'a', 'merged', first_term(1), 0, 10, 0);
SELECT seal(:a, '{recover}');
SELECT streamhouse.agent_presented(:a, 3);
UPDATE streamhouse.term SET unreadable = 0;
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked FROM generate_series(1, streamhouse.lease_ticks());
SELECT status, deletion_allowed FROM streamhouse.term_status;
UPDATE streamhouse.term SET unresolved = 3; -- as found before it was settled
SELECT object_key, reason FROM streamhouse.garbage;
SELECT regexp_replace(failure('SELECT streamhouse.accept_term_boundary(allow_deletion => true)'),
                      '\d{4}-\d\d-\d\d [0-9:.+]+|[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d [0-9:.]+ \d{4} [A-Z]+', '(time)', 'g');
SELECT streamhouse.accept_term_boundary();
SELECT streamhouse.deletion_allowed();
SELECT streamhouse.accept_term_boundary(allow_deletion => true, force => true);
SELECT streamhouse.deletion_allowed(), status FROM streamhouse.term_status;

-- A WAL had uploaded what follows an object that is not in the store. What it publishes then has a place: what it
-- cannot publish has none, whoever presents afterwards, and whatever term begins meanwhile.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}');
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT register('b', 2, 1, 1000) AS b \gset
SELECT present(:b, 1, 'a', 'second', first_term(1), 15, 5, 0, true);
SELECT present(:b, 1, 'a', 'fourth', first_term(1), 25, 5, 0, true);
SELECT present(:b, 3, 'c', 'of-another', first_term(1), 10, 5, 10, true);
SELECT present(:b, 1, 'a', 'of-no-offsets', first_term(1), NULL, 2, 0, true);
SELECT streamhouse.agent_presented(:b, 1);
CREATE FUNCTION unplaced() RETURNS TABLE (unresolved bigint, objects text)
LANGUAGE sql AS $$
    SELECT (SELECT t.unresolved FROM streamhouse.term_status AS t ORDER BY t.term DESC LIMIT 1),
           string_agg(o.key, ' ' ORDER BY o.key)
    FROM streamhouse.unplaced_run
    JOIN unnest('{second,fourth,of-another,of-no-offsets,forced}'::text[]) AS o(key) ON md5(o.key)::uuid = object_id
$$;
SELECT * FROM unplaced();
SELECT result FROM publish(:a, 1, '{t 0 @1 10+15}');
SELECT streamhouse.agent_presented(:a, 1);
SELECT * FROM unplaced();
SELECT streamhouse.new_term();
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked;
SELECT term, unresolved FROM streamhouse.term_status;
-- What is void, by the WAL's damage or a claim, is nowhere.
SELECT register('a', 1, 3, 1 + (3::bigint << 40)) AS a \gset
SELECT result FROM publish(:a, 1, '{t 0 @1 25+3,t 0 @1 void 28+2}');
SELECT streamhouse.force_seal('t', 0, first_term(1));
SELECT present(:a, 1, 'a', 'forced', first_term(1), 30, 5, 0, true);
SELECT streamhouse.agent_presented(:a, 0);
SELECT * FROM unplaced();
-- Beyond a forced end it has another epoch.
SELECT start_offset AS starts FROM streamhouse.agent_leftover(:a, ARRAY[topic('t')], '{0}', ARRAY[first_term(1)]) \gset
SELECT result FROM publish(:a, 2, ARRAY[format('t 0 %s+5', :starts)]);
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked;
SELECT * FROM unplaced();
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked FROM generate_series(1, streamhouse.lease_ticks());
SELECT settled_at IS NULL AS waits, term_status.status FROM streamhouse.term_status ORDER BY term DESC LIMIT 1;
SELECT streamhouse.drop_topic('t');
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked;
SELECT * FROM unplaced();

-- A number that was in use: the store knows of another beginning of it, or of a later one. Whoever acted in that is not
-- mistaken for anybody here.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT count(*) AS to_take FROM streamhouse.agent_term_to_take(:a);
SELECT streamhouse.agent_term_taken(:a, 5);
SELECT take(:a);
SELECT streamhouse.new_term();
SELECT register('b', 2) AS b \gset
SELECT t.number, t.body = format(E'streamhouse term 2 %s %s\n', c.cluster_id, t.nonce) AS says_so
FROM streamhouse.agent_term_to_take(:b) AS t, streamhouse.cluster AS c;
SELECT streamhouse.agent_term_taken(:b, 4);
SELECT streamhouse.agent_term_to_take(:b);
\echo :SQLSTATE
SELECT term, reason, awaited_agents FROM streamhouse.term_status;
SELECT register('b', 2, 2, 1 + (2::bigint << 40)) AS b \gset
-- Terms 3 and 4, too, may have given out offsets, each a gap above the one before it.
SELECT term, number, state, starts, (limits - starts) / streamhouse.term_gap() AS gaps FROM ranges();
SELECT number FROM streamhouse.agent_term_to_take(:b);
SELECT streamhouse.agent_term_taken(:b, 4);
SELECT count(*) AS to_take FROM streamhouse.agent_term_to_take(:b);
-- It is taken: what another agent finds there now came later, and sees this one.
SELECT streamhouse.agent_term_taken(:b, 5);
SELECT term FROM streamhouse.cluster;

-- An epoch of which the store holds only what follows: it begins where its WAL says, and readers have not been there.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}');
SELECT register('b', 2, 1, 1000) AS b \gset
SELECT present(:b, 1, 'a', 'first', first_term(2), 60, 20, 60);
SELECT present(:b, 1, 'a', 'third', first_term(3), 80, 5, 80);
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT result FROM streamhouse.agent_seal(:a, ARRAY[topic('t')], '{0}', ARRAY[first_term(1)], '{10}', '{f}');
SELECT number, state, starts, ends, published FROM ranges() WHERE number BETWEEN 1 AND 3;
SELECT published_end FROM streamhouse.read_bounds(ARRAY[topic('t')], '{0}');
SELECT first_offset FROM streamhouse.read_index(topic('t'), 0, 0, 10);
SELECT first_offset FROM streamhouse.find_timestamps(ARRAY[topic('t')], '{0}', '{1}', '{10}');
-- Offsets below an epoch are no duplicates, whatever its published end is.
SELECT result FROM publish(:a, 1, '{t 0 @3 70+10}');
SELECT present(:b, 1, 'a', 'below', first_term(2), 40, 20, 40, true);
-- Another WAL has nothing to say of it, and nobody makes it begin in another epoch.
SELECT result, start_offset FROM
    streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{40}');
SELECT result, start_offset FROM
    streamhouse.agent_present_epochs(:a, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{9}');
SELECT result, start_offset, published_end FROM
    streamhouse.agent_present_epochs(:a, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{40}');
SELECT number, state, starts, ends, published FROM ranges() WHERE number BETWEEN 1 AND 3;
SELECT first_offset, end_offset, records FROM streamhouse.unplaced_run ORDER BY first_offset;
SELECT object_key, reason FROM streamhouse.garbage;
SELECT result, published_end FROM publish(:a, 2, '{t 0 @2 40+20,t 0 @2 60+20}');
SELECT seal(:a, '{recover}');
SELECT streamhouse.agent_presented(:a, 0);
SELECT streamhouse.agent_presented(:b, 0);
SELECT published_end FROM streamhouse.read_bounds(ARRAY[topic('t')], '{0}');
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked FROM generate_series(1, streamhouse.lease_ticks());
SELECT status FROM streamhouse.term_status;
SELECT published_end > 85 AS crossed FROM streamhouse.read_bounds(ARRAY[topic('t')], '{0}');
SELECT first_offset, last_offset FROM streamhouse.read_index(topic('t'), 0, 0, 10);
-- Once readers have gone on it does not begin lower any more.
SELECT streamhouse.new_term() AS term;
SELECT register('a', 1, 3, 1 + (3::bigint << 40)) AS a \gset
SELECT result, start_offset FROM
    streamhouse.agent_present_epochs(:a, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{30}');

-- What has no place is not deleted along with the rest, whether it is known to the index as an object or not.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}');
SELECT register('b', 2, 1, 1000) AS b \gset
SELECT present(:b, 1, 'a', 'behind-a-gap', first_term(1), 15, 5, 0, true);
SELECT object_key, reason FROM streamhouse.garbage;
SELECT failure('SELECT streamhouse.accept_term_boundary(allow_deletion => true)');
SELECT settled_at, accepted FROM streamhouse.term_status;
SELECT streamhouse.accept_term_boundary();
SELECT failure('SELECT streamhouse.accept_term_boundary(allow_deletion => true)');
UPDATE streamhouse.object_deletion SET since = since - interval '1 year';
SELECT object_key FROM streamhouse.agent_garbage(:b, 10);
SELECT streamhouse.deletion_allowed();
SELECT streamhouse.accept_term_boundary(allow_deletion => true, force => true);
SELECT streamhouse.deletion_allowed();
SELECT object_key FROM streamhouse.agent_garbage(:b, 10);

-- The database has forgotten that a producer went on in a later epoch: what its first owner's WAL brings is there twice,
-- whoever comes first, and an agent makes it void before readers get there.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}');
SELECT register('b', 2, 1, 1000) AS b \gset
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT result FROM streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{1000}');
-- Sequences 5 and 6 of producer 7 in both; 5 comes in the later epoch first, 6 in the older one. 4 and another
-- producer's are in one alone.
SELECT result FROM publish(:b, 1, '{t 0 @2 1000+2}', stretches => '{1 7.0 5+1@1000,1 8.0 3+1@1001}');
SELECT result FROM publish(:a, 1, '{t 0 @1 10+5}', stretches => '{1 7.0 4+3@10,1 8.0 1+2@13}');
SELECT producer_id, producer_epoch, epoch - first_term(0) AS epoch, first_seq, end_seq FROM streamhouse.late_sequences
ORDER BY producer_id, epoch;
SELECT first_offset, end_offset FROM streamhouse.stored_twice;
SELECT result FROM publish(:b, 2, '{t 0 @2 1002+1}', stretches => '{1 7.0 6+1@1002}');
SELECT first_offset, end_offset FROM streamhouse.stored_twice;
SELECT base_sequences, sequence_counts, base_offsets FROM streamhouse.producer_state WHERE producer_id = 7;
SELECT seal(:a, '{recover}'), seal(:b, '{recover}');
SELECT streamhouse.agent_presented(:a, 0), streamhouse.agent_presented(:b, 0);
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked FROM generate_series(1, streamhouse.lease_ticks());
SELECT status FROM streamhouse.term_status;
SELECT published_end FROM streamhouse.read_bounds(ARRAY[topic('t')], '{0}');
SELECT records, published_end, partitions.status FROM streamhouse.partitions;
-- One segment of it at a time.
SELECT void_from, void_end, first_offset, base_offset, last_offset, epoch = first_term(1) AS older, object_key = :a || '/1' AS is_of_a,
       length, records FROM streamhouse.agent_next_twice(:a);
SELECT streamhouse.agent_void_twice(:a, topic('t'), 0, 11, 12, 10, 14, 'another', '{}', '{}', '{}', '{}');
SELECT streamhouse.agent_void_twice(:a, topic('t'), 0, 11, 12, 10, 14, :a || '/1', '{10,12}', '{10,14}', '{10,50}', '{1,3}');
-- What was found since the agent asked is left; and another agent that read the segment at the same time comes too late.
SELECT streamhouse.agent_void_twice(:b, topic('t'), 0, 11, 12, 10, 14, :a || '/1', '{10,12}', '{10,14}', '{10,50}', '{1,3}');
SELECT void_from, void_end, first_offset, last_offset FROM streamhouse.agent_next_twice(:a);
SELECT streamhouse.agent_void_twice(:a, topic('t'), 0, 11, 13, 12, 14, :a || '/1', '{13}', '{14}', '{50}', '{2}');
SELECT * FROM streamhouse.agent_next_twice(:a);
SELECT live_rows FROM streamhouse.object WHERE object_key = :a || '/1';
SELECT base_sequences, sequence_counts, base_offsets FROM streamhouse.producer_state WHERE producer_id = 7;
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked;
SELECT status FROM streamhouse.term_status;
SELECT first_offset, last_offset, epoch - first_term(0) AS epoch, records FROM streamhouse.read_index(topic('t'), 0, 0, 10);
SELECT records FROM streamhouse.partitions;
SELECT (SELECT count(*) FROM streamhouse.late_sequences) + (SELECT count(*) FROM streamhouse.epoch WHERE held_at IS NOT NULL) AS kept;
-- Nothing is left of a segment, or the segment is gone.
SELECT streamhouse.new_term() AS term;
SELECT register('b', 2, 2, 1 + (3::bigint << 40)) AS b \gset
SELECT register('a', 1, 3, 1 + (3::bigint << 40)) AS a \gset
SELECT result FROM streamhouse.agent_present_epochs(:a, ARRAY[topic('t')], '{0}', ARRAY[first_term(5)], '{5000}');
SELECT result FROM streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(6)], '{6000}');
SELECT result FROM publish(:a, 1, '{t 0 @5 5000+2}', stretches => '{1 9.0 0+2@5000}');
SELECT result FROM publish(:b, 1, '{t 0 @6 6000+2}', stretches => '{1 9.0 0+2@6000}');
BEGIN;
SELECT void_from, void_end FROM streamhouse.agent_next_twice(:b);
SELECT streamhouse.agent_void_twice(:b, topic('t'), 0, 5000, 5002, 5000, 5001, :a || '/1', '{}', '{}', '{}', '{}');
SELECT object_key = :a || '/1' AS of_a, reason FROM streamhouse.garbage;
SELECT base_offsets FROM streamhouse.producer_state WHERE producer_id = 9;
SELECT count(*) FROM streamhouse.agent_next_twice(:b);
ROLLBACK;
DELETE FROM streamhouse.segment WHERE first_offset = 5000;
SELECT count(*) FROM streamhouse.agent_next_twice(:b);

-- What is left over of an epoch that was sealed by force meanwhile counts as of that epoch.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}');
SELECT register('b', 2, 1, 1000) AS b \gset
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT result FROM streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{1000}');
SELECT streamhouse.force_seal('t', 0, first_term(1));
SELECT start_offset AS starts FROM streamhouse.agent_leftover(:a, ARRAY[topic('t')], '{0}', ARRAY[first_term(1)]) \gset
SELECT result FROM publish(:b, 1, '{t 0 @2 1000+1}', stretches => '{1 7.0 5+1@1000}');
SELECT result FROM publish(:a, 1, ARRAY[format('t 0 %s+2', :starts)], stretches => ARRAY[format('1 7.0 4+2@%s', :starts)]);
SELECT first_offset - :starts AS first_offset, end_offset - :starts AS end_offset FROM streamhouse.stored_twice;

-- Ownerless epochs. The runs are written as 'topic partition @epoch first+count', with '?' for an offset that nobody
-- knows, or '@term.epoch'; those of topics whose names begin with o have no offsets in their objects.
CREATE FUNCTION present_runs(incarnation bigint, n int, agent text, object text, runs text[], is_last boolean DEFAULT false,
                             starts bigint DEFAULT 0)
RETURNS text LANGUAGE sql AS $$
    WITH parsed AS (
        SELECT r.n, regexp_match(r.run, '^(\S+) (\d+) @(?:(\d+)\.)?(\d+) (\d+|\?)\+(\d+)$') AS m
        FROM unnest(runs) WITH ORDINALITY AS r(run, n)
    ), a AS (
        SELECT array_agg(topic(m[1]) ORDER BY r.n) AS topics, array_agg(m[2]::int ORDER BY r.n) AS parts,
               array_agg((coalesce(m[3], '1')::bigint << 40) + m[4]::bigint ORDER BY r.n) AS epochs,
               array_agg(nullif(m[5], '?')::bigint ORDER BY r.n) AS firsts, array_agg(m[6]::bigint ORDER BY r.n) AS counts,
               array_agg(r.n * 100) AS positions, array_agg(0::bigint) AS zeros, array_agg(false) AS voids,
               array_agg(starts) AS starts, array_agg(m[1] ~ '^o' ORDER BY r.n) AS ownerless
        FROM parsed AS r
    )
    SELECT string_agg(p.result, ' ' ORDER BY p.ordinal)
    FROM a, LATERAL streamhouse.agent_present_object(
        incarnation, wal(n), agent, md5(object)::uuid, object, 1000, is_last, true, 0, a.topics, a.parts, a.epochs, a.firsts,
        a.counts, a.counts, a.positions, a.counts, a.zeros, a.zeros, a.voids, '{}', '{}', '{}', '{}', '{}', '{}',
        a.starts, a.ownerless) AS p
$$;
-- In what order two agents have published there shows in the offsets, not in whose objects they are.
SELECT renew();
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT result, published_end FROM publish(:a, 1, '{o 0 ?+100}');
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT present_runs(:a, 1, 'a', 'third', '{o 0 @1 108+2,o 0 @1 110+2}');
SELECT present_runs(:a, 2, 'b', 'second', '{o 0 @1 104+2,o 0 @1 106+2}');
SELECT present_runs(:a, 1, 'a', 'with-a-hole', '{o 0 @1 100+2,o 0 @1 103+1}');
SELECT present_runs(:a, 1, 'a', 'first', '{o 0 @1 100+2,o 0 @1 102+2}');
SELECT present_runs(:a, 1, 'a', 'third', '{o 0 @1 108+2,o 0 @1 110+2}');
SELECT present_runs(:a, 2, 'b', 'second', '{o 0 @1 104+2,o 0 @1 106+2}');
SELECT present_runs(:a, 1, 'a', 'third', '{o 0 @1 108+2,o 0 @1 110+2}');

-- Whoever comes first does not know what the other one's object was given, and so has no place for what follows it.
SELECT renew();
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('b', 2) AS b \gset
SELECT take(:b);
SELECT register('a', 1) AS a \gset
SELECT result, published_end FROM publish(:b, 1, '{t 0 0+10,o 0 ?+104}', object => 'known-of-b');
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT register('b', 2, 2, 1000) AS b \gset
SELECT present_runs(:a, 2, 'b', 'of-b', '{t 0 @1 10+5,o 0 @1 ?+2}');
SELECT present_runs(:a, 1, 'a', 'of-a', '{o 0 @1 106+1,o 0 @1 107+1}');
SELECT present_runs(:a, 1, 'a', 'of-a', '{o 0 @1 106+1,o 0 @1 107+1}', true);
SELECT present_runs(:a, 1, 'a', 'tells', '{o 0 @1 4+1}');
SELECT present_runs(:a, 3, 'c', 'of-c', '{o 0 @1 5+1}');
SELECT streamhouse.agent_presented(:a, 0);
SELECT object_key, live_rows, reason FROM streamhouse.object LEFT JOIN streamhouse.object_deletion USING (object_id)
WHERE publish_no = 0 ORDER BY 1;
-- The other one presents that again, and what may tell its results.
SELECT * FROM streamhouse.agent_unknown_keys(:b, '{new,of-a,of-b,of-c,known-of-b,tells}');
SELECT present_runs(:b, 1, 'a', 'of-a', '{o 0 @1 106+1,o 0 @1 107+1}');
SELECT present_runs(:b, 2, 'b', 'of-b', '{t 0 @1 10+5,o 0 @1 104+2}');
SELECT present_runs(:b, 1, 'a', 'of-a', '{o 0 @1 106+1,o 0 @1 107+1}');
SELECT present_runs(:b, 1, 'a', 'of-a', '{o 0 @1 106+1,o 0 @1 107+1}');
SELECT object_key, live_rows, reason FROM streamhouse.object LEFT JOIN streamhouse.object_deletion USING (object_id)
WHERE publish_no = 0 ORDER BY 1;
SELECT * FROM streamhouse.agent_unknown_keys(:b, '{new,of-a,of-b,tells}');
SELECT seal(:b, '{recover}');
SELECT streamhouse.agent_presented(:b, 0);
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked FROM generate_series(1, streamhouse.lease_ticks());
SELECT status FROM streamhouse.term_status;
SELECT first_offset, last_offset FROM streamhouse.read_index(topic('o'), 0, 0, 10);
SELECT first_offset, last_offset FROM streamhouse.read_index(topic('t'), 0, 0, 10);

-- Whatever of other epochs comes in between, and however many parts a batch was sent anew in.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}');
SELECT register('b', 2, 1, 1000) AS b \gset
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT register('c', 3, 1, 1000) AS c \gset
SELECT result FROM streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{19}');
SELECT result FROM streamhouse.agent_present_epochs(:c, ARRAY[topic('t')], '{0}', ARRAY[first_term(3)], '{3000}');
SELECT result FROM publish(:a, 1, '{t 0 @1 10+8}', stretches => '{1 7.0 4+3@10,1 8.0 5+2@15,1 9.0 2+1@17}');
SELECT result FROM publish(:a, 2, '{t 0 @1 18+1}', stretches => '{1 9.0 3+1@18}');
SELECT result FROM publish(:c, 1, '{t 0 @3 3000+13}', stretches =>
    '{1 7.0 20+1@3000,1 8.0 6+1@3001,1 7.0 21+1@3002,1 9.1 0+1@3003,1 7.0 22+1@3004,1 7.0 23+1@3006,1 7.0 24+1@3008,1 7.0 25+1@3010,
      1 6.0 0+1@3012}');
SELECT producer_id, producer_epoch, epoch - first_term(0) AS epoch, first_seq, end_seq, base_sequences, sequence_counts, base_offsets
FROM streamhouse.late_sequences ORDER BY producer_id, producer_epoch, epoch;
SELECT first_offset, end_offset FROM streamhouse.stored_twice;
SELECT result FROM publish(:b, 1, '{t 0 @2 19+6}', stretches => '{1 6.0 0+1@19,1 7.0 5+2@20,1 8.0 5+1@22,1 9.0 2+2@23}');
SELECT first_offset, end_offset FROM streamhouse.stored_twice ORDER BY first_offset;
SELECT void_from, void_end, first_offset, last_offset FROM streamhouse.agent_next_twice(:b);
SELECT streamhouse.agent_void_twice(:b, topic('t'), 0, 11, 13, 10, 17, :a || '/1', '{10,13}', '{10,17}', '{10,80}', '{1,5}');
SELECT void_from, void_end, first_offset, last_offset FROM streamhouse.agent_next_twice(:b);
-- What lies in the next segment is left to do.
SELECT streamhouse.agent_void_twice(:b, topic('t'), 0, 15, 20, 13, 17, :a || '/1', '{13}', '{14}', '{50}', '{2}');
SELECT void_from, void_end, first_offset, last_offset FROM streamhouse.agent_next_twice(:b);
SELECT streamhouse.agent_void_twice(:b, topic('t'), 0, 18, 20, 18, 18, :a || '/2', '{}', '{}', '{}', '{}');
-- What adjoins may begin in the epoch before.
SELECT streamhouse.agent_void_twice(:b, topic('t'), 0, 18, 20, 19, 24, :b || '/1', '{20}', '{24}', '{60}', '{5}');
SELECT count(*) FROM streamhouse.agent_next_twice(:b);
SELECT first_offset, last_offset, epoch - first_term(0) AS epoch FROM streamhouse.segment WHERE first_offset >= 10 ORDER BY 1;

-- Sent anew to an ownerless epoch, of which the database has forgotten what was published there, and the claim with it.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}');
SELECT expire('a') IS NOT NULL AS expired;
SELECT streamhouse.alter_topic('t', durability => 'object');
SELECT register('b', 2, 1, 1000) AS b \gset
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT start_offset AS starts FROM streamhouse.epoch WHERE epoch = first_term(2) \gset
SELECT number, state, durability, published - starts AS published FROM ranges();
BEGIN;
SELECT present(:b, 2, 'b', 'of-o2', first_term(2), :starts, 2, :starts, producer_seq => 5);
SELECT result FROM publish(:a, 1, '{t 0 @1 10+4}', stretches => '{1 7.0 4+4@10}');
SELECT first_offset, end_offset FROM streamhouse.stored_twice;
ROLLBACK;
SELECT result FROM publish(:a, 1, '{t 0 @1 10+4}', stretches => '{1 7.0 4+4@10}');
SELECT present(:b, 2, 'b', 'of-o2', first_term(2), :starts, 2, :starts, producer_seq => 5);
SELECT first_offset, end_offset FROM streamhouse.stored_twice;
SELECT epoch - first_term(0) AS epoch, first_seq, end_seq, base_sequences, sequence_counts, base_offsets
FROM streamhouse.late_sequences ORDER BY epoch;
-- What readers have seen is not void, whatever shape it is published in again.
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT result FROM publish(:a, 1, '{t 0 0+10}', stretches => '{1 7.0 0+10@0}');
SELECT register('b', 2, 1, 1000) AS b \gset
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT result FROM streamhouse.agent_present_epochs(:b, ARRAY[topic('t')], '{0}', ARRAY[first_term(2)], '{1000}');
SELECT result, first_offset FROM publish(:a, 1, '{t 0 @1 8+4}', stretches => '{1 7.0 8+4@8}');
SELECT result FROM publish(:b, 1, '{t 0 @2 1000+3}', stretches => '{1 7.0 9+3@1000}');
SELECT first_offset, end_offset FROM streamhouse.stored_twice;

-- A forgotten ownerless epoch is everybody's, and begins with the lowest run of all, whoever knows that.
SELECT renew();
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT register('b', 2) AS b \gset
SELECT register('a', 1) AS a \gset
SELECT result, published_end FROM publish(:b, 1, '{o 0 ?+10}');
SELECT register('a', 1, 2, 1000) AS a \gset
SELECT register('b', 2, 2, 1000) AS b \gset
SELECT present_runs(:a, 1, 'a', 'known', '{o 0 @1 10+2}', false, 22);
SELECT present_runs(:a, 1, 'a', 'of-a', '{o 0 @1 12+1,o 0 @7 22+2}', false, 22);
SELECT present_runs(:a, 3, 'c', 'of-c', '{o 0 @7 24+2}', false, 22);
CREATE FUNCTION forgotten() RETURNS TABLE (state text, durability text, starts bigint, ends_with_the_gap boolean, held bigint,
                                           published bigint)
LANGUAGE sql AS $$
    SELECT e.state, e.durability, e.start_offset, e.limit_offset = 10 + streamhouse.term_gap(), e.held_at, v.published_end
    FROM streamhouse.epoch AS e JOIN streamhouse.epochs AS v USING (topic_id, partition, epoch) WHERE e.epoch = first_term(7)
$$;
SELECT * FROM forgotten();
-- While another agent may come, or its offsets are not known, all may have to be presented again.
SELECT * FROM streamhouse.agent_unknown_keys(:b, '{known,of-a,of-b,of-c}');
UPDATE streamhouse.term_awaited SET presented_at = now() WHERE wal_uuid = wal(1);
SELECT * FROM streamhouse.agent_unknown_keys(:b, '{known,of-a,of-b,of-c}');
SELECT present_runs(:a, 2, 'b', 'of-b', '{o 0 @7 ?+2}', false, 22);
SELECT * FROM streamhouse.agent_unknown_keys(:b, '{known,of-a,of-b,of-c}');
SELECT present_runs(:b, 1, 'a', 'of-a', '{o 0 @1 12+1,o 0 @7 22+2}', false, 20);
SELECT * FROM forgotten();
SELECT o.key, u.wal_uuid = wal(1) AS of_a, u.first_offset, u.end_offset FROM streamhouse.unplaced_run AS u
JOIN unnest('{of-a,of-b,of-c}'::text[]) AS o(key) ON md5(o.key)::uuid = u.object_id ORDER BY 1;
SELECT present_runs(:b, 2, 'b', 'of-b', '{o 0 @7 20+2}', false, 20);
SELECT present_runs(:b, 3, 'c', 'of-c', '{o 0 @7 24+2}', false, 20);
SELECT present_runs(:b, 1, 'a', 'of-a', '{o 0 @1 12+1,o 0 @7 22+2}', false, 20);
SELECT present_runs(:b, 3, 'c', 'of-c', '{o 0 @7 24+2}', false, 20);
SELECT present_runs(:b, 1, 'a', 'known', '{o 0 @1 10+2}', false, 22);
SELECT object_key, live_rows, reason FROM streamhouse.object LEFT JOIN streamhouse.object_deletion USING (object_id)
WHERE publish_no = 0 ORDER BY 1;
-- It may be larger than what an agent is given; the next term's offsets are not its.
SELECT present_runs(:b, 1, 'a', 'large', '{o 0 @7 26+1000000000}', false, 20);
SELECT present_runs(:b, 1, 'a', 'too-large', ARRAY['o 0 @7 1000000026+' || (1::bigint << 40)], false, 20);
SELECT * FROM forgotten();
DELETE FROM streamhouse.unplaced_run;
SELECT streamhouse.agent_presented(:b, 0);
SELECT streamhouse.lease_tick() IS NOT NULL AS ticked FROM generate_series(1, streamhouse.lease_ticks());
SELECT status FROM streamhouse.term_status;
SELECT * FROM forgotten();
SELECT first_offset, last_offset FROM streamhouse.read_index(topic('o'), 0, 0, 10);
-- Of a topic that is forgotten, above all that is known: the boundary makes room for it. A WAL has nothing to say of it.
SELECT streamhouse.new_term() AS term;
SELECT register('a', 1, 3, 1 + (3::bigint << 40)) AS a \gset
SELECT present_runs(:a, 1, 'a', 'of-a-again', '{other 0 @9 9000000000000+2}', false, 9000000000000);
SELECT present_runs(:a, 2, 'b', 'of-b-again', '{other 0 @9 9000000000002+2}', false, 9000000000000);
SELECT result, start_offset FROM
    streamhouse.agent_present_epochs(:a, ARRAY[topic('other')], '{0}', ARRAY[first_term(9)], '{8000000000000}');
SELECT e.durability, e.start_offset, e.limit_offset - e.start_offset - streamhouse.offset_range() = streamhouse.term_gap() AS has_room,
       e.limit_offset = p.next_offset AS below_the_next
FROM streamhouse.epoch AS e JOIN streamhouse.partition AS p USING (topic_id, partition) WHERE e.epoch = first_term(9);
