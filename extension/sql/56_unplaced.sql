-- What the store holds and the index has no place for, while a term is not settled.
--
-- An object is judged when it is presented, and that is before the write-ahead logs have been read: of a WAL that
-- uploaded two objects at once, the store may hold the second alone. The WAL has its records still and publishes
-- them, once those of the first are published. So what found no place is kept by run, and looked for again whenever
-- it is counted.
--
-- Of ownerless epochs no WAL has anything. Where a run's offsets are known only when its writer comes, it and what follows
-- it there, of whatever writer, is presented again by those that come later (waiting_wals).

CREATE FUNCTION streamhouse.note_unplaced(
    object_id uuid, writer_wal uuid, topic_ids uuid[], partitions int[], epochs bigint[], first_offsets bigint[],
    offset_counts bigint[], record_counts bigint[], results text[], acknowledged boolean, left_out bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    DELETE FROM unplaced_run AS u WHERE u.object_id = note_unplaced.object_id;
    INSERT INTO unplaced_run (object_id, ordinal, wal_uuid, topic_id, partition, epoch, first_offset, end_offset, records)
    SELECT note_unplaced.object_id, r.ordinal, writer_wal, r.topic_id, r.partition, r.epoch, r.first_offset,
           r.first_offset + r.offset_count, r.records
    FROM unnest(topic_ids, partitions, epochs, first_offsets, offset_counts, record_counts, results) WITH ORDINALITY
         AS r(topic_id, partition, epoch, first_offset, offset_count, records, result, ordinal)
    WHERE r.result IN ('gap', 'fenced', 'unknown') AND r.records > 0 AND (r.first_offset IS NOT NULL OR acknowledged)
    UNION ALL
    SELECT note_unplaced.object_id, 0, writer_wal, NULL, NULL, NULL, NULL, NULL, left_out WHERE left_out > 0;
END
$$;
COMMENT ON FUNCTION streamhouse.note_unplaced IS
    'Remembers what of a presented object found no place: runs that were refused, without offsets only where a producer '
    'was answered, and what was left out before';

CREATE FUNCTION streamhouse.others_awaited(incarnation bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM term_awaited AS w JOIN cluster AS c USING (term)
                   WHERE w.presented_at IS NULL
                     AND w.wal_uuid <> (SELECT i.wal_uuid FROM incarnation AS i
                                        WHERE i.incarnation_id = others_awaited.incarnation))
$$;
COMMENT ON FUNCTION streamhouse.others_awaited IS
    'True while the term waits for agents besides the one of an incarnation to present what they know';

CREATE FUNCTION streamhouse.waiting_wals(incarnation bigint) RETURNS SETOF uuid
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT u.wal_uuid FROM unplaced_run AS u
    WHERE u.ordinal > 0
      AND (u.first_offset IS NULL
           OR NOT EXISTS (SELECT FROM epoch AS e
                          WHERE (e.topic_id, e.partition, e.epoch) = (u.topic_id, u.partition, u.epoch)
                            AND e.incarnation_id IS NOT NULL))
    UNION
    -- An ownerless epoch that was presented may begin lower.
    SELECT i.wal_uuid FROM incarnation AS i
    WHERE EXISTS (SELECT FROM epoch AS e
                  WHERE e.held_at IS NOT NULL AND e.incarnation_id IS NULL
                    AND (others_awaited(waiting_wals.incarnation)
                         OR EXISTS (SELECT FROM unplaced_run AS u
                                    WHERE (u.topic_id, u.partition, u.epoch) = (e.topic_id, e.partition, e.epoch)
                                      AND u.first_offset IS NULL)))
$$;
COMMENT ON FUNCTION streamhouse.waiting_wals IS
    'WALs whose objects an agent is to present though others have: those that wrote runs without a place for which no WAL can '
    'publish anything, of unknown offsets, or of an epoch that is ownerless or not known; all, while a forgotten ownerless '
    'epoch may turn out to begin lower';

CREATE FUNCTION streamhouse.is_covered(topic_id uuid, partition int, first_offset bigint, end_offset bigint)
RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT coalesce(sum(least(s.last_offset + 1, is_covered.end_offset) - greatest(s.first_offset, wanted.first)), 0)
           >= is_covered.end_offset - wanted.first
    FROM (SELECT greatest(is_covered.first_offset, p.log_start) AS first FROM partition AS p
          WHERE (p.topic_id, p.partition) = (is_covered.topic_id, is_covered.partition)) AS wanted
    LEFT JOIN segment AS s
           ON (s.topic_id, s.partition) = (is_covered.topic_id, is_covered.partition)
          AND s.last_offset >= wanted.first AND s.first_offset < is_covered.end_offset
          AND s.first_offset >= coalesce((SELECT max(b.first_offset) FROM segment AS b
                                          WHERE (b.topic_id, b.partition) = (is_covered.topic_id, is_covered.partition)
                                            AND b.first_offset <= wanted.first), 0)
    GROUP BY wanted.first
$$;
COMMENT ON FUNCTION streamhouse.is_covered IS
    'True when segments hold each offset of a range, from the log start on: nothing in it is void, or a hole';

CREATE FUNCTION streamhouse.count_unresolved() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    unplaced bigint;
    counted  bigint;
BEGIN
    -- What the WAL that wrote the object has published since, in its epoch or, beyond a forced end, in that of what
    -- was left over. What others have published at those offsets says nothing of these records.
    DELETE FROM unplaced_run AS u
    USING (SELECT n.*, h.published_end AS ends, e.end_offset AS forced_end, made.start_offset AS left_start,
                  m.published_end AS left_ends
           FROM (SELECT DISTINCT topic_id, partition, epoch, wal_uuid FROM unplaced_run) AS n
           JOIN epoch AS e USING (topic_id, partition, epoch)
           JOIN incarnation AS i ON i.incarnation_id = e.incarnation_id AND i.wal_uuid = n.wal_uuid
           CROSS JOIN LATERAL newest_head(e.topic_id, e.partition, e.epoch) AS h
           LEFT JOIN epoch AS made ON made.topic_id = e.topic_id AND made.partition = e.partition
                                  AND made.leftover_of = e.epoch
           LEFT JOIN LATERAL newest_head(made.topic_id, made.partition, made.epoch) AS m ON true) AS known
    WHERE (u.topic_id, u.partition, u.epoch, u.wal_uuid)
          = (known.topic_id, known.partition, known.epoch, known.wal_uuid)
      AND CASE WHEN u.end_offset <= known.ends THEN
                   is_covered(u.topic_id, u.partition, u.first_offset, u.end_offset)
               WHEN u.end_offset - known.forced_end + known.left_start <= known.left_ends THEN
                   (u.first_offset >= known.forced_end
                    OR is_covered(u.topic_id, u.partition, u.first_offset, known.forced_end))
                   AND is_covered(u.topic_id, u.partition,
                                  greatest(u.first_offset - known.forced_end, 0) + known.left_start,
                                  u.end_offset - known.forced_end + known.left_start) END;
    DELETE FROM unplaced_run AS u WHERE absent_topic(u.topic_id) = 'dropped';
    DELETE FROM stored_twice AS w WHERE absent_topic(w.topic_id) = 'dropped';

    SELECT coalesce(sum(u.records), 0) INTO unplaced FROM unplaced_run AS u;
    -- Objects are presented once, whatever terms begin before one is settled.
    UPDATE term AS t SET unresolved = CASE WHEN t.term = c.term THEN t.unreadable + unplaced ELSE 0 END
    FROM cluster AS c
    WHERE t.settled_at IS NULL AND t.unresolved <> CASE WHEN t.term = c.term THEN t.unreadable + unplaced ELSE 0 END;
    SELECT t.unresolved INTO counted FROM term AS t JOIN cluster AS c USING (term);
    RETURN coalesce(counted, 0);
END
$$;
COMMENT ON FUNCTION streamhouse.count_unresolved IS
    'Counts anew the records that the store holds and the index has no place for: what has been published since, and '
    'what is of dropped topics, does not count any more. Needs the control lock';
