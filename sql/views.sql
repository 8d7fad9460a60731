-- The views, and what agents tell their clients.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.metadata_version();
SELECT * FROM streamhouse.agent_metadata();
SELECT streamhouse.create_topic('t', partitions => 2, retention => '1 hour') IS NOT NULL AS made;
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT count(*) FROM publish(:a, 1, '{t 0 0+3,o 0 ?+2}');

SELECT topic, partitions, durability, records, bytes, retention FROM streamhouse.topics;
SELECT topic, partition, owner, records, bytes, log_start, published_end, epoch, epoch_state, target, status
FROM streamhouse.partitions;
SELECT agent_id, state, address, http_address, zone, version, partitions, incarnation_id, incarnation_no
FROM streamhouse.agents;
SELECT * FROM streamhouse.leases;
SELECT topic, partition, epoch, state, durability, agent_id, start_offset, end_offset, limit_offset,
    published_end, records FROM streamhouse.epochs ORDER BY topic, partition;
SELECT object_key, state, bytes, segments, agent_id, incarnation_id, publish_no FROM streamhouse.objects;
SELECT topic, partition, first_offset, last_offset, records, bytes, epoch, min_timestamp, max_timestamp,
    object_key, position
FROM streamhouse.segments ORDER BY topic, partition;

SELECT name, durability, retention_ms, segment_bytes, batch_bytes_max, partition, agent_id, address, zone,
    epoch, metadata_version
FROM streamhouse.agent_metadata();
SELECT metadata_version = streamhouse.metadata_version() AS same_version
FROM streamhouse.agent_heartbeat(:a, 0);
