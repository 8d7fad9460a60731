-- Claims of producers' sequences: while an earlier epoch of a partition may still bring batches, who takes a
-- producer's next one first says so, and what is late behind that is void (guarantee G8).

CREATE VIEW streamhouse.unresolved_epoch AS
SELECT e.topic_id, e.partition, e.epoch FROM streamhouse.epoch AS e WHERE e.state = 'orphaned'
UNION ALL
SELECT e.topic_id, e.partition, e.epoch FROM streamhouse.epoch AS e
LEFT JOIN streamhouse.epoch AS made ON made.topic_id = e.topic_id AND made.partition = e.partition
                                   AND made.leftover_of = e.epoch
WHERE e.forced AND e.end_offset < e.limit_offset
  AND coalesce(made.state <> 'sealed', e.forced_at > streamhouse.time_ago(streamhouse.producer_retention()));
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
RETURNS TABLE (ordinal int, is_known boolean, claimed_from int, producer_epoch int, base_sequence int,
               sequence_count int, base_offset bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
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
    -- Behind these locks, as publishes do: who has inserted the same id may hold them.
    PERFORM use_producers(producer_ids);

    INSERT INTO producer_claim (topic_id, partition, producer_id, producer_epoch, epoch, first_unacked_seq)
    SELECT a.topic_id, a.partition, a.producer_id, a.producer_epoch, a.epoch, a.first_seq
    FROM unnest(topic_ids, partitions, epochs, producer_ids, producer_epochs, first_unacked_seqs)
         AS a(topic_id, partition, epoch, producer_id, producer_epoch, first_seq)
    JOIN epoch AS e ON (e.topic_id, e.partition, e.epoch) = (a.topic_id, a.partition, a.epoch)
                   AND e.incarnation_id = agent_claim.incarnation
    LEFT JOIN producer AS known ON known.producer_id = a.producer_id
    LEFT JOIN LATERAL newest_state(a.topic_id, a.partition, a.producer_id) AS p ON true
    WHERE (known.producer_id IS NOT NULL OR p.producer_id IS NOT NULL)
      AND (coalesce(p.producer_epoch, -1) < a.producer_epoch
           OR (p.producer_epoch = a.producer_epoch
               AND sequence_distance(next_sequence(p.base_sequences, p.sequence_counts), a.first_seq) <= 0))
    ON CONFLICT DO NOTHING;

    RETURN QUERY
    SELECT a.ordinal::int, is_known_id(a.producer_id, known.producer_id IS NOT NULL OR p.producer_id IS NOT NULL),
           -- An owner that has forgotten the producer may ask for what was claimed long ago, and is published.
           CASE WHEN p.producer_epoch > a.producer_epoch
                  OR (p.producer_epoch = a.producer_epoch
                      AND sequence_distance(next_sequence(p.base_sequences, p.sequence_counts), a.first_seq) > 0)
                THEN NULL
                WHEN sequence_distance(c.first_unacked_seq, a.first_seq) > 0 THEN c.first_unacked_seq
                WHEN c.epoch IS NOT NULL THEN a.first_seq END,
           p.producer_epoch, s.base_sequence, s.sequence_count, s.base_offset
    FROM unnest(topic_ids, partitions, epochs, producer_ids, producer_epochs, first_unacked_seqs) WITH ORDINALITY
         AS a(topic_id, partition, epoch, producer_id, producer_epoch, first_seq, ordinal)
    LEFT JOIN producer AS known ON known.producer_id = a.producer_id
    LEFT JOIN producer_claim AS c
           ON (c.topic_id, c.partition, c.producer_id, c.producer_epoch, c.epoch)
            = (a.topic_id, a.partition, a.producer_id, a.producer_epoch, a.epoch)
    LEFT JOIN LATERAL newest_state(a.topic_id, a.partition, a.producer_id) AS p ON true
    LEFT JOIN LATERAL unnest(p.base_sequences, p.sequence_counts, p.base_offsets) WITH ORDINALITY
        AS s(base_sequence, sequence_count, base_offset, place) ON true
    ORDER BY a.ordinal, s.place;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_claim IS
    'Before the owner of a new epoch takes a producer''s first batch while an earlier epoch is unresolved: from '
    'that sequence on the producer writes in the new epoch, and late batches of earlier ones are void. '
    'claimed_from is never below one that was claimed before, and null where the sequence is published by now, '
    'or the id is not known (is_known, as in agent_lookup_producers). In any case it tells, stretch by stretch, what the producer has '
    'published. Asked again, it answers the same. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_claims(incarnation bigint, topic_ids uuid[], partitions int[], epochs bigint[])
RETURNS TABLE (ordinal int, producer_id bigint, producer_epoch int, first_unacked_seq int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
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
    'those from first_unacked_seq on. Raises SH001, SH002, SH003';

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
