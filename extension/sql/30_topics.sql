-- What people type: create_topic, alter_topic, drop_topic.

CREATE FUNCTION streamhouse.check_topic_name(name text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    problem text;
    other   text;
BEGIN
    problem := CASE
        WHEN check_topic_name.name IS NULL OR check_topic_name.name = '' THEN 'The name is empty.'
        WHEN length(check_topic_name.name) > 249 THEN
            format('The name has %s characters; 249 are allowed.', length(check_topic_name.name))
        WHEN check_topic_name.name IN ('.', '..') THEN 'The names "." and ".." are not allowed.'
        WHEN check_topic_name.name !~ '^[a-zA-Z0-9._-]+$' THEN
            'A name consists of letters a-z and A-Z, digits, ".", "_" and "-".'
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION 'invalid topic name "%"', coalesce(left(check_topic_name.name, 260), '')
            USING ERRCODE = 'invalid_parameter_value', DETAIL = problem;
    END IF;

    SELECT t.name INTO other FROM topic AS t
    WHERE replace(t.name, '.', '_') = replace(check_topic_name.name, '.', '_');
    IF other = check_topic_name.name THEN
        RAISE EXCEPTION 'topic "%" exists already', other
            USING ERRCODE = 'duplicate_object', HINT = 'Change it with streamhouse.alter_topic().';
    ELSIF other IS NOT NULL THEN
        RAISE EXCEPTION 'topic name "%" collides with "%"', check_topic_name.name, other
            USING ERRCODE = 'duplicate_object',
                  DETAIL = 'Names that differ only in "." and "_" would share their metrics.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_topic_name IS
    'Raises an error for a topic name that is malformed or taken';

CREATE FUNCTION streamhouse.parse_size(setting text, size text, bytes_min bigint, bytes_max bigint)
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    bytes bigint := pg_size_bytes(size);
BEGIN
    IF bytes NOT BETWEEN bytes_min AND bytes_max THEN
        RAISE EXCEPTION '% is out of range: %', setting, size
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = format('It must be between %s and %s.', pg_size_pretty(bytes_min),
                                  pg_size_pretty(bytes_max));
    END IF;
    RETURN bytes;
END
$$;
COMMENT ON FUNCTION streamhouse.parse_size IS
    'Turns a size such as 64MB into bytes and checks its range; null stays null';

CREATE FUNCTION streamhouse.check_topic_settings(partitions int, retention interval, durability text,
                                                 orphan_timeout interval) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF partitions NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION 'partitions is out of range: %', partitions
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must be between 1 and 10000.';
    ELSIF retention <= interval '0' THEN
        RAISE EXCEPTION 'retention is out of range: %', retention
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must be above 0.',
                  HINT = 'Leave it out to keep records for ever.';
    ELSIF durability NOT IN ('wal', 'object') THEN
        RAISE EXCEPTION 'unknown durability "%"', durability
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is "wal" (acknowledged from the agent''s disk) or "object" (from the object '
                           'store).';
    ELSIF orphan_timeout < interval '1 second' THEN
        RAISE EXCEPTION 'orphan_timeout is out of range: %', orphan_timeout
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must be at least 1 second.',
                  HINT = 'Leave it out to wait for an agent''s return, however long.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_topic_settings IS
    'Raises an error for settings of a topic out of their ranges';

CREATE FUNCTION streamhouse.check_schema_settings(key_validation text, value_validation text,
                                                  key_subject_strategy text, value_subject_strategy text)
RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    bad record;
BEGIN
    SELECT * INTO bad
    FROM (VALUES ('key_validation', key_validation, '{none,id,full}'::text[]),
                 ('value_validation', value_validation, '{none,id,full}'),
                 ('key_subject_strategy', key_subject_strategy, '{topic,record,topic-record}'),
                 ('value_subject_strategy', value_subject_strategy, '{topic,record,topic-record}'))
        AS s(setting, value, allowed)
    WHERE s.value <> ALL (s.allowed) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'unknown % "%"', bad.setting, left(bad.value, 100)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = CASE WHEN bad.setting LIKE '%validation' THEN
                      'It is "none", "id" (the record names a schema of the subject) or "full" (the record '
                      'is read with it).'
                  ELSE 'It is "topic" (the subject is named after the topic), "record" (after the record) or '
                       '"topic-record" (after both).' END;
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_schema_settings IS
    'Raises an error for a validation or subject strategy that does not exist';

CREATE FUNCTION streamhouse.check_timestamp_settings(timestamp_type text, timestamp_before_max interval,
                                                     timestamp_after_max interval) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
BEGIN
    IF timestamp_type NOT IN ('create_time', 'append_time') THEN
        RAISE EXCEPTION 'unknown timestamp_type "%"', left(timestamp_type, 100)
            USING ERRCODE = 'invalid_parameter_value',
                  DETAIL = 'It is "create_time" (the producer''s) or "append_time" (of the agent, when it accepts '
                           'the records).';
    ELSIF timestamp_before_max < interval '0' OR timestamp_after_max < interval '0' THEN
        RAISE EXCEPTION '% is out of range: %',
                        CASE WHEN timestamp_before_max < interval '0' THEN 'timestamp_before_max'
                             ELSE 'timestamp_after_max' END,
                        CASE WHEN timestamp_before_max < interval '0' THEN timestamp_before_max
                             ELSE timestamp_after_max END
            USING ERRCODE = 'invalid_parameter_value', DETAIL = 'It must not be negative.';
    END IF;
END
$$;
COMMENT ON FUNCTION streamhouse.check_timestamp_settings IS
    'Raises an error for a timestamp type that does not exist, or bounds out of their ranges';

CREATE FUNCTION streamhouse.create_topic(
    name           text,
    partitions     int      DEFAULT 1,
    retention      interval DEFAULT NULL,
    segment_size   text     DEFAULT '64MB',
    durability     text     DEFAULT 'wal',
    retention_size text     DEFAULT NULL,
    max_batch_size text     DEFAULT '1MB',
    orphan_timeout interval DEFAULT NULL,
    key_validation         text DEFAULT 'none',
    value_validation       text DEFAULT 'none',
    key_subject_strategy   text DEFAULT 'topic',
    value_subject_strategy text DEFAULT 'topic',
    timestamp_type       text     DEFAULT 'create_time',
    timestamp_before_max interval DEFAULT NULL,
    timestamp_after_max  interval DEFAULT '1 hour'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
#variable_conflict use_variable
DECLARE
    new_id uuid;
BEGIN
    IF partitions IS NULL OR segment_size IS NULL OR durability IS NULL OR max_batch_size IS NULL
       OR timestamp_type IS NULL THEN
        RAISE EXCEPTION 'partitions, segment_size, durability, max_batch_size and timestamp_type must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave an argument out to get its default.';
    ELSIF key_validation IS NULL OR value_validation IS NULL OR key_subject_strategy IS NULL
          OR value_subject_strategy IS NULL THEN
        RAISE EXCEPTION 'validation and subject strategy must not be null'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'Leave an argument out to get its default.';
    END IF;
    PERFORM control_lock();
    PERFORM check_topic_name(name);
    PERFORM check_topic_settings(partitions, retention, durability, orphan_timeout);
    PERFORM check_schema_settings(key_validation, value_validation, key_subject_strategy,
                                  value_subject_strategy);
    PERFORM check_timestamp_settings(timestamp_type, timestamp_before_max, timestamp_after_max);

    INSERT INTO topic AS t (name, durability, partition_count, retention, retention_bytes, segment_bytes,
                            batch_bytes_max, orphan_timeout, key_validation, value_validation,
                            key_subject_strategy, value_subject_strategy, timestamp_type,
                            timestamp_before_max, timestamp_after_max)
    VALUES (name, durability, partitions, retention,
            parse_size('retention_size', retention_size, 1 << 20, 1::bigint << 60),
            parse_size('segment_size', segment_size, 1 << 20, 1 << 30),
            parse_size('max_batch_size', max_batch_size, 1 << 10, 64 << 20), orphan_timeout, key_validation,
            value_validation, key_subject_strategy, value_subject_strategy, timestamp_type,
            timestamp_before_max, timestamp_after_max)
    RETURNING t.topic_id INTO new_id;
    PERFORM add_partitions(new_id, 0, partitions);
    RETURN new_id;
END
$$;
COMMENT ON FUNCTION streamhouse.create_topic IS
    'Creates a topic and returns its id. Retention null keeps records for ever. orphan_timeout is how long '
    'readers wait for an agent that is gone, null for ever. Validation says what agents check of keys and '
    'values against the schema registry, the subject strategy under which subject. Records may be so much older '
    'and newer than the agent''s clock as timestamp_before_max and timestamp_after_max say, null without bound';

CREATE FUNCTION streamhouse.partitions_max() RETURNS int
    LANGUAGE c STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS 'MODULE_PATHNAME', 'sh_setting_partitions_max';
COMMENT ON FUNCTION streamhouse.partitions_max IS 'The setting streamhouse.partitions_max';

CREATE FUNCTION streamhouse.add_partitions(topic_id uuid, first_partition int, partition_count int)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    wanted bigint := (SELECT sum(t.partition_count) FROM topic AS t);
BEGIN
    IF partition_count > first_partition AND wanted > partitions_max() THEN
        RAISE EXCEPTION 'all topics together would have % partitions', wanted
            USING ERRCODE = 'program_limit_exceeded', DETAIL = format('At most %s are allowed.', partitions_max()),
                  HINT = 'Drop topics, make them with fewer partitions, or raise streamhouse.partitions_max.';
    END IF;
    INSERT INTO partition (topic_id, partition)
    SELECT add_partitions.topic_id, p
    FROM generate_series(first_partition, partition_count - 1) AS p;
    PERFORM begin_ownerless_epochs(add_partitions.topic_id);
    PERFORM place_partitions();
    PERFORM bump_versions(assignments => true);
    PERFORM bump_schema_version();
END
$$;
COMMENT ON FUNCTION streamhouse.add_partitions IS
    'Adds the partitions from first_partition up to partition_count, which the topic''s row tells already, and '
    'places them. Needs the control lock';

CREATE FUNCTION streamhouse.topic_for_change(name text) RETURNS streamhouse.topic
LANGUAGE plpgsql SET search_path = pg_catalog, streamhouse, pg_temp
AS $$
DECLARE
    found_topic topic;
BEGIN
    SELECT * INTO found_topic FROM topic AS t WHERE t.name = topic_for_change.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic "%" does not exist', coalesce(topic_for_change.name, '')
            USING ERRCODE = 'undefined_object',
                  HINT = 'SELECT topic FROM streamhouse.topics lists the topics.';
    END IF;
    RETURN found_topic;
END
$$;
COMMENT ON FUNCTION streamhouse.topic_for_change IS
    'The topic of this name, or an error. Needs the control lock';

CREATE FUNCTION streamhouse.drop_topic(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, streamhouse, pg_temp SET jit = off
AS $$
DECLARE
    doomed topic;
BEGIN
    PERFORM control_lock();
    doomed := topic_for_change(drop_topic.name);

    -- Publishes that hold a head finish first; those that wait for one find it gone.
    PERFORM FROM epoch_head AS h WHERE h.topic_id = doomed.topic_id
    ORDER BY h.topic_id, h.partition, h.epoch FOR UPDATE;
    PERFORM note_placement(array_agg(p.topic_id), array_agg(p.partition), array_agg(p.target_agent),
                           array_agg(p.target_agent))
    FROM partition AS p WHERE p.topic_id = doomed.topic_id;
    DELETE FROM epoch_head AS h WHERE h.topic_id = doomed.topic_id;
    DELETE FROM producer_state AS s WHERE s.topic_id = doomed.topic_id;
    DELETE FROM producer_claim AS c WHERE c.topic_id = doomed.topic_id;
    DELETE FROM epoch AS e WHERE e.topic_id = doomed.topic_id;
    DELETE FROM partition AS p WHERE p.topic_id = doomed.topic_id;

    -- Its segments and what they refer to go in small steps: purge_dropped_topics.
    DELETE FROM topic AS t WHERE t.topic_id = doomed.topic_id;
    DELETE FROM schema_seen AS s WHERE s.topic_id = doomed.topic_id;
    INSERT INTO dropped_topic (topic_id, name) VALUES (doomed.topic_id, doomed.name);
    PERFORM place_partitions();
    PERFORM bump_versions(assignments => true);
    PERFORM bump_schema_version();
END
$$;
COMMENT ON FUNCTION streamhouse.drop_topic IS
    'Drops a topic with all its records. A topic made again under the name is another one';
