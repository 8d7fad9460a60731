-- The index compared with what the store holds, and lost objects given up.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT streamhouse.rebalance() >= 0 AS is_placed;
SELECT take(:a);
SELECT count(*) FROM publish(:a, 1, '{t 0 0+10}');
SELECT count(*) FROM publish(:a, 2, '{t 0 10+10}');
SELECT count(*) FROM publish(:a, 3, '{t 0 20+10}');
SELECT count(*) FROM publish(:a, 4, '{}');

-- Found where it is looked for: by the first two digits of the object's id.
CREATE TEMP TABLE known AS
SELECT object_key, left(object_id::text, 2) AS prefix, bytes, publish_no FROM streamhouse.object;
CREATE FUNCTION pg_temp.scrub(keys text[], sizes bigint[]) RETURNS TABLE (no bigint, finding text)
LANGUAGE sql AS $$
    SELECT k.publish_no, s.finding
    FROM (SELECT DISTINCT prefix FROM known) AS p, LATERAL streamhouse.scrub_objects(p.prefix,
         ARRAY(SELECT key FROM unnest(keys) AS key JOIN known ON key = object_key AND known.prefix = p.prefix),
         ARRAY(SELECT size FROM unnest(keys, sizes) AS x(key, size)
               JOIN known ON key = object_key AND known.prefix = p.prefix)) AS s
    LEFT JOIN known AS k USING (object_key) ORDER BY 1
$$;
SELECT * FROM pg_temp.scrub((SELECT array_agg(object_key) FROM known), (SELECT array_agg(bytes) FROM known));
-- One without segments is not missed.
SELECT * FROM pg_temp.scrub('{}', '{}');
SELECT * FROM pg_temp.scrub((SELECT array_agg(object_key) FROM known WHERE publish_no <> 2),
                            (SELECT array_agg(bytes - (publish_no = 3)::int) FROM known WHERE publish_no <> 2));
SELECT finding, bytes, stored_bytes FROM streamhouse.scrub_objects('00', '{00/a/1/9-x.seg}', '{7}')
WHERE object_key = '00/a/1/9-x.seg';
SELECT streamhouse.scrub_objects('orders', '{}', '{}');
SELECT topic, partition, first_offset, last_offset, records
FROM streamhouse.scrub_segments(ARRAY(SELECT object_key FROM known ORDER BY publish_no));

-- Given up: readers go on behind, counts fall, the object is garbage.
SELECT records, bytes FROM streamhouse.partitions;
SELECT streamhouse.give_up_objects(ARRAY(SELECT object_key FROM known WHERE publish_no = 2));
SELECT records, bytes FROM streamhouse.partitions;
SELECT first_offset, last_offset FROM streamhouse.segment ORDER BY 1;
SELECT g.reason FROM streamhouse.garbage AS g JOIN known USING (object_key) WHERE publish_no = 2;
-- Below the log start the counts have fallen already.
SELECT streamhouse.delete_records('t', 0, 25);
SELECT records FROM streamhouse.partitions;
SELECT streamhouse.give_up_objects(ARRAY(SELECT object_key FROM known WHERE publish_no IN (1, 3)));
SELECT records FROM streamhouse.partitions;
SELECT streamhouse.give_up_objects('{}');
SELECT streamhouse.give_up_objects('{no/such.seg}');
SELECT streamhouse.give_up_objects(ARRAY[NULL]);
