-- Epochs: what an agent should do, grant, open, seal.

CREATE FUNCTION streamhouse.epoch_number(term bigint, counter bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT (term << 40) | counter $$;
COMMENT ON FUNCTION streamhouse.epoch_number IS
    'An epoch''s number: the term in the high bits, a counter in the low 40';

CREATE FUNCTION streamhouse.absent_topic(topic_id uuid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM topic AS t WHERE t.topic_id = absent_topic.topic_id) THEN NULL
                WHEN EXISTS (SELECT FROM dropped_topic AS d WHERE d.topic_id = absent_topic.topic_id)
                    THEN 'dropped'
                ELSE 'unknown' END
$$;
COMMENT ON FUNCTION streamhouse.absent_topic IS
    'Null for a topic that exists; else dropped, or unknown for an id that no topic ever had';

CREATE FUNCTION streamhouse.records_before(topic_id uuid, partition int, epoch bigint)
RETURNS TABLE (records bigint, bytes bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT CASE WHEN e.epoch IS NULL THEN 0 WHEN e.state = 'sealed' THEN e.records_base + h.records END,
           CASE WHEN e.epoch IS NULL THEN 0 WHEN e.state = 'sealed' THEN e.bytes_base + h.bytes END
    FROM (SELECT) AS one
    LEFT JOIN LATERAL (SELECT * FROM epoch AS e
                       WHERE e.topic_id = records_before.topic_id AND e.partition = records_before.partition
                         AND e.epoch < records_before.epoch
                       ORDER BY e.epoch DESC LIMIT 1) AS e ON true
    LEFT JOIN LATERAL newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
$$;
COMMENT ON FUNCTION streamhouse.records_before IS
    'Records and bytes published in a partition before an epoch; null while an earlier epoch is not sealed';

CREATE FUNCTION streamhouse.set_bases(topic_ids uuid[], partitions int[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
    -- Below the boundary of a term that is not settled, epochs may still come to light.
    WITH based AS MATERIALIZED (
        SELECT asked.topic_id, asked.partition, first.epoch
        FROM (SELECT DISTINCT * FROM unnest(topic_ids, partitions)) AS asked(topic_id, partition)
        CROSS JOIN LATERAL (
            SELECT coalesce(max(e.epoch) FILTER (WHERE e.records_base IS NOT NULL), min(e.epoch)) AS epoch
            FROM epoch AS e WHERE e.topic_id = asked.topic_id AND e.partition = asked.partition) AS first
        CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM find_unsealed(asked.topic_id, asked.partition) AS b
            WHERE b.state = 'orphaned' AND is_boundary(b.epoch)) AS boundaries
        WHERE first.epoch IS NOT NULL AND boundaries.n = 0
    ), chain AS (
        SELECT e.place, e.records_base,
               coalesce(bool_and(e.state = 'sealed') OVER earlier, true) AS is_resolved,
               (coalesce(max(e.records_base) OVER earlier, 0) + coalesce(sum(h.records) OVER earlier, 0))::bigint
                   AS records,
               (coalesce(max(e.bytes_base) OVER earlier, 0) + coalesce(sum(h.bytes) OVER earlier, 0))::bigint
                   AS bytes
        FROM based AS b
        CROSS JOIN LATERAL (
            SELECT o.ctid AS place, o.* FROM epoch AS o
            WHERE o.topic_id = b.topic_id AND o.partition = b.partition AND o.epoch >= b.epoch
            ORDER BY o.epoch OFFSET 0) AS e
        LEFT JOIN LATERAL newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
        WINDOW earlier AS (PARTITION BY e.topic_id, e.partition ORDER BY e.epoch
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    )
    UPDATE epoch AS e SET records_base = c.records, bytes_base = c.bytes
    FROM (SELECT * FROM chain WHERE records_base IS NULL AND is_resolved) AS c
    WHERE e.ctid = c.place
$$;
COMMENT ON FUNCTION streamhouse.set_bases IS
    'Gives the epochs whose predecessors are all sealed the counts that they begin at; the first of a partition begins '
    'at none. Needs the control lock';

CREATE FUNCTION streamhouse.begin_ownerless_epochs(topic_id uuid) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    WITH numbered AS (
        UPDATE partition AS p SET next_epoch = p.next_epoch + 1
        FROM topic AS t
        WHERE p.topic_id = begin_ownerless_epochs.topic_id AND t.topic_id = p.topic_id
          AND t.durability = 'object'
          AND NOT EXISTS (SELECT FROM epoch AS e
                          WHERE e.topic_id = p.topic_id AND e.partition = p.partition
                            AND e.state IN ('granted', 'open'))
        RETURNING p.topic_id, p.partition, p.next_offset, p.next_epoch - 1 AS counter
    ), begun AS (
        INSERT INTO epoch (topic_id, partition, epoch, durability, state, start_offset, limit_offset,
                           records_base, bytes_base)
        SELECT n.topic_id, n.partition, epoch_number(c.term, n.counter), 'object', 'open', n.next_offset,
               9223372036854775807, b.records, b.bytes
        FROM numbered AS n, cluster AS c,
             LATERAL records_before(n.topic_id, n.partition, epoch_number(c.term, n.counter)) AS b
        RETURNING topic_id, partition, epoch, start_offset
    )
    INSERT INTO epoch_head (topic_id, partition, epoch, published_end)
    SELECT topic_id, partition, epoch, start_offset FROM begun
$$;
COMMENT ON FUNCTION streamhouse.begin_ownerless_epochs IS
    'Opens an ownerless epoch in each partition of an object topic that has no epoch for new records. Needs '
    'the control lock';

CREATE FUNCTION streamhouse.interval_ms(duration interval) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT (extract(epoch FROM duration) * 1000)::bigint $$;
COMMENT ON FUNCTION streamhouse.interval_ms IS 'An interval in milliseconds';

CREATE FUNCTION streamhouse.note_orphan_timeouts(incarnation bigint, after_version bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM epoch AS e JOIN topic AS t USING (topic_id)
                   WHERE e.incarnation_id = note_orphan_timeouts.incarnation AND e.state <> 'sealed'
                     AND (e.orphan_timeout IS DISTINCT FROM t.orphan_timeout OR e.told_version <= after_version)) THEN
        RETURN;
    END IF;
    PERFORM control_lock();
    -- Who asks for what came after a version has all that was told with it.
    UPDATE epoch AS e SET told_version = NULL, timeout_before = NULL
    WHERE e.incarnation_id = note_orphan_timeouts.incarnation AND e.state <> 'sealed'
      AND e.told_version <= after_version;
    -- The answer may get lost, or come late: until then the owner goes by what it was told before, whatever of
    -- that was the longest; null is for ever. No answer without it has the version that is made here.
    UPDATE epoch AS e
    SET orphan_timeout = t.orphan_timeout, told_version = next_version(),
        timeout_before = CASE WHEN e.told_version IS NULL THEN e.orphan_timeout
                              WHEN num_nulls(e.orphan_timeout, e.timeout_before) = 0
                              THEN greatest(e.orphan_timeout, e.timeout_before) END
    FROM topic AS t
    WHERE e.incarnation_id = note_orphan_timeouts.incarnation AND e.state <> 'sealed'
      AND t.topic_id = e.topic_id AND e.orphan_timeout IS DISTINCT FROM t.orphan_timeout;
    IF FOUND THEN
        PERFORM bump_versions(assignments => false);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.note_orphan_timeouts IS
    'Remembers which orphan_timeout the owner of an epoch is about to be told, and that it may go by an earlier one '
    'until it asks with the version of an answer that had it';

CREATE FUNCTION streamhouse.is_free(topic_id uuid, partition int) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT NOT EXISTS (
        SELECT FROM epoch AS e LEFT JOIN live_agent AS owner USING (incarnation_id)
        WHERE e.topic_id = is_free.topic_id AND e.partition = is_free.partition
          AND e.state IN ('granted', 'open') AND (e.incarnation_id IS NULL OR owner.agent_id IS NOT NULL))
$$;
COMMENT ON FUNCTION streamhouse.is_free IS
    'True when a partition has no epoch for new records, or only one of an agent that is gone';

CREATE FUNCTION streamhouse.assignment_changes(incarnation bigint, caller text, after_version bigint)
RETURNS TABLE (version bigint, is_whole boolean, topic_id uuid, topic text, durability text, segment_bytes bigint,
               retention_ms bigint, batch_bytes_max int, partition int, action text, epoch bigint,
               start_offset bigint, limit_offset bigint, published_end bigint, epoch_state text,
               orphan_timeout_ms bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    whole  boolean := is_whole_due(after_version);
    topics uuid[];
    parts  int[];
BEGIN
    -- Stable: all of it sees one state, that of the version.
    RETURN QUERY SELECT next_version() - 1, whole, NULL::uuid, NULL, NULL, NULL::bigint, NULL::bigint, NULL::int,
                        NULL::int, NULL, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL,
                        NULL::bigint;
    IF whole THEN
        SELECT array_agg(f.topic_id), array_agg(f.partition) INTO topics, parts
        FROM (SELECT p.topic_id, p.partition FROM partition AS p WHERE p.target_agent = caller
              UNION
              SELECT e.topic_id, e.partition FROM epoch AS e
              WHERE e.incarnation_id = assignment_changes.incarnation AND e.state <> 'sealed') AS f;
    ELSE
        SELECT array_agg(f.topic_id), array_agg(f.partition) INTO topics, parts
        FROM (SELECT c.topic_id, c.partition FROM control_change AS c
              WHERE c.version > after_version AND c.agent_id = caller
              UNION
              (WITH changed AS (SELECT DISTINCT c.topic_id FROM control_change AS c
                                WHERE c.version > after_version AND c.agent_id IS NULL AND c.partition IS NULL)
               SELECT p.topic_id, p.partition FROM partition AS p JOIN changed USING (topic_id)
               WHERE p.target_agent = caller
               UNION
               SELECT e.topic_id, e.partition FROM epoch AS e JOIN changed USING (topic_id)
               WHERE e.incarnation_id = assignment_changes.incarnation AND e.state <> 'sealed')) AS f;
    END IF;
    RETURN QUERY
    SELECT NULL::bigint, NULL::boolean, asked.topic_id, t.name, t.durability, t.segment_bytes,
           (extract(epoch FROM t.retention) * 1000)::bigint, t.batch_bytes_max, asked.partition, wish.action,
           e.epoch, e.start_offset, e.limit_offset, coalesce(h.published_end, e.start_offset), e.state,
           interval_ms(e.orphan_timeout)
    FROM unnest(topics, parts) AS asked(topic_id, partition)
    LEFT JOIN topic AS t USING (topic_id)
    LEFT JOIN partition AS p USING (topic_id, partition)
    LEFT JOIN epoch AS e ON e.topic_id = asked.topic_id AND e.partition = asked.partition AND e.state <> 'sealed'
                        AND e.incarnation_id = assignment_changes.incarnation
    LEFT JOIN LATERAL newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
    LEFT JOIN live_agent AS other ON other.agent_id = p.target_agent AND p.target_agent <> caller
    CROSS JOIN LATERAL (SELECT
        CASE WHEN e.epoch IS NULL AND p.target_agent = caller AND t.durability = 'wal'
                  AND is_free(p.topic_id, p.partition) THEN 'grant'
             WHEN e.epoch IS NULL THEN 'none'
             WHEN e.inherited OR e.state = 'orphaned' THEN 'recover'
             WHEN t.durability <> e.durability OR other.agent_id IS NOT NULL THEN 'release'
             WHEN EXISTS (SELECT FROM epoch AS above
                          WHERE above.topic_id = e.topic_id AND above.partition = e.partition
                            AND above.epoch > e.epoch) THEN 'roll'
             ELSE 'own' END) AS wish(action)
    WHERE NOT whole OR wish.action <> 'none'
    ORDER BY t.name, asked.partition;
END
$$;
COMMENT ON FUNCTION streamhouse.assignment_changes IS
    'What an incarnation of the agent should do with the partitions at which something has changed for it since a '
    'version; with all where that is not known (is_whole). The first row tells the version, and is_whole';

CREATE FUNCTION streamhouse.agent_assign_changes(incarnation bigint, after_version bigint)
RETURNS TABLE (version bigint, is_whole boolean, topic_id uuid, topic text, durability text, segment_bytes bigint,
               retention_ms bigint, batch_bytes_max int, partition int, action text, epoch bigint,
               start_offset bigint, limit_offset bigint, published_end bigint, epoch_state text,
               orphan_timeout_ms bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    caller text;
BEGIN
    PERFORM note_orphan_timeouts(incarnation, after_version);
    PERFORM agent_enter(incarnation);
    SELECT i.agent_id INTO caller FROM incarnation AS i
    WHERE i.incarnation_id = agent_assign_changes.incarnation;
    RETURN QUERY SELECT * FROM assignment_changes(incarnation, caller, after_version);
END
$$;
COMMENT ON FUNCTION streamhouse.agent_assign_changes IS
    'agent_assignments, of the partitions at which something has changed for the incarnation since a version: none '
    'is nothing to do there (any more). The first row has the version that the rest is of, and is_whole: nothing '
    'is told apart since after_version (null: never), and what is not listed is none. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_assignments(incarnation bigint)
RETURNS TABLE (topic_id uuid, topic text, durability text, segment_bytes bigint, retention_ms bigint,
               batch_bytes_max int, partition int, action text, epoch bigint, start_offset bigint,
               limit_offset bigint, published_end bigint, epoch_state text, orphan_timeout_ms bigint)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT c.topic_id, c.topic, c.durability, c.segment_bytes, c.retention_ms, c.batch_bytes_max, c.partition,
           c.action, c.epoch, c.start_offset, c.limit_offset, c.published_end, c.epoch_state, c.orphan_timeout_ms
    FROM agent_assign_changes(incarnation, NULL) AS c WHERE c.version IS NULL
$$;
COMMENT ON FUNCTION streamhouse.agent_assignments IS
    'What an incarnation should do, partition by partition: own (keep), recover (publish what is left of an '
    'inherited or orphaned epoch, seal), grant (call agent_grant), release (flush, publish, seal), roll '
    '(likewise, then grant: the range above belongs to leftovers). Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_grant(incarnation bigint, topic_ids uuid[], partitions int[])
RETURNS TABLE (topic_id uuid, partition int, result text, epoch bigint, start_offset bigint,
               limit_offset bigint, orphan_timeout_ms bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    control  cluster := control_lock();
    caller   text;
    orphaned int;
BEGIN
    PERFORM agent_enter(incarnation);
    PERFORM check_history();
    SELECT i.agent_id INTO caller FROM incarnation AS i
    WHERE i.incarnation_id = agent_grant.incarnation;
    PERFORM lock_partitions(topic_ids, partitions);

    -- What agents now gone hold makes room: it vanishes if it was never open, and is orphaned otherwise. Only what is
    -- held is asked about (CASE).
    DELETE FROM epoch AS e WHERE e.ctid = ANY (ARRAY(
        SELECT held.place
        FROM unnest(topic_ids, partitions) AS asked(topic_id, partition)
        CROSS JOIN LATERAL find_partition(asked.topic_id, asked.partition) AS p
        CROSS JOIN LATERAL find_unsealed(asked.topic_id, asked.partition) AS held
        WHERE p.target_agent = caller
          AND CASE WHEN held.state = 'granted' THEN is_free(asked.topic_id, asked.partition) END));
    SELECT orphan_epochs(array_agg(asked.topic_id), array_agg(asked.partition)) INTO orphaned
    FROM unnest(topic_ids, partitions) AS asked(topic_id, partition)
    CROSS JOIN LATERAL find_partition(asked.topic_id, asked.partition) AS p
    CROSS JOIN LATERAL find_current(asked.topic_id, asked.partition) AS held
    WHERE p.target_agent = caller
      AND CASE WHEN held.epoch IS NOT NULL THEN is_free(asked.topic_id, asked.partition) END
      AND agent_grant.incarnation <> ALL (ARRAY(SELECT coalesce(e.incarnation_id, 0)
                                                FROM find_unsealed(asked.topic_id, asked.partition) AS e));

    WITH due AS MATERIALIZED (
        SELECT p.place, t.orphan_timeout
        FROM (SELECT DISTINCT * FROM unnest(topic_ids, partitions)) AS asked(topic_id, partition)
        CROSS JOIN LATERAL find_partition(asked.topic_id, asked.partition) AS p
        CROSS JOIN LATERAL find_topic(asked.topic_id) AS t
        CROSS JOIN LATERAL (
            SELECT count(*) AS n FROM find_unsealed(asked.topic_id, asked.partition) AS e
            WHERE e.state <> 'orphaned' OR e.incarnation_id = agent_grant.incarnation) AS in_the_way
        WHERE t.durability = 'wal' AND p.target_agent = caller AND in_the_way.n = 0
    ), numbered AS (
        UPDATE partition AS p SET next_epoch = p.next_epoch + 1
        FROM due AS d WHERE p.ctid = d.place
        RETURNING p.topic_id, p.partition, p.next_offset, d.orphan_timeout,
                  epoch_number(control.term, p.next_epoch - 1) AS epoch
    )
    INSERT INTO epoch (topic_id, partition, epoch, incarnation_id, durability, state, start_offset,
                       limit_offset, records_base, bytes_base, orphan_timeout)
    SELECT n.topic_id, n.partition, n.epoch, agent_grant.incarnation, 'wal', 'granted', n.next_offset,
           n.next_offset + offset_range(), b.records, b.bytes, n.orphan_timeout
    FROM numbered AS n, LATERAL records_before(n.topic_id, n.partition, n.epoch) AS b;
    IF FOUND OR orphaned > 0 THEN
        PERFORM bump_versions(assignments => orphaned > 0);
    END IF;

    RETURN QUERY
    SELECT asked.topic_id, asked.partition,
           CASE WHEN mine.epoch IS NOT NULL THEN 'granted'
                ELSE coalesce(absent_topic(asked.topic_id),
                              CASE WHEN p.target_agent = caller THEN 'busy' ELSE 'not_target' END) END,
           mine.epoch, mine.start_offset, mine.limit_offset, interval_ms(mine.orphan_timeout)
    FROM unnest(topic_ids, partitions) WITH ORDINALITY AS asked(topic_id, partition, ordinal)
    LEFT JOIN LATERAL find_partition(asked.topic_id, asked.partition) AS p ON true
    LEFT JOIN LATERAL find_unsealed(asked.topic_id, asked.partition) AS mine
           ON mine.state = 'granted' AND mine.incarnation_id = agent_grant.incarnation
    ORDER BY asked.ordinal;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_grant IS
    'Gives partitions to an incarnation, each with an epoch and its exclusive range of offsets: granted; '
    'busy (another agent is live in it, or the caller has an orphaned epoch there); not_target (placement '
    'means another agent); dropped; unknown. An open epoch of an agent that is gone is orphaned, and the new '
    'one begins at its limit. Asked again, it answers the same. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_open(incarnation bigint, topic_ids uuid[], partitions int[],
                                       epochs bigint[])
RETURNS TABLE (topic_id uuid, partition int, epoch bigint, result text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    WITH opened AS (
        UPDATE epoch AS e SET state = 'open' WHERE e.ctid = ANY (ARRAY(
            SELECT granted.place
            FROM unnest(topic_ids, partitions, epochs) AS asked(topic_id, partition, epoch)
            CROSS JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS granted
            WHERE granted.incarnation_id = agent_open.incarnation AND granted.state = 'granted'))
        RETURNING e.topic_id, e.partition, e.epoch, e.start_offset
    )
    INSERT INTO epoch_head (topic_id, partition, epoch, published_end)
    SELECT topic_id, partition, epoch, start_offset FROM opened;

    RETURN QUERY
    SELECT asked.topic_id, asked.partition, asked.epoch,
           CASE WHEN e.state = 'open' AND e.incarnation_id = agent_open.incarnation THEN 'open'
                ELSE coalesce(absent_topic(asked.topic_id), 'fenced') END
    FROM unnest(topic_ids, partitions, epochs) WITH ORDINALITY AS asked(topic_id, partition, epoch, ordinal)
    LEFT JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS e ON true
    ORDER BY asked.ordinal;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_open IS
    'Opens granted epochs, before the first acknowledgement: open; fenced (no longer this incarnation''s); '
    'dropped; unknown. Asked again, it answers the same. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_seal(incarnation bigint, topic_ids uuid[], partitions int[],
                                       epochs bigint[], end_offsets bigint[], lost boolean[])
RETURNS TABLE (topic_id uuid, partition int, epoch bigint, result text, published_end bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    removed int;
    ended   int;
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    PERFORM lock_heads(topic_ids, partitions, epochs);

    DELETE FROM epoch AS e WHERE e.ctid = ANY (ARRAY(
        SELECT granted.place
        FROM unnest(topic_ids, partitions, epochs) AS asked(topic_id, partition, epoch)
        CROSS JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS granted
        WHERE granted.incarnation_id = agent_seal.incarnation AND granted.state = 'granted'));
    GET DIAGNOSTICS removed = ROW_COUNT;

    PERFORM lock_partitions(topic_ids, partitions);
    WITH due AS MATERIALIZED (
        SELECT e.place, p.place AS partition_place, h.published_end,
               CASE WHEN asked.lost THEN e.limit_offset ELSE h.published_end END AS next
        FROM unnest(topic_ids, partitions, epochs, end_offsets, lost)
             AS asked(topic_id, partition, epoch, end_offset, lost)
        CROSS JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS e
        CROSS JOIN LATERAL find_partition(asked.topic_id, asked.partition) AS p
        CROSS JOIN LATERAL newest_head(asked.topic_id, asked.partition, asked.epoch) AS h
        WHERE e.incarnation_id = agent_seal.incarnation AND e.state IN ('open', 'orphaned')
          AND asked.end_offset = h.published_end
    ), sealed AS (
        UPDATE epoch AS e SET state = 'sealed', end_offset = d.published_end FROM due AS d WHERE e.ctid = d.place
    )
    UPDATE partition AS p SET next_offset = greatest(p.next_offset, d.next)
    FROM (SELECT partition_place, max(next) AS next FROM due GROUP BY partition_place) AS d
    WHERE p.ctid = d.partition_place;
    GET DIAGNOSTICS ended = ROW_COUNT;
    IF removed + ended > 0 THEN
        PERFORM set_bases(topic_ids, partitions);
        -- The last epoch of a WAL's former incarnation makes the agent one to be given partitions again.
        IF agents_changed() THEN
            PERFORM place_partitions();
        END IF;
        PERFORM begin_ownerless_epochs(t.topic_id) FROM topic AS t WHERE t.topic_id = ANY (topic_ids);
        PERFORM bump_versions(assignments => true);
    END IF;

    RETURN QUERY
    SELECT asked.topic_id, asked.partition, asked.epoch,
           CASE WHEN e.state = 'sealed' AND e.end_offset = asked.end_offset THEN 'sealed'
                WHEN e.state IN ('open', 'orphaned') AND e.incarnation_id = agent_seal.incarnation THEN 'mismatch'
                ELSE coalesce(absent_topic(asked.topic_id),
                              CASE WHEN e.epoch IS NULL AND h.epoch IS NULL THEN 'sealed' ELSE 'fenced' END) END,
           h.published_end
    FROM unnest(topic_ids, partitions, epochs, end_offsets) WITH ORDINALITY
         AS asked(topic_id, partition, epoch, end_offset, ordinal)
    LEFT JOIN LATERAL find_epoch(asked.topic_id, asked.partition, asked.epoch) AS e ON true
    LEFT JOIN LATERAL newest_head(asked.topic_id, asked.partition, asked.epoch) AS h ON true
    ORDER BY asked.ordinal;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_seal IS
    'Ends epochs at the offset that is published: sealed; mismatch (end_offsets is not the published end); '
    'fenced (not this incarnation''s); dropped; unknown. An epoch that was never open vanishes. With lost, '
    'acknowledged records beyond the end may be missing, and the next epoch starts at the limit. Raises '
    'SH001, SH002, SH003';
