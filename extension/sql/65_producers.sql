-- Idempotent producers (guarantee G8): their ids, and when these and what is known of them are forgotten.
--
-- Sequences run from 0 to 2^31 - 1 and then from 0 again. A stretch is a run of consecutive sequences at
-- consecutive offsets; (sequence - offset) modulo 2^31 is the same all along it.

CREATE FUNCTION streamhouse.producer_retention() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT interval '7 days' $$;
COMMENT ON FUNCTION streamhouse.producer_retention IS
    'How long a producer that writes no more is remembered in a partition';

CREATE FUNCTION streamhouse.unused_retention() RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT interval '1 hour' $$;
COMMENT ON FUNCTION streamhouse.unused_retention IS
    'How long a producer id is remembered with which no batch has come';

CREATE FUNCTION streamhouse.sequence_distance(a int, b int) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT ((a::bigint - b + (1::bigint << 30)) & 2147483647) - (1::bigint << 30) $$;
COMMENT ON FUNCTION streamhouse.sequence_distance IS
    'How far sequence a lies behind b, the shorter way round; negative: before it';

CREATE FUNCTION streamhouse.sequences_before(base_sequence int, sequence_count int, sequence int) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT greatest(0, least(sequence_count, sequence_distance(sequence, base_sequence)))::int $$;
COMMENT ON FUNCTION streamhouse.sequences_before IS
    'How many of consecutive sequences lie before another: none, all, or those at their front';

CREATE FUNCTION streamhouse.producer_term(term bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT term & 2047 $$;
COMMENT ON FUNCTION streamhouse.producer_term IS
    'What of a term stands in the high bits of producer ids, above 52 random ones';

CREATE FUNCTION streamhouse.producers_counted() RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT n.last_value - (NOT n.is_called)::int - e.forgotten
    FROM streamhouse.producer_number AS n, streamhouse.producer_expiry AS e
$$;
COMMENT ON FUNCTION streamhouse.producers_counted IS
    'About how many producers are remembered, without counting them';

CREATE FUNCTION streamhouse.check_lease(incarnation bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
BEGIN
    PERFORM begin_decision();
    IF NOT EXISTS (SELECT FROM held_lease(check_lease.incarnation)) THEN
        PERFORM agent_enter(incarnation);
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_lease IS
    'Begins a decision, and raises what agent_enter does for an incarnation that holds no lease, but locks nothing of '
    'one that does: for calls of clients, which must not come between an agent and its heartbeats';

CREATE FUNCTION streamhouse.newest_unsettled_term() RETURNS streamhouse.term
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT t FROM streamhouse.term AS t
    WHERE t.settled_at IS NULL AND t.began_at > streamhouse.time_ago(streamhouse.producer_retention())
    ORDER BY t.term DESC LIMIT 1
$$;
COMMENT ON FUNCTION streamhouse.newest_unsettled_term IS
    'The term of which logs may still come that hold batches of older ids, for as long as producers are remembered; else null';

CREATE FUNCTION streamhouse.forget_ids(having_batches boolean, before timestamptz, rows_max int,
                                       since timestamptz DEFAULT '-infinity', OUT seen int, OUT gone int,
                                       OUT last_used_at timestamptz)
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    -- That a batch had come with an older id may be forgotten as well.
    unsettled term        := CASE WHEN NOT having_batches THEN newest_unsettled_term() END;
    from_time timestamptz := greatest(since, unsettled.began_at);
    from_id   bigint      := coalesce(producer_term(unsettled.term) << 52, 0);
    -- Unused ids that were given before the clock was turned back would be young for long.
    ahead     timestamptz := CASE WHEN having_batches OR since > '-infinity' THEN 'infinity'
                                  ELSE clock_timestamp() + clock_tolerance() END;
BEGIN
    WITH old AS MATERIALIZED (
        SELECT p.producer_id, p.used_at FROM producer AS p
        WHERE p.has_batches = having_batches AND p.used_at >= from_time AND p.used_at < before AND p.producer_id >= from_id
        ORDER BY p.used_at LIMIT rows_max FOR UPDATE SKIP LOCKED
    ), young AS MATERIALIZED (
        SELECT p.producer_id FROM producer AS p
        WHERE p.has_batches = having_batches AND p.used_at > ahead AND p.used_at >= before AND p.producer_id >= from_id
        ORDER BY p.used_at LIMIT rows_max - (SELECT count(*) FROM old) FOR UPDATE SKIP LOCKED
    ), picked AS MATERIALIZED (
        -- An id that has state is used, whoever took it in. One look into the index for each.
        SELECT o.producer_id, s.producer_id IS NOT NULL AS has_state
        FROM (SELECT producer_id FROM old UNION ALL SELECT producer_id FROM young) AS o
        LEFT JOIN LATERAL (SELECT s.producer_id FROM producer_state AS s
                           WHERE s.producer_id + 0 = o.producer_id LIMIT 1) AS s ON true
    ), deleted AS (
        DELETE FROM producer AS p USING picked AS o WHERE p.producer_id = o.producer_id AND NOT o.has_state
        RETURNING p.producer_id
    ), kept AS (
        UPDATE producer AS p SET used_at = now(), has_batches = true FROM picked AS o
        WHERE p.producer_id = o.producer_id AND o.has_state
    )
    SELECT count(*), (SELECT count(*) FROM deleted), (SELECT max(used_at) FROM old) INTO seen, gone, last_used_at
    FROM picked;
END
$$;
COMMENT ON FUNCTION streamhouse.forget_ids IS
    'Forgets ids, with batches or without, that were last asked for between two times, the oldest first: looks at so many, '
    'and leaves those that have state. Ids without batches that are of before an unsettled term stay. Nobody is waited for';

CREATE FUNCTION streamhouse.make_room_for_id() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    -- Who was given one a moment ago is about to write.
    before    timestamptz := time_ago(interval '10 seconds');
    since     timestamptz;
    forgotten record;
BEGIN
    -- While a snapshot is open, what was forgotten before stays in the index, and is not read again for each id.
    SELECT 'epoch'::timestamptz + r.last_value * interval '1 microsecond' INTO since FROM producer_room AS r;
    FOR n IN 1 .. 10 LOOP
        SELECT * INTO forgotten FROM forget_ids(false, before, 1, since);
        EXIT WHEN forgotten.gone > 0 OR (forgotten.seen = 0 AND since = '-infinity');
        IF forgotten.seen = 0 THEN
            since := '-infinity';
        END IF;
    END LOOP;
    PERFORM setval('producer_room', (extract(epoch FROM forgotten.last_used_at) * 1000000)::bigint)
    WHERE forgotten.last_used_at > 'epoch';
    RETURN forgotten.gone > 0;
END
$$;
COMMENT ON FUNCTION streamhouse.make_room_for_id IS
    'Forgets the id that was given longest ago of those with which no batch has come; false where there is none';

CREATE FUNCTION streamhouse.agent_init_producer(incarnation bigint)
RETURNS TABLE (producer_id bigint, producer_epoch int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    given   bigint;
    is_full boolean;
BEGIN
    PERFORM check_lease(incarnation);
    is_full := producers_counted() >= producers_max();
    IF is_full AND NOT make_room_for_id() THEN
        RAISE EXCEPTION 'as many producers are remembered as may be'
            USING ERRCODE = 'configuration_limit_exceeded',
                  DETAIL = format('They are %s, and streamhouse.producers_max allows %s.', producers_counted(),
                                  producers_max()),
                  HINT = 'One that has not been used for producer_retention() is forgotten.';
    END IF;
    LOOP
        -- Of a random UUID the last 15 digits are random altogether.
        INSERT INTO producer (producer_id)
        SELECT producer_term(c.term) << 52 | ('x' || right(gen_random_uuid()::text, 12)
                                                  || substr(gen_random_uuid()::text, 36))::bit(52)::bigint
        FROM cluster AS c
        ON CONFLICT DO NOTHING
        RETURNING producer.producer_id INTO given;
        EXIT WHEN FOUND;
    END LOOP;
    -- One that takes another's place is no more to count.
    PERFORM nextval('producer_number') WHERE NOT is_full;
    RETURN QUERY SELECT given, 0;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_init_producer IS
    'An id that no producer had before and nobody can guess, the term in its high bits, and its first epoch. At '
    'producers_max() it takes the place of the one that was given longest ago of those with which no batch has come. '
    'Raises SH001, SH002, SH003, 53400';

CREATE FUNCTION streamhouse.may_be_lost(producer_id bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT may_be_lost.producer_id >= 0 AND may_be_lost.producer_id >> 52 < streamhouse.producer_term(c.term)
           AND t.began_at > streamhouse.time_ago(streamhouse.producer_retention())
    FROM streamhouse.cluster AS c JOIN streamhouse.term AS t USING (term)
$$;
COMMENT ON FUNCTION streamhouse.may_be_lost IS
    'Of an id that is not known: may it have been given in an older term, and be forgotten by the database?';

CREATE FUNCTION streamhouse.adopt_producers(producer_ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO producer (producer_id, has_batches)
    SELECT DISTINCT a.producer_id, true
    FROM unnest(producer_ids) AS a(producer_id)
    WHERE NOT EXISTS (SELECT FROM producer AS p WHERE p.producer_id = a.producer_id)
      AND may_be_lost(a.producer_id) AND producers_counted() < producers_max()
    ORDER BY a.producer_id
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM nextval('producer_number');
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.adopt_producers IS
    'Takes ids of an older term for given, as long as producers are remembered after a term has begun: the '
    'database may have lost them, and batches of theirs may be in a WAL or in the store';

CREATE FUNCTION streamhouse.use_producers(producer_ids bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM adopt_producers(producer_ids);
    -- Who forgets one just now is waited for: the statement after this sees that it is gone.
    UPDATE producer AS p SET used_at = now(), has_batches = true
    WHERE p.producer_id IN (SELECT o.producer_id FROM producer AS o
                            WHERE o.producer_id = ANY (producer_ids)
                              AND (NOT o.has_batches OR o.used_at < now() - interval '1 hour')
                            ORDER BY o.producer_id FOR UPDATE);
END
$$;
COMMENT ON FUNCTION streamhouse.use_producers IS
    'Before batches of producers are taken in: notes that they may have come, so that their ids are remembered for '
    'producer_retention(). Ids are locked in their order';

CREATE FUNCTION streamhouse.is_known_id(producer_id bigint, is_found boolean) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT is_found OR CASE WHEN streamhouse.may_be_lost(producer_id) THEN NULL ELSE false END $$;
COMMENT ON FUNCTION streamhouse.is_known_id IS
    'Behind use_producers, whether an id was given: null where it may be one that the database has lost, which was not taken '
    'for given because as many are remembered as may be. Later it may be, with batches that came before';

CREATE FUNCTION streamhouse.agent_lookup_producers(incarnation bigint, topic_ids uuid[], partitions int[],
                                                   producer_ids bigint[])
RETURNS TABLE (ordinal int, is_known boolean, producer_epoch int, base_sequence int, sequence_count int,
               base_offset bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM check_lease(incarnation);
    PERFORM use_producers(producer_ids);
    RETURN QUERY
    SELECT a.ordinal::int, is_known_id(a.producer_id, known.producer_id IS NOT NULL OR p.producer_id IS NOT NULL),
           p.producer_epoch, s.base_sequence, s.sequence_count, s.base_offset
    FROM unnest(topic_ids, partitions, producer_ids) WITH ORDINALITY
         AS a(topic_id, partition, producer_id, ordinal)
    LEFT JOIN producer AS known ON known.producer_id = a.producer_id
    LEFT JOIN LATERAL newest_state(a.topic_id, a.partition, a.producer_id) AS p ON true
    LEFT JOIN LATERAL unnest(p.base_sequences, p.sequence_counts, p.base_offsets) WITH ORDINALITY
        AS s(base_sequence, sequence_count, base_offset, place) ON true
    ORDER BY a.ordinal, s.place;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_lookup_producers IS
    'Of producers that an owner knows nothing of, before it takes a batch of theirs: whether their ids were given '
    '(is_known_id), and what they have published in the partition, stretch by stretch. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.expire_producers(rows_max int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    at     producer_expiry;
    old    timestamptz := time_ago(producer_retention());
    claims int;
    used   record;
    unused record;
BEGIN
    -- One looks at a time, and nobody waits for it.
    SELECT * INTO at FROM producer_expiry FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;

    -- Only claims that nothing can be late for any more.
    DELETE FROM producer_claim AS c
    WHERE c.ctid = ANY (ARRAY(
        SELECT o.ctid FROM producer_claim AS o
        WHERE o.claimed_at < old
          AND NOT EXISTS (SELECT FROM unresolved_epoch AS u
                          WHERE u.topic_id = o.topic_id AND u.partition = o.partition AND u.epoch < o.epoch)
        ORDER BY o.claimed_at LIMIT rows_max FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS claims = ROW_COUNT;

    SELECT * INTO used FROM forget_ids(true, old, rows_max);
    SELECT * INTO unused FROM forget_ids(false, time_ago(unused_retention()), rows_max);
    UPDATE producer_expiry SET forgotten = forgotten + used.gone + unused.gone WHERE used.gone + unused.gone > 0;
    RETURN greatest(claims, used.seen, unused.seen, expire_states(at, rows_max, old));
END
$$;
COMMENT ON FUNCTION streamhouse.expire_producers IS
    'A step of the retention worker: forgets ids that were not used, state that was not written and claims that '
    'were made more than producer_retention() ago, and ids without batches after unused_retention(), and looks at '
    'rows_max rows of each at most. Returns of how many; 0: there is no more to do for now';

CREATE FUNCTION streamhouse.expire_states(at streamhouse.producer_expiry, rows_max int, old timestamptz)
RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    seen int;
    last record;
BEGIN
    -- Once an hour, in the order of the key: an index on updated_at would be written by each publish.
    IF at.topic_id IS NULL AND at.checked_at BETWEEN now() - interval '1 hour' AND now() THEN
        RETURN 0;
    ELSIF at.topic_id IS NULL THEN
        at.topic_id := '00000000-0000-0000-0000-000000000000';
        at.partition := -1;
        at.producer_id := -1;
    END IF;
    SELECT (array_agg(s.topic_id))[count(*)] AS topic_id, (array_agg(s.partition))[count(*)] AS partition,
           (array_agg(s.producer_id))[count(*)] AS producer_id, count(*) AS n
    INTO last
    FROM (SELECT p.topic_id, p.partition, p.producer_id FROM producer_state AS p
          WHERE (p.topic_id, p.partition, p.producer_id) > (at.topic_id, at.partition, at.producer_id)
          ORDER BY p.topic_id, p.partition, p.producer_id LIMIT rows_max) AS s;
    seen := last.n;
    DELETE FROM producer_state AS p
    WHERE p.ctid = ANY (ARRAY(
        SELECT o.ctid FROM producer_state AS o
        WHERE (o.topic_id, o.partition, o.producer_id) > (at.topic_id, at.partition, at.producer_id)
          AND (o.topic_id, o.partition, o.producer_id) <= (last.topic_id, last.partition, last.producer_id)
          AND o.updated_at < old
        ORDER BY o.topic_id, o.partition, o.producer_id FOR UPDATE SKIP LOCKED));
    IF seen = rows_max THEN
        UPDATE producer_expiry
        SET topic_id = last.topic_id, partition = last.partition, producer_id = last.producer_id;
        RETURN seen;
    END IF;
    -- Through. What is counted by differences is counted again.
    UPDATE producer_expiry
    SET topic_id = NULL, partition = NULL, producer_id = NULL, checked_at = now(),
        forgotten = (SELECT n.last_value - (NOT n.is_called)::int FROM producer_number AS n)
                    - (SELECT count(*) FROM producer);
    RETURN 0;
END
$$;
COMMENT ON FUNCTION streamhouse.expire_states IS
    'The part of expire_producers that goes through producer_state; returns how many rows it saw, 0 when it is '
    'through';
