-- Compaction: a partition's small objects become one large segment of its own.
--
-- An agent claims a run of segments, writes their batches into one object and swaps the rows. The run lies
-- between log start and the published end of the oldest unsealed epoch, and all of it must still be there
-- when the rows are swapped. Offsets, epochs and holes stay what they are; segments of one epoch that follow
-- each other without a hole become one row.

CREATE FUNCTION streamhouse.compaction_run(
    topic_id uuid, partition int, from_offset bigint, bound bigint, segment_bytes bigint,
    OUT first_offset bigint, OUT last_offset bigint, OUT done_offset bigint
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    rows_max CONSTANT int := 1000;
    row_count int := 0;
    -- The run so far, one element for each object.
    objects   uuid[] := '{}';
    firsts    bigint[] := '{}';
    sizes     bigint[] := '{}';
    total     bigint := 0;
    n         int := 0;
    s         record;
BEGIN
    done_offset := from_offset;
    FOR s IN
        SELECT c.first_offset, c.last_offset, c.bytes, c.object_id,
               o.created_at <= now() - compaction_delay_ms() * interval '1 millisecond' AS is_settled
        FROM (SELECT * FROM segment AS g
              WHERE g.topic_id = compaction_run.topic_id AND g.partition = compaction_run.partition
                AND g.first_offset >= from_offset
              ORDER BY g.first_offset LIMIT rows_max) AS c
        JOIN object AS o USING (object_id)
        ORDER BY c.first_offset
    LOOP
        EXIT WHEN NOT s.is_settled OR s.last_offset >= bound;
        IF n > 0 AND total + s.bytes > compaction_run.segment_bytes THEN
            IF n > 1 THEN
                first_offset := firsts[1];
                RETURN;
            END IF;
            -- One object that fills a segment: nothing below this row is to be done any more.
            done_offset := s.first_offset;
            objects := '{}';
            firsts := '{}';
            sizes := '{}';
            total := 0;
            n := 0;
        END IF;
        IF n = 0 OR objects[n] <> s.object_id THEN
            n := n + 1;
            objects[n] := s.object_id;
            firsts[n] := s.first_offset;
            sizes[n] := 0;
        END IF;
        sizes[n] := sizes[n] + s.bytes;
        total := total + s.bytes;
        last_offset := s.last_offset;
        row_count := row_count + 1;
    END LOOP;
    IF row_count = rows_max AND n > 1 THEN
        first_offset := firsts[1];
        RETURN;
    END IF;

    -- The segment is not full. An object larger than all that follow it is left as it is until more have
    -- come, so that no byte is copied more often than the sizes double.
    FOR i IN 1 .. n - compaction_objects() + 1 LOOP
        IF sizes[i] <= total - sizes[i] THEN
            first_offset := firsts[i];
            RETURN;
        END IF;
        total := total - sizes[i];
    END LOOP;
    last_offset := NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.compaction_run IS
    'The first segments of a partition from an offset on, up to a bound, that are worth a compaction: those '
    'that fill a segment, or lie in enough objects; nulls when there are none. Below done_offset nothing '
    'is left to compact';

CREATE FUNCTION streamhouse.compaction_candidates(agent_id text, after_topic uuid, after_partition int,
                                                  max_partitions int)
RETURNS TABLE (topic_id uuid, partition int, from_offset bigint, segment_bytes bigint, is_candidate boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT p.topic_id, p.partition, began.from_offset, t.segment_bytes,
           (c.claimed_until IS NULL OR writer.agent_id = compaction_candidates.agent_id
            OR is_claim_over(c.claimed_by, c.claimed_until))
           AND (owner.agent_id IS NULL OR owner.agent_id = compaction_candidates.agent_id)
           AND (SELECT count(*) FROM (SELECT FROM segment AS s
                                      WHERE s.topic_id = p.topic_id AND s.partition = p.partition
                                        AND s.first_offset >= began.from_offset
                                      LIMIT compaction_objects()) AS few) >= compaction_objects()
    FROM partition AS p
    JOIN topic AS t USING (topic_id)
    LEFT JOIN compaction AS c USING (topic_id, partition)
    LEFT JOIN incarnation AS writer ON writer.incarnation_id = c.claimed_by
    LEFT JOIN live_agent AS owner ON owner.agent_id = p.target_agent
    CROSS JOIN LATERAL (SELECT greatest(p.log_start, c.done_offset) AS from_offset) AS began
    WHERE (p.topic_id, p.partition) > (coalesce(after_topic, '00000000-0000-0000-0000-000000000000'),
                                       coalesce(after_partition, -1))
    ORDER BY p.topic_id, p.partition
    LIMIT max_partitions
$$;
COMMENT ON FUNCTION streamhouse.compaction_candidates IS
    'The partitions that come after one, or the first ones, and whether they may be worth a compaction by an '
    'agent: its own and those that belong to no live agent, and nobody else is at';

CREATE FUNCTION streamhouse.try_compaction_claim(incarnation bigint, topic_id uuid, partition int,
    from_offset bigint, max_bytes bigint, OUT first_offset bigint, OUT last_offset bigint
)
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    done bigint;
BEGIN
    SELECT r.first_offset, r.last_offset, r.done_offset INTO first_offset, last_offset, done
    FROM read_bounds(ARRAY[topic_id], ARRAY[partition]) AS b,
         compaction_run(topic_id, partition, from_offset, b.published_end, max_bytes) AS r;
    IF first_offset IS NULL AND done = from_offset THEN
        RETURN;
    END IF;
    INSERT INTO compaction AS c (topic_id, partition, done_offset, claimed_by, claimed_until)
    VALUES (topic_id, partition, done, CASE WHEN first_offset IS NOT NULL THEN incarnation END,
            CASE WHEN first_offset IS NOT NULL THEN now() + interval '10 minutes' END)
    ON CONFLICT ON CONSTRAINT compaction_pkey DO UPDATE
    SET done_offset = excluded.done_offset, claimed_by = excluded.claimed_by,
        claimed_until = excluded.claimed_until
    WHERE c.claimed_by = incarnation OR is_claim_over(c.claimed_by, c.claimed_until);
    IF NOT FOUND THEN
        first_offset := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.try_compaction_claim IS
    'Claims what of a partition is worth a compaction, and notes below which offset nothing is; nulls when '
    'there is nothing, or another agent came first';

CREATE FUNCTION streamhouse.agent_compaction_claim(incarnation bigint, max_bytes bigint)
RETURNS TABLE (topic_id uuid, partition int, first_offset bigint, base_offset bigint, last_offset bigint,
               epoch bigint, object_id uuid, object_key text, "position" bigint, length bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    windows_max       CONSTANT int := 10;
    window_partitions CONSTANT int := 50;
    caller       text;
    at_topic     uuid;
    at_partition int;
    first        bigint;
    last         bigint;
    next         record;
    is_wrapped   boolean := false;
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    SELECT i.agent_id, k.topic_id, k.partition INTO caller, at_topic, at_partition
    FROM incarnation AS i LEFT JOIN compaction_cursor AS k USING (agent_id)
    WHERE i.incarnation_id = agent_compaction_claim.incarnation;

    <<windows>>
    FOR i IN 1 .. windows_max LOOP
        FOR next IN SELECT * FROM compaction_candidates(caller, at_topic, at_partition, window_partitions)
        LOOP
            at_topic := next.topic_id;
            at_partition := next.partition;
            CONTINUE WHEN NOT next.is_candidate;
            SELECT c.first_offset, c.last_offset INTO first, last
            FROM try_compaction_claim(incarnation, next.topic_id, next.partition, next.from_offset,
                                      least(next.segment_bytes, max_bytes)) AS c;
            EXIT windows WHEN first IS NOT NULL;
        END LOOP;
        IF NOT FOUND THEN
            -- Past the last partition it begins anew, once.
            EXIT WHEN is_wrapped;
            is_wrapped := true;
            at_topic := NULL;
        END IF;
    END LOOP;

    INSERT INTO compaction_cursor AS k (agent_id, topic_id, partition)
    SELECT caller, at_topic, at_partition WHERE at_topic IS NOT NULL
    ON CONFLICT ON CONSTRAINT compaction_cursor_pkey DO UPDATE
    SET topic_id = excluded.topic_id, partition = excluded.partition;
    RETURN QUERY
    SELECT s.topic_id, s.partition, s.first_offset, s.base_offset, s.last_offset, s.epoch, s.object_id,
           o.object_key, s.position, s.bytes
    FROM segment AS s JOIN object AS o USING (object_id)
    WHERE s.topic_id = at_topic AND s.partition = at_partition AND s.first_offset BETWEEN first AND last
    ORDER BY s.first_offset;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_compaction_claim IS
    'Gives an agent consecutive segments of one partition to rewrite, at most so many bytes; none when '
    'nothing is worth it among the partitions it came to this time. The claim holds for ten minutes. '
    'Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_compaction_swap(
    incarnation          bigint,
    topic_id             uuid,
    partition            int,
    object_id            uuid,
    object_key           text,
    object_bytes         bigint,
    source_first_offsets bigint[],
    source_object_ids    uuid[],
    first_offsets        bigint[],
    base_offsets         bigint[],
    last_offsets         bigint[],
    epochs               bigint[],
    positions            bigint[],
    lengths              bigint[]
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    known_state text;
    is_same     boolean;
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    -- Announced and not given up: nobody deletes it then. The lock makes giving up wait, or come first.
    SELECT o.state INTO known_state FROM object AS o
    WHERE o.object_id = agent_compaction_swap.object_id FOR UPDATE;
    IF known_state IS DISTINCT FROM 'announced' THEN
        RETURN CASE known_state WHEN 'live' THEN 'swapped' ELSE 'refused' END;
    END IF;

    PERFORM check_object_key(object_key, incarnation);
    PERFORM FROM streamhouse.partition AS p
    WHERE p.topic_id = agent_compaction_swap.topic_id AND p.partition = agent_compaction_swap.partition
    FOR NO KEY UPDATE;
    SELECT p.log_start <= source_first_offsets[1] AND now_there.last_offset < b.published_end
           AND now_there.first_offsets = source_first_offsets AND now_there.object_ids = source_object_ids
    INTO is_same
    FROM streamhouse.partition AS p
    JOIN read_bounds(ARRAY[topic_id], ARRAY[partition]) AS b USING (topic_id, partition)
    CROSS JOIN (SELECT array_agg(s.first_offset ORDER BY s.first_offset) AS first_offsets,
                       array_agg(s.object_id ORDER BY s.first_offset) AS object_ids,
                       max(s.last_offset) AS last_offset
                FROM segment AS s
                WHERE s.topic_id = agent_compaction_swap.topic_id
                  AND s.partition = agent_compaction_swap.partition
                  AND s.first_offset BETWEEN source_first_offsets[1]
                                         AND source_first_offsets[cardinality(source_first_offsets)])
        AS now_there
    WHERE p.topic_id = agent_compaction_swap.topic_id AND p.partition = agent_compaction_swap.partition;

    UPDATE compaction AS c SET claimed_by = NULL, claimed_until = NULL
    WHERE c.topic_id = agent_compaction_swap.topic_id AND c.partition = agent_compaction_swap.partition
      AND c.claimed_by = incarnation;
    UPDATE object AS o
    SET bytes = object_bytes, state = CASE WHEN is_same THEN 'live' ELSE 'abandoned' END,
        live_rows = CASE WHEN is_same THEN cardinality(first_offsets) ELSE 0 END
    WHERE o.object_id = agent_compaction_swap.object_id;
    IF is_same THEN
        DELETE FROM object_deletion AS d WHERE d.object_id = agent_compaction_swap.object_id;
        PERFORM swap_segments(topic_id, partition, object_id, source_first_offsets, first_offsets,
                              base_offsets, last_offsets, epochs, positions, lengths);
        RETURN 'swapped';
    END IF;
    UPDATE object_deletion AS d SET reason = 'abandoned', since = now()
    WHERE d.object_id = agent_compaction_swap.object_id;
    RETURN 'refused';
END
$$;
COMMENT ON FUNCTION streamhouse.agent_compaction_swap IS
    'Puts the rows of a compacted object, which was announced, in the place of the segments that it was made '
    'of, when all of them are still there: swapped, else refused, and the object is garbage. Asked again with the same object, '
    'it answers the same. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.swap_segments(
    topic_id uuid, partition int, object_id uuid, source_first_offsets bigint[], first_offsets bigint[],
    base_offsets bigint[], last_offsets bigint[], epochs bigint[], positions bigint[], lengths bigint[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    made    segment[];
    covered bigint;
    objects uuid[];
    counts  int[];
    freed   bigint;
BEGIN
    -- What a row counts comes from those it replaces. It must cover them exactly.
    SELECT array_agg(ROW(m.topic_id, m.partition, m.first_offset, m.base_offset, m.last_offset, m.epoch,
                         m.records, m.length, m.position, m.object_id, m.min_ms, m.max_ms,
                         m.high_ms, m.arrived_ms)::segment),
           sum(m.row_count) FILTER (WHERE m.is_exact AND m.base_offset <= m.first_offset)
    INTO made, covered
    FROM (SELECT swap_segments.topic_id, swap_segments.partition, n.first_offset, n.base_offset,
                 n.last_offset, n.epoch, sum(s.records)::bigint AS records, n.length, n.position,
                 swap_segments.object_id, min(s.min_timestamp_ms) AS min_ms,
                 max(s.max_timestamp_ms) AS max_ms, max(s.timestamp_high_ms) AS high_ms,
                 max(s.arrived_ms) AS arrived_ms,
                 count(*) AS row_count,
                 min(s.first_offset) = n.first_offset AND max(s.last_offset) = n.last_offset
                     AND sum(s.last_offset - s.first_offset + 1) = n.last_offset - n.first_offset + 1
                     AND bool_and(s.epoch = n.epoch) AS is_exact
          FROM unnest(first_offsets, base_offsets, last_offsets, epochs, positions, lengths)
               AS n(first_offset, base_offset, last_offset, epoch, position, length)
          JOIN segment AS s
            ON s.topic_id = swap_segments.topic_id AND s.partition = swap_segments.partition
           AND s.first_offset BETWEEN n.first_offset AND n.last_offset
          GROUP BY n.first_offset, n.base_offset, n.last_offset, n.epoch, n.position, n.length) AS m;
    IF covered IS DISTINCT FROM cardinality(source_first_offsets)::bigint
       OR cardinality(made) <> cardinality(first_offsets) THEN
        RAISE EXCEPTION 'the rows of a compacted object do not match the segments they are to replace'
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Topic %s, partition %s, object %s.', topic_id, partition, object_id);
    END IF;

    WITH gone AS (
        DELETE FROM segment AS s
        WHERE s.topic_id = swap_segments.topic_id AND s.partition = swap_segments.partition
          AND s.first_offset BETWEEN source_first_offsets[1]
                                 AND source_first_offsets[cardinality(source_first_offsets)]
        RETURNING s.object_id, s.bytes
    )
    SELECT array_agg(g.object_id), array_agg(g.row_count), sum(g.bytes) INTO objects, counts, freed
    FROM (SELECT gone.object_id, count(*)::int AS row_count, sum(gone.bytes) AS bytes FROM gone
          GROUP BY gone.object_id) AS g;
    INSERT INTO segment SELECT * FROM unnest(made);
    UPDATE streamhouse.partition AS p
    SET bytes_retired = p.bytes_retired + freed - (SELECT sum(l) FROM unnest(lengths) AS l)
    WHERE p.topic_id = swap_segments.topic_id AND p.partition = swap_segments.partition;
    PERFORM release_objects(objects, counts);
END
$$;
COMMENT ON FUNCTION streamhouse.swap_segments IS
    'Replaces consecutive segments of a partition by rows of one object. The partition is locked by the '
    'caller';
