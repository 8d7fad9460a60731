-- Scrubbing: the index compared with what the store holds; and what is lost given up, when somebody says so.

CREATE FUNCTION streamhouse.scrub_objects(prefix text, object_keys text[], object_bytes bigint[])
RETURNS TABLE (object_key text, finding text, bytes bigint, stored_bytes bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    -- A key begins with the first byte of the object's id.
    SELECT object_key,
           CASE WHEN s.bytes IS NULL THEN 'missing' WHEN k.bytes IS NULL THEN 'unknown' ELSE 'size' END,
           k.bytes, s.bytes
    FROM (SELECT o.object_key, o.bytes, o.state, o.live_rows FROM object AS o
          WHERE o.object_id BETWEEN (prefix || '000000-0000-0000-0000-000000000000')::uuid
                                AND (prefix || 'ffffff-ffff-ffff-ffff-ffffffffffff')::uuid) AS k
    FULL JOIN unnest(object_keys, object_bytes) AS s(object_key, bytes) USING (object_key)
    WHERE k.bytes IS DISTINCT FROM s.bytes AND (k.bytes IS NULL OR k.live_rows > 0)
    ORDER BY object_key
$$;
COMMENT ON FUNCTION streamhouse.scrub_objects IS
    'Compares what the store holds under a prefix of two hexadecimal digits with the index: missing (segments '
    'refer to an object that was not listed), size (it has not the size with which it was published), unknown '
    '(the index has no such object: its publish is under way, or its agent died before it)';

CREATE FUNCTION streamhouse.scrub_segments(object_keys text[])
RETURNS TABLE (object_key text, topic text, partition int, first_offset bigint, last_offset bigint,
               records bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT o.object_key, t.name, s.partition, s.first_offset, s.last_offset, s.records
    FROM object AS o JOIN segment AS s USING (object_id) JOIN topic AS t USING (topic_id)
    WHERE o.object_key = ANY (object_keys)
    ORDER BY o.object_key, t.name, s.partition, s.first_offset
$$;
COMMENT ON FUNCTION streamhouse.scrub_segments IS
    'What objects hold, by the index: the records that are lost with them';

CREATE FUNCTION streamhouse.give_up_objects(object_keys text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    unknown text;
    doomed  uuid[];
    objects uuid[];
    counts  int[];
    lost    bigint;
BEGIN
    PERFORM begin_decision();
    SELECT k.object_key INTO unknown FROM unnest(object_keys) AS k(object_key)
    WHERE NOT EXISTS (SELECT FROM object AS o WHERE o.object_key = k.object_key) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'object "%" does not exist', coalesce(unknown, '')
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT object_key FROM streamhouse.objects lists the objects.';
    END IF;
    doomed := ARRAY(SELECT o.object_id FROM object AS o WHERE o.object_key = ANY (object_keys));
    -- As retention does, so that compaction and retention of these partitions wait.
    PERFORM FROM partition AS p
    WHERE (p.topic_id, p.partition) IN (SELECT s.topic_id, s.partition FROM segment AS s
                                        WHERE s.object_id = ANY (doomed))
    ORDER BY p.topic_id, p.partition FOR NO KEY UPDATE;

    WITH gone AS (
        DELETE FROM segment AS s WHERE s.object_id = ANY (doomed)
        RETURNING s.topic_id, s.partition, s.first_offset, s.last_offset, s.records, s.bytes, s.object_id
    ), counted AS (
        -- What lies below the log start was taken off the counts when that moved.
        SELECT g.topic_id, g.partition,
               sum(g.records - least(g.records, greatest(p.log_start - g.first_offset, 0)))::bigint AS records,
               sum(CASE WHEN g.last_offset < p.log_start THEN 0 ELSE g.bytes END)::bigint AS bytes
        FROM gone AS g JOIN partition AS p USING (topic_id, partition)
        GROUP BY g.topic_id, g.partition
    ), retired AS (
        UPDATE partition AS p
        SET records_retired = p.records_retired + c.records, bytes_retired = p.bytes_retired + c.bytes
        FROM counted AS c WHERE (p.topic_id, p.partition) = (c.topic_id, c.partition)
    )
    SELECT (SELECT coalesce(sum(c.records), 0) FROM counted AS c), array_agg(g.object_id), array_agg(g.row_count)
    INTO lost, objects, counts
    FROM (SELECT object_id, count(*)::int AS row_count FROM gone GROUP BY object_id) AS g;
    PERFORM release_objects(objects, counts);
    RETURN lost;
END
$$;
COMMENT ON FUNCTION streamhouse.give_up_objects IS
    'Takes the segments of objects that are lost out of the index and returns how many records go with them: '
    'readers step over their offsets instead of failing there. There is no way back';
