-- Retention: log starts move up, and the segments below them go, in small steps.
--
-- Age counts from the later of a segment's newest record and its arrival: an agent or a producer whose clock is
-- behind does not have fresh records removed. A newest record that claims to be of the far future pins nothing: it
-- counts as no later than timestamp_after_max, or an hour where there is no such bound, after its arrival. What the
-- server's own clock leapt ahead is left out (22_clock).
--
-- A log start never passes the published end of the oldest unsealed epoch (read_bounds): what an earlier
-- epoch may still bring is not stepped over. Moving it counts what it leaves behind; taking the rows away
-- comes after that, as many at a time as the caller allows.

CREATE FUNCTION streamhouse.next_log_start_version() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    risen bigint;
BEGIN
    INSERT INTO retention_clock AS c (version) VALUES (1)
    ON CONFLICT (one_row) DO UPDATE SET version = c.version + 1
    RETURNING c.version INTO risen;
    RETURN risen;
END
$$;
COMMENT ON FUNCTION streamhouse.next_log_start_version IS
    'The next version of log starts. Its row stays locked until the transaction ends, so versions become '
    'visible in their order';

CREATE FUNCTION streamhouse.release_objects(object_ids uuid[], row_counts int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    PERFORM FROM object AS o WHERE o.object_id = ANY (object_ids)
    ORDER BY o.object_id FOR NO KEY UPDATE;
    WITH lowered AS (
        UPDATE object AS o SET live_rows = o.live_rows - r.row_count
        FROM unnest(object_ids, row_counts) AS r(object_id, row_count)
        WHERE o.object_id = r.object_id
        RETURNING o.object_id, o.live_rows
    )
    INSERT INTO object_deletion (object_id, reason)
    SELECT l.object_id, 'unreferenced' FROM lowered AS l WHERE l.live_rows = 0
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION streamhouse.release_objects IS
    'Takes segments'' references off their objects; those without any become garbage';

CREATE VIEW streamhouse.retention_due AS
SELECT p.topic_id, p.partition
FROM streamhouse.partition AS p
JOIN streamhouse.topic AS t USING (topic_id)
CROSS JOIN LATERAL (
    SELECT s.last_offset, s.bytes,
           least(greatest(s.max_timestamp_ms, s.arrived_ms),
                 s.arrived_ms + coalesce(extract(epoch FROM t.timestamp_after_max) * 1000, 3600000)::bigint) AS newest_ms
    FROM streamhouse.segment AS s
    WHERE s.topic_id = p.topic_id AND s.partition = p.partition AND s.first_offset >= p.first_segment
    ORDER BY s.first_offset LIMIT 1
) AS oldest
WHERE (t.retention IS NOT NULL OR t.retention_bytes IS NOT NULL OR p.first_segment < p.log_start)
  AND (oldest.last_offset < p.log_start
       -- The second asks a function, for those alone of which the wall clock says so.
       OR oldest.newest_ms < ((extract(epoch FROM now()) - extract(epoch FROM t.retention)) * 1000)::bigint
          AND oldest.newest_ms < ((extract(epoch FROM now()) - extract(epoch FROM t.retention)
                                   - extract(epoch FROM streamhouse.uncounted(t.retention))) * 1000)::bigint
       OR oldest.bytes <= (SELECT sum(h.bytes)
                           FROM streamhouse.epoch AS k, streamhouse.newest_head(k.topic_id, k.partition, k.epoch) AS h
                           WHERE k.topic_id = p.topic_id AND k.partition = p.partition)
                          - p.bytes_retired - t.retention_bytes)
  AND NOT EXISTS (
      SELECT FROM streamhouse.epoch AS e
      LEFT JOIN LATERAL streamhouse.newest_head(e.topic_id, e.partition, e.epoch) AS h ON true
      WHERE e.topic_id = p.topic_id AND e.partition = p.partition AND e.state <> 'sealed'
        AND coalesce(h.published_end, e.start_offset) <= oldest.last_offset)
  AND NOT EXISTS (
      SELECT FROM streamhouse.epoch AS e
      WHERE e.topic_id = p.topic_id AND e.partition = p.partition AND e.held_at <= oldest.last_offset);
COMMENT ON VIEW streamhouse.retention_due IS 'Partitions whose oldest segment may go';

CREATE FUNCTION streamhouse.next_retention_due(max_partitions int)
RETURNS TABLE (topic_id uuid, partition int)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    -- Each half stops at the limit, and the second begins only if the first did not reach it.
    SELECT * FROM (
        (SELECT d.* FROM retention_due AS d
         WHERE (d.topic_id, d.partition) > ((SELECT c.topic_id FROM retention_clock AS c),
                                            (SELECT c.partition FROM retention_clock AS c))
         ORDER BY d.topic_id, d.partition LIMIT max_partitions)
        UNION ALL
        (SELECT d.* FROM retention_due AS d
         WHERE (SELECT true FROM retention_clock) IS NULL
            OR (d.topic_id, d.partition) <= ((SELECT c.topic_id FROM retention_clock AS c),
                                             (SELECT c.partition FROM retention_clock AS c))
         ORDER BY d.topic_id, d.partition LIMIT max_partitions)
    ) AS found
    LIMIT max_partitions
$$;
COMMENT ON FUNCTION streamhouse.next_retention_due IS
    'The partitions in turn whose oldest segment may go, from the one at which retention was last';

CREATE FUNCTION streamhouse.expired_starts(topic_ids uuid[], partitions int[], max_rows int)
RETURNS TABLE (topic_id uuid, partition int, log_start bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT p.topic_id, p.partition, max(judged.last_offset) + 1
    FROM read_bounds(topic_ids, partitions) AS b
    JOIN partition AS p USING (topic_id, partition)
    JOIN topic AS t USING (topic_id)
    CROSS JOIN LATERAL (
        SELECT sum(h.bytes) - p.bytes_retired - t.retention_bytes AS bytes
        FROM epoch AS k, newest_head(k.topic_id, k.partition, k.epoch) AS h
        WHERE k.topic_id = p.topic_id AND k.partition = p.partition AND t.retention_bytes IS NOT NULL
    ) AS excess
    CROSS JOIN LATERAL (
        SELECT ((extract(epoch FROM now()) - extract(epoch FROM t.retention)
                 - extract(epoch FROM uncounted(t.retention))) * 1000)::bigint AS oldest_ms OFFSET 0
    ) AS age
    CROSS JOIN LATERAL (
        SELECT r.last_offset, bool_and(r.is_expired) OVER (ORDER BY r.first_offset) AS is_retired
        FROM (SELECT c.first_offset, c.last_offset,
                     c.last_offset < b.published_end
                     AND (coalesce(least(greatest(c.max_timestamp_ms, c.arrived_ms),
                                         c.arrived_ms + coalesce(extract(epoch FROM t.timestamp_after_max) * 1000,
                                                                 3600000)::bigint)
                                   < age.oldest_ms, false)
                          OR coalesce(sum(c.bytes) OVER (ORDER BY c.first_offset) <= excess.bytes, false))
                         AS is_expired
              FROM (SELECT * FROM segment AS s
                    WHERE s.topic_id = p.topic_id AND s.partition = p.partition
                      AND s.first_offset >= p.first_segment AND s.last_offset >= p.log_start
                    ORDER BY s.first_offset LIMIT max_rows) AS c) AS r
    ) AS judged
    WHERE judged.is_retired
    GROUP BY p.topic_id, p.partition
$$;
COMMENT ON FUNCTION streamhouse.expired_starts IS
    'Where the logs of partitions should start by age (from a segment''s newest record or its arrival, whichever '
    'is later, but no later after its arrival than the topic allows records to be) and size (bytes from the end), looking at so many segments of each. Partitions that stay as they are are left out';

CREATE FUNCTION streamhouse.move_log_starts(topic_ids uuid[], partitions int[], log_starts bigint[],
                                            version bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    -- A segment that a log start divides counts by offsets: those of a run have no hole.
    UPDATE partition AS p
    SET log_start = m.log_start, log_start_version = move_log_starts.version,
        records_retired = p.records_retired + passed.records, bytes_retired = p.bytes_retired + passed.bytes
    FROM unnest(topic_ids, partitions, log_starts) AS m(topic_id, partition, log_start)
    JOIN partition AS old USING (topic_id, partition)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(least(s.records, m.log_start - s.first_offset)
                            - least(s.records, greatest(old.log_start - s.first_offset, 0))), 0)::bigint
                   AS records,
               coalesce(sum(s.bytes) FILTER (WHERE s.last_offset < m.log_start), 0)::bigint AS bytes
        FROM segment AS s
        WHERE s.topic_id = old.topic_id AND s.partition = old.partition
          AND s.first_offset >= old.first_segment AND s.first_offset < m.log_start
          AND s.last_offset >= old.log_start
    ) AS passed
    WHERE (p.topic_id, p.partition) = (m.topic_id, m.partition) AND m.log_start > p.log_start;
END
$$;
COMMENT ON FUNCTION streamhouse.move_log_starts IS
    'Moves the log starts of partitions up, under a version, and counts what they leave behind. The '
    'partitions are locked by the caller, after the clock';

CREATE FUNCTION streamhouse.sweep_segments(topic_ids uuid[], partitions int[], max_rows int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    objects uuid[];
    counts  int[];
BEGIN
    WITH doomed AS MATERIALIZED (
        SELECT s.*
        FROM unnest(topic_ids, partitions) AS asked(topic_id, partition)
        JOIN partition AS p USING (topic_id, partition)
        CROSS JOIN LATERAL (
            SELECT c.ctid AS place, c.topic_id, c.partition, c.last_offset FROM segment AS c
            WHERE c.topic_id = p.topic_id AND c.partition = p.partition
              AND c.first_offset >= p.first_segment AND c.first_offset < p.log_start
              AND c.last_offset < p.log_start
            ORDER BY c.first_offset LIMIT max_rows
        ) AS s
    ), gone AS (
        DELETE FROM segment AS s WHERE s.ctid = ANY (ARRAY(SELECT d.place FROM doomed AS d))
        RETURNING s.object_id
    ), moved AS (
        UPDATE partition AS p SET first_segment = d.next_offset
        FROM (SELECT topic_id, partition, max(last_offset) + 1 AS next_offset FROM doomed
              GROUP BY topic_id, partition) AS d
        WHERE (p.topic_id, p.partition) = (d.topic_id, d.partition)
    )
    SELECT array_agg(g.object_id), array_agg(g.row_count) INTO objects, counts
    FROM (SELECT object_id, count(*)::int AS row_count FROM gone GROUP BY object_id) AS g;

    PERFORM release_objects(objects, counts);
    RETURN coalesce((SELECT sum(c) FROM unnest(counts) AS c), 0);
END
$$;
COMMENT ON FUNCTION streamhouse.sweep_segments IS
    'Removes segments that lie below the log starts of partitions, so many of each; returns how many. The '
    'partitions are locked by the caller';

CREATE FUNCTION streamhouse.purge_dropped_topics(max_rows int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    doomed  uuid;
    objects uuid[];
    counts  int[];
    removed bigint;
    done    bigint := 0;
BEGIN
    -- A topic that is done with counts as a row: many that were empty are as much work.
    WHILE done < max_rows LOOP
        SELECT d.topic_id INTO doomed FROM dropped_topic AS d WHERE NOT d.is_purged
        ORDER BY d.dropped_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        WITH gone AS (
            DELETE FROM segment AS s
            WHERE s.ctid = ANY (ARRAY(SELECT c.ctid FROM segment AS c WHERE c.topic_id = doomed
                                      LIMIT max_rows - done))
            RETURNING s.object_id
        )
        SELECT array_agg(g.object_id), array_agg(g.row_count) INTO objects, counts
        FROM (SELECT object_id, count(*)::int AS row_count FROM gone GROUP BY object_id) AS g;
        PERFORM release_objects(objects, counts);
        removed := coalesce((SELECT sum(c) FROM unnest(counts) AS c), 0);
        done := done + removed;
        IF done < max_rows THEN
            DELETE FROM compaction AS c WHERE c.topic_id = doomed;
            UPDATE dropped_topic AS d SET is_purged = true WHERE d.topic_id = doomed;
            done := done + 1;
        END IF;
    END LOOP;
    RETURN done;
END
$$;
COMMENT ON FUNCTION streamhouse.purge_dropped_topics IS
    'Removes segments of dropped topics, and marks those without any as purged; returns how many of both, at most so '
    'many';

CREATE FUNCTION streamhouse.apply_retention(max_rows int DEFAULT 1000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    removed    bigint;
    risen      bigint;
    topics     uuid[];
    parts      int[];
    each_rows  int;
    new_topics uuid[];
    new_parts  int[];
    new_starts bigint[];
BEGIN
    IF max_rows IS NULL OR max_rows NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'max_rows is out of range: %', coalesce(max_rows::text, 'null')
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must be between 1 and 100000.';
    END IF;
    PERFORM begin_decision();
    removed := purge_dropped_topics(max_rows);
    -- What was dropped does not hold up what is kept.
    SELECT array_agg(d.topic_id), array_agg(d.partition) INTO topics, parts
    FROM next_retention_due(greatest(max_rows / 10, 1)) AS d;
    IF topics IS NULL THEN
        RETURN removed;
    END IF;

    -- What somebody else has locked is left for the next time: a step waits for nobody but its own kind.
    risen := next_log_start_version();
    UPDATE retention_clock AS c
    SET topic_id = topics[cardinality(topics)], partition = parts[cardinality(parts)];
    SELECT array_agg(p.topic_id), array_agg(p.partition) INTO topics, parts
    FROM (SELECT p.topic_id, p.partition
          FROM partition AS p
          JOIN unnest(topics, parts) AS d(topic_id, partition) USING (topic_id, partition)
          ORDER BY p.topic_id, p.partition FOR NO KEY UPDATE OF p SKIP LOCKED) AS p;
    IF topics IS NULL THEN
        RETURN removed;
    END IF;
    each_rows := greatest(max_rows / cardinality(topics), 1);
    SELECT array_agg(s.topic_id), array_agg(s.partition), array_agg(s.log_start)
    INTO new_topics, new_parts, new_starts FROM expired_starts(topics, parts, each_rows) AS s;
    PERFORM move_log_starts(new_topics, new_parts, new_starts, risen);
    RETURN removed + sweep_segments(topics, parts, each_rows);
END
$$;
COMMENT ON FUNCTION streamhouse.apply_retention IS
    'One step of the retention worker: removes at most so many segments of dropped topics, and, after moving log '
    'starts up by the topics'' retention, about as many of others; returns how many, dropped topics that are done '
    'with included. Call it again until that is 0';

CREATE FUNCTION streamhouse.delete_records(topic text, partition int, before_offset bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    found_id uuid;
    start    bigint;
    bound    bigint;
BEGIN
    PERFORM begin_decision();
    SELECT t.topic_id INTO found_id FROM topic AS t WHERE t.name = topic;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic "%" does not exist', coalesce(topic, '')
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT topic FROM streamhouse.topics lists the topics.';
    END IF;
    SELECT p.log_start INTO start FROM streamhouse.partition AS p
    WHERE p.topic_id = found_id AND p.partition = delete_records.partition;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic "%" has no partition %', topic, coalesce(partition::text, 'null')
            USING ERRCODE = 'undefined_object';
    END IF;
    SELECT b.published_end INTO bound FROM read_bounds(ARRAY[found_id], ARRAY[partition]) AS b;
    IF before_offset IS NULL OR before_offset NOT BETWEEN -1 AND bound THEN
        RAISE EXCEPTION 'before_offset is out of range: %', coalesce(before_offset::text, 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('Partition %s of topic "%s" is published up to %s.', partition, topic,
                                  bound),
                  HINT = 'Give an offset up to that, or -1 for all that is published.';
    END IF;
    start := greatest(start, CASE WHEN before_offset = -1 THEN bound ELSE before_offset END);
    INSERT INTO log_start_request (topic_id, partition, log_start) VALUES (found_id, partition, start);
    RETURN start;
END
$$;
COMMENT ON FUNCTION streamhouse.delete_records IS
    'Makes a partition begin at an offset (-1: at its published end) when the transaction commits, and returns its '
    'log start. The records below cannot be read any more then; the retention worker removes them';

CREATE FUNCTION streamhouse.apply_log_start() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    risen bigint;
BEGIN
    DELETE FROM log_start_request AS r WHERE r.request_id = NEW.request_id;
    risen := next_log_start_version();
    PERFORM FROM partition AS p
    WHERE p.topic_id = NEW.topic_id AND p.partition = NEW.partition FOR NO KEY UPDATE;
    PERFORM move_log_starts(ARRAY[NEW.topic_id], ARRAY[NEW.partition], ARRAY[NEW.log_start], risen);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.apply_log_start IS
    'Carries out what delete_records() asked for, at the end of its transaction: retention and placement, which '
    'lock the same rows, do not wait for one that stays open';
CREATE CONSTRAINT TRIGGER apply_log_start AFTER INSERT ON streamhouse.log_start_request
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION streamhouse.apply_log_start();

CREATE FUNCTION streamhouse.agent_log_starts(after_version bigint)
RETURNS TABLE (topic_id uuid, partition int, log_start bigint, log_start_version bigint)
LANGUAGE sql STABLE SECURITY INVOKER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT p.topic_id, p.partition, p.log_start, p.log_start_version
    FROM partition AS p WHERE p.log_start_version > after_version
    ORDER BY p.log_start_version
$$;
COMMENT ON FUNCTION streamhouse.agent_log_starts IS
    'Log starts that moved after a version, in the order of versions';
