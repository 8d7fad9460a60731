-- What the view health says beside whether the server does its part: who is gone, who waits, what is not deleted.

CREATE FUNCTION streamhouse.agent_problem() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    WITH ill AS (
        SELECT a.agent_id, l.ticks_left > 0 AS is_live, in_seconds(make_interval(secs => l.silent_ms / 1000)) AS age,
               row_number() OVER (PARTITION BY l.ticks_left > 0 ORDER BY a.agent_id) AS place
        FROM agent AS a JOIN incarnation AS i USING (incarnation_id) JOIN lease AS l USING (incarnation_id)
        WHERE i.state = 'live' AND (l.ticks_left = 0 OR a.lacks_room)
    ), told AS (
        SELECT is_live, string_agg(format(CASE WHEN is_live THEN '"%s"' ELSE '"%s" for %s' END, agent_id, age), ', ' ORDER BY place)
                            FILTER (WHERE place <= 5)
                        || CASE WHEN count(*) > 5 THEN format(' and %s more', count(*) - 5) ELSE '' END AS names
        FROM ill GROUP BY is_live
    )
    SELECT string_agg(
               CASE WHEN is_live THEN format('agents whose disks have no room for their write-ahead logs, so that others get '
                                             'their partitions: %s. Make room there', names)
                    ELSE format('agents that sent no heartbeat: %s. Start each again on its write-ahead log, which may hold '
                                'records. Where one never returns: force_seal() what streamhouse.orphans has of it, then '
                                'retire_agent()', names) END, '; ' ORDER BY is_live)
    FROM told
$$;
COMMENT ON FUNCTION streamhouse.agent_problem IS
    'Agents whose lease has run out and that have not ended, and those whose disks are full, and what to do; null: none';

CREATE FUNCTION streamhouse.owner_problem() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT format('partitions without an owner, and without a live agent to take them: %s. Start an agent', count(*))
           || CASE WHEN EXISTS (SELECT FROM live_agent AS l JOIN agent AS a USING (agent_id) WHERE a.draining) THEN
                  ', or let one that drains serve again: undrain_agent()' ELSE '' END
           || '. streamhouse.partitions shows which'
    FROM (SELECT array_agg(l.agent_id) AS agents, array_agg(l.incarnation_id) AS incarnations FROM live_agent AS l) AS live,
         partition AS p JOIN topic AS t USING (topic_id)
    -- Without a target, or with one that is gone: a live one takes it in a moment.
    WHERE CASE t.durability WHEN 'object' THEN live.agents IS NULL
                            ELSE (p.target_agent = ANY (live.agents)) IS NOT TRUE
                                 AND NOT EXISTS (SELECT FROM epoch AS e
                                                 WHERE (e.topic_id, e.partition) = (p.topic_id, p.partition)
                                                   AND e.state IN ('granted', 'open')
                                                   AND e.incarnation_id = ANY (live.incarnations)) END
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION streamhouse.owner_problem IS
    'How many partitions wait for an owner that no live agent is to be, and what to do; null: none';

CREATE FUNCTION streamhouse.reader_problem() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT format('partitions whose readers wait for what only the write-ahead logs of agents hold that are gone: %s. Start '
                  'these again on them (streamhouse.orphans), or where a disk will not come back: force_seal()', count(*))
    FROM (SELECT DISTINCT o.topic_id, o.partition FROM orphans AS o WHERE o.agent_state = 'gone') AS waits
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION streamhouse.reader_problem IS
    'How many partitions have readers that wait for an agent that is gone, and what to do; null: none';

CREATE FUNCTION streamhouse.deletion_problem() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT CASE WHEN pg_is_in_recovery() OR deletion_allowed() THEN NULL
                WHEN NOT history_is_whole() THEN 'nothing is deleted from the store: see streamhouse.term_status'
                WHEN EXISTS (SELECT FROM store_marker AS m WHERE m.contested_by IS NOT NULL) THEN
                    (SELECT s.status FROM store_marker_status AS s)
                -- It has to be held for a while, and is made by agents: those that have just come have had no time.
                WHEN NOT EXISTS (SELECT FROM store_marker AS m WHERE is_marker_fresh(m))
                     AND EXISTS (SELECT FROM live_agent AS l JOIN agent AS a USING (agent_id)
                                 WHERE a.registered_at < now() - marker_span(3)) THEN
                    'no agent has renewed the marker in the store lately, so nothing is deleted from it: see '
                    'streamhouse.store_marker_status, and garbage_failed in the agents'' logs' END
$$;
COMMENT ON FUNCTION streamhouse.deletion_problem IS
    'Why nothing is deleted from the store, and what to do; null: it is, or soon will be, or there is no agent to do it';

CREATE VIEW streamhouse.health AS
SELECT h.subject, h.problem IS NULL AS is_well, coalesce(h.problem, 'ok') AS status
FROM (VALUES ('workers', streamhouse.worker_problem()),
             ('agents', streamhouse.agent_problem()),
             ('partitions', streamhouse.owner_problem()),
             ('readers', streamhouse.reader_problem()),
             ('history', (SELECT c.message || '. ' || c.detail FROM streamhouse.identity_change() AS c)),
             ('terms', (SELECT string_agg(format('term %s: %s', t.term, t.status), '; ') FROM streamhouse.term_status AS t
                        WHERE t.status <> 'settled')),
             ('deletion', streamhouse.deletion_problem()),
             ('snapshots', streamhouse.snapshot_problem()),
             ('clock', streamhouse.clock_problem()),
             ('transactions', (SELECT format('%s open transactions hold locks or old rows of StreamHouse, the oldest for %s',
                                             count(*), max(o.age)) FROM streamhouse.open_transactions AS o
                               WHERE o.age > interval '1 minute'
                                 -- A snapshot of the index takes what it takes.
                                 AND coalesce(o.application, '') NOT LIKE 'streamhouse-agent % snapshot reader' HAVING count(*) > 0))
     ) AS h(subject, problem);
COMMENT ON VIEW streamhouse.health IS
    'What an operator looks at first: one row for each thing that can be wrong as far as the database knows, what, and what '
    'to do';
