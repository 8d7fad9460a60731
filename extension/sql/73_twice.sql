-- Records that are stored twice, because the database has forgotten a claim (66_claims).
--
-- A producer's batch that the old owner's WAL holds and that was sent anew to the next owner is void in the older epoch by
-- the claim. Without it both are published, in whatever order their agents come. So what is published late, while a term
-- is not settled, is compared by sequences: where two epochs have the same ones, those in the older epoch were never
-- acknowledged. Readers have not got there (epoch.held_at), and an agent takes the batches out of the index: only it can
-- see in the object where batches begin.
--
-- What was not acknowledged in an epoch is in the last stretches that it has of a producer, five as anywhere else. What
-- was sent anew is a range without gaps, from the claim on. Both are remembered of each epoch (late_sequences), so that
-- nothing depends on what others brought in between.

CREATE FUNCTION streamhouse.is_late(e streamhouse.epoch) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN (e).held_at IS NOT NULL OR ((e).state = 'orphaned' AND (e).incarnation_id IS NULL);
COMMENT ON FUNCTION streamhouse.is_late IS
    'True for an epoch, while a term is not settled, of which an older one may have records too: one whose offsets may yet '
    'be void, or an ownerless one that is presented again: what that was given is certain, and void nowhere';

CREATE FUNCTION streamhouse.twice_lock() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    LOCK TABLE late_sequences IN SHARE ROW EXCLUSIVE MODE;
END
$$;
COMMENT ON FUNCTION streamhouse.twice_lock IS
    'Late publishes are compared one after the other: of two at once, in two epochs, neither would see the other. Behind '
    'the locks of heads, before those of states';

CREATE FUNCTION streamhouse.note_twice(
    incarnation bigint, publish_no bigint, topic_ids uuid[], partitions int[], epochs bigint[], stretch_runs int[],
    producer_ids bigint[], producer_epochs int[], base_sequences int[], sequence_counts int[], base_offsets bigint[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM unnest(topic_ids, partitions, epochs) AS a(topic_id, partition, epoch)
                   JOIN epoch AS e USING (topic_id, partition, epoch) WHERE is_late(e)) THEN
        RETURN;
    END IF;
    PERFORM twice_lock();
    PERFORM note_late(incarnation, publish_no, topic_ids, partitions, epochs, stretch_runs, producer_ids, producer_epochs,
                      base_sequences, sequence_counts, base_offsets);
    WITH late AS MATERIALIZED (
        SELECT l.*
        FROM (SELECT DISTINCT topic_ids[s.run], partitions[s.run], s.producer_id, s.producer_epoch
              FROM unnest(stretch_runs, producer_ids, producer_epochs) AS s(run, producer_id, producer_epoch))
             AS given(topic_id, partition, producer_id, producer_epoch)
        JOIN late_sequences AS l USING (topic_id, partition, producer_id, producer_epoch)
    ), found AS (
        SELECT older.topic_id, older.partition, s.base_offset + o.lo AS first_offset, s.base_offset + o.hi AS end_offset
        FROM late AS older
        JOIN late AS newer USING (topic_id, partition, producer_id, producer_epoch)
        CROSS JOIN LATERAL unnest(older.base_sequences, older.sequence_counts, older.base_offsets)
            AS s(base_sequence, sequence_count, base_offset)
        CROSS JOIN LATERAL (
            SELECT greatest(0, sequence_distance(newer.first_seq, s.base_sequence)) AS lo,
                   least(s.sequence_count, sequence_distance(newer.end_seq, s.base_sequence)) AS hi) AS o
        WHERE newer.epoch > older.epoch AND o.lo < o.hi
    )
    INSERT INTO stored_twice AS w (topic_id, partition, first_offset, end_offset)
    SELECT topic_id, partition, first_offset, max(end_offset)
    FROM found
    GROUP BY topic_id, partition, first_offset
    ORDER BY topic_id, partition, first_offset
    ON CONFLICT (topic_id, partition, first_offset) DO UPDATE SET end_offset = greatest(w.end_offset, EXCLUDED.end_offset);
END
$$;
COMMENT ON FUNCTION streamhouse.note_twice IS
    'Before store_sequences, while a term is not settled: remembers what a publish into epochs of older terms brings, and '
    'which of it is stored in two epochs now';

CREATE FUNCTION streamhouse.note_late(
    incarnation bigint, publish_no bigint, topic_ids uuid[], partitions int[], epochs bigint[], stretch_runs int[],
    producer_ids bigint[], producer_epochs int[], base_sequences int[], sequence_counts int[], base_offsets bigint[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    outcomes text[];
    firsts   bigint[];
BEGIN
    SELECT r.results, r.first_offsets INTO outcomes, firsts FROM publish_result AS r
    WHERE r.incarnation_id = note_late.incarnation AND r.publish_no = note_late.publish_no;
    WITH given AS MATERIALIZED (
        SELECT e.topic_id, e.partition, s.producer_id, s.producer_epoch, coalesce(e.leftover_of, e.epoch) AS epoch,
               s.base_sequence, s.sequence_count, o.base_offset,
               -- What readers have seen is not void, nor what an ownerless epoch was given.
               CASE WHEN e.held_at IS NULL OR e.incarnation_id IS NULL THEN s.sequence_count
                    ELSE greatest(0, e.held_at - o.base_offset) END AS certain
        FROM unnest(stretch_runs, producer_ids, producer_epochs, base_sequences, sequence_counts, base_offsets)
             AS s(run, producer_id, producer_epoch, base_sequence, sequence_count, base_offset)
        JOIN epoch AS e ON (e.topic_id, e.partition, e.epoch) = (topic_ids[s.run], partitions[s.run], epochs[s.run])
        CROSS JOIN LATERAL (SELECT coalesce(s.base_offset, firsts[s.run]) AS base_offset) AS o
        WHERE outcomes[s.run] = 'published' AND is_late(e)
    ), reach AS MATERIALIZED (
        -- In the order of the offsets of one epoch sequences follow each other.
        SELECT topic_id, partition, producer_id, producer_epoch, epoch,
               (array_agg(base_sequence ORDER BY base_offset))[1] AS first_seq,
               (array_agg(((base_sequence::bigint + sequence_count) & 2147483647)::int
                          ORDER BY base_offset DESC))[1] AS end_seq
        FROM given
        GROUP BY topic_id, partition, producer_id, producer_epoch, epoch
    ), former AS MATERIALIZED (
        SELECT l.* FROM reach JOIN late_sequences AS l USING (topic_id, partition, producer_id, producer_epoch, epoch)
    ), stretch(topic_id, partition, producer_id, producer_epoch, epoch, base_sequence, sequence_count, base_offset) AS (
        SELECT topic_id, partition, producer_id, producer_epoch, epoch, (base_sequence + certain) & 2147483647,
               sequence_count - certain, base_offset + certain
        FROM given WHERE certain < sequence_count
        UNION ALL
        SELECT topic_id, partition, producer_id, producer_epoch, epoch, s.*
        FROM former CROSS JOIN LATERAL unnest(base_sequences, sequence_counts, base_offsets) AS s
    ), marked AS (
        SELECT *, (diagonal IS DISTINCT FROM lag(diagonal) OVER ordered
                   OR base_offset > lag(end_offset) OVER ordered)::int AS begins
        FROM (SELECT *, (base_sequence - base_offset) & 2147483647 AS diagonal, base_offset + sequence_count AS end_offset
              FROM stretch) AS s
        WINDOW ordered AS (PARTITION BY topic_id, partition, producer_id, producer_epoch, epoch ORDER BY base_offset)
    ), joined AS (
        SELECT topic_id, partition, producer_id, producer_epoch, epoch, diagonal, min(base_offset) AS base_offset,
               max(end_offset) AS end_offset,
               row_number() OVER (PARTITION BY topic_id, partition, producer_id, producer_epoch, epoch
                                  ORDER BY island DESC) AS age
        FROM (SELECT *, sum(begins) OVER (PARTITION BY topic_id, partition, producer_id, producer_epoch, epoch
                                          ORDER BY base_offset) AS island FROM marked) AS numbered
        GROUP BY topic_id, partition, producer_id, producer_epoch, epoch, diagonal, island
    ), kept AS (
        SELECT topic_id, partition, producer_id, producer_epoch, epoch,
               array_agg(((diagonal + base_offset) & 2147483647)::int ORDER BY age DESC) AS base_sequences,
               array_agg((end_offset - base_offset)::int ORDER BY age DESC) AS sequence_counts,
               array_agg(base_offset ORDER BY age DESC) AS base_offsets
        FROM joined WHERE age <= 5
        GROUP BY topic_id, partition, producer_id, producer_epoch, epoch
    )
    INSERT INTO late_sequences AS l (topic_id, partition, producer_id, producer_epoch, epoch, first_seq, end_seq,
                                     base_sequences, sequence_counts, base_offsets)
    SELECT r.topic_id, r.partition, r.producer_id, r.producer_epoch, r.epoch, r.first_seq, r.end_seq,
           coalesce(k.base_sequences, '{}'), coalesce(k.sequence_counts, '{}'), coalesce(k.base_offsets, '{}')
    FROM reach AS r LEFT JOIN kept AS k USING (topic_id, partition, producer_id, producer_epoch, epoch)
    ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (topic_id, partition, producer_id, producer_epoch, epoch) DO UPDATE
    SET first_seq = CASE WHEN sequence_distance(EXCLUDED.first_seq, l.first_seq) < 0 THEN EXCLUDED.first_seq
                         ELSE l.first_seq END,
        end_seq = CASE WHEN sequence_distance(EXCLUDED.end_seq, l.end_seq) > 0 THEN EXCLUDED.end_seq ELSE l.end_seq END,
        base_sequences = EXCLUDED.base_sequences, sequence_counts = EXCLUDED.sequence_counts,
        base_offsets = EXCLUDED.base_offsets;
END
$$;
COMMENT ON FUNCTION streamhouse.note_late IS
    'Remembers which sequences a publish brings of each producer and epoch, and where the last of them are. Needs twice_lock';

CREATE FUNCTION streamhouse.agent_next_twice(incarnation bigint)
RETURNS TABLE (topic_id uuid, partition int, void_from bigint, void_end bigint, first_offset bigint, base_offset bigint,
               last_offset bigint, epoch bigint, object_key text, "position" bigint, length bigint, records bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    PERFORM twice_lock();
    -- Nothing is left there.
    DELETE FROM stored_twice AS w
    WHERE NOT EXISTS (SELECT FROM segment AS s
                      WHERE s.topic_id = w.topic_id AND s.partition = w.partition
                        AND s.first_offset < w.end_offset AND s.last_offset >= w.first_offset);
    -- A batch may have been sent anew in parts, and to several epochs: what adjoins is one.
    RETURN QUERY
    SELECT w.topic_id, w.partition, w.first_offset, w.end_offset, s.first_offset, s.base_offset, s.last_offset, s.epoch,
           o.object_key, s.position, s.bytes, s.records
    FROM (SELECT topic_id, partition, min(first_offset) AS first_offset, max(end_offset) AS end_offset
          FROM (SELECT *, sum(begins) OVER (PARTITION BY topic_id, partition ORDER BY first_offset) AS island
                FROM (SELECT *, ((first_offset <= max(end_offset) OVER earlier) IS NOT TRUE)::int AS begins
                      FROM stored_twice
                      WINDOW earlier AS (PARTITION BY topic_id, partition ORDER BY first_offset
                                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS marked) AS numbered
          GROUP BY topic_id, partition, island) AS w
    JOIN segment AS s ON s.topic_id = w.topic_id AND s.partition = w.partition
                     AND s.first_offset < w.end_offset AND s.last_offset >= w.first_offset
    JOIN object AS o USING (object_id)
    ORDER BY w.topic_id, w.partition, w.first_offset, s.first_offset
    LIMIT 1;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_next_twice IS
    'Offsets to be made void with agent_void_twice, because their records are stored in a later epoch too, and a segment '
    'that holds some of them; no row: none are left. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_void_twice(
    incarnation bigint, topic_id uuid, partition int, void_from bigint, void_end bigint, first_offset bigint,
    last_offset bigint, object_key text, piece_firsts bigint[], piece_lasts bigint[], piece_lengths bigint[], piece_records bigint[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    old    segment;
    pieces int := cardinality(piece_firsts);
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    -- The first of the pieces that another agent put in its place begins there too, in the same object.
    SELECT s.* INTO old FROM segment AS s JOIN object AS o USING (object_id)
    WHERE (s.topic_id, s.partition, s.first_offset, s.last_offset)
        = (agent_void_twice.topic_id, agent_void_twice.partition, agent_void_twice.first_offset, agent_void_twice.last_offset)
      AND o.object_key = agent_void_twice.object_key
      AND EXISTS (SELECT FROM epoch AS e WHERE (e.topic_id, e.partition, e.epoch) = (s.topic_id, s.partition, s.epoch)
                                           AND e.held_at <= greatest(agent_void_twice.void_from, s.first_offset));
    IF NOT FOUND THEN
        RETURN; -- it was replaced meanwhile, or the term is settled: the agent asks again
    END IF;
    PERFORM lock_heads(ARRAY[old.topic_id], ARRAY[old.partition], ARRAY[old.epoch]);
    PERFORM twice_lock();
    DELETE FROM segment AS s
    WHERE (s.topic_id, s.partition, s.first_offset) = (old.topic_id, old.partition, old.first_offset);
    INSERT INTO segment (topic_id, partition, first_offset, base_offset, last_offset, epoch, records, bytes, position,
                         object_id, min_timestamp_ms, max_timestamp_ms, timestamp_high_ms, arrived_ms)
    SELECT old.topic_id, old.partition, p.first, old.base_offset, p.last, old.epoch, p.records, p.length, old.position,
           old.object_id, old.min_timestamp_ms, old.max_timestamp_ms, old.timestamp_high_ms, old.arrived_ms
    FROM unnest(piece_firsts, piece_lasts, piece_lengths, piece_records) AS p(first, last, length, records);
    UPDATE object AS o SET live_rows = o.live_rows + pieces WHERE o.object_id = old.object_id AND pieces > 0;
    PERFORM release_objects(ARRAY[old.object_id], ARRAY[1]);
    UPDATE epoch_head AS h
    SET records = h.records - old.records + coalesce((SELECT sum(r) FROM unnest(piece_records) AS r), 0)::bigint,
        bytes = h.bytes - old.bytes + coalesce((SELECT sum(l) FROM unnest(piece_lengths) AS l), 0)::bigint,
        updates = h.updates + 1
    WHERE (h.topic_id, h.partition, h.epoch) = (old.topic_id, old.partition, old.epoch);
    PERFORM forget_stretches(old.topic_id, old.partition, greatest(void_from, old.first_offset),
                             least(void_end, old.last_offset + 1));
    -- Up to the segment's end it is done, but for what was found since the agent was told.
    WITH done AS (
        DELETE FROM stored_twice AS w
        WHERE (w.topic_id, w.partition) = (old.topic_id, old.partition)
          AND w.first_offset BETWEEN agent_void_twice.void_from AND old.last_offset
          AND w.end_offset <= agent_void_twice.void_end
        RETURNING w.end_offset
    )
    INSERT INTO stored_twice AS w (topic_id, partition, first_offset, end_offset)
    SELECT old.topic_id, old.partition, old.last_offset + 1, max(d.end_offset) FROM done AS d
    HAVING max(d.end_offset) > old.last_offset + 1
    ON CONFLICT (topic_id, partition, first_offset) DO UPDATE SET end_offset = greatest(w.end_offset, EXCLUDED.end_offset);
END
$$;
COMMENT ON FUNCTION streamhouse.agent_void_twice IS
    'Makes offsets of a segment void, as agent_next_twice told them: in its place come the pieces (their first and last '
    'offsets, bytes from where the segment begins, records) that hold its other batches. Does nothing when it is not '
    'there any more. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.forget_stretches(topic_id uuid, partition int, void_from bigint, void_end bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    -- Owners of other epochs publish meanwhile: what they have added to these rows shows to a statement that begins once
    -- they are locked, and in the order in which publishes lock them.
    PERFORM FROM producer_state AS s
    WHERE s.topic_id = forget_stretches.topic_id AND s.partition = forget_stretches.partition
      AND EXISTS (SELECT FROM unnest(s.sequence_counts, s.base_offsets) AS v(sequence_count, base_offset)
                  WHERE v.base_offset < void_end AND v.base_offset + v.sequence_count > void_from)
    ORDER BY s.producer_id FOR UPDATE;
    UPDATE producer_state AS p
    SET base_sequences = k.base_sequences, sequence_counts = k.sequence_counts, base_offsets = k.base_offsets,
        updates = p.updates + 1
    FROM (SELECT s.producer_id,
                 array_agg(((c.base_sequence::bigint + part.lo) & 2147483647)::int ORDER BY c.place, part.lo) AS base_sequences,
                 array_agg((part.hi - part.lo)::int ORDER BY c.place, part.lo) AS sequence_counts,
                 array_agg(c.base_offset + part.lo ORDER BY c.place, part.lo) AS base_offsets
          FROM producer_state AS s
          CROSS JOIN LATERAL unnest(s.base_sequences, s.sequence_counts, s.base_offsets) WITH ORDINALITY
              AS c(base_sequence, sequence_count, base_offset, place)
          CROSS JOIN LATERAL (VALUES (0, least(c.sequence_count, void_from - c.base_offset)),
                                     (greatest(0, void_end - c.base_offset), c.sequence_count)) AS part(lo, hi)
          WHERE s.topic_id = forget_stretches.topic_id AND s.partition = forget_stretches.partition
            AND part.lo < part.hi
            AND EXISTS (SELECT FROM unnest(s.sequence_counts, s.base_offsets) AS v(sequence_count, base_offset)
                        WHERE v.base_offset < void_end AND v.base_offset + v.sequence_count > void_from)
          GROUP BY s.producer_id) AS k
    WHERE p.topic_id = forget_stretches.topic_id AND p.partition = forget_stretches.partition
      AND p.producer_id = k.producer_id;
END
$$;
COMMENT ON FUNCTION streamhouse.forget_stretches IS
    'Takes offsets that became void out of what is known of producers, unless nothing would be known of one any more';
