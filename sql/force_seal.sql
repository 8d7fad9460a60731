-- Ending orphaned epochs without their WAL, and what becomes of it when it returns after all.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SET streamhouse.offset_range = 1000;
SELECT streamhouse.create_topic('t', partitions => 2) IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);
SELECT register('b', 2) AS b \gset
SELECT * FROM publish(:a, 1, '{t 0 0+10}');

-- What cannot be sealed.
SELECT streamhouse.force_seal('never', 0);
SELECT streamhouse.force_seal('t', 7);
SELECT streamhouse.force_seal('t', 0, 5);
SELECT streamhouse.force_seal('t', 0);
SELECT streamhouse.create_topic('o', durability => 'object') IS NOT NULL AS made;
SELECT streamhouse.force_seal('o', 0);

-- A partition whose agent is gone, taken over or not.
SELECT expire('a');
SELECT streamhouse.force_seal('t', 1);
SELECT take(:b);
SELECT * FROM publish(:b, 1, '{t 0 1000+5}');
SELECT streamhouse.force_seal('t', 0, (1::bigint << 40) + 2);
SELECT streamhouse.force_seal('t', 0);
SELECT streamhouse.force_seal('t', 0, (1::bigint << 40) + 1);
SELECT * FROM epochs();
SELECT published_end FROM streamhouse.read_bounds(ARRAY[topic('t')], ARRAY[0]);

-- Its WAL returns with 7 records more: they are refused in their epoch, and have one of their own above.
SELECT register('a', 1, 2) AS a2 \gset
SELECT action, partition FROM streamhouse.agent_assignments(:a2);
SELECT result FROM publish(:a2, 1, '{t 0 @1 5+5,t 0 @1 10+7}');
-- The owner, whose WAL does not hold them, gets no such epoch, nor does its question make one.
SELECT result, epoch FROM streamhouse.agent_leftover(:b, ARRAY[topic('t')], ARRAY[0], ARRAY[(1::bigint << 40) + 1]);
SELECT result, forced_end, epoch - (1::bigint << 40) AS epoch, start_offset, limit_offset, published_end
FROM streamhouse.agent_leftover(:a2, ARRAY[topic('t'), topic('t'), topic('never')], ARRAY[0, 0, 0],
    ARRAY[(1::bigint << 40) + 1, (1::bigint << 40) + 2, 1]);
SELECT result, epoch - (1::bigint << 40) AS epoch, start_offset
FROM streamhouse.agent_leftover(:a2, ARRAY[topic('t')], ARRAY[0], ARRAY[(1::bigint << 40) + 1]);
SELECT result FROM streamhouse.agent_leftover(:b, ARRAY[topic('t')], ARRAY[0], ARRAY[(1::bigint << 40) + 1]);
-- The owner is asked to go on above it; nobody else may publish there.
SELECT partition, action FROM streamhouse.agent_assignments(:b) ORDER BY partition;
SELECT result FROM publish(:b, 2, '{t 0 @3 2000+7}');
SELECT * FROM publish(:a2, 2, '{t 0 @3 2000+7}');
SELECT seal(:b, '{roll}');
SELECT seal(:a2, '{recover}');
SELECT take(:a2) + take(:b) AS taken;
SELECT * FROM publish(CASE (SELECT owner FROM streamhouse.partitions WHERE topic = 't' AND partition = 0)
                      WHEN 'a' THEN :a2 ELSE :b END, 3, '{t 0 2990+1}');
SELECT * FROM epochs();
SELECT records, published_end FROM streamhouse.partitions WHERE topic = 't' AND partition = 0;
SELECT result, epoch - (1::bigint << 40) AS epoch, published_end
FROM streamhouse.agent_leftover(:a2, ARRAY[topic('t')], ARRAY[0], ARRAY[(1::bigint << 40) + 1]);

-- Leftovers of a topic that any agent writes to meanwhile.
SELECT streamhouse.create_topic('x') IS NOT NULL AS made;
SELECT take(:a2) + take(:b) AS taken;
SELECT owner AS gone FROM streamhouse.partitions WHERE topic = 'x' \gset
SELECT incarnation_id AS gone_id FROM streamhouse.agents WHERE agent_id = :'gone' \gset
SELECT expire(:'gone') >= 0 AS done;
SELECT streamhouse.alter_topic('x', durability => 'object');
SELECT streamhouse.force_seal('x', 0);
SELECT result, first_offset FROM publish(:b, 10, '{x 0 ?+2}');
SELECT result, start_offset FROM streamhouse.agent_leftover(:gone_id, ARRAY[topic('x')], ARRAY[0],
    ARRAY[(1::bigint << 40) + 1]);
SELECT result, first_offset FROM publish(:b, 11, '{x 0 ?+2}');
SELECT state, durability, start_offset, end_offset FROM streamhouse.epochs WHERE topic = 'x' ORDER BY epoch;
SELECT published_end FROM streamhouse.read_bounds(ARRAY[topic('x')], ARRAY[0]);

-- The topic's orphan_timeout, counted by ticks of 200 ms, from what the owner was told.
SELECT streamhouse.create_topic('y', orphan_timeout => '2 seconds') IS NOT NULL AS made;
SELECT streamhouse.create_topic('z') IS NOT NULL AS made;
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:a2, 0);
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:b, 0);
SELECT streamhouse.rebalance() >= 0 AS done;
SELECT DISTINCT result, orphan_timeout_ms FROM streamhouse.agents AS a,
    streamhouse.agent_grant(a.incarnation_id, ARRAY[topic('y')], ARRAY[0]) WHERE result = 'granted';
SELECT streamhouse.alter_topic('z', orphan_timeout => '3 seconds');
SELECT sum(take(incarnation_id)) FROM streamhouse.agents;
SELECT e.topic, result FROM streamhouse.epochs AS e,
    streamhouse.agent_open(e.incarnation_id, ARRAY[e.topic_id], ARRAY[0], ARRAY[e.epoch])
WHERE e.topic IN ('y', 'z') ORDER BY 1;
CREATE FUNCTION fixture.ticks(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. n LOOP
        PERFORM streamhouse.lease_tick(streamhouse.tick_interval_ms());
    END LOOP;
    RETURN streamhouse.orphan_tick();
END $$;
SELECT ticks(10);
SELECT ticks(1);
SELECT topic, state, forced FROM streamhouse.epochs WHERE topic IN ('y', 'z') ORDER BY 1;
SELECT h.calls > 0 AS renewed FROM streamhouse.agents AS a,
    streamhouse.agent_heartbeat(a.incarnation_id, 0) AS h;
SELECT ticks(15);
SELECT ticks(1);
SELECT topic, state, forced FROM streamhouse.epochs WHERE topic IN ('y', 'z') ORDER BY 1;

-- A time-out that the owner may not have got the answer of does not count before it asks with that version.
SELECT streamhouse.create_topic('w') IS NOT NULL AS made;
SELECT h.calls > 0 AS renewed FROM streamhouse.agents AS a, streamhouse.agent_heartbeat(a.incarnation_id, 0) AS h;
SELECT streamhouse.rebalance() >= 0 AS done;
SELECT sum(take(incarnation_id)) > 0 AS taken FROM streamhouse.agents;
CREATE FUNCTION fixture.ask(after_version bigint, OUT version bigint, OUT told bigint) LANGUAGE sql AS $$
    SELECT max(c.version), max(c.orphan_timeout_ms) FILTER (WHERE c.topic = 'w')
    FROM streamhouse.epoch AS e, streamhouse.agent_assign_changes(e.incarnation_id, after_version) AS c
    WHERE e.topic_id = topic('w')
$$;
-- After how many seconds of silence it is due.
CREATE FUNCTION fixture.due() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    at int;
BEGIN
    FOREACH at IN ARRAY ARRAY[3, 6, 61, 3601, 999999] LOOP
        UPDATE streamhouse.lease SET silent_ms = at * 1000, ticks_left = 0;
        EXIT WHEN EXISTS (SELECT FROM streamhouse.due_orphan WHERE topic_id = topic('w'));
        at := NULL;
    END LOOP;
    UPDATE streamhouse.lease SET silent_ms = 0, ticks_left = 10;
    RETURN at;
END $$;
SELECT version AS v0 FROM ask(NULL) \gset
SELECT streamhouse.alter_topic('w', orphan_timeout => '1 minute');
SELECT version AS v1, version > :v0 AS newer, told FROM ask(:v0) \gset
SELECT :'newer' AS newer, :told AS told, due();
-- The same again proves nothing, nor does a question for everything; the version of the answer does.
SELECT version = :v1 AS same, told, due() FROM ask(:v0);
SELECT told, due() FROM ask(NULL);
SELECT told, due() FROM ask(:v1);
-- It is shortened: the longer one holds until then, also when others are told meanwhile.
SELECT streamhouse.alter_topic('w', orphan_timeout => '2 seconds');
SELECT version AS v2, told FROM ask(:v1) \gset
SELECT :told AS told, due();
SELECT streamhouse.alter_topic('w', orphan_timeout => '1 hour');
SELECT version AS v3, told FROM ask(:v1) \gset
SELECT :told AS told, due();
SELECT streamhouse.alter_topic('w', orphan_timeout => '5 seconds');
SELECT version AS v4, told FROM ask(:v2) \gset
SELECT :told AS told, due();
SELECT told, due() FROM ask(:v3);
SELECT told, due() FROM ask(:v4);
-- It ends, and comes again.
SELECT streamhouse.alter_topic('w', reset => '{orphan_timeout}');
SELECT version AS v5, told, due() FROM ask(:v4) \gset
SELECT streamhouse.alter_topic('w', orphan_timeout => '2 seconds');
SELECT version AS v6, told FROM ask(:v4) \gset
SELECT :told AS told, due();
SELECT told, due() FROM ask(:v6);
DROP FUNCTION fixture.ask, fixture.due;

-- Only an administrator does it.
SELECT has_function_privilege('streamhouse_agent', 'streamhouse.force_seal(text, int, bigint)', 'execute');
