-- Objects that no segment refers to are deleted after a grace period, unpublished ones of dead writers too.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', retention => '1 hour') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT register('b', 2) AS b \gset
SELECT streamhouse.rebalance() >= 0 AS is_placed;
UPDATE streamhouse.partition SET target_agent = 'a';
SELECT take(:a);
SELECT count(*) FROM publish(:a, 1, '{t 0 0+10}');
SELECT count(*) FROM publish(:a, 2, '{t 0 10+10}');
SELECT count(*) FROM publish(:a, 3, '{}');
SELECT object_key, state FROM streamhouse.objects ORDER BY object_key;
UPDATE streamhouse.segment SET arrived_ms = 0;
SELECT streamhouse.apply_retention();
SELECT object_key, reason, state, bytes, due_at - since AS grace FROM streamhouse.garbage ORDER BY object_key;
SELECT object_key, state FROM streamhouse.objects ORDER BY object_key;

-- Not before the grace is over; then each object goes to one agent.
SELECT object_key FROM streamhouse.agent_garbage(:a, 10);
SET streamhouse.garbage_grace = 0;
SELECT count(*) FROM streamhouse.agent_garbage(:a, 2);
SELECT count(*) FROM streamhouse.agent_garbage(:b, 2);
SELECT count(*) FROM streamhouse.agent_garbage(:b, 2);
SELECT count(*) FROM streamhouse.agent_garbage(:a, 2);
SELECT state, count(*), sum(bytes) AS bytes FROM streamhouse.garbage GROUP BY state;
SELECT state, count(*) FROM streamhouse.objects GROUP BY state;
-- Who does not confirm in time loses the claim.
UPDATE streamhouse.object_deletion SET claimed_until = now() - interval '1 second' WHERE claimed_by = :a;
SELECT count(*) FROM streamhouse.agent_garbage(:b, 10);
SELECT streamhouse.agent_garbage_done(:b, ARRAY[md5(:'a' || '/1')::uuid, md5('never')::uuid]);
SELECT streamhouse.agent_garbage_done(:b, ARRAY[md5(:'a' || '/1')::uuid]);
SELECT object_key, state FROM streamhouse.objects ORDER BY object_key;
-- The answer to a publish outlives its object.
SELECT * FROM publish(:a, 2, '{t 0 10+10}');
SELECT streamhouse.agent_garbage_done(:b, ARRAY(SELECT object_id FROM streamhouse.object));
SELECT count(*) FROM streamhouse.garbage;

-- One agent at a time looks through the store, and not too often.
SELECT streamhouse.agent_scan_claim(:a);
SET streamhouse.scan_interval = 0;
SELECT streamhouse.agent_scan_claim(:a), streamhouse.agent_scan_claim(:b), streamhouse.agent_scan_claim(:a);
-- A new incarnation of b's WAL has fenced the old one; c is unknown here.
SELECT register('b', 2, 2) AS b2 \gset
SELECT count(*) FROM publish(:a, 4, '{t 0 20+10}', object => 'known');
CREATE FUNCTION key(agent text, incarnation bigint, name text, object text) RETURNS text LANGUAGE sql AS $$
    SELECT left(md5(object), 2) || '/' || agent || '/' || incarnation || '/' || name || '-'
           || md5(object)::uuid || '.seg' $$;
SELECT replace(object_key, md5('lost')::uuid::text, 'ID') AS given_up
FROM streamhouse.agent_unknown_objects(:a,
    ARRAY[key('a', :a, '5', 'x1'), key('b', :b2, '5', 'x2'), key('b', :b, '7', 'lost'),
          key('b', :b, '7', 'known'), key('c', 99, '1', 'x3'), key('c', :b, '1', 'x4'), 'check/1', 'snapshot/2.seg', 'aa/b/1/2-3.seg'],
    ARRAY[1, 2, 3, 4, 5, 6, 7, 8, 9]);
SELECT count(*) FROM streamhouse.agent_unknown_objects(:a, ARRAY[key('b', :b, '7', 'lost')], '{3}');
SELECT reason, bytes FROM streamhouse.garbage;
SELECT publish(:a, 5, '{t 0 30+1}', object => 'lost');
\echo :SQLSTATE
SELECT streamhouse.agent_scan_done(:a);
SELECT streamhouse.agent_scan_claim(:b2);
SELECT count(*) FROM streamhouse.agent_garbage(:a, 10);
SELECT streamhouse.agent_garbage_done(:a, ARRAY[md5('lost')::uuid]);
SELECT count(*) FROM streamhouse.garbage;

-- A fenced agent deletes nothing.
SELECT streamhouse.agent_garbage(:b, 1);
\echo :SQLSTATE
SELECT streamhouse.agent_unknown_objects(:b, '{}', '{}');
\echo :SQLSTATE
DROP FUNCTION key;
RESET streamhouse.garbage_grace;
RESET streamhouse.scan_interval;
