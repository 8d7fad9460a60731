-- Drained agents hand over what they have and get nothing new.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', partitions => 4) IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT streamhouse.drain_agent('never');
-- Without another agent everything stays.
SELECT streamhouse.drain_agent('a');
SELECT DISTINCT target, status FROM streamhouse.partitions;
SELECT agent_id, state, draining, partitions FROM streamhouse.agents;
SELECT register('b', 2) AS b \gset
SELECT action, count(*) FROM streamhouse.agent_assignments(:a) GROUP BY action;
SELECT seal(:a, '{release}');
SELECT take(:b);
SELECT owner, count(*), min(status) AS status FROM streamhouse.partitions GROUP BY owner;
-- A restart keeps it so.
SELECT streamhouse.agent_end(:a);
SELECT register('a', 1, 2) AS a2 \gset
SELECT agent_id, state FROM streamhouse.agents;
SELECT count(*) FROM streamhouse.agent_assignments(:a2);
SELECT streamhouse.undrain_agent('a');
SELECT target, count(*) FROM streamhouse.partitions GROUP BY target ORDER BY target;
SELECT agent_id, state, draining FROM streamhouse.agents;
