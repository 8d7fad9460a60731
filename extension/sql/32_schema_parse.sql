-- What is done with a schema's text before it is looked for or registered: checks, canonical form, digests.

CREATE FUNCTION streamhouse.schema_parse(type text, schema text, reference_names text[] DEFAULT '{}',
                                         reference_texts text[] DEFAULT '{}',
                                         OUT canonical text, OUT normalized text, OUT parsing text,
                                         OUT record_name text)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_schema_parse_text';
COMMENT ON FUNCTION streamhouse.schema_parse IS
    'Parses a schema, which may need others: the references, each after those that it needs itself. Returns '
    'its text in three forms: with white space removed, normalized, and the one that the fingerprint is '
    'taken of. Raises SH201, SH209, or 54000 when it takes too much work';

CREATE FUNCTION streamhouse.schema_serialized(type text, schema text, reference_names text[] DEFAULT '{}',
                                              reference_texts text[] DEFAULT '{}')
RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_schema_serialized';
COMMENT ON FUNCTION streamhouse.schema_serialized IS
    'A Protobuf schema as its FileDescriptorProto in base64, which can be registered, too; a schema of another '
    'type as its canonical text. Raises SH201 or SH209';

CREATE FUNCTION streamhouse.schema_compare(type text, reader text, reader_reference_names text[],
                                           reader_reference_texts text[], writer text,
                                           writer_reference_names text[], writer_reference_texts text[])
RETURNS TABLE (kind text, path text, message text)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_schema_compare_texts';
COMMENT ON FUNCTION streamhouse.schema_compare IS
    'Every reason why data written with one schema cannot be read with another; no row: it can. Raises 54000 when '
    'that takes too much work to be told';

CREATE FUNCTION streamhouse.schema_compare_stored(backward boolean, forward boolean, type text, schema text,
                                                  reference_names text[], reference_texts text[],
                                                  schema_ids int[], max_findings int)
RETURNS TABLE (schema_id int, direction text, kind text, path text, message text)
    LANGUAGE c STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_schema_compare_stored';
COMMENT ON FUNCTION streamhouse.schema_compare_stored IS
    'A schema compared with registered ones, as their reader (backward) and as their writer (forward), in '
    'the order of the ids, up to the comparison that brings the most findings that are wanted. Raises 54000 when '
    'all of it takes too much work';

-- A schema on its way in.
CREATE TYPE streamhouse.schema_candidate AS (
    type              text,
    canonical         text,
    digest            bytea,
    normalized_digest bytea,
    fingerprint       bytea,
    record_name       text,
    -- the references, as asked for
    reference_names   text[],
    subjects          text[],
    versions          int[],
    referenced_ids    int[],
    -- they and theirs
    dependency_ids    int[],
    dependency_names  text[],
    dependency_texts  text[]
);

CREATE FUNCTION streamhouse.check_subject_name(subject text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    problem text := CASE
        WHEN subject IS NULL OR subject = '' THEN 'The name is empty.'
        WHEN length(subject) > 500 THEN
            format('The name has %s characters; 500 are allowed.', length(subject))
        WHEN subject ~ E'[\\x01-\\x1f\\x7f]' THEN 'The name contains a control character.' END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'invalid subject "%"', regexp_replace(coalesce(left(subject, 100), ''),
                                                              E'[\\x01-\\x1f\\x7f]', '?', 'g')
            USING ERRCODE = 'SH208', DETAIL = problem;
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_subject_name IS
    'Raises SH208 for a name that no subject can have. All printable characters are allowed, "/" and "%" too';

CREATE FUNCTION streamhouse.parse_version(version text) RETURNS int
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF version IN ('latest', '-1') THEN
        RETURN NULL;
    ELSIF version ~ '^[0-9]{1,10}$' AND version::bigint BETWEEN 1 AND 2147483647 THEN
        RETURN version::int;
    END IF;
    RAISE EXCEPTION 'invalid version "%"', coalesce(left(version, 100), 'null')
        USING ERRCODE = 'SH202', DETAIL = 'A version is a number from 1 to 2147483647, or "latest".';
END
$$;
COMMENT ON FUNCTION streamhouse.parse_version IS
    'The number of a version, null for "latest" and its other name -1. Raises SH202';

CREATE FUNCTION streamhouse.schema_digest(type text, schema text, candidate streamhouse.schema_candidate)
RETURNS bytea
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT sha256(sha256(convert_to(schema_digest.type || ' ' || schema_digest.schema, 'UTF8'))
                  || coalesce(string_agg(sha256(convert_to(r.name, 'UTF8'))
                                         || sha256(convert_to(r.subject, 'UTF8'))
                                         || int4send(r.version) || s.digest, ''
                                         ORDER BY r.name COLLATE "C"), ''))
    FROM unnest(candidate.reference_names, candidate.subjects, candidate.versions, candidate.referenced_ids)
         AS r(name, subject, version, id)
    LEFT JOIN schema AS s ON s.schema_id = r.id
$$;
COMMENT ON FUNCTION streamhouse.schema_digest IS
    'A digest that two schemas share when type, text and references are the same';

CREATE FUNCTION streamhouse.check_references(list jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    problem text;
BEGIN
    IF jsonb_typeof(list) <> 'array' THEN
        problem := 'They are an array of objects.';
    ELSIF jsonb_array_length(list) > 1000 THEN
        problem := format('There are %s of them; 1000 are allowed.', jsonb_array_length(list));
    ELSE
        SELECT CASE
            WHEN jsonb_typeof(r) <> 'object' OR jsonb_typeof(r -> 'name') IS DISTINCT FROM 'string'
                 OR jsonb_typeof(r -> 'subject') IS DISTINCT FROM 'string'
                 OR coalesce(jsonb_typeof(r -> 'version'), 'null') NOT IN ('number', 'string', 'null') THEN
                'Each is an object with the strings "name" and "subject" and the number "version".'
            WHEN length(r ->> 'name') NOT BETWEEN 1 AND 1000 THEN 'A name has 1 to 1000 characters.' END
        INTO problem
        FROM jsonb_array_elements(list) AS r
        ORDER BY 1 LIMIT 1;
        IF problem IS NULL THEN
            SELECT format('Two have the name "%s".', r ->> 'name') INTO problem
            FROM jsonb_array_elements(list) AS r GROUP BY r ->> 'name' HAVING count(*) > 1 LIMIT 1;
        END IF;
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'malformed references'
            USING ERRCODE = 'SH201', DETAIL = problem,
                  HINT = 'For example: [{"name": "com.acme.Address", "subject": "address", "version": 1}].';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_references IS 'Raises SH201 for a malformed list of references';

CREATE FUNCTION streamhouse.resolve_references(INOUT candidate streamhouse.schema_candidate, list jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    wanted   record;
    number   int;
    hit      record;
    clashing text;
BEGIN
    PERFORM check_references(list);
    candidate.dependency_ids := '{}';
    candidate.dependency_names := '{}';
    FOR wanted IN SELECT r ->> 'name' AS name, r ->> 'subject' AS subject,
                         coalesce(r ->> 'version', 'latest') AS version
                  FROM jsonb_array_elements(list) WITH ORDINALITY AS u(r, n) ORDER BY n LOOP
        number := parse_version(wanted.version);
        SELECT v.version, s.schema_id, s.type, s.dependency_ids, s.dependency_names INTO hit
        FROM schema_version AS v JOIN schema AS s USING (schema_id)
        WHERE v.subject = wanted.subject AND v.state <> 'purged'
          AND CASE WHEN number IS NULL THEN v.state = 'live' ELSE v.version = number END
        ORDER BY v.version DESC LIMIT 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'reference "%" names a schema that is not there', left(wanted.name, 100)
                USING ERRCODE = 'SH201',
                      DETAIL = format('Subject "%s" has no version %s.', left(wanted.subject, 500),
                                      wanted.version),
                      HINT = 'Register first what a schema refers to.';
        ELSIF hit.type <> candidate.type THEN
            RAISE EXCEPTION 'reference "%" is of type %, the schema of type %', left(wanted.name, 100),
                            hit.type, candidate.type
                USING ERRCODE = 'SH201', DETAIL = 'A schema refers to schemas of its own type.';
        END IF;
        candidate.reference_names := candidate.reference_names || wanted.name;
        candidate.subjects := candidate.subjects || wanted.subject;
        candidate.versions := candidate.versions || hit.version;
        candidate.referenced_ids := candidate.referenced_ids || hit.schema_id;
        SELECT candidate.dependency_ids || coalesce(array_agg(d.id ORDER BY n), '{}'),
               candidate.dependency_names || coalesce(array_agg(d.name ORDER BY n), '{}')
        INTO candidate.dependency_ids, candidate.dependency_names
        FROM unnest(hit.dependency_ids || hit.schema_id, hit.dependency_names || wanted.name)
             WITH ORDINALITY AS d(id, name, n)
        WHERE NOT EXISTS (SELECT FROM unnest(candidate.dependency_ids, candidate.dependency_names)
                               AS k(id, name) WHERE (k.id, k.name) = (d.id, d.name));
    END LOOP;

    SELECT name INTO clashing FROM unnest(candidate.dependency_names) AS name
    GROUP BY name HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the name "%" stands for two schemas', left(clashing, 100)
            USING ERRCODE = 'SH201',
                  DETAIL = 'References and their own references use it for different versions.',
                  HINT = 'Let all of them refer to the same version.';
    END IF;
    candidate.dependency_texts := ARRAY(
        SELECT s.canonical FROM unnest(candidate.dependency_ids) WITH ORDINALITY AS d(id, n)
        JOIN schema AS s ON s.schema_id = d.id ORDER BY n);
END
$$;
COMMENT ON FUNCTION streamhouse.resolve_references IS
    'Completes a candidate with its references and all that they need. Those that were deleted are '
    'there. Raises SH201, SH202';

CREATE FUNCTION streamhouse.schema_prepare(schema text, type text, "references" jsonb, "normalize" boolean)
RETURNS streamhouse.schema_candidate
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    candidate schema_candidate;
    parsed    record;
BEGIN
    candidate.type := upper(coalesce(schema_prepare.type, 'AVRO'));
    IF candidate.type NOT IN ('AVRO', 'JSON', 'PROTOBUF') THEN
        RAISE EXCEPTION 'unknown schema type "%"', left(schema_prepare.type, 100)
            USING ERRCODE = 'SH201', HINT = 'A schema is of type AVRO, JSON or PROTOBUF.';
    ELSIF coalesce(schema_prepare.schema, '') = '' THEN
        RAISE EXCEPTION 'the schema is empty' USING ERRCODE = 'SH201';
    END IF;
    candidate := resolve_references(candidate, coalesce(schema_prepare."references", '[]'));
    parsed := schema_parse(candidate.type, schema_prepare.schema, candidate.dependency_names,
                           candidate.dependency_texts);
    candidate.canonical := CASE WHEN schema_prepare."normalize" THEN parsed.normalized
                                ELSE parsed.canonical END;
    candidate.digest := schema_digest(candidate.type, candidate.canonical, candidate);
    candidate.normalized_digest := schema_digest(candidate.type, parsed.normalized, candidate);
    candidate.fingerprint := sha256(convert_to(parsed.parsing, 'UTF8'));
    candidate.record_name := parsed.record_name;
    RETURN candidate;
END
$$;
COMMENT ON FUNCTION streamhouse.schema_prepare IS
    'Checks and parses a schema with its references. Raises SH201, SH202 or SH209';

CREATE FUNCTION streamhouse.find_version(subject text, candidate streamhouse.schema_candidate,
                                         "normalize" boolean, deleted boolean)
RETURNS streamhouse.schema_version
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT v.* FROM schema AS s JOIN schema_version AS v USING (schema_id)
    WHERE v.subject = find_version.subject
      AND (s.digest = candidate.digest
           OR (find_version."normalize" AND s.normalized_digest = candidate.normalized_digest))
      AND (v.state = 'live' OR (find_version.deleted AND v.state = 'deleted'))
    ORDER BY v.state = 'live' DESC, s.digest = candidate.digest DESC, v.version DESC LIMIT 1
$$;
COMMENT ON FUNCTION streamhouse.find_version IS
    'The version of a subject that has this schema, or with normalize one that means the same; null: none';
