-- The index of what is stored: written by every publish, so narrow, and updated in place.

CREATE TABLE streamhouse.epoch_head (
    topic_id          uuid   NOT NULL,
    partition         int    NOT NULL,
    epoch             bigint NOT NULL,
    published_end     bigint NOT NULL,
    records           bigint NOT NULL DEFAULT 0,
    bytes             bigint NOT NULL DEFAULT 0,
    timestamp_high_ms bigint,
    updates           bigint NOT NULL DEFAULT 0 CHECK (updates >= 0),
    stage             bigint NOT NULL GENERATED ALWAYS AS (updates / 16) STORED,
    PRIMARY KEY (topic_id, partition, epoch, stage)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE streamhouse.epoch_head IS
    'How far each opened epoch is published: the row that publishing locks, one an epoch. Made when the epoch '
    'opens, kept when sealed. stage rises with every 16th update and is part of the key, so that its newest '
    'version is found at once however many dead ones an open snapshot keeps: look for the highest stage';

CREATE TABLE streamhouse.object (
    object_id      uuid PRIMARY KEY,
    object_key     text        NOT NULL UNIQUE,
    incarnation_id bigint,
    publish_no     bigint,
    bytes          bigint      NOT NULL CHECK (bytes >= 0),
    state          text        NOT NULL DEFAULT 'live' 
                               CHECK (state IN ('announced', 'live', 'abandoned', 'deleting')),
    live_rows      int         NOT NULL DEFAULT 0 CHECK (live_rows >= 0),
    created_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
COMMENT ON TABLE streamhouse.object IS
    'Objects in the store; live_rows counts the segments that refer to one. An announced '
    'one is about to be uploaded by a compaction. A publish of an abandoned object fails';

CREATE TABLE streamhouse.segment (
    topic_id          uuid   NOT NULL,
    partition         int    NOT NULL,
    first_offset      bigint NOT NULL,
    base_offset       bigint NOT NULL,
    last_offset       bigint NOT NULL,
    epoch             bigint NOT NULL,
    records           bigint NOT NULL CHECK (records >= 0),
    bytes             bigint NOT NULL CHECK (bytes > 0),
    position          bigint NOT NULL CHECK (position >= 0),
    object_id         uuid   NOT NULL,
    min_timestamp_ms  bigint NOT NULL,
    max_timestamp_ms  bigint NOT NULL,
    timestamp_high_ms bigint NOT NULL,
    arrived_ms        bigint NOT NULL DEFAULT (extract(epoch FROM now()) * 1000)::bigint,
    PRIMARY KEY (topic_id, partition, first_offset),
    CHECK (base_offset <= first_offset AND first_offset <= last_offset)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1);
-- arrived_ms is when it was published, by the server's clock; what is rewritten keeps the latest. From it
-- retention counts where the records' own times make no sense.
-- timestamp_high_ms is the highest time of the epoch up to and with this row. It never falls as offsets
-- rise, so one descent of this index finds the first segment that reaches a time.
CREATE INDEX segment_time ON streamhouse.segment
    (topic_id, partition, epoch, timestamp_high_ms, first_offset);
COMMENT ON TABLE streamhouse.segment IS
    'Runs of batches in objects. A run''s batches begin at base_offset; those below first_offset are '
    'published elsewhere';

CREATE TABLE streamhouse.publish_result (
    incarnation_id bigint   NOT NULL,
    publish_no     bigint   NOT NULL,
    object_id      uuid     NOT NULL,
    results        text[]   NOT NULL,
    first_offsets  bigint[] NOT NULL,
    published_ends bigint[] NOT NULL,
    oldest_no      bigint   NOT NULL,
    PRIMARY KEY (incarnation_id, publish_no)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE streamhouse.publish_result IS
    'What each publish decided, entry by entry, until its agent confirms it or its incarnation is fenced. oldest_no: '
    'what was kept beside it when it was published has no lower number';

-- pg_dump keeps all of it, but for what tells a database from what is restored into it. One statement each: the calls change one row.
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT c.oid FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'streamhouse'::regnamespace AND c.relkind IN ('r', 'S') AND c.relname <> 'installation'
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(relation, '');
    END LOOP;
END
$$;
