-- Presenting: how the index learns, in a new term, of epochs and objects that the database has forgotten.

CREATE FUNCTION streamhouse.owner_of_wal(wal_uuid uuid, agent_id text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    newest bigint;
BEGIN
    SELECT max(i.incarnation_id) INTO newest FROM incarnation AS i WHERE i.wal_uuid = owner_of_wal.wal_uuid;
    IF newest IS NULL THEN
        INSERT INTO incarnation (wal_uuid, incarnation_no, agent_id, state)
        VALUES (owner_of_wal.wal_uuid, 1, owner_of_wal.agent_id, 'outdated')
        RETURNING incarnation_id INTO newest;
        INSERT INTO agent (agent_id, incarnation_id, address) VALUES (owner_of_wal.agent_id, newest, '')
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN newest;
END
$$;
COMMENT ON FUNCTION streamhouse.owner_of_wal IS
    'The newest incarnation of a WAL, made up for one that is not known. Needs the control lock';

CREATE FUNCTION streamhouse.recover_partition(topic_id uuid, partition int) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    term     bigint := (SELECT c.term FROM cluster AS c);
    gap      bigint := (term - 1) * term_gap(); -- above what it was given in each of them
    made_for text := 'recovered-' || left(recover_partition.topic_id::text, 8);
BEGIN
    IF absent_topic(recover_partition.topic_id) = 'dropped' OR recover_partition.partition NOT BETWEEN 0 AND 9999
       OR NOT EXISTS (SELECT FROM term AS t WHERE t.settled_at IS NULL) THEN
        RETURN false;
    END IF;
    IF EXISTS (SELECT FROM topic AS t WHERE t.name = made_for AND t.topic_id <> recover_partition.topic_id) THEN
        made_for := 'recovered-' || recover_partition.topic_id;
    END IF;
    INSERT INTO topic AS t (topic_id, name, durability, partition_count, segment_bytes, batch_bytes_max)
    VALUES (recover_partition.topic_id, made_for, 'wal', recover_partition.partition + 1, 64 << 20, 1 << 20)
    ON CONFLICT (topic_id) DO UPDATE SET partition_count = greatest(t.partition_count, EXCLUDED.partition_count);
    WITH added AS (
        INSERT INTO partition (topic_id, partition, next_offset)
        SELECT recover_partition.topic_id, p, gap FROM generate_series(0, recover_partition.partition) AS p
        ON CONFLICT DO NOTHING
        RETURNING topic_id, partition
    )
    INSERT INTO epoch (topic_id, partition, epoch, durability, state, start_offset, limit_offset, orphaned_at)
    SELECT topic_id, partition, epoch_number(term, 0), 'object', 'orphaned', 0, gap, now() FROM added;
    PERFORM bump_versions(assignments => true);
    RETURN true;
END
$$;
COMMENT ON FUNCTION streamhouse.recover_partition IS
    'Makes a topic, or a partition, that the database has forgotten altogether, for what the store or a WAL holds of it: '
    'under the name recovered-..., to be renamed or dropped by an operator. False for a topic that was dropped. Needs the '
    'control lock';

CREATE FUNCTION streamhouse.place_recovered(topic_ids uuid[], partitions int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(topic_ids, partitions) AS asked(topic_id, partition)
               JOIN partition AS p USING (topic_id, partition) JOIN topic AS t USING (topic_id)
               WHERE p.target_agent IS NULL AND t.durability = 'wal')
       AND placeable_agent_ids() <> '{}' THEN
        PERFORM place_partitions();
        PERFORM bump_versions(assignments => true);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.place_recovered IS
    'Gives partitions that nobody should own to agents; without any, those get them that come. Needs the control lock';

CREATE FUNCTION streamhouse.begin_lower(known streamhouse.epoch, start_offset bigint, owner bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    object_ids uuid[];
    row_counts int[];
BEGIN
    PERFORM lock_heads(ARRAY[known.topic_id], ARRAY[known.partition], ARRAY[known.epoch]);
    IF EXISTS (SELECT FROM epoch AS e JOIN epoch_head AS h USING (topic_id, partition, epoch)
               WHERE (e.topic_id, e.partition) = (known.topic_id, known.partition) AND e.epoch <> known.epoch
                 AND e.start_offset < known.start_offset AND h.published_end > begin_lower.start_offset) THEN
        RETURN 'fenced';
    END IF;
    WITH removed AS (
        DELETE FROM segment AS s
        WHERE (s.topic_id, s.partition, s.epoch) = (known.topic_id, known.partition, known.epoch)
        RETURNING s.object_id, s.first_offset, s.last_offset, s.records
    ), noted AS (
        INSERT INTO unplaced_run (object_id, ordinal, wal_uuid, topic_id, partition, epoch, first_offset, end_offset, records)
        SELECT r.object_id, row_number() OVER (PARTITION BY r.object_id ORDER BY r.first_offset)
                            + coalesce((SELECT max(u.ordinal) FROM unplaced_run AS u WHERE u.object_id = r.object_id), 0),
               i.wal_uuid, known.topic_id, known.partition, known.epoch, r.first_offset, r.last_offset + 1, r.records
        FROM removed AS r JOIN object AS o USING (object_id)
        JOIN incarnation AS i ON i.incarnation_id = coalesce(owner, o.incarnation_id)
        WHERE r.records > 0
    )
    SELECT array_agg(r.object_id), array_agg(r.row_count) INTO object_ids, row_counts
    FROM (SELECT object_id, count(*)::int AS row_count FROM removed GROUP BY object_id) AS r;
    PERFORM release_objects(object_ids, row_counts);
    UPDATE epoch_head AS h
    SET published_end = begin_lower.start_offset, records = 0, bytes = 0, timestamp_high_ms = NULL, updates = h.updates + 1
    WHERE (h.topic_id, h.partition, h.epoch) = (known.topic_id, known.partition, known.epoch);
    UPDATE epoch AS e
    SET start_offset = begin_lower.start_offset, held_at = begin_lower.start_offset, state = 'orphaned', end_offset = NULL,
        incarnation_id = owner
    WHERE (e.topic_id, e.partition, e.epoch) = (known.topic_id, known.partition, known.epoch);
    RETURN 'open';
END
$$;
COMMENT ON FUNCTION streamhouse.begin_lower IS
    'An epoch that was presented begins lower than the store showed: what its WAL holds was never published, nor was what '
    'follows it, which the WAL holds too. So it begins anew, and what had been placed is unresolved until the WAL has '
    'published it; of an ownerless one (owner null), until the objects are presented again. Fenced: the offsets are another epoch''s. Readers have not entered it. Needs the control lock';

CREATE FUNCTION streamhouse.present_epoch(topic_id uuid, partition int, epoch bigint, start_offset bigint,
                                          wal_uuid uuid, agent_id text, of_wal boolean,
                                          ownerless boolean) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    known    epoch;
    boundary epoch;
    high     bigint := present_epoch.start_offset + offset_range();
    top      bigint;
BEGIN
    SELECT * INTO known FROM epoch AS e
    WHERE (e.topic_id, e.partition, e.epoch)
        = (present_epoch.topic_id, present_epoch.partition, present_epoch.epoch);
    IF FOUND AND known.held_at = known.start_offset AND present_epoch.start_offset < known.start_offset
       AND (known.incarnation_id IS NULL AND present_epoch.ownerless
            OR present_epoch.of_wal
               AND EXISTS (SELECT FROM incarnation AS i
                           WHERE i.incarnation_id = known.incarnation_id
                             AND i.wal_uuid = present_epoch.wal_uuid)) THEN
        RETURN begin_lower(known, start_offset,
                           CASE WHEN known.incarnation_id IS NOT NULL THEN owner_of_wal(wal_uuid, agent_id) END);
    ELSIF FOUND THEN
        -- An ownerless epoch goes on until readers have crossed the boundary above it.
        RETURN CASE WHEN known.incarnation_id IS NULL THEN
                        CASE WHEN known.state = 'orphaned' AND NOT is_boundary(known.epoch) THEN 'open' ELSE 'fenced' END
                    WHEN EXISTS (SELECT FROM incarnation AS i
                                 WHERE i.incarnation_id = known.incarnation_id
                                   AND i.wal_uuid = present_epoch.wal_uuid) THEN 'open'
                    ELSE 'fenced' END;
    ELSIF NOT EXISTS (SELECT FROM partition AS p
                      WHERE (p.topic_id, p.partition) = (present_epoch.topic_id, present_epoch.partition))
          AND NOT recover_partition(present_epoch.topic_id, present_epoch.partition) THEN
        RETURN coalesce(absent_topic(present_epoch.topic_id), 'unknown');
    END IF;

    -- Below an unsettled boundary, and in nobody's published range.
    SELECT * INTO boundary FROM epoch AS b
    WHERE (b.topic_id, b.partition) = (present_epoch.topic_id, present_epoch.partition)
      AND b.state = 'orphaned' AND is_boundary(b.epoch) AND b.epoch > present_epoch.epoch
    ORDER BY b.epoch LIMIT 1;
    IF NOT FOUND OR is_boundary(present_epoch.epoch)
       OR EXISTS (SELECT FROM epoch AS e JOIN epoch_head AS h USING (topic_id, partition, epoch)
                  WHERE (e.topic_id, e.partition) = (present_epoch.topic_id, present_epoch.partition)
                    AND present_epoch.start_offset >= e.start_offset
                    AND present_epoch.start_offset < h.published_end) THEN
        RETURN 'fenced';
    END IF;
    top := boundary.limit_offset;
    IF high > top THEN
        IF EXISTS (SELECT FROM epoch AS e
                   WHERE (e.topic_id, e.partition) = (boundary.topic_id, boundary.partition)
                     AND e.epoch > boundary.epoch) THEN
            RETURN 'fenced';
        END IF;
        top := high + term_gap();
        UPDATE partition AS p SET next_offset = top
        WHERE (p.topic_id, p.partition) = (boundary.topic_id, boundary.partition);
        UPDATE epoch AS b SET limit_offset = top
        WHERE (b.topic_id, b.partition, b.epoch) = (boundary.topic_id, boundary.partition, boundary.epoch);
    END IF;
    UPDATE epoch AS b SET start_offset = high
    WHERE (b.topic_id, b.partition, b.epoch) = (boundary.topic_id, boundary.partition, boundary.epoch)
      AND b.start_offset < high;
    INSERT INTO epoch (topic_id, partition, epoch, incarnation_id, durability, state, start_offset,
                       limit_offset, orphaned_at, held_at)
    VALUES (present_epoch.topic_id, present_epoch.partition, present_epoch.epoch,
            CASE WHEN NOT ownerless THEN owner_of_wal(present_epoch.wal_uuid, present_epoch.agent_id) END,
            CASE WHEN ownerless THEN 'object' ELSE 'wal' END, 'orphaned', present_epoch.start_offset,
            CASE WHEN ownerless THEN top ELSE high END, now(), present_epoch.start_offset);
    INSERT INTO epoch_head (topic_id, partition, epoch, published_end)
    VALUES (present_epoch.topic_id, present_epoch.partition, present_epoch.epoch, present_epoch.start_offset);
    RETURN 'open';
END
$$;
COMMENT ON FUNCTION streamhouse.present_epoch IS
    'Makes an epoch of an older term known, which began at start_offset, or lower if its WAL (of_wal) says so later, or, of an '
    'ownerless one, the store: that is open to what any WAL wrote, as far as the boundary reaches. Open (it is known now, of this WAL); fenced (another''s, or readers have crossed the boundary above it, or it does not fit); dropped; unknown. '
    'Needs the control lock';

CREATE FUNCTION streamhouse.end_presented(topic_ids uuid[], partitions int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    -- The next epoch began below the limit: so this one had been sealed there.
    UPDATE epoch AS e SET state = 'sealed', end_offset = d.published_end
    FROM (SELECT orphan.place, h.published_end
          FROM (SELECT DISTINCT * FROM unnest(topic_ids, partitions)) AS asked(topic_id, partition)
          CROSS JOIN LATERAL find_unsealed(asked.topic_id, asked.partition) AS orphan
          CROSS JOIN LATERAL newest_head(asked.topic_id, asked.partition, orphan.epoch) AS h
          WHERE orphan.state = 'orphaned' AND orphan.durability = 'wal' AND h.published_end < orphan.limit_offset
            AND h.published_end = (SELECT n.start_offset FROM epoch AS n
                                   WHERE n.topic_id = asked.topic_id AND n.partition = asked.partition
                                     AND n.epoch > orphan.epoch AND NOT is_boundary(n.epoch)
                                   ORDER BY n.epoch LIMIT 1)) AS d
    WHERE e.ctid = d.place;
    PERFORM set_bases(topic_ids, partitions);
END
$$;
COMMENT ON FUNCTION streamhouse.end_presented IS
    'Seals what is known to have been sealed before: the next epoch begins at the published end. Needs the '
    'control lock';

CREATE FUNCTION streamhouse.agent_present_epochs(incarnation bigint, topic_ids uuid[], partitions int[],
                                                 epochs bigint[], start_offsets bigint[])
RETURNS TABLE (result text, epoch bigint, start_offset bigint, limit_offset bigint, published_end bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    caller  incarnation;
    answers text[];
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    PERFORM presenting_lock();
    SELECT * INTO caller FROM incarnation AS i WHERE i.incarnation_id = agent_present_epochs.incarnation;
    SELECT array_agg(present_epoch(a.topic_id, a.partition, a.epoch, a.start_offset, caller.wal_uuid,
                                   caller.agent_id, true, false) ORDER BY a.ordinal) INTO answers
    FROM unnest(topic_ids, partitions, epochs, start_offsets) WITH ORDINALITY
         AS a(topic_id, partition, epoch, start_offset, ordinal);
    PERFORM end_presented(topic_ids, partitions);
    PERFORM place_recovered(topic_ids, partitions);
    RETURN QUERY
    SELECT CASE WHEN a.answer = 'open' AND e.state = 'sealed' THEN 'sealed' ELSE a.answer END,
           a.epoch, e.start_offset, e.limit_offset, h.published_end
    FROM unnest(topic_ids, partitions, epochs, answers) WITH ORDINALITY
         AS a(topic_id, partition, epoch, answer, ordinal)
    LEFT JOIN LATERAL find_epoch(a.topic_id, a.partition, a.epoch) AS e ON true
    LEFT JOIN LATERAL newest_head(a.topic_id, a.partition, a.epoch) AS h ON true
    ORDER BY a.ordinal;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_present_epochs IS
    'Makes epochs known that the agent''s WAL holds records of, each from the lowest of its offsets: open '
    '(publish what is left, and seal); sealed; fenced (not this WAL''s, or too late); dropped; unknown. Raises '
    'SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_present_object(
    incarnation     bigint,
    writer_wal      uuid,
    writer_agent    text,
    object_id       uuid,
    object_key      text,
    object_bytes    bigint,
    is_last         boolean,
    acknowledged    boolean,
    left_out        bigint,
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
    stretch_runs    int[],
    producer_ids    bigint[],
    producer_epochs int[],
    base_sequences  int[],
    sequence_counts int[],
    base_offsets    bigint[],
    epoch_starts    bigint[],
    ownerless       boolean[]
) RETURNS TABLE (ordinal int, result text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    owner      bigint;
    known      object;
    kept_rows  int;
    answers    text[];
    outcomes   text[];
    own_epochs bigint[] := epochs;
    own_firsts bigint[] := first_offsets;
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    PERFORM presenting_lock();
    PERFORM check_object_key(object_key, NULL);
    PERFORM check_entries(topic_ids, partitions, epochs, first_offsets, offset_counts, record_counts,
                          positions, lengths, min_timestamps, max_timestamps, voids);
    owner := owner_of_wal(writer_wal, writer_agent);
    -- What an ownerless epoch was given stands in no object of its own, but in the results that later ones carry.
    -- Runs whose result was not found are left out.
    SELECT array_agg(CASE WHEN a.first_offset IS NULL
 THEN coalesce(absent_topic(a.topic_id), 'unknown')
                          ELSE present_epoch(a.topic_id, a.partition, a.epoch, a.start, writer_wal,
                                             writer_agent, false, a.ownerless) END ORDER BY a.ordinal) INTO answers
    FROM unnest(topic_ids, partitions, epochs, first_offsets, epoch_starts, ownerless) WITH ORDINALITY
         AS a(topic_id, partition, epoch, first_offset, start, ownerless, ordinal);
    -- If an epoch begins lower now, this has taken from the object what place it had there.
    SELECT * INTO known FROM object AS o WHERE o.object_id = agent_present_object.object_id;
    IF FOUND AND (known.publish_no <> 0 OR known.state <> 'live' OR NOT EXISTS (
        SELECT FROM unplaced_run AS u WHERE u.object_id = agent_present_object.object_id)) THEN
        RETURN QUERY SELECT n, 'duplicate' FROM generate_series(1, cardinality(topic_ids)) AS n;
        RETURN;
    END IF;

    PERFORM lock_heads(topic_ids, partitions, epochs);
    IF NOT is_last AND EXISTS (
        SELECT FROM (SELECT *, max(r.first_offset + r.offset_count) OVER (
                                   PARTITION BY topic_id, partition, epoch ORDER BY ordinal
                                   ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS end_before
                     FROM unnest(topic_ids, partitions, epochs, first_offsets, offset_counts, answers) WITH ORDINALITY
                          AS r(topic_id, partition, epoch, first_offset, offset_count, answer, ordinal)) AS a
        JOIN epoch AS e USING (topic_id, partition, epoch)
        JOIN epoch_head AS h USING (topic_id, partition, epoch)
        WHERE a.answer = 'open' AND e.state = 'orphaned'
          AND a.first_offset > greatest(h.published_end, a.end_before)) THEN
        RETURN QUERY SELECT n, 'gap' FROM generate_series(1, cardinality(topic_ids)) AS n;
        RETURN;
    END IF;

    IF 'open' <> ALL (answers) THEN
        PERFORM note_unplaced(agent_present_object.object_id, writer_wal, topic_ids, partitions, epochs, first_offsets,
                              offset_counts, record_counts, answers, acknowledged, left_out);
        RETURN QUERY SELECT a.ordinal::int, a.answer
                     FROM unnest(answers) WITH ORDINALITY AS a(answer, ordinal) ORDER BY a.ordinal;
        RETURN;
    END IF;
    -- An epoch of the number 0 does not exist: its runs are refused.
    SELECT array_agg(CASE WHEN a.answer = 'open' THEN a.epoch ELSE 0 END ORDER BY a.ordinal),
           array_agg(coalesce(a.first_offset, 0) ORDER BY a.ordinal)
    INTO epochs, first_offsets
    FROM unnest(epochs, first_offsets, answers) WITH ORDINALITY AS a(epoch, first_offset, answer, ordinal);
    PERFORM check_claims(topic_ids, partitions, epochs, stretch_runs, producer_ids, producer_epochs,
                         base_sequences, sequence_counts);
    -- What has a place of an object that comes again is a duplicate: its rows stay, and the others are added.
    DELETE FROM object AS o WHERE o.object_id = agent_present_object.object_id RETURNING o.live_rows INTO kept_rows;
    DELETE FROM object_deletion AS d WHERE d.object_id = agent_present_object.object_id;
    PERFORM publish_entries(owner, 0, agent_present_object.object_id, object_key, object_bytes, topic_ids,
                            partitions, epochs, first_offsets, offset_counts, record_counts, positions,
                            lengths, min_timestamps, max_timestamps, voids, NULL, NULL, NULL, 0);
    IF kept_rows > 0 THEN
        UPDATE object AS o SET live_rows = o.live_rows + kept_rows WHERE o.object_id = agent_present_object.object_id;
        DELETE FROM object_deletion AS d WHERE d.object_id = agent_present_object.object_id;
    END IF;
    IF cardinality(stretch_runs) > 0 THEN
        PERFORM note_twice(owner, 0, topic_ids, partitions, epochs, stretch_runs, producer_ids, producer_epochs,
                           base_sequences, sequence_counts, base_offsets);
        PERFORM store_sequences(owner, 0, topic_ids, partitions, stretch_runs, producer_ids, producer_epochs,
                                base_sequences, sequence_counts, base_offsets);
    END IF;
    -- Nobody asks for the result of this publish again, and its number is not one of the incarnation's.
    DELETE FROM publish_result AS r WHERE r.incarnation_id = owner AND r.publish_no = 0
    RETURNING r.results INTO outcomes;
    PERFORM end_presented(topic_ids, partitions);
    PERFORM place_recovered(topic_ids, partitions);
    SELECT array_agg(CASE WHEN a.answer = 'open' THEN a.outcome ELSE a.answer END ORDER BY a.ordinal) INTO answers
    FROM unnest(answers, outcomes) WITH ORDINALITY AS a(answer, outcome, ordinal);
    PERFORM note_unplaced(agent_present_object.object_id, writer_wal, topic_ids, partitions, own_epochs, own_firsts,
                          offset_counts, record_counts, answers, acknowledged, left_out);
    RETURN QUERY SELECT a.ordinal::int, a.answer FROM unnest(answers) WITH ORDINALITY AS a(answer, ordinal) ORDER BY a.ordinal;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_present_object IS
    'Publishes an object of an older term that is in the store and that the index does not know, in the name of '
    'the WAL that wrote it: as publish_object answers, and gap for all runs, without any effect, as long as one '
    'of them has to wait for another object; with is_last nothing waits. What finds no place counts as unresolved '
    '(unplaced_run), without acknowledged not what has no offsets, and so do the left_out records that are not in the '
    'runs; an object of which something has no place may be presented again. epoch_starts: the lowest offset that the store '
    'holds of each run''s epoch; ownerless: the object itself has no offsets of the run. unknown: also a run without '
    'offsets. Raises SH001, SH002, SH003, SH010';
