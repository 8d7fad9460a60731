-- Whose agent is whose: roles are bound to agent ids and WALs; agents that never return.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
GRANT USAGE ON SCHEMA fixture TO PUBLIC;
CREATE ROLE regress_agent_1 LOGIN IN ROLE streamhouse_agent;
CREATE ROLE regress_agent_2 LOGIN IN ROLE streamhouse_agent;
SELECT streamhouse.create_topic('t') IS NOT NULL AS made;

SET SESSION AUTHORIZATION regress_agent_1;
SELECT register('a1', 1) AS a1 \gset
RESET SESSION AUTHORIZATION;
SELECT streamhouse.rebalance() AS moved, take(:a1) AS taken;
SELECT agent_id, bound_role FROM streamhouse.agent;

-- Another role is not that agent.
SET SESSION AUTHORIZATION regress_agent_2;
SELECT register('a2', 2) AS a2 \gset
SELECT failure($$ SELECT fixture.register('a1', 3) $$);
SELECT failure($$ SELECT fixture.register('a3', 1, 2) $$);
SELECT failure(format('SELECT streamhouse.agent_heartbeat(%s, 0)', :a1));
SELECT failure(format('SELECT * FROM streamhouse.agent_garbage(%s, 1)', :a1));
SELECT left(failure(format($$ SELECT * FROM fixture.publish(%s, 1, ARRAY['t 0 0+1']) $$, :a1)), 5) AS publish,
       left(failure(format('SELECT streamhouse.agent_end(%s)', :a1)), 5) AS ends;
SELECT calls FROM streamhouse.agent_heartbeat(:a2, 0);

-- Nor may it name what is not its own, or leave no numbers to others.
SELECT failure(format($$ SELECT * FROM fixture.publish(%s, 1, '{}', object => '../../../etc/passwd') $$, :a2));
SELECT failure(format($$ SELECT * FROM fixture.publish(%s, 1, '{}', object => '/etc/passwd') $$, :a2));
SELECT failure(format($$ SELECT * FROM fixture.publish(%s, 1, '{}', object => 'a b') $$, :a2));
SELECT failure(format($$ SELECT * FROM fixture.publish(%s, 1, '{}', object => '00/a1/%s/1-x.seg') $$, :a2, :a1));
SELECT count(*) FROM publish(:a2, 1, '{}', object => format('00/a2/%s/1-x.seg', :a2));
SELECT failure($$ SELECT fixture.register('a2', 2, 9223372036854775807) $$);
SELECT failure($$ SELECT fixture.register('a9', 9, 9223372036854775807) $$);
SELECT register('a2', 2, 1000) - :a2 AS next;

-- A superuser is bound to nothing, and an administrator releases.
RESET SESSION AUTHORIZATION;
SELECT calls > 0 AS ok FROM streamhouse.agent_heartbeat(:a1, 0);
SELECT failure($$ SELECT streamhouse.release_agent('nobody') $$);
SET ROLE streamhouse_admin;
SELECT streamhouse.release_agent('a1');
RESET ROLE;
SET SESSION AUTHORIZATION regress_agent_2;
SELECT calls > 0 AS ok FROM streamhouse.agent_heartbeat(:a1, 0);
SELECT register('a1', 1, 2) AS a1 \gset
RESET SESSION AUTHORIZATION;
SELECT agent_id, bound_role FROM streamhouse.agent ORDER BY agent_id;

-- Agents that do not return. Not while they are live, nor while their WALs may hold something.
SELECT failure($$ SELECT streamhouse.retire_agent('a1') $$);
UPDATE streamhouse.lease SET ticks_left = 0;
SELECT failure($$ SELECT streamhouse.retire_agent('a1') $$);
SELECT streamhouse.force_seal('t', 0);
SELECT agent_id FROM streamhouse.retirable_agent ORDER BY 1;
SELECT calls FROM streamhouse.lease WHERE wal_uuid = wal(1) \gset
SELECT streamhouse.retire_agent('a1');
SELECT streamhouse.retire_agent('a1');
SELECT agent_id, state FROM streamhouse.agents ORDER BY 1;
SELECT failure(format('SELECT streamhouse.agent_heartbeat(%s, 0)', :a1));
-- Should it return all the same, the database has forgotten nothing of it.
SELECT register('a1', 1, 3, :calls) > :a1 AS back;
SELECT term FROM streamhouse.cluster;

-- By themselves, after streamhouse.agent_retention; what they uploaded and never published goes.
UPDATE streamhouse.lease SET ticks_left = 0;
SELECT streamhouse.retire_silent_agents();
UPDATE streamhouse.lease SET renewed_at = now() - interval '8 days' WHERE wal_uuid = wal(2);
SELECT streamhouse.retire_silent_agents();
SELECT agent_id, state FROM streamhouse.agents ORDER BY 1;
DROP EXTENSION streamhouse;
DROP ROLE regress_agent_1, regress_agent_2;
