-- Reading the registry: schemas, subjects, versions, references.

-- A version of a subject with its schema.
CREATE TYPE streamhouse.registered_schema AS (
    subject      text,
    version      int,
    schema_id    int,
    type         text,
    schema       text,
    "references" jsonb,
    is_deleted   boolean
);

CREATE FUNCTION streamhouse.schema_references(schema_id int) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('name', r.name, 'subject', r.subject, 'version', r.version)
                              ORDER BY r.ordinal), '[]')
    FROM schema_reference AS r WHERE r.schema_id = schema_references.schema_id
$$;
COMMENT ON FUNCTION streamhouse.schema_references IS
    'What a schema refers to, as register_schema takes it';

CREATE FUNCTION streamhouse.check_subject(subject text, deleted boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    has_deleted boolean;
BEGIN
    PERFORM FROM schema_version AS v
    WHERE v.subject = check_subject.subject
      AND (v.state = 'live' OR (check_subject.deleted AND v.state = 'deleted')) LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;
    has_deleted := EXISTS (SELECT FROM schema_version AS v
                           WHERE v.subject = check_subject.subject AND v.state = 'deleted');
    RAISE EXCEPTION 'subject "%" not found', left(check_subject.subject, 500)
        USING ERRCODE = 'SH401',
              DETAIL = CASE WHEN has_deleted THEN 'All its versions are deleted.'
                            ELSE 'No schema is registered under it.' END,
              HINT = 'SELECT * FROM streamhouse.subjects() lists the subjects.';
END
$$;
COMMENT ON FUNCTION streamhouse.check_subject IS
    'Raises SH401 unless the subject has a version, or with deleted one that is deleted';

CREATE FUNCTION streamhouse.version_of(subject text, version text, deleted boolean)
RETURNS streamhouse.schema_version
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    number int := parse_version(version_of.version);
    hit    schema_version;
BEGIN
    PERFORM check_subject(version_of.subject, version_of.deleted);
    SELECT * INTO hit FROM schema_version AS v
    WHERE v.subject = version_of.subject AND (number IS NULL OR v.version = number)
      AND (v.state = 'live' OR (version_of.deleted AND v.state = 'deleted'))
    ORDER BY v.version DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'version % not found', number
            USING ERRCODE = 'SH402',
                  DETAIL = format('Subject "%s" has no such version%s.', version_of.subject,
                                  CASE WHEN EXISTS (
                                      SELECT FROM schema_version AS v
                                      WHERE (v.subject, v.version) = (version_of.subject, number)
                                        AND v.state = 'deleted') THEN ' any more: it is deleted' ELSE '' END);
    END IF;
    RETURN hit;
END
$$;
COMMENT ON FUNCTION streamhouse.version_of IS
    'A version of a subject, or its latest. Raises SH202, SH401 or SH402';

CREATE FUNCTION streamhouse.get_schema(id int)
RETURNS TABLE (schema_id int, type text, schema text, "references" jsonb, fingerprint text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    RETURN QUERY
    SELECT s.schema_id, s.type, s.canonical, schema_references(s.schema_id), encode(s.fingerprint, 'hex')
    FROM schema AS s
    WHERE s.schema_id = get_schema.id
      AND EXISTS (SELECT FROM schema_version AS v WHERE v.schema_id = s.schema_id AND v.state <> 'purged');
    IF NOT FOUND THEN
        RAISE EXCEPTION 'schema % not found', coalesce(get_schema.id::text, 'null') USING ERRCODE = 'SH403';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.get_schema(int) IS
    'The schema that an id names, also when its versions are deleted, but not when for good. Raises SH403';

CREATE FUNCTION streamhouse.get_schema(subject text, version text DEFAULT 'latest',
                                       deleted boolean DEFAULT false)
RETURNS SETOF streamhouse.registered_schema
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    wanted schema_version := version_of($1, $2, $3);
BEGIN
    RETURN QUERY
    SELECT wanted.subject, wanted.version, s.schema_id, s.type, s.canonical, schema_references(s.schema_id),
           wanted.state <> 'live'
    FROM schema AS s WHERE s.schema_id = wanted.schema_id;
END
$$;
COMMENT ON FUNCTION streamhouse.get_schema(text, text, boolean) IS
    'A version of a subject, or its latest; with deleted also one that is deleted. Raises SH202, SH401 or '
    'SH402';

CREATE FUNCTION streamhouse.get_schema(subject text, version bigint, deleted boolean DEFAULT false)
RETURNS SETOF streamhouse.registered_schema
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$ SELECT * FROM get_schema($1, $2::text, $3) $$;
COMMENT ON FUNCTION streamhouse.get_schema(text, bigint, boolean) IS 'As with the version as text';

CREATE FUNCTION streamhouse.lookup_schema(subject text, schema text, type text DEFAULT 'AVRO',
                                          "references" jsonb DEFAULT '[]', "normalize" boolean DEFAULT false,
                                          deleted boolean DEFAULT false)
RETURNS SETOF streamhouse.registered_schema
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    candidate schema_candidate;
    hit       schema_version;
BEGIN
    PERFORM check_subject($1, $6);
    candidate := schema_prepare($2, $3, $4, $5);
    hit := find_version($1, candidate, $5, $6);
    IF hit.subject IS NULL THEN
        RAISE EXCEPTION 'schema not found'
            USING ERRCODE = 'SH403',
                  DETAIL = format('No version of subject "%s" has this schema and these references.', $1);
    END IF;
    RETURN QUERY
    SELECT hit.subject, hit.version, s.schema_id, s.type, s.canonical, schema_references(s.schema_id),
           hit.state <> 'live'
    FROM schema AS s WHERE s.schema_id = hit.schema_id;
END
$$;
COMMENT ON FUNCTION streamhouse.lookup_schema IS
    'The version of a subject that has this schema; with normalize also one that means the same. Raises '
    'SH201, SH202, SH209, SH401, SH403';

CREATE FUNCTION streamhouse.subjects(include_deleted boolean DEFAULT false, prefix text DEFAULT '')
RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT s.subject FROM schema_subject AS s
    WHERE starts_with(s.subject, coalesce(prefix, ''))
      AND EXISTS (SELECT FROM schema_version AS v
                  WHERE v.subject = s.subject
                    AND (v.state = 'live' OR (include_deleted AND v.state = 'deleted')))
    ORDER BY s.subject COLLATE "C"
$$;
COMMENT ON FUNCTION streamhouse.subjects IS
    'Subjects that have a version, with include_deleted also those that have only deleted ones';

CREATE FUNCTION streamhouse.versions(subject text, include_deleted boolean DEFAULT false) RETURNS SETOF int
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM check_subject(versions.subject, versions.include_deleted);
    RETURN QUERY
    SELECT v.version FROM schema_version AS v
    WHERE v.subject = versions.subject
      AND (v.state = 'live' OR (versions.include_deleted AND v.state = 'deleted'))
    ORDER BY v.version;
END
$$;
COMMENT ON FUNCTION streamhouse.versions IS 'The versions of a subject. Raises SH401';

CREATE FUNCTION streamhouse.schema_versions(id int, include_deleted boolean DEFAULT false)
RETURNS TABLE (subject text, version int)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM get_schema(schema_versions.id);
    RETURN QUERY
    SELECT v.subject, v.version FROM schema_version AS v
    WHERE v.schema_id = schema_versions.id
      AND (v.state = 'live' OR (schema_versions.include_deleted AND v.state = 'deleted'))
    ORDER BY v.subject COLLATE "C", v.version;
END
$$;
COMMENT ON FUNCTION streamhouse.schema_versions IS
    'The versions of subjects that have the schema with this id. Raises SH403';

CREATE FUNCTION streamhouse.referenced_by(subject text, version text, include_deleted boolean DEFAULT false)
RETURNS SETOF int
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    wanted schema_version := version_of(referenced_by.subject, referenced_by.version, true);
BEGIN
    RETURN QUERY
    SELECT DISTINCT v.schema_id FROM schema_reference AS r JOIN schema_version AS v USING (schema_id)
    WHERE (r.subject, r.version) = (wanted.subject, wanted.version)
      AND (v.state = 'live' OR (referenced_by.include_deleted AND v.state = 'deleted'))
    ORDER BY v.schema_id;
END
$$;
COMMENT ON FUNCTION streamhouse.referenced_by(text, text, boolean) IS
    'The ids of the schemas that refer to a version. Raises SH202, SH401 or SH402';

CREATE FUNCTION streamhouse.referenced_by(subject text, version bigint, include_deleted boolean DEFAULT false)
RETURNS SETOF int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$ SELECT referenced_by($1, $2::text, $3) $$;
COMMENT ON FUNCTION streamhouse.referenced_by(text, bigint, boolean) IS 'As with the version as text';
