-- What changed since a version: so that agents ask for that, and not for everything again at each change.
--
-- Every change of topics, epochs and placement is noted under the version that the next bump_versions() makes, with
-- the control lock held: who has seen a version has seen all that is noted up to it. Changes of epochs and topics
-- are noted by triggers, those of placement where it is decided.

CREATE FUNCTION streamhouse.next_version() RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT coalesce((SELECT c.metadata_version FROM cluster AS c), 0) + 1 $$;
COMMENT ON FUNCTION streamhouse.next_version IS
    'The version under which a change is noted: the next that bump_versions() makes';

CREATE FUNCTION streamhouse.change_rows_max() RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ SELECT 10000 $$;
COMMENT ON FUNCTION streamhouse.change_rows_max IS
    'A change of more partitions than this is noted as one of everything';

CREATE FUNCTION streamhouse.note_everything() RETURNS void
LANGUAGE sql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$ INSERT INTO control_change (version) SELECT next_version() $$;
COMMENT ON FUNCTION streamhouse.note_everything IS
    'Notes that anything may have changed. Needs the control lock';

CREATE FUNCTION streamhouse.note_partitions(topic_ids uuid[], partitions int[], incarnations bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
    SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    noted_under bigint := next_version();
BEGIN
    IF topic_ids IS NULL THEN
        RETURN;
    ELSIF cardinality(topic_ids) > change_rows_max() THEN
        PERFORM note_everything();
        RETURN;
    END IF;
    -- Metadata concern everybody. What to do there: the incarnation that is told, who owns the partition, and who should.
    INSERT INTO control_change (version, topic_id, partition, agent_id)
    SELECT DISTINCT noted_under, c.topic_id, c.partition, concerned.agent_id
    FROM unnest(topic_ids, partitions, incarnations) AS c(topic_id, partition, incarnation_id)
    LEFT JOIN LATERAL find_partition(c.topic_id, c.partition) AS p ON true
    LEFT JOIN LATERAL find_current(c.topic_id, c.partition) AS e ON true
    LEFT JOIN incarnation AS named ON named.incarnation_id = c.incarnation_id
    LEFT JOIN incarnation AS owner ON owner.incarnation_id = e.incarnation_id
    CROSS JOIN LATERAL (VALUES (NULL), (named.agent_id), (owner.agent_id), (p.target_agent)) AS concerned(agent_id);
END
$$;
COMMENT ON FUNCTION streamhouse.note_partitions IS
    'Notes changes of partitions'' epochs: for all agents'' metadata, and for those that have, had or should have '
    'something to do there. incarnations are those whose epochs changed. Needs the control lock';

CREATE FUNCTION streamhouse.note_epochs() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM note_partitions(array_agg(n.topic_id), array_agg(n.partition), array_agg(n.incarnation_id))
        FROM made AS n;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM note_partitions(array_agg(o.topic_id), array_agg(o.partition), array_agg(o.incarnation_id))
        FROM gone AS o;
    ELSE
        -- Nobody is told anew by counts, nor by the opening of what was granted: such an epoch is twice the same here.
        -- Joined, the two would be compared each with each, since nothing is known of how many rows they have.
        PERFORM note_partitions(array_agg(c.topic_id), array_agg(c.partition), array_agg(c.incarnation_id))
        FROM (SELECT DISTINCT e.topic_id, e.partition, e.incarnation_id
              FROM (SELECT o.topic_id, o.partition, o.epoch, CASE o.state WHEN 'granted' THEN 'open' ELSE o.state END,
                           o.incarnation_id, o.inherited, o.orphan_timeout
                    FROM gone AS o
                    UNION ALL
                    SELECT n.topic_id, n.partition, n.epoch, CASE n.state WHEN 'granted' THEN 'open' ELSE n.state END,
                           n.incarnation_id, n.inherited, n.orphan_timeout
                    FROM made AS n) AS e(topic_id, partition, epoch, state, incarnation_id, inherited, orphan_timeout)
              GROUP BY e.topic_id, e.partition, e.epoch, e.state, e.incarnation_id, e.inherited, e.orphan_timeout
              HAVING count(*) = 1) AS c;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.note_epochs IS 'Notes the partitions whose epochs a statement has changed';
CREATE TRIGGER note_made AFTER INSERT ON streamhouse.epoch
    REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION streamhouse.note_epochs();
CREATE TRIGGER note_changed AFTER UPDATE ON streamhouse.epoch
    REFERENCING OLD TABLE AS gone NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION streamhouse.note_epochs();
CREATE TRIGGER note_gone AFTER DELETE ON streamhouse.epoch
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION streamhouse.note_epochs();

CREATE FUNCTION streamhouse.note_topic() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
BEGIN
    INSERT INTO control_change (version, topic_id)
    VALUES (next_version(), CASE TG_OP WHEN 'DELETE' THEN OLD.topic_id ELSE NEW.topic_id END);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION streamhouse.note_topic IS 'Notes a topic that was made, changed or dropped';
CREATE TRIGGER note_topic AFTER INSERT OR UPDATE OR DELETE ON streamhouse.topic
    FOR EACH ROW EXECUTE FUNCTION streamhouse.note_topic();

CREATE FUNCTION streamhouse.is_whole_due(after_version bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
    -- The oldest rows are pruned, never those of the last version.
    SELECT coalesce(after_version < (SELECT min(c.version) FROM control_change AS c) - 1, after_version IS NULL)
        OR EXISTS (SELECT FROM control_change AS c WHERE c.version > after_version AND c.topic_id IS NULL)
$$;
COMMENT ON FUNCTION streamhouse.is_whole_due IS
    'True when what changed since a version is not known in detail: the whole is to be told';

CREATE FUNCTION streamhouse.prune_control_changes(rows_kept int DEFAULT 50000) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    pruned bigint;
BEGIN
    PERFORM begin_decision();
    DELETE FROM control_change AS c
    WHERE c.version < (SELECT k.version FROM control_change AS k ORDER BY k.version DESC OFFSET rows_kept LIMIT 1);
    GET DIAGNOSTICS pruned = ROW_COUNT;
    RETURN pruned;
END
$$;
COMMENT ON FUNCTION streamhouse.prune_control_changes IS
    'The lease worker''s: forgets the oldest changes, versions at a time, down to about so many; returns how many. '
    'Agents that have not asked since are told the whole';
