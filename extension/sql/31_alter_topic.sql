-- alter_topic, and the change of durability, which is a change of epoch.

CREATE FUNCTION streamhouse.alter_topic(
    name           text,
    partitions     int      DEFAULT NULL,
    retention      interval DEFAULT NULL,
    segment_size   text     DEFAULT NULL,
    durability     text     DEFAULT NULL,
    retention_size text     DEFAULT NULL,
    max_batch_size text     DEFAULT NULL,
    orphan_timeout interval DEFAULT NULL,
    reset          text[]   DEFAULT '{}',
    key_validation         text DEFAULT NULL,
    value_validation       text DEFAULT NULL,
    key_subject_strategy   text DEFAULT NULL,
    value_subject_strategy text DEFAULT NULL,
    timestamp_type       text     DEFAULT NULL,
    timestamp_before_max interval DEFAULT NULL,
    timestamp_after_max  interval DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    old topic;
BEGIN
    PERFORM control_lock();
    old := topic_for_change(name);
    reset := coalesce(reset, '{}'); -- left out, as any other that is null
    PERFORM check_topic_settings(partitions, retention, durability, orphan_timeout);
    PERFORM check_schema_settings(key_validation, value_validation, key_subject_strategy,
                                  value_subject_strategy);
    PERFORM check_timestamp_settings(timestamp_type, timestamp_before_max, timestamp_after_max);
    IF partitions < old.partition_count THEN
        RAISE EXCEPTION 'topic "%" has % partitions and cannot be given %',
                        name, old.partition_count, partitions
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'Partitions can only be added.';
    ELSIF NOT reset <@ ARRAY['retention', 'retention_size', 'orphan_timeout', 'timestamp_before_max',
                             'timestamp_after_max'] THEN
        RAISE EXCEPTION 'cannot reset %', reset
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'retention, retention_size, orphan_timeout, timestamp_before_max and '
                           'timestamp_after_max can be reset.';
    END IF;

    UPDATE topic AS t SET
        partition_count = coalesce(partitions, t.partition_count),
        durability      = coalesce(durability, t.durability),
        retention       = coalesce(retention, CASE WHEN 'retention' <> ALL (reset) THEN t.retention END),
        retention_bytes = coalesce(parse_size('retention_size', retention_size, 1 << 20, 1::bigint << 60),
                                   CASE WHEN 'retention_size' <> ALL (reset) THEN t.retention_bytes END),
        orphan_timeout  = coalesce(orphan_timeout,
                                   CASE WHEN 'orphan_timeout' <> ALL (reset) THEN t.orphan_timeout END),
        segment_bytes   = coalesce(parse_size('segment_size', segment_size, 1 << 20, 1 << 30),
                                   t.segment_bytes),
        batch_bytes_max = coalesce(parse_size('max_batch_size', max_batch_size, 1 << 10, 64 << 20),
                                   t.batch_bytes_max),
        key_validation         = coalesce(key_validation, t.key_validation),
        value_validation       = coalesce(value_validation, t.value_validation),
        key_subject_strategy   = coalesce(key_subject_strategy, t.key_subject_strategy),
        value_subject_strategy = coalesce(value_subject_strategy, t.value_subject_strategy),
        timestamp_type         = coalesce(timestamp_type, t.timestamp_type),
        timestamp_before_max   = coalesce(timestamp_before_max,
                                          CASE WHEN 'timestamp_before_max' <> ALL (reset)
                                               THEN t.timestamp_before_max END),
        timestamp_after_max    = coalesce(timestamp_after_max,
                                          CASE WHEN 'timestamp_after_max' <> ALL (reset)
                                               THEN t.timestamp_after_max END)
    WHERE t.topic_id = old.topic_id;
    IF durability <> old.durability THEN
        PERFORM roll_durability(old.topic_id, durability);
    END IF;
    PERFORM add_partitions(old.topic_id, old.partition_count, coalesce(partitions, old.partition_count));
END
$$;
COMMENT ON FUNCTION streamhouse.alter_topic IS
    'Changes settings of a topic; what is left out stays. Partitions only grow. A new durability begins a '
    'new epoch of each partition as soon as its owner has sealed the current one. reset names settings to '
    'clear';

CREATE FUNCTION streamhouse.rename_topic(name text, new_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    renamed topic;
BEGIN
    PERFORM control_lock();
    renamed := topic_for_change(rename_topic.name);
    PERFORM check_topic_name(new_name);
    UPDATE topic AS t SET name = new_name WHERE t.topic_id = renamed.topic_id;
    PERFORM bump_versions(assignments => true);
    PERFORM bump_schema_version(); -- subjects go by the topic's name
END
$$;
COMMENT ON FUNCTION streamhouse.rename_topic IS
    'Gives a topic another name. Its id, records and settings stay; clients that ask for the former name are '
    'told that there is none';

CREATE FUNCTION streamhouse.roll_durability(topic_id uuid, durability text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    -- An open epoch with an owner stays: agent_assignments asks the owner to release it, and its seal
    -- begins the ownerless one, which begins at the limit at once where the owner is gone. An epoch that was never open goes, and its owner's agent_open is told.
    DELETE FROM epoch AS e WHERE e.topic_id = roll_durability.topic_id AND e.state = 'granted';
    IF roll_durability.durability = 'object' THEN
        PERFORM note_placement(array_agg(p.topic_id), array_agg(p.partition), array_agg(p.target_agent),
                               array_agg(p.target_agent))
        FROM partition AS p WHERE p.topic_id = roll_durability.topic_id AND p.target_agent IS NOT NULL;
        UPDATE partition AS p SET target_agent = NULL
        WHERE p.topic_id = roll_durability.topic_id AND p.target_agent IS NOT NULL;
        PERFORM orphan_abandoned();
        RETURN;
    END IF;
    PERFORM end_ownerless_epochs(roll_durability.topic_id);
END
$$;
COMMENT ON FUNCTION streamhouse.roll_durability IS
    'Ends the epochs of a topic''s former durability, as far as no agent has to do it. Needs the control '
    'lock';

CREATE FUNCTION streamhouse.end_ownerless_epochs(topic_id uuid, partition int DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
    topic_ids  uuid[];
    partitions int[];
    epochs     bigint[];
BEGIN
    SELECT array_agg(p.topic_id), array_agg(p.partition), array_agg(e.epoch) INTO topic_ids, partitions, epochs
    FROM partition AS p
    CROSS JOIN LATERAL find_current(p.topic_id, p.partition) AS e
    WHERE p.topic_id = end_ownerless_epochs.topic_id
      AND p.partition BETWEEN coalesce(end_ownerless_epochs.partition, 0) AND coalesce(end_ownerless_epochs.partition, 9999)
      AND e.incarnation_id IS NULL;
    PERFORM lock_heads(topic_ids, partitions, epochs);
    PERFORM lock_partitions(topic_ids, partitions);
    WITH due AS MATERIALIZED (
        SELECT e.place, p.place AS partition_place, h.published_end
        FROM unnest(topic_ids, partitions, epochs) AS a(topic_id, partition, epoch)
        CROSS JOIN LATERAL find_epoch(a.topic_id, a.partition, a.epoch) AS e
        CROSS JOIN LATERAL find_partition(a.topic_id, a.partition) AS p
        CROSS JOIN LATERAL newest_head(a.topic_id, a.partition, a.epoch) AS h
    ), ended AS (
        UPDATE epoch AS e SET state = 'sealed', end_offset = d.published_end FROM due AS d WHERE e.ctid = d.place
    )
    UPDATE partition AS p SET next_offset = greatest(p.next_offset, d.published_end)
    FROM due AS d WHERE p.ctid = d.partition_place;
    PERFORM set_bases(topic_ids, partitions);
END
$$;
COMMENT ON FUNCTION streamhouse.end_ownerless_epochs IS
    'Seals the ownerless epochs of a topic, or of one partition of it, at their published ends. Needs the '
    'control lock';
