-- Finding times in the index, where times fall as well as rise and parts of the log are removed.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT streamhouse.create_topic('t', partitions => 2) IS NOT NULL AS made;
SELECT register('a', 1) AS a \gset
SELECT take(:a);

CREATE FUNCTION pg_temp.found(partition_no int, times bigint[], from_offsets bigint[]) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(coalesce(f.first_offset::text, '-'), ' ')
    FROM streamhouse.find_timestamps(array_fill(fixture.topic('t'), ARRAY[cardinality(times)]),
                                     array_fill(partition_no, ARRAY[cardinality(times)]), times, from_offsets) AS f
$$;

-- The record that reaches a time is not there any more: what is removed hides nothing, and is not found.
SELECT count(*) FROM publish(:a, 1, '{t 0 0+1,t 0 1+1,t 0 2+1,t 0 3+1,t 0 4+1}', times => '{1000,10,20,30,40}');
SELECT pg_temp.found(0, '{25,41,1000,1001}', '{0,0,0,0}');
SELECT streamhouse.delete_records('t', 0, 1);
SELECT pg_temp.found(0, '{5,25,40,41,1000}', '{0,0,0,0,0}');
SELECT streamhouse.apply_retention();
SELECT pg_temp.found(0, '{5,25,40,41,1000}', '{0,0,0,0,0}');
-- A search that goes on behind what it has looked at.
SELECT pg_temp.found(0, '{5,5,25,25,40}', '{2,3,2,4,5}');
SELECT count(*) FROM publish(:a, 2, '{t 0 5+10}', times => '{500}');
SELECT streamhouse.delete_records('t', 0, 8);
SELECT pg_temp.found(0, '{25,500,501}', '{0,10,0}');

-- The same over random histories, against a look at every row.
CREATE FUNCTION pg_temp.history(incarnation bigint, seed float8) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    next_offset bigint := 0;
    number      bigint;
    runs        text[];
    run_times   bigint[];
    run_count   int;
    asked       bigint;
    start       bigint;
    expected    bigint;
    answered    bigint;
    checks      int := 0;
BEGIN
    PERFORM setseed(seed);
    SELECT coalesce(max(publish_no), 2) INTO number FROM streamhouse.object;
    FOR round IN 1 .. 30 LOOP
        runs := '{}';
        run_times := '{}';
        FOR i IN 1 .. 1 + floor(random() * 4) LOOP
            run_count := 1 + floor(random() * 5)::int;
            runs := runs || format('t 1 %s+%s', next_offset, run_count);
            run_times := run_times || (floor(random() * CASE WHEN random() < 0.1 THEN 5000 ELSE 500 END)::bigint
                                       + round * 20);
            next_offset := next_offset + run_count;
        END LOOP;
        number := number + 1;
        PERFORM fixture.publish(incarnation, number, runs, times => run_times);
        IF random() < 0.2 THEN
            PERFORM fixture.seal(incarnation, '{own}');
            PERFORM fixture.take(incarnation);
        END IF;
        IF random() < 0.3 THEN
            PERFORM streamhouse.delete_records('t', 1, floor(random() * next_offset)::bigint);
        END IF;
        IF random() < 0.3 THEN
            PERFORM streamhouse.apply_retention(1 + floor(random() * 10)::int);
        END IF;
        FOR i IN 1 .. 20 LOOP
            asked := floor(random() * 1500);
            start := CASE WHEN random() < 0.5 THEN 0 ELSE floor(random() * next_offset)::bigint END;
            SELECT greatest(s.first_offset, p.log_start, start) INTO expected
            FROM streamhouse.segment AS s JOIN streamhouse.partition AS p USING (topic_id, partition)
            WHERE s.topic_id = fixture.topic('t') AND s.partition = 1 AND s.max_timestamp_ms >= asked
              AND s.last_offset >= greatest(p.log_start, start)
            ORDER BY s.first_offset LIMIT 1;
            SELECT f.first_offset INTO answered
            FROM streamhouse.find_timestamps(ARRAY[fixture.topic('t')], ARRAY[1], ARRAY[asked], ARRAY[start]) AS f;
            IF answered IS DISTINCT FROM expected THEN
                RAISE EXCEPTION 'time % from %: % instead of %', asked, start, answered, expected;
            END IF;
            checks := checks + 1;
        END LOOP;
    END LOOP;
    RETURN checks || ' right';
END $$;
SELECT pg_temp.history(:a, 0.25);
