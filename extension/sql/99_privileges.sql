-- Who may call what. Functions that change tables run as their owner, so that no role needs to write a
-- table and the rules in the functions cannot be gone around.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA streamhouse FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA streamhouse FROM PUBLIC;
REVOKE ALL ON SCHEMA streamhouse FROM PUBLIC;
GRANT USAGE ON SCHEMA streamhouse TO streamhouse_read, streamhouse_agent, streamhouse_admin, pg_monitor;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA streamhouse TO streamhouse_agent;
GRANT SELECT ON ALL TABLES IN SCHEMA streamhouse
TO streamhouse_read, streamhouse_agent, streamhouse_admin, pg_monitor;

-- What views call runs with the rights of who reads them.
GRANT EXECUTE ON FUNCTION
    streamhouse.agent_retention_ms, streamhouse.tick_interval_ms, streamhouse.lease_ticks, streamhouse.interval_ms, streamhouse.is_boundary,
    streamhouse.garbage_grace_ms, streamhouse.marker_interval_ms, streamhouse.snapshot_interval_ms,
    streamhouse.garbage_bound, streamhouse.topics_digest, streamhouse.is_snapshot_due, streamhouse.snapshot_problem,
    streamhouse.snapshot_hold_ms,
    streamhouse.require_store_marker, streamhouse.marker_span, streamhouse.is_marker_fresh, streamhouse.monotonic_ms, streamhouse.marker_held,
    streamhouse.producer_retention, streamhouse.current_timeline, streamhouse.current_identity,
    streamhouse.identity_change, streamhouse.history_is_whole, streamhouse.deletion_allowed,
    streamhouse.version_findings, streamhouse.newest_head, streamhouse.find_open_transactions,
    streamhouse.agent_problem, streamhouse.owner_problem, streamhouse.reader_problem, streamhouse.deletion_problem,
    streamhouse.worker_problem, streamhouse.clock_problem, streamhouse.clock_ahead, streamhouse.is_same_clock,
    streamhouse.machine_boot, streamhouse.clock_tolerance, streamhouse.in_seconds, streamhouse.uncounted, streamhouse.time_ago
TO streamhouse_read, streamhouse_agent, streamhouse_admin, pg_monitor;

GRANT EXECUTE ON FUNCTION
    streamhouse.read_index, streamhouse.read_bounds, streamhouse.find_timestamps, streamhouse.agent_metadata,
    streamhouse.agent_live_agents, streamhouse.metadata_version, streamhouse.records_before, streamhouse.offset_range,
    streamhouse.producers_max,
    streamhouse.scan_interval_ms, streamhouse.compaction_delay_ms, streamhouse.compaction_objects,
    streamhouse.snapshot_tables, streamhouse.agent_log_starts, streamhouse.scrub_objects, streamhouse.scrub_segments,
    streamhouse.check_history, streamhouse.partitions_max
TO streamhouse_read, streamhouse_agent, streamhouse_admin;

-- An agent serves the gRPC service Admin too.
GRANT EXECUTE ON FUNCTION streamhouse.create_topic, streamhouse.alter_topic, streamhouse.rename_topic, streamhouse.drop_topic
TO streamhouse_agent, streamhouse_admin;

GRANT EXECUTE ON FUNCTION
    streamhouse.agent_check, streamhouse.agent_advice, streamhouse.agent_term_to_take, streamhouse.agent_term_taken,
    streamhouse.agent_awaited, streamhouse.agent_unknown_keys, streamhouse.agent_present_epochs,
    streamhouse.agent_present_object, streamhouse.agent_next_twice, streamhouse.agent_void_twice,
    streamhouse.agent_presented,
    streamhouse.agent_store, streamhouse.agent_register, streamhouse.agent_heartbeat, streamhouse.agent_lacks_room,
    streamhouse.agent_end,
    streamhouse.agent_assignments, streamhouse.agent_assign_changes, streamhouse.agent_versions,
    streamhouse.agent_metadata_changes, streamhouse.agent_grant, streamhouse.agent_open,
    streamhouse.agent_seal, streamhouse.agent_leftover, streamhouse.publish_object,
    streamhouse.agent_init_producer, streamhouse.agent_producer_state, streamhouse.agent_claim,
    streamhouse.agent_claims, streamhouse.agent_lookup_producers, streamhouse.agent_garbage, streamhouse.agent_garbage_done,
    streamhouse.agent_snapshot_claim, streamhouse.agent_snapshot_renew, streamhouse.agent_snapshot_failed,
    streamhouse.agent_snapshot_done, streamhouse.agent_snapshots_gone,
    streamhouse.agent_marker_due, streamhouse.agent_marker_next, streamhouse.agent_marker_confirm,
    streamhouse.agent_announce_object, streamhouse.agent_give_up_object,
    streamhouse.agent_scan_claim, streamhouse.agent_unknown_objects, streamhouse.agent_scan_done,
    streamhouse.agent_compaction_claim, streamhouse.agent_compaction_swap, streamhouse.agent_schema_by_id,
    streamhouse.agent_topic_schemas, streamhouse.agent_schemas_seen, streamhouse.agent_list_fits,
    streamhouse.agent_list_schemas
TO streamhouse_agent;

GRANT EXECUTE ON FUNCTION
    streamhouse.new_term, streamhouse.accept_term_boundary,
    streamhouse.rebalance, streamhouse.force_seal, streamhouse.drain_agent, streamhouse.undrain_agent,
    streamhouse.delete_records, streamhouse.give_up_objects, streamhouse.request_snapshot,
    streamhouse.release_agent, streamhouse.retire_agent, streamhouse.forget_store
TO streamhouse_admin;

-- The schema registry. An agent serves its REST API.
GRANT EXECUTE ON FUNCTION
    streamhouse.get_schema(int), streamhouse.get_schema(text, text, boolean),
    streamhouse.get_schema(text, bigint, boolean), streamhouse.lookup_schema, streamhouse.subjects,
    streamhouse.versions, streamhouse.schema_versions, streamhouse.referenced_by(text, text, boolean),
    streamhouse.referenced_by(text, bigint, boolean), streamhouse.get_compatibility, streamhouse.get_mode,
    streamhouse.check_compatibility(text, text, text, jsonb, text, text, boolean),
    streamhouse.check_compatibility(text, text, bigint, text, jsonb, text, boolean),
    streamhouse.schema_in_format, streamhouse.schema_references,
    streamhouse.schema_diff(text, text, text), streamhouse.schema_diff(text, bigint, bigint)
TO streamhouse_read, streamhouse_agent, streamhouse_admin;

-- What takes texts that are not registered is not for those who only read.
GRANT EXECUTE ON FUNCTION
    streamhouse.schema_parse, streamhouse.schema_serialized, streamhouse.schema_compare, streamhouse.schema_pretty,
    streamhouse.text_diff,
    streamhouse.register_schema, streamhouse.delete_version(text, text, boolean),
    streamhouse.delete_version(text, bigint, boolean), streamhouse.delete_subject, streamhouse.set_compatibility,
    streamhouse.reset_compatibility, streamhouse.set_mode, streamhouse.reset_mode
TO streamhouse_agent, streamhouse_admin;

-- Roles that were found under another name get it back.
DO $$
DECLARE
    role_name text;
    renamed   text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['streamhouse_admin', 'streamhouse_agent', 'streamhouse_read'] LOOP
        renamed := current_setting('streamhouse_install.' || role_name, true);
        IF renamed <> '' THEN
            EXECUTE format('ALTER ROLE %I RENAME TO %I', role_name, renamed);
            PERFORM set_config('streamhouse_install.' || role_name, '', true);
        END IF;
    END LOOP;
END
$$;
