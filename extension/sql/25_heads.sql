-- Rows that every call of an agent changes: how their newest version is found.
--
-- While some snapshot stays open, in this database or on a standby that feeds back, PostgreSQL removes no dead
-- version of a row, and a look-up by a key that all versions share reads through all of them. So the keys of
-- epoch_head, lease and producer_state hold a number that rises (stage), and look-ups take the highest: they meet
-- the versions of one stage at most, whatever lies behind. Looking without it is right too, and slow beside an old
-- snapshot; so is reading such a table from end to end, which the functions of calls therefore rule out
-- (enable_seqscan): a plan that was made while the table was small would stay.
--
-- A row that was found and locked so is changed by its place (ctid), as another index that has the stage might be
-- taken for the key.
--
-- Nothing but the newest row of a key may be made: who inserts one sees to it that there is none at a later stage.

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
    SET enable_seqscan = off SET enable_bitmapscan = off
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

CREATE FUNCTION streamhouse.newest_lease(of_wal uuid) RETURNS SETOF streamhouse.lease
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT l.* FROM streamhouse.lease AS l WHERE l.wal_uuid = of_wal ORDER BY l.wal_uuid DESC, l.stage DESC LIMIT 1;
END;
COMMENT ON FUNCTION streamhouse.newest_lease IS 'The lease of a WAL, found by its highest stage';

CREATE FUNCTION streamhouse.held_lease(of_incarnation bigint) RETURNS SETOF streamhouse.lease
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT l.* FROM streamhouse.incarnation AS i CROSS JOIN LATERAL streamhouse.newest_lease(i.wal_uuid) AS l
    WHERE i.incarnation_id = of_incarnation AND l.incarnation_id = of_incarnation;
END;
COMMENT ON FUNCTION streamhouse.held_lease IS
    'The lease that an incarnation holds, found by its WAL: of one that holds none no dead versions are read either';

CREATE FUNCTION streamhouse.newest_state(of_topic uuid, of_partition int, of_producer bigint)
RETURNS SETOF streamhouse.producer_state
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT p.* FROM streamhouse.producer_state AS p
    WHERE p.topic_id = of_topic AND p.partition = of_partition AND p.producer_id = of_producer
    ORDER BY p.topic_id DESC, p.partition DESC, p.producer_id DESC, p.stage DESC LIMIT 1;
END;
COMMENT ON FUNCTION streamhouse.newest_state IS
    'What a producer has published in a partition, found by its highest stage; no row for one that is not known there';
