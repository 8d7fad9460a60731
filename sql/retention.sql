-- Retention moves log starts up and removes the segments below, in steps.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', partitions => 2, retention => '1 hour') IS NOT NULL AS made;
SELECT streamhouse.create_topic('s', retention_size => '1MB') IS NOT NULL AS made;
SELECT streamhouse.create_topic('k') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
CREATE FUNCTION kept(topic_name text)
RETURNS TABLE (partition int, records bigint, bytes bigint, log_start bigint, published_end bigint,
               segments text)
LANGUAGE sql AS $$
    SELECT p.partition, p.records, p.bytes, p.log_start, p.published_end,
           (SELECT string_agg(s.first_offset || '-' || s.last_offset, ' ' ORDER BY s.first_offset)
            FROM streamhouse.segments AS s WHERE s.topic_id = p.topic_id AND s.partition = p.partition)
    FROM streamhouse.partitions AS p WHERE p.topic = topic_name ORDER BY p.partition
$$;

-- However long, a retention is a number.
SELECT streamhouse.create_topic('ever', retention => '170000000 years') IS NOT NULL AS made;
SELECT take(:a);
SELECT count(*) FROM publish(:a, 100, '{ever 0 0+1}');
UPDATE streamhouse.segment SET arrived_ms = 0 WHERE topic_id = topic('ever');
SELECT streamhouse.apply_retention();

-- By age: the later of a segment's newest record and its arrival counts. Times of the fixture are offsets, so all are
-- old; what arrived just now is kept nevertheless.
SELECT count(*) FROM publish(:a, 1, '{t 0 0+10,t 1 0+5,t 0 10+10,k 0 0+10}');
SELECT count(*) FROM publish(:a, 2, '{t 0 20+10,t 1 5+5}');
SELECT streamhouse.apply_retention(), (SELECT count(*) FROM streamhouse.retention_due) AS due;
UPDATE streamhouse.segment SET arrived_ms = arrived_ms - 90 * 60000;
UPDATE streamhouse.segment SET max_timestamp_ms = (extract(epoch FROM now()) * 1000)::bigint
WHERE first_offset = 20 OR first_offset = 5;
SELECT streamhouse.apply_retention(1);
SELECT * FROM kept('t');
SELECT streamhouse.apply_retention(), streamhouse.apply_retention();
SELECT * FROM kept('t');
SELECT * FROM kept('k');
SELECT object_key, state, segments FROM streamhouse.objects ORDER BY object_key;
SELECT log_start FROM streamhouse.read_bounds(ARRAY[topic('t')], ARRAY[0]);
SELECT first_offset, last_offset FROM streamhouse.read_index(topic('t'), 0, 3, 10);

-- All of it may go; what comes next is counted from there.
UPDATE streamhouse.segment SET max_timestamp_ms = 0, arrived_ms = 0;
SELECT streamhouse.apply_retention();
SELECT count(*) FROM publish(:a, 3, '{t 0 void 30+5,t 0 35+5}');
UPDATE streamhouse.segment SET max_timestamp_ms = (extract(epoch FROM now()) * 1000)::bigint;
SELECT streamhouse.apply_retention();
SELECT * FROM kept('t');

-- A newest record of the far future counts as so much newer than its arrival as the topic allows, and pins nothing.
SELECT streamhouse.create_topic('f', retention => '1 hour') IS NOT NULL AS made;
SELECT streamhouse.create_topic('g', retention => '1 hour', timestamp_after_max => NULL) IS NOT NULL AS made;
SELECT streamhouse.create_topic('h', retention => '1 hour', timestamp_after_max => '1 day') IS NOT NULL AS made;
SELECT take(:a);
SELECT count(*) FROM publish(:a, 30, '{f 0 0+5,f 0 5+5,g 0 0+5,g 0 5+5,h 0 0+5,h 0 5+5}',
                             times => '{9223372036854775807,1,9223372036854775807,1,9223372036854775807,1}');
SELECT topic, first_offset, min_timestamp, max_timestamp, arrived_at > now() - interval '1 minute' AS is_fresh
FROM streamhouse.segments WHERE topic IN ('f', 'g', 'h') ORDER BY topic, first_offset;
UPDATE streamhouse.segment SET arrived_ms = arrived_ms - 90 * 60000 WHERE topic_id IN (topic('f'), topic('g'), topic('h'));
SELECT streamhouse.apply_retention();
UPDATE streamhouse.segment SET arrived_ms = arrived_ms - 60 * 60000 WHERE topic_id IN (topic('f'), topic('g'), topic('h'));
SELECT streamhouse.apply_retention(), streamhouse.apply_retention(), streamhouse.apply_retention();
SELECT segments FROM kept('f') UNION ALL SELECT segments FROM kept('g') UNION ALL SELECT segments FROM kept('h');
UPDATE streamhouse.segment SET min_timestamp_ms = -9223372036854775808 WHERE topic_id = topic('h');
SELECT min_timestamp, max_timestamp FROM streamhouse.segments WHERE topic = 'h' ORDER BY first_offset;
UPDATE streamhouse.segment SET arrived_ms = arrived_ms - 24 * 3600000 WHERE topic_id = topic('h');
SELECT streamhouse.apply_retention();
SELECT segments FROM kept('h');

-- By size: bytes from the end, and never less than was asked for.
SELECT count(*) FROM publish(:a, 4, '{s 0 0+40000,s 0 40000+40000,s 0 80000+40000,s 0 120000+40000}');
SELECT streamhouse.apply_retention();
SELECT * FROM kept('s');
SELECT streamhouse.apply_retention();

-- Agents learn where logs start, once.
SELECT topic_name(topic_id), partition, log_start, log_start_version > 0 AS is_later
FROM streamhouse.agent_log_starts(0) ORDER BY 1, 2;
SELECT count(*) FROM streamhouse.agent_log_starts((SELECT max(log_start_version) FROM streamhouse.partition));

-- Never past the end of an epoch that is not sealed, although a later one has records: epoch 1 is open
-- again, and epoch 2 has what comes after it.
SELECT streamhouse.create_topic('u', retention => '1 hour') IS NOT NULL AS made;
SELECT take(:a);
SELECT count(*) FROM publish(:a, 5, '{u 0 0+10}');
SELECT seal(:a, '{own}') > 0 AS is_sealed;
SELECT take(:a) > 0 AS is_taken;
SELECT count(*) FROM publish(:a, 6, '{u 0 10+10,u 0 20+10}');
UPDATE streamhouse.segment SET arrived_ms = 0 WHERE topic_id = topic('u');
UPDATE streamhouse.epoch SET state = 'sealed', end_offset = 30
WHERE topic_id = topic('u') AND epoch = latest_epoch('u', 0);
UPDATE streamhouse.epoch SET state = 'open', end_offset = NULL
WHERE topic_id = topic('u') AND epoch = latest_epoch('u', 0) - 1;
SELECT streamhouse.apply_retention(), streamhouse.apply_retention();
SELECT * FROM kept('u');
SELECT streamhouse.delete_records('u', 0, 11);
SELECT streamhouse.delete_records('u', 0, -1);
UPDATE streamhouse.epoch SET state = 'sealed', end_offset = 10
WHERE topic_id = topic('u') AND epoch = latest_epoch('u', 0) - 1;
UPDATE streamhouse.partition SET next_offset = 30 WHERE topic_id = topic('u');
SELECT streamhouse.apply_retention();
SELECT segments FROM kept('u');

-- People make a partition begin anywhere; the segment there stays, its records below are not counted.
SELECT count(*) FROM publish(:a, 60, '{k 0 10+10,k 0 20+10,k 0 30+10}');
SELECT streamhouse.delete_records('k', 0, 15);
SELECT * FROM kept('k');
SELECT streamhouse.apply_retention(), streamhouse.apply_retention();
SELECT * FROM kept('k');
SELECT streamhouse.delete_records('k', 0, 12), streamhouse.delete_records('k', 0, 20);
SELECT streamhouse.apply_retention(), streamhouse.apply_retention();
SELECT * FROM kept('k');
SELECT first_offset, last_offset FROM streamhouse.find_timestamps(ARRAY[topic('k')], ARRAY[0], ARRAY[0], ARRAY[0]);
SELECT streamhouse.delete_records('k', 0, -1);
SELECT streamhouse.apply_retention();
SELECT * FROM kept('k');
SELECT streamhouse.delete_records('k', 0, 41);
SELECT streamhouse.delete_records('k', 0, NULL);
SELECT streamhouse.delete_records('k', 1, 0);
SELECT streamhouse.delete_records('nope', 0, 0);
SELECT streamhouse.apply_retention(0);

-- Offsets by time are found in later epochs although the earlier ones are empty by now.
SELECT count(*) FROM publish(:a, 7, '{k 0 40+10}');
SELECT seal(:a, '{own}') > 0 AS is_sealed;
SELECT take(:a) > 0 AS is_taken;
SELECT count(*) FROM publish(:a, 8, '{k 0 50+10}');
SELECT streamhouse.delete_records('k', 0, 50);
SELECT streamhouse.apply_retention();
SELECT first_offset, last_offset FROM streamhouse.find_timestamps(ARRAY[topic('k')], ARRAY[0], ARRAY[5], ARRAY[0]);

-- A dropped topic's segments go in steps, too.
SELECT count(*) FROM publish(:a, 9, '{s 0 160000+1,s 0 160001+1,s 0 160002+1}');
SELECT streamhouse.drop_topic('s');
SELECT count(*) FROM streamhouse.segment WHERE topic_id = topic('s');
SELECT streamhouse.apply_retention(2), streamhouse.apply_retention(2), streamhouse.apply_retention(2);
SELECT is_purged FROM streamhouse.dropped_topic;
SELECT streamhouse.apply_retention(2), streamhouse.apply_retention(2);
SELECT is_purged FROM streamhouse.dropped_topic;
SELECT count(*) FROM streamhouse.segment WHERE topic_id = topic('s');

-- Each step goes on behind the partition at which the last one was: one that has much to go holds up no other.
SELECT streamhouse.create_topic('w', partitions => 2, retention => '1 hour') IS NOT NULL AS made;
SELECT take(:a);
SELECT count(*) FROM publish(:a, 90, '{w 0 0+1,w 0 1+1,w 0 2+1,w 1 0+1,w 1 1+1,w 1 2+1}');
UPDATE streamhouse.segment SET arrived_ms = 0 WHERE topic_id = topic('w');
SELECT streamhouse.apply_retention(1), streamhouse.apply_retention(1);
SELECT segments FROM kept('w');
SELECT streamhouse.apply_retention(1), streamhouse.apply_retention(1);
SELECT segments FROM kept('w');
DROP FUNCTION kept;
