-- Grant, open, seal.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SET streamhouse.offset_range = 1000;
SELECT streamhouse.create_topic('t', partitions => 3) IS NOT NULL AS made;
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT streamhouse.create_topic('gone') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT streamhouse.drop_topic('gone');

SELECT topic, durability, segment_bytes, retention_ms, batch_bytes_max, partition, action, epoch
FROM streamhouse.agent_assignments(:a);

-- Grant: asked again it answers the same.
SELECT topic_name(topic_id), partition, result, epoch, start_offset, limit_offset
FROM streamhouse.agent_grant(:a,
    ARRAY[topic('t'), topic('t'), topic('t'), topic('o'), topic('gone'), topic('never')],
    ARRAY[0, 1, 9, 0, 0, 0]);
SELECT partition, result, epoch
FROM streamhouse.agent_grant(:a, ARRAY[topic('t'), topic('t')], ARRAY[0, 0]);
SELECT * FROM streamhouse.agent_grant(:a, '{}', '{}');
SELECT partition, action, epoch_state, start_offset, limit_offset, published_end
FROM streamhouse.agent_assignments(:a);

-- Open: likewise. Nothing can be published before.
SELECT * FROM publish(:a, 1, '{t 0 0+1}');
SELECT topic_name(topic_id), partition, result
FROM streamhouse.agent_open(:a,
    ARRAY[topic('t'), topic('t'), topic('t'), topic('o'), topic('gone'), topic('never')],
    ARRAY[0, 0, 2, 0, 0, 0],
    ARRAY[latest_epoch('t', 0), 5, 5, latest_epoch('o', 0), 5, 5]);
SELECT result FROM streamhouse.agent_open(:a, ARRAY[topic('t')], ARRAY[0], ARRAY[latest_epoch('t', 0)]);
SELECT result FROM streamhouse.agent_grant(:a, ARRAY[topic('t')], ARRAY[0]);
SELECT * FROM publish(:a, 2, '{t 0 0+10}');

-- Seal: at the published end, no other.
SELECT partition, result, published_end FROM streamhouse.agent_seal(:a,
    ARRAY[topic('t'), topic('t'), topic('o'), topic('gone'), topic('never')], ARRAY[0, 1, 0, 0, 0],
    ARRAY[latest_epoch('t', 0), latest_epoch('t', 1), latest_epoch('o', 0), 5, 5], ARRAY[9, 0, 0, 0, 0],
    ARRAY[false, false, false, false, false]);
SELECT result, published_end FROM streamhouse.agent_seal(:a, ARRAY[topic('t')], ARRAY[0],
    ARRAY[latest_epoch('t', 0)], ARRAY[10], ARRAY[false]);
SELECT result, published_end FROM streamhouse.agent_seal(:a, ARRAY[topic('t')], ARRAY[0],
    ARRAY[latest_epoch('t', 0)], ARRAY[10], ARRAY[false]);
SELECT result, published_end FROM streamhouse.agent_seal(:a, ARRAY[topic('t')], ARRAY[0],
    ARRAY[latest_epoch('t', 0)], ARRAY[11], ARRAY[false]);

-- The next epoch starts at the end; the one that was never open left nothing but its number.
SELECT partition, result, epoch, start_offset, limit_offset
FROM streamhouse.agent_grant(:a, ARRAY[topic('t'), topic('t')], ARRAY[0, 1]);
SELECT result FROM streamhouse.agent_open(:a, ARRAY[topic('t')], ARRAY[0], ARRAY[latest_epoch('t', 0)]);

-- Sealed as lost: the next starts at the limit.
SELECT * FROM publish(:a, 3, '{t 0 10+5}');
SELECT result, published_end FROM streamhouse.agent_seal(:a, ARRAY[topic('t')], ARRAY[0],
    ARRAY[latest_epoch('t', 0)], ARRAY[15], ARRAY[true]);
SELECT log_start, published_end FROM streamhouse.read_bounds(ARRAY[topic('t')], ARRAY[0]);
SELECT take(:a);
SELECT * FROM publish(:a, 4, '{t 0 1010+2}');
SELECT partition, epoch, state, start_offset, end_offset, limit_offset, published_end, records, bytes
FROM streamhouse.epochs
WHERE topic = 't' ORDER BY partition, epoch;
SELECT records, bytes, published_end FROM streamhouse.partitions WHERE topic = 't' AND partition = 0;

-- Beyond the limit nothing is the epoch's.
SELECT * FROM publish(:a, 5, '{t 0 1012+998,t 0 2010+1}');
SELECT seal(:a, '{own}');
SELECT take(:a);
SELECT partition, start_offset, limit_offset FROM streamhouse.epochs
WHERE state = 'open' AND topic = 't' ORDER BY partition;
