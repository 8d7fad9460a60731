-- Compatibility levels and modes: of a subject, or of all that have none of their own.

CREATE FUNCTION streamhouse.schema_changed(subject text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    PERFORM bump_schema_version();
    -- Agents ask again for what they validate against when metadata changes.
    PERFORM FROM topic AS t,
        LATERAL (VALUES (t.key_validation, t.key_subject_strategy, t.name || '-key'),
                        (t.value_validation, t.value_subject_strategy, t.name || '-value'))
        AS part(validation, strategy, topic_subject)
    WHERE part.validation <> 'none'
      AND CASE part.strategy WHEN 'topic' THEN part.topic_subject = schema_changed.subject
                             WHEN 'topic-record' THEN starts_with(schema_changed.subject, t.name || '-')
                             ELSE true END
    LIMIT 1;
    IF FOUND THEN
        PERFORM bump_versions(assignments => false);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.schema_changed IS
    'Raises the registry''s version, and tells agents if a topic is validated against the subject. Needs the '
    'control lock';

CREATE FUNCTION streamhouse.effective_setting(subject text) RETURNS streamhouse.schema_setting
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT effective_setting.subject, coalesce(own.compatibility, common.compatibility, 'BACKWARD'),
           coalesce(own.mode, common.mode, 'READWRITE')
    FROM (VALUES (1)) AS one_row
    LEFT JOIN schema_setting AS own ON own.subject = effective_setting.subject
    LEFT JOIN schema_setting AS common ON common.subject = ''
$$;
COMMENT ON FUNCTION streamhouse.effective_setting IS
    'The compatibility level and the mode that hold for a subject';

CREATE FUNCTION streamhouse.check_not_readonly(subject text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF (effective_setting(check_not_readonly.subject)).mode = 'READONLY' THEN
        RAISE EXCEPTION 'subject "%" is in read-only mode', check_not_readonly.subject
            USING ERRCODE = 'SH205', HINT = 'Change it with streamhouse.set_mode().';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_not_readonly IS 'Raises SH205 for a subject in the mode READONLY';

CREATE FUNCTION streamhouse.check_compatibility_level(level text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF upper(level) IN ('NONE', 'BACKWARD', 'BACKWARD_TRANSITIVE', 'FORWARD', 'FORWARD_TRANSITIVE', 'FULL',
                        'FULL_TRANSITIVE') THEN
        RETURN upper(level);
    END IF;
    RAISE EXCEPTION 'invalid compatibility level "%"', coalesce(left(level, 100), 'null')
        USING ERRCODE = 'SH203',
              DETAIL = 'It is NONE, BACKWARD, BACKWARD_TRANSITIVE, FORWARD, FORWARD_TRANSITIVE, FULL or '
                       'FULL_TRANSITIVE.';
END
$$;
COMMENT ON FUNCTION streamhouse.check_compatibility_level IS 'The level in upper case. Raises SH203';

CREATE FUNCTION streamhouse.set_compatibility(level text, subject text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    valid text := check_compatibility_level(level);
BEGIN
    IF set_compatibility.subject IS NOT NULL THEN
        PERFORM check_subject_name(set_compatibility.subject);
    END IF;
    PERFORM control_lock();
    PERFORM check_not_readonly(coalesce(set_compatibility.subject, ''));
    INSERT INTO schema_setting AS s (subject, compatibility)
    VALUES (coalesce(set_compatibility.subject, ''), valid)
    ON CONFLICT (subject) DO UPDATE SET compatibility = excluded.compatibility;
    PERFORM bump_schema_version();
    RETURN valid;
END
$$;
COMMENT ON FUNCTION streamhouse.set_compatibility IS
    'Sets the compatibility level of a subject, or of all that have none of their own. Raises SH203, SH205, SH208';

CREATE FUNCTION streamhouse.reset_compatibility(subject text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    former text;
BEGIN
    PERFORM control_lock();
    PERFORM check_not_readonly(coalesce(reset_compatibility.subject, ''));
    former := get_compatibility(reset_compatibility.subject, reset_compatibility.subject IS NULL);
    UPDATE schema_setting AS s SET compatibility = NULL
    WHERE s.subject = coalesce(reset_compatibility.subject, '');
    PERFORM bump_schema_version();
    RETURN former;
END
$$;
COMMENT ON FUNCTION streamhouse.reset_compatibility IS
    'Lets a subject have the common compatibility level again, or makes that BACKWARD; returns the former. '
    'Raises SH408 or SH205';

CREATE FUNCTION streamhouse.get_compatibility(subject text DEFAULT NULL, effective boolean DEFAULT true)
RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    level text;
BEGIN
    SELECT s.compatibility INTO level FROM schema_setting AS s
    WHERE s.subject = coalesce(get_compatibility.subject, '');
    IF level IS NULL AND NOT get_compatibility.effective THEN
        RAISE EXCEPTION 'subject "%" has no compatibility level of its own', get_compatibility.subject
            USING ERRCODE = 'SH408', HINT = 'Set it with streamhouse.set_compatibility().';
    END IF;
    RETURN coalesce(level, (effective_setting(coalesce(get_compatibility.subject, ''))).compatibility);
END
$$;
COMMENT ON FUNCTION streamhouse.get_compatibility IS
    'The compatibility level that holds for a subject, or the common one; with effective false only one that '
    'was set for it. Raises SH408';

CREATE FUNCTION streamhouse.set_mode(mode text, subject text DEFAULT NULL, force boolean DEFAULT false)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    valid text := upper(set_mode.mode);
BEGIN
    IF valid IS NULL OR valid NOT IN ('READWRITE', 'READONLY', 'IMPORT') THEN
        RAISE EXCEPTION 'invalid mode "%"', coalesce(left(set_mode.mode, 100), 'null')
            USING ERRCODE = 'SH204', DETAIL = 'It is READWRITE, READONLY or IMPORT.';
    ELSIF set_mode.subject IS NOT NULL THEN
        PERFORM check_subject_name(set_mode.subject);
    END IF;
    PERFORM control_lock();
    IF valid = 'IMPORT' AND NOT coalesce(force, false)
       AND EXISTS (SELECT FROM schema_version AS v
                   WHERE v.state = 'live' AND v.subject = coalesce(set_mode.subject, v.subject)) THEN
        RAISE EXCEPTION 'the mode IMPORT is for what has no schemas yet'
            USING ERRCODE = 'SH205',
                  DETAIL = CASE WHEN set_mode.subject IS NULL THEN 'There are subjects with schemas.'
                                ELSE format('Subject "%s" has schemas.', set_mode.subject) END,
                  HINT = 'Delete them, or set the mode by force.';
    END IF;
    INSERT INTO schema_setting AS s (subject, mode) VALUES (coalesce(set_mode.subject, ''), valid)
    ON CONFLICT (subject) DO UPDATE SET mode = excluded.mode;
    PERFORM bump_schema_version();
    RETURN valid;
END
$$;
COMMENT ON FUNCTION streamhouse.set_mode IS
    'Sets the mode of a subject, or of all that have none of their own: READWRITE, READONLY, or IMPORT, in '
    'which schemas are registered with the ids they had elsewhere. Raises SH204, SH205, SH208';

CREATE FUNCTION streamhouse.reset_mode(subject text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    former text;
BEGIN
    PERFORM control_lock();
    former := get_mode(reset_mode.subject, reset_mode.subject IS NULL);
    UPDATE schema_setting AS s SET mode = NULL WHERE s.subject = coalesce(reset_mode.subject, '');
    PERFORM bump_schema_version();
    RETURN former;
END
$$;
COMMENT ON FUNCTION streamhouse.reset_mode IS
    'Lets a subject have the common mode again, or makes that READWRITE; returns the former. Raises SH409';

CREATE FUNCTION streamhouse.get_mode(subject text DEFAULT NULL, effective boolean DEFAULT true) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    own text;
BEGIN
    SELECT s.mode INTO own FROM schema_setting AS s WHERE s.subject = coalesce(get_mode.subject, '');
    IF own IS NULL AND NOT get_mode.effective THEN
        RAISE EXCEPTION 'subject "%" has no mode of its own', get_mode.subject
            USING ERRCODE = 'SH409', HINT = 'Set it with streamhouse.set_mode().';
    END IF;
    RETURN coalesce(own, (effective_setting(coalesce(get_mode.subject, ''))).mode);
END
$$;
COMMENT ON FUNCTION streamhouse.get_mode IS
    'The mode that holds for a subject, or the common one; with effective false only one that was set for '
    'it. Raises SH409';
