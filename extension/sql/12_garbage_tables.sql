-- What is on its way out: objects to be deleted, the look through the bucket, compactions under way.
--
-- Locks are taken in this order: retention_clock, partition by (topic_id, partition), object by object_id.
-- Publishing takes none of them, so it never waits for retention, garbage or compaction.

CREATE TABLE streamhouse.retention_clock (
    one_row   boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    version   bigint NOT NULL,
    topic_id  uuid   NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    partition int    NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
COMMENT ON TABLE streamhouse.retention_clock IS
    'One row, made at first use: counts changes of log starts, in the order in which they commit, and knows '
    'the partition at which retention was last';

CREATE TABLE streamhouse.log_start_request (
    request_id uuid   PRIMARY KEY DEFAULT gen_random_uuid(),
    topic_id   uuid   NOT NULL,
    partition  int    NOT NULL,
    log_start  bigint NOT NULL
);
COMMENT ON TABLE streamhouse.log_start_request IS
    'What delete_records() has asked for in transactions under way: carried out, and gone, when they commit';

CREATE TABLE streamhouse.object_deletion (
    object_id     uuid PRIMARY KEY,
    reason        text        NOT NULL CHECK (reason IN ('unreferenced', 'announced', 'abandoned')),
    since         timestamptz NOT NULL DEFAULT now(),
    made_by       xid8        NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    claimed_by    bigint,
    claimed_until timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
-- In this order it is deleted: what waits for a snapshot, however much, is not looked at.
CREATE INDEX object_deletion_made_by ON streamhouse.object_deletion (made_by, since);
COMMENT ON TABLE streamhouse.object_deletion IS
    'Objects that no segment refers to, since when, by which transaction, and which incarnation has undertaken to '
    'delete them';

CREATE TABLE streamhouse.bucket_scan (
    one_row       boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    started_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz NOT NULL DEFAULT now(),
    claimed_by    bigint,
    claimed_until timestamptz
) WITH (fillfactor = 20);
COMMENT ON TABLE streamhouse.bucket_scan IS
    'One row, made at first use: the last look through the store for objects that the index does not know';

CREATE TABLE streamhouse.compaction (
    topic_id      uuid   NOT NULL,
    partition     int    NOT NULL,
    done_offset   bigint NOT NULL DEFAULT 0,
    claimed_by    bigint,
    claimed_until timestamptz,
    PRIMARY KEY (topic_id, partition)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE streamhouse.compaction IS
    'Per partition: below done_offset nothing is left to compact, and which incarnation compacts it now';

CREATE TABLE streamhouse.compaction_cursor (
    agent_id  text PRIMARY KEY,
    topic_id  uuid NOT NULL,
    partition int  NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE streamhouse.compaction_cursor IS
    'Where each agent goes on looking for partitions to compact';

CREATE TABLE streamhouse.index_snapshot (
    one_row         boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    number          bigint,
    began_at        timestamptz,
    finished_at     timestamptz,
    bytes           bigint,
    topics          text,
    holds           pg_snapshot,
    former_number   bigint,
    former_began_at timestamptz,
    former_holds    pg_snapshot,
    requests        bigint NOT NULL DEFAULT 0,
    answered        bigint NOT NULL DEFAULT 0,
    attempt         bigint NOT NULL DEFAULT 0,
    claimed_by      bigint,
    claimed_at      timestamptz,
    claimed_until   timestamptz,
    claim_began_at  timestamptz,
    claim_holds     pg_snapshot,
    claimed_topics  text,
    claim_answers   bigint,
    took            interval,
    waits_since     timestamptz NOT NULL DEFAULT now(),
    failures        int NOT NULL DEFAULT 0,
    failed_at       timestamptz,
    failure         text,
    given_up_at     timestamptz,
    CHECK (failures = 0 OR failed_at IS NOT NULL AND failure IS NOT NULL),
    CHECK (given_up_at IS NULL OR number IS NULL),
    CHECK ((number IS NULL) = (began_at IS NULL) AND (number IS NULL) = (finished_at IS NULL))
) WITH (fillfactor = 20);
COMMENT ON TABLE streamhouse.index_snapshot IS
    'One row, made at first use: the last two snapshots of the index in the store, each with what it holds (every '
    'transaction that is visible in "holds"; of those before began_at all), and the one that an incarnation is writing '
    '(attempt). requests counts those of request_snapshot(), answered those that a finished snapshot came after. failures '
    'counts attempts since waits_since, when the last one was finished, that came to nothing. given_up_at: the store holds '
    'none since then, because none could be finished';

SELECT pg_catalog.pg_extension_config_dump('streamhouse.index_snapshot', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.log_start_request', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.retention_clock', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.object_deletion', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.bucket_scan', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.compaction', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.compaction_cursor', '');
