-- Partitions are spread over live agents, moving as few as need be.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
CREATE FUNCTION fixture.spread() RETURNS TABLE (agent text, partitions text) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT target, string_agg(p.topic || p.partition, ' ' ORDER BY p.topic, p.partition)
                 FROM streamhouse.partitions AS p GROUP BY target ORDER BY target;
END $$;

-- Without agents a topic waits; the first agent gets everything.
SELECT streamhouse.create_topic('t', partitions => 6) IS NOT NULL AS made;
SELECT * FROM spread();
SELECT register('a', 1) AS a \gset
SELECT * FROM spread();
SELECT take(:a);

-- The second gets its share, of each topic.
SELECT streamhouse.create_topic('u', partitions => 2) IS NOT NULL AS made;
SELECT take(:a);
SELECT register('b', 2) AS b \gset
SELECT * FROM spread();

-- Clean hand-over: the owner is asked to release, and until it has sealed, nobody else gets the partition.
SELECT topic, partition, action FROM streamhouse.agent_assignments(:a);
SELECT topic, partition, action FROM streamhouse.agent_assignments(:b);
SELECT result FROM streamhouse.agent_grant(:b, ARRAY[topic('t')], ARRAY[5]);
SELECT topic, partition, owner, target, status FROM streamhouse.partitions WHERE owner <> target;
SELECT seal(:a, '{release}');
SELECT topic, partition, action FROM streamhouse.agent_assignments(:b);
SELECT take(:b);
SELECT owner, count(*) FROM streamhouse.partitions GROUP BY owner ORDER BY owner;

-- A new topic is placed at once; a third agent takes as few as it must.
SELECT streamhouse.create_topic('v', partitions => 3) IS NOT NULL AS made;
SELECT * FROM spread();
SELECT register('c', 3) AS c \gset
SELECT * FROM spread();
SELECT streamhouse.rebalance();

-- An agent that ends gives up its place; what one that is gone had is given to others.
SELECT streamhouse.agent_end(:c);
SELECT * FROM spread();
SELECT streamhouse.lease_tick() FROM generate_series(1, streamhouse.lease_ticks() - 1);
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:b, 0);
SELECT streamhouse.lease_tick();
SELECT streamhouse.rebalance();
SELECT * FROM spread();
SELECT agent_id, state, partitions FROM streamhouse.agents;
SELECT topic, partition, owner, target, status FROM streamhouse.partitions WHERE owner = 'a';
SELECT DISTINCT result FROM streamhouse.agent_grant(:b, ARRAY[topic('t')], ARRAY[0]);

-- An expired lease that nothing superseded is renewed, and the agent gets its share again.
SELECT calls > 0 AS renewed FROM streamhouse.agent_heartbeat(:a, 0);
SELECT streamhouse.lease_tick();
SELECT streamhouse.rebalance() > 0 AS moved;
SELECT target, count(*) FROM streamhouse.partitions GROUP BY target ORDER BY target;

-- An epoch that an agent was granted but never opened makes room once the agent is gone.
SELECT register('d', 4) AS d \gset
SELECT topic AS free_topic, partition AS free_partition FROM streamhouse.partitions
WHERE target = 'd' AND epoch IS NULL LIMIT 1 \gset
SELECT result FROM streamhouse.agent_grant(:d, ARRAY[topic(:'free_topic')], ARRAY[:free_partition]);
UPDATE streamhouse.lease SET ticks_left = 0 WHERE incarnation_id IN (:a, :d);
SELECT streamhouse.rebalance() > 0 AS moved;
SELECT target, status FROM streamhouse.partitions
WHERE topic = :'free_topic' AND partition = :free_partition;
SELECT result FROM streamhouse.agent_grant(:b, ARRAY[topic(:'free_topic')], ARRAY[:free_partition]);
SELECT result FROM streamhouse.agent_open(:d, ARRAY[topic(:'free_topic')], ARRAY[:free_partition],
    ARRAY[(1::bigint << 40) + 1]);

-- So many that move at once are noted as a change of everything, and dealt out as evenly as few are.
SELECT streamhouse.create_topic('many-' || n, partitions => 4000) IS NOT NULL AS made FROM generate_series(1, 3) AS n;
UPDATE streamhouse.partition SET target_agent = NULL;
SELECT register('e', 5) AS e \gset
SELECT bool_or(topic_id IS NULL) AS everything, count(*) < 100 AS few FROM streamhouse.control_change
WHERE version = streamhouse.metadata_version();
SELECT max(held) - min(held) <= 1 AS even, max(of_topic) - min(of_topic) <= 2 AS of_each_topic
FROM (SELECT target, topic, count(*) AS of_topic, sum(count(*)) OVER (PARTITION BY target) AS held
      FROM streamhouse.partitions WHERE topic LIKE 'many-%' GROUP BY target, topic) AS s;
