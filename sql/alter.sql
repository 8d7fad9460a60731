-- alter_topic: settings, more partitions, another durability.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', partitions => 2, retention => '1 day',
    retention_size => '1GB') IS NOT NULL AS made;

SELECT streamhouse.alter_topic('t', segment_size => '128MB', max_batch_size => '4MB');
SELECT partitions, durability, retention, retention_size, segment_size, max_batch_size
FROM streamhouse.topics;
SELECT streamhouse.alter_topic('t', partitions => 3, retention => '2 days', reset => '{retention_size}');
SELECT partitions, durability, retention, retention_size, segment_size, max_batch_size
FROM streamhouse.topics;
SELECT streamhouse.alter_topic('t', reset => '{retention}');
SELECT streamhouse.alter_topic('t', retention => '3 days', reset => NULL);
SELECT retention, timestamp_after_max FROM streamhouse.topics;
SELECT streamhouse.alter_topic('t', reset => '{retention}');
SELECT partitions, retention FROM streamhouse.topics;
SELECT partition FROM streamhouse.partitions;

SELECT streamhouse.alter_topic('other', partitions => 3);
SELECT streamhouse.alter_topic('t', partitions => 2);
SELECT streamhouse.alter_topic('t', partitions => 20000);
SELECT streamhouse.alter_topic('t', retention => '-1 second');
SELECT streamhouse.alter_topic('t', segment_size => '1');
SELECT streamhouse.alter_topic('t', durability => 'none');
SELECT streamhouse.alter_topic('t', orphan_timeout => '1 hour');
SELECT streamhouse.alter_topic('t', orphan_timeout => '1 ms');
SELECT orphan_timeout FROM streamhouse.topics WHERE topic = 't';
SELECT streamhouse.alter_topic('t', reset => '{orphan_timeout}');
SELECT orphan_timeout FROM streamhouse.topics WHERE topic = 't';
SELECT streamhouse.alter_topic('t', reset => '{durability}');
SELECT timestamp_type, timestamp_before_max, timestamp_after_max FROM streamhouse.topics WHERE topic = 't';
SELECT streamhouse.alter_topic('t', timestamp_type => 'append_time', timestamp_before_max => '7 days',
                               timestamp_after_max => '1 minute');
SELECT timestamp_type, timestamp_before_max, timestamp_after_max FROM streamhouse.topics WHERE topic = 't';
SELECT DISTINCT timestamp_type, timestamp_before_ms, timestamp_after_ms FROM streamhouse.agent_metadata();
SELECT streamhouse.alter_topic('t', timestamp_type => 'create_time', reset => '{timestamp_before_max,timestamp_after_max}');
SELECT timestamp_type, timestamp_before_max, timestamp_after_max FROM streamhouse.topics WHERE topic = 't';
SELECT streamhouse.alter_topic('t', timestamp_type => 'any_time');
SELECT streamhouse.alter_topic('t', timestamp_after_max => '-1 second');
SELECT streamhouse.create_topic('w', timestamp_before_max => '-1 second');
SELECT streamhouse.create_topic('w', timestamp_type => NULL);
SELECT streamhouse.create_topic('u') IS NOT NULL AS made;
SELECT streamhouse.rename_topic('u', 't');
SELECT streamhouse.rename_topic('u', 'a/b');
SELECT streamhouse.rename_topic('nobody', 'v');
SELECT streamhouse.rename_topic('u', 'v');
SELECT topic FROM streamhouse.topics ORDER BY topic;
SELECT streamhouse.drop_topic('v');

-- From wal to object: partition 0 has an open epoch, 1 one that was never open, 2 none.
SELECT register('a', 1) AS a \gset
SELECT result FROM streamhouse.agent_grant(:a, ARRAY[topic('t'), topic('t')], ARRAY[0, 1]);
SELECT result FROM streamhouse.agent_open(:a, ARRAY[topic('t')], ARRAY[0], ARRAY[latest_epoch('t', 0)]);
SELECT * FROM publish(:a, 1, '{t 0 0+5}');
SELECT streamhouse.alter_topic('t', durability => 'object');
SELECT partition, action, epoch_state FROM streamhouse.agent_assignments(:a);
SELECT partition, owner, epoch, epoch_state, status FROM streamhouse.partitions;
SELECT result FROM streamhouse.agent_open(:a, ARRAY[topic('t')], ARRAY[1], ARRAY[(1::bigint << 40) + 1]);
SELECT * FROM publish(:a, 2, '{t 0 5+5,t 1 ?+2,t 0 ?+1}');
SELECT seal(:a, '{release}');
SELECT partition, action FROM streamhouse.agent_assignments(:a);
SELECT partition, owner, epoch, epoch_state, status FROM streamhouse.partitions;
SELECT * FROM publish(:a, 3, '{t 0 ?+1,t 0 @1 10+5}');

-- And back: what was accepted for the ownerless epoch and comes too late is fenced.
SELECT streamhouse.alter_topic('t', durability => 'wal');
SELECT * FROM publish(:a, 4, '{t 0 @2 ?+1}');
SELECT take(:a);
SELECT partition, epoch, state, durability, start_offset, end_offset, records
FROM streamhouse.epochs ORDER BY partition, epoch;
SELECT partition, owner, records, published_end, status FROM streamhouse.partitions;
