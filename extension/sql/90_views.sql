-- What operators ask about.

CREATE VIEW streamhouse.partitions AS
SELECT t.name AS topic, p.partition, a.agent_id AS owner,
       coalesce(e.records_base + coalesce(h.records, 0), 0) - p.records_retired AS records,
       coalesce(e.bytes_base + coalesce(h.bytes, 0), 0) - p.bytes_retired AS bytes,
       p.log_start, CASE WHEN e.state = 'open' THEN h.published_end ELSE p.next_offset END AS published_end,
       e.epoch, e.state AS epoch_state, p.target_agent AS target,
       CASE WHEN coalesce(e.state, 'sealed') = 'sealed' AND target.agent_id IS NULL THEN
                'waits for a live agent'
            WHEN coalesce(e.state, 'sealed') = 'sealed' THEN
                format('agent "%s" is to take it', target.agent_id)
            WHEN e.durability = 'object' THEN 'ok'
            WHEN owner.agent_id IS NULL AND e.state = 'open' THEN
                format('waits for agent "%s" to return: its epoch is open and cannot be taken over yet',
                       i.agent_id)
            WHEN owner.agent_id IS NULL THEN format('agent "%s" is gone before it began', i.agent_id)
            WHEN e.inherited THEN format('agent "%s" recovers it', i.agent_id)
            WHEN t.durability = 'object' THEN
                format('agent "%s" is to release it: the durability changed', i.agent_id)
            WHEN target.agent_id <> i.agent_id THEN
                format('moves from agent "%s" to "%s"', i.agent_id, target.agent_id)
            ELSE 'ok' END AS status,
       t.topic_id
FROM streamhouse.partition AS p
JOIN streamhouse.topic AS t USING (topic_id)
LEFT JOIN LATERAL (SELECT * FROM streamhouse.epoch AS e
                   WHERE e.topic_id = p.topic_id AND e.partition = p.partition
                   ORDER BY e.epoch DESC LIMIT 1) AS e ON true
LEFT JOIN streamhouse.epoch_head AS h
       ON (h.topic_id, h.partition, h.epoch) = (e.topic_id, e.partition, e.epoch)
LEFT JOIN streamhouse.incarnation AS i USING (incarnation_id)
LEFT JOIN streamhouse.agent AS a ON a.incarnation_id = e.incarnation_id AND e.state <> 'sealed'
LEFT JOIN streamhouse.live_agent AS owner ON owner.incarnation_id = e.incarnation_id
LEFT JOIN streamhouse.live_agent AS target ON target.agent_id = p.target_agent
ORDER BY t.name, p.partition;
COMMENT ON VIEW streamhouse.partitions IS
    'Partitions with owner, the records and bytes that are kept, log start, published end, and what they '
    'wait for';

CREATE VIEW streamhouse.topics AS
SELECT t.name AS topic, t.partition_count AS partitions, t.durability, sum(p.records)::bigint AS records,
       sum(p.bytes)::bigint AS bytes, t.retention, pg_size_pretty(t.retention_bytes) AS retention_size,
       pg_size_pretty(t.segment_bytes) AS segment_size,
       pg_size_pretty(t.batch_bytes_max::bigint) AS max_batch_size,
       t.created_at, t.topic_id
FROM streamhouse.topic AS t
JOIN streamhouse.partitions AS p USING (topic_id)
GROUP BY t.topic_id
ORDER BY t.name;
COMMENT ON VIEW streamhouse.topics IS 'Topics with their settings and what is published';

CREATE VIEW streamhouse.agents AS
SELECT a.agent_id,
       CASE WHEN l.ticks_left > 0 THEN 'live' WHEN i.state = 'live' THEN 'expired' ELSE i.state END AS state,
       a.address, a.http_address, a.zone, i.version,
       (SELECT count(*) FROM streamhouse.epoch AS e
        WHERE e.incarnation_id = a.incarnation_id AND e.state <> 'sealed') AS partitions,
       l.ticks_left, l.calls, a.incarnation_id, i.wal_uuid, i.incarnation_no, a.registered_at
FROM streamhouse.agent AS a
JOIN streamhouse.incarnation AS i USING (incarnation_id)
LEFT JOIN streamhouse.lease AS l USING (incarnation_id)
ORDER BY a.agent_id;
COMMENT ON VIEW streamhouse.agents IS 'Agents, whether they are live, and how many partitions they own';

CREATE VIEW streamhouse.leases AS
SELECT i.agent_id, l.incarnation_id, i.state, l.ticks_left, l.calls, l.wal_uuid
FROM streamhouse.lease AS l
LEFT JOIN LATERAL (SELECT * FROM streamhouse.incarnation AS i
                   WHERE i.wal_uuid = l.wal_uuid ORDER BY i.incarnation_no DESC LIMIT 1) AS i ON true;
COMMENT ON VIEW streamhouse.leases IS 'Leases by WAL: ticks until they run out, and calls counted';

CREATE VIEW streamhouse.epochs AS
SELECT t.name AS topic, e.partition, e.epoch, e.state, e.durability, i.agent_id, e.incarnation_id,
       e.start_offset, e.end_offset, nullif(e.limit_offset, 9223372036854775807) AS limit_offset,
       coalesce(h.published_end, e.start_offset) AS published_end, coalesce(h.records, 0) AS records,
       coalesce(h.bytes, 0) AS bytes, e.topic_id
FROM streamhouse.epoch AS e
JOIN streamhouse.topic AS t USING (topic_id)
LEFT JOIN streamhouse.epoch_head AS h
       ON (h.topic_id, h.partition, h.epoch) = (e.topic_id, e.partition, e.epoch)
LEFT JOIN streamhouse.incarnation AS i USING (incarnation_id);
COMMENT ON VIEW streamhouse.epochs IS
    'Epochs of partitions with their ranges of offsets and how far they are published';

CREATE VIEW streamhouse.objects AS
SELECT o.object_key,
       CASE WHEN o.state = 'live' AND d.object_id IS NOT NULL THEN 'garbage' ELSE o.state END AS state,
       o.bytes, o.live_rows AS segments, i.agent_id, o.incarnation_id, o.publish_no,
       o.created_at, o.object_id
FROM streamhouse.object AS o
LEFT JOIN streamhouse.object_deletion AS d USING (object_id)
LEFT JOIN streamhouse.incarnation AS i USING (incarnation_id);
COMMENT ON VIEW streamhouse.objects IS
    'Objects in the store, who wrote them, and how many segments refer to them. Those without any are '
    'garbage';

CREATE VIEW streamhouse.segments AS
SELECT t.name AS topic, s.partition, s.first_offset, s.last_offset, s.records, s.bytes, s.epoch,
       to_timestamp(s.min_timestamp_ms / 1000.0) AS min_timestamp,
       to_timestamp(s.max_timestamp_ms / 1000.0) AS max_timestamp, o.object_key, s.position, s.base_offset,
       s.topic_id
FROM streamhouse.segment AS s
JOIN streamhouse.topic AS t USING (topic_id)
LEFT JOIN streamhouse.object AS o USING (object_id);
COMMENT ON VIEW streamhouse.segments IS 'The index: which object holds which offsets of a partition';
