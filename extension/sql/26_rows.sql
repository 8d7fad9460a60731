-- How functions that are given arrays find the row of each element.
--
-- A join with a table is planned by statistics, and those of a young database, or of one in which thousands of
-- partitions have just been made, say nothing that is true: each element may then be compared with each row. So rows
-- are found one by one, by their keys: behind a LIMIT or an order, which the planner does not take apart, and with
-- nothing but the key, as an index that knows something else besides might be taken for it. What else is asked of a row
-- stands outside.
--
-- A row that was found so is changed by its place (ctid), and by nothing else. For that it must stay where it is: who
-- changes epochs holds the control lock; partitions, which retention changes too, are locked before, by a statement of
-- its own (lock_partitions). The functions that do so rule out reading tables from end to end (25_heads).

CREATE FUNCTION streamhouse.lock_partitions(topic_ids uuid[], partitions int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    PERFORM FROM (SELECT DISTINCT * FROM unnest(topic_ids, partitions) ORDER BY 1, 2) AS a(topic_id, partition),
                 LATERAL (SELECT FROM partition AS p
                          WHERE p.topic_id = a.topic_id AND p.partition = a.partition
                          LIMIT 1 FOR NO KEY UPDATE) AS locked;
END
$$;
COMMENT ON FUNCTION streamhouse.lock_partitions IS
    'Locks partitions until the transaction ends, in their order. The statements after it see what others committed '
    'while it waited, and find them where they stay. Needs the control lock';

CREATE FUNCTION streamhouse.find_topic(of_topic uuid) RETURNS SETOF streamhouse.topic
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT t.* FROM streamhouse.topic AS t WHERE t.topic_id = of_topic LIMIT 1;
END;
COMMENT ON FUNCTION streamhouse.find_topic IS 'A topic, by its key alone';

CREATE FUNCTION streamhouse.find_partition(of_topic uuid, of_partition int)
RETURNS TABLE (place tid, target_agent text)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT p.ctid, p.target_agent FROM streamhouse.partition AS p
    WHERE p.topic_id = of_topic AND p.partition = of_partition LIMIT 1;
END;
COMMENT ON FUNCTION streamhouse.find_partition IS 'A partition and its place, by its key alone';

CREATE FUNCTION streamhouse.find_epoch(of_topic uuid, of_partition int, of_epoch bigint)
RETURNS TABLE (place tid, epoch bigint, incarnation_id bigint, state text, start_offset bigint, limit_offset bigint,
               end_offset bigint, forced boolean)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.ctid, e.epoch, e.incarnation_id, e.state, e.start_offset, e.limit_offset,
           e.end_offset, e.forced
    FROM streamhouse.epoch AS e
    WHERE e.topic_id = of_topic AND e.partition = of_partition AND e.epoch = of_epoch LIMIT 1;
END;
COMMENT ON FUNCTION streamhouse.find_epoch IS 'An epoch and its place, by its key alone';

CREATE FUNCTION streamhouse.find_unsealed(of_topic uuid, of_partition int)
RETURNS TABLE (place tid, epoch bigint, incarnation_id bigint, durability text, state text, start_offset bigint,
               limit_offset bigint, orphan_timeout interval)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.ctid, e.epoch, e.incarnation_id, e.durability, e.state, e.start_offset, e.limit_offset, e.orphan_timeout
    FROM streamhouse.epoch AS e
    WHERE e.topic_id = of_topic AND e.partition = of_partition AND e.state <> 'sealed' ORDER BY e.epoch OFFSET 0;
END;
COMMENT ON FUNCTION streamhouse.find_unsealed IS
    'The epochs of a partition that are not sealed, and their places, by the partition''s key alone: a few orphaned '
    'ones, and one at most that takes new records';

CREATE FUNCTION streamhouse.find_current(of_topic uuid, of_partition int)
RETURNS TABLE (epoch bigint, incarnation_id bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.epoch, e.incarnation_id FROM streamhouse.epoch AS e
    WHERE e.topic_id = of_topic AND e.partition = of_partition AND e.state IN ('granted', 'open') LIMIT 1;
END;
COMMENT ON FUNCTION streamhouse.find_current IS
    'The epoch of a partition that takes new records, or is about to, by the partition''s key alone';

CREATE FUNCTION streamhouse.find_leftover(of_topic uuid, of_partition int, of_epoch bigint)
RETURNS TABLE (epoch bigint, start_offset bigint, limit_offset bigint)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT e.epoch, e.start_offset, e.limit_offset FROM streamhouse.epoch AS e
    WHERE e.topic_id = of_topic AND e.partition = of_partition AND e.leftover_of = of_epoch LIMIT 1;
END;
COMMENT ON FUNCTION streamhouse.find_leftover IS 'The epoch that was made for the leftovers of another one, by that key alone';
