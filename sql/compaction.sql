-- Small segments of a partition are swapped for large ones, when nothing has changed meanwhile.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', segment_size => '1MB') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT register('b', 2) AS b \gset
UPDATE streamhouse.partition SET target_agent = 'a';
SELECT take(:a);
SET streamhouse.compaction_objects = 3;

SELECT count(*) FROM publish(:a, 1, '{t 0 0+10}');
SELECT count(*) FROM publish(:a, 2, '{t 0 10+10}');
SELECT count(*) FROM streamhouse.agent_compaction_claim(:a, 1 << 20);
SET streamhouse.compaction_delay = 0;
SELECT count(*) FROM streamhouse.agent_compaction_claim(:a, 1 << 20);
SELECT count(*) FROM publish(:a, 3, '{t 0 void 20+5,t 0 25+5}');
-- The owner comes first, and one at a time.
SELECT count(*) FROM streamhouse.agent_compaction_claim(:b, 1 << 20);
SELECT first_offset, base_offset, last_offset, object_key, position, length
FROM streamhouse.agent_compaction_claim(:a, 1 << 20);
UPDATE streamhouse.partition SET target_agent = NULL;
SELECT count(*) FROM streamhouse.agent_compaction_claim(:b, 1 << 20);
UPDATE streamhouse.partition SET target_agent = 'a';

CREATE FUNCTION swap(incarnation bigint, object text, sources bigint[], source_numbers bigint[],
    firsts bigint[], lasts bigint[], epoch_offset bigint DEFAULT 0)
RETURNS text LANGUAGE sql AS $$
    SELECT streamhouse.agent_announce_object(incarnation, md5(object)::uuid, object, 500)
    WHERE NOT EXISTS (SELECT FROM streamhouse.object AS o WHERE o.object_id = md5(object)::uuid);
    SELECT streamhouse.agent_compaction_swap(incarnation, fixture.topic('t'), 0, md5(object)::uuid, object,
        500, sources,
        ARRAY(SELECT md5('1/' || n)::uuid FROM unnest(source_numbers) WITH ORDINALITY AS u(n, o) ORDER BY o),
        firsts, firsts, lasts,
        ARRAY(SELECT fixture.latest_epoch('t', 0) + epoch_offset FROM unnest(firsts)),
        ARRAY(SELECT f FROM unnest(firsts) AS f), ARRAY(SELECT 100 FROM unnest(firsts)))
$$;
-- Rows that cover something else than they replace are refused loudly.
\set VERBOSITY terse
SELECT swap(:a, 'c0', '{0,10,25}', '{1,2,3}', '{0,25}', '{19,28}');
SELECT swap(:a, 'c0', '{0,10,25}', '{1,2,3}', '{0}', '{29}');
SELECT swap(:a, 'c0', '{0,10,25}', '{1,2,3}', '{0}', '{19}');
SELECT swap(:a, 'c0', '{0,10,25}', '{1,2,3}', '{0,25}', '{19,29}', 1);
\set VERBOSITY default
-- Consecutive ones become one; the hole stays.
SELECT swap(:a, 'c1', '{0,10,25}', '{1,2,3}', '{0,25}', '{19,29}');
SELECT swap(:a, 'c1', '{0,10,25}', '{1,2,3}', '{0,25}', '{19,29}');
SELECT first_offset, last_offset, records, bytes, object_key FROM streamhouse.segments ORDER BY first_offset;
SELECT first_offset, timestamp_high_ms FROM streamhouse.segment ORDER BY first_offset;
SELECT records, bytes, log_start, published_end FROM streamhouse.partitions;
SELECT object_key, state, segments FROM streamhouse.objects ORDER BY object_key;
SELECT first_offset, last_offset FROM streamhouse.find_timestamps(ARRAY[topic('t')], ARRAY[0], ARRAY[15], ARRAY[0]);
SELECT claimed_by FROM streamhouse.compaction;

-- Sources that are not there any more, or others: the object is garbage.
SELECT swap(:a, 'c2', '{0,10,25}', '{1,2,3}', '{0,25}', '{19,29}');
SELECT swap(:a, 'c2', '{0,10,25}', '{1,2,3}', '{0,25}', '{19,29}');
SELECT object_key, reason FROM streamhouse.garbage ORDER BY object_key;
SELECT count(*) FROM publish(:a, 4, '{t 0 30+10}');
SELECT count(*) FROM publish(:a, 5, '{t 0 40+10}');
SELECT count(*) FROM publish(:a, 6, '{t 0 50+10}');
SELECT swap(:a, 'c3', '{30,50}', '{4,6}', '{30}', '{59}');
SELECT streamhouse.delete_records('t', 0, 35);
SELECT swap(:a, 'c4', '{30,40,50}', '{4,5,6}', '{30}', '{59}');

-- A large object is left alone until as much has come after it; what fills a segment is done with.
SELECT streamhouse.delete_records('t', 0, 60);
SELECT streamhouse.apply_retention();
SELECT count(*) FROM publish(:a, 7, '{t 0 60+60000}');
SELECT count(*) FROM publish(:a, 8, '{t 0 60060+10}');
SELECT count(*) FROM publish(:a, 9, '{t 0 60070+10}');
SELECT count(*) FROM streamhouse.agent_compaction_claim(:a, 1 << 20);
SELECT count(*) FROM publish(:a, 10, '{t 0 60080+10}');
SELECT first_offset FROM streamhouse.agent_compaction_claim(:a, 1 << 20);
UPDATE streamhouse.compaction SET claimed_by = NULL, claimed_until = NULL;
SELECT count(*) FROM publish(:a, 11, '{t 0 60090+60000}');
SELECT first_offset FROM streamhouse.agent_compaction_claim(:a, 1 << 20);
UPDATE streamhouse.compaction SET claimed_by = NULL, claimed_until = NULL;
SELECT first_offset FROM streamhouse.agent_compaction_claim(:a, 100000);
SELECT done_offset FROM streamhouse.compaction;

-- What a compaction has announced is not deleted while its agent lives, however long it takes; what it gives up is
-- garbage, and cannot be swapped in any more.
SET streamhouse.garbage_grace = 0;
SELECT count(*) FROM streamhouse.agent_garbage(:b, 100);
SELECT streamhouse.agent_announce_object(:a, md5('k5')::uuid, 'k5', 500);
SELECT object_key, reason, state FROM streamhouse.garbage WHERE object_key = 'k5';
SELECT count(*) FROM streamhouse.agent_garbage(:b, 100);
SELECT streamhouse.agent_give_up_object(:b, md5('k5')::uuid);
SELECT reason FROM streamhouse.garbage WHERE object_key = 'k5';
SELECT streamhouse.agent_give_up_object(:a, md5('k5')::uuid);
SELECT reason FROM streamhouse.garbage WHERE object_key = 'k5';
SELECT swap(:a, 'k5', '{30,40,50}', '{4,5,6}', '{30}', '{59}');
SELECT object_key FROM streamhouse.agent_garbage(:b, 100);
SELECT streamhouse.agent_garbage_done(:b, ARRAY[md5('k5')::uuid]);
-- A swap of one that nobody has announced, or that is forgotten by now, is refused.
SELECT streamhouse.agent_compaction_swap(:a, topic('t'), 0, md5('k5')::uuid, 'k5', 500, '{60060,60070}',
    ARRAY[md5('1/8')::uuid, md5('1/9')::uuid], '{60060}', '{60060}', '{60079}', ARRAY[latest_epoch('t', 0)], '{0}', '{100}');
-- One that is swapped in is not given up.
SELECT streamhouse.agent_announce_object(:a, md5('k6')::uuid, 'k6', 500);
SELECT swap(:a, 'k6', '{60060,60070}', '{8,9}', '{60060}', '{60079}');
SELECT streamhouse.agent_give_up_object(:a, md5('k6')::uuid);
SELECT object_key, state FROM streamhouse.objects WHERE object_key = 'k6';
SELECT count(*) FROM streamhouse.garbage WHERE object_key = 'k6';

-- The rest of a dropped topic goes with it.
SELECT streamhouse.drop_topic('t');
SELECT swap(:a, 'c5', '{60,60060}', '{7,8}', '{60}', '{60069}');
SELECT streamhouse.apply_retention(), streamhouse.apply_retention();
SELECT count(*) FROM streamhouse.compaction;
DROP FUNCTION swap;
RESET streamhouse.compaction_objects;
RESET streamhouse.compaction_delay;

-- An agent that dies in between leaves garbage, and its successor's registration makes the store be looked through.
SELECT streamhouse.agent_announce_object(:a, md5('k7')::uuid, 'k7', 500);
SELECT streamhouse.agent_scan_claim(:b);
SELECT register('a', 1, 2) AS a2 \gset
SELECT object_key FROM streamhouse.agent_garbage(:b, 100) WHERE object_key = 'k7';
SELECT streamhouse.agent_scan_claim(:b);
SELECT streamhouse.agent_scan_done(:b);
SELECT streamhouse.agent_scan_claim(:b);
RESET streamhouse.garbage_grace;
