-- The schema registry: compatibility levels and modes.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();

SELECT streamhouse.get_compatibility(), streamhouse.get_mode();
SELECT streamhouse.set_compatibility('full_transitive');
SELECT streamhouse.set_compatibility('FORWARD', 's');
SELECT streamhouse.get_compatibility(), streamhouse.get_compatibility('s'), streamhouse.get_compatibility('t');
SELECT streamhouse.get_compatibility('s', effective => false);
SELECT failure($$SELECT streamhouse.get_compatibility('t', effective => false)$$);
SELECT failure($$SELECT streamhouse.set_compatibility('SIDEWAYS')$$);
SELECT failure($$SELECT streamhouse.set_compatibility(NULL, 's')$$);
SELECT failure($$SELECT streamhouse.set_compatibility('FULL', '')$$);
SELECT streamhouse.reset_compatibility('s');
SELECT failure($$SELECT streamhouse.reset_compatibility('s')$$);
SELECT streamhouse.reset_compatibility();
SELECT streamhouse.get_compatibility(), streamhouse.get_compatibility('s');

-- READONLY: what is there can be read, looked up, and registered again to no effect.
SELECT streamhouse.register_schema('s', avro('a'));
SELECT streamhouse.set_mode('readonly', 's');
SELECT streamhouse.get_mode('s'), streamhouse.get_mode();
SELECT streamhouse.register_schema('s', avro('a'));
SELECT failure($$SELECT streamhouse.register_schema('s', avro('a b=1'))$$);
SELECT failure($$SELECT streamhouse.delete_version('s', 1)$$);
SELECT failure($$SELECT streamhouse.delete_subject('s')$$);
SELECT failure($$SELECT streamhouse.set_compatibility('NONE', 's')$$);
SELECT streamhouse.register_schema('other', avro('a'));
SELECT streamhouse.set_mode('READONLY');
SELECT left(failure($$SELECT streamhouse.register_schema('third', avro('a'))$$), 5) AS state;
SELECT streamhouse.set_mode('READWRITE', 'third');
SELECT streamhouse.register_schema('third', avro('a'));
SELECT streamhouse.reset_mode('s');
SELECT failure($$SELECT streamhouse.reset_mode('s')$$);
SELECT failure($$SELECT streamhouse.get_mode('s', effective => false)$$);
SELECT streamhouse.get_mode('s');
SELECT streamhouse.reset_mode();
SELECT streamhouse.get_mode('s');
SELECT failure($$SELECT streamhouse.set_mode('WRITEONLY')$$);
SELECT failure($$SELECT streamhouse.set_mode(NULL)$$);

-- IMPORT: with the ids and versions of elsewhere, which nothing is compared with.
SELECT failure($$SELECT streamhouse.set_mode('IMPORT')$$);
SELECT failure($$SELECT streamhouse.set_mode('IMPORT', 's')$$);
SELECT failure($$SELECT streamhouse.register_schema('s', avro('z'), id => 7)$$);
SELECT failure($$SELECT streamhouse.register_schema('s', avro('z'), id => 0)$$);
SELECT streamhouse.set_mode('IMPORT', 'imported');
SELECT failure($$SELECT streamhouse.register_schema('imported', avro('x'))$$);
SELECT streamhouse.register_schema('imported', avro('x'), id => 3, version => 4);
SELECT streamhouse.register_schema('imported', avro('y'), id => 2147483647, version => 2);
SELECT streamhouse.register_schema('imported', avro('y'), id => 2147483647, version => 2);
SELECT failure($$SELECT streamhouse.register_schema('imported', avro('w'), id => 3)$$);
-- A version that leaves no room for others is none.
SELECT failure($$SELECT streamhouse.register_schema('imported', avro('w'), id => 6, version => 2147483647)$$);
SELECT failure($$SELECT streamhouse.register_schema('imported', avro('w'), id => 6, version => 1000000001)$$);
SELECT failure($$SELECT streamhouse.register_schema('imported', avro('x'), id => 4)$$);
SELECT failure($$SELECT streamhouse.register_schema('imported', avro('w'), id => 5, version => 4)$$);
SELECT streamhouse.register_schema('imported', avro('a'), id => 1) AS shared;
SELECT version, schema_id FROM streamhouse.schemas WHERE subject = 'imported';
SELECT streamhouse.set_mode('READWRITE', 'imported');
SELECT streamhouse.set_compatibility('NONE', 'imported');
SELECT streamhouse.register_schema('imported', avro('q')) AS second_id;
SELECT streamhouse.register_schema('imported', avro('r')) AS after_the_third;
SELECT streamhouse.set_mode('IMPORT', 's', force => true);
SELECT streamhouse.delete_subject('s');
SELECT streamhouse.get_mode('s') AS forgotten;
