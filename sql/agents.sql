-- Registration, leases, fencing, lost history.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', partitions => 2) IS NOT NULL AS made;

SELECT incarnation_id, term, lease_ticks, calls
FROM streamhouse.agent_register('a', wal(1), 1, 'host-a:9000', 'host-a:9001', 'z1', 'boot-1', '0.1.0', 0);
SELECT cluster_id = (SELECT cluster_id FROM streamhouse.cluster) AS same_cluster, incarnation_id,
       tick_interval_ms > 0 AS ticks
FROM streamhouse.agent_register('b', wal(2), 7, 'host-b:9000', NULL, NULL, NULL, NULL, 0);
SELECT agent_id, state, address, http_address, zone, version, partitions, incarnation_id, incarnation_no
FROM streamhouse.agents;
SELECT * FROM streamhouse.agent_live_agents();
SELECT * FROM streamhouse.leases;

-- Who may not register.
SELECT register('c', 1, 1);
\echo :SQLSTATE
SELECT register('a', 3);
\echo :SQLSTATE
SELECT register('a b', 3);
SELECT register(NULL, 3);
SELECT register('c', 3, 0);

-- A heartbeat renews the lease, also one that ran out.
SELECT streamhouse.lease_tick() FROM generate_series(1, 3);
SELECT agent_id, ticks_left FROM streamhouse.leases ORDER BY agent_id;
SELECT calls FROM streamhouse.agent_heartbeat(1, 1);
SELECT calls FROM streamhouse.agent_heartbeat(1, 2);
SELECT agent_id, ticks_left FROM streamhouse.leases ORDER BY agent_id;
SELECT count(*) FILTER (WHERE due) AS due
FROM (SELECT streamhouse.lease_tick() AS due FROM generate_series(1, 10)) AS ticks;
SELECT agent_id, state, ticks_left FROM streamhouse.agents;
SELECT calls FROM streamhouse.agent_heartbeat(1, 0);
SELECT agent_id, state, ticks_left FROM streamhouse.agents;
SELECT streamhouse.agent_heartbeat(99, 0);
\echo :SQLSTATE
SELECT streamhouse.agent_heartbeat(NULL, 0);

-- Live agents keep the extension.
SET streamhouse.allow_drop = off;
DROP EXTENSION streamhouse;
DROP EXTENSION IF EXISTS streamhouse RESTRICT;
BEGIN;
DROP EXTENSION streamhouse CASCADE;
ROLLBACK;
BEGIN;
UPDATE streamhouse.lease SET ticks_left = 0;
DROP EXTENSION streamhouse;
ROLLBACK;
RESET streamhouse.allow_drop;

-- The agent has seen calls that the database has not: history was lost.
SELECT streamhouse.agent_heartbeat(1, 1000);
\echo :SQLSTATE
BEGIN;
UPDATE streamhouse.cluster SET system_identifier = 42;
\set VERBOSITY sqlstate
SELECT streamhouse.agent_heartbeat(1, 0);
ROLLBACK;
BEGIN;
UPDATE streamhouse.cluster SET timeline = 77;
SELECT streamhouse.agent_heartbeat(1, 0);
ROLLBACK;
SELECT streamhouse.agent_check(1, 1000);
\set VERBOSITY default
SELECT streamhouse.agent_check(1, 1);

-- A restart fences the older incarnation; what it had open is handed on, what it had granted vanishes.
SELECT streamhouse.rebalance() AS moved;
SELECT result FROM streamhouse.agent_grant(1, ARRAY[topic('t'), topic('t')], ARRAY[0, 1]);
SELECT result FROM streamhouse.agent_open(1, ARRAY[topic('t')], ARRAY[0], ARRAY[latest_epoch('t', 0)]);
SELECT * FROM publish(1, 1, '{t 0 0+4}');
SELECT register('a', 1, 2) AS restarted \gset
SELECT partition, action, epoch, epoch_state, published_end FROM streamhouse.agent_assignments(:restarted);
SELECT partition, owner, status FROM streamhouse.partitions;
SELECT streamhouse.agent_heartbeat(1, 0);
\echo :SQLSTATE
\set VERBOSITY sqlstate
SELECT streamhouse.agent_assignments(1);
SELECT streamhouse.agent_grant(1, ARRAY[topic('t')], ARRAY[0]);
SELECT streamhouse.agent_open(1, ARRAY[topic('t')], ARRAY[0], ARRAY[1]);
SELECT streamhouse.agent_seal(1, ARRAY[topic('t')], ARRAY[0], ARRAY[1], ARRAY[0], ARRAY[false]);
SELECT publish(1, 2, '{t 0 4+1}');
SELECT streamhouse.agent_end(1);
\set VERBOSITY default
SELECT * FROM publish(:restarted, 1, '{t 0 0+4,t 0 4+2}');

-- The results of the fenced incarnation are of no use any more.
SELECT streamhouse.prune_publish_results();
SELECT incarnation_id, publish_no FROM streamhouse.publish_result;

-- A clean end.
SELECT streamhouse.agent_end(:restarted);
\echo :SQLSTATE
SELECT seal(:restarted, '{recover}');
SELECT streamhouse.agent_end(:restarted);
SELECT streamhouse.agent_end(:restarted);
\echo :SQLSTATE
SELECT agent_id, state, partitions FROM streamhouse.agents;

-- An agent that lost its disk comes with a new WAL, once its lease has run out; the old WAL keeps its
-- open epochs.
SELECT register('a', 1, 3) AS third \gset
SELECT take(:third);
SELECT register('a', 5);
UPDATE streamhouse.lease SET ticks_left = 0 WHERE incarnation_id = :third;
SELECT register('a', 5) AS fresh \gset
SELECT action FROM streamhouse.agent_assignments(:fresh);
SELECT partition, owner, status FROM streamhouse.partitions;
-- The old disk turns up under another name, and ends what it had begun.
SELECT register('rescue', 1, 4) AS rescue \gset
SELECT partition, action FROM streamhouse.agent_assignments(:rescue);
SELECT seal(:rescue, '{recover}');
SELECT take(:fresh) + take(:rescue) AS taken;
SELECT partition, owner, status FROM streamhouse.partitions;
