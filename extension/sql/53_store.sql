-- Which store is the cluster's. Its first agent puts a small object there, store/identity, and tells its number here: an agent
-- that brings another store (a mistyped bucket, prefix or directory) is refused before it registers.

CREATE FUNCTION streamhouse.agent_store(seen uuid, place text) RETURNS TABLE (store_id uuid, store_place text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    known cluster;
BEGIN
    PERFORM begin_decision();
    SELECT * INTO known FROM cluster;
    IF seen IS NOT NULL AND known.store_id IS NULL THEN
        known := control_lock();
        IF known.store_id IS NULL THEN
            UPDATE cluster SET store_id = seen, store_place = left(place, 120) RETURNING * INTO known;
        END IF;
    END IF;
    RETURN QUERY SELECT known.store_id, known.store_place WHERE known.store_id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_store IS
    'The number of the cluster''s store and where it was first seen; no row while it has none. An agent that starts tells the '
    'number that it has "seen" in its own store, and that of a cluster without one is from then on the cluster''s';

CREATE FUNCTION streamhouse.forget_store() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    live text;
BEGIN
    PERFORM control_lock();
    SELECT string_agg(quote_ident(a.agent_id), ', ' ORDER BY a.agent_id) INTO live FROM live_agent AS a;
    IF live IS NOT NULL THEN
        RAISE EXCEPTION 'agents are live: %', live
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  DETAIL = 'They work with the store that would be forgotten.', HINT = 'Stop all agents first.';
    END IF;
    UPDATE cluster SET store_id = NULL, store_place = NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.forget_store IS
    'Has the next agent that starts say which store is the cluster''s, whatever was said before: for a first agent that was '
    'started with a mistyped store, or a store whose object store/identity was lost. Refused while agents are live';
