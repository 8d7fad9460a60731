-- The schema registry: what a new version is compared with, and what is said when it does not fit. The rules of
-- the three languages are tested in tests/unit/schema.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();

CREATE FUNCTION proto(fields text) RETURNS text LANGUAGE sql AS $$
    SELECT E'syntax = "proto3";\nmessage M {' || string_agg(format(' %s f%s = %s;', f, n, n), '') || ' }'
    FROM regexp_split_to_table(fields, ' ') WITH ORDINALITY AS u(f, n) $$;

-- f1 changes back and forth between types that are written differently.
SELECT streamhouse.set_compatibility('NONE', 'm');
SELECT streamhouse.register_schema('m', proto('int32'), 'PROTOBUF');
SELECT streamhouse.register_schema('m', proto('string'), 'PROTOBUF');
SELECT streamhouse.register_schema('m', proto('int32 int32'), 'PROTOBUF');
SELECT level, c.is_compatible, c.against_version, c.direction, c.kind, c.path
FROM unnest('{NONE,BACKWARD,BACKWARD_TRANSITIVE,FORWARD,FORWARD_TRANSITIVE,FULL,FULL_TRANSITIVE}'::text[])
     WITH ORDINALITY AS l(level, n),
     streamhouse.check_compatibility('m', proto('int32 int32 int32'), 'PROTOBUF', level => level) AS c
ORDER BY n;
SELECT version, c.is_compatible, c.against_version, c.direction
FROM unnest('{latest,1,2,3,all,-1}'::text[]) WITH ORDINALITY AS v(version, n),
     streamhouse.check_compatibility('m', proto('int32 int32 int32'), 'PROTOBUF', version => version,
                                     level => 'BACKWARD') AS c
ORDER BY n;
SELECT is_compatible FROM streamhouse.check_compatibility('m', proto('string'), 3, 'PROTOBUF', level => 'FULL');
SELECT is_compatible FROM streamhouse.check_compatibility('nothing', proto('string'), 'PROTOBUF');
SELECT is_compatible FROM streamhouse.check_compatibility('nothing', proto('string'), 'PROTOBUF', version => 'latest');
SELECT failure($$SELECT streamhouse.check_compatibility('nothing', proto('string'), 1, 'PROTOBUF')$$);
SELECT failure($$SELECT streamhouse.check_compatibility('m', proto('string'), 9, 'PROTOBUF')$$);
SELECT failure($$SELECT streamhouse.check_compatibility('m', proto('string'), 0, 'PROTOBUF')$$);
SELECT failure($$SELECT streamhouse.check_compatibility('m', proto('string'), 'PROTOBUF', level => 'HALF')$$);
SELECT left(failure($$SELECT streamhouse.check_compatibility('m', 'message', 'PROTOBUF')$$), 5) AS state;

-- The subject's level, the latest version or all; deleted ones do not count.
SELECT streamhouse.set_compatibility('BACKWARD', 'm');
SELECT streamhouse.register_schema('m', proto('int32 int32 int32'), 'PROTOBUF') AS fits_the_latest;
SELECT streamhouse.set_compatibility('BACKWARD_TRANSITIVE', 'm');
SELECT left(failure($$SELECT streamhouse.register_schema('m', proto('int32 int32 int32 int32'), 'PROTOBUF')$$), 72);
SELECT streamhouse.delete_version('m', 2);
SELECT streamhouse.register_schema('m', proto('int32 int32 int32 int32'), 'PROTOBUF') AS fits_all;
SELECT streamhouse.set_compatibility('FULL', 'm');
SELECT failure($$SELECT streamhouse.register_schema('m', proto('string'), 'PROTOBUF')$$);
SELECT failure($$SELECT streamhouse.register_schema('m', '"int"', 'AVRO')$$);
SELECT subject, version, version_before, change, findings FROM streamhouse.schema_evolution;

-- Each language has its own rules.
SELECT streamhouse.register_schema('j', '{"type": "object", "properties": {"a": {"type": "string"}}}', 'JSON') IS NOT NULL AS made;
SELECT is_compatible, direction, kind, path
FROM streamhouse.check_compatibility('j', '{"type": "object", "properties": {"a": {"type": "integer"}}}', 'JSON');
SELECT streamhouse.register_schema('v', avro('a')) IS NOT NULL AS made;
SELECT is_compatible, direction, kind, path FROM streamhouse.check_compatibility('v', avro('a b'), level => 'FULL');

-- The functions beneath.
SELECT kind, path FROM streamhouse.schema_compare('PROTOBUF', proto('int32'), '{}', '{}', proto('string'), '{}', '{}');
SELECT count(*) FROM streamhouse.schema_compare('PROTOBUF', proto('int32'), '{}', '{}', proto('int32'), '{}', '{}');
SELECT canonical = normalized AS is_normal, record_name FROM streamhouse.schema_parse('protobuf', proto('int32'));
-- A descriptor says the same as the text that it was made of; in another language there is none.
SELECT p.canonical = (streamhouse.schema_parse('PROTOBUF', streamhouse.schema_serialized('PROTOBUF', p.canonical))).canonical AS is_same,
       p.canonical <> streamhouse.schema_serialized('PROTOBUF', p.canonical) AS is_other_text,
       streamhouse.schema_serialized('AVRO', ' "int" ')
FROM streamhouse.schema_parse('PROTOBUF', proto('int32')) AS p;
SELECT failure($$SELECT streamhouse.schema_parse('XML', '<a/>')$$);
SELECT failure($$SELECT streamhouse.schema_parse('AVRO', '"int"', '{a}', '{}')$$);
SELECT failure($$SELECT streamhouse.schema_parse('AVRO', '"int"', '{NULL}', '{a}')$$);
SELECT streamhouse.schema_parse(NULL, '"int"') IS NULL AS is_null;

-- Line by line.
SELECT * FROM streamhouse.schema_diff('m', 1, 3);
SELECT streamhouse.register_schema('d', avro('a b=1'));
SELECT streamhouse.register_schema('d', avro('a c=2'));
SELECT * FROM streamhouse.schema_diff('d', 1, 2);
SELECT * FROM streamhouse.schema_diff('d', '2') LIMIT 2;
SELECT failure($$SELECT streamhouse.schema_diff('d', 1, 3)$$);
SELECT streamhouse.schema_pretty('JSON', '{"a":[1,{"b":[]},{}],"c":"x,{\"[","d":null}');
SELECT * FROM streamhouse.text_diff(E'a\nb\nc\n', E'a\nx\nc\nd');
SELECT * FROM streamhouse.text_diff('', '');
SELECT change, count(*) FROM streamhouse.text_diff(
    (SELECT string_agg(n::text, E'\n') FROM generate_series(1, 5000) AS n),
    (SELECT string_agg((-n)::text, E'\n') FROM generate_series(1, 5000) AS n)) GROUP BY change;

-- The thousandth version is compared with all in less than 100 ms: the best of three.
SELECT streamhouse.set_compatibility('NONE', 'many');
SELECT count(streamhouse.register_schema('many', avro('a b' || n || '=1 c=2'))) FROM generate_series(1, 999) AS n;
SELECT streamhouse.set_compatibility('FULL_TRANSITIVE', 'many');
SELECT count(streamhouse.register_schema('many', avro('a d' || n || '=1 c=2'))) FROM generate_series(1, 3) AS n;
SELECT count(*) FROM streamhouse.versions('many');

-- More than a backend keeps parsed.
SELECT streamhouse.set_compatibility('NONE', 'large');
SELECT count(streamhouse.register_schema('large', '{"description":"' || repeat('x', 1500000) || n || '"}', 'JSON'))
FROM generate_series(1, 3) AS n;
SELECT streamhouse.set_compatibility('FULL_TRANSITIVE', 'large');
SELECT streamhouse.register_schema('large', '{}', 'JSON') IS NOT NULL AS made;
SELECT left(failure($$SELECT streamhouse.register_schema('large', '{"type":"string"}', 'JSON')$$), 5) AS state;

-- What grows with the schemas' sizes alone is compared, however large; what does not ends, with an error.
CREATE FUNCTION enum_of(first int, last int) RETURNS text LANGUAGE sql AS $$
    SELECT '{"enum":[' || string_agg('"v' || n || '"', ',') || ']}' FROM generate_series(first, last) AS n
$$;
-- Each branch has some values more than the one before.
CREATE FUNCTION any_of(size int, more int) RETURNS text LANGUAGE sql AS $$
    SELECT '{"anyOf":[' || string_agg(enum_of(1, size + b * more), ',') || ']}' FROM generate_series(1, 100) AS b
$$;
SELECT kind, message FROM streamhouse.schema_compare('JSON', enum_of(1, 100000), '{}', '{}', enum_of(2, 100001), '{}', '{}');
SELECT failure(format('SELECT * FROM streamhouse.schema_compare(%L, %L, %L, %L, %L, %L, %L)', 'JSON', any_of(2500, 0), '{}',
                      '{}', any_of(2500, 1), '{}', '{}'));
SELECT failure($q$SELECT streamhouse.register_schema('twice', '{"type": "string", "type": "integer"}', 'JSON')$q$);
-- It ends when it is told to.
SET statement_timeout = '50ms';
SELECT count(*) FROM streamhouse.schema_compare('JSON', any_of(2500, 0), '{}', '{}', any_of(2500, 1), '{}', '{}');
RESET statement_timeout;
DROP FUNCTION proto, enum_of, any_of;
