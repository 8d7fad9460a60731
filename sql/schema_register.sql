-- The schema registry: registering, ids and versions, look-up, references.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();

-- Equal schemas share an id, across subjects and in spite of white space; a version is made once.
SELECT streamhouse.register_schema('orders-value', avro('a'));
SELECT streamhouse.register_schema('orders-value', E'  {"type" : "record", "name":"R",\n "fields":[{"name":"a","type":"int"}] }');
SELECT streamhouse.register_schema('clicks-value', avro('a'));
SELECT streamhouse.register_schema('orders-value', avro('a b=1'));
SELECT subject, version, schema_id, type, compatibility, mode, deleted, "references", record_name, schema
FROM streamhouse.schemas;
SELECT * FROM streamhouse.subjects();
SELECT * FROM streamhouse.subjects(prefix => 'ord');
SELECT * FROM streamhouse.versions('orders-value');
SELECT * FROM streamhouse.schema_versions(1);

-- One by id, by version, the latest.
SELECT schema_id, type, schema, "references", length(fingerprint) FROM streamhouse.get_schema(1);
SELECT * FROM streamhouse.get_schema('orders-value');
SELECT * FROM streamhouse.get_schema('orders-value', 1);
SELECT version FROM streamhouse.get_schema('orders-value', '1');
SELECT version FROM streamhouse.get_schema('orders-value', -1);
SELECT failure('SELECT streamhouse.get_schema(7)');
SELECT failure('SELECT streamhouse.get_schema(NULL::int)');
SELECT failure($$SELECT streamhouse.get_schema('orders-value', 3)$$);
SELECT failure($$SELECT streamhouse.get_schema('orders-value', 0)$$);
SELECT failure($$SELECT streamhouse.get_schema('orders-value', -2)$$);
SELECT failure($$SELECT streamhouse.get_schema('orders-value', 2147483648)$$);
SELECT failure($$SELECT streamhouse.get_schema('orders-value', 2147483647)$$);
SELECT failure($$SELECT streamhouse.get_schema('orders-value', 'newest')$$);
SELECT failure($$SELECT streamhouse.get_schema('nothing')$$);
SELECT failure($$SELECT streamhouse.versions('nothing')$$);

-- Look-up.
SELECT subject, version, schema_id FROM streamhouse.lookup_schema('orders-value', avro('a'));
SELECT failure($$SELECT streamhouse.lookup_schema('orders-value', avro('c'))$$);
SELECT failure($$SELECT streamhouse.lookup_schema('clicks-value', avro('a b=1'))$$);
SELECT failure($$SELECT streamhouse.lookup_schema('nothing', avro('a'))$$);
SELECT left(failure($$SELECT streamhouse.lookup_schema('orders-value', '{')$$), 5) AS state;

-- Another order of attributes is another schema, unless it is normalized.
SELECT streamhouse.register_schema('n', '{"name":"R","type":"record","fields":[{"type":"int","name":"a"}]}');
SELECT streamhouse.register_schema('n', avro('a'), "normalize" => true) AS the_same;
SELECT version, schema_id FROM streamhouse.lookup_schema('n', avro('a'), "normalize" => true);
SELECT left(failure($$SELECT streamhouse.lookup_schema('n', avro('a'))$$), 5) AS state;
SELECT streamhouse.register_schema('n', avro('a')) AS another;
SELECT * FROM streamhouse.versions('n');
SELECT count(DISTINCT schema_id), count(DISTINCT fingerprint) FROM streamhouse.schema WHERE schema_id IN (1, 3);

-- Names of subjects.
SELECT streamhouse.register_schema('a/b%2F c?&"', avro('a'));
SELECT version FROM streamhouse.get_schema('a/b%2F c?&"');
SELECT streamhouse.register_schema('Straße-值', avro('a'));
SELECT streamhouse.register_schema(repeat('x', 500), avro('a'));
SELECT failure($$SELECT streamhouse.register_schema(repeat('x', 501), avro('a'))$$);
SELECT failure($$SELECT streamhouse.register_schema('', avro('a'))$$);
SELECT failure($$SELECT streamhouse.register_schema(NULL, avro('a'))$$);
SELECT failure($$SELECT streamhouse.register_schema(E'a\nb', avro('a'))$$);

-- Schemas that are none.
SELECT left(failure(format('SELECT streamhouse.register_schema(%L, %L, %L)', 'bad', schema, type)), 5) AS state,
       left(schema, 40) AS schema, type
FROM (VALUES ('{"type":"record"', 'AVRO'), ('[[[[', 'AVRO'), (repeat('[', 100000), 'AVRO'), ('nonsense', 'AVRO'),
             ('', 'AVRO'), (NULL, 'AVRO'), ('message {', 'PROTOBUF'), ('syntax = "proto4";', 'PROTOBUF'),
             ('"' || repeat('x', 4 << 20) || '"', 'AVRO')) AS bad(schema, type);
SELECT failure($$SELECT streamhouse.register_schema('bad', avro('a'), 'XML')$$);
SELECT failure($$SELECT streamhouse.register_schema('bad', avro('a'), version => 2)$$);
SELECT failure($$SELECT streamhouse.register_schema('bad', avro('a'), version => 0)$$);
SELECT streamhouse.register_schema('orders-value', avro('a b=1 c=1'), version => 3) AS third;
SELECT streamhouse.register_schema('orders-value', avro('a b=1 c=1'), version => 3) AS third;
SELECT count(*) FROM streamhouse.subjects() WHERE subjects = 'bad';

-- References.
SELECT streamhouse.register_schema('person', E'syntax = "proto3";\nmessage Person { string name = 1; }', 'PROTOBUF');
SELECT streamhouse.register_schema('team', E'syntax = "proto3";\nimport "person.proto";\nmessage Team { repeated Person members = 1; }',
    'PROTOBUF', '[{"name": "person.proto", "subject": "person", "version": 1}]');
SELECT streamhouse.register_schema('club', E'syntax = "proto3";\nimport "team.proto";\nimport "person.proto";\nmessage Club { Team team = 1; Person chair = 2; }',
    'PROTOBUF', '[{"name": "team.proto", "subject": "team", "version": -1}, {"name": "person.proto", "subject": "person"}]');
SELECT subject, "references" FROM streamhouse.schemas WHERE type = 'PROTOBUF';
SELECT "references" FROM streamhouse.get_schema('club');
SELECT dependency_names, dependency_ids FROM streamhouse.schema WHERE record_name = 'Club';
SELECT * FROM streamhouse.referenced_by('person', 1);
SELECT * FROM streamhouse.referenced_by('team', 'latest');
SELECT * FROM streamhouse.referenced_by('club', 1);
SELECT failure($$SELECT streamhouse.referenced_by('club', 2)$$);
SELECT version FROM streamhouse.lookup_schema('team', E'syntax = "proto3";\nimport "person.proto";\nmessage Team { repeated Person members = 1; }',
    'PROTOBUF', '[{"name": "person.proto", "subject": "person", "version": 1}]');

-- A reference that is not there, of another type, to a version that is about to be made (the way in which
-- references could go round in a circle), malformed.
SELECT failure(format('SELECT streamhouse.register_schema(%L, %L, %L, %L)', 'bad',
                      E'syntax = "proto3";\nimport "p.proto";\nmessage B { Person p = 1; }', 'PROTOBUF', list)) AS failure
FROM (VALUES ('[{"name": "p.proto", "subject": "nobody", "version": 1}]'),
             ('[{"name": "p.proto", "subject": "person", "version": 2}]'),
             ('[{"name": "p.proto", "subject": "person", "version": 0}]'),
             ('[{"name": "p.proto", "subject": "bad", "version": 1}]'),
             ('[{"name": "p.proto", "subject": "orders-value", "version": 1}]'),
             ('{}'), ('[1]'), ('[{"name": "p.proto"}]'),
             ('[{"name": "p.proto", "subject": "person", "version": [1]}]'),
             ('[{"name": "", "subject": "person", "version": 1}]'),
             ('[{"name": "p", "subject": "person", "version": 1}, {"name": "p", "subject": "team", "version": 1}]'))
     AS r(list);
SELECT left(failure($$SELECT streamhouse.register_schema('bad', E'syntax = "proto3";\nimport "p.proto";', 'PROTOBUF')$$), 5) AS state;

-- JSON Schema refers by URL.
SELECT streamhouse.register_schema('address', '{"$id": "http://acme.com/address", "type": "object", "properties": {"city": {"type": "string"}}}',
    'JSON') AS address \gset
SELECT streamhouse.register_schema('customer', '{"title": "Customer", "type": "object", "properties": {"home": {"$ref": "http://acme.com/address"}}}',
    'JSON', '[{"name": "http://acme.com/address", "subject": "address", "version": 1}]') AS customer \gset
SELECT subject, type, "references", record_name FROM streamhouse.schemas WHERE type = 'JSON';
SELECT array_agg(r) = ARRAY[:customer] AS is_referenced FROM streamhouse.referenced_by('address', 1) AS r;

-- A name that stands for two versions, over the references of references.
SELECT streamhouse.register_schema('person', E'syntax = "proto3";\nmessage Person { string name = 1; int32 age = 2; }', 'PROTOBUF');
SELECT failure($f$SELECT streamhouse.register_schema('bad', E'syntax = "proto3";\nimport "team.proto";\nimport "person.proto";', 'PROTOBUF',
    '[{"name": "team.proto", "subject": "team"}, {"name": "person.proto", "subject": "person", "version": 2}]')$f$);

-- An id is not given again, also when it was rolled back.
BEGIN;
SELECT streamhouse.register_schema('rolled-back', avro('x')) AS id \gset
ROLLBACK;
SELECT streamhouse.register_schema('after', avro('y')) > :id AS above;
SELECT failure('SELECT streamhouse.get_schema(' || :id || ')') IS NOT NULL AS not_there;
