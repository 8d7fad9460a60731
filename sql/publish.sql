-- publish_object decides run by run.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', partitions => 3) IS NOT NULL AS made;
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT streamhouse.create_topic('gone') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);

-- In order, out of order, twice, overlapping, void; one refusal does not touch the others.
SELECT * FROM publish(:a, 1, '{t 0 0+10,t 1 0+5,t 0 10+10,gone 0 0+7}');
SELECT * FROM publish(:a, 2, '{t 0 30+10,t 1 5+5}');
SELECT * FROM publish(:a, 3, '{t 0 0+10,t 0 15+10,t 0 25+5}');
SELECT * FROM publish(:a, 4, '{t 0 30+5,t 0 36+4,t 0 35+1,t 0 10+10}');
SELECT * FROM publish(:a, 5, '{t 0 void 35+15,t 0 50+1}');
SELECT * FROM publish(:a, 6, '{t 0 @9 51+1,t 9 0+1,t 1 10+1}');
SELECT streamhouse.drop_topic('gone');
SELECT * FROM publish(:a, 7, '{gone 0 7+1,never 0 0+1,t 1 11+1}');
SELECT partition, first_offset, last_offset, base_offset, records, bytes, object_key
FROM streamhouse.segments WHERE topic = 't'
ORDER BY partition, first_offset;
SELECT partition, records, bytes, published_end FROM streamhouse.partitions WHERE topic = 't';

-- An ownerless epoch gives offsets in the order of the entries; one that brings its own is fenced.
SELECT * FROM publish(:a, 8, '{o 0 ?+3,t 1 12+1,o 0 ?+4,o 0 7+1}');
SELECT * FROM publish(:a, 9, '{o 0 ?+1,t 1 ?+1}');

-- A lost answer is given again; the number is not given to another object, nor the object another number.
SELECT * FROM publish(:a, 8, '{o 0 ?+3,t 1 12+1,o 0 ?+4,o 0 7+1}');
SELECT publish(:a, 8, '{t 1 13+1}', object => 'another');
\echo :SQLSTATE
SELECT * FROM publish(:a, 10, '{t 1 13+1}', confirmed => 9);
SELECT publish_no FROM streamhouse.publish_result;
SELECT publish(:a, 11, '{t 1 13+1}', object => :'a' || '/9');
\echo :SQLSTATE

-- An object without runs carries results only.
SELECT * FROM publish(:a, 12, '{}');
SELECT streamhouse.apply_retention();
SELECT object_key, state, bytes, segments, agent_id, publish_no
FROM streamhouse.objects ORDER BY publish_no;

-- An object that was given up must be uploaded again under a new key.
INSERT INTO streamhouse.object (object_id, object_key, bytes, state) VALUES (md5('stray')::uuid, 'stray', 1,
    'abandoned');
SELECT publish(:a, 13, '{t 1 14+1}', object => 'stray');
\echo :SQLSTATE
SELECT * FROM publish(:a, 13, '{t 1 14+1}', object => 'again');

-- Only the owner publishes.
SELECT register('b', 2) AS b \gset
SELECT * FROM publish(:b, 1, '{t 0 51+1,o 0 ?+1}');
-- What others published in an epoch says nothing of what somebody else claims to have there.
SELECT * FROM publish(:b, 2, '{t 0 0+10}');
SELECT * FROM publish(:a, 14, '{t 0 0+10}');
SELECT publish(99, 1, '{t 0 51+1}');
\echo :SQLSTATE

-- Nonsense is refused as a whole.
\set VERBOSITY terse
SELECT publish(:a, 15, '{t 1 15+1,t 1 16+0}');
SELECT publish(:a, 15, '{t 0 void ?+1}');
\set VERBOSITY sqlstate
SELECT streamhouse.publish_object(:a, 15, 0, md5('x')::uuid, 'x', 1, ARRAY[topic('t')], '{0,1}', '{1}',
    '{0}', '{1}', '{1}', '{0}', '{1}', '{0}', '{0}', '{f}');
SELECT streamhouse.publish_object(:a, 15, 0, md5('x')::uuid, 'x', 1, ARRAY[topic('t')], '{0}', '{1}', '{0}',
    '{1}', '{2}', '{0}', '{1}', '{0}', '{0}', '{f}');
SELECT streamhouse.publish_object(:a, 15, 0, md5('x')::uuid, 'x', 1, ARRAY[topic('t')], '{0}', '{1}',
    '{-1}', '{1}', '{1}', '{0}', '{1}', '{0}', '{0}', '{f}');
SELECT streamhouse.publish_object(:a, 15, 0, NULL, 'x', 1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
    '{}', '{}', '{}');
SELECT streamhouse.publish_object(:a, 15, 0, md5('x')::uuid, :'a' || '/1', 1, '{}', '{}', '{}', '{}', '{}',
    '{}', '{}', '{}', '{}', '{}', '{}');
\set VERBOSITY default

-- A dropped topic's rows no longer hold their objects, once retention has come by.
SELECT streamhouse.drop_topic('o');
SELECT streamhouse.apply_retention();
SELECT object_key, segments FROM streamhouse.objects WHERE publish_no IN (8, 9) ORDER BY publish_no;
