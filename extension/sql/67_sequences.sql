-- What idempotent producers have published: told to new owners, checked in ownerless epochs, noted by publishes.

CREATE FUNCTION streamhouse.next_sequence(base_sequences int[], sequence_counts int[]) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT ((base_sequences[cardinality(base_sequences)]::bigint
             + sequence_counts[cardinality(sequence_counts)]) & 2147483647)::int
$$;
COMMENT ON FUNCTION streamhouse.next_sequence IS 'The sequence that follows the last stretch';

CREATE FUNCTION streamhouse.agent_producer_state(incarnation bigint, topic_ids uuid[], partitions int[],
                                                 epochs bigint[], producers_max int)
RETURNS TABLE (ordinal int, unresolved boolean, producer_id bigint, producer_epoch int, base_sequence int,
               sequence_count int, base_offset bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM agent_enter(incarnation);
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(topic_ids, partitions, epochs) WITH ORDINALITY
            AS a(topic_id, partition, epoch, ordinal)
    ), late AS MATERIALIZED (
        SELECT DISTINCT a.ordinal FROM asked AS a JOIN unresolved_epoch AS u USING (topic_id, partition)
        WHERE u.epoch < a.epoch
    )
    SELECT a.ordinal::int, late.ordinal IS NOT NULL, p.producer_id, p.producer_epoch, s.base_sequence,
           s.sequence_count, s.base_offset
    FROM asked AS a
    LEFT JOIN late ON late.ordinal = a.ordinal
    LEFT JOIN LATERAL (
        SELECT * FROM producer_state AS p
        WHERE p.topic_id = a.topic_id AND p.partition = a.partition
        ORDER BY p.updated_at DESC LIMIT producers_max) AS p ON true
    LEFT JOIN LATERAL unnest(p.base_sequences, p.sequence_counts, p.base_offsets) WITH ORDINALITY
        AS s(base_sequence, sequence_count, base_offset, place) ON true
    WHERE late.ordinal IS NOT NULL OR p.producer_id IS NOT NULL
    ORDER BY a.ordinal, p.updated_at, p.producer_id, s.place;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_producer_state IS
    'What idempotent producers have published in partitions, stretch by stretch, before their new owner '
    'accepts anything in the given epochs; of each partition the producers_max that wrote last. Unresolved: an '
    'earlier epoch may still bring batches, and agent_claim comes first. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.check_stretches(run_count int, stretch_runs int[], producer_ids bigint[],
                                            producer_epochs int[], base_sequences int[], sequence_counts int[],
                                            base_offsets bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT s.ordinal INTO bad
    FROM unnest(stretch_runs, producer_ids, producer_epochs, base_sequences, sequence_counts, base_offsets)
         WITH ORDINALITY AS s(run, producer_id, producer_epoch, base_sequence, sequence_count, base_offset, ordinal)
    WHERE num_nulls(s.run, s.producer_id, s.producer_epoch, s.base_sequence, s.sequence_count) > 0
       OR s.run NOT BETWEEN 1 AND run_count OR s.producer_id < 0 OR s.producer_epoch NOT BETWEEN 0 AND 32767
       OR s.base_sequence < 0 OR s.sequence_count < 1 OR s.base_offset < 0
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'stretch % is malformed', bad.ordinal
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'The arrays must be of one length, runs between 1 and the number of runs, sequences '
                         'at least 0, counts above 0.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_stretches IS
    'Raises an error for stretches of a publish that make no sense';

CREATE FUNCTION streamhouse.lock_heads_of_sequences(topic_ids uuid[], partitions int[], epochs bigint[],
                                                    first_offsets bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    IF array_position(first_offsets, NULL) IS NOT NULL THEN
        PERFORM claim_lock();
    END IF;
    PERFORM lock_heads(array_agg(h.topic_id), array_agg(h.partition), array_agg(h.epoch))
    FROM (
        SELECT * FROM unnest(topic_ids, partitions, epochs) AS own(topic_id, partition, epoch)
        UNION
        -- Claims hold the head of the epoch that leftovers were accepted in.
        SELECT e.topic_id, e.partition, e.leftover_of FROM epoch AS e
        WHERE (e.topic_id, e.partition, e.epoch) IN (SELECT * FROM unnest(topic_ids, partitions, epochs))
          AND e.leftover_of IS NOT NULL
        UNION
        -- What is stored in an ownerless epoch may have to be claimed.
        SELECT u.topic_id, u.partition, u.epoch
        FROM unnest(topic_ids, partitions, first_offsets) AS a(topic_id, partition, first_offset)
        JOIN unresolved_epoch AS u USING (topic_id, partition)
        WHERE a.first_offset IS NULL) AS h;
END
$$;
COMMENT ON FUNCTION streamhouse.lock_heads_of_sequences IS
    'Locks the heads that a publish with batches of idempotent producers needs: its own, and those that decide '
    'with claims about the same batches';

CREATE FUNCTION streamhouse.claim_in_ownerless(topic_id uuid, partition int, epoch bigint, producer_id bigint,
                                               producer_epoch int, first_unacked_seq int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    INSERT INTO producer_claim (topic_id, partition, producer_id, producer_epoch, epoch, first_unacked_seq)
    SELECT e.topic_id, e.partition, claim_in_ownerless.producer_id, claim_in_ownerless.producer_epoch, e.epoch,
           claim_in_ownerless.first_unacked_seq
    FROM epoch AS e
    WHERE (e.topic_id, e.partition, e.epoch)
        = (claim_in_ownerless.topic_id, claim_in_ownerless.partition, claim_in_ownerless.epoch)
      AND e.state = 'open' AND e.incarnation_id IS NULL;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION streamhouse.claim_in_ownerless IS
    'What agent_claim does for an owner, for an epoch without one: false when it is not open. Its head and those '
    'of unresolved epochs are locked';

CREATE FUNCTION streamhouse.decide_sequences(
    topic_ids uuid[], partitions int[], epochs bigint[], first_offsets bigint[], stretch_runs int[],
    producer_ids bigint[], producer_epochs int[], base_sequences int[], sequence_counts int[],
    first_unacked_seqs int[], OUT verdicts text[], OUT stored_at bigint[], OUT repeats int[]
)
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    batch    record;
    known    producer_state;
    key      text;
    next_seq int;
    claimed  int;
    -- Of the producer at hand, in this call: the runs that are taken, and their sequences.
    taken     int[];
    taken_seq int[];
    taken_len int[];
BEGIN
    verdicts := array_fill(NULL::text, ARRAY[cardinality(topic_ids)]);
    stored_at := array_fill(NULL::bigint, ARRAY[cardinality(topic_ids)]);
    repeats := array_fill(NULL::int, ARRAY[cardinality(topic_ids)]);
    IF array_position(first_offsets, NULL) IS NOT NULL THEN
        -- Behind the heads, as claims do. Nobody was asked before these batches were taken in.
        PERFORM use_producers(producer_ids);
    END IF;
    FOR batch IN
        SELECT topic_ids[s.run] AS topic_id, partitions[s.run] AS partition, epochs[s.run] AS epoch,
               coalesce(s.first_unacked, s.base_sequence) AS first_unacked_seq,
               EXISTS (SELECT FROM unresolved_epoch AS u
                       WHERE u.topic_id = topic_ids[s.run] AND u.partition = partitions[s.run]
                         AND u.epoch < epochs[s.run]) AS has_unresolved, s.*
        FROM unnest(stretch_runs, producer_ids, producer_epochs, base_sequences, sequence_counts,
                    first_unacked_seqs)
             AS s(run, producer_id, producer_epoch, base_sequence, sequence_count, first_unacked)
        WHERE first_offsets[s.run] IS NULL
        ORDER BY 1, 2, s.producer_id, s.run
    LOOP
        IF key IS DISTINCT FROM concat_ws('/', batch.topic_id, batch.partition, batch.producer_id) THEN
            key := concat_ws('/', batch.topic_id, batch.partition, batch.producer_id);
            taken := '{}';
            taken_seq := '{}';
            taken_len := '{}';
            SELECT * INTO known FROM newest_state(batch.topic_id, batch.partition, batch.producer_id);
            next_seq := next_sequence(known.base_sequences, known.sequence_counts);
        END IF;

        IF known.producer_epoch > batch.producer_epoch THEN
            verdicts[batch.run] := 'old_producer';
            CONTINUE;
        ELSIF next_seq IS NULL AND NOT EXISTS (SELECT FROM producer AS p WHERE p.producer_id = batch.producer_id) THEN
            verdicts[batch.run] := CASE WHEN may_be_lost(batch.producer_id) THEN 'too_many_producers'
                                        ELSE 'unknown_producer' END;
            CONTINUE;
        END IF;
        IF batch.has_unresolved THEN
            -- As the owner of an epoch does: the first batch of a producer is claimed (agent_claim).
            SELECT c.first_unacked_seq INTO claimed FROM producer_claim AS c
            WHERE (c.topic_id, c.partition, c.producer_id, c.producer_epoch, c.epoch)
                = (batch.topic_id, batch.partition, batch.producer_id, batch.producer_epoch, batch.epoch);
            IF known.producer_epoch < batch.producer_epoch THEN
                known := NULL;
                next_seq := NULL;
                taken := '{}';
                taken_seq := '{}';
                taken_len := '{}';
            END IF;
            IF claimed IS NULL AND (next_seq IS NULL OR sequence_distance(batch.base_sequence, next_seq) >= 0) THEN
                IF sequences_before(batch.base_sequence, batch.sequence_count, batch.first_unacked_seq)
                   = batch.sequence_count THEN
                    verdicts[batch.run] := 'duplicate';
                    CONTINUE;
                ELSIF batch.base_sequence <> batch.first_unacked_seq
                      AND (batch.base_sequence IS DISTINCT FROM next_seq
                           OR sequence_distance(batch.first_unacked_seq, batch.base_sequence) > 0) THEN
                    verdicts[batch.run] := 'out_of_order';
                    CONTINUE;
                ELSIF NOT claim_in_ownerless(batch.topic_id, batch.partition, batch.epoch, batch.producer_id,
                                             batch.producer_epoch, batch.base_sequence) THEN
                    CONTINUE;
                END IF;
                claimed := batch.base_sequence;
            END IF;
            IF claimed IS NOT NULL AND (next_seq IS NULL OR sequence_distance(claimed, next_seq) > 0) THEN
                known.producer_epoch := batch.producer_epoch;
                next_seq := claimed;
            END IF;
        END IF;
        IF next_seq IS NULL AND batch.base_sequence <> 0 THEN
            verdicts[batch.run] := 'unknown_producer';
            CONTINUE;
        ELSIF known.producer_epoch < batch.producer_epoch OR next_seq IS NULL THEN
            -- The producer, or its epoch, begins.
            IF batch.base_sequence <> 0 THEN
                verdicts[batch.run] := 'out_of_order';
                CONTINUE;
            END IF;
            known := NULL;
            known.producer_epoch := batch.producer_epoch;
            taken := '{}';
            taken_seq := '{}';
            taken_len := '{}';
            next_seq := 0;
        END IF;

        IF batch.base_sequence = next_seq THEN
            next_seq := ((next_seq::bigint + batch.sequence_count) & 2147483647)::int;
            taken := taken || batch.run;
            taken_seq := taken_seq || batch.base_sequence;
            taken_len := taken_len || batch.sequence_count;
        ELSIF sequence_distance(batch.base_sequence, next_seq) + batch.sequence_count > 0 THEN
            verdicts[batch.run] := 'out_of_order';
        ELSE
            verdicts[batch.run] := 'duplicate';
            repeats[batch.run] := (
                SELECT t.run FROM unnest(taken, taken_seq, taken_len) AS t(run, sequence, length)
                WHERE t.sequence = batch.base_sequence AND t.length = batch.sequence_count);
            stored_at[batch.run] := (
                SELECT s.base_offset + sequence_distance(batch.base_sequence, s.base_sequence)
                FROM unnest(known.base_sequences, known.sequence_counts, known.base_offsets)
                     AS s(base_sequence, sequence_count, base_offset)
                WHERE sequence_distance(batch.base_sequence, s.base_sequence)
                      BETWEEN 0 AND s.sequence_count - batch.sequence_count
                LIMIT 1);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION streamhouse.decide_sequences IS
    'What becomes of idempotent producers'' batches in ownerless epochs, in their order; their heads are '
    'locked. Per run: null (may be stored); duplicate, with the offset or the run of this call that has it; '
    'out_of_order; old_producer (a newer epoch of it has written there); unknown_producer (not its first '
    'batch, and nothing is known of it, or its id was not given); too_many_producers (it may have been given in an older term, '
    'and is not taken for given for now). While an earlier epoch is unresolved, a producer''s first batch is claimed';

CREATE FUNCTION streamhouse.store_sequences(
    incarnation bigint, publish_no bigint, topic_ids uuid[], partitions int[], stretch_runs int[],
    producer_ids bigint[], producer_epochs int[], base_sequences int[], sequence_counts int[],
    base_offsets bigint[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    outcomes   text[];
    firsts     bigint[];
    new_places tid[];
    all_locked boolean;
BEGIN
    SELECT r.results, r.first_offsets INTO outcomes, firsts FROM publish_result AS r
    WHERE r.incarnation_id = store_sequences.incarnation AND r.publish_no = store_sequences.publish_no;
    -- Late publishes of an earlier epoch hold another head: the rows themselves serialise the two. An id that
    -- has state is a known one, also where the database had lost it: ids first, as where they are adopted.
    -- Once more where one that was there is gone when it is to be locked: it had expired (expire_states).
    LOOP
        WITH fresh AS MATERIALIZED (
            SELECT topic_ids[s.run] AS topic_id, partitions[s.run] AS partition, s.producer_id,
                   min(s.producer_epoch) AS producer_epoch
            FROM unnest(stretch_runs, producer_ids, producer_epochs) AS s(run, producer_id, producer_epoch)
            WHERE outcomes[s.run] = 'published'
              AND NOT EXISTS (SELECT FROM newest_state(topic_ids[s.run], partitions[s.run], s.producer_id))
            GROUP BY 1, 2, 3
        ), given AS (
            INSERT INTO producer (producer_id, has_batches)
            SELECT DISTINCT producer_id, true FROM fresh ORDER BY 1 ON CONFLICT DO NOTHING
            RETURNING producer_id
        ), made AS (
            INSERT INTO producer_state (topic_id, partition, producer_id, producer_epoch, base_sequences,
                                        sequence_counts, base_offsets)
            SELECT f.topic_id, f.partition, f.producer_id, f.producer_epoch, '{}', '{}', '{}'
            FROM fresh AS f
            WHERE (SELECT count(*) FROM given) >= 0
            ORDER BY 1, 2, 3
            ON CONFLICT DO NOTHING
            RETURNING ctid AS place
        )
        SELECT array_agg(place) INTO new_places FROM made;
        -- Another one's, made after this began, may have left the first stage before this got there.
        DELETE FROM producer_state AS p
        WHERE p.ctid = ANY (new_places)
          AND (SELECT l.stage FROM newest_state(p.topic_id, p.partition, p.producer_id) AS l) > 0;
        SELECT count(*) = count(locked.producer_id) INTO all_locked
        FROM (SELECT DISTINCT topic_ids[s.run], partitions[s.run], s.producer_id
              FROM unnest(stretch_runs, producer_ids) AS s(run, producer_id)
              WHERE outcomes[s.run] = 'published'
              ORDER BY 1, 2, 3) AS a(topic_id, partition, producer_id)
        LEFT JOIN LATERAL (SELECT p.producer_id FROM producer_state AS p
                           WHERE p.topic_id = a.topic_id AND p.partition = a.partition AND p.producer_id = a.producer_id
                           ORDER BY p.topic_id DESC, p.partition DESC, p.producer_id DESC, p.stage DESC
                           LIMIT 1 FOR UPDATE) AS locked ON true;
        EXIT WHEN all_locked;
    END LOOP;

    WITH given AS MATERIALIZED (
        SELECT topic_ids[s.run] AS topic_id, partitions[s.run] AS partition, s.producer_id, s.producer_epoch,
               s.base_sequence, s.sequence_count, coalesce(s.base_offset, firsts[s.run]) AS base_offset
        FROM unnest(stretch_runs, producer_ids, producer_epochs, base_sequences, sequence_counts, base_offsets)
             AS s(run, producer_id, producer_epoch, base_sequence, sequence_count, base_offset)
        WHERE outcomes[s.run] = 'published'
    ), stretch AS (
        SELECT topic_id, partition, producer_id, producer_epoch, base_sequence, sequence_count, base_offset
        FROM given
        UNION ALL
        SELECT p.topic_id, p.partition, p.producer_id, p.producer_epoch, s.*
        FROM (SELECT DISTINCT topic_id, partition, producer_id FROM given) AS g
        CROSS JOIN LATERAL newest_state(g.topic_id, g.partition, g.producer_id) AS p
        CROSS JOIN unnest(p.base_sequences, p.sequence_counts, p.base_offsets) AS s
    ), known AS (
        -- In the order of the sequences, not of the offsets: leftovers of a forced seal come above what was
        -- sent after them.
        SELECT s.*, base_offset + sequence_count AS end_offset,
               (base_sequence - base_offset) & 2147483647 AS diagonal,
               sequence_distance(base_sequence, anchor) AS place
        FROM (SELECT *, max(producer_epoch) OVER producer AS newest, min(base_sequence) OVER producer AS anchor
              FROM stretch WINDOW producer AS (PARTITION BY topic_id, partition, producer_id)) AS s
        WHERE s.producer_epoch = s.newest
    ), marked AS (
        SELECT *, (diagonal IS DISTINCT FROM lag(diagonal) OVER ordered
                   OR place > max(place + sequence_count) OVER earlier)::int AS begins
        FROM known
        WINDOW ordered AS (PARTITION BY topic_id, partition, producer_id ORDER BY place, end_offset),
               earlier AS (ordered ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ), numbered AS (
        SELECT *, sum(begins) OVER (PARTITION BY topic_id, partition, producer_id
                                    ORDER BY place, end_offset) AS island
        FROM marked
    ), joined AS (
        -- No stretch grows beyond 2^24 records, far below where the order of sequences would be lost.
        SELECT topic_id, partition, producer_id, producer_epoch, diagonal, max(end_offset) AS end_offset,
               greatest(min(base_offset), max(end_offset) - 16777216) AS base_offset,
               row_number() OVER (PARTITION BY topic_id, partition, producer_id ORDER BY island DESC) AS age
        FROM numbered
        GROUP BY topic_id, partition, producer_id, producer_epoch, diagonal, island
    )
    UPDATE producer_state AS p
    SET producer_epoch = n.producer_epoch, base_sequences = n.base_sequences,
        sequence_counts = n.sequence_counts, base_offsets = n.base_offsets, updated_at = now(),
        updates = p.updates + 1
    FROM (SELECT topic_id, partition, producer_id, producer_epoch,
                 array_agg(((diagonal + base_offset) & 2147483647)::int ORDER BY age DESC) AS base_sequences,
                 array_agg((end_offset - base_offset)::int ORDER BY age DESC) AS sequence_counts,
                 array_agg(base_offset ORDER BY age DESC) AS base_offsets
          FROM joined WHERE age <= 5
          GROUP BY topic_id, partition, producer_id, producer_epoch) AS n
    CROSS JOIN LATERAL (SELECT l.ctid AS place FROM producer_state AS l
                        WHERE l.topic_id = n.topic_id AND l.partition = n.partition AND l.producer_id = n.producer_id
                        ORDER BY l.topic_id DESC, l.partition DESC, l.producer_id DESC, l.stage DESC LIMIT 1) AS l
    WHERE p.ctid = l.place;
END
$$;
COMMENT ON FUNCTION streamhouse.store_sequences IS
    'Notes what a publish has stored of idempotent producers: the last five stretches of each, by sequence';
