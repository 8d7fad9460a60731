-- Heads of epochs: the newest version of a row that every publish changes.
--
-- While some snapshot stays open, in this database or on a standby that feeds back, PostgreSQL removes no dead
-- version of a row, and a look-up by a key that all versions share reads through all of them. So the key holds
-- a number that rises (epoch_head.stage), and look-ups take the highest: they meet the versions of one stage at
-- most, whatever lies behind. Looking without it is right too, and slow beside an old snapshot.

CREATE FUNCTION streamhouse.newest_head(of_topic uuid, of_partition int, of_epoch bigint)
RETURNS SETOF streamhouse.epoch_head
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT h.* FROM streamhouse.epoch_head AS h
    WHERE h.topic_id = of_topic AND h.partition = of_partition AND h.epoch = of_epoch
    ORDER BY h.topic_id DESC, h.partition DESC, h.epoch DESC, h.stage DESC LIMIT 1;
END;
COMMENT ON FUNCTION streamhouse.newest_head IS
    'The head of an epoch, found by its highest stage; no row for an epoch that was never open';

CREATE FUNCTION streamhouse.lock_heads(topic_ids uuid[], partitions int[], epochs bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    PERFORM FROM (SELECT DISTINCT * FROM unnest(topic_ids, partitions, epochs) ORDER BY 1, 2, 3)
                      AS a(topic_id, partition, epoch),
                 LATERAL (SELECT FROM epoch_head AS h
                          WHERE h.topic_id = a.topic_id AND h.partition = a.partition AND h.epoch = a.epoch
                          ORDER BY h.topic_id DESC, h.partition DESC, h.epoch DESC, h.stage DESC
                          LIMIT 1 FOR UPDATE) AS locked;
END
$$;
COMMENT ON FUNCTION streamhouse.lock_heads IS
    'Locks the heads of epochs until the transaction ends, in the order of (topic, partition, epoch) as all do, '
    'so that nobody waits in a circle. What others committed while it waited is seen by the statements after it';
