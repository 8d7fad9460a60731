-- The view health: what is wrong, and what to do; and what is not wrong, although it looks so for a while.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SET streamhouse.offset_range = 1000;
CREATE FUNCTION pg_temp.wrong() RETURNS TABLE (subject text, status text) LANGUAGE sql AS $$
    -- Whether a worker ticks in this database, and what other tests leave open, is not asked here.
    SELECT h.subject, h.status FROM streamhouse.health AS h
    WHERE NOT h.is_well AND h.subject NOT IN ('workers', 'transactions')
$$;
SELECT string_agg(subject, ' ') FROM streamhouse.health;
SELECT * FROM pg_temp.wrong();

-- A topic before there is an agent, and once there is one that has not taken it yet.
SELECT streamhouse.create_topic('t', partitions => 2) IS NOT NULL AS made;
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT * FROM pg_temp.wrong();
SELECT register('a', 1) AS a \gset
SELECT * FROM pg_temp.wrong();
SELECT take(:a);
SELECT * FROM publish(:a, 1, '{t 0 0+10}');
SELECT * FROM pg_temp.wrong();

-- It is gone, and nobody is there to take over; then somebody is, and does.
UPDATE streamhouse.lease SET silent_ms = 90000;
SELECT expire('a');
SELECT * FROM pg_temp.wrong();
SELECT register('b', 2) AS b \gset
SELECT * FROM pg_temp.wrong();
SELECT take(:b);
SELECT * FROM pg_temp.wrong();
-- What it left is ended by force, and the agent retired.
SELECT streamhouse.force_seal('t', partition, epoch) FROM streamhouse.orphans ORDER BY partition;
SELECT * FROM pg_temp.wrong();
SELECT streamhouse.retire_agent('a');
SELECT * FROM pg_temp.wrong();

-- The one that is left drains: it keeps what it has, until it is gone too.
SELECT streamhouse.drain_agent('b');
SELECT * FROM pg_temp.wrong();
SELECT streamhouse.create_topic('u') IS NOT NULL AS made;
SELECT * FROM pg_temp.wrong();
SELECT streamhouse.undrain_agent('b');
SELECT * FROM pg_temp.wrong();
-- An agent that ended in good order is not missed, nor one whose lease it has back.
SELECT register('c', 3) AS c \gset
SELECT streamhouse.agent_end(:c);
SELECT expire('b');
SELECT subject FROM pg_temp.wrong();
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:b, 0);
SELECT * FROM pg_temp.wrong();
-- A full disk: what it has stays while there is nobody else, and comes back when there is room.
SELECT streamhouse.agent_lacks_room(:b, true);
SELECT * FROM pg_temp.wrong();
SELECT agent_id, problem IS NOT NULL AND problem LIKE '%no room%' AS is_told FROM streamhouse.agents WHERE agent_id = 'b';
SELECT DISTINCT target_agent FROM streamhouse.partition JOIN streamhouse.topic USING (topic_id) WHERE durability = 'wal';
SELECT register('d', 4) AS d \gset
SELECT DISTINCT target_agent FROM streamhouse.partition JOIN streamhouse.topic USING (topic_id) WHERE durability = 'wal';
SELECT DISTINCT action FROM streamhouse.agent_assignments(:b);
SELECT streamhouse.agent_lacks_room(:b, false);
SELECT DISTINCT target_agent FROM streamhouse.partition JOIN streamhouse.topic USING (topic_id) WHERE durability = 'wal' ORDER BY 1;
SELECT * FROM pg_temp.wrong();
-- A new start has to find out anew.
SELECT streamhouse.agent_lacks_room(:d, true);
SELECT register('d', 4, 2, (SELECT calls FROM streamhouse.lease WHERE incarnation_id = :d)) AS d \gset
SELECT * FROM pg_temp.wrong();
SELECT streamhouse.agent_end(:d);
-- Of many, five are named.
SELECT count(register('m' || n, 10 + n)) FROM generate_series(1, 7) AS n;
UPDATE streamhouse.lease AS l SET ticks_left = 0, silent_ms = 1000 WHERE l.incarnation_id <> :b;
SELECT * FROM pg_temp.wrong();

-- Deletion: nothing is wrong while the marker has not been held for long, nor while there is nobody to make it.
SELECT renew();
SET streamhouse.require_store_marker = on;
SELECT streamhouse.deletion_allowed();
SELECT * FROM pg_temp.wrong();
SELECT register('a', 1) AS a \gset
SELECT * FROM pg_temp.wrong();
SELECT streamhouse.agent_marker_due(:a);
SELECT action FROM streamhouse.agent_marker_next(:a, 0, NULL, 1, NULL, -1);
SELECT c.action FROM streamhouse.store_marker AS m,
    streamhouse.agent_marker_confirm(:a, 1, 1, m.next_nonce, 1, (SELECT cluster_id FROM streamhouse.cluster), -1) AS c;
SELECT status FROM streamhouse.store_marker_status;
SELECT * FROM pg_temp.wrong();
-- Then agents have been there for long, and none has renewed it.
UPDATE streamhouse.agent SET registered_at = registered_at - interval '1 hour';
SELECT * FROM pg_temp.wrong();
UPDATE streamhouse.store_marker SET confirmed_at = confirmed_at - interval '1 hour';
SELECT * FROM pg_temp.wrong();
UPDATE streamhouse.store_marker SET contested_by = 'marker 2 of a copy';
SELECT * FROM pg_temp.wrong();
UPDATE streamhouse.store_marker SET contested_by = NULL, confirmed_at = now();
SELECT * FROM pg_temp.wrong();
INSERT INTO streamhouse.term (term, reason, ticks_left, settled_at) VALUES (2, 'a copy', 0, now());
SELECT * FROM pg_temp.wrong();
SELECT renew();
-- Who may only read is told too.
SET ROLE streamhouse_read;
SELECT string_agg(subject, ' ') AS ill FROM streamhouse.health WHERE NOT is_well AND subject <> 'workers';
RESET ROLE;
