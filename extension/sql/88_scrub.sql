-- Scrubbing: the index compared with what the store holds. Nothing is changed here.

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
COMMENT ON FUNCTION streamhouse.scrub_segments IS 'What objects hold, by the index: the records that are lost with them';
