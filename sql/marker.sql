-- The chain of markers in the store: who holds it may delete, and nobody may once two databases have met.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SET streamhouse.require_store_marker = on;
SET streamhouse.marker_interval = '10s';
SELECT register('a', 1) AS a \gset
SELECT register('b', 2) AS b \gset
CREATE TEMP TABLE step (action text, number bigint, body text);
-- What an agent of this database finds in the store: its own last marker, or somebody else's.
CREATE FUNCTION pg_temp.look(agent bigint, highest bigint, nonce uuid, contested bigint DEFAULT -1, term bigint DEFAULT 1,
                             cluster uuid DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    told record;
BEGIN
    SELECT * INTO told FROM streamhouse.agent_marker_next(agent, highest, nonce, term,
        coalesce(cluster, (SELECT cluster_id FROM streamhouse.cluster)), contested);
    RETURN told.action || ' ' || told.number;
END $$;
CREATE FUNCTION pg_temp.renew_once(agent bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    own record;
    done text;
BEGIN
    IF NOT streamhouse.agent_marker_due(agent) THEN
        RETURN 'not due';
    END IF;
    SELECT * INTO own FROM streamhouse.store_marker;
    done := pg_temp.look(agent, own.number, own.nonce);
    SELECT * INTO own FROM streamhouse.store_marker;
    RETURN done || ' ' || action FROM streamhouse.agent_marker_confirm(
        agent, own.number + 1, own.number + 1, own.next_nonce, 1, (SELECT cluster_id FROM streamhouse.cluster), -1);
END $$;
CREATE FUNCTION pg_temp.pass(seconds int) RETURNS void LANGUAGE sql AS $$
    UPDATE streamhouse.store_marker SET held_since = held_since - make_interval(secs => seconds),
        confirmed_at = confirmed_at - make_interval(secs => seconds),
        held_since_ms = held_since_ms - 1000 * seconds, confirmed_ms = confirmed_ms - 1000 * seconds
$$;

SELECT streamhouse.deletion_allowed();
SELECT status FROM streamhouse.store_marker_status;
SELECT pg_temp.renew_once(:a);
SELECT pg_temp.renew_once(:a), pg_temp.renew_once(:b);
SELECT number, status FROM streamhouse.store_marker_status;
-- Two intervals after the first one, but not with the second.
SELECT pg_temp.pass(11);
SELECT pg_temp.renew_once(:b);
SELECT streamhouse.deletion_allowed();
SELECT pg_temp.pass(11);
SELECT pg_temp.renew_once(:a);
SELECT streamhouse.deletion_allowed();
SELECT number, may_delete, status FROM streamhouse.store_marker_status;
-- While it is due, one agent looks.
SELECT pg_temp.pass(11);
SELECT streamhouse.agent_marker_due(:a), streamhouse.agent_marker_due(:b), streamhouse.agent_marker_due(:a);
SELECT action FROM streamhouse.agent_marker_next(:b, 3, NULL, 1, NULL, -1);
-- A wall clock that is turned, back or on, and a machine that was started anew, break the chain: it is renewed at once, and
-- has to be held anew.
CREATE FUNCTION pg_temp.turn(wall interval, monotonic_s int) RETURNS TABLE (held boolean, due boolean) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE streamhouse.store_marker SET held_since = held_since - wall, confirmed_at = confirmed_at - wall,
        held_since_ms = held_since_ms - 1000 * monotonic_s, confirmed_ms = confirmed_ms - 1000 * monotonic_s,
        claimed_by = NULL;
    RETURN QUERY SELECT streamhouse.marker_held(), streamhouse.agent_marker_due((SELECT incarnation_id FROM streamhouse.agent
                                                                                 WHERE agent_id = 'a'));
END $$;
BEGIN;
SELECT * FROM pg_temp.turn('0', 0);
SELECT * FROM pg_temp.turn('-30 minutes', 0);
ROLLBACK;
BEGIN;
SELECT * FROM pg_temp.turn('15 seconds', 0);
SELECT pg_temp.renew_once(:a);
SELECT streamhouse.marker_held();
UPDATE streamhouse.store_marker SET held_since_ms = confirmed_ms - 5000; -- by that one it has been held for 5 s
SELECT streamhouse.marker_held();
ROLLBACK;
BEGIN;
SELECT * FROM pg_temp.turn('0', -3600);
SELECT pg_temp.renew_once(:a);
SELECT held_since = confirmed_at AS anew, streamhouse.marker_held() FROM streamhouse.store_marker;
ROLLBACK;
-- Without renewals the right to delete ends, and is not back at once.
SELECT pg_temp.pass(30);
SELECT streamhouse.deletion_allowed(), status FROM streamhouse.store_marker_status;
SELECT pg_temp.renew_once(:a);
SELECT streamhouse.deletion_allowed();

-- A lost answer: the marker is there, with the nonce that was to come. A copy may think so too, so it counts from now.
SELECT pg_temp.pass(11);
SELECT streamhouse.agent_marker_due(:a);
SELECT number, nonce FROM streamhouse.store_marker \gset
SELECT pg_temp.look(:a, :number, :'nonce');
SELECT next_nonce FROM streamhouse.store_marker \gset
SELECT pg_temp.look(:a, :number + 1, :'next_nonce');
SELECT number, held_since = confirmed_at AS anew, streamhouse.deletion_allowed() FROM streamhouse.store_marker;

-- Somebody else: with a marker that is not ours, with an objection, with all markers gone, between the two looks.
CREATE FUNCTION pg_temp.meet(agent bigint, highest bigint, nonce uuid, contested bigint, term bigint DEFAULT 1,
                             cluster uuid DEFAULT NULL) RETURNS TABLE (told text, met text) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE streamhouse.store_marker AS m SET confirmed_at = now() - interval '11 s',
        confirmed_ms = streamhouse.monotonic_ms() - 11000, contested_by = NULL;
    PERFORM streamhouse.agent_marker_due(agent);
    told := pg_temp.look(agent, highest, nonce, contested, term, cluster);
    SELECT replace(contested_by, (SELECT cluster_id::text FROM streamhouse.cluster), 'OURS') INTO met
    FROM streamhouse.store_marker;
    RETURN NEXT;
END $$;
SELECT number, nonce FROM streamhouse.store_marker \gset
SELECT * FROM pg_temp.meet(:a, :number + 1, wal(7), -1);
SELECT streamhouse.deletion_allowed(), status FROM streamhouse.store_marker_status;
SELECT streamhouse.agent_marker_due(:a);
SELECT * FROM pg_temp.meet(:a, :number, wal(7), -1);
SELECT * FROM pg_temp.meet(:a, :number, :'nonce', :number);
SELECT * FROM pg_temp.meet(:a, 0, NULL, -1);
SELECT * FROM pg_temp.meet(:a, :number + 5, wal(7), -1, 2);
SELECT * FROM pg_temp.meet(:a, :number + 5, wal(7), -1, 2, wal(9));
SELECT * FROM pg_temp.meet(:a, :number, :'nonce', -1);
SELECT action, number, body FROM streamhouse.agent_marker_confirm(:a, :number + 1, :number + 2, wal(7), 1, wal(9), -1);
SELECT contested_by FROM streamhouse.store_marker;

-- The operator decides: a new term takes the chain over, whatever stands there, and objections up to now are settled.
SELECT streamhouse.new_term();
SELECT number, contested_by FROM streamhouse.store_marker;
SELECT register('a', 3) AS a \gset
SELECT streamhouse.agent_marker_due(:a); -- a clone, too, begins a term; not before it is settled
SELECT streamhouse.accept_term_boundary(allow_deletion => true);
SELECT streamhouse.agent_marker_due(:a);
SELECT pg_temp.look(:a, 40, wal(7), 40);
SELECT number, contest_floor FROM streamhouse.store_marker;
SELECT c.action FROM streamhouse.store_marker, streamhouse.agent_marker_confirm(:a, 41, 41, next_nonce, 2, wal(9), 40) AS c;
SELECT * FROM pg_temp.meet(:a, 41, (SELECT nonce FROM streamhouse.store_marker), 41, 2);

-- Off: as before there were any.
SET streamhouse.require_store_marker = off;
SELECT streamhouse.agent_marker_due(:a), streamhouse.marker_held(), status FROM streamhouse.store_marker_status;

-- What an agent is told when it renews its lease, or looks after the marker, too seldom.
SET streamhouse.require_store_marker = on;
SET streamhouse.marker_interval = '1s';
SET streamhouse.lease_ticks = 10;
SELECT a FROM streamhouse.agent_advice(1, 5 * streamhouse.tick_interval_ms(), 3000) AS a WHERE a ~ 'lease runs out|marker';
SELECT regexp_replace(a, '\d+', 'N', 'g') AS told FROM streamhouse.agent_advice(1, 6 * streamhouse.tick_interval_ms(), 3001) AS a
WHERE a ~ 'lease runs out|marker';
SET streamhouse.require_store_marker = off;
SELECT a FROM streamhouse.agent_advice(1, 1, 3001) AS a WHERE a ~ 'lease runs out|marker';
