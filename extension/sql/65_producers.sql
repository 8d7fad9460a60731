-- Idempotent producers (guarantee G8): ids, what they have published, claims of new owners.
--
-- Sequences run from 0 to 2^31 - 1 and then from 0 again. A stretch is a run of consecutive sequences at
-- consecutive offsets; (sequence - offset) modulo 2^31 is the same all along it.

CREATE FUNCTION streamhouse.producer_retention() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT interval '7 days' $$;
COMMENT ON FUNCTION streamhouse.producer_retention IS
    'How long a producer that writes no more is remembered in a partition';

CREATE FUNCTION streamhouse.sequence_distance(a int, b int) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT ((a::bigint - b + (1::bigint << 30)) & 2147483647) - (1::bigint << 30) $$;
COMMENT ON FUNCTION streamhouse.sequence_distance IS
    'How far sequence a lies behind b, the shorter way round; negative: before it';

CREATE FUNCTION streamhouse.sequences_before(base_sequence int, sequence_count int, sequence int) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT greatest(0, least(sequence_count, sequence_distance(sequence, base_sequence)))::int $$;
COMMENT ON FUNCTION streamhouse.sequences_before IS
    'How many of consecutive sequences lie before another: none, all, or those at their front';

CREATE FUNCTION streamhouse.agent_init_producer(incarnation bigint)
RETURNS TABLE (producer_id bigint, producer_epoch int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter(incarnation);
    PERFORM expire_producers();
    RETURN QUERY SELECT (c.term << 40) | nextval('producer_number'), 0 FROM cluster AS c;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_init_producer IS
    'An id that no producer had before, the term in its high bits, and its first epoch. Raises SH001, SH002';

CREATE FUNCTION streamhouse.expire_producers() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    -- At most hourly, and by one caller: new producers are what makes the tables grow.
    INSERT INTO producer_expiry AS e (checked_at) VALUES (now())
    ON CONFLICT (one_row) DO UPDATE SET checked_at = now() WHERE e.checked_at < now() - interval '1 hour';
    IF FOUND THEN
        DELETE FROM producer_state AS p WHERE p.updated_at < now() - producer_retention();
        DELETE FROM producer_claim AS c
        WHERE c.claimed_at < now() - producer_retention()
          AND NOT EXISTS (SELECT FROM unresolved_epoch AS u
                          WHERE u.topic_id = c.topic_id AND u.partition = c.partition AND u.epoch < c.epoch);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.expire_producers IS
    'Forgets producers that have not written for producer_retention(), and claims that nothing can be late for';

CREATE VIEW streamhouse.unresolved_epoch AS
SELECT e.topic_id, e.partition, e.epoch FROM streamhouse.epoch AS e WHERE e.state = 'orphaned'
UNION ALL
SELECT e.topic_id, e.partition, e.epoch FROM streamhouse.epoch AS e
LEFT JOIN streamhouse.epoch AS made ON made.topic_id = e.topic_id AND made.partition = e.partition
                                   AND made.leftover_of = e.epoch
WHERE e.forced AND e.end_offset < e.limit_offset
  AND coalesce(made.state <> 'sealed', e.forced_at > now() - streamhouse.producer_retention());
COMMENT ON VIEW streamhouse.unresolved_epoch IS
    'Epochs that may still bring batches: orphaned ones, and those that were sealed by force while their '
    'leftovers are on their way or, for producer_retention() from the forced end, may come';

CREATE FUNCTION streamhouse.claim_lock() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    LOCK TABLE producer_claim IN ROW EXCLUSIVE MODE;
END
$$;
COMMENT ON FUNCTION streamhouse.claim_lock IS
    'Before a claim looks which epochs are unresolved: none is made known meanwhile (presenting_lock)';

CREATE FUNCTION streamhouse.presenting_lock() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    LOCK TABLE producer_claim IN EXCLUSIVE MODE;
END
$$;
COMMENT ON FUNCTION streamhouse.presenting_lock IS
    'Before epochs are made known again: claims under way end first and are seen, later ones wait and see the '
    'epochs. An epoch that is not known yet has no head that a claim could lock';

CREATE FUNCTION streamhouse.agent_claim(incarnation bigint, topic_ids uuid[], partitions int[], epochs bigint[],
                                        producer_ids bigint[], producer_epochs int[],
                                        first_unacked_seqs int[])
RETURNS TABLE (ordinal int, claimed boolean, producer_epoch int, base_sequence int, sequence_count int,
               base_offset bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM agent_enter(incarnation);
    PERFORM claim_lock();
    -- A late publish that holds a head finishes first, and what it stored is seen below; one that waits for a
    -- head finds the claim.
    PERFORM lock_heads(array_agg(u.topic_id), array_agg(u.partition), array_agg(u.epoch))
    FROM unnest(topic_ids, partitions) AS a(topic_id, partition)
    JOIN unresolved_epoch AS u USING (topic_id, partition);

    INSERT INTO producer_claim (topic_id, partition, producer_id, producer_epoch, epoch, first_unacked_seq)
    SELECT a.topic_id, a.partition, a.producer_id, a.producer_epoch, a.epoch, a.first_seq
    FROM unnest(topic_ids, partitions, epochs, producer_ids, producer_epochs, first_unacked_seqs)
         AS a(topic_id, partition, epoch, producer_id, producer_epoch, first_seq)
    JOIN epoch AS e ON (e.topic_id, e.partition, e.epoch) = (a.topic_id, a.partition, a.epoch)
                   AND e.incarnation_id = agent_claim.incarnation
    LEFT JOIN producer_state AS p ON (p.topic_id, p.partition, p.producer_id)
                                   = (a.topic_id, a.partition, a.producer_id)
    WHERE coalesce(p.producer_epoch, -1) < a.producer_epoch
       OR (p.producer_epoch = a.producer_epoch
           AND sequence_distance(next_sequence(p.base_sequences, p.sequence_counts), a.first_seq) <= 0)
    ON CONFLICT DO NOTHING;

    RETURN QUERY
    SELECT a.ordinal::int, c.epoch IS NOT NULL, p.producer_epoch, s.base_sequence, s.sequence_count, s.base_offset
    FROM unnest(topic_ids, partitions, epochs, producer_ids, producer_epochs) WITH ORDINALITY
         AS a(topic_id, partition, epoch, producer_id, producer_epoch, ordinal)
    LEFT JOIN producer_claim AS c
           ON (c.topic_id, c.partition, c.producer_id, c.producer_epoch, c.epoch)
            = (a.topic_id, a.partition, a.producer_id, a.producer_epoch, a.epoch)
    LEFT JOIN producer_state AS p ON (p.topic_id, p.partition, p.producer_id)
                                   = (a.topic_id, a.partition, a.producer_id)
    LEFT JOIN LATERAL unnest(p.base_sequences, p.sequence_counts, p.base_offsets) WITH ORDINALITY
        AS s(base_sequence, sequence_count, base_offset, place) ON true
    ORDER BY a.ordinal, s.place;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_claim IS
    'Before the owner of a new epoch takes a producer''s first batch while an earlier epoch is unresolved: from '
    'that sequence on the producer writes in the new epoch, and late batches of earlier ones are void. Not '
    'claimed: the sequence is published already. In any case it tells, stretch by stretch, what the producer has '
    'published. Asked again, it answers the same. Raises SH001, SH002';

CREATE FUNCTION streamhouse.agent_claims(incarnation bigint, topic_ids uuid[], partitions int[], epochs bigint[])
RETURNS TABLE (ordinal int, producer_id bigint, producer_epoch int, first_unacked_seq int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM agent_enter(incarnation);
    RETURN QUERY
    SELECT a.ordinal::int, c.producer_id, c.producer_epoch, c.first_unacked_seq
    FROM unnest(topic_ids, partitions, epochs) WITH ORDINALITY AS a(topic_id, partition, epoch, ordinal)
    -- An epoch may be one that the database has forgotten, and that is about to be presented.
    LEFT JOIN epoch AS e USING (topic_id, partition, epoch)
    JOIN producer_claim AS c ON c.topic_id = a.topic_id AND c.partition = a.partition
                            AND c.epoch > coalesce(e.leftover_of, a.epoch)
    ORDER BY a.ordinal, c.producer_id, c.producer_epoch, c.epoch;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_claims IS
    'Which sequences of producers are void in epochs that are published late: of each producer and epoch of it '
    'those from first_unacked_seq on. Raises SH001, SH002';

CREATE VIEW streamhouse.binding_claim AS
SELECT e.topic_id, e.partition, e.epoch, c.producer_id, c.producer_epoch, c.epoch AS claimed_in,
       c.first_unacked_seq
FROM streamhouse.epoch AS e
JOIN streamhouse.producer_claim AS c USING (topic_id, partition)
WHERE c.epoch > coalesce(e.leftover_of, e.epoch);
COMMENT ON VIEW streamhouse.binding_claim IS
    'The claims that bind an epoch: those of later ones. Leftovers count as the epoch that they were accepted in';

CREATE FUNCTION streamhouse.check_claims(topic_ids uuid[], partitions int[], epochs bigint[], stretch_runs int[],
                                         producer_ids bigint[], producer_epochs int[], base_sequences int[],
                                         sequence_counts int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    bad record;
BEGIN
    SELECT c.topic_id, c.partition, s.producer_id, c.first_unacked_seq INTO bad
    FROM unnest(stretch_runs, producer_ids, producer_epochs, base_sequences, sequence_counts)
         AS s(run, producer_id, producer_epoch, base_sequence, sequence_count)
    JOIN binding_claim AS c
      ON (c.topic_id, c.partition, c.epoch, c.producer_id, c.producer_epoch)
       = (topic_ids[s.run], partitions[s.run], epochs[s.run], s.producer_id, s.producer_epoch)
    WHERE sequences_before(s.base_sequence, s.sequence_count, c.first_unacked_seq) < s.sequence_count
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a later epoch has claimed sequences of producer % in this object', bad.producer_id
            USING ERRCODE = 'SH010',
                  DETAIL = format('Topic %s, partition %s: from sequence %s on.', bad.topic_id, bad.partition,
                                  bad.first_unacked_seq),
                  HINT = 'Ask agent_claims(), declare those batches void, and publish another object.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_claims IS
    'Raises SH010 when a publish brings late batches that a producer has sent anew in a later epoch. The heads '
    'are locked';

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
    'earlier epoch may still bring batches, and agent_claim comes first. Raises SH001, SH002';

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

CREATE FUNCTION streamhouse.decide_sequences(
    topic_ids uuid[], partitions int[], first_offsets bigint[], stretch_runs int[], producer_ids bigint[],
    producer_epochs int[], base_sequences int[], sequence_counts int[], OUT verdicts text[],
    OUT stored_at bigint[], OUT repeats int[]
)
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    batch    record;
    known    producer_state;
    key      text;
    next_seq int;
    -- Of the producer at hand, in this call: the runs that are taken, and their sequences.
    taken     int[];
    taken_seq int[];
    taken_len int[];
BEGIN
    verdicts := array_fill(NULL::text, ARRAY[cardinality(topic_ids)]);
    stored_at := array_fill(NULL::bigint, ARRAY[cardinality(topic_ids)]);
    repeats := array_fill(NULL::int, ARRAY[cardinality(topic_ids)]);
    FOR batch IN
        SELECT topic_ids[s.run] AS topic_id, partitions[s.run] AS partition, s.*
        FROM unnest(stretch_runs, producer_ids, producer_epochs, base_sequences, sequence_counts)
             AS s(run, producer_id, producer_epoch, base_sequence, sequence_count)
        WHERE first_offsets[s.run] IS NULL
        ORDER BY 1, 2, s.producer_id, s.run
    LOOP
        IF key IS DISTINCT FROM concat_ws('/', batch.topic_id, batch.partition, batch.producer_id) THEN
            key := concat_ws('/', batch.topic_id, batch.partition, batch.producer_id);
            taken := '{}';
            taken_seq := '{}';
            taken_len := '{}';
            SELECT * INTO known FROM producer_state AS p
            WHERE (p.topic_id, p.partition, p.producer_id)
                = (batch.topic_id, batch.partition, batch.producer_id);
            next_seq := next_sequence(known.base_sequences, known.sequence_counts);
        END IF;

        IF known.producer_epoch > batch.producer_epoch THEN
            verdicts[batch.run] := 'old_producer';
            CONTINUE;
        ELSIF next_seq IS NULL AND batch.base_sequence <> 0 THEN
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
    'batch, and nothing is known of it)';

CREATE FUNCTION streamhouse.store_sequences(
    incarnation bigint, publish_no bigint, topic_ids uuid[], partitions int[], stretch_runs int[],
    producer_ids bigint[], producer_epochs int[], base_sequences int[], sequence_counts int[],
    base_offsets bigint[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    outcomes text[];
    firsts   bigint[];
BEGIN
    SELECT r.results, r.first_offsets INTO outcomes, firsts FROM publish_result AS r
    WHERE r.incarnation_id = store_sequences.incarnation AND r.publish_no = store_sequences.publish_no;
    -- Late publishes of an earlier epoch hold another head: the rows themselves serialise the two.
    INSERT INTO producer_state (topic_id, partition, producer_id, producer_epoch, base_sequences,
                                sequence_counts, base_offsets)
    SELECT topic_ids[s.run], partitions[s.run], s.producer_id, min(s.producer_epoch), '{}', '{}', '{}'
    FROM unnest(stretch_runs, producer_ids, producer_epochs) AS s(run, producer_id, producer_epoch)
    WHERE outcomes[s.run] = 'published'
    GROUP BY 1, 2, 3
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING;
    PERFORM FROM producer_state AS p
    WHERE (p.topic_id, p.partition, p.producer_id) IN (
        SELECT topic_ids[s.run], partitions[s.run], s.producer_id
        FROM unnest(stretch_runs, producer_ids) AS s(run, producer_id))
    ORDER BY p.topic_id, p.partition, p.producer_id FOR UPDATE;

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
        FROM producer_state AS p
        CROSS JOIN unnest(p.base_sequences, p.sequence_counts, p.base_offsets) AS s
        WHERE (p.topic_id, p.partition, p.producer_id) IN (SELECT topic_id, partition, producer_id FROM given)
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
        sequence_counts = n.sequence_counts, base_offsets = n.base_offsets, updated_at = now()
    FROM (SELECT topic_id, partition, producer_id, producer_epoch,
                 array_agg(((diagonal + base_offset) & 2147483647)::int ORDER BY age DESC) AS base_sequences,
                 array_agg((end_offset - base_offset)::int ORDER BY age DESC) AS sequence_counts,
                 array_agg(base_offset ORDER BY age DESC) AS base_offsets
          FROM joined WHERE age <= 5
          GROUP BY topic_id, partition, producer_id, producer_epoch) AS n
    WHERE (p.topic_id, p.partition, p.producer_id) = (n.topic_id, n.partition, n.producer_id);
END
$$;
COMMENT ON FUNCTION streamhouse.store_sequences IS
    'Notes what a publish has stored of idempotent producers: the last five stretches of each, by sequence';
