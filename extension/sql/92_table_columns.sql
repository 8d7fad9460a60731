-- What each column of the tables means.

COMMENT ON COLUMN streamhouse.installation.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.installation.installation_id IS 'made anew by each CREATE EXTENSION';

COMMENT ON COLUMN streamhouse.cluster.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.cluster.cluster_id IS 'id of the cluster, which its agents keep in their WALs';
COMMENT ON COLUMN streamhouse.cluster.term IS 'the current term';
COMMENT ON COLUMN streamhouse.cluster.system_identifier IS
    'of the server that the term began on, as pg_control_system() tells';
COMMENT ON COLUMN streamhouse.cluster.timeline IS 'timeline of that server';
COMMENT ON COLUMN streamhouse.cluster.database_oid IS 'oid of the database that the term began in';
COMMENT ON COLUMN streamhouse.cluster.installation_id IS 'of the installation that the term began in';
COMMENT ON COLUMN streamhouse.cluster.metadata_version IS 'rises with every change of topics, agents and owners';
COMMENT ON COLUMN streamhouse.cluster.assignment_version IS 'rises with every change of what agents are to own';
COMMENT ON COLUMN streamhouse.cluster.placed_agents IS 'agents that placement last gave partitions to';
COMMENT ON COLUMN streamhouse.cluster.seen_agents IS 'agents that were live when placement last ran';
COMMENT ON COLUMN streamhouse.cluster.schema_version IS 'rises with every change of schemas and their settings';
COMMENT ON COLUMN streamhouse.cluster.store_id IS
    'number of the store that holds the records, as its object store/identity says; null: no agent has told it yet';
COMMENT ON COLUMN streamhouse.cluster.store_place IS 'where the agent that told it saw that store';

COMMENT ON COLUMN streamhouse.topic.topic_id IS 'its id';
COMMENT ON COLUMN streamhouse.topic.name IS 'its name';
COMMENT ON COLUMN streamhouse.topic.durability IS 'when producers get their answer: wal or object';
COMMENT ON COLUMN streamhouse.topic.partition_count IS 'how many partitions it has';
COMMENT ON COLUMN streamhouse.topic.retention IS 'how long records are kept; null: for ever';
COMMENT ON COLUMN streamhouse.topic.retention_bytes IS 'bytes that are kept of each partition; null: no bound';
COMMENT ON COLUMN streamhouse.topic.segment_bytes IS 'size that compaction makes segments of';
COMMENT ON COLUMN streamhouse.topic.batch_bytes_max IS 'the largest record batch that is accepted, in bytes';
COMMENT ON COLUMN streamhouse.topic.orphan_timeout IS
    'how long readers wait for an agent that is gone; null: until somebody decides';
COMMENT ON COLUMN streamhouse.topic.created_at IS 'when it was created';
COMMENT ON COLUMN streamhouse.topic.key_validation IS 'what agents check of keys: none, id or full';
COMMENT ON COLUMN streamhouse.topic.value_validation IS 'what agents check of values: none, id or full';
COMMENT ON COLUMN streamhouse.topic.key_subject_strategy IS
    'how the subjects of keys are named: topic, record or topic-record';
COMMENT ON COLUMN streamhouse.topic.value_subject_strategy IS
    'how the subjects of values are named: topic, record or topic-record';
COMMENT ON COLUMN streamhouse.topic.timestamp_type IS
    'whose times records have: create_time, their producers''; append_time, the agent''s';
COMMENT ON COLUMN streamhouse.topic.timestamp_before_max IS
    'how much older than the agent''s clock a record may be; null: no bound';
COMMENT ON COLUMN streamhouse.topic.timestamp_after_max IS 'how much newer; null: no bound';

COMMENT ON COLUMN streamhouse.dropped_topic.topic_id IS 'its id';
COMMENT ON COLUMN streamhouse.dropped_topic.name IS 'the name that it had';
COMMENT ON COLUMN streamhouse.dropped_topic.dropped_at IS 'when it was dropped';
COMMENT ON COLUMN streamhouse.dropped_topic.is_purged IS 'whether its segments are gone from the index';

COMMENT ON COLUMN streamhouse.agent.agent_id IS 'the agent''s name, its setting agent_id';
COMMENT ON COLUMN streamhouse.agent.incarnation_id IS 'the incarnation that registered last';
COMMENT ON COLUMN streamhouse.agent.address IS 'where clients and other agents reach it, host:port';
COMMENT ON COLUMN streamhouse.agent.http_address IS 'where its health, readiness and metrics are served';
COMMENT ON COLUMN streamhouse.agent.zone IS 'its availability zone';
COMMENT ON COLUMN streamhouse.agent.draining IS 'whether drain_agent keeps partitions away from it';
COMMENT ON COLUMN streamhouse.agent.lacks_room IS 'whether it said that its disk has no room for its write-ahead log';
COMMENT ON COLUMN streamhouse.agent.bound_role IS 'role that alone may register it; null: none yet';
COMMENT ON COLUMN streamhouse.agent.registered_at IS 'when the incarnation registered';

COMMENT ON COLUMN streamhouse.incarnation.incarnation_id IS 'number in the order of registration';
COMMENT ON COLUMN streamhouse.incarnation.wal_uuid IS 'the write-ahead log';
COMMENT ON COLUMN streamhouse.incarnation.incarnation_no IS 'how many times that WAL was started';
COMMENT ON COLUMN streamhouse.incarnation.agent_id IS 'name under which it registered';
COMMENT ON COLUMN streamhouse.incarnation.state IS
    'live; fenced: a newer start of its WAL took over; ended: it ended in good order; retired: it does not return; '
    'outdated: of an older term';
COMMENT ON COLUMN streamhouse.incarnation.boot_id IS 'boot of the host that it started in';
COMMENT ON COLUMN streamhouse.incarnation.version IS 'version of the agent';
COMMENT ON COLUMN streamhouse.incarnation.registered_at IS 'when it registered';

COMMENT ON COLUMN streamhouse.lease.wal_uuid IS 'the write-ahead log';
COMMENT ON COLUMN streamhouse.lease.incarnation_id IS 'the incarnation that has the lease; null: none';
COMMENT ON COLUMN streamhouse.lease.ticks_left IS 'ticks until it runs out';
COMMENT ON COLUMN streamhouse.lease.silent_ms IS
    'milliseconds since the last renewal, as far as ticks have counted them';
COMMENT ON COLUMN streamhouse.lease.unpublished IS
    'records that the agent had accepted and not published at the last renewal';
COMMENT ON COLUMN streamhouse.lease.calls IS 'calls of the agent that were counted';
COMMENT ON COLUMN streamhouse.lease.renewed_at IS 'when it was renewed last';
COMMENT ON COLUMN streamhouse.lease.bound_role IS 'role that alone may call for the WAL; null: none yet';
COMMENT ON COLUMN streamhouse.lease.updates IS 'how many times calls and ticks have changed the row';
COMMENT ON COLUMN streamhouse.lease.stage IS 'rises with every 16th of these; the row of the highest stage counts';

COMMENT ON COLUMN streamhouse.lease_clock.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.lease_clock.number IS 'number of the last tick';
COMMENT ON COLUMN streamhouse.lease_clock.ticked_ms IS
    'when that was, by the server''s monotonic clock, in milliseconds';
COMMENT ON COLUMN streamhouse.server_clock.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.server_clock.seen_at IS
    'the wall clock, but for differences that are too small to be leaps: these add up';
COMMENT ON COLUMN streamhouse.server_clock.monotonic_ms IS 'the monotonic clock then';
COMMENT ON COLUMN streamhouse.server_clock.boot IS 'which start of the machine that clock counts from; null: unknown';
COMMENT ON COLUMN streamhouse.server_clock.leap_ends IS 'when, by the wall clock, leaps were noted; the oldest first';
COMMENT ON COLUMN streamhouse.server_clock.leaps IS 'by how much it had leapt ahead each time';
COMMENT ON COLUMN streamhouse.server_clock.stepped_at IS
    'when it last leapt while the monotonic clock ran on; null: it did not, or was turned back';

COMMENT ON COLUMN streamhouse.partition.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.partition.partition IS 'number, from 0';
COMMENT ON COLUMN streamhouse.partition.log_start IS 'the lowest offset that can be read';
COMMENT ON COLUMN streamhouse.partition.next_offset IS 'where the next epoch begins';
COMMENT ON COLUMN streamhouse.partition.next_epoch IS 'number of the next epoch in its term';
COMMENT ON COLUMN streamhouse.partition.target_agent IS 'agent that placement wants as owner';
COMMENT ON COLUMN streamhouse.partition.first_segment IS 'segments below this offset are gone';
COMMENT ON COLUMN streamhouse.partition.log_start_version IS 'number of the change that last moved the log start';
COMMENT ON COLUMN streamhouse.partition.records_retired IS
    'records of the epochs'' counts that lie below log_start or were given up';
COMMENT ON COLUMN streamhouse.partition.bytes_retired IS 'bytes of these';

COMMENT ON COLUMN streamhouse.control_change.version IS 'metadata version that made the change known';
COMMENT ON COLUMN streamhouse.control_change.topic_id IS 'id of the topic; null: anything may have changed';
COMMENT ON COLUMN streamhouse.control_change.partition IS 'number of the partition; null: the topic itself';
COMMENT ON COLUMN streamhouse.control_change.agent_id IS
    'whose work there may have changed; null: what metadata tell everybody';

COMMENT ON COLUMN streamhouse.epoch.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.epoch.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.epoch.epoch IS 'number of the epoch; the bits from 40 up are the term';
COMMENT ON COLUMN streamhouse.epoch.incarnation_id IS
    'the incarnation that it was granted to, or that recovers it; null: object durability';
COMMENT ON COLUMN streamhouse.epoch.durability IS 'wal, or object: it has no owner';
COMMENT ON COLUMN streamhouse.epoch.state IS
    'granted: an owner, no acknowledgement yet; open; orphaned: its agent lost the partition; sealed';
COMMENT ON COLUMN streamhouse.epoch.inherited IS 'whether it is of an earlier incarnation, and is being recovered';
COMMENT ON COLUMN streamhouse.epoch.start_offset IS 'the first offset of its range';
COMMENT ON COLUMN streamhouse.epoch.limit_offset IS 'the offset after its range';
COMMENT ON COLUMN streamhouse.epoch.end_offset IS 'the offset after its last, once it is sealed';
COMMENT ON COLUMN streamhouse.epoch.records_base IS
    'records of the partition before it; null until all earlier epochs are sealed';
COMMENT ON COLUMN streamhouse.epoch.bytes_base IS 'bytes of these';
COMMENT ON COLUMN streamhouse.epoch.orphaned_at IS 'when its agent lost the partition';
COMMENT ON COLUMN streamhouse.epoch.orphan_timeout IS 'the time-out that its agent was told';
COMMENT ON COLUMN streamhouse.epoch.timeout_before IS
    'the longest that the agent may still go by instead, while told_version is not null; null: for ever';
COMMENT ON COLUMN streamhouse.epoch.told_version IS
    'the version of the first answer that told it orphan_timeout; null: the agent is known to have that';
COMMENT ON COLUMN streamhouse.epoch.forced IS 'whether it was sealed without its agent';
COMMENT ON COLUMN streamhouse.epoch.forced_at IS 'when';
COMMENT ON COLUMN streamhouse.epoch.leftover_of IS 'the epoch whose records beyond a forced end this one holds';
COMMENT ON COLUMN streamhouse.epoch.held_at IS
    'until a term is settled: where readers stop, as far as it was published when the term began';

COMMENT ON COLUMN streamhouse.epoch_head.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.epoch_head.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.epoch_head.epoch IS 'number of the epoch';
COMMENT ON COLUMN streamhouse.epoch_head.published_end IS 'the offset after the last that is published of it';
COMMENT ON COLUMN streamhouse.epoch_head.records IS 'records published in it';
COMMENT ON COLUMN streamhouse.epoch_head.bytes IS 'bytes of record batches published in it';
COMMENT ON COLUMN streamhouse.epoch_head.timestamp_high_ms IS
    'the highest time of its records, in milliseconds since 1970';
COMMENT ON COLUMN streamhouse.epoch_head.updates IS 'how many times the row was changed';
COMMENT ON COLUMN streamhouse.epoch_head.stage IS 'rises with every 16th of these; the row of the highest stage counts';

COMMENT ON COLUMN streamhouse.object.object_id IS 'its id';
COMMENT ON COLUMN streamhouse.object.object_key IS 'its key in the store';
COMMENT ON COLUMN streamhouse.object.incarnation_id IS 'incarnation that wrote it';
COMMENT ON COLUMN streamhouse.object.publish_no IS
    'number of the publish that it came with; null: a compaction, or of an older term';
COMMENT ON COLUMN streamhouse.object.bytes IS 'its size';
COMMENT ON COLUMN streamhouse.object.state IS
    'announced: about to be uploaded by a compaction; live; abandoned: it can be published no more; deleting';
COMMENT ON COLUMN streamhouse.object.live_rows IS 'segments that refer to it';
COMMENT ON COLUMN streamhouse.object.created_at IS 'when the database heard of it';

COMMENT ON COLUMN streamhouse.segment.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.segment.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.segment.first_offset IS 'the first offset';
COMMENT ON COLUMN streamhouse.segment.base_offset IS
    'offset at which its batches begin; what lies below first_offset is published elsewhere';
COMMENT ON COLUMN streamhouse.segment.last_offset IS 'the last offset';
COMMENT ON COLUMN streamhouse.segment.epoch IS 'epoch that its offsets are of';
COMMENT ON COLUMN streamhouse.segment.records IS 'records in it';
COMMENT ON COLUMN streamhouse.segment.bytes IS 'bytes of its record batches';
COMMENT ON COLUMN streamhouse.segment.position IS 'where its batches begin in the object';
COMMENT ON COLUMN streamhouse.segment.object_id IS 'object that holds it';
COMMENT ON COLUMN streamhouse.segment.min_timestamp_ms IS 'the lowest time of its records, in milliseconds since 1970';
COMMENT ON COLUMN streamhouse.segment.max_timestamp_ms IS 'the highest';
COMMENT ON COLUMN streamhouse.segment.timestamp_high_ms IS 'the highest time of the epoch up to and with this row';
COMMENT ON COLUMN streamhouse.segment.arrived_ms IS
    'when it was published, by the server''s clock; of what was compacted the latest';

COMMENT ON COLUMN streamhouse.publish_result.incarnation_id IS 'incarnation that published';
COMMENT ON COLUMN streamhouse.publish_result.publish_no IS 'its number for the publish';
COMMENT ON COLUMN streamhouse.publish_result.object_id IS 'object that was published';
COMMENT ON COLUMN streamhouse.publish_result.results IS 'what was decided of each entry';
COMMENT ON COLUMN streamhouse.publish_result.first_offsets IS 'first offset of each entry';
COMMENT ON COLUMN streamhouse.publish_result.published_ends IS 'published end after each entry';
COMMENT ON COLUMN streamhouse.publish_result.oldest_no IS
    'lowest number whose result its agent had not confirmed then, so that what lies below is not looked for';

COMMENT ON COLUMN streamhouse.retention_clock.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.retention_clock.version IS 'number of the last change of a log start';
COMMENT ON COLUMN streamhouse.retention_clock.topic_id IS 'topic at which retention was last';
COMMENT ON COLUMN streamhouse.retention_clock.partition IS 'partition at which retention was last';

COMMENT ON COLUMN streamhouse.log_start_request.request_id IS 'its id';
COMMENT ON COLUMN streamhouse.log_start_request.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.log_start_request.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.log_start_request.log_start IS 'where the partition is to begin';

COMMENT ON COLUMN streamhouse.object_deletion.object_id IS 'id of the object';
COMMENT ON COLUMN streamhouse.object_deletion.reason IS 'why it may go: unreferenced, announced or abandoned';
COMMENT ON COLUMN streamhouse.object_deletion.since IS 'since when';
COMMENT ON COLUMN streamhouse.object_deletion.made_by IS 'transaction that said so';
COMMENT ON COLUMN streamhouse.object_deletion.claimed_by IS 'incarnation that has undertaken to delete it';
COMMENT ON COLUMN streamhouse.object_deletion.claimed_until IS 'until when nobody else does';

COMMENT ON COLUMN streamhouse.bucket_scan.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.bucket_scan.started_at IS 'when the last look through the store began';
COMMENT ON COLUMN streamhouse.bucket_scan.finished_at IS 'when it ended';
COMMENT ON COLUMN streamhouse.bucket_scan.claimed_by IS 'incarnation that looks now';
COMMENT ON COLUMN streamhouse.bucket_scan.claimed_until IS 'until when nobody else does';

COMMENT ON COLUMN streamhouse.compaction.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.compaction.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.compaction.done_offset IS 'below it nothing is left to compact';
COMMENT ON COLUMN streamhouse.compaction.claimed_by IS 'incarnation that compacts it now';
COMMENT ON COLUMN streamhouse.compaction.claimed_until IS 'until when nobody else does';

COMMENT ON COLUMN streamhouse.compaction_cursor.agent_id IS 'name of the agent';
COMMENT ON COLUMN streamhouse.compaction_cursor.topic_id IS 'topic at which it goes on';
COMMENT ON COLUMN streamhouse.compaction_cursor.partition IS 'partition at which it goes on';

COMMENT ON COLUMN streamhouse.index_snapshot.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.index_snapshot.number IS 'number of the last snapshot that is complete';
COMMENT ON COLUMN streamhouse.index_snapshot.began_at IS 'when it was begun';
COMMENT ON COLUMN streamhouse.index_snapshot.finished_at IS 'when it was complete';
COMMENT ON COLUMN streamhouse.index_snapshot.bytes IS 'its size in the store';
COMMENT ON COLUMN streamhouse.index_snapshot.topics IS 'digest of the topics that it knows';
COMMENT ON COLUMN streamhouse.index_snapshot.holds IS 'transactions that it holds: those that are visible in it';
COMMENT ON COLUMN streamhouse.index_snapshot.former_number IS 'number of the one before';
COMMENT ON COLUMN streamhouse.index_snapshot.former_began_at IS 'when that was begun';
COMMENT ON COLUMN streamhouse.index_snapshot.former_holds IS 'transactions that that one holds';
COMMENT ON COLUMN streamhouse.index_snapshot.requests IS 'calls of request_snapshot()';
COMMENT ON COLUMN streamhouse.index_snapshot.answered IS 'those of them that a complete snapshot came after';
COMMENT ON COLUMN streamhouse.index_snapshot.attempt IS 'number of the one that is being written';
COMMENT ON COLUMN streamhouse.index_snapshot.claimed_by IS 'incarnation that writes it';
COMMENT ON COLUMN streamhouse.index_snapshot.claimed_until IS 'until when nobody else does';
COMMENT ON COLUMN streamhouse.index_snapshot.claim_began_at IS 'when it was begun';
COMMENT ON COLUMN streamhouse.index_snapshot.claim_holds IS 'transactions that it will hold';
COMMENT ON COLUMN streamhouse.index_snapshot.claimed_topics IS 'digest of the topics that it will know';
COMMENT ON COLUMN streamhouse.index_snapshot.claim_answers IS 'requests that it will answer';
COMMENT ON COLUMN streamhouse.index_snapshot.claimed_at IS 'when it was claimed';
COMMENT ON COLUMN streamhouse.index_snapshot.took IS 'how long the last one took to write';
COMMENT ON COLUMN streamhouse.index_snapshot.waits_since IS 'when the last one was finished, or the first attempt or the term began';
COMMENT ON COLUMN streamhouse.index_snapshot.failures IS 'attempts since then that came to nothing';
COMMENT ON COLUMN streamhouse.index_snapshot.failed_at IS 'when the last of them failed';
COMMENT ON COLUMN streamhouse.index_snapshot.failure IS 'why it did';
COMMENT ON COLUMN streamhouse.index_snapshot.given_up_at IS 'since when the store holds none because none could be finished; null: no such time';

COMMENT ON COLUMN streamhouse.producer.producer_id IS 'the id';
COMMENT ON COLUMN streamhouse.producer.used_at IS 'about when it was last asked for';
COMMENT ON COLUMN streamhouse.producer.has_batches IS
    'true from before its first batch is taken in; while it is false, nobody has anything of it';

COMMENT ON COLUMN streamhouse.producer_state.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.producer_state.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.producer_state.producer_id IS 'the producer';
COMMENT ON COLUMN streamhouse.producer_state.producer_epoch IS 'its epoch as a producer';
COMMENT ON COLUMN streamhouse.producer_state.base_sequences IS 'first sequence of each stretch of consecutive ones';
COMMENT ON COLUMN streamhouse.producer_state.sequence_counts IS 'sequences in each';
COMMENT ON COLUMN streamhouse.producer_state.base_offsets IS 'offset of the first record of each';
COMMENT ON COLUMN streamhouse.producer_state.updated_at IS 'when it was written last';
COMMENT ON COLUMN streamhouse.producer_state.updates IS 'how many publishes have changed the row';
COMMENT ON COLUMN streamhouse.producer_state.stage IS 'rises with every 16th of these; the row of the highest stage counts';

COMMENT ON COLUMN streamhouse.producer_claim.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.producer_claim.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.producer_claim.producer_id IS 'the producer';
COMMENT ON COLUMN streamhouse.producer_claim.producer_epoch IS 'its epoch as a producer';
COMMENT ON COLUMN streamhouse.producer_claim.epoch IS 'epoch of the partition that it goes on in';
COMMENT ON COLUMN streamhouse.producer_claim.first_unacked_seq IS
    'its sequences from this one on are void in earlier epochs';
COMMENT ON COLUMN streamhouse.producer_claim.claimed_at IS 'when it was claimed';

COMMENT ON COLUMN streamhouse.producer_expiry.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.producer_expiry.checked_at IS
    'when the look for what is no longer written was last through';
COMMENT ON COLUMN streamhouse.producer_expiry.topic_id IS 'where it goes on; null: it is not under way';
COMMENT ON COLUMN streamhouse.producer_expiry.partition IS 'where it goes on';
COMMENT ON COLUMN streamhouse.producer_expiry.producer_id IS 'where it goes on';
COMMENT ON COLUMN streamhouse.producer_expiry.forgotten IS 'ids that producer_number counts and that are gone';

COMMENT ON COLUMN streamhouse.term.term IS 'number of the term';
COMMENT ON COLUMN streamhouse.term.began_at IS 'when it began';
COMMENT ON COLUMN streamhouse.term.reason IS 'why';
COMMENT ON COLUMN streamhouse.term.known_until IS
    'the last time at which the database, as it was then, shows agents at work; -infinity: never';
COMMENT ON COLUMN streamhouse.term.nonce IS 'what tells this beginning of the number from others';
COMMENT ON COLUMN streamhouse.term.taken_at IS 'since when the store says that the number is this beginning''s';
COMMENT ON COLUMN streamhouse.term.ticks_left IS 'ticks before which it is not settled';
COMMENT ON COLUMN streamhouse.term.unreadable IS 'objects that the last agent to present could not read';
COMMENT ON COLUMN streamhouse.term.unresolved IS
    'these, and records found in the store for which the index has no place, as last counted';
COMMENT ON COLUMN streamhouse.term.settled_at IS 'when readers went on past its boundary';
COMMENT ON COLUMN streamhouse.term.accepted IS 'whether accept_term_boundary ended the wait';
COMMENT ON COLUMN streamhouse.term.deletion_allowed IS 'whether agents may delete objects';

COMMENT ON COLUMN streamhouse.term_awaited.term IS 'number of the term';
COMMENT ON COLUMN streamhouse.term_awaited.wal_uuid IS 'write-ahead log that was at work before it';
COMMENT ON COLUMN streamhouse.term_awaited.agent_id IS 'its agent';
COMMENT ON COLUMN streamhouse.term_awaited.presented_at IS 'when that has presented what it knows; null: it is awaited';

COMMENT ON COLUMN streamhouse.late_sequences.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.late_sequences.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.late_sequences.producer_id IS 'id of the producer';
COMMENT ON COLUMN streamhouse.late_sequences.producer_epoch IS 'its epoch as a producer';
COMMENT ON COLUMN streamhouse.late_sequences.epoch IS 'epoch that its records were accepted in';
COMMENT ON COLUMN streamhouse.late_sequences.first_seq IS 'the first of its sequences that were published there';
COMMENT ON COLUMN streamhouse.late_sequences.end_seq IS 'the sequence after the last';
COMMENT ON COLUMN streamhouse.late_sequences.base_sequences IS 'first sequence of each stretch, where it may yet be void';
COMMENT ON COLUMN streamhouse.late_sequences.sequence_counts IS 'how many sequences each of them has';
COMMENT ON COLUMN streamhouse.late_sequences.base_offsets IS 'offset of the first of each';

COMMENT ON COLUMN streamhouse.stored_twice.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.stored_twice.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.stored_twice.first_offset IS 'the first offset that is to be void';
COMMENT ON COLUMN streamhouse.stored_twice.end_offset IS 'the offset after the last';

COMMENT ON COLUMN streamhouse.unplaced_run.object_id IS 'object that holds it';
COMMENT ON COLUMN streamhouse.unplaced_run.ordinal IS 'place of the run as it was presented; 0: what was left out before';
COMMENT ON COLUMN streamhouse.unplaced_run.wal_uuid IS 'write-ahead log of the agent that uploaded the object';
COMMENT ON COLUMN streamhouse.unplaced_run.topic_id IS 'topic of the run; null: of what was left out';
COMMENT ON COLUMN streamhouse.unplaced_run.partition IS 'partition of the run';
COMMENT ON COLUMN streamhouse.unplaced_run.epoch IS 'epoch that its records were accepted in';
COMMENT ON COLUMN streamhouse.unplaced_run.first_offset IS 'offset of its first record; null: nobody knows';
COMMENT ON COLUMN streamhouse.unplaced_run.end_offset IS 'offset after its last record';
COMMENT ON COLUMN streamhouse.unplaced_run.records IS 'how many records it holds';

COMMENT ON COLUMN streamhouse.store_marker.one_row IS 'there is one row';
COMMENT ON COLUMN streamhouse.store_marker.number IS
    'number of the last marker that is this database''s; null: it takes the chain over';
COMMENT ON COLUMN streamhouse.store_marker.nonce IS 'what that marker carries';
COMMENT ON COLUMN streamhouse.store_marker.next_nonce IS 'what the next one will';
COMMENT ON COLUMN streamhouse.store_marker.held_since IS 'since when the chain is unbroken';
COMMENT ON COLUMN streamhouse.store_marker.confirmed_at IS 'when the last marker was found to be the highest';
COMMENT ON COLUMN streamhouse.store_marker.held_since_ms IS
    'the first of these by the server''s monotonic clock, in milliseconds';
COMMENT ON COLUMN streamhouse.store_marker.confirmed_ms IS 'the second';
COMMENT ON COLUMN streamhouse.store_marker.contested_by IS 'the marker of another database that works with the store';
COMMENT ON COLUMN streamhouse.store_marker.contest_floor IS 'objections up to the marker of this number are settled';
COMMENT ON COLUMN streamhouse.store_marker.claimed_by IS 'incarnation that renews it now';
COMMENT ON COLUMN streamhouse.store_marker.claimed_until IS 'until when nobody else does';

COMMENT ON COLUMN streamhouse.schema.schema_id IS 'its id, which records carry';
COMMENT ON COLUMN streamhouse.schema.type IS 'AVRO, JSON or PROTOBUF';
COMMENT ON COLUMN streamhouse.schema.canonical IS 'its text in canonical form';
COMMENT ON COLUMN streamhouse.schema.digest IS 'of type, canonical text and references';
COMMENT ON COLUMN streamhouse.schema.normalized_digest IS 'the same of the normalized text';
COMMENT ON COLUMN streamhouse.schema.fingerprint IS 'SHA-256 of the parsing canonical form';
COMMENT ON COLUMN streamhouse.schema.record_name IS
    'name of the record or message, by which the strategies record and topic-record find the subject';
COMMENT ON COLUMN streamhouse.schema.dependency_ids IS 'its references and theirs, each after what it needs itself';
COMMENT ON COLUMN streamhouse.schema.dependency_names IS 'the names that these go by';
COMMENT ON COLUMN streamhouse.schema.created_at IS 'when it was first registered';

COMMENT ON COLUMN streamhouse.schema_reference.schema_id IS 'id of the schema that refers';
COMMENT ON COLUMN streamhouse.schema_reference.ordinal IS 'place among its references';
COMMENT ON COLUMN streamhouse.schema_reference.name IS 'name in its text';
COMMENT ON COLUMN streamhouse.schema_reference.subject IS 'subject that is meant';
COMMENT ON COLUMN streamhouse.schema_reference.version IS 'version that is meant';
COMMENT ON COLUMN streamhouse.schema_reference.referenced_id IS 'id of that version''s schema';

COMMENT ON COLUMN streamhouse.schema_subject.subject IS 'the subject';
COMMENT ON COLUMN streamhouse.schema_subject.next_version IS 'number of its next version';

COMMENT ON COLUMN streamhouse.schema_version.subject IS 'the subject';
COMMENT ON COLUMN streamhouse.schema_version.version IS 'number of the version';
COMMENT ON COLUMN streamhouse.schema_version.schema_id IS 'id of its schema';
COMMENT ON COLUMN streamhouse.schema_version.state IS
    'live; deleted: it can still be asked for; purged: only its number is kept';
COMMENT ON COLUMN streamhouse.schema_version.registered_at IS 'when it was registered';
COMMENT ON COLUMN streamhouse.schema_version.registered_by IS 'by which role';
COMMENT ON COLUMN streamhouse.schema_version.deleted_at IS 'when it was deleted';

COMMENT ON COLUMN streamhouse.schema_setting.subject IS 'the subject; empty: all that have none of their own';
COMMENT ON COLUMN streamhouse.schema_setting.compatibility IS 'the level; null: not set';
COMMENT ON COLUMN streamhouse.schema_setting.mode IS 'READWRITE, READONLY or IMPORT; null: not set';

COMMENT ON COLUMN streamhouse.schema_seen.schema_id IS 'id of the schema';
COMMENT ON COLUMN streamhouse.schema_seen.topic_id IS 'topic whose records carry it';
COMMENT ON COLUMN streamhouse.schema_seen.last_seen IS 'when an agent last saw it there, to about a minute';
