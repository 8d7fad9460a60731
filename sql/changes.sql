-- What is told as changes since a version adds up to the whole, whatever happened.
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET search_path = fixture;
SELECT renew();

-- What agents know, as they were told. An agent that asks for the whole is counted.
CREATE TABLE fixture.told (agent text, topic_id uuid, partition int, epoch bigint, action text);
CREATE TABLE fixture.heard (topic_id uuid, partition int, name text, durability text, agent_id text, address text,
                            epoch bigint);
CREATE TABLE fixture.known (agent text PRIMARY KEY, wal int, incarnation bigint, version bigint, wholes int DEFAULT 0);
INSERT INTO known (agent, wal) VALUES ('everybody', 0), ('a', 1), ('b', 2), ('c', 3), ('d', 4);

CREATE FUNCTION fixture.listen() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    head record;
BEGIN
    CREATE TEMP TABLE news ON COMMIT DROP AS
        SELECT n.* FROM streamhouse.agent_metadata_changes((SELECT version FROM known WHERE agent = 'everybody')) AS n;
    SELECT version, is_whole INTO head FROM news WHERE version IS NOT NULL;
    DELETE FROM heard AS h WHERE head.is_whole
        OR EXISTS (SELECT FROM news AS n WHERE n.topic_id = h.topic_id AND (n.name IS NULL OR n.partition = h.partition));
    INSERT INTO heard SELECT topic_id, partition, name, durability, agent_id, address, epoch FROM news
    WHERE partition IS NOT NULL AND name IS NOT NULL;
    -- A topic's row tells of its partitions that nobody owns, and of what it is called now.
    INSERT INTO heard SELECT n.topic_id, p, n.name, n.durability FROM news AS n, generate_series(0, n.partition_count - 1) AS p
    WHERE n.partition IS NULL AND n.name IS NOT NULL
      AND NOT EXISTS (SELECT FROM heard AS h WHERE h.topic_id = n.topic_id AND h.partition = p);
    UPDATE heard AS h SET name = n.name, durability = n.durability FROM news AS n
    WHERE n.topic_id = h.topic_id AND n.partition IS NULL;
    UPDATE known SET version = head.version, wholes = wholes + head.is_whole::int WHERE agent = 'everybody';
    DROP TABLE news;
END $$;

CREATE FUNCTION fixture.ask(asked text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    head record;
    who known;
BEGIN
    SELECT * INTO who FROM known WHERE agent = asked;
    CREATE TEMP TABLE news ON COMMIT DROP AS
        SELECT n.* FROM streamhouse.agent_assign_changes(who.incarnation, who.version) AS n;
    SELECT version, is_whole INTO head FROM news WHERE version IS NOT NULL;
    DELETE FROM told AS t WHERE t.agent = asked
        AND (head.is_whole OR EXISTS (SELECT FROM news AS n WHERE (n.topic_id, n.partition) = (t.topic_id, t.partition)));
    INSERT INTO told SELECT asked, topic_id, partition, epoch, action FROM news WHERE version IS NULL AND action <> 'none';
    UPDATE known SET version = head.version, wholes = wholes + head.is_whole::int WHERE agent = asked;
    DROP TABLE news;
END $$;

-- What is known and should not be, or the other way about.
CREATE FUNCTION fixture.wrong(asked text) RETURNS TABLE (what text) LANGUAGE plpgsql AS $$
BEGIN
    IF asked = 'everybody' THEN
        RETURN QUERY
        (SELECT format('heard %s', h) FROM heard AS h EXCEPT SELECT format('heard %s', ROW (m.topic_id, m.partition, m.name,
             m.durability, m.agent_id, m.address, m.epoch)) FROM streamhouse.agent_metadata() AS m)
        UNION ALL
        (SELECT format('missed %s', ROW (m.topic_id, m.partition, m.name, m.durability, m.agent_id, m.address, m.epoch))
         FROM streamhouse.agent_metadata() AS m EXCEPT SELECT format('missed %s', h) FROM heard AS h);
        RETURN;
    END IF;
    RETURN QUERY
    WITH whole AS (SELECT asked, a.topic_id, a.partition, a.epoch, a.action
                   FROM known AS k, streamhouse.agent_assignments(k.incarnation) AS a WHERE k.agent = asked)
    (SELECT format('told %s', t) FROM told AS t WHERE t.agent = asked EXCEPT SELECT format('told %s', w) FROM whole AS w)
    UNION ALL
    (SELECT format('missed %s', w) FROM whole AS w EXCEPT SELECT format('missed %s', t) FROM told AS t);
END $$;

CREATE FUNCTION fixture.start(asked text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    who known;
BEGIN
    SELECT * INTO who FROM known WHERE agent = asked;
    UPDATE known AS k SET version = NULL, incarnation = register(asked, who.wal,
        (SELECT coalesce(max(i.incarnation_no), 0) + 1 FROM streamhouse.incarnation AS i WHERE i.wal_uuid = wal(who.wal)))
    WHERE k.agent = asked;
END $$;

-- One thing that happens. Some cannot, and are refused.
CREATE FUNCTION fixture.happen(n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    lot   int := floor(random() * 20);
    name  text := (ARRAY['t', 'u', 'v'])[1 + floor(random() * 3)];
    who   text := (ARRAY['a', 'b', 'c', 'd'])[1 + floor(random() * 4)];
    agent known;
BEGIN
    SELECT k.* INTO agent FROM known AS k WHERE k.agent = who;
    CASE
        WHEN lot = 0 THEN PERFORM streamhouse.create_topic(name, partitions => 1 + floor(random() * 5)::int);
        WHEN lot = 1 THEN PERFORM streamhouse.create_topic(name, partitions => 3, durability => 'object');
        WHEN lot = 2 THEN PERFORM streamhouse.alter_topic(name, partitions => 6, retention => n * interval '1 hour');
        WHEN lot = 3 THEN PERFORM streamhouse.alter_topic(name, durability => (ARRAY['wal', 'object'])[1 + n % 2]);
        WHEN lot = 4 THEN PERFORM streamhouse.alter_topic(name, orphan_timeout => n * interval '1 second');
        WHEN lot = 5 AND n % 3 = 0 THEN PERFORM streamhouse.drop_topic(name);
        WHEN lot = 6 THEN PERFORM streamhouse.rename_topic(name, name || n % 2);
        WHEN lot = 7 THEN PERFORM streamhouse.set_draining(who, n % 2 = 0);
        WHEN lot = 8 THEN PERFORM streamhouse.force_seal(o.topic, o.partition) FROM streamhouse.orphans AS o LIMIT 1;
        WHEN lot = 9 OR agent.incarnation IS NULL THEN PERFORM start(who);
        WHEN lot = 10 THEN UPDATE streamhouse.lease SET ticks_left = 0 WHERE incarnation_id = agent.incarnation;
        WHEN lot = 11 THEN PERFORM streamhouse.agent_heartbeat(agent.incarnation, 0);
        WHEN lot = 12 THEN PERFORM seal(agent.incarnation, '{recover,release,roll}', n % 2 = 0);
        WHEN lot = 13 AND n % 4 = 0 THEN PERFORM streamhouse.agent_end(agent.incarnation);
        WHEN lot = 14 THEN PERFORM streamhouse.agent_grant(agent.incarnation, array_agg(a.topic_id), array_agg(a.partition))
                           FROM streamhouse.agent_assignments(agent.incarnation) AS a WHERE a.action = 'grant';
        WHEN lot = 15 THEN PERFORM streamhouse.agent_leftover(agent.incarnation, array_agg(e.topic_id),
                                                             array_agg(e.partition), array_agg(e.epoch))
                           FROM streamhouse.epoch AS e WHERE e.forced;
        ELSE PERFORM take(agent.incarnation);
    END CASE;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLERRM;
END $$;

CREATE PROCEDURE fixture.live(steps int) LANGUAGE plpgsql AS $$
DECLARE
    trouble text;
    asked   text;
BEGIN
    FOR n IN 1 .. steps LOOP
        trouble := happen(n);
        -- As the lease worker does.
        IF streamhouse.agents_changed() THEN
            PERFORM streamhouse.rebalance();
        END IF;
        -- Not everybody asks each time.
        FOR asked IN SELECT k.agent FROM known AS k WHERE random() < 0.5 LOOP
            BEGIN
                IF asked = 'everybody' THEN
                    PERFORM listen();
                ELSE
                    PERFORM ask(asked);
                END IF;
            EXCEPTION WHEN SQLSTATE 'SH001' OR SQLSTATE 'SH002' THEN
                DELETE FROM told AS t WHERE t.agent = asked; -- it has to start first
                CONTINUE;
            END;
            FOR trouble IN SELECT format('step %s, %s: %s', n, asked, w.what) FROM wrong(asked) AS w LOOP
                RAISE WARNING '%', trouble;
            END LOOP;
        END LOOP;
    END LOOP;
END $$;
SET client_min_messages = warning;
SELECT setseed(0.25);
CALL live(40);
SELECT setseed(0.75);
CALL live(40);
SELECT agent FROM known WHERE wholes > 1 AND agent = 'everybody';
SELECT count(*) > 50 AS many FROM streamhouse.control_change;

-- What was pruned is told as a whole.
SELECT streamhouse.prune_control_changes(10) > 0 AS pruned;
SELECT count(*) < 50 AS few, max(version) = streamhouse.metadata_version() AS newest FROM streamhouse.control_change;
SELECT is_whole FROM streamhouse.agent_metadata_changes(5) WHERE version IS NOT NULL;
SELECT is_whole FROM streamhouse.agent_metadata_changes(streamhouse.metadata_version()) WHERE version IS NOT NULL;
-- And so is a change of very many.
SELECT streamhouse.metadata_version() AS version \gset
INSERT INTO streamhouse.control_change (version) VALUES (:version + 1);
SELECT is_whole FROM streamhouse.agent_metadata_changes(:version) WHERE version IS NOT NULL;

-- Of many epochs each is compared with its own alone, also in a session whose plans are from when they were few.
SELECT streamhouse.create_topic('many', 5000, durability => 'object') IS NOT NULL AS made;
CREATE FUNCTION fixture.took(epochs int) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz;
    least_s double precision := 'infinity';
BEGIN
    FOR i IN 1..3 LOOP
        begun := clock_timestamp();
        UPDATE streamhouse.epoch SET forced = forced WHERE topic_id = topic('many') AND partition < epochs;
        least_s := least(least_s, extract(epoch FROM clock_timestamp() - begun));
    END LOOP;
    RETURN least_s;
END $$;
SELECT took(1) IS NOT NULL AS planned;
SELECT took(5000) < 60 * took(500) AS in_proportion;
SELECT streamhouse.drop_topic('many');
DROP FUNCTION took;
DROP PROCEDURE live;
DROP FUNCTION listen, ask, wrong, start, happen;
DROP TABLE told, heard, known;
