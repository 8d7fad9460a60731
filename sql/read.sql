-- Reading the index, and finding times in it.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', partitions => 2) IS NOT NULL AS made;
SELECT topic('t') AS t \gset
SELECT * FROM streamhouse.read_bounds(ARRAY[:'t']::uuid[], ARRAY[7]);
SELECT partition, log_start, published_end, epoch
FROM streamhouse.read_bounds(ARRAY[:'t', :'t']::uuid[], ARRAY[1, 0]);
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT count(*) FROM publish(:a, 1, '{t 0 0+10,t 0 10+10}');
SELECT count(*) FROM publish(:a, 2, '{t 0 void 20+10,t 0 30+10}');
SELECT seal(:a, '{own}');
SELECT take(:a);
SELECT count(*) FROM publish(:a, 3, '{t 0 35+10,t 0 40+10}');

-- From the segment that holds the offset, or the next above it.
SELECT * FROM streamhouse.read_index(:'t', 0, 0, 100);
SELECT first_offset FROM streamhouse.read_index(:'t', 0, 19, 1);
SELECT first_offset FROM streamhouse.read_index(:'t', 0, 25, 1);
SELECT first_offset FROM streamhouse.read_index(:'t', 0, 40, 2);
SELECT first_offset FROM streamhouse.read_index(:'t', 0, 1000, 2);
SELECT first_offset FROM streamhouse.read_index(:'t', 1, 0, 2);
SELECT first_offset FROM streamhouse.read_index(topic('never'), 0, 0, 2);
SELECT partition, log_start, published_end, epoch
FROM streamhouse.read_bounds(ARRAY[:'t', :'t']::uuid[], ARRAY[1, 0]);

-- Readers stop at the oldest unsealed epoch, whatever later ones hold.
BEGIN;
UPDATE streamhouse.epoch SET state = 'orphaned', orphaned_at = now(), end_offset = NULL
WHERE epoch = (1::bigint << 40) + 1 AND partition = 0;
SELECT published_end, epoch FROM streamhouse.read_bounds(ARRAY[:'t']::uuid[], ARRAY[0]);
SELECT first_offset FROM streamhouse.read_index(:'t', 0, 30, 100);
SELECT first_offset FROM streamhouse.find_timestamps(ARRAY[:'t']::uuid[], ARRAY[0], ARRAY[45], ARRAY[0]);
ROLLBACK;

-- Times: the first segment that reaches one, also where later records are older.
SELECT count(*) FROM publish(:a, 4, '{t 1 0+50}');
UPDATE streamhouse.epoch_head SET timestamp_high_ms = 500
WHERE partition = 1 AND epoch = latest_epoch('t', 1);
SELECT count(*) FROM publish(:a, 5, '{t 1 50+10,t 1 60+1000}');
SELECT partition, first_offset, last_offset, epoch, object_key, position, length, records, min_timestamp_ms,
       max_timestamp_ms
FROM streamhouse.find_timestamps(ARRAY[:'t', :'t', :'t', :'t', :'t', :'t', :'t']::uuid[],
    ARRAY[0, 0, 0, 0, 1, 1, 1],
    ARRAY[-5, 12, 25, 49, 10, 900, 5000], array_fill(0, ARRAY[7]));
SELECT first_offset, max_timestamp_ms, timestamp_high_ms FROM streamhouse.segment
WHERE partition = 1 ORDER BY first_offset;
