-- Orphaned epochs: the owner is gone, others may have taken the partition over, and its WAL may still hold
-- records. Who ends such an epoch, and where leftovers of a forced end go.

CREATE FUNCTION streamhouse.orphan_epochs(topic_ids uuid[], partitions int[]) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    orphaned int;
BEGIN
    PERFORM lock_partitions(topic_ids, partitions);
    WITH due AS MATERIALIZED (
        SELECT e.place, p.place AS partition_place, e.limit_offset
        FROM (SELECT DISTINCT * FROM unnest(topic_ids, partitions)) AS asked(topic_id, partition)
        CROSS JOIN LATERAL find_partition(asked.topic_id, asked.partition) AS p
        CROSS JOIN LATERAL find_unsealed(asked.topic_id, asked.partition) AS e
        WHERE e.state = 'open' AND e.incarnation_id IS NOT NULL
    ), orphan AS (
        UPDATE epoch AS e SET state = 'orphaned', orphaned_at = now() FROM due AS d WHERE e.ctid = d.place
    )
    UPDATE partition AS p SET next_offset = greatest(p.next_offset, d.limit_offset)
    FROM due AS d WHERE p.ctid = d.partition_place;
    GET DIAGNOSTICS orphaned = ROW_COUNT;
    RETURN orphaned;
END
$$;
COMMENT ON FUNCTION streamhouse.orphan_epochs IS
    'Takes partitions from the owners of their open epochs: the next epoch begins at the limit. Returns how '
    'many. Needs the control lock';

CREATE FUNCTION streamhouse.orphan_abandoned() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    topic_ids  uuid[];
    partitions int[];
BEGIN
    SELECT array_agg(e.topic_id), array_agg(e.partition) INTO topic_ids, partitions
    FROM epoch AS e
    JOIN topic AS t USING (topic_id)
    LEFT JOIN live_agent AS owner USING (incarnation_id)
    WHERE e.state = 'open' AND e.incarnation_id IS NOT NULL AND t.durability = 'object'
      AND owner.agent_id IS NULL;
    IF topic_ids IS NOT NULL THEN
        PERFORM orphan_epochs(topic_ids, partitions);
        PERFORM begin_ownerless_epochs(t.topic_id) FROM topic AS t WHERE t.topic_id = ANY (topic_ids);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.orphan_abandoned IS
    'Orphans what agents now gone still own of topics whose durability became object, so that any agent can '
    'write on. Needs the control lock';

CREATE FUNCTION streamhouse.force_ends(topic_ids uuid[], partitions int[], epochs bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    -- Publishes that hold a head finish first; those that wait for one find the epoch sealed.
    PERFORM lock_heads(topic_ids, partitions, epochs);
    PERFORM orphan_epochs(array_agg(asked.topic_id), array_agg(asked.partition))
    FROM unnest(topic_ids, partitions, epochs) AS asked(topic_id, partition, epoch)
    CROSS JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS e
    WHERE e.state = 'open';
    UPDATE epoch AS e SET state = 'sealed', forced = true, forced_at = now(), end_offset = d.published_end
    FROM (SELECT orphan.place, h.published_end
          FROM unnest(topic_ids, partitions, epochs) AS asked(topic_id, partition, epoch)
          CROSS JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS orphan
          CROSS JOIN LATERAL newest_head(asked.topic_id, asked.partition, asked.epoch) AS h
          WHERE orphan.state = 'orphaned') AS d
    WHERE e.ctid = d.place;
    PERFORM set_bases(topic_ids, partitions);
    PERFORM begin_ownerless_epochs(t.topic_id) FROM topic AS t WHERE t.topic_id = ANY (topic_ids);
    PERFORM bump_versions(assignments => true);
END
$$;
COMMENT ON FUNCTION streamhouse.force_ends IS
    'Seals epochs at their published ends, whatever their WALs still hold. Needs the control lock';

CREATE FUNCTION streamhouse.force_seal(topic text, partition int, epoch bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    asked  topic;
    doomed record;
BEGIN
    PERFORM control_lock();
    asked := topic_for_change(force_seal.topic);
    IF NOT EXISTS (SELECT FROM partition AS p
                   WHERE p.topic_id = asked.topic_id AND p.partition = force_seal.partition) THEN
        RAISE EXCEPTION 'topic "%" has no partition %', asked.name, coalesce(force_seal.partition::text, 'null')
            USING ERRCODE = 'undefined_object',
                  DETAIL = format('Its partitions are 0 to %s.', asked.partition_count - 1);
    END IF;

    SELECT e.*, i.agent_id, live.agent_id IS NOT NULL AS is_live INTO doomed
    FROM epoch AS e
    LEFT JOIN incarnation AS i USING (incarnation_id)
    LEFT JOIN live_agent AS live USING (incarnation_id)
    WHERE e.topic_id = asked.topic_id AND e.partition = force_seal.partition
      AND e.epoch = coalesce(force_seal.epoch, e.epoch)
      AND (force_seal.epoch IS NOT NULL OR e.state IN ('open', 'orphaned'))
    ORDER BY e.epoch LIMIT 1;
    IF NOT FOUND AND force_seal.epoch IS NOT NULL THEN
        RAISE EXCEPTION 'partition %/% has no epoch %', asked.name, force_seal.partition, force_seal.epoch
            USING ERRCODE = 'undefined_object', HINT = 'streamhouse.epochs lists the epochs.';
    ELSIF NOT FOUND OR doomed.incarnation_id IS NULL OR doomed.state NOT IN ('open', 'orphaned') THEN
        RAISE EXCEPTION 'partition %/% has nothing to seal', asked.name, force_seal.partition
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = CASE WHEN doomed.epoch IS NULL THEN 'All its epochs are sealed.'
                                WHEN doomed.incarnation_id IS NULL THEN
                                    format('Epoch %s has no owner: all its records are published.',
                                           doomed.epoch)
                                ELSE format('Epoch %s is %s.', doomed.epoch, doomed.state) END,
                  HINT = 'streamhouse.orphans lists what can be sealed by force.';
    ELSIF doomed.state = 'open' AND doomed.is_live THEN
        RAISE EXCEPTION 'epoch % of partition %/% is not orphaned: agent "%" is live',
                        doomed.epoch, asked.name, force_seal.partition, doomed.agent_id
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = format('Have the agent hand over its partitions: SELECT '
                                'streamhouse.drain_agent(%L).', doomed.agent_id);
    END IF;
    PERFORM force_ends(ARRAY[asked.topic_id], ARRAY[force_seal.partition], ARRAY[doomed.epoch]);
    -- A publish that was under way may have moved it.
    RETURN (SELECT e.end_offset FROM epoch AS e
            WHERE (e.topic_id, e.partition, e.epoch) = (doomed.topic_id, doomed.partition, doomed.epoch));
END
$$;
COMMENT ON FUNCTION streamhouse.force_seal IS
    'Ends an orphaned epoch (the oldest of the partition, or the one given) at its published end, and returns '
    'that: readers go on, and what its agent had accepted beyond is missing until the agent''s WAL returns; '
    'then it follows as an epoch of its own. To be used when the agent is gone for good, or cannot be waited '
    'for, and does not serve any more';

-- One interval more than the time-out: the first tick after a renewal may have counted too much.
CREATE VIEW streamhouse.due_orphan AS
SELECT e.topic_id, e.partition, e.epoch, l.wal_uuid
FROM streamhouse.topic AS t
JOIN streamhouse.epoch AS e USING (topic_id)
JOIN streamhouse.incarnation AS i USING (incarnation_id)
JOIN streamhouse.lease AS l USING (wal_uuid)
WHERE t.orphan_timeout IS NOT NULL AND e.orphan_timeout IS NOT NULL
  AND (e.told_version IS NULL OR e.timeout_before IS NOT NULL)
  AND (e.state = 'orphaned' OR (e.state = 'open' AND l.ticks_left = 0))
  AND l.silent_ms >= streamhouse.interval_ms(greatest(t.orphan_timeout, e.orphan_timeout, e.timeout_before))
                     + streamhouse.tick_interval_ms();
COMMENT ON VIEW streamhouse.due_orphan IS
    'Epochs whose agent has been silent for the topic''s orphan_timeout, and for those that it may go by';

CREATE FUNCTION streamhouse.orphan_tick() RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    due_topics     uuid[];
    due_partitions int[];
    due_epochs     bigint[];
    free_wals      uuid[];
    some_of_them   text;
BEGIN
    PERFORM begin_decision();
    IF NOT EXISTS (SELECT FROM topic WHERE orphan_timeout IS NOT NULL)
       OR NOT EXISTS (SELECT FROM due_orphan) THEN
        RETURN 0;
    END IF;
    IF NOT control_lock_if_free() THEN
        RETURN 0;
    END IF;
    -- A lease or a head that is locked belongs to an agent that is alive, or to somebody's open transaction: the
    -- next tick looks again. What is locked here is judged once more, by what a renewal has made of it.
    SELECT array_agg(l.wal_uuid) INTO free_wals
    FROM (SELECT l.wal_uuid FROM lease AS l
          WHERE l.wal_uuid IN (SELECT wal_uuid FROM due_orphan) ORDER BY l.wal_uuid FOR UPDATE SKIP LOCKED) AS l;
    SELECT array_agg(h.topic_id), array_agg(h.partition), array_agg(h.epoch)
    INTO due_topics, due_partitions, due_epochs
    FROM (SELECT h.topic_id, h.partition, h.epoch FROM epoch_head AS h
          WHERE (h.topic_id, h.partition, h.epoch) IN (
              SELECT d.topic_id, d.partition, d.epoch FROM due_orphan AS d WHERE d.wal_uuid = ANY (free_wals))
          ORDER BY h.topic_id, h.partition, h.epoch FOR UPDATE SKIP LOCKED) AS h;
    IF due_topics IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM force_ends(due_topics, due_partitions, due_epochs);
    SELECT string_agg(format('epoch %s of %s/%s (agent "%s")', e.epoch, t.name, e.partition, i.agent_id), ', '
                      ORDER BY t.name, e.partition) INTO some_of_them
    FROM unnest(due_topics[:5], due_partitions[:5], due_epochs[:5]) AS due(topic_id, partition, epoch)
    JOIN topic AS t USING (topic_id) JOIN epoch AS e USING (topic_id, partition, epoch)
    JOIN incarnation AS i USING (incarnation_id);
    RAISE WARNING 'ended by force for orphan_timeout: %',
                  some_of_them || CASE WHEN cardinality(due_topics) > 5 THEN
                                      format(' and %s more', cardinality(due_topics) - 5) ELSE '' END
        USING HINT = 'What their agents still hold gets epochs of its own when they return: streamhouse.unresolved_epoch.';
    RETURN cardinality(due_topics);
END
$$;
COMMENT ON FUNCTION streamhouse.orphan_tick IS
    'The lease worker''s: seals by force what has been without its agent for the topic''s orphan_timeout; '
    'returns how many epochs';

CREATE FUNCTION streamhouse.agent_leftover(incarnation bigint, topic_ids uuid[], partitions int[],
                                           epochs bigint[])
RETURNS TABLE (topic_id uuid, partition int, result text, forced_end bigint, epoch bigint,
               start_offset bigint, limit_offset bigint, published_end bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    control cluster := control_lock();
    caller  uuid;
BEGIN
    PERFORM agent_enter(incarnation);
    SELECT i.wal_uuid INTO caller FROM incarnation AS i WHERE i.incarnation_id = agent_leftover.incarnation;

    PERFORM make_leftover(control.term, agent_leftover.incarnation, asked.topic_id, asked.partition, asked.epoch)
    FROM (SELECT DISTINCT * FROM unnest(topic_ids, partitions, epochs)) AS asked(topic_id, partition, epoch)
    CROSS JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS old
    LEFT JOIN LATERAL find_leftover(asked.topic_id, asked.partition, asked.epoch) AS made ON true
    WHERE old.forced AND old.end_offset < old.limit_offset AND made.epoch IS NULL
      AND EXISTS (SELECT FROM incarnation AS i WHERE i.incarnation_id = old.incarnation_id AND i.wal_uuid = caller);
    IF FOUND THEN
        PERFORM begin_ownerless_epochs(t.topic_id) FROM topic AS t WHERE t.topic_id = ANY (topic_ids);
        PERFORM bump_versions(assignments => true);
    END IF;

    RETURN QUERY
    SELECT asked.topic_id, asked.partition,
           coalesce(absent_topic(asked.topic_id),
                    CASE WHEN i.wal_uuid IS DISTINCT FROM caller THEN 'fenced'
                         WHEN made.epoch IS NOT NULL THEN 'leftover'
                         WHEN old.state <> 'sealed' THEN 'open'
                         ELSE 'fenced' END),
           old.end_offset, made.epoch, made.start_offset, made.limit_offset,
           coalesce(h.published_end, made.start_offset)
    FROM unnest(topic_ids, partitions, epochs) WITH ORDINALITY AS asked(topic_id, partition, epoch, ordinal)
    LEFT JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS old ON true
    LEFT JOIN incarnation AS i ON i.incarnation_id = old.incarnation_id
    LEFT JOIN LATERAL find_leftover(asked.topic_id, asked.partition, asked.epoch) AS made ON true
    LEFT JOIN LATERAL newest_head(asked.topic_id, asked.partition, made.epoch) AS h ON true
    ORDER BY asked.ordinal;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_leftover IS
    'Where the records go that a WAL holds beyond the forced end of an epoch: leftover (offset o there is '
    'offset o - forced_end + start_offset of this epoch, whose range lies above the current one; asked again, '
    'the same); open (the epoch was not sealed by force: publish it as it is); fenced (not this WAL''s); '
    'dropped; unknown. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.make_leftover(term bigint, incarnation bigint, topic_id uuid, partition int,
                                          old_epoch bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    old  epoch;
    made epoch;
BEGIN
    PERFORM end_ownerless_epochs(make_leftover.topic_id, make_leftover.partition);
    SELECT * INTO old FROM epoch AS e
    WHERE (e.topic_id, e.partition, e.epoch) = (make_leftover.topic_id, make_leftover.partition, old_epoch);
    UPDATE partition AS p
    SET next_epoch = p.next_epoch + 1,
        next_offset = greatest(p.next_offset,
                               (SELECT e.limit_offset FROM epoch AS e
                                WHERE e.topic_id = p.topic_id AND e.partition = p.partition
                                  AND e.state IN ('granted', 'open'))) + old.limit_offset - old.end_offset
    WHERE p.topic_id = old.topic_id AND p.partition = old.partition
    RETURNING epoch_number(term, p.next_epoch - 1), p.next_offset - (old.limit_offset - old.end_offset),
              p.next_offset INTO made.epoch, made.start_offset, made.limit_offset;

    INSERT INTO epoch (topic_id, partition, epoch, incarnation_id, durability, state, start_offset,
                       limit_offset, orphaned_at, leftover_of, records_base, bytes_base, held_at)
    SELECT old.topic_id, old.partition, made.epoch, incarnation, 'wal', 'orphaned', made.start_offset,
           made.limit_offset, now(), old.epoch, b.records, b.bytes,
           CASE WHEN EXISTS (SELECT FROM term AS t WHERE t.settled_at IS NULL) THEN made.start_offset END
    FROM records_before(old.topic_id, old.partition, made.epoch) AS b;
    INSERT INTO epoch_head (topic_id, partition, epoch, published_end)
    VALUES (old.topic_id, old.partition, made.epoch, made.start_offset);
END
$$;
COMMENT ON FUNCTION streamhouse.make_leftover IS
    'Makes the epoch for what a WAL holds beyond the forced end of an older one: orphaned from the start, in a '
    'range above all others as large as what the older one had left. begin_ownerless_epochs comes after it. Needs the '
    'control lock';
