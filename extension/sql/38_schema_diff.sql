-- Two versions of a subject, line by line.

CREATE FUNCTION streamhouse.schema_pretty(type text, schema text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_schema_pretty';
COMMENT ON FUNCTION streamhouse.schema_pretty IS
    'A schema''s text for people: JSON with one member on each line, in the order they have; Protobuf as it'
    ' is';

CREATE FUNCTION streamhouse.text_diff(before text, after text)
RETURNS TABLE (change "char", line text)
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_text_diff';
COMMENT ON FUNCTION streamhouse.text_diff IS
    'Lines that are in both texts (change is a blank), only in the first (-) or only in the second (+)';

CREATE FUNCTION streamhouse.schema_diff(subject text, version_1 text, version_2 text DEFAULT 'latest')
RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    first  registered_schema := get_schema(subject, version_1, true);
    second registered_schema := get_schema(subject, version_2, true);
BEGIN
    -- What a schema refers to stands above its text, a line each.
    RETURN QUERY
    SELECT d.change::text || ' ' || d.line
    FROM text_diff(schema_lines(first), schema_lines(second)) WITH ORDINALITY AS d(change, line, n)
    ORDER BY d.n;
END
$$;
COMMENT ON FUNCTION streamhouse.schema_diff(text, text, text) IS
    'How a version of a subject differs from another, the latest unless it is given, line by line: "-" is '
    'only in the first, "+" only in the second. Deleted versions too. Raises SH202, SH401 or SH402';

CREATE FUNCTION streamhouse.schema_diff(subject text, version_1 bigint, version_2 bigint) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$ SELECT schema_diff($1, $2::text, $3::text) $$;
COMMENT ON FUNCTION streamhouse.schema_diff(text, bigint, bigint) IS 'As with the versions as text';

CREATE FUNCTION streamhouse.schema_lines(version streamhouse.registered_schema) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT coalesce(string_agg(format('reference %s: %s version %s', r ->> 'name', r ->> 'subject',
                                      r ->> 'version') || E'\n', '' ORDER BY n), '')
           || schema_pretty((schema_lines.version).type, (schema_lines.version).schema)
    FROM jsonb_array_elements((schema_lines.version)."references") WITH ORDINALITY AS u(r, n)
$$;
COMMENT ON FUNCTION streamhouse.schema_lines IS 'The lines of which schema_diff speaks: references and text';
