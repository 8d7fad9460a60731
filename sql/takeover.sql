-- Another agent takes over: orphaned epochs, what their own WAL may still do, and where readers stop.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SET streamhouse.offset_range = 1000;
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT register('b', 2) AS b \gset
SELECT * FROM publish(:a, 1, '{t 0 0+10}');

-- While the owner is live nobody else gets the partition, whoever it is placed on.
UPDATE streamhouse.partition SET target_agent = 'b';
SELECT result FROM streamhouse.agent_grant(:b, ARRAY[topic('t')], ARRAY[0]);
UPDATE streamhouse.partition SET target_agent = 'a';

-- Its lease runs out: the next epoch begins at the limit, and writes go on at once.
SELECT expire('a');
SELECT owner, target, status FROM streamhouse.partitions;
SELECT topic, partition, agent_id, agent_state, age IS NULL AS not_taken_over, published_end
FROM streamhouse.orphans;
SELECT assignment_version AS before FROM streamhouse.cluster \gset
SELECT action FROM streamhouse.agent_assignments(:b);
SELECT result, start_offset, limit_offset FROM streamhouse.agent_grant(:b, ARRAY[topic('t')], ARRAY[0]);
SELECT result FROM streamhouse.agent_grant(:b, ARRAY[topic('t')], ARRAY[0]);
SELECT assignment_version > :before AS old_owner_is_told FROM streamhouse.cluster;
SELECT result FROM streamhouse.agent_open(:b, ARRAY[topic('t')], ARRAY[0], ARRAY[(1::bigint << 40) + 2]);
SELECT * FROM publish(:b, 1, '{t 0 1000+5}');
SELECT * FROM epochs();

-- Readers stop at the gap; records are counted, not subtracted.
SELECT published_end, epoch - (1::bigint << 40) AS epoch
FROM streamhouse.read_bounds(ARRAY[topic('t')], ARRAY[0]);
SELECT first_offset FROM streamhouse.read_index(topic('t'), 0, 0, 10);
SELECT first_offset FROM streamhouse.find_timestamps(ARRAY[topic('t')], ARRAY[0], ARRAY[1000], ARRAY[0]);
SELECT owner, records, bytes, published_end, epoch_state, status FROM streamhouse.partitions;
SELECT agent_id, epoch - (1::bigint << 40) AS epoch FROM streamhouse.agent_metadata();

-- A chain: b is gone too.
SELECT register('c', 3) AS c \gset
SELECT expire('b');
SELECT take(:c);
SELECT * FROM publish(:c, 1, '{t 0 2000+1}');
SELECT topic, partition, epoch - (1::bigint << 40) AS epoch, agent_id, agent_state, published_end
FROM streamhouse.orphans;

-- Orphaned epochs are their WALs' to publish and to seal, and nobody else's.
SELECT * FROM publish(:b, 2, '{t 0 @1 10+5,t 0 @3 2001+1}');
SELECT * FROM publish(:c, 2, '{t 0 @1 10+5,t 0 @2 1005+5}');
SELECT result FROM streamhouse.agent_seal(:c, ARRAY[topic('t')], ARRAY[0], ARRAY[(1::bigint << 40) + 1],
    ARRAY[10], ARRAY[false]);

-- b comes back as it was: its lease is renewed, and it is told what to end.
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:b, 0);
SELECT action, epoch - (1::bigint << 40) AS epoch, epoch_state FROM streamhouse.agent_assignments(:b);
UPDATE streamhouse.partition SET target_agent = 'b';
SELECT result FROM streamhouse.agent_grant(:b, ARRAY[topic('t')], ARRAY[0]);
UPDATE streamhouse.partition SET target_agent = 'c';
SELECT * FROM publish(:b, 3, '{t 0 @2 1005+5}');
SELECT result FROM streamhouse.agent_seal(:b, ARRAY[topic('t')], ARRAY[0], ARRAY[(1::bigint << 40) + 2],
    ARRAY[1009], ARRAY[false]);
SELECT seal(:b, '{recover}');
-- The bases wait for a.
SELECT * FROM epochs();

-- a comes back as a newer incarnation of its WAL: the older one may do nothing any more.
SELECT register('a', 1, 2) AS a2 \gset
SELECT action, epoch - (1::bigint << 40) AS epoch, epoch_state FROM streamhouse.agent_assignments(:a2);
\set VERBOSITY sqlstate
SELECT publish(:a, 9, '{t 0 @1 10+5}');
\set VERBOSITY default
SELECT * FROM publish(:a2, 1, '{t 0 @1 10+5}');
SELECT streamhouse.agent_end(:a2);
\echo :SQLSTATE
SELECT seal(:a2, '{recover}');
SELECT * FROM epochs();
SELECT published_end, epoch - (1::bigint << 40) AS epoch
FROM streamhouse.read_bounds(ARRAY[topic('t')], ARRAY[0]);
SELECT owner, records, bytes, published_end, status FROM streamhouse.partitions;
SELECT seal(:c, '{own}');
SELECT start_offset FROM streamhouse.agent_grant(:c, ARRAY[topic('t')], ARRAY[0]);

-- An agent that recovers gets no partitions of others before it is done.
SELECT streamhouse.create_topic('u', partitions => 3) IS NOT NULL AS made;
SELECT take(:a2) + take(:b) + take(:c) AS taken;
SELECT register('a', 1, 3) AS a3 \gset
SELECT streamhouse.create_topic('w', partitions => 4) IS NOT NULL AS made;
SELECT DISTINCT target FROM streamhouse.partitions WHERE topic = 'w' ORDER BY target;
SELECT seal(:a3, '{recover}');
SELECT DISTINCT target FROM streamhouse.partitions WHERE topic = 'w' ORDER BY target;

-- The durability becomes object while the owner is gone, or before it goes: any agent writes on, at the
-- limit.
SELECT streamhouse.drop_topic('t');
SELECT streamhouse.drop_topic('u');
SELECT streamhouse.drop_topic('w');
SELECT streamhouse.create_topic('t', partitions => 2) IS NOT NULL AS made;
SELECT take(:a3) + take(:b) + take(:c) AS taken;
SELECT owner AS gone FROM streamhouse.partitions WHERE topic = 't' ORDER BY partition LIMIT 1 \gset
UPDATE streamhouse.lease SET ticks_left = 0
WHERE incarnation_id = (SELECT incarnation_id FROM streamhouse.agents WHERE agent_id = :'gone');
SELECT streamhouse.alter_topic('t', durability => 'object');
SELECT partition, state, durability, start_offset FROM streamhouse.epochs
WHERE topic = 't' ORDER BY partition, epoch;
UPDATE streamhouse.lease SET ticks_left = 0;
SELECT streamhouse.rebalance() >= 0 AS done;
SELECT partition, state, durability, start_offset FROM streamhouse.epochs
WHERE topic = 't' ORDER BY partition, epoch;
SELECT result, first_offset FROM publish(:b, 20, '{t 0 ?+2,t 1 ?+3}');
