-- The schema registry: what topics ask of records, what agents are told, who uses which schema.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();

SELECT streamhouse.create_topic('t', value_validation => 'full', key_validation => 'id',
    key_subject_strategy => 'record') IS NOT NULL AS made;
SELECT streamhouse.create_topic('plain') IS NOT NULL AS made;
SELECT name, key_validation, value_validation, key_subject_strategy, value_subject_strategy
FROM streamhouse.agent_metadata();
SELECT failure($$SELECT streamhouse.create_topic('u', value_validation => 'most')$$);
SELECT failure($$SELECT streamhouse.create_topic('u', key_subject_strategy => 'name')$$);
SELECT failure($$SELECT streamhouse.create_topic('u', key_validation => NULL)$$);
SELECT failure($$SELECT streamhouse.alter_topic('t', value_validation => 'ID')$$);
SELECT streamhouse.alter_topic('t', value_validation => 'id', value_subject_strategy => 'topic-record');
SELECT value_validation, value_subject_strategy FROM streamhouse.topic WHERE name = 't';
SELECT streamhouse.alter_topic('t', partitions => 2);
SELECT value_validation, value_subject_strategy FROM streamhouse.topic WHERE name = 't';
SELECT streamhouse.alter_topic('t', value_validation => 'full', value_subject_strategy => 'topic');

-- A registration and a setting, both or neither.
BEGIN;
SELECT streamhouse.register_schema('plain-value', avro('a'));
SELECT streamhouse.alter_topic('plain', value_validation => 'id');
ROLLBACK;
SELECT count(*) FROM streamhouse.subjects();
SELECT value_validation FROM streamhouse.topic WHERE name = 'plain';
BEGIN;
SELECT streamhouse.register_schema('plain-value', avro('a')) AS plain \gset
SELECT streamhouse.alter_topic('plain', value_validation => 'id');
COMMIT;
SELECT value_validation FROM streamhouse.topic WHERE name = 'plain';

-- What agents keep, by the registry's version; metadata changes when a validated topic is concerned.
SELECT topic_name(topic_id) AS topic, part, validation, strategy, subject, record_name, cardinality(schema_ids) AS ids
FROM streamhouse.agent_topic_schemas() ORDER BY 1, 2, 5;
SELECT schema_version AS known FROM streamhouse.agent_topic_schemas() LIMIT 1 \gset
SELECT metadata_version AS metadata FROM streamhouse.cluster \gset
SELECT count(*) FROM streamhouse.agent_topic_schemas(:known);
SELECT streamhouse.register_schema('R', avro('k')) AS r \gset
SELECT streamhouse.register_schema('t-value', avro('a b=1'), 'AVRO') AS t1 \gset
SELECT streamhouse.register_schema('t-value', avro('a b=1 c=1'), 'AVRO') AS t2 \gset
SELECT streamhouse.delete_version('t-value', 1);
SELECT topic_name(topic_id) AS topic, part, subject,
       schema_ids = CASE WHEN subject = 't-value' THEN ARRAY[:t2] WHEN subject = 'R' THEN ARRAY[:r] END AS as_expected
FROM streamhouse.agent_topic_schemas(:known) WHERE subject IN ('t-value', 'R') ORDER BY 1, 2, 3;
SELECT metadata_version > :metadata AS is_told FROM streamhouse.cluster;
SELECT streamhouse.alter_topic('t', key_validation => 'none');
SELECT metadata_version AS metadata FROM streamhouse.cluster \gset
SELECT streamhouse.register_schema('elsewhere', avro('e')) IS NOT NULL AS made;
SELECT metadata_version > :metadata AS is_told FROM streamhouse.cluster;

SELECT type, schema, "references", record_name, dependency_names FROM streamhouse.agent_schema_by_id(:t1);
SELECT count(*) FROM streamhouse.agent_schema_by_id(99999);
SELECT streamhouse.register_schema('base', E'syntax = "proto3";\nmessage B { }', 'PROTOBUF') IS NOT NULL AS made;
SELECT streamhouse.register_schema('user', E'syntax = "proto3";\nimport "b.proto";\nmessage U { B b = 1; }',
    'PROTOBUF', '[{"name": "b.proto", "subject": "base", "version": 1}]') AS "user" \gset
SELECT record_name, dependency_names, dependency_texts FROM streamhouse.agent_schema_by_id(:user);

-- Pages of versions, in the order of subject and version, each of at most 1000, and lists that are too long.
SELECT n, subject, version, type, "references", is_deleted
FROM streamhouse.agent_list_schemas('', false, false, 1, 3);
SELECT subject, version FROM streamhouse.agent_list_schemas('user', false, true, 0, -1);
BEGIN;
INSERT INTO streamhouse.schema_version (subject, version, schema_id)
SELECT 'many', v, :user FROM generate_series(1, 1100) AS v;
SELECT count(*), min(version), max(version) FROM streamhouse.agent_list_schemas('many', false, false, 0, -1);
SELECT count(*), min(version), max(version) FROM streamhouse.agent_list_schemas('many', false, false, 1000, 2000);
SELECT version FROM streamhouse.agent_list_schemas('many', false, true, 0, 5);
UPDATE streamhouse.schema SET canonical = repeat('x', 20000) WHERE schema_id = :user;
SELECT failure('SELECT streamhouse.agent_list_schemas(''many'', false, false, 0, -1)');
SELECT count(*) FROM streamhouse.agent_list_schemas('many', false, false, 0, 800);
ROLLBACK;
SELECT streamhouse.agent_list_fits(16777216);
SELECT failure('SELECT streamhouse.agent_list_fits(16777217)');

-- What was seen.
SELECT streamhouse.agent_schemas_seen(ARRAY[:t1, :t2, :t1, 99999, :plain],
    ARRAY[topic('t'), topic('t'), topic('t'), topic('t'), topic('plain')]);
SELECT streamhouse.agent_schemas_seen(ARRAY[:t1], ARRAY[topic('t')]) AS again_so_soon;
SELECT streamhouse.agent_schemas_seen('{}', '{}');
SELECT failure('SELECT streamhouse.agent_schemas_seen(''{1}'', ''{}'')');
SELECT subjects, topic, last_seen <= now() AS is_past FROM streamhouse.schema_usage;
SELECT topic, part, strategy, validation, subject, latest_version FROM streamhouse.schema_topics;
SELECT streamhouse.drop_topic('t');
SELECT subjects, topic FROM streamhouse.schema_usage;

-- Ids that may have been forgotten are not given again.
SELECT last_value AS last FROM streamhouse.schema_number \gset
SELECT streamhouse.new_term() > 1 AS begun;
SELECT streamhouse.register_schema('later', avro('l')) > :last + 9999 AS is_above;
