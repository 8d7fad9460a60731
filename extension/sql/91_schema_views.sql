-- The schema registry, to browse.

CREATE FUNCTION streamhouse.version_findings(subject text, version int)
RETURNS TABLE (against_version int, direction text, kind text, path text, message text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
    SELECT before.version, f.direction, f.kind, f.path, f.message
    FROM schema_version AS v
    JOIN schema AS s USING (schema_id)
    CROSS JOIN LATERAL (SELECT b.version, b.schema_id FROM schema_version AS b
                        WHERE b.subject = v.subject AND b.version < v.version AND b.state <> 'purged'
                        ORDER BY b.version DESC LIMIT 1) AS before
    CROSS JOIN LATERAL schema_compare_stored(
        true, true, s.type, s.canonical, s.dependency_names,
        ARRAY(SELECT d.canonical FROM unnest(s.dependency_ids) WITH ORDINALITY AS u(id, n)
              JOIN schema AS d ON d.schema_id = u.id ORDER BY u.n),
        ARRAY[before.schema_id], 1000) AS f
    WHERE (v.subject, v.version) = (version_findings.subject, version_findings.version)
$$;
COMMENT ON FUNCTION streamhouse.version_findings IS
    'How a version of a subject is incompatible with the one before it: BACKWARD: it cannot read all of its'
    ' data; FORWARD: that one cannot read all of this one''s';

CREATE VIEW streamhouse.schemas AS
SELECT v.subject, v.version, v.schema_id, s.type, e.compatibility, e.mode, v.state <> 'live' AS deleted,
       (SELECT string_agg(format('%s: %s %s', r.name, r.subject, r.version), ', ' ORDER BY r.ordinal)
        FROM streamhouse.schema_reference AS r WHERE r.schema_id = v.schema_id) AS "references",
       s.record_name, s.canonical AS schema, encode(s.fingerprint, 'hex') AS fingerprint, v.registered_at,
       v.registered_by, v.deleted_at
FROM streamhouse.schema_version AS v
JOIN streamhouse.schema AS s USING (schema_id)
LEFT JOIN streamhouse.schema_setting AS own ON own.subject = v.subject
LEFT JOIN streamhouse.schema_setting AS common ON common.subject = ''
CROSS JOIN LATERAL (SELECT coalesce(own.compatibility, common.compatibility, 'BACKWARD') AS compatibility,
                           coalesce(own.mode, common.mode, 'READWRITE') AS mode) AS e
WHERE v.state <> 'purged'
ORDER BY v.subject, v.version;
COMMENT ON VIEW streamhouse.schemas IS
    'Versions of subjects, deleted ones too as long as they are not deleted for good, with the '
    'compatibility level and mode that hold for the subject';

CREATE VIEW streamhouse.schema_evolution AS
SELECT v.subject, v.version, v.schema_id, before.version AS version_before,
       CASE WHEN before.version IS NULL THEN 'first version'
            WHEN before.schema_id = v.schema_id THEN 'the same schema again'
            WHEN found.findings IS NULL THEN 'compatible both ways'
            WHEN NOT found.is_backward THEN 'backward compatible'
            WHEN NOT found.is_forward THEN 'forward compatible' ELSE 'incompatible' END AS change,
       found.findings, v.state <> 'live' AS deleted, v.registered_at, v.registered_by
FROM streamhouse.schema_version AS v
LEFT JOIN LATERAL (SELECT b.version, b.schema_id FROM streamhouse.schema_version AS b
                   WHERE b.subject = v.subject AND b.version < v.version AND b.state <> 'purged'
                   ORDER BY b.version DESC LIMIT 1) AS before ON true
LEFT JOIN LATERAL (SELECT bool_or(f.direction = 'BACKWARD') AS is_backward,
                          bool_or(f.direction = 'FORWARD') AS is_forward,
                          string_agg(format('%s %s at %s: %s', f.direction, f.kind, f.path, f.message), E'\n')
                              AS findings
                   FROM streamhouse.version_findings(v.subject, v.version) AS f
                   WHERE before.schema_id <> v.schema_id) AS found ON true
WHERE v.state <> 'purged'
ORDER BY v.subject, v.version;
COMMENT ON VIEW streamhouse.schema_evolution IS
    'What each version of a subject changed: whether it reads the data of the version before it (backward) '
    'and that one its data (forward), every reason why not, and who registered it when. schema_diff() shows'
    ' the lines';

CREATE VIEW streamhouse.schema_topics AS
SELECT t.name AS topic, part.part, part.strategy, part.validation, s.subject,
       (SELECT max(v.version) FROM streamhouse.schema_version AS v
        WHERE v.subject = s.subject AND v.state = 'live') AS latest_version, t.topic_id
FROM streamhouse.topic AS t
CROSS JOIN LATERAL (VALUES ('key', t.key_validation, t.key_subject_strategy),
                           ('value', t.value_validation, t.value_subject_strategy))
    AS part(part, validation, strategy)
LEFT JOIN LATERAL (
    SELECT t.name || '-' || part.part AS subject WHERE part.strategy = 'topic'
    UNION ALL
    SELECT k.subject FROM streamhouse.schema_subject AS k
    WHERE part.strategy = 'topic-record' AND starts_with(k.subject, t.name || '-')
    UNION
    SELECT DISTINCT v.subject FROM streamhouse.schema_seen AS seen
    JOIN streamhouse.schema_version AS v USING (schema_id)
    JOIN streamhouse.schema AS c USING (schema_id)
    WHERE part.strategy = 'record' AND seen.topic_id = t.topic_id AND v.subject = c.record_name
) AS s ON true
WHERE part.validation <> 'none' OR part.strategy <> 'topic'
   OR EXISTS (SELECT FROM streamhouse.schema_version AS v WHERE v.subject = s.subject AND v.state <> 'purged')
ORDER BY t.name, part.part, s.subject;
COMMENT ON VIEW streamhouse.schema_topics IS
    'Which subjects the keys and values of a topic go by, and whether agents check it. With the strategy '
    'record: those whose schemas were seen in the topic';

CREATE VIEW streamhouse.schema_usage AS
SELECT seen.schema_id,
       (SELECT array_agg(DISTINCT v.subject ORDER BY v.subject) FROM streamhouse.schema_version AS v
        WHERE v.schema_id = seen.schema_id AND v.state <> 'purged') AS subjects,
       t.name AS topic, seen.last_seen, seen.topic_id
FROM streamhouse.schema_seen AS seen
JOIN streamhouse.topic AS t USING (topic_id)
ORDER BY seen.schema_id, t.name;
COMMENT ON VIEW streamhouse.schema_usage IS
    'When agents last saw which schema''s id in the records of which topic';
