-- What is left when the extension is dropped: roles, which belong to the whole server.

CREATE FUNCTION streamhouse.uninstall() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    doomed text;
BEGIN
    DROP EXTENSION streamhouse;
    FOR doomed IN SELECT r.rolname FROM pg_roles AS r
                  WHERE shobj_description(r.oid, 'pg_authid') ~ '^StreamHouse: made as streamhouse_(admin|agent|read)$'
                  ORDER BY r.rolname
    LOOP
        BEGIN
            EXECUTE format('DROP ROLE %I', doomed);
        EXCEPTION WHEN dependent_objects_still_exist THEN
            RAISE NOTICE 'role "%" is kept: it has rights elsewhere, or owns something', doomed;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION streamhouse.uninstall IS
    'Drops the extension with all topics and the index, and the roles that it made, but for those that have rights in '
    'other databases. Only for a superuser, and only while no agent is live';
