-- Terms: how the cluster goes on after the database may have lost history (failed over, restored, cloned).
--
-- A new term ends every lease, orphans every owned epoch, and puts a boundary into each partition: an
-- orphaned epoch of nobody with the number (term, 0), over the offsets between the last that are known and the
-- first of the new term, term_gap() above. Readers stop at it as at any orphaned epoch. Agents register
-- again, present what the store holds and the index does not know, publish what their WALs hold, and seal.
-- Once all have, the boundaries vanish.
--
-- A restored database begins terms of numbers that it had begun before, and has forgotten. Two beginnings of one number
-- would give out the same epochs and offsets; so the first agent that comes takes the number in the store, which
-- forgets nothing, before anybody acts in the term (docs/internals/terms.md).

CREATE FUNCTION streamhouse.term_gap() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT 1::bigint << 40 $$;
COMMENT ON FUNCTION streamhouse.term_gap IS
    'How far above the highest offset that is known a new term begins: 4,096 ranges of epochs, more than '
    'can have been forgotten, and seldom enough for 4 million terms';

CREATE FUNCTION streamhouse.term_calls(term bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT CASE WHEN term > 1 THEN term << 40 ELSE 0 END $$;
COMMENT ON FUNCTION streamhouse.term_calls IS
    'Where the counters of agents'' calls begin in a term: what agents saw in older terms is below it';

CREATE FUNCTION streamhouse.loss_found() RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT 1::bigint << 39 $$;
COMMENT ON FUNCTION streamhouse.loss_found IS
    'Added to the calls that an agent has seen, when it found that the database has forgotten what it answered: more '
    'than can have been counted in the term, and less than the next one begins at';

CREATE FUNCTION streamhouse.lost_history(wal_uuid uuid, calls_seen bigint) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    change record;
    known  bigint;
BEGIN
    SELECT * INTO change FROM identity_change();
    IF change.message IS NOT NULL THEN
        RETURN format('%s. %s', change.message, change.detail);
    END IF;
    SELECT greatest(max(l.calls), term_calls((SELECT c.term FROM cluster AS c))) INTO known
    FROM lease AS l WHERE l.wal_uuid = lost_history.wal_uuid;
    IF calls_seen > known AND calls_seen & loss_found() <> 0 THEN
        RETURN 'forgotten: an agent found that what it had published is not known';
    ELSIF calls_seen > known THEN
        RETURN format('restored: an agent had seen call %s, the database knew of %s', calls_seen, known);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.lost_history IS
    'Why the database may have lost history, given the calls that an agent with this WAL has seen; else null';

CREATE FUNCTION streamhouse.known_until() RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    known timestamptz;
BEGIN
    SELECT greatest((SELECT max(i.registered_at) FROM incarnation AS i), (SELECT max(m.confirmed_at) FROM store_marker AS m),
                    (SELECT max(s.finished_at) FROM index_snapshot AS s), (SELECT max(b.finished_at) FROM bucket_scan AS b))
    INTO known;
    -- Looking through the objects is for a cluster that leaves no markers.
    IF known IS NULL OR known < now() - garbage_grace_ms() * interval '1 millisecond' THEN
        SELECT greatest(known, max(o.created_at)) INTO known FROM object AS o;
    END IF;
    RETURN coalesce(known, '-infinity');
END
$$;
COMMENT ON FUNCTION streamhouse.known_until IS
    'The last time at which the database shows that agents were at work with it. What was compacted later, a restored one '
    'does not know';

CREATE FUNCTION streamhouse.begin_term(reason text, above bigint DEFAULT 0) RETURNS streamhouse.cluster
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    begun  cluster;
    former bigint      := (SELECT c.term FROM cluster AS c);
    known  timestamptz := known_until();
BEGIN
    UPDATE cluster AS c
    SET term = greatest(c.term, above) + 1, system_identifier = s.system_identifier, timeline = s.timeline,
        database_oid = s.database_oid, installation_id = s.installation_id
    FROM current_identity() AS s
    RETURNING c.* INTO begun;
    INSERT INTO term (term, reason, ticks_left, known_until)
    VALUES (begun.term, begin_term.reason, lease_ticks(), known);
    -- Ids of schemas that were forgotten stand in records.
    PERFORM setval('streamhouse.schema_number', n.last_value + 10000)
    FROM streamhouse.schema_number AS n WHERE n.is_called AND n.last_value < 2000000000;
    PERFORM marker_take_over();
    PERFORM forget_snapshots();

    -- Who was at work, or has something to end; and whom an unsettled term still waits for.
    INSERT INTO term_awaited (term, wal_uuid, agent_id)
    SELECT begun.term, i.wal_uuid, max(i.agent_id)
    FROM incarnation AS i
    WHERE EXISTS (SELECT FROM lease AS l WHERE l.incarnation_id = i.incarnation_id AND l.ticks_left > 0)
       OR EXISTS (SELECT FROM epoch AS e
                  WHERE e.incarnation_id = i.incarnation_id AND e.state IN ('open', 'orphaned'))
    GROUP BY i.wal_uuid;
    INSERT INTO term_awaited (term, wal_uuid, agent_id)
    SELECT begun.term, w.wal_uuid, max(w.agent_id)
    FROM term_awaited AS w JOIN term AS t USING (term)
    WHERE t.settled_at IS NULL AND t.term < begun.term AND w.presented_at IS NULL
    GROUP BY w.wal_uuid
    ON CONFLICT DO NOTHING;

    -- Taking the incarnation from the lease is the fence, as in fence_predecessors.
    UPDATE lease SET incarnation_id = NULL, ticks_left = 0 WHERE incarnation_id IS NOT NULL;
    UPDATE incarnation SET state = 'outdated' WHERE state = 'live';
    DELETE FROM epoch WHERE state = 'granted';
    PERFORM setval(pg_get_serial_sequence('streamhouse.incarnation', 'incarnation_id'),
                   greatest(begun.term << 40, (SELECT max(incarnation_id) FROM incarnation)));
    PERFORM FROM epoch_head AS h JOIN epoch AS e USING (topic_id, partition, epoch)
    WHERE e.state = 'open' ORDER BY h.topic_id, h.partition, h.epoch FOR UPDATE OF h;
    UPDATE epoch SET state = 'orphaned', orphaned_at = now() WHERE state = 'open';
    -- What ownerless epochs were given is certain wherever it is found.
    UPDATE epoch AS e SET held_at = h.published_end
    FROM epoch_head AS h
    WHERE (h.topic_id, h.partition, h.epoch) = (e.topic_id, e.partition, e.epoch)
      AND e.state = 'orphaned' AND e.durability = 'wal' AND e.held_at IS NULL;
    PERFORM make_boundaries(begun.term, begun.term - former);
    PERFORM begin_ownerless_epochs(t.topic_id) FROM topic AS t;
    PERFORM note_everything();
    PERFORM bump_versions(assignments => true);
    SELECT * INTO begun FROM cluster;
    RETURN begun;
END
$$;
COMMENT ON FUNCTION streamhouse.begin_term IS
    'Begins the next term: nobody owns anything, and readers wait at the boundary. Needs the control lock';

CREATE FUNCTION streamhouse.make_boundaries(term bigint, passed bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    WITH known AS (
        SELECT p.topic_id, p.partition,
               greatest(p.next_offset, max(h.published_end),
                        max(e.limit_offset) FILTER (WHERE e.durability = 'wal' AND e.state <> 'sealed')) AS high
        FROM partition AS p
        LEFT JOIN epoch AS e USING (topic_id, partition)
        LEFT JOIN epoch_head AS h USING (topic_id, partition, epoch)
        GROUP BY p.topic_id, p.partition
    ), moved AS (
        -- Each term that is passed over may have given out offsets, a gap above those before it.
        UPDATE partition AS p SET next_offset = k.high + make_boundaries.passed * term_gap()
        FROM known AS k WHERE (k.topic_id, k.partition) = (p.topic_id, p.partition)
        RETURNING p.topic_id, p.partition, k.high, p.next_offset
    )
    INSERT INTO epoch (topic_id, partition, epoch, durability, state, start_offset, limit_offset, orphaned_at)
    SELECT topic_id, partition, epoch_number(make_boundaries.term, 0), 'object', 'orphaned', high, next_offset,
           now()
    FROM moved;
END
$$;
COMMENT ON FUNCTION streamhouse.make_boundaries IS
    'Puts the boundary of a term into every partition, and the next epochs above it, a gap for each of the terms since the one '
    'that is known ("passed"). Needs the control lock';

CREATE FUNCTION streamhouse.is_boundary(epoch bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT epoch & ((1::bigint << 40) - 1) = 0 $$;
COMMENT ON FUNCTION streamhouse.is_boundary IS 'True for the number of a term''s boundary';

CREATE FUNCTION streamhouse.new_term() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM control_lock();
    RETURN (begin_term('by hand: new_term()')).term;
END
$$;
COMMENT ON FUNCTION streamhouse.new_term IS
    'Begins a new term and returns its number: to be called after a restore of a backup, before any agent '
    'comes. Agents register again and present what the database does not know; nothing is lost by it';

CREATE FUNCTION streamhouse.join_term(term bigint, wal_uuid uuid, agent_id text, calls_seen bigint)
RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    INSERT INTO term_awaited (term, wal_uuid, agent_id)
    SELECT t.term, join_term.wal_uuid, join_term.agent_id
    FROM term AS t
    WHERE t.settled_at IS NULL AND t.term = join_term.term AND calls_seen BETWEEN 1 AND term_calls(t.term)
    ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION streamhouse.join_term IS
    'Has readers wait for an agent that comes from an older term while this one is not settled';

CREATE FUNCTION streamhouse.agent_check(incarnation bigint, calls_seen bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
DECLARE
    counted bigint;
BEGIN
    PERFORM begin_decision();
    PERFORM check_history();
    SELECT l.calls INTO counted FROM held_lease(agent_check.incarnation) AS l;
    IF counted IS NULL THEN
        PERFORM agent_enter(incarnation);
    END IF;
    PERFORM check_calls(counted, calls_seen);
END
$$;
COMMENT ON FUNCTION streamhouse.agent_check IS
    'What an agent asks first on each new connection, so that nothing is read or written in a database that has '
    'lost what the agent knows of. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_term_to_take(incarnation bigint) RETURNS TABLE (number bigint, nonce uuid, body text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter(incarnation);
    RETURN QUERY
    SELECT t.term, t.nonce, format(E'streamhouse term %s %s %s\n', t.term, c.cluster_id, t.nonce)
    FROM term AS t JOIN cluster AS c USING (term) WHERE t.taken_at IS NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_term_to_take IS
    'The term, when its number is not taken in the store yet, with the nonce of its beginning and what the object there says; '
    'else no row. Asked before anything else is done in a term. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_term_taken(incarnation bigint, others bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    control cluster := control_lock();
BEGIN
    PERFORM agent_enter(incarnation);
    IF NOT EXISTS (SELECT FROM term AS t WHERE t.term = control.term AND t.taken_at IS NULL) THEN
        RETURN true;
    ELSIF others >= control.term THEN
        PERFORM begin_term(format('the number %s was in use: the store knows of term %s of another beginning', control.term,
                                  others), above => others);
        RETURN false;
    END IF;
    UPDATE term AS t SET taken_at = now() WHERE t.term = control.term;
    RETURN true;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_term_taken IS
    'The agent has put the object of the term into the store, and listed all: "others" is the highest number of those of '
    'another beginning (0: none). True: the number is this one''s. False: it may have been used, and a term above all of them '
    'has begun; the agent registers again. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_awaited(incarnation bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter(incarnation);
    RETURN EXISTS (SELECT FROM term_awaited AS w JOIN cluster AS c USING (term)
                   JOIN incarnation AS i USING (wal_uuid)
                   WHERE i.incarnation_id = agent_awaited.incarnation AND w.presented_at IS NULL)
        OR EXISTS (SELECT FROM term AS t JOIN cluster AS c USING (term) WHERE t.settled_at IS NULL);
END
$$;
COMMENT ON FUNCTION streamhouse.agent_awaited IS
    'True when the agent, before it asks for partitions, is to present what the store holds and the index '
    'does not know. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_unknown_keys(incarnation bigint, object_keys text[]) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM agent_enter(incarnation);
    -- What was written in this term its writer may be about to publish.
    RETURN QUERY SELECT a.k FROM unnest(object_keys) WITH ORDINALITY AS a(k, n) CROSS JOIN cluster AS c
                 LEFT JOIN object AS o ON o.object_key = a.k
                 WHERE (o.object_id IS NULL
                        OR o.publish_no = 0 AND EXISTS (SELECT FROM incarnation AS i
                                                        WHERE i.incarnation_id = o.incarnation_id
                                                          AND i.wal_uuid IN (SELECT waiting_wals(incarnation))))
                   AND coalesce((regexp_match(a.k, '^[^/]+/[^/]+/([0-9]{1,18})/'))[1]::bigint < term_calls(c.term),
                                true)
                 ORDER BY a.n;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_unknown_keys IS
    'Of objects in the store those that were written before this term and are to be presented: the index does not know '
    'them, or others have presented them, and something of the same WAL waits for what is presented later (waiting_wals): '
    'any of its objects may tell results. In the order of the question. Raises SH001, SH002, SH003';

CREATE FUNCTION streamhouse.agent_presented(incarnation bigint, unreadable bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    unresolved bigint;
BEGIN
    PERFORM control_lock();
    PERFORM agent_enter(incarnation);
    UPDATE term_awaited AS w SET presented_at = now()
    FROM incarnation AS i, cluster AS c
    WHERE i.incarnation_id = agent_presented.incarnation AND w.wal_uuid = i.wal_uuid AND w.term = c.term;
    UPDATE term AS t SET unreadable = agent_presented.unreadable
    FROM cluster AS c WHERE t.term = c.term AND t.settled_at IS NULL;
    unresolved := count_unresolved();
    PERFORM settle_term();
    RETURN unresolved;
END
$$;
COMMENT ON FUNCTION streamhouse.agent_presented IS
    'An agent has presented what the store holds, and has ended the epochs of older terms that are its own. '
    'unreadable: objects that it could not read. Returns how many records of all that was presented have no place in the '
    'index. Raises SH001, SH002, SH003';

-- Without anybody that was awaited nobody has shown that this database is the one that agents work with.
CREATE VIEW streamhouse.term_status AS
SELECT t.term, t.began_at, t.reason, t.settled_at,
       coalesce(array_agg(w.agent_id ORDER BY w.agent_id) FILTER (WHERE w.wal_uuid IS NOT NULL AND w.presented_at IS NULL), '{}')
           AS awaited_agents,
       count(w.presented_at) AS presented, t.unresolved, t.accepted, t.deletion_allowed,
       CASE WHEN t.settled_at IS NOT NULL AND NOT t.deletion_allowed THEN
                'settled; nothing is deleted before accept_term_boundary(allow_deletion => true)'
            WHEN t.settled_at IS NOT NULL THEN 'settled'
            WHEN t.term < (SELECT c.term FROM streamhouse.cluster AS c) THEN 'waits for a later term'
            ELSE concat_ws('; ',
                 CASE WHEN count(w.wal_uuid) > count(w.presented_at) THEN
                     'agents are awaited: awaited_agents' END,
                 CASE WHEN count(w.presented_at) = 0 THEN 'no agent of an older term has come' END,
                 CASE WHEN t.unresolved > 0 THEN
                     'the store holds records without a place: accept_term_boundary() leaves them out' END,
                 CASE WHEN EXISTS (SELECT FROM streamhouse.stored_twice) THEN
                     'records are stored twice (stored_twice): the next agent to present makes one of them void' END,
                 CASE WHEN t.ticks_left > 0 THEN format('%s ticks are left for others to come', t.ticks_left) END)
           END AS status
FROM streamhouse.term AS t LEFT JOIN streamhouse.term_awaited AS w USING (term)
GROUP BY t.term
ORDER BY t.term;
COMMENT ON VIEW streamhouse.term_status IS
    'Terms after the first: why each began, and what readers wait for at its boundary';

CREATE FUNCTION streamhouse.is_behind_store() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM term AS t
                   WHERE NOT t.deletion_allowed
                     AND t.began_at - garbage_grace_ms() * interval '1 millisecond' > t.known_until)
$$;
COMMENT ON FUNCTION streamhouse.is_behind_store IS
    'True when the database, as it was when a term began, was older than streamhouse.garbage_grace: what was compacted '
    'meanwhile may be gone from the store, so that objects which the index has no use for hold its only copy';

CREATE FUNCTION streamhouse.settle_term() RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    PERFORM count_unresolved();
    IF NOT EXISTS (SELECT FROM term AS t JOIN cluster AS c USING (term)
                   JOIN term_status AS s USING (term)
                   WHERE t.settled_at IS NULL AND t.ticks_left = 0 AND t.unresolved = 0
                     AND s.presented > 0 AND s.awaited_agents = '{}')
       OR EXISTS (SELECT FROM stored_twice) THEN
        RETURN false;
    END IF;
    PERFORM end_boundaries(is_accepted => false, deletion => NOT is_behind_store());
    RETURN true;
END
$$;
COMMENT ON FUNCTION streamhouse.settle_term IS
    'Lets readers cross the boundary if nothing is awaited any more. Deletion stays off where the database may be so far '
    'behind the store that compacted objects are the only ones left. Needs the control lock';

CREATE FUNCTION streamhouse.end_boundaries(is_accepted boolean, deletion boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    topic_ids  uuid[];
    partitions int[];
BEGIN
    -- Ownerless epochs of older terms end with them: nobody publishes there any more.
    UPDATE epoch AS e SET state = 'sealed', end_offset = h.published_end
    FROM epoch_head AS h
    WHERE (h.topic_id, h.partition, h.epoch) = (e.topic_id, e.partition, e.epoch)
      AND e.state = 'orphaned' AND e.durability = 'object';
    WITH ended AS (
        DELETE FROM epoch AS e WHERE is_boundary(e.epoch) AND e.state = 'orphaned'
        RETURNING e.topic_id, e.partition
    )
    SELECT array_agg(topic_id), array_agg(partition) INTO topic_ids, partitions FROM ended;
    PERFORM count_unresolved();
    DELETE FROM unplaced_run;
    DELETE FROM late_sequences;
    DELETE FROM stored_twice;
    UPDATE epoch SET held_at = NULL WHERE held_at IS NOT NULL;
    UPDATE term AS t SET settled_at = now(), accepted = is_accepted, deletion_allowed = deletion
    WHERE t.settled_at IS NULL;
    PERFORM set_bases(topic_ids, partitions);
    PERFORM bump_versions(assignments => true);
END
$$;
COMMENT ON FUNCTION streamhouse.end_boundaries IS
    'Ends what is unsettled of terms: readers go on. Needs the control lock';

CREATE FUNCTION streamhouse.refuse_to_delete() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    oldest  term;
    waiting record;
BEGIN
    SELECT * INTO oldest FROM term AS t WHERE NOT t.deletion_allowed ORDER BY t.known_until LIMIT 1;
    SELECT count(*) AS objects, coalesce(sum(o.bytes), 0) AS bytes,
           count(*) FILTER (WHERE o.created_at >= oldest.began_at) AS presented INTO waiting
    FROM object_deletion AS d JOIN object AS o USING (object_id);
    RAISE EXCEPTION 'this database may be too old to delete by'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = format(
                  'Term %s began at %s, and the database knew of agents at work until %s: longer than '
                  'streamhouse.garbage_grace before. What was compacted in between, only objects may hold that its index '
                  'does not refer to. %s objects (%s) would be deleted, %s of them found in the store since; and what holds '
                  '%s records in the store that have no place in the index.',
                  oldest.term, oldest.began_at, oldest.known_until, waiting.objects, pg_size_pretty(waiting.bytes),
                  waiting.presented, (SELECT sum(t.unresolved) FROM term AS t WHERE NOT t.deletion_allowed)),
              HINT = 'Compare index and store with streamhouse-agent --scrub. If it misses nothing: '
                     'accept_term_boundary(allow_deletion => true, force => true).';
END
$$;
COMMENT ON FUNCTION streamhouse.refuse_to_delete IS
    'Raises the error that says why deletion is not allowed to a database that is behind the store, and what would go';

CREATE FUNCTION streamhouse.refuse_to_delete_unresolved() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    unresolved bigint;
    listed     record;
BEGIN
    PERFORM count_unresolved();
    SELECT coalesce(sum(t.unresolved), 0) INTO unresolved FROM term AS t WHERE NOT t.deletion_allowed;
    IF unresolved = 0 THEN
        RETURN;
    END IF;
    SELECT coalesce(sum(u.records), 0) AS records, count(DISTINCT u.object_id) AS objects INTO listed FROM unplaced_run AS u;
    RAISE EXCEPTION 'the store holds records that have no place in the index'
        USING ERRCODE = 'object_not_in_prerequisite_state',
              DETAIL = concat_ws(' ',
                  format('They are %s, objects counted that could not be read, and may be the only copy of what was '
                         'acknowledged: agents would delete them.', unresolved),
                  CASE WHEN listed.objects > 0 THEN
                      format('unplaced_run lists %s of them, in %s objects.', listed.records, listed.objects) END),
              HINT = 'accept_term_boundary() lets readers go on and deletes nothing. Where nobody misses these records, or what '
                     'holds them was copied: accept_term_boundary(allow_deletion => true, force => true).';
END
$$;
COMMENT ON FUNCTION streamhouse.refuse_to_delete_unresolved IS
    'Raises an error when objects in the store hold records without a place in the index, which would be garbage. Needs the '
    'control lock';

CREATE FUNCTION streamhouse.accept_term_boundary(allow_deletion boolean DEFAULT false, force boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    PERFORM control_lock();
    IF allow_deletion AND NOT force AND is_behind_store() THEN
        PERFORM refuse_to_delete();
    ELSIF allow_deletion AND NOT force THEN
        PERFORM refuse_to_delete_unresolved();
    END IF;
    IF NOT EXISTS (SELECT FROM term WHERE settled_at IS NULL) THEN
        UPDATE term SET deletion_allowed = deletion_allowed OR allow_deletion;
        RETURN;
    END IF;
    PERFORM end_boundaries(is_accepted => true, deletion => allow_deletion);
END
$$;
COMMENT ON FUNCTION streamhouse.accept_term_boundary IS
    'Lets readers cross the boundary of the term without what is still awaited (streamhouse.term_status): an '
    'agent that comes later with records that the database does not know is refused, and keeps them in its '
    'WAL. allow_deletion: this database may delete objects again, because no other one works with the bucket; where it '
    'was older than streamhouse.garbage_grace, or the store holds records without a place in the index, only with force';

CREATE FUNCTION streamhouse.history_is_whole() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    SELECT NOT EXISTS (SELECT FROM term WHERE settled_at IS NULL OR NOT deletion_allowed)
       AND (SELECT c.message IS NULL FROM identity_change() AS c)
$$;
COMMENT ON FUNCTION streamhouse.history_is_whole IS
    'False while the database may lack history, or was seen to be a copy';

CREATE FUNCTION streamhouse.deletion_allowed() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT history_is_whole() AND marker_held() $$;
COMMENT ON FUNCTION streamhouse.deletion_allowed IS
    'False while the database may lack history, or may be a copy of one that works with the same bucket';

CREATE FUNCTION streamhouse.term_tick() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM term WHERE settled_at IS NULL) THEN
        RETURN;
    END IF;
    IF NOT control_lock_if_free() THEN
        RETURN; -- the next tick counts
    END IF;
    UPDATE term SET ticks_left = greatest(ticks_left - 1, 0) WHERE settled_at IS NULL;
    PERFORM settle_term();
END
$$;
COMMENT ON FUNCTION streamhouse.term_tick IS
    'Counts a tick of a term that is not settled: agents have the time of a lease to come';
