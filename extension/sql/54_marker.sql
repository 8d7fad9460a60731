-- The marker in the store: a chain of small numbered objects, each made by whoever holds the chain, so that two
-- databases that work with one store (an original and its copy, or two clusters) find out about each other. Neither
-- may delete then. docs/internals/marker.md has the argument.

CREATE FUNCTION streamhouse.marker_interval_ms() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_marker_interval_ms';
CREATE FUNCTION streamhouse.require_store_marker() RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_require_store_marker';
COMMENT ON FUNCTION streamhouse.marker_interval_ms IS 'The setting streamhouse.marker_interval in milliseconds';
COMMENT ON FUNCTION streamhouse.require_store_marker IS 'The setting streamhouse.require_store_marker';

CREATE FUNCTION streamhouse.marker_span(intervals int) RETURNS interval
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT intervals * marker_interval_ms() * interval '1 millisecond' $$;
COMMENT ON FUNCTION streamhouse.marker_span IS 'So many times streamhouse.marker_interval';

CREATE FUNCTION streamhouse.is_marker_fresh(marker streamhouse.store_marker) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT coalesce(marker.confirmed_at > now() - marker_span(3) AND marker.confirmed_at <= clock_timestamp()
                    AND marker.confirmed_ms BETWEEN m.now_ms - 3 * marker_interval_ms() AND m.now_ms, false)
    FROM (SELECT monotonic_ms()) AS m(now_ms)
$$;
COMMENT ON FUNCTION streamhouse.is_marker_fresh IS
    'True when the last renewal is younger than three intervals, by both clocks: the wall clock may be turned, the '
    'monotonic one begins anew with the machine. Where they disagree the chain counts as broken';

CREATE FUNCTION streamhouse.marker_held() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT NOT require_store_marker()
           OR EXISTS (SELECT FROM store_marker AS m
                      WHERE m.contested_by IS NULL AND is_marker_fresh(m)
                        AND m.confirmed_at >= m.held_since + marker_span(2)
                        AND m.confirmed_ms >= m.held_since_ms + 2 * marker_interval_ms())
$$;
COMMENT ON FUNCTION streamhouse.marker_held IS
    'True when this database has held the chain of markers long enough for every other one that is alive to have '
    'objected, and has lately seen that none did';

CREATE FUNCTION streamhouse.marker_take_over() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    INSERT INTO store_marker (number) VALUES (NULL)
    ON CONFLICT (one_row) DO UPDATE
    SET number = NULL, nonce = NULL, next_nonce = NULL, held_since = NULL, confirmed_at = NULL,
        held_since_ms = NULL, confirmed_ms = NULL, contested_by = NULL
$$;
COMMENT ON FUNCTION streamhouse.marker_take_over IS
    'Has a database of a new term take the chain of markers over from whoever held it, once the term is settled';

CREATE FUNCTION streamhouse.agent_marker_due(incarnation bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    INSERT INTO store_marker DEFAULT VALUES ON CONFLICT DO NOTHING;
    UPDATE store_marker AS m
    SET claimed_by = agent_marker_due.incarnation, claimed_until = now() + interval '30 seconds'
    WHERE require_store_marker() AND m.contested_by IS NULL AND history_is_whole()
      AND (NOT is_marker_fresh(m) OR m.confirmed_at <= now() - marker_span(1))
      AND (m.claimed_by = agent_marker_due.incarnation OR is_claim_over(m.claimed_by, m.claimed_until));
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_marker_due IS
    'True when the agent is to look at the markers in the store and to make the next one; not before a new term is '
    'settled, so that a clone does not take the chain from the original. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.marker_contest(highest bigint, term bigint, cluster_id uuid, is_foreign boolean, why text)
RETURNS TABLE (action text, number bigint, body text)
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    cluster cluster;
BEGIN
    SELECT * INTO cluster FROM cluster AS c;
    UPDATE store_marker AS m SET contested_by = why, held_since = NULL, claimed_by = NULL;
    -- A later term of this cluster has decided: it is not objected to.
    RETURN QUERY SELECT CASE WHEN is_foreign AND (marker_contest.term <= cluster.term
                                                  OR marker_contest.cluster_id <> cluster.cluster_id)
                             THEN 'contest' ELSE 'contested' END, highest, why;
END
$$;
COMMENT ON FUNCTION streamhouse.marker_contest IS
    'Notes that somebody else works with the store, and says whether to object to the highest marker';

CREATE FUNCTION streamhouse.agent_marker_next(incarnation bigint, highest bigint, nonce uuid, term bigint,
                                              cluster_id uuid, contested bigint)
RETURNS TABLE (action text, number bigint, body text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    own         store_marker;
    foreign_one boolean;
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    SELECT * INTO own FROM store_marker FOR UPDATE;
    IF own.claimed_by IS DISTINCT FROM incarnation OR own.contested_by IS NOT NULL THEN
        RETURN QUERY SELECT 'none', 0::bigint, '';
        RETURN;
    END IF;
    IF highest = own.number + 1 AND nonce = own.next_nonce AND contested <= own.contest_floor THEN
        -- Ours: the answer was lost. A copy of this database may think so too; the next marker tells them apart.
        UPDATE store_marker AS m SET number = highest, nonce = agent_marker_next.nonce, next_nonce = NULL,
                                     held_since = now(), confirmed_at = now(), held_since_ms = monotonic_ms(),
                                     confirmed_ms = monotonic_ms(), claimed_by = NULL;
        RETURN QUERY SELECT 'none', 0::bigint, '';
        RETURN;
    END IF;
    foreign_one := highest > own.number OR highest = own.number AND nonce IS DISTINCT FROM own.nonce;
    IF foreign_one OR highest < own.number OR own.number IS NOT NULL AND contested > own.contest_floor THEN
        RETURN QUERY SELECT * FROM marker_contest(highest, agent_marker_next.term, agent_marker_next.cluster_id, foreign_one,
            CASE WHEN foreign_one THEN format('marker %s of cluster %s, term %s', highest, agent_marker_next.cluster_id,
                                              agent_marker_next.term)
                 WHEN highest < own.number THEN format('the markers up to %s are gone from the store', own.number)
                 ELSE 'another database has objected to marker ' || contested END);
        RETURN;
    END IF;
    UPDATE store_marker AS m
    SET number = highest, nonce = agent_marker_next.nonce, next_nonce = gen_random_uuid(),
        contest_floor = CASE WHEN own.number IS NULL THEN greatest(highest, contested) ELSE m.contest_floor END
    RETURNING * INTO own;
    RETURN QUERY SELECT 'put', highest + 1, format(E'streamhouse marker %s %s %s %s\n', highest + 1, c.cluster_id, c.term,
                                                   own.next_nonce)
    FROM cluster AS c;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_marker_next IS
    'Told the highest marker in the store (0: none, with its nonce, term and cluster) and the highest that was objected '
    'to (-1: none), says what to do: put (make marker "number" with this body, if there is none), contest (object to marker '
    '"number"), contested or none (nothing). Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_marker_confirm(incarnation bigint, made bigint, highest bigint, nonce uuid, term bigint,
                                                 cluster_id uuid, contested bigint)
RETURNS TABLE (action text, number bigint, body text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    own     store_marker;
    goes_on boolean;
BEGIN
    PERFORM agent_enter_beside(incarnation);
    PERFORM check_history();
    SELECT * INTO own FROM store_marker FOR UPDATE;
    goes_on := is_marker_fresh(own) AND own.held_since IS NOT NULL;
    IF own.claimed_by IS DISTINCT FROM incarnation OR own.contested_by IS NOT NULL OR own.number IS DISTINCT FROM made - 1 THEN
        RETURN QUERY SELECT 'none', 0::bigint, '';
    ELSIF highest <> made OR nonce IS DISTINCT FROM own.next_nonce THEN
        RETURN QUERY SELECT * FROM marker_contest(highest, agent_marker_confirm.term, agent_marker_confirm.cluster_id,
            highest >= made, format('marker %s of cluster %s, term %s', highest, agent_marker_confirm.cluster_id,
                                    agent_marker_confirm.term));
    ELSIF contested > own.contest_floor THEN
        RETURN QUERY SELECT * FROM marker_contest(highest, agent_marker_confirm.term, agent_marker_confirm.cluster_id,
            false, 'another database has objected to marker ' || contested);
    ELSE
        UPDATE store_marker AS m
        SET number = made, nonce = own.next_nonce, next_nonce = NULL, claimed_by = NULL, confirmed_at = now(),
            confirmed_ms = monotonic_ms(),
            held_since = CASE WHEN goes_on THEN own.held_since ELSE now() END,
            held_since_ms = CASE WHEN goes_on THEN own.held_since_ms ELSE monotonic_ms() END;
        RETURN QUERY SELECT 'held', made, '';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_marker_confirm IS
    'After marker "made" was put: told what is the highest now, as agent_marker_next, notes that the chain is held. Says '
    'held, none (the claim was over), contest or contested. Raises SH001, SH002, SH003';

CREATE VIEW streamhouse.store_marker_status AS
SELECT m.number, m.confirmed_at, m.held_since, m.contested_by, streamhouse.marker_held() AS may_delete,
       CASE WHEN NOT streamhouse.require_store_marker() THEN 'not asked for: streamhouse.require_store_marker is off'
            WHEN m.contested_by IS NOT NULL THEN
                'another database works with this store: nothing is deleted. On the one that is right: new_term(); '
                'two clusters need a store_dir or s3_prefix each'
            WHEN streamhouse.marker_held() THEN 'held'
            WHEN NOT streamhouse.is_marker_fresh(m) THEN
                'no agent has renewed it lately: nothing is deleted'
            ELSE 'held for a short time: nothing is deleted yet' END AS status
FROM streamhouse.store_marker AS m;
COMMENT ON VIEW streamhouse.store_marker_status IS
    'The marker in the store: whether this database alone works with it, and so may delete objects';
