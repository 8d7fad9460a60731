-- Publishing: the one call per object that makes records visible (guarantees G2, G4, G6).

CREATE FUNCTION streamhouse.publish_object(
    incarnation     bigint,
    publish_no      bigint,
    confirmed_no    bigint,
    object_id       uuid,
    object_key      text,
    object_bytes    bigint,
    topic_ids       uuid[],
    partitions      int[],
    epochs          bigint[],
    first_offsets   bigint[],
    offset_counts   bigint[],
    record_counts   bigint[],
    positions       bigint[],
    lengths         bigint[],
    min_timestamps  bigint[],
    max_timestamps  bigint[],
    voids           boolean[],
    stretch_runs    int[] DEFAULT '{}',
    producer_ids    bigint[] DEFAULT '{}',
    producer_epochs int[] DEFAULT '{}',
    base_sequences  int[] DEFAULT '{}',
    sequence_counts int[] DEFAULT '{}',
    base_offsets    bigint[] DEFAULT '{}',
    first_unacked_seqs int[] DEFAULT '{}'
) RETURNS TABLE (ordinal int, result text, first_offset bigint, published_end bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    verdicts  text[];
    stored_at bigint[];
    repeats   int[];
BEGIN
    PERFORM agent_enter(incarnation);
    -- From where the newest one says: what lies below was deleted before, and may not be removed yet.
    DELETE FROM publish_result AS r
    WHERE r.incarnation_id = publish_object.incarnation AND r.publish_no <= publish_object.confirmed_no
      AND r.publish_no >= (SELECT n.oldest_no FROM publish_result AS n
                           WHERE n.incarnation_id = publish_object.incarnation
                           ORDER BY n.incarnation_id DESC, n.publish_no DESC LIMIT 1);

    IF NOT is_published_before(incarnation, publish_object.publish_no, publish_object.object_id) THEN
        PERFORM check_object_key(object_key, incarnation);
        PERFORM check_entries(topic_ids, partitions, epochs, first_offsets, offset_counts, record_counts,
                              positions, lengths, min_timestamps, max_timestamps, voids);
        IF cardinality(stretch_runs) > 0 THEN
            PERFORM lock_heads_of_sequences(topic_ids, partitions, epochs, first_offsets);
        ELSE
            PERFORM lock_heads(topic_ids, partitions, epochs);
        END IF;
        IF cardinality(stretch_runs) > 0 THEN
            PERFORM check_stretches(cardinality(topic_ids), stretch_runs, producer_ids, producer_epochs,
                                    base_sequences, sequence_counts, base_offsets);
            PERFORM check_claims(topic_ids, partitions, epochs, stretch_runs, producer_ids, producer_epochs,
                                 base_sequences, sequence_counts);
            SELECT d.verdicts, d.stored_at, d.repeats INTO verdicts, stored_at, repeats
            FROM decide_sequences(topic_ids, partitions, epochs, first_offsets, stretch_runs, producer_ids,
                                  producer_epochs, base_sequences, sequence_counts, first_unacked_seqs) AS d;
        END IF;
        PERFORM publish_entries(incarnation, publish_object.publish_no, publish_object.object_id, object_key,
                                object_bytes, topic_ids, partitions, epochs, first_offsets, offset_counts,
                                record_counts, positions, lengths, min_timestamps, max_timestamps, voids,
                                verdicts, stored_at, repeats, publish_object.confirmed_no + 1);
        IF cardinality(stretch_runs) > 0 THEN
            PERFORM note_twice(incarnation, publish_no, topic_ids, partitions, epochs, stretch_runs, producer_ids,
                               producer_epochs, base_sequences, sequence_counts, base_offsets)
            WHERE EXISTS (SELECT FROM term AS t WHERE t.settled_at IS NULL);
            PERFORM store_sequences(incarnation, publish_object.publish_no, topic_ids, partitions, stretch_runs,
                                    producer_ids, producer_epochs, base_sequences, sequence_counts,
                                    base_offsets);
        END IF;
    END IF;

    RETURN QUERY
    SELECT e.ordinal::int, e.result, e.first_offset, e.published_end
    FROM publish_result AS r,
         unnest(r.results, r.first_offsets, r.published_ends) WITH ORDINALITY
             AS e(result, first_offset, published_end, ordinal)
    WHERE r.incarnation_id = publish_object.incarnation AND r.publish_no = publish_object.publish_no
    ORDER BY e.ordinal;
END
$$;
COMMENT ON FUNCTION streamhouse.publish_object IS
    'Publishes an object that is in the store, run by run: published; duplicate (all below the published '
    'end); void; gap (begins above the published end, or below the epoch, or follows a refused run of its partition); fenced '
    '(the epoch is not open for this incarnation); dropped; unknown. A null first offset asks for the next '
    'offsets of an ownerless epoch. The stretches tell what the runs hold of idempotent producers; in an '
    'ownerless epoch, where each such batch is a run, they are checked first (see decide_sequences), and '
    'first_unacked_seqs says of each what agent_claim is told. The same publish number and object again get the '
    'same answer. Raises SH001, SH002, SH003, SH007, SH008, SH009, SH010';

CREATE FUNCTION streamhouse.is_published_before(incarnation bigint, publish_no bigint, object_id uuid)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    earlier uuid;
    known   object;
BEGIN
    SELECT r.object_id INTO earlier FROM publish_result AS r
    WHERE r.incarnation_id = incarnation AND r.publish_no = is_published_before.publish_no;
    IF earlier = is_published_before.object_id THEN
        RETURN true;
    ELSIF earlier IS NOT NULL THEN
        RAISE EXCEPTION 'publish number % of incarnation % is taken',
                        is_published_before.publish_no, incarnation
            USING ERRCODE = 'SH007',
                  DETAIL = format('It published object %s, not %s.', earlier, is_published_before.object_id);
    END IF;

    SELECT * INTO known FROM object AS o WHERE o.object_id = is_published_before.object_id;
    IF NOT FOUND THEN
        RETURN false;
    ELSIF known.state = 'live' THEN
        RAISE EXCEPTION 'object % was published as number %', known.object_id, known.publish_no
            USING ERRCODE = 'SH009', DETAIL = 'Its results were confirmed, or its incarnation was fenced.';
    END IF;
    RAISE EXCEPTION 'object % was given up', known.object_id
        USING ERRCODE = 'SH008', DETAIL = format('Its state is "%s".', known.state),
              HINT = 'Upload its runs again as a new object.';
END
$$;
COMMENT ON FUNCTION streamhouse.is_published_before IS
    'True when the results of this publish are stored: its answer was lost. Raises SH007, SH008, SH009';

CREATE FUNCTION streamhouse.check_entries(
    topic_ids uuid[], partitions int[], epochs bigint[], first_offsets bigint[], offset_counts bigint[],
    record_counts bigint[], positions bigint[], lengths bigint[], min_timestamps bigint[],
    max_timestamps bigint[], voids boolean[]
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT e.ordinal, e.topic_id, e.partition INTO bad
    FROM unnest(topic_ids, partitions, epochs, first_offsets, offset_counts, record_counts, positions,
                lengths, min_timestamps, max_timestamps, voids) WITH ORDINALITY
         AS e(topic_id, partition, epoch, first_offset, offset_count, record_count, position, length,
              min_timestamp, max_timestamp, void, ordinal)
    WHERE num_nulls(e.topic_id, e.partition, e.epoch, e.offset_count, e.void) > 0
       OR e.offset_count NOT BETWEEN 1 AND 1::bigint << 40 OR e.first_offset NOT BETWEEN 0 AND 1::bigint << 62
       OR (e.void AND e.first_offset IS NULL)
       OR (NOT e.void
           AND (num_nulls(e.record_count, e.position, e.length, e.min_timestamp, e.max_timestamp) > 0
                OR e.record_count NOT BETWEEN 0 AND e.offset_count OR e.position < 0 OR e.length < 1))
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'entry % is malformed', bad.ordinal
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Topic %s, partition %s.', bad.topic_id, bad.partition),
                  HINT = 'The arrays must be of one length, counts and lengths above 0, records at most '
                         'offsets.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_entries IS
    'Raises an error for entries of a publish that make no sense';
