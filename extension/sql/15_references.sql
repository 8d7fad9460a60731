-- What stands in place of foreign keys: which rows refer to what is not there.

CREATE VIEW streamhouse.dangling_references AS
SELECT 'incarnation' AS relation, 'agent' AS refers_to, i.incarnation_id::text AS row_key, i.agent_id AS missing
FROM streamhouse.incarnation AS i
WHERE NOT EXISTS (SELECT FROM streamhouse.agent AS a WHERE a.agent_id = i.agent_id)
UNION ALL
SELECT 'agent', 'incarnation', a.agent_id, a.incarnation_id::text FROM streamhouse.agent AS a
WHERE NOT EXISTS (SELECT FROM streamhouse.incarnation AS i WHERE i.incarnation_id = a.incarnation_id)
UNION ALL
SELECT 'lease', 'incarnation', l.wal_uuid::text, l.incarnation_id::text FROM streamhouse.lease AS l
WHERE l.incarnation_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM streamhouse.incarnation AS i WHERE i.incarnation_id = l.incarnation_id)
UNION ALL
SELECT 'partition', 'topic', format('%s/%s', p.topic_id, p.partition), p.topic_id::text FROM streamhouse.partition AS p
WHERE NOT EXISTS (SELECT FROM streamhouse.topic AS t WHERE t.topic_id = p.topic_id)
UNION ALL
SELECT 'partition', 'agent', format('%s/%s', p.topic_id, p.partition), p.target_agent FROM streamhouse.partition AS p
WHERE p.target_agent IS NOT NULL
  AND NOT EXISTS (SELECT FROM streamhouse.agent AS a WHERE a.agent_id = p.target_agent)
UNION ALL
SELECT 'epoch', 'partition', format('%s/%s/%s', e.topic_id, e.partition, e.epoch), format('%s/%s', e.topic_id, e.partition)
FROM streamhouse.epoch AS e
WHERE NOT EXISTS (SELECT FROM streamhouse.partition AS p WHERE (p.topic_id, p.partition) = (e.topic_id, e.partition))
UNION ALL
SELECT 'epoch', 'incarnation', format('%s/%s/%s', e.topic_id, e.partition, e.epoch), e.incarnation_id::text
FROM streamhouse.epoch AS e
WHERE e.incarnation_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM streamhouse.incarnation AS i WHERE i.incarnation_id = e.incarnation_id)
UNION ALL
SELECT 'epoch_head', 'epoch', format('%s/%s/%s', h.topic_id, h.partition, h.epoch), h.epoch::text
FROM streamhouse.epoch_head AS h
WHERE NOT EXISTS (SELECT FROM streamhouse.epoch AS e
                  WHERE (e.topic_id, e.partition, e.epoch) = (h.topic_id, h.partition, h.epoch))
UNION ALL
SELECT 'segment', 'topic', format('%s/%s/%s', s.topic_id, s.partition, s.first_offset), s.topic_id::text
FROM streamhouse.segment AS s
WHERE NOT EXISTS (SELECT FROM streamhouse.topic AS t WHERE t.topic_id = s.topic_id)
  AND NOT EXISTS (SELECT FROM streamhouse.dropped_topic AS d WHERE d.topic_id = s.topic_id AND NOT d.is_purged)
UNION ALL
SELECT 'segment', 'object', format('%s/%s/%s', s.topic_id, s.partition, s.first_offset), s.object_id::text
FROM streamhouse.segment AS s
WHERE NOT EXISTS (SELECT FROM streamhouse.object AS o WHERE o.object_id = s.object_id)
UNION ALL
SELECT 'object_deletion', 'object', d.object_id::text, d.object_id::text FROM streamhouse.object_deletion AS d
WHERE NOT EXISTS (SELECT FROM streamhouse.object AS o WHERE o.object_id = d.object_id)
UNION ALL
SELECT 'term_awaited', 'term', format('%s/%s', w.term, w.wal_uuid), w.term::text FROM streamhouse.term_awaited AS w
WHERE NOT EXISTS (SELECT FROM streamhouse.term AS t WHERE t.term = w.term)
UNION ALL
SELECT 'schema_reference', 'schema', format('%s/%s', r.schema_id, r.ordinal), n.missing::text
FROM streamhouse.schema_reference AS r CROSS JOIN LATERAL unnest(ARRAY[r.schema_id, r.referenced_id]) AS n(missing)
WHERE NOT EXISTS (SELECT FROM streamhouse.schema AS s WHERE s.schema_id = n.missing)
UNION ALL
SELECT 'schema_version', 'schema', format('%s/%s', v.subject, v.version), v.schema_id::text
FROM streamhouse.schema_version AS v
WHERE NOT EXISTS (SELECT FROM streamhouse.schema AS s WHERE s.schema_id = v.schema_id)
UNION ALL
SELECT 'schema_version', 'schema_subject', format('%s/%s', v.subject, v.version), v.subject
FROM streamhouse.schema_version AS v
WHERE NOT EXISTS (SELECT FROM streamhouse.schema_subject AS s WHERE s.subject = v.subject);
COMMENT ON VIEW streamhouse.dangling_references IS
    'Rows that refer to what is not there: none, unless a dump was restored in part or somebody wrote tables by hand. '
    'Reads all tables: to be asked after a restore, not all the time';
