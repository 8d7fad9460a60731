-- Which store is the cluster's: the first agent that tells of one says it, until it is forgotten.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT register('a', 1) AS a \gset
SELECT * FROM streamhouse.agent_store(NULL, NULL);
SELECT * FROM streamhouse.agent_store('00000000-0000-0000-0000-000000000001', 'bucket one');
SELECT * FROM streamhouse.agent_store('00000000-0000-0000-0000-000000000002', 'bucket two');
SELECT * FROM streamhouse.agent_store(NULL, NULL);
SELECT store_id, store_place FROM streamhouse.cluster;
-- Not while somebody works with it.
SELECT streamhouse.forget_store();
SELECT streamhouse.agent_end(:a);
SELECT streamhouse.forget_store();
SELECT * FROM streamhouse.agent_store(NULL, NULL);
-- A long place is cut.
SELECT store_id, length(store_place), octet_length(store_place)
FROM streamhouse.agent_store('00000000-0000-0000-0000-000000000002', repeat('ü', 10000));
