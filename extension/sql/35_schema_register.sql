-- Registration, and the comparison with the versions before.

CREATE FUNCTION streamhouse.schema_findings(candidate streamhouse.schema_candidate, subject text, level text,
                                            versions int[], max_findings int)
RETURNS TABLE (version int, direction text, kind text, path text, message text)
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    WITH compared AS MATERIALIZED (
        SELECT v.schema_id, max(v.version) AS version FROM schema_version AS v
        WHERE v.subject = schema_findings.subject AND v.version = ANY (schema_findings.versions)
        GROUP BY v.schema_id
    )
    SELECT c.version, f.direction, f.kind, f.path, f.message
    FROM schema_compare_stored(level ~ '^(BACKWARD|FULL)', level ~ '^(FORWARD|FULL)', candidate.type,
                               candidate.canonical, candidate.dependency_names, candidate.dependency_texts,
                               ARRAY(SELECT c.schema_id FROM compared AS c ORDER BY c.version DESC),
                               max_findings)
         WITH ORDINALITY AS f(schema_id, direction, kind, path, message, n)
    JOIN compared AS c USING (schema_id)
    WHERE level <> 'NONE'
    ORDER BY f.n
$$;
COMMENT ON FUNCTION streamhouse.schema_findings IS
    'Why a schema does not fit versions of a subject under a compatibility level, the latest version first';

CREATE FUNCTION streamhouse.versions_to_compare(subject text, level text) RETURNS int[]
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT coalesce(CASE WHEN level LIKE '%_TRANSITIVE' THEN array_agg(v.version)
                         WHEN max(v.version) IS NOT NULL THEN ARRAY[max(v.version)] END, '{}')
    FROM schema_version AS v WHERE v.subject = versions_to_compare.subject AND v.state = 'live'
$$;
COMMENT ON FUNCTION streamhouse.versions_to_compare IS
    'The versions that a new one must fit under a level: the latest, or under a transitive one all';

CREATE FUNCTION streamhouse.check_compatibility(
    subject      text,
    schema       text,
    type         text    DEFAULT 'AVRO',
    "references" jsonb   DEFAULT '[]',
    version      text    DEFAULT NULL,
    level        text    DEFAULT NULL,
    "normalize"  boolean DEFAULT false
) RETURNS TABLE (is_compatible boolean, against_version int, direction text, kind text, path text,
                 message text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    candidate  schema_candidate;
    held       text := CASE WHEN $6 IS NULL THEN (effective_setting($1)).compatibility
                            ELSE check_compatibility_level($6) END;
    compared   int[];
BEGIN
    PERFORM check_subject_name($1);
    candidate := schema_prepare($2, $3, $4, $7);
    IF $5 IS NULL THEN
        compared := versions_to_compare($1, held);
    ELSIF lower($5) = 'all' THEN
        compared := versions_to_compare($1, '_TRANSITIVE');
    ELSIF parse_version($5) IS NULL THEN
        compared := versions_to_compare($1, '');
    ELSE
        compared := ARRAY[(version_of($1, $5, false)).version];
    END IF;
    RETURN QUERY
    SELECT false, f.version, f.direction, f.kind, f.path, f.message
    FROM schema_findings(candidate, $1, held, compared, 1000) AS f;
    IF NOT FOUND THEN
        RETURN QUERY SELECT true, NULL::int, NULL, NULL, NULL, NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_compatibility(text, text, text, jsonb, text, text, boolean) IS
    'Whether a schema fits a subject, and every reason why not. It is compared with what registering would '
    'compare it with; with version given with that one, with "latest", or with "all". The level is the '
    'subject''s unless one is given. Raises SH201, SH202, SH203, SH401 or SH402';

CREATE FUNCTION streamhouse.check_compatibility(
    subject      text,
    schema       text,
    version      bigint,
    type         text    DEFAULT 'AVRO',
    "references" jsonb   DEFAULT '[]',
    level        text    DEFAULT NULL,
    "normalize"  boolean DEFAULT false
) RETURNS TABLE (is_compatible boolean, against_version int, direction text, kind text, path text,
                 message text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$ SELECT * FROM check_compatibility($1, $2, $4, $5, $3::text, $6, $7) $$;
COMMENT ON FUNCTION streamhouse.check_compatibility(text, text, bigint, text, jsonb, text, boolean) IS
    'As with the version as text';

CREATE FUNCTION streamhouse.check_new_version(candidate streamhouse.schema_candidate, subject text, id int)
RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    setting schema_setting := effective_setting(check_new_version.subject);
    deleted record;
BEGIN
    PERFORM check_not_readonly(check_new_version.subject);
    IF check_new_version.id IS NOT NULL AND setting.mode <> 'IMPORT' THEN
        RAISE EXCEPTION 'subject "%" is not in import mode', check_new_version.subject
            USING ERRCODE = 'SH205', DETAIL = 'Only in that mode a schema is registered under a given id.',
                  HINT = 'Leave the id out, or call streamhouse.set_mode(''IMPORT'', ...).';
    ELSIF check_new_version.id IS NULL AND setting.mode = 'IMPORT' THEN
        RAISE EXCEPTION 'subject "%" is in import mode', check_new_version.subject
            USING ERRCODE = 'SH205', DETAIL = 'In this mode every schema is registered under a given id.',
                  HINT = 'Give an id, or call streamhouse.set_mode(''READWRITE'', ...).';
    END IF;

    -- They were resolved before the lock was held.
    SELECT v.subject, v.version INTO deleted
    FROM unnest(candidate.subjects, candidate.versions) AS r(subject, version)
    JOIN schema_version AS v USING (subject, version)
    WHERE v.state <> 'live' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the schema refers to a deleted version'
            USING ERRCODE = 'SH201',
                  DETAIL = format('Subject "%s", version %s.', deleted.subject, deleted.version),
                  HINT = 'Refer to a version that is not deleted, or register that one again.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_new_version IS
    'Raises SH201 or SH205 for a schema that may not be registered, whatever it is compared with. What it says '
    'holds under the control lock alone';

-- What a new version has to fit: under which level, and which versions. Nothing in an import.
CREATE TYPE streamhouse.schema_comparison AS (level text, versions int[]);

CREATE FUNCTION streamhouse.comparison_for(subject text) RETURNS streamhouse.schema_comparison
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT e.level, CASE WHEN e.level = 'NONE' THEN '{}'
                         ELSE ARRAY(SELECT v FROM unnest(versions_to_compare(comparison_for.subject, e.level)) AS v
                                    ORDER BY v) END
    FROM effective_setting(comparison_for.subject) AS s,
         LATERAL (SELECT CASE WHEN s.mode = 'IMPORT' THEN 'NONE' ELSE s.compatibility END AS level) AS e
$$;
COMMENT ON FUNCTION streamhouse.comparison_for IS
    'The level and the versions that registering a schema under a subject compares it with, as of now';

CREATE FUNCTION streamhouse.check_fits(candidate streamhouse.schema_candidate, subject text,
                                       comparison streamhouse.schema_comparison) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    reasons text[];
BEGIN
    IF cardinality(comparison.versions) = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(format('%s at %s against version %s (%s): %s', f.kind, f.path, f.version, f.direction,
                            f.message) ORDER BY n)
    INTO reasons
    FROM schema_findings(candidate, check_fits.subject, comparison.level, comparison.versions, 20)
         WITH ORDINALITY AS f(version, direction, kind, path, message, n)
    WHERE n <= 20;
    IF reasons IS NOT NULL THEN
        RAISE EXCEPTION 'the schema is incompatible with an earlier one of subject "%"', check_fits.subject
            USING ERRCODE = 'SH490', DETAIL = array_to_string(reasons, E'\n'),
                  HINT = format('The level of the subject is %s. check_compatibility() gives every reason.',
                                comparison.level);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_fits IS
    'Raises SH490 for a schema that does not fit the versions. It may take seconds: call it without the control '
    'lock, and see under the lock that comparison_for still says the same';

CREATE FUNCTION streamhouse.store_schema(candidate streamhouse.schema_candidate, id int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    known int;
    given int := store_schema.id;
BEGIN
    SELECT s.schema_id INTO known FROM schema AS s WHERE s.digest = candidate.digest;
    IF known = given OR (known IS NOT NULL AND given IS NULL) THEN
        RETURN known;
    ELSIF known IS NOT NULL THEN
        RAISE EXCEPTION 'the schema has the id % already, and cannot have %', known, given
            USING ERRCODE = 'SH207', DETAIL = 'Equal schemas share one id, for ever.';
    ELSIF EXISTS (SELECT FROM schema AS s WHERE s.schema_id = given) THEN
        RAISE EXCEPTION 'the id % names another schema', given
            USING ERRCODE = 'SH205', DETAIL = 'An id names one schema, for ever.';
    END IF;
    WHILE given IS NULL OR EXISTS (SELECT FROM schema AS s WHERE s.schema_id = given AND id IS NULL) LOOP
        given := nextval('streamhouse.schema_number');
    END LOOP;
    INSERT INTO schema (schema_id, type, canonical, digest, normalized_digest, fingerprint, record_name,
                        dependency_ids, dependency_names)
    VALUES (given, candidate.type, candidate.canonical, candidate.digest, candidate.normalized_digest,
            candidate.fingerprint, candidate.record_name, candidate.dependency_ids,
            candidate.dependency_names);
    INSERT INTO schema_reference (schema_id, ordinal, name, subject, version, referenced_id)
    SELECT given, n, r.name, r.subject, r.version, r.id
    FROM unnest(candidate.reference_names, candidate.subjects, candidate.versions, candidate.referenced_ids)
         WITH ORDINALITY AS r(name, subject, version, id, n);
    RETURN given;
END
$$;
COMMENT ON FUNCTION streamhouse.store_schema IS
    'The id of a schema: the one that it has, or the given one, or a new one. Raises SH205 or SH207. Needs '
    'the control lock';

CREATE FUNCTION streamhouse.store_version(subject text, version int, schema_id int, is_import boolean)
RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    next_one bigint;
    other    int;
BEGIN
    INSERT INTO schema_subject AS s (subject) VALUES (subject) ON CONFLICT DO NOTHING;
    SELECT s.next_version INTO next_one FROM schema_subject AS s WHERE s.subject = store_version.subject;
    IF version IS NULL THEN
        version := next_one;
    ELSIF version <> next_one AND NOT is_import THEN
        RAISE EXCEPTION 'version % is not the next one of subject "%"', version, subject
            USING ERRCODE = 'SH201', DETAIL = format('The next version is %s.', next_one),
                  HINT = 'Leave the version out.';
    ELSIF version > 1000000000 THEN
        RAISE EXCEPTION 'version % of subject "%" is too high to be imported', version, subject
            USING ERRCODE = 'SH202', DETAIL = 'A version that is given is a number from 1 to 1000000000.',
                  HINT = 'What is above is left for versions that come later.';
    END IF;
    SELECT v.schema_id INTO other FROM schema_version AS v
    WHERE (v.subject, v.version) = (store_version.subject, store_version.version);
    IF other <> schema_id THEN
        RAISE EXCEPTION 'version % of subject "%" is another schema, with id %', version, subject, other
            USING ERRCODE = 'SH205', DETAIL = 'A version names one schema, for ever.';
    END IF;
    INSERT INTO schema_version AS v (subject, version, schema_id) VALUES (subject, version, schema_id)
    ON CONFLICT ON CONSTRAINT schema_version_pkey DO UPDATE SET state = 'live', deleted_at = NULL;
    UPDATE schema_subject AS s SET next_version = greatest(s.next_version, version::bigint + 1)
    WHERE s.subject = store_version.subject;
    RETURN version;
END
$$;
COMMENT ON FUNCTION streamhouse.store_version IS
    'Makes a schema the next version of a subject, or in an import the given one. Needs the control lock. '
    'Raises SH201, SH202, SH205';

CREATE FUNCTION streamhouse.register_compared(candidate streamhouse.schema_candidate, subject text,
                                              "normalize" boolean, id int, version int,
                                              compared streamhouse.schema_comparison) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    hit       schema_version;
    stored_id int;
BEGIN
    PERFORM control_lock();
    hit := find_version(register_compared.subject, candidate, register_compared."normalize", false);
    IF hit.subject IS NOT NULL AND hit.schema_id = coalesce(register_compared.id, hit.schema_id)
       AND hit.version = coalesce(register_compared.version, hit.version) THEN
        RETURN hit.schema_id;
    ELSIF comparison_for(register_compared.subject) IS DISTINCT FROM compared THEN
        RAISE EXCEPTION 'the versions to compare with have changed' USING ERRCODE = 'SH299';
    END IF;
    PERFORM check_new_version(candidate, register_compared.subject, register_compared.id);
    stored_id := store_schema(candidate, register_compared.id);
    PERFORM store_version(register_compared.subject, register_compared.version, stored_id,
                          register_compared.id IS NOT NULL);
    PERFORM schema_changed(register_compared.subject);
    RETURN stored_id;
END
$$;
COMMENT ON FUNCTION streamhouse.register_compared IS
    'Registers a schema that was compared, under the control lock. Raises SH201, SH202, SH205, SH207, and '
    'SH299 when it would have to be compared with something else by now';

CREATE FUNCTION streamhouse.register_schema(
    subject      text,
    schema       text,
    type         text    DEFAULT 'AVRO',
    "references" jsonb   DEFAULT '[]',
    "normalize"  boolean DEFAULT false,
    id           int     DEFAULT NULL,
    version      int     DEFAULT NULL
) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    candidate schema_candidate;
    hit       schema_version;
    compared  schema_comparison;
BEGIN
    PERFORM check_subject_name(register_schema.subject);
    IF register_schema.id <= 0 THEN
        RAISE EXCEPTION 'invalid schema id %', register_schema.id
            USING ERRCODE = 'SH205', DETAIL = 'An id is a number from 1 to 2147483647.';
    ELSIF register_schema.version IS NOT NULL THEN
        PERFORM parse_version(nullif(register_schema.version, -1)::text);
    END IF;
    candidate := schema_prepare(register_schema.schema, register_schema.type, register_schema."references",
                                coalesce(register_schema."normalize", false));

    -- Clients register what they use at each start, so most are there: no lock for those.
    hit := find_version(register_schema.subject, candidate, coalesce(register_schema."normalize", false), false);
    IF hit.subject IS NOT NULL AND hit.schema_id = coalesce(register_schema.id, hit.schema_id)
       AND hit.version = coalesce(register_schema.version, hit.version) THEN
        RETURN hit.schema_id;
    END IF;

    -- Comparing takes long, and nobody waits for it: it is done before the lock is taken. What was compared may
    -- have changed meanwhile: then the lock is given back, with the subtransaction that took it.
    FOR tries IN 1 .. 20 LOOP
        PERFORM check_new_version(candidate, register_schema.subject, register_schema.id);
        compared := comparison_for(register_schema.subject);
        PERFORM check_fits(candidate, register_schema.subject, compared);
        BEGIN
            RETURN register_compared(candidate, register_schema.subject,
                                     coalesce(register_schema."normalize", false), register_schema.id,
                                     register_schema.version, compared);
        EXCEPTION WHEN SQLSTATE 'SH299' THEN
            CONTINUE;
        END;
    END LOOP;
    RAISE EXCEPTION 'subject "%" changes all the time', register_schema.subject
        USING ERRCODE = 'serialization_failure', HINT = 'Register the schema again.';
END
$$;
COMMENT ON FUNCTION streamhouse.register_schema IS
    'Registers a schema as the next version of a subject and returns its id; one that is a version of it '
    'already stays that version. id, and version if need be, are for the mode IMPORT. Raises SH201, SH202, '
    'SH205, SH207, SH208, SH209, SH490, or 54000 when it takes too much work to be compared';
