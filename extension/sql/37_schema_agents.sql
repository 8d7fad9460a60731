-- What agents ask of the schema registry to validate what is produced, and what they tell it.

CREATE FUNCTION streamhouse.agent_schema_by_id(schema_id int)
RETURNS TABLE (type text, schema text, "references" jsonb, record_name text, dependency_names text[],
               dependency_texts text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT s.type, s.canonical, schema_references(s.schema_id), s.record_name, s.dependency_names,
           ARRAY(SELECT d.canonical FROM unnest(s.dependency_ids) WITH ORDINALITY AS u(id, n)
                 JOIN schema AS d ON d.schema_id = u.id ORDER BY u.n)
    FROM schema AS s
    WHERE s.schema_id = agent_schema_by_id.schema_id
      AND EXISTS (SELECT FROM schema_version AS v WHERE v.schema_id = s.schema_id AND v.state <> 'purged')
$$;
COMMENT ON FUNCTION streamhouse.agent_schema_by_id IS
    'A schema with all that it needs to be parsed, each dependency after its own; no row: no such schema. It '
    'never changes, but it can go when it is deleted for good';

CREATE FUNCTION streamhouse.schema_in_format(schema_id int, format text DEFAULT NULL) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT CASE WHEN s.type = 'PROTOBUF' AND schema_in_format.format = 'serialized' THEN
               schema_serialized(s.type, s.canonical, s.dependency_names,
                                 ARRAY(SELECT d.canonical FROM unnest(s.dependency_ids) WITH ORDINALITY AS u(id, n)
                                       JOIN schema AS d ON d.schema_id = u.id ORDER BY u.n))
           ELSE s.canonical END
    FROM schema AS s WHERE s.schema_id = schema_in_format.schema_id
$$;
COMMENT ON FUNCTION streamhouse.schema_in_format IS
    'The text of a schema as the REST API gives it: with "serialized", a Protobuf schema as its descriptor in '
    'base64; with any other format as it is kept';

CREATE FUNCTION streamhouse.agent_list_fits(bytes bigint) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF bytes > 16 * 1024 * 1024 THEN
        RAISE EXCEPTION 'the list is too long'
            USING ERRCODE = 'program_limit_exceeded',
                  DETAIL = 'A list has at most 16 MB; "limit", "offset" and "subjectPrefix" ask for a part of it.';
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_list_fits IS
    'True; raises 54000 for more bytes than a list of the REST API may have';

CREATE FUNCTION streamhouse.agent_list_schemas(prefix text, include_deleted boolean, latest_only boolean,
                                               page_offset int, page_limit int)
RETURNS TABLE (n bigint, subject text, version int, schema_id int, type text, "references" jsonb, is_deleted boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    WITH page AS MATERIALIZED (
        SELECT row_number() OVER (ORDER BY v.subject COLLATE "C", v.version) AS n,
               v.subject, v.version, v.schema_id, v.state <> 'live' AS is_deleted
        FROM schema_version AS v
        WHERE starts_with(v.subject, prefix)
          AND (v.state = 'live' OR (include_deleted AND v.state = 'deleted'))
          AND NOT (latest_only AND EXISTS (
              SELECT FROM schema_version AS later
              WHERE later.subject = v.subject AND later.version > v.version
                AND (later.state = 'live' OR (include_deleted AND later.state = 'deleted'))))
        ORDER BY n OFFSET greatest(page_offset, 0)
        LIMIT CASE WHEN page_limit BETWEEN 0 AND 1000 THEN page_limit ELSE 1000 END
    ), sizes AS (
        SELECT octet_length(s.canonical) AS bytes FROM page JOIN schema AS s USING (schema_id)
        UNION ALL
        SELECT octet_length(r.name) + octet_length(r.subject) FROM page JOIN schema_reference AS r USING (schema_id)
    ), fits AS MATERIALIZED (
        SELECT agent_list_fits(coalesce(sum(bytes), 0)) AS yes FROM sizes
    )
    SELECT page.n, page.subject, page.version, s.schema_id, s.type, schema_references(s.schema_id), page.is_deleted
    FROM fits JOIN page ON fits.yes JOIN schema AS s USING (schema_id)
$$;
COMMENT ON FUNCTION streamhouse.agent_list_schemas IS
    'A page of versions, numbered in the order of subject and version, without the schemas'' texts: 1000 at most, '
    'also for a negative limit. Raises 54000 when the texts and references have more bytes than a list may have';

CREATE FUNCTION streamhouse.agent_topic_schemas(known_version bigint DEFAULT 0)
RETURNS TABLE (schema_version bigint, topic_id uuid, part text, validation text, strategy text, subject text,
               record_name text, schema_ids int[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT c.schema_version, asked.topic_id, asked.part, asked.validation, asked.strategy, subjects.subject,
           subjects.record_name,
           CASE WHEN subjects.subject IS NOT NULL THEN
               ARRAY(SELECT DISTINCT v.schema_id FROM schema_version AS v
                     WHERE v.subject = subjects.subject AND v.state = 'live' ORDER BY v.schema_id) END
    FROM cluster AS c
    LEFT JOIN (SELECT t.topic_id, part.part, part.validation, part.strategy, t.name
               FROM topic AS t,
                   LATERAL (VALUES ('key', t.key_validation, t.key_subject_strategy),
                                   ('value', t.value_validation, t.value_subject_strategy))
                   AS part(part, validation, strategy)
               WHERE part.validation <> 'none') AS asked ON true
    LEFT JOIN LATERAL (
        SELECT asked.name || '-' || asked.part AS subject, NULL AS record_name WHERE asked.strategy = 'topic'
        UNION ALL
        SELECT s.subject, substr(s.subject, length(asked.name) + 2) FROM schema_subject AS s
        WHERE asked.strategy = 'topic-record' AND starts_with(s.subject, asked.name || '-')
        UNION ALL
        SELECT s.subject, s.subject FROM schema_subject AS s WHERE asked.strategy = 'record'
    ) AS subjects ON true
    WHERE c.schema_version <> coalesce(known_version, 0)
    ORDER BY asked.topic_id, asked.part, subjects.subject COLLATE "C"
$$;
COMMENT ON FUNCTION streamhouse.agent_topic_schemas IS
    'What validates which topics: a row per topic, part (key or value) and subject, with the ids that its '
    'live versions have, and under the strategies record and topic-record the name of the records that the '
    'subject is for. No row: nothing has changed since the known version. One row with only a version: '
    'no topic is validated';

CREATE FUNCTION streamhouse.agent_schemas_seen(schema_ids int[], topic_ids uuid[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    noted int;
BEGIN
    PERFORM begin_decision();
    IF cardinality(schema_ids) IS DISTINCT FROM cardinality(topic_ids) THEN
        RAISE EXCEPTION 'schema_ids and topic_ids differ in length' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- In the order of the key, so that two agents' batches wait for each other and do not deadlock.
    INSERT INTO schema_seen AS s (schema_id, topic_id, last_seen)
    SELECT DISTINCT seen.schema_id, seen.topic_id, now()
    FROM unnest(agent_schemas_seen.schema_ids, agent_schemas_seen.topic_ids) AS seen(schema_id, topic_id)
    JOIN schema AS known ON known.schema_id = seen.schema_id
    JOIN topic AS t ON t.topic_id = seen.topic_id
    ORDER BY seen.schema_id, seen.topic_id
    ON CONFLICT ON CONSTRAINT schema_seen_pkey DO UPDATE SET last_seen = excluded.last_seen
    WHERE s.last_seen < excluded.last_seen - interval '10 seconds';
    GET DIAGNOSTICS noted = ROW_COUNT;
    RETURN noted;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_schemas_seen IS
    'Notes that records of topics named these schemas: parallel arrays. Ids and topics that are not known '
    'are left out, and so is what was noted less than 10 seconds ago; returns how many were noted';
