-- pg_dump keeps everything, and what it restores on the same server goes on where it was.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', partitions => 3, retention => '1 hour') IS NOT NULL AS made;
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT streamhouse.create_topic('gone') IS NOT NULL AS made;
SELECT streamhouse.drop_topic('gone');
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT count(*) FROM publish(:a, 1, '{t 0 0+3,t 1 0+5,o 0 ?+2}');
SELECT streamhouse.register_schema('t-value', avro('a')) AS id;
SELECT streamhouse.register_schema('t-value', avro('a b=1')) AS id;
SELECT streamhouse.delete_version('t-value', 1);
SELECT streamhouse.set_compatibility('FULL', 't-value');
SELECT streamhouse.agent_schemas_seen('{2}', ARRAY[topic('t')]);

\set here :DBNAME
\setenv FROM_DATABASE :DBNAME
\setenv RESTORE 'psql -q -X -v ON_ERROR_STOP=1 -o /dev/null'
CREATE DATABASE regress_streamhouse_copy;
\! PATH=$(pg_config --bindir):$PATH; pg_dump "$FROM_DATABASE" | $RESTORE regress_streamhouse_copy
\c regress_streamhouse_copy
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT topic, partition, owner, records, published_end, epoch_state, status FROM streamhouse.partitions;
SELECT * FROM publish(:a, 1, '{t 0 0+3,t 1 0+5,o 0 ?+2}');
SELECT * FROM publish(:a, 2, '{t 0 3+1,gone 0 0+1,o 0 ?+1}');
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:a, 0);
SELECT register('a', 1, 2);
SELECT streamhouse.create_topic('t');
SELECT subject, version, schema_id, compatibility, deleted FROM streamhouse.schemas;
SELECT schema_id, topic FROM streamhouse.schema_usage;
SELECT streamhouse.register_schema('t-value', avro('a')) AS id;
SELECT streamhouse.register_schema('t-value', avro('a b=1 c=1')) AS id;
\c :here
DROP DATABASE regress_streamhouse_copy;
