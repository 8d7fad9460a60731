-- The schema registry: deleting versions and subjects, softly and for good.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.set_compatibility('NONE');
SELECT streamhouse.register_schema('s', avro('a'));
SELECT streamhouse.register_schema('s', avro('b'));
SELECT streamhouse.register_schema('s', avro('c'));

-- Softly: it is gone from the subject, and there for who asks for deleted ones and by id.
SELECT streamhouse.delete_version('s', 2);
SELECT * FROM streamhouse.versions('s');
SELECT * FROM streamhouse.versions('s', include_deleted => true);
SELECT failure($$SELECT streamhouse.get_schema('s', 2)$$);
SELECT version, is_deleted FROM streamhouse.get_schema('s', 2, deleted => true);
SELECT schema_id FROM streamhouse.get_schema(2);
SELECT * FROM streamhouse.schema_versions(2);
SELECT * FROM streamhouse.schema_versions(2, include_deleted => true);
SELECT left(failure($$SELECT streamhouse.lookup_schema('s', avro('b'))$$), 5) AS state;
SELECT version, is_deleted FROM streamhouse.lookup_schema('s', avro('b'), deleted => true);
SELECT failure($$SELECT streamhouse.delete_version('s', 2)$$);
SELECT failure($$SELECT streamhouse.delete_version('s', 1, permanent => true)$$);
SELECT failure($$SELECT streamhouse.delete_version('s', 4)$$);
SELECT failure($$SELECT streamhouse.delete_version('s', 0)$$);
SELECT failure($$SELECT streamhouse.delete_version('nothing', 1)$$);

-- Registered again it is a new version of the old id.
SELECT streamhouse.register_schema('s', avro('b')) AS id;
SELECT version, schema_id, deleted FROM streamhouse.schemas;
SELECT streamhouse.delete_version('s', 'latest');

-- For good: the number is not given again, the id stays the schema's.
SELECT streamhouse.delete_version('s', 4, permanent => true);
SELECT schema_id FROM streamhouse.get_schema(2);
SELECT streamhouse.delete_version('s', 2, permanent => true);
SELECT failure($$SELECT streamhouse.get_schema(2)$$);
SELECT failure($$SELECT streamhouse.get_schema('s', 2, deleted => true)$$);
SELECT failure($$SELECT streamhouse.delete_version('s', 2, permanent => true)$$);
SELECT streamhouse.register_schema('s', avro('b')) AS id;
SELECT version, schema_id, deleted FROM streamhouse.schemas;

-- Subjects.
SELECT streamhouse.set_compatibility('FULL', 's');
SELECT streamhouse.delete_version('s', 1);
SELECT failure($$SELECT streamhouse.delete_subject('s', permanent => true)$$);
SELECT * FROM streamhouse.delete_subject('s');
SELECT streamhouse.get_compatibility('s') AS the_common_one;
SELECT * FROM streamhouse.subjects();
SELECT * FROM streamhouse.subjects(include_deleted => true);
SELECT failure($$SELECT streamhouse.get_schema('s')$$);
SELECT failure($$SELECT streamhouse.get_schema('s', 'latest')$$);
SELECT failure($$SELECT streamhouse.delete_subject('s')$$);
SELECT failure($$SELECT streamhouse.delete_version('s', 'latest')$$);
SELECT version FROM streamhouse.get_schema('s', 'latest', deleted => true);
SELECT * FROM streamhouse.delete_subject('s', permanent => true);
SELECT * FROM streamhouse.subjects(include_deleted => true);
SELECT failure($$SELECT streamhouse.delete_subject('s', permanent => true)$$);
SELECT failure($$SELECT streamhouse.delete_subject('nothing')$$);
SELECT streamhouse.register_schema('s', avro('c')) AS id;
SELECT version, schema_id FROM streamhouse.schemas;

-- What is referred to stays, until what refers to it goes.
SELECT streamhouse.register_schema('base', E'syntax = "proto3";\nmessage B { }', 'PROTOBUF') AS base \gset
SELECT streamhouse.register_schema('user', E'syntax = "proto3";\nimport "b.proto";\nmessage U { B b = 1; }',
    'PROTOBUF', '[{"name": "b.proto", "subject": "base", "version": 1}]') AS "user" \gset
SELECT failure($$SELECT streamhouse.delete_version('base', 1)$$);
SELECT failure($$SELECT streamhouse.delete_subject('base')$$);
SELECT * FROM streamhouse.delete_subject('user');
SELECT count(*) FROM streamhouse.referenced_by('base', 1);
SELECT count(*) FROM streamhouse.referenced_by('base', 1, include_deleted => true);
SELECT * FROM streamhouse.delete_subject('base');
SELECT failure($$SELECT streamhouse.delete_subject('base', permanent => true)$$);
-- Nothing new refers to what is deleted.
SELECT failure($f$SELECT streamhouse.register_schema('user', E'syntax = "proto3";\nimport "b.proto";\nmessage U { B b = 1; }',
    'PROTOBUF', '[{"name": "b.proto", "subject": "base", "version": 1}]')$f$);
SELECT schema_id = :user AS is_found FROM streamhouse.lookup_schema('user', E'syntax = "proto3";\nimport "b.proto";\nmessage U { B b = 1; }',
    'PROTOBUF', '[{"name": "b.proto", "subject": "base", "version": 1}]', deleted => true);
SELECT * FROM streamhouse.delete_subject('user', permanent => true);
SELECT * FROM streamhouse.delete_subject('base', permanent => true);
SELECT failure('SELECT streamhouse.get_schema(' || :base || ')') IS NOT NULL AS is_gone;

-- A subject whose versions refer to each other goes as a whole.
SELECT streamhouse.register_schema('self', E'syntax = "proto3";\nmessage B { }', 'PROTOBUF') = :base AS the_same_id;
SELECT streamhouse.register_schema('self', E'syntax = "proto3";\nimport "b.proto";\nmessage U { B b = 1; }',
    'PROTOBUF', '[{"name": "b.proto", "subject": "self", "version": 1}]') > :user AS another_id;
SELECT failure($$SELECT streamhouse.delete_version('self', 1)$$) IS NOT NULL AS is_refused;
SELECT * FROM streamhouse.delete_subject('self');
