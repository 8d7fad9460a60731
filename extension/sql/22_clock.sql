-- Time that has passed, for what expires by age and is gone for good then.
--
-- Ages are told from the wall clock's stamps, and a wall clock can be set: a step of a week ahead makes all that is
-- there a week older at once. So the wall clock is compared with the monotonic one, and by how much it leapt ahead
-- since is remembered: an age that reaches back beyond a leap is less by that much. Nothing is stopped and nobody has
-- to end it: what is stamped behind the leap has its true age, and what was before it goes when its time has really passed.
-- Time that the monotonic clock did not count, because the machine was down, slept, or is another one now, counts as a
-- leap: what is there stays so much longer.

CREATE FUNCTION streamhouse.monotonic_ms() RETURNS bigint
    LANGUAGE c STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_monotonic_ms';
COMMENT ON FUNCTION streamhouse.monotonic_ms IS
    'The server''s monotonic clock in milliseconds: it does not jump, and starts anew with the machine';

CREATE FUNCTION streamhouse.machine_boot() RETURNS text
    LANGUAGE c STABLE STRICT SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_machine_boot';
COMMENT ON FUNCTION streamhouse.machine_boot IS
    'An id of this start of the server''s machine: another one means that its monotonic clock cannot be compared; null: unknown';

CREATE FUNCTION streamhouse.clock_tolerance() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT interval '1 minute' $$;
COMMENT ON FUNCTION streamhouse.clock_tolerance IS
    'How far the wall clock may go ahead of the monotonic one before that counts as a leap';

CREATE FUNCTION streamhouse.is_same_clock(seen streamhouse.server_clock) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT seen.boot IS NOT DISTINCT FROM machine_boot() AND monotonic_ms() >= seen.monotonic_ms $$;
COMMENT ON FUNCTION streamhouse.is_same_clock IS
    'False when the machine has started since, or is another one: its monotonic clock tells nothing then';

CREATE FUNCTION streamhouse.clock_ahead(seen streamhouse.server_clock) RETURNS interval
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT clock_timestamp() - seen.seen_at
           - CASE WHEN is_same_clock(seen) THEN (monotonic_ms() - seen.monotonic_ms) * interval '1 millisecond'
                  ELSE interval '0' END
$$;
COMMENT ON FUNCTION streamhouse.clock_ahead IS
    'How much more the wall clock has gone since it was seen than the monotonic one; negative: it was turned back. Of another '
    'machine, or start of it, no time is known to have passed';

CREATE FUNCTION streamhouse.in_seconds(span interval) RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT justify_hours(make_interval(secs => round(extract(epoch FROM span))::double precision)) $$;
COMMENT ON FUNCTION streamhouse.in_seconds IS 'An interval in days and whole seconds, to be read';

CREATE FUNCTION streamhouse.uncounted(span interval) RETURNS interval
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    seen  server_clock;
    ahead interval;
    point timestamptz := now();
    -- From here back, of the span and of what the wall clock leapt.
    rest  interval := span;
    held  interval := interval '0';
BEGIN
    SELECT * INTO seen FROM server_clock;
    ahead := clock_ahead(seen);
    IF ahead > clock_tolerance() THEN
        held := ahead;
        point := point - ahead;
    END IF;
    FOR i IN REVERSE coalesce(cardinality(seen.leaps), 0) .. 1 LOOP
        EXIT WHEN point - seen.leap_ends[i] >= rest;
        -- A leap that ends later than that was noted when this transaction had begun; or the clock was turned back,
        -- and no round has seen it yet.
        rest := rest - greatest(point - seen.leap_ends[i], interval '0');
        held := held + seen.leaps[i];
        point := least(point, seen.leap_ends[i]) - seen.leaps[i];
    END LOOP;
    RETURN held;
END
$$;
COMMENT ON FUNCTION streamhouse.uncounted IS
    'By how much the wall clock leapt ahead within the last span of time that has really passed: what is to be that old '
    'must have a stamp older by so much';

CREATE FUNCTION streamhouse.time_ago(span interval) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT now() - span - uncounted(span) $$;
COMMENT ON FUNCTION streamhouse.time_ago IS
    'The stamp of what is so old, by the time that has really passed. All that expires by age and cannot be brought back '
    'goes by this';

CREATE FUNCTION streamhouse.note_clock() RETURNS interval
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    leaps_max CONSTANT int := 50;
    seen     server_clock;
    at       timestamptz;
    now_ms   bigint;
    ahead    interval;
    is_step  boolean;
    regained interval := interval '0';
BEGIN
    PERFORM begin_decision();
    SELECT * INTO seen FROM server_clock FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        INSERT INTO server_clock (seen_at, monotonic_ms, boot) VALUES (clock_timestamp(), monotonic_ms(), machine_boot())
        ON CONFLICT DO NOTHING;
        RETURN NULL;
    END IF;
    at := clock_timestamp();
    now_ms := monotonic_ms();
    ahead := clock_ahead(seen);
    IF ahead BETWEEN - clock_tolerance() AND clock_tolerance() THEN
        -- Small differences add up, so that many of them are one large one.
        UPDATE server_clock SET seen_at = at - ahead, monotonic_ms = now_ms, boot = machine_boot();
        RETURN interval '0';
    END IF;
    -- Turned back: leaps that are still to come were undone by that, all or in part.
    WHILE seen.leap_ends[cardinality(seen.leaps)] > at LOOP
        regained := regained + seen.leaps[cardinality(seen.leaps)];
        seen.leap_ends := trim_array(seen.leap_ends, 1);
        seen.leaps := trim_array(seen.leaps, 1);
    END LOOP;
    ahead := regained + ahead;
    IF ahead > clock_tolerance() THEN
        seen.leap_ends := seen.leap_ends || at;
        seen.leaps := seen.leaps || ahead;
    END IF;
    IF cardinality(seen.leaps) > leaps_max THEN
        seen.leaps := (seen.leaps[1] + seen.leaps[2]) || seen.leaps[3:];
        seen.leap_ends := seen.leap_ends[2:];
    END IF;
    -- That a machine was down is no fault of its clock.
    is_step := ahead > clock_tolerance() AND is_same_clock(seen);
    UPDATE server_clock
    SET seen_at = at, monotonic_ms = now_ms, boot = machine_boot(), leap_ends = seen.leap_ends, leaps = seen.leaps,
        stepped_at = CASE WHEN is_step THEN at WHEN seen.stepped_at <= at THEN seen.stepped_at END;
    IF is_step THEN
        RAISE WARNING 'the wall clock of the server leapt ahead by %', in_seconds(ahead)
            USING DETAIL = 'It was set, or the machine slept. What expires by age stays that much longer.',
                  HINT = 'If the clock is wrong now, turn it back. If it was wrong before, nothing is to be done.';
    END IF;
    RETURN ahead;
END
$$;
COMMENT ON FUNCTION streamhouse.note_clock IS
    'The retention worker''s: compares the server''s clocks, and remembers by how much the wall clock leapt ahead; returns '
    'that';

CREATE FUNCTION streamhouse.clock_problem() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT format('the wall clock of the server leapt ahead by %s at about %s. What is older stays that much longer; if the '
                  'clock is wrong, turn it back. Else nothing is to be done, and this line goes at about %s',
                  in_seconds(a.ahead), date_trunc('second', a.at), date_trunc('second', a.at + interval '7 days'))
    FROM (SELECT clock_ahead(c), now() FROM server_clock AS c
          WHERE clock_ahead(c) > clock_tolerance() AND is_same_clock(c)
          UNION ALL
          SELECT l.leap, c.stepped_at FROM server_clock AS c, unnest(c.leap_ends, c.leaps) AS l(ended, leap)
          WHERE l.ended = c.stepped_at AND c.stepped_at BETWEEN now() - interval '7 days' AND clock_timestamp()
         ) AS a(ahead, at)
    LIMIT 1
$$;
COMMENT ON FUNCTION streamhouse.clock_problem IS
    'That the wall clock was set ahead in the last seven days, and what to do; null: it was not';

-- A restored database has another server's clocks.
SELECT pg_catalog.pg_extension_config_dump('streamhouse.server_clock', 'WHERE false');
INSERT INTO streamhouse.server_clock (seen_at, monotonic_ms, boot)
VALUES (clock_timestamp(), streamhouse.monotonic_ms(), streamhouse.machine_boot());
