-- pg_dump keeps everything. What it restores, on the same server too, knows that it is a copy: agents begin a new term
-- there, and until then it deletes nothing. So does a copy made of a template.
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
SELECT * FROM streamhouse.dangling_references;
SELECT streamhouse.history_is_whole();
\set VERBOSITY terse
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:a, 0);
\set VERBOSITY default
SELECT register('a', 1, 2) > :a AS registered;
SELECT term, left(reason, 46) AS reason, awaited_agents FROM streamhouse.term_status;
SELECT object_key FROM streamhouse.agent_unknown_keys((SELECT incarnation_id FROM streamhouse.agents), ARRAY['1/1', 'new']) AS object_key;
SELECT streamhouse.create_topic('t');
SELECT subject, version, schema_id, compatibility, deleted FROM streamhouse.schemas;
SELECT schema_id, topic FROM streamhouse.schema_usage;
SELECT streamhouse.register_schema('t-value', avro('a')) AS id;
SELECT streamhouse.register_schema('t-value', avro('a b=1 c=1')) AS id;
\c :here
DROP DATABASE regress_streamhouse_copy;
SELECT format('CREATE DATABASE regress_streamhouse_copy TEMPLATE %I', :'here') \gexec
\c regress_streamhouse_copy
\set SHOW_CONTEXT never
\set VERBOSITY terse
SELECT streamhouse.history_is_whole();
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:a, 0);
\c :here
\set VERBOSITY default
DROP DATABASE regress_streamhouse_copy;
SELECT streamhouse.history_is_whole();
