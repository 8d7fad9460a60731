-- Deleting versions and subjects: softly first, so that they can still be asked for, then for good.

CREATE FUNCTION streamhouse.check_unreferenced(subject text, versions int[], permanent boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    referrer record;
BEGIN
    SELECT r.version AS referenced, v.subject, v.version, v.state INTO referrer
    FROM schema_reference AS r JOIN schema_version AS v USING (schema_id)
    WHERE r.subject = check_unreferenced.subject AND r.version = ANY (check_unreferenced.versions)
      AND (v.state = 'live' OR (permanent AND v.state = 'deleted'))
      -- What goes with it does not count.
      AND NOT (v.subject = check_unreferenced.subject AND v.version = ANY (check_unreferenced.versions))
    ORDER BY v.subject, v.version LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'version % of subject "%" is referred to', referrer.referenced,
                        check_unreferenced.subject
            USING ERRCODE = 'SH206',
                  DETAIL = format('Subject "%s" version %s%s refers to it.', referrer.subject,
                                  referrer.version,
                                  CASE WHEN referrer.state = 'deleted' THEN ' (soft deleted)' ELSE '' END),
                  HINT = 'Delete first what refers to it: streamhouse.referenced_by() gives the ids.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_unreferenced IS
    'Raises SH206 while others refer to versions that are to be deleted. Needs the control lock';

CREATE FUNCTION streamhouse.delete_version(subject text, version text, permanent boolean DEFAULT false)
RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    doomed schema_version;
BEGIN
    PERFORM parse_version(delete_version.version);
    PERFORM control_lock();
    PERFORM check_not_readonly(delete_version.subject);
    -- Of deleted ones too: "latest" is the latest that is not, unless it is to be deleted for good.
    doomed := version_of(delete_version.subject, delete_version.version,
                         permanent OR parse_version(delete_version.version) IS NOT NULL);
    IF doomed.state = 'deleted' AND NOT permanent THEN
        RAISE EXCEPTION 'version % of subject "%" is soft deleted', doomed.version, doomed.subject
            USING ERRCODE = 'SH406', HINT = 'Set permanent to delete it for good.';
    ELSIF doomed.state = 'live' AND permanent THEN
        RAISE EXCEPTION 'version % of subject "%" is not soft deleted', doomed.version, doomed.subject
            USING ERRCODE = 'SH407', HINT = 'Delete it without permanent first.';
    END IF;
    PERFORM check_unreferenced(doomed.subject, ARRAY[doomed.version], permanent);
    UPDATE schema_version AS v
    SET state = CASE WHEN permanent THEN 'purged' ELSE 'deleted' END,
        deleted_at = coalesce(v.deleted_at, now())
    WHERE (v.subject, v.version) = (doomed.subject, doomed.version);
    PERFORM schema_changed(doomed.subject);
    RETURN doomed.version;
END
$$;
COMMENT ON FUNCTION streamhouse.delete_version(text, text, boolean) IS
    'Deletes a version, softly or, once it is softly deleted, for good, and returns its number, which is not '
    'given again. Raises SH202, SH205, SH206, SH401, SH402, SH406 or SH407';

CREATE FUNCTION streamhouse.delete_version(subject text, version bigint, permanent boolean DEFAULT false)
RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$ SELECT delete_version($1, $2::text, $3) $$;
COMMENT ON FUNCTION streamhouse.delete_version(text, bigint, boolean) IS 'As with the version as text';

CREATE FUNCTION streamhouse.delete_subject(subject text, permanent boolean DEFAULT false) RETURNS SETOF int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    live    int[];
    deleted int[];
    doomed  int[];
BEGIN
    PERFORM control_lock();
    PERFORM check_subject(delete_subject.subject, deleted => true);
    PERFORM check_not_readonly(delete_subject.subject);
    SELECT array_agg(v.version) FILTER (WHERE v.state = 'live'),
           array_agg(v.version) FILTER (WHERE v.state = 'deleted')
    INTO live, deleted
    FROM schema_version AS v WHERE v.subject = delete_subject.subject;
    IF permanent AND live IS NOT NULL THEN
        RAISE EXCEPTION 'subject "%" is not soft deleted', delete_subject.subject
            USING ERRCODE = 'SH405', HINT = 'Delete it without permanent first.';
    ELSIF NOT permanent AND live IS NULL THEN
        RAISE EXCEPTION 'subject "%" is soft deleted', delete_subject.subject
            USING ERRCODE = 'SH404', HINT = 'Set permanent to delete it for good.';
    END IF;
    doomed := CASE WHEN permanent THEN deleted ELSE live END;
    PERFORM check_unreferenced(delete_subject.subject, doomed, permanent);
    UPDATE schema_version AS v
    SET state = CASE WHEN permanent THEN 'purged' ELSE 'deleted' END,
        deleted_at = coalesce(v.deleted_at, now())
    WHERE v.subject = delete_subject.subject AND v.version = ANY (doomed);
    DELETE FROM schema_setting AS s WHERE s.subject = delete_subject.subject;
    PERFORM schema_changed(delete_subject.subject);
    RETURN QUERY SELECT d FROM unnest(doomed) AS d ORDER BY d;
END
$$;
COMMENT ON FUNCTION streamhouse.delete_subject IS
    'Deletes all versions of a subject and its settings, softly or, once it is softly deleted, for good, and '
    'returns the versions. Raises SH205, SH206, SH401, SH404 or SH405';
