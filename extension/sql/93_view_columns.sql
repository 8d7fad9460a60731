-- What each column of the views means. docs/reference/views.md is printed from it.

COMMENT ON COLUMN streamhouse.topics.topic IS 'the name';
COMMENT ON COLUMN streamhouse.topics.partitions IS 'how many partitions it has';
COMMENT ON COLUMN streamhouse.topics.durability IS
    'when producers get their answer: wal, from the disk of an agent; object, from the store';
COMMENT ON COLUMN streamhouse.topics.records IS 'records that are kept and published, of all partitions';
COMMENT ON COLUMN streamhouse.topics.bytes IS 'bytes of record batches that are kept and published, of all partitions';
COMMENT ON COLUMN streamhouse.topics.retention IS 'how long records are kept; null: for ever';
COMMENT ON COLUMN streamhouse.topics.retention_size IS 'how much is kept of each partition; null: no bound';
COMMENT ON COLUMN streamhouse.topics.segment_size IS 'size that compaction makes segments of';
COMMENT ON COLUMN streamhouse.topics.max_batch_size IS 'the largest record batch that is accepted';
COMMENT ON COLUMN streamhouse.topics.orphan_timeout IS
    'how long readers wait for an agent that is gone; null: until somebody decides';
COMMENT ON COLUMN streamhouse.topics.timestamp_type IS
    'whose times records have: create_time, their producers''; append_time, the agent''s';
COMMENT ON COLUMN streamhouse.topics.timestamp_before_max IS
    'how much older than the agent''s clock a record may be; null: no bound';
COMMENT ON COLUMN streamhouse.topics.timestamp_after_max IS 'how much newer; null: no bound';
COMMENT ON COLUMN streamhouse.topics.created_at IS 'when it was created';
COMMENT ON COLUMN streamhouse.topics.topic_id IS 'its id, which a new name leaves as it is';

COMMENT ON COLUMN streamhouse.partitions.topic IS 'the topic''s name';
COMMENT ON COLUMN streamhouse.partitions.partition IS 'number, from 0';
COMMENT ON COLUMN streamhouse.partitions.owner IS
    'agent that takes its records; null: none now, or an object topic, which needs none';
COMMENT ON COLUMN streamhouse.partitions.records IS
    'records that are kept and published, above log_start; offsets may have holes, so no difference of them counts '
    'records';
COMMENT ON COLUMN streamhouse.partitions.bytes IS 'bytes of record batches that are kept and published';
COMMENT ON COLUMN streamhouse.partitions.log_start IS 'the lowest offset that can be read';
COMMENT ON COLUMN streamhouse.partitions.published_end IS 'the offset after the last that readers may see';
COMMENT ON COLUMN streamhouse.partitions.epoch IS 'the epoch that is granted or open, else the newest';
COMMENT ON COLUMN streamhouse.partitions.epoch_state IS 'its state, as in the view epochs';
COMMENT ON COLUMN streamhouse.partitions.target IS 'agent that placement wants as owner';
COMMENT ON COLUMN streamhouse.partitions.status IS 'what the partition, or its readers, wait for; ok: nothing';
COMMENT ON COLUMN streamhouse.partitions.topic_id IS 'id of the topic';

COMMENT ON COLUMN streamhouse.agents.agent_id IS 'the agent''s name, its setting agent_id';
COMMENT ON COLUMN streamhouse.agents.state IS
    'live; draining: live, and drain_agent keeps partitions away; expired: its lease has run out, and it may return; '
    'fenced: a newer start of its WAL took over; ended: it ended in good order; retired: it does not return; outdated: '
    'of an older term';
COMMENT ON COLUMN streamhouse.agents.address IS 'where clients and other agents reach it, host:port';
COMMENT ON COLUMN streamhouse.agents.http_address IS 'where its health, readiness and metrics are served';
COMMENT ON COLUMN streamhouse.agents.zone IS 'its availability zone';
COMMENT ON COLUMN streamhouse.agents.version IS 'its version';
COMMENT ON COLUMN streamhouse.agents.partitions IS 'partitions that it owns';
COMMENT ON COLUMN streamhouse.agents.ticks_left IS 'ticks until its lease runs out';
COMMENT ON COLUMN streamhouse.agents.calls IS 'calls that it has made and the database counted';
COMMENT ON COLUMN streamhouse.agents.incarnation_id IS 'its incarnation: one start';
COMMENT ON COLUMN streamhouse.agents.wal_uuid IS 'its write-ahead log';
COMMENT ON COLUMN streamhouse.agents.incarnation_no IS 'how many times that WAL was started';
COMMENT ON COLUMN streamhouse.agents.registered_at IS 'when this incarnation registered';
COMMENT ON COLUMN streamhouse.agents.draining IS 'whether drain_agent keeps partitions away from it';
COMMENT ON COLUMN streamhouse.agents.problem IS
    'why a live agent would stay live here although it is gone, as when no worker ticks, or why it is kept from partitions although '
    'nobody drains it; null: nothing';

COMMENT ON COLUMN streamhouse.health.subject IS 
    'what can be wrong: workers, agents, partitions, readers, history, terms, deletion, snapshots, clock, transactions';
COMMENT ON COLUMN streamhouse.health.is_well IS 'whether it is well';
COMMENT ON COLUMN streamhouse.health.status IS 'what is wrong, and what to do; ok: nothing';

COMMENT ON COLUMN streamhouse.leases.agent_id IS 'agent that started the WAL last';
COMMENT ON COLUMN streamhouse.leases.incarnation_id IS
    'the incarnation that has the lease; null: none, it was fenced or has ended';
COMMENT ON COLUMN streamhouse.leases.state IS 'of that incarnation, as in the view agents';
COMMENT ON COLUMN streamhouse.leases.ticks_left IS 'ticks until it runs out';
COMMENT ON COLUMN streamhouse.leases.age IS 'time since the last renewal, as far as ticks have counted it';
COMMENT ON COLUMN streamhouse.leases.unpublished IS
    'records that the agent had accepted and not published then; what it accepted since is not in it';
COMMENT ON COLUMN streamhouse.leases.calls IS 'calls that the agent has made and the database counted';
COMMENT ON COLUMN streamhouse.leases.wal_uuid IS 'the write-ahead log';

COMMENT ON COLUMN streamhouse.epochs.topic IS 'the topic''s name';
COMMENT ON COLUMN streamhouse.epochs.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.epochs.epoch IS 'number of the epoch; the bits from 40 up are the term';
COMMENT ON COLUMN streamhouse.epochs.state IS
    'granted: an owner, no acknowledgement yet; open; orphaned: its agent lost the partition, and may still publish '
    'into it; sealed';
COMMENT ON COLUMN streamhouse.epochs.durability IS 'wal, or object: it has no owner';
COMMENT ON COLUMN streamhouse.epochs.agent_id IS 'its agent';
COMMENT ON COLUMN streamhouse.epochs.incarnation_id IS 'the incarnation that it was granted to, or that recovers it';
COMMENT ON COLUMN streamhouse.epochs.start_offset IS 'the first offset of its range';
COMMENT ON COLUMN streamhouse.epochs.end_offset IS 'the offset after its last, once it is sealed';
COMMENT ON COLUMN streamhouse.epochs.limit_offset IS 'the offset after its range; null: no limit';
COMMENT ON COLUMN streamhouse.epochs.published_end IS 'the offset after the last that is published of it';
COMMENT ON COLUMN streamhouse.epochs.records IS 'records published in it';
COMMENT ON COLUMN streamhouse.epochs.bytes IS 'bytes of record batches published in it';
COMMENT ON COLUMN streamhouse.epochs.forced IS
    'whether it was sealed without its agent, by force_seal or orphan_timeout';
COMMENT ON COLUMN streamhouse.epochs.orphaned_at IS 'when its agent lost the partition';
COMMENT ON COLUMN streamhouse.epochs.leftover_of IS 'the epoch whose records beyond a forced end this one holds';
COMMENT ON COLUMN streamhouse.epochs.topic_id IS 'id of the topic';

COMMENT ON COLUMN streamhouse.orphans.topic IS 'the topic''s name';
COMMENT ON COLUMN streamhouse.orphans.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.orphans.epoch IS 'the epoch at whose published end readers wait';
COMMENT ON COLUMN streamhouse.orphans.agent_id IS 'agent that may still publish into it';
COMMENT ON COLUMN streamhouse.orphans.wal_uuid IS 'the write-ahead log that holds what is missing';
COMMENT ON COLUMN streamhouse.orphans.agent_state IS 'gone, or publishes: it is back';
COMMENT ON COLUMN streamhouse.orphans.age IS 'time since another agent took the partition over; null: none has';
COMMENT ON COLUMN streamhouse.orphans.agent_silent IS
    'time since the last renewal of the agent''s lease, as far as ticks have counted it';
COMMENT ON COLUMN streamhouse.orphans.published_end IS 'the offset at which readers wait';
COMMENT ON COLUMN streamhouse.orphans.agent_unpublished IS
    'records that the agent had accepted and not published at its last heartbeat, of all its partitions; 0 does not say that '
    'none are missing, as it may have accepted some since';
COMMENT ON COLUMN streamhouse.orphans.orphan_timeout IS 'when the wait ends by itself; null: never';
COMMENT ON COLUMN streamhouse.orphans.leftover_of IS 'the epoch whose records beyond a forced end this one holds';
COMMENT ON COLUMN streamhouse.orphans.topic_id IS 'id of the topic';

COMMENT ON COLUMN streamhouse.objects.object_key IS 'its key in the store';
COMMENT ON COLUMN streamhouse.objects.state IS
    'announced: about to be uploaded by a compaction; live; garbage: no segment refers to it, and late readers may '
    'still; abandoned: it was uploaded and can be published no more; deleting';
COMMENT ON COLUMN streamhouse.objects.bytes IS 'its size';
COMMENT ON COLUMN streamhouse.objects.segments IS 'segments that refer to it';
COMMENT ON COLUMN streamhouse.objects.agent_id IS 'agent that wrote it';
COMMENT ON COLUMN streamhouse.objects.incarnation_id IS 'incarnation that wrote it';
COMMENT ON COLUMN streamhouse.objects.publish_no IS 'number of the publish that it came with; null: a compaction';
COMMENT ON COLUMN streamhouse.objects.created_at IS 'when the database heard of it';
COMMENT ON COLUMN streamhouse.objects.object_id IS 'its id';

COMMENT ON COLUMN streamhouse.garbage.object_key IS 'its key in the store';
COMMENT ON COLUMN streamhouse.garbage.reason IS
    'unreferenced: no segment refers to it any more; announced: a compaction that has not ended; abandoned: it was '
    'uploaded and can be published no more';
COMMENT ON COLUMN streamhouse.garbage.state IS
    'being uploaded; in grace: late readers may still want it; waits for a snapshot: a snapshot of the index that is '
    'kept refers to it; due; being deleted';
COMMENT ON COLUMN streamhouse.garbage.bytes IS 'its size';
COMMENT ON COLUMN streamhouse.garbage.since IS 'since when nothing refers to it';
COMMENT ON COLUMN streamhouse.garbage.due_at IS 'when it may be deleted';
COMMENT ON COLUMN streamhouse.garbage.deleted_by IS 'agent that deletes it now';
COMMENT ON COLUMN streamhouse.garbage.object_id IS 'its id';

COMMENT ON COLUMN streamhouse.segments.topic IS 'the topic''s name';
COMMENT ON COLUMN streamhouse.segments.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.segments.first_offset IS 'the first offset';
COMMENT ON COLUMN streamhouse.segments.last_offset IS 'the last offset';
COMMENT ON COLUMN streamhouse.segments.records IS 'records in it';
COMMENT ON COLUMN streamhouse.segments.bytes IS 'bytes of its record batches';
COMMENT ON COLUMN streamhouse.segments.epoch IS 'epoch that its offsets are of';
COMMENT ON COLUMN streamhouse.segments.min_timestamp IS
    'the lowest time of its records; infinite where a timestamp cannot hold it';
COMMENT ON COLUMN streamhouse.segments.max_timestamp IS 'the highest time of its records';
COMMENT ON COLUMN streamhouse.segments.arrived_at IS 'when it was published; of what was compacted the latest';
COMMENT ON COLUMN streamhouse.segments.object_key IS 'key of the object that holds it';
COMMENT ON COLUMN streamhouse.segments.position IS 'where its batches begin in the object';
COMMENT ON COLUMN streamhouse.segments.base_offset IS
    'offset at which these batches begin; what lies below first_offset is published elsewhere';
COMMENT ON COLUMN streamhouse.segments.topic_id IS 'id of the topic';

COMMENT ON COLUMN streamhouse.retention_due.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.retention_due.partition IS 'number of the partition';

COMMENT ON COLUMN streamhouse.term_status.term IS 'number of the term';
COMMENT ON COLUMN streamhouse.term_status.began_at IS 'when it began';
COMMENT ON COLUMN streamhouse.term_status.reason IS 'why';
COMMENT ON COLUMN streamhouse.term_status.settled_at IS 'when readers went on past its boundary; null: they wait';
COMMENT ON COLUMN streamhouse.term_status.awaited_agents IS 'agents that have not yet presented what they know';
COMMENT ON COLUMN streamhouse.term_status.presented IS 'how many have';
COMMENT ON COLUMN streamhouse.term_status.unresolved IS 'records found in the store for which the index has no place';
COMMENT ON COLUMN streamhouse.term_status.accepted IS 'whether accept_term_boundary ended the wait';
COMMENT ON COLUMN streamhouse.term_status.deletion_allowed IS 'whether agents may delete objects in it';
COMMENT ON COLUMN streamhouse.term_status.status IS 'what it waits for; settled: nothing';

COMMENT ON COLUMN streamhouse.snapshot_status.number IS 'number of the last one that is complete; null: none';
COMMENT ON COLUMN streamhouse.snapshot_status.began_at IS 'when it was begun';
COMMENT ON COLUMN streamhouse.snapshot_status.finished_at IS 'when it was complete';
COMMENT ON COLUMN streamhouse.snapshot_status.bytes IS 'its size';
COMMENT ON COLUMN streamhouse.snapshot_status.written_by IS 'agent that is writing the next one; null: none';
COMMENT ON COLUMN streamhouse.snapshot_status.status IS 'what the next one waits for; fails: see failure';
COMMENT ON COLUMN streamhouse.snapshot_status.failures IS 'attempts since the last one that came to nothing';
COMMENT ON COLUMN streamhouse.snapshot_status.failed_at IS 'when the last of them failed';
COMMENT ON COLUMN streamhouse.snapshot_status.failure IS 'why it did';
COMMENT ON COLUMN streamhouse.snapshot_status.given_up_at IS
    'since when the store holds none, because none could be finished within streamhouse.snapshot_hold; null: no such time';

COMMENT ON COLUMN streamhouse.store_marker_status.number IS 'number of the last marker that is this database''s';
COMMENT ON COLUMN streamhouse.store_marker_status.confirmed_at IS 'when it was last found to be the highest';
COMMENT ON COLUMN streamhouse.store_marker_status.held_since IS
    'since when no other database has broken the chain of markers';
COMMENT ON COLUMN streamhouse.store_marker_status.contested_by IS
    'the marker of another database that works with the store; null: none was found';
COMMENT ON COLUMN streamhouse.store_marker_status.may_delete IS 'whether objects may be deleted';
COMMENT ON COLUMN streamhouse.store_marker_status.status IS 'what is wrong, or being waited for; held: nothing';

COMMENT ON COLUMN streamhouse.open_transactions.pid IS 'process of the session; null: a prepared transaction';
COMMENT ON COLUMN streamhouse.open_transactions.role IS 'role of the session';
COMMENT ON COLUMN streamhouse.open_transactions.application IS 'its application_name';
COMMENT ON COLUMN streamhouse.open_transactions.client IS 'where it comes from; null: the server''s own machine';
COMMENT ON COLUMN streamhouse.open_transactions.state IS 'what the session does, as in pg_stat_activity; prepared';
COMMENT ON COLUMN streamhouse.open_transactions.since IS 'when the transaction began';
COMMENT ON COLUMN streamhouse.open_transactions.age IS 'how long ago that was';
COMMENT ON COLUMN streamhouse.open_transactions.holds IS
    'what it holds: the control lock, heads, rows of other tables, or old row versions';

COMMENT ON COLUMN streamhouse.dangling_references.relation IS 'table that the row is in';
COMMENT ON COLUMN streamhouse.dangling_references.refers_to IS 'table that it refers to';
COMMENT ON COLUMN streamhouse.dangling_references.row_key IS 'the row''s key';
COMMENT ON COLUMN streamhouse.dangling_references.missing IS 'what is not there';

COMMENT ON COLUMN streamhouse.live_agent.agent_id IS 'the agent''s name';
COMMENT ON COLUMN streamhouse.live_agent.incarnation_id IS 'its incarnation';
COMMENT ON COLUMN streamhouse.live_agent.address IS 'where clients and other agents reach it, host:port';
COMMENT ON COLUMN streamhouse.live_agent.http_address IS 'where its health, readiness and metrics are served';
COMMENT ON COLUMN streamhouse.live_agent.zone IS 'its availability zone';
COMMENT ON COLUMN streamhouse.live_agent.ticks_left IS 'ticks until its lease runs out';

COMMENT ON COLUMN streamhouse.placeable_agent.agent_id IS 'the agent''s name';
COMMENT ON COLUMN streamhouse.placeable_agent.incarnation_id IS 'its incarnation';

COMMENT ON COLUMN streamhouse.retirable_agent.agent_id IS 'the agent''s name';
COMMENT ON COLUMN streamhouse.retirable_agent.incarnation_id IS 'its incarnation';
COMMENT ON COLUMN streamhouse.retirable_agent.renewed_at IS 'when its lease was renewed last';

COMMENT ON COLUMN streamhouse.due_orphan.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.due_orphan.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.due_orphan.epoch IS 'epoch that the next tick ends';
COMMENT ON COLUMN streamhouse.due_orphan.wal_uuid IS 'write-ahead log of its agent';

COMMENT ON COLUMN streamhouse.unresolved_epoch.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.unresolved_epoch.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.unresolved_epoch.epoch IS 'epoch that may still bring batches';

COMMENT ON COLUMN streamhouse.binding_claim.topic_id IS 'id of the topic';
COMMENT ON COLUMN streamhouse.binding_claim.partition IS 'number of the partition';
COMMENT ON COLUMN streamhouse.binding_claim.epoch IS 'epoch that is bound';
COMMENT ON COLUMN streamhouse.binding_claim.producer_id IS 'producer that claimed';
COMMENT ON COLUMN streamhouse.binding_claim.producer_epoch IS 'its epoch as a producer';
COMMENT ON COLUMN streamhouse.binding_claim.claimed_in IS 'the later epoch that it goes on in';
COMMENT ON COLUMN streamhouse.binding_claim.first_unacked_seq IS
    'its sequences from this one on are void in the epoch that is bound';

COMMENT ON COLUMN streamhouse.schemas.subject IS 'the subject';
COMMENT ON COLUMN streamhouse.schemas.version IS 'number of the version';
COMMENT ON COLUMN streamhouse.schemas.schema_id IS 'id of its schema, which records carry';
COMMENT ON COLUMN streamhouse.schemas.type IS 'AVRO, JSON or PROTOBUF';
COMMENT ON COLUMN streamhouse.schemas.compatibility IS 'the level that holds for the subject';
COMMENT ON COLUMN streamhouse.schemas.mode IS 'the mode that holds for the subject: READWRITE, READONLY or IMPORT';
COMMENT ON COLUMN streamhouse.schemas.deleted IS 'whether it was deleted, and can still be asked for';
COMMENT ON COLUMN streamhouse.schemas."references" IS 'what its schema refers to: name, subject and version';
COMMENT ON COLUMN streamhouse.schemas.record_name IS
    'name of the record or message, by which the strategies record and topic-record find the subject';
COMMENT ON COLUMN streamhouse.schemas.schema IS 'its text in canonical form';
COMMENT ON COLUMN streamhouse.schemas.fingerprint IS 'SHA-256 of the parsing canonical form, hexadecimal';
COMMENT ON COLUMN streamhouse.schemas.registered_at IS 'when it was registered';
COMMENT ON COLUMN streamhouse.schemas.registered_by IS 'by which role';
COMMENT ON COLUMN streamhouse.schemas.deleted_at IS 'when it was deleted';

COMMENT ON COLUMN streamhouse.schema_evolution.subject IS 'the subject';
COMMENT ON COLUMN streamhouse.schema_evolution.version IS 'number of the version';
COMMENT ON COLUMN streamhouse.schema_evolution.schema_id IS 'id of its schema';
COMMENT ON COLUMN streamhouse.schema_evolution.version_before IS 'the version before it, deleted or not';
COMMENT ON COLUMN streamhouse.schema_evolution.change IS
    'first version, the same schema again, compatible both ways, backward compatible, forward compatible, or '
    'incompatible';
COMMENT ON COLUMN streamhouse.schema_evolution.findings IS 'every reason why it is not compatible, a line each';
COMMENT ON COLUMN streamhouse.schema_evolution.deleted IS 'whether it was deleted';
COMMENT ON COLUMN streamhouse.schema_evolution.registered_at IS 'when it was registered';
COMMENT ON COLUMN streamhouse.schema_evolution.registered_by IS 'by which role';

COMMENT ON COLUMN streamhouse.schema_topics.topic IS 'the topic''s name';
COMMENT ON COLUMN streamhouse.schema_topics.part IS 'key or value';
COMMENT ON COLUMN streamhouse.schema_topics.strategy IS 'how its subjects are named: topic, record or topic-record';
COMMENT ON COLUMN streamhouse.schema_topics.validation IS 'what agents check: none, id or full';
COMMENT ON COLUMN streamhouse.schema_topics.subject IS 'a subject that it goes by';
COMMENT ON COLUMN streamhouse.schema_topics.latest_version IS 'the newest version of that subject; null: none';
COMMENT ON COLUMN streamhouse.schema_topics.topic_id IS 'id of the topic';

COMMENT ON COLUMN streamhouse.schema_usage.schema_id IS 'id of the schema';
COMMENT ON COLUMN streamhouse.schema_usage.subjects IS 'subjects that have it';
COMMENT ON COLUMN streamhouse.schema_usage.topic IS 'topic whose records carry it';
COMMENT ON COLUMN streamhouse.schema_usage.last_seen IS 'when an agent last saw it there, to about a minute';
COMMENT ON COLUMN streamhouse.schema_usage.topic_id IS 'id of the topic';
