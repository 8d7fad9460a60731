-- create_topic and drop_topic.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();

SELECT streamhouse.create_topic('orders', partitions => 12, retention => '7 days',
    segment_size => '64MB') IS NOT NULL AS made;
SELECT streamhouse.create_topic('Clicks_2026-11.eu', durability => 'object', retention_size => '10GB',
    max_batch_size => '2MB') IS NOT NULL AS made;
SELECT topic, partitions, durability, retention, retention_size, segment_size, max_batch_size, records,
    bytes FROM streamhouse.topics;
SELECT epoch, state, durability, start_offset, limit_offset, incarnation_id FROM streamhouse.epochs;
SELECT count(*) AS waiting FROM streamhouse.partitions WHERE status = 'waits for a live agent';

-- Names as Kafka takes them.
SELECT streamhouse.create_topic('');
SELECT streamhouse.create_topic(NULL);
SELECT streamhouse.create_topic('.');
SELECT streamhouse.create_topic('..');
SELECT streamhouse.create_topic('two words');
SELECT streamhouse.create_topic('naïve');
SELECT streamhouse.create_topic(E'line\n');
SELECT streamhouse.create_topic('x''; DROP TABLE streamhouse.topic; --');
SELECT streamhouse.create_topic(repeat('a', 250));
SELECT streamhouse.create_topic(repeat('a', 249)) IS NOT NULL AS made;
SELECT streamhouse.create_topic('orders');
SELECT streamhouse.create_topic('Clicks.2026-11_eu');
SELECT streamhouse.create_topic('Orders') IS NOT NULL AS made;

-- Settings.
SELECT streamhouse.create_topic('t', partitions => 0);
SELECT streamhouse.create_topic('t', partitions => 10001);
SELECT streamhouse.create_topic('t', partitions => NULL);
SELECT streamhouse.create_topic('t', retention => '0');
SELECT streamhouse.create_topic('t', retention => '-1 day');
\set VERBOSITY terse
SELECT streamhouse.create_topic('t', segment_size => 'much');
\set VERBOSITY default
SELECT streamhouse.create_topic('t', segment_size => '1kB');
SELECT streamhouse.create_topic('t', segment_size => '2GB');
SELECT streamhouse.create_topic('t', durability => 'memory');
SELECT streamhouse.create_topic('t', retention_size => '-1');
SELECT streamhouse.create_topic('t', max_batch_size => '1GB');
SELECT streamhouse.create_topic('t', orphan_timeout => '-1 minute');
SELECT count(*) FROM streamhouse.topics;

-- A topic made again under the name is another one.
SELECT topic('orders') AS former \gset
SELECT streamhouse.drop_topic('orders');
SELECT streamhouse.drop_topic('orders');
SELECT streamhouse.drop_topic(NULL);
SELECT streamhouse.create_topic('orders') <> :'former' AS is_another;
SELECT name, topic_id = :'former' AS is_the_former FROM streamhouse.dropped_topic;
SELECT partitions FROM streamhouse.topics WHERE topic = 'orders';

-- Changes are announced, once a transaction and with the new version.
SELECT streamhouse.metadata_version() AS before \gset
BEGIN;
SELECT streamhouse.drop_topic('orders');
ROLLBACK;
SELECT streamhouse.metadata_version() - :before AS changes;
SELECT streamhouse.drop_topic('orders');
SELECT streamhouse.metadata_version() - :before AS changes;
