-- What operators ask about.

CREATE VIEW streamhouse.partitions AS
SELECT t.name AS topic, p.partition, a.agent_id AS owner, size.records - p.records_retired AS records,
       size.bytes - p.bytes_retired AS bytes, p.log_start,
       coalesce(gap.published_end, CASE WHEN e.state = 'open' THEN h.published_end ELSE p.next_offset END)
           AS published_end,
       e.epoch, e.state AS epoch_state, p.target_agent AS target,
       concat_ws('; ',
           CASE WHEN streamhouse.is_boundary(gap.epoch) OR gap.is_sealed OR (gap.agent_id IS NULL AND gap.epoch < e.epoch) THEN
               'readers wait at the boundary of a term: see streamhouse.term_status'
                WHEN gap.epoch < e.epoch OR e.epoch IS NULL AND gap.epoch IS NOT NULL THEN
               format('readers wait for agent "%s" to publish epoch %s', gap.agent_id, gap.epoch) END,
           CASE WHEN coalesce(e.state, 'sealed') IN ('sealed', 'orphaned') AND target.agent_id IS NULL
                     AND t.durability = 'wal' THEN 'waits for a live agent'
                WHEN coalesce(e.state, 'sealed') IN ('sealed', 'orphaned') THEN
                    format('agent "%s" is to take it', target.agent_id)
                WHEN e.durability = 'object' THEN CASE WHEN gap.epoch = e.epoch THEN 'ok' END
                WHEN owner.agent_id IS NULL AND target.agent_id IS NULL THEN
                    format('agent "%s" is gone, and no other is live', i.agent_id)
                WHEN owner.agent_id IS NULL THEN
                    format('agent "%s" takes over from "%s"', target.agent_id, i.agent_id)
                WHEN e.inherited THEN format('agent "%s" recovers it', i.agent_id)
                WHEN t.durability = 'object' THEN
                    format('agent "%s" is to release it: the durability changed', i.agent_id)
                WHEN target.agent_id <> i.agent_id THEN
                    format('moves from agent "%s" to "%s"', i.agent_id, target.agent_id)
                WHEN gap.epoch = e.epoch THEN 'ok' END) AS status,
       t.topic_id
FROM streamhouse.partition AS p
JOIN streamhouse.topic AS t USING (topic_id)
LEFT JOIN LATERAL (SELECT * FROM streamhouse.epoch AS e
                   WHERE e.topic_id = p.topic_id AND e.partition = p.partition
                   ORDER BY e.state IN ('granted', 'open') DESC, e.epoch DESC LIMIT 1) AS e ON true
LEFT JOIN LATERAL streamhouse.newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
LEFT JOIN streamhouse.incarnation AS i USING (incarnation_id)
LEFT JOIN streamhouse.agent AS a
       ON a.incarnation_id = e.incarnation_id AND e.state IN ('granted', 'open')
LEFT JOIN streamhouse.live_agent AS owner ON owner.incarnation_id = e.incarnation_id
LEFT JOIN streamhouse.live_agent AS target ON target.agent_id = p.target_agent
-- Where readers stop.
LEFT JOIN LATERAL (SELECT o.epoch, coalesce(o.held_at, oh.published_end, o.start_offset) AS published_end, oi.agent_id,
                          o.state = 'sealed' AS is_sealed
                   FROM streamhouse.epoch AS o
                   LEFT JOIN LATERAL streamhouse.newest_head(o.topic_id, o.partition, o.epoch) AS oh ON true
                   LEFT JOIN streamhouse.incarnation AS oi USING (incarnation_id)
                   WHERE o.topic_id = p.topic_id AND o.partition = p.partition
                     AND (o.state <> 'sealed' OR o.held_at IS NOT NULL)
                   ORDER BY o.epoch LIMIT 1) AS gap ON true
-- The count that the newest based epoch begins at, and all from there on.
LEFT JOIN LATERAL (SELECT (coalesce(max(c.records_base), 0) + coalesce(sum(ch.records), 0))::bigint AS records,
                          (coalesce(max(c.bytes_base), 0) + coalesce(sum(ch.bytes), 0))::bigint AS bytes
                   FROM streamhouse.epoch AS c
                   LEFT JOIN LATERAL streamhouse.newest_head(c.topic_id, c.partition, c.epoch) AS ch ON true
                   WHERE c.topic_id = p.topic_id AND c.partition = p.partition
                     AND c.epoch >= coalesce((SELECT max(based.epoch) FROM streamhouse.epoch AS based
                                              WHERE based.topic_id = p.topic_id AND based.partition = p.partition
                                                AND based.records_base IS NOT NULL), 0)) AS size ON true
ORDER BY t.name, p.partition;
COMMENT ON VIEW streamhouse.partitions IS
    'Partitions with owner, the records and bytes that are kept, log start, the published end at which '
    'readers stop, and what they wait for';

CREATE VIEW streamhouse.topics AS
SELECT t.name AS topic, t.partition_count AS partitions, t.durability, sum(p.records)::bigint AS records,
       sum(p.bytes)::bigint AS bytes, t.retention, pg_size_pretty(t.retention_bytes) AS retention_size,
       pg_size_pretty(t.segment_bytes) AS segment_size,
       pg_size_pretty(t.batch_bytes_max::bigint) AS max_batch_size,
       t.orphan_timeout, t.timestamp_type, t.timestamp_before_max, t.timestamp_after_max, t.created_at, t.topic_id
FROM streamhouse.topic AS t
JOIN streamhouse.partitions AS p USING (topic_id)
GROUP BY t.topic_id
ORDER BY t.name;
COMMENT ON VIEW streamhouse.topics IS 'Topics with their settings and what is published';

CREATE VIEW streamhouse.agents AS
SELECT a.agent_id,
       CASE WHEN l.ticks_left > 0 AND a.draining THEN 'draining' WHEN l.ticks_left > 0 THEN 'live'
            WHEN i.state = 'live' THEN 'expired' ELSE i.state END AS state,
       a.address, a.http_address, a.zone, i.version,
       (SELECT count(*) FROM streamhouse.epoch AS e
        WHERE e.incarnation_id = a.incarnation_id AND e.state IN ('granted', 'open')) AS partitions,
       l.ticks_left, l.calls, a.incarnation_id, i.wal_uuid, i.incarnation_no, a.registered_at, a.draining,
       CASE WHEN l.ticks_left > 0 THEN
           nullif(concat_ws('; ', worker.problem, CASE WHEN a.lacks_room THEN
                      'its disk has no room for its write-ahead log: other agents get its partitions' END), '') END AS problem
FROM (SELECT streamhouse.worker_problem() AS problem) AS worker
CROSS JOIN streamhouse.agent AS a
JOIN streamhouse.incarnation AS i USING (incarnation_id)
LEFT JOIN streamhouse.lease AS l USING (incarnation_id)
ORDER BY a.agent_id;
COMMENT ON VIEW streamhouse.agents IS
    'Agents, whether they are live, and how many partitions they own. problem: why a live one stays so whether it is or not, or '
    'owns no partitions';

CREATE VIEW streamhouse.leases AS
SELECT i.agent_id, l.incarnation_id,
       CASE WHEN i.state = 'live' AND l.ticks_left = 0 THEN 'expired' ELSE i.state END AS state, l.ticks_left,
       make_interval(secs => l.silent_ms / 1000.0) AS age, l.unpublished, l.calls, l.wal_uuid
FROM streamhouse.lease AS l
LEFT JOIN LATERAL (SELECT * FROM streamhouse.incarnation AS i
                   WHERE i.wal_uuid = l.wal_uuid ORDER BY i.incarnation_no DESC LIMIT 1) AS i ON true;
COMMENT ON VIEW streamhouse.leases IS
    'Leases by WAL: ticks until they run out, the time since the last renewal (age), what the agent had accepted '
    'and not published then, and calls counted';

CREATE VIEW streamhouse.epochs AS
SELECT t.name AS topic, e.partition, e.epoch, e.state, e.durability, i.agent_id, e.incarnation_id,
       e.start_offset, e.end_offset, nullif(e.limit_offset, 9223372036854775807) AS limit_offset,
       coalesce(h.published_end, e.start_offset) AS published_end, coalesce(h.records, 0) AS records,
       coalesce(h.bytes, 0) AS bytes, e.forced, e.orphaned_at, e.leftover_of, e.topic_id
FROM streamhouse.epoch AS e
JOIN streamhouse.topic AS t USING (topic_id)
LEFT JOIN LATERAL streamhouse.newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
LEFT JOIN streamhouse.incarnation AS i USING (incarnation_id);
COMMENT ON VIEW streamhouse.epochs IS
    'Epochs of partitions with their ranges of offsets and how far they are published; forced: sealed by '
    'force_seal or orphan_timeout; leftover_of: the epoch whose records beyond a forced end this one holds';

CREATE VIEW streamhouse.orphans AS
SELECT t.name AS topic, e.partition, e.epoch, i.agent_id, i.wal_uuid,
       CASE WHEN l.ticks_left > 0 THEN 'publishes' ELSE 'gone' END AS agent_state,
       now() - e.orphaned_at AS age, make_interval(secs => l.silent_ms / 1000.0) AS agent_silent,
       coalesce(h.published_end, e.start_offset) AS published_end, l.unpublished AS agent_unpublished,
       t.orphan_timeout, e.leftover_of, e.topic_id
FROM streamhouse.epoch AS e
JOIN streamhouse.topic AS t USING (topic_id)
JOIN streamhouse.incarnation AS i USING (incarnation_id)
LEFT JOIN streamhouse.lease AS l USING (wal_uuid)
LEFT JOIN LATERAL streamhouse.newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
WHERE e.state = 'orphaned' OR (e.state = 'open' AND l.ticks_left = 0)
ORDER BY t.name, e.partition, e.epoch;
COMMENT ON VIEW streamhouse.orphans IS
    'Epochs without their agent, at whose published end readers wait. agent_unpublished is what the agent had '
    'accepted and not published at its last heartbeat, of all its partitions together; how much it accepted or published '
    'after that, nobody but its write-ahead log knows. age is null while no other agent has taken over';

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

-- Record times are the producers': what a timestamp cannot hold is infinite, so that the view never fails.
CREATE VIEW streamhouse.segments AS
SELECT t.name AS topic, s.partition, s.first_offset, s.last_offset, s.records, s.bytes, s.epoch,
       CASE WHEN s.min_timestamp_ms < -210866803200000 THEN '-infinity'
            WHEN s.min_timestamp_ms >= 9224318016000000 THEN 'infinity'
            ELSE to_timestamp(s.min_timestamp_ms / 1000.0) END AS min_timestamp,
       CASE WHEN s.max_timestamp_ms < -210866803200000 THEN '-infinity'
            WHEN s.max_timestamp_ms >= 9224318016000000 THEN 'infinity'
            ELSE to_timestamp(s.max_timestamp_ms / 1000.0) END AS max_timestamp,
       to_timestamp(s.arrived_ms / 1000.0) AS arrived_at, o.object_key, s.position, s.base_offset,
       s.topic_id
FROM streamhouse.segment AS s
JOIN streamhouse.topic AS t USING (topic_id)
LEFT JOIN streamhouse.object AS o USING (object_id);
COMMENT ON VIEW streamhouse.segments IS 'The index: which object holds which offsets of a partition';
