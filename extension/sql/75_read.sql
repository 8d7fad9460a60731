-- Reading the index. Readers stop at the published end of the oldest unsealed epoch (guarantee G3). While a term is not
-- settled they stop at what was published when it began: what is presented may yet be void, or begin lower.

CREATE FUNCTION streamhouse.read_bounds(topic_ids uuid[], partitions int[])
RETURNS TABLE (topic_id uuid, partition int, log_start bigint, published_end bigint, epoch bigint)
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
    SELECT p.topic_id, p.partition, p.log_start, coalesce(unsealed.published_end, p.next_offset),
           coalesce(unsealed.epoch, last.epoch)
    FROM unnest(topic_ids, partitions) WITH ORDINALITY AS asked(topic_id, partition, ordinal)
    JOIN partition AS p USING (topic_id, partition)
    LEFT JOIN LATERAL (
        SELECT * FROM (
            (SELECT e.epoch, coalesce(h.published_end, e.start_offset) AS published_end
             FROM epoch AS e LEFT JOIN LATERAL newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
             WHERE e.topic_id = p.topic_id AND e.partition = p.partition AND e.state <> 'sealed'
             ORDER BY e.epoch LIMIT 1)
            UNION ALL
            (SELECT e.epoch, e.held_at FROM epoch AS e
             WHERE e.topic_id = p.topic_id AND e.partition = p.partition AND e.held_at IS NOT NULL
             ORDER BY e.epoch LIMIT 1)) AS e
        ORDER BY e.epoch, e.published_end LIMIT 1
    ) AS unsealed ON true
    LEFT JOIN LATERAL (
        SELECT e.epoch FROM epoch AS e
        WHERE e.topic_id = p.topic_id AND e.partition = p.partition
        ORDER BY e.epoch DESC LIMIT 1
    ) AS last ON true
    ORDER BY asked.ordinal
$$;
COMMENT ON FUNCTION streamhouse.read_bounds IS
    'Where readers of partitions may begin and must stop, and the current epoch. Partitions that do not '
    'exist are left out of the answer';

CREATE FUNCTION streamhouse.read_index(topic_id uuid, partition int, from_offset bigint, max_rows int)
RETURNS TABLE (first_offset bigint, base_offset bigint, last_offset bigint, epoch bigint, object_key text,
               "position" bigint, length bigint, records bigint, min_timestamp_ms bigint,
               max_timestamp_ms bigint)
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
    SELECT s.first_offset, s.base_offset, s.last_offset, s.epoch, o.object_key, s.position, s.bytes,
           s.records, s.min_timestamp_ms, s.max_timestamp_ms
    FROM segment AS s JOIN object AS o USING (object_id)
    WHERE s.topic_id = read_index.topic_id AND s.partition = read_index.partition
      AND s.first_offset >= coalesce(
              (SELECT c.first_offset FROM segment AS c
               WHERE c.topic_id = read_index.topic_id AND c.partition = read_index.partition
                 AND c.first_offset <= from_offset
               ORDER BY c.first_offset DESC LIMIT 1), 0)
      AND s.last_offset >= from_offset
      AND s.first_offset < (SELECT b.published_end
                            FROM read_bounds(ARRAY[read_index.topic_id], ARRAY[read_index.partition]) AS b)
    ORDER BY s.first_offset
    LIMIT max_rows
$$;
COMMENT ON FUNCTION streamhouse.read_index IS
    'Segments of a partition in order, from the one that holds an offset, or the next one above it. A '
    'run''s batches begin at base_offset; what lies below first_offset is to be skipped';

CREATE FUNCTION streamhouse.find_timestamps(topic_ids uuid[], partitions int[], timestamps bigint[],
                                            from_offsets bigint[])
RETURNS TABLE (topic_id uuid, partition int, first_offset bigint, base_offset bigint, last_offset bigint,
               epoch bigint, object_key text, "position" bigint, length bigint, records bigint,
               min_timestamp_ms bigint, max_timestamp_ms bigint)
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
    SELECT asked.topic_id, asked.partition, greatest(s.first_offset, s.from_offset), s.base_offset,
           s.last_offset, s.epoch, o.object_key, s.position, s.bytes, s.records, s.min_timestamp_ms,
           s.max_timestamp_ms
    FROM unnest(topic_ids, partitions, timestamps, from_offsets) WITH ORDINALITY
         AS asked(topic_id, partition, timestamp_ms, from_offset, ordinal)
    LEFT JOIN LATERAL (
        SELECT reached.*, wanted.from_offset
        FROM partition AS p
        CROSS JOIN LATERAL (SELECT greatest(p.log_start, asked.from_offset) AS from_offset) AS wanted
        CROSS JOIN read_bounds(ARRAY[asked.topic_id], ARRAY[asked.partition]) AS bound
        JOIN epoch_head AS h ON h.topic_id = p.topic_id AND h.partition = p.partition
        -- What is removed still counts in the high marks of what follows: they only tell where to begin.
        CROSS JOIN LATERAL (
            SELECT * FROM segment AS c
            WHERE c.topic_id = h.topic_id AND c.partition = h.partition AND c.epoch = h.epoch
              AND c.first_offset >= (
                  SELECT m.first_offset FROM segment AS m
                  WHERE m.topic_id = h.topic_id AND m.partition = h.partition AND m.epoch = h.epoch
                    AND m.timestamp_high_ms >= asked.timestamp_ms
                  ORDER BY m.timestamp_high_ms, m.first_offset LIMIT 1)
              AND c.first_offset >= coalesce(
                  (SELECT m.first_offset FROM segment AS m
                   WHERE m.topic_id = h.topic_id AND m.partition = h.partition
                     AND m.first_offset <= wanted.from_offset
                   ORDER BY m.first_offset DESC LIMIT 1), 0)
              AND c.first_offset < least(h.published_end, bound.published_end)
              AND c.last_offset >= wanted.from_offset AND c.max_timestamp_ms >= asked.timestamp_ms
            ORDER BY c.first_offset LIMIT 1
        ) AS reached
        WHERE p.topic_id = asked.topic_id AND p.partition = asked.partition
          AND h.published_end > wanted.from_offset AND h.timestamp_high_ms >= asked.timestamp_ms
          AND h.epoch <= bound.epoch
        ORDER BY h.epoch LIMIT 1
    ) AS s ON true
    LEFT JOIN LATERAL (SELECT k.object_key FROM object AS k WHERE k.object_id = s.object_id LIMIT 1) AS o ON true
    ORDER BY asked.ordinal
$$;
COMMENT ON FUNCTION streamhouse.find_timestamps IS
    'For each partition the first segment, from an offset and the log start on, whose newest record is at or '
    'after a time in milliseconds; nulls when none is. Ask again from behind it when that record lies '
    'below these';
