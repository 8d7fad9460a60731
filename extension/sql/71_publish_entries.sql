-- How a publish decides: all entries at once, by windows over each epoch's entries in the order they were
-- given.

CREATE FUNCTION streamhouse.is_same_wal(one bigint, other bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT EXISTS (SELECT FROM incarnation AS a JOIN incarnation AS b USING (wal_uuid)
                     WHERE a.incarnation_id = one AND b.incarnation_id = other) $$;
COMMENT ON FUNCTION streamhouse.is_same_wal IS
    'True for two incarnations of one WAL: what others have published in an epoch says nothing of its records';

CREATE FUNCTION streamhouse.publish_entries(
    incarnation bigint, publish_no bigint, object_id uuid, object_key text, object_bytes bigint,
    topic_ids uuid[], partitions int[], epochs bigint[], first_offsets bigint[], offset_counts bigint[],
    record_counts bigint[], positions bigint[], lengths bigint[], min_timestamps bigint[],
    max_timestamps bigint[], voids boolean[], verdicts text[], stored_at bigint[], repeats int[],
    oldest_no bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    WITH entry AS (
        SELECT e.*, CASE WHEN verdict IS NULL THEN given_count ELSE 0 END AS offset_count,
               h.published_end AS head_end, h.timestamp_high_ms AS head_high, h.stage, ep.incarnation_id AS owner,
               -- Offsets outside of an epoch's range are not the epoch's, and a run that brings offsets
               -- is not for an ownerless epoch, unless what had been published there is presented again
               -- (publish number 0): whoever sends these holds no such epoch.
               coalesce(ep.state IN ('open', 'orphaned')
                        AND (ep.incarnation_id IS NOT DISTINCT FROM
                                 CASE WHEN e.first_given IS NOT NULL THEN publish_entries.incarnation END
                             OR publish_entries.publish_no = 0 AND ep.incarnation_id IS NULL)
                        AND coalesce(e.first_given, ep.start_offset) >= ep.start_offset
                        AND coalesce(e.first_given + e.given_count, 0) <= ep.limit_offset,
                        false) AS is_allowed,
               CASE WHEN ep.epoch IS NULL THEN coalesce(absent_topic(e.topic_id), 'fenced') END AS absent,
               coalesce(e.first_given < ep.start_offset, false) AS is_below
        FROM unnest(topic_ids, partitions, epochs, first_offsets, offset_counts, record_counts, positions,
                    lengths, min_timestamps, max_timestamps, voids, verdicts, stored_at, repeats)
             WITH ORDINALITY
             AS e(topic_id, partition, epoch, first_given, given_count, record_count, position, length,
                  min_ms, max_ms, is_void, verdict, stored_at, repeats, ordinal)
        LEFT JOIN epoch AS ep ON (ep.topic_id, ep.partition, ep.epoch) = (e.topic_id, e.partition, e.epoch)
        LEFT JOIN LATERAL newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
    ), run AS (
        SELECT *,
               coalesce(first_given,
                        head_end + coalesce(sum(offset_count) OVER earlier, 0)::bigint) AS run_first
        FROM entry
        WINDOW earlier AS (PARTITION BY topic_id, partition, epoch ORDER BY ordinal
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), checked AS (
        SELECT *, run_first + offset_count AS run_end,
               NOT is_allowed OR run_first > greatest(head_end, max(run_first + offset_count) OVER earlier)
                   AS is_refused
        FROM run
        WINDOW earlier AS (PARTITION BY topic_id, partition, epoch ORDER BY ordinal
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), chain AS (
        -- What follows a refused run of its epoch is refused too, unless it was published long ago.
        SELECT *, bool_or(is_refused) OVER so_far AS is_cut
        FROM checked
        WINDOW so_far AS (PARTITION BY topic_id, partition, epoch ORDER BY ordinal)
    ), placed AS (
        SELECT *,
               greatest(head_end, max(run_end) FILTER (WHERE NOT is_cut) OVER earlier) AS end_before,
               greatest(head_high, max(max_ms) FILTER (WHERE NOT is_cut AND NOT is_void AND verdict IS NULL) OVER so_far)
                   AS high_ms
        FROM chain
        WINDOW so_far AS (PARTITION BY topic_id, partition, epoch ORDER BY ordinal),
               earlier AS (so_far ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), decided AS MATERIALIZED (
        SELECT *,
               CASE WHEN absent IS NOT NULL THEN absent
                    -- Below its epoch nothing was ever stored, whatever the end is: whoever takes that for a duplicate
                    -- gives the records up.
                    WHEN first_given IS NOT NULL AND (run_end <= end_before OR is_below)
                         AND (owner IS NULL OR owner = publish_entries.incarnation
                              OR is_same_wal(owner, publish_entries.incarnation))
                        THEN CASE WHEN is_below THEN 'gap' ELSE 'duplicate' END
                    WHEN NOT is_allowed THEN 'fenced'
                    WHEN verdict IS NOT NULL THEN verdict
                    WHEN is_cut THEN 'gap'
                    WHEN is_void THEN 'void'
                    ELSE 'published' END AS result,
               greatest(run_first, end_before) AS stored_first
        FROM placed
    ), stored AS (
        INSERT INTO segment (topic_id, partition, first_offset, base_offset, last_offset, epoch, records,
                             bytes, position, object_id, min_timestamp_ms, max_timestamp_ms,
                             timestamp_high_ms)
        SELECT topic_id, partition, stored_first, run_first, run_end - 1, epoch,
               least(record_count, run_end - stored_first), length, position, publish_entries.object_id,
               min_ms, max_ms, high_ms
        FROM decided WHERE result = 'published'
    ), advanced AS (
        UPDATE epoch_head AS h
        SET published_end = d.run_end, records = h.records + d.records, bytes = h.bytes + d.bytes,
            timestamp_high_ms = d.high_ms, updates = h.updates + 1
        FROM (SELECT topic_id, partition, epoch, stage, max(run_end) AS run_end, max(high_ms) AS high_ms,
                     coalesce(sum(least(record_count, run_end - stored_first))
                              FILTER (WHERE result = 'published'), 0)::bigint AS records,
                     coalesce(sum(length) FILTER (WHERE result = 'published'), 0)::bigint AS bytes
              FROM decided WHERE result IN ('published', 'void')
              GROUP BY topic_id, partition, epoch, stage) AS d
        WHERE (h.topic_id, h.partition, h.epoch, h.stage) = (d.topic_id, d.partition, d.epoch, d.stage)
    ), registered AS (
        INSERT INTO object (object_id, object_key, incarnation_id, publish_no, bytes, live_rows)
        SELECT publish_entries.object_id, object_key, incarnation, publish_entries.publish_no, object_bytes,
               count(*) FILTER (WHERE result = 'published')
        FROM decided
    ), unreferenced AS (
        INSERT INTO object_deletion (object_id, reason)
        SELECT publish_entries.object_id, 'unreferenced'
        FROM decided HAVING count(*) FILTER (WHERE result = 'published') = 0
    )
    INSERT INTO publish_result (incarnation_id, publish_no, object_id, results, first_offsets, published_ends, oldest_no)
    SELECT publish_entries.incarnation, publish_entries.publish_no, publish_entries.object_id,
           coalesce(array_agg(result ORDER BY ordinal), '{}'),
           coalesce(array_agg(CASE WHEN result = 'published' THEN stored_first
                                   WHEN verdict = 'duplicate' THEN coalesce(d.stored_at, (SELECT o.stored_first FROM decided AS o
                                                              WHERE o.ordinal = d.repeats))
                                   WHEN result IN ('void', 'duplicate') THEN run_first END
                              ORDER BY ordinal), '{}'),
           coalesce(array_agg(CASE WHEN result IN ('published', 'void') THEN run_end ELSE end_before END
                              ORDER BY ordinal), '{}'),
           least(publish_entries.oldest_no, publish_entries.publish_no)
    FROM decided AS d;
END
$$;
COMMENT ON FUNCTION streamhouse.publish_entries IS
    'Decides and stores the entries of a publish; their heads are locked. Per epoch, in order: a run that '
    'begins at the end is stored, one below it is a duplicate, one that straddles it is stored from there, '
    'one above is a gap, and so is one that begins below the epoch. A run with a verdict gets that and takes no offsets';
