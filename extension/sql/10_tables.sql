-- Configuration and control: small tables, changed by the functions of topics, agents and epochs.
--
-- Locks are taken in this order: the row of cluster (control_lock), lease, incarnation, epoch_head by (topic_id,
-- partition, epoch). Publishing takes lease and heads only, so it never waits for control. Between these two
-- claims and presenting lock the table producer_claim against each other. Behind the heads come rows that
-- others may insert too, who then wait: producer by id, producer_claim, producer_state by its key.
--
-- No table has a foreign key. They would be there before the data when a dump is restored, table by table and in
-- parallel, in any order; and a check per row of the index would cost more than the row. The functions keep references
-- whole, as nobody else writes; the view dangling_references shows those that are not.

CREATE TABLE streamhouse.installation (
    one_row         boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    installation_id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO streamhouse.installation DEFAULT VALUES;
COMMENT ON TABLE streamhouse.installation IS
    'One row, made by CREATE EXTENSION and left out of dumps: what was restored from a dump does not go with it';

CREATE TABLE streamhouse.cluster (
    one_row            boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    cluster_id         uuid   NOT NULL DEFAULT gen_random_uuid(),
    term               bigint NOT NULL DEFAULT 1 CHECK (term BETWEEN 1 AND 4194303),
    system_identifier  bigint NOT NULL,
    timeline           bigint NOT NULL,
    database_oid       oid    NOT NULL DEFAULT 0,
    installation_id    uuid,
    metadata_version   bigint NOT NULL DEFAULT 1,
    assignment_version bigint NOT NULL DEFAULT 1,
    placed_agents      text[] NOT NULL DEFAULT '{}',
    seen_agents        text[] NOT NULL DEFAULT '{}',
    schema_version     bigint NOT NULL DEFAULT 1,
    store_id           uuid,
    store_place        text
) WITH (fillfactor = 20);
COMMENT ON TABLE streamhouse.cluster IS
    'One row, made at first use: identity, term, versions of what agents cache, the agents that '
    'placement last saw (those that it could place at, and all that were live), and the store of the records';

CREATE TABLE streamhouse.topic (
    topic_id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text        NOT NULL UNIQUE,
    durability      text        NOT NULL CHECK (durability IN ('wal', 'object')),
    partition_count int         NOT NULL CHECK (partition_count BETWEEN 1 AND 10000),
    retention       interval    CHECK (retention > interval '0'),
    retention_bytes bigint      CHECK (retention_bytes > 0),
    segment_bytes   bigint      NOT NULL CHECK (segment_bytes > 0),
    batch_bytes_max int         NOT NULL CHECK (batch_bytes_max > 0),
    orphan_timeout  interval    CHECK (orphan_timeout > interval '0'),
    created_at      timestamptz NOT NULL DEFAULT now(),
    key_validation         text NOT NULL DEFAULT 'none' CHECK (key_validation IN ('none', 'id', 'full')),
    value_validation       text NOT NULL DEFAULT 'none' CHECK (value_validation IN ('none', 'id', 'full')),
    key_subject_strategy   text NOT NULL DEFAULT 'topic'
                           CHECK (key_subject_strategy IN ('topic', 'record', 'topic-record')),
    value_subject_strategy text NOT NULL DEFAULT 'topic'
                           CHECK (value_subject_strategy IN ('topic', 'record', 'topic-record')),
    timestamp_type       text NOT NULL DEFAULT 'create_time' CHECK (timestamp_type IN ('create_time', 'append_time')),
    timestamp_before_max interval CHECK (timestamp_before_max >= interval '0'),
    timestamp_after_max  interval DEFAULT '1 hour' CHECK (timestamp_after_max >= interval '0')
);
-- Metric names turn '.' into '_', so two names must differ by more than that.
CREATE UNIQUE INDEX topic_metric_name ON streamhouse.topic (replace(name, '.', '_'));
COMMENT ON TABLE streamhouse.topic IS 'Topics and their settings';

CREATE TABLE streamhouse.dropped_topic (
    topic_id   uuid PRIMARY KEY,
    name       text        NOT NULL,
    dropped_at timestamptz NOT NULL DEFAULT now(),
    is_purged  boolean     NOT NULL DEFAULT false
);
CREATE INDEX dropped_topic_left ON streamhouse.dropped_topic (dropped_at) WHERE NOT is_purged;
COMMENT ON TABLE streamhouse.dropped_topic IS
    'Topics that were dropped: what an agent still holds for them is let go, unlike data of an unknown '
    'topic';

CREATE TABLE streamhouse.agent (
    agent_id       text PRIMARY KEY CHECK (length(agent_id) BETWEEN 1 AND 255),
    incarnation_id bigint      NOT NULL,
    address        text        NOT NULL,
    http_address   text,
    zone           text,
    draining       boolean     NOT NULL DEFAULT false,
    lacks_room     boolean     NOT NULL DEFAULT false,
    bound_role     name,
    registered_at  timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE streamhouse.agent IS
    'Agents by name, with the addresses and the incarnation that registered last, whether drain_agent '
    'keeps partitions away from them, or a full disk does, and the role that they are bound to';

CREATE TABLE streamhouse.incarnation (
    incarnation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wal_uuid       uuid        NOT NULL,
    incarnation_no bigint      NOT NULL CHECK (incarnation_no > 0),
    agent_id       text        NOT NULL,
    state          text        NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'fenced', 'ended', 'retired', 'outdated')),
    boot_id        text,
    version        text,
    registered_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (wal_uuid, incarnation_no)
);
CREATE INDEX incarnation_agent ON streamhouse.incarnation (agent_id);
CREATE INDEX incarnation_unended ON streamhouse.incarnation (wal_uuid) WHERE state NOT IN ('ended', 'retired');
COMMENT ON TABLE streamhouse.incarnation IS
    'Starts of agents: the number rises with each start of one WAL, and registering one fences the older '
    'ones';

CREATE TABLE streamhouse.lease (
    wal_uuid       uuid   NOT NULL,
    incarnation_id bigint,
    ticks_left     int    NOT NULL CHECK (ticks_left >= 0),
    silent_ms      bigint NOT NULL DEFAULT 0 CHECK (silent_ms >= 0),
    unpublished    bigint NOT NULL DEFAULT 0 CHECK (unpublished >= 0),
    calls          bigint NOT NULL CHECK (calls >= 0),
    renewed_at     timestamptz NOT NULL DEFAULT now(),
    bound_role     name,
    updates        bigint NOT NULL DEFAULT 0 CHECK (updates >= 0),
    stage          bigint NOT NULL GENERATED ALWAYS AS (updates / 16) STORED,
    PRIMARY KEY (wal_uuid, stage),
    UNIQUE (incarnation_id, stage)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE streamhouse.lease IS
    'One lease per WAL, updated in place: its incarnation (null: fenced or ended), ticks left, the time that '
    'ticks have counted since it was renewed, records accepted and not published then, calls counted, and the role '
    'that alone may call for it. stage rises with every 16th update and is part of the keys (25_heads)';

CREATE TABLE streamhouse.lease_clock (
    one_row   boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    number    bigint NOT NULL CHECK (number > 0),
    ticked_ms bigint NOT NULL
) WITH (fillfactor = 20);
COMMENT ON TABLE streamhouse.lease_clock IS
    'One row, made at first use: the last tick of leases, its number and when it was by the server''s monotonic '
    'clock, in milliseconds';

CREATE TABLE streamhouse.server_clock (
    one_row      boolean       PRIMARY KEY DEFAULT true CHECK (one_row),
    seen_at      timestamptz   NOT NULL,
    monotonic_ms bigint        NOT NULL,
    boot         text,
    leap_ends    timestamptz[] NOT NULL DEFAULT '{}',
    leaps        interval[]    NOT NULL DEFAULT '{}',
    stepped_at   timestamptz,
    CHECK (cardinality(leap_ends) = cardinality(leaps))
) WITH (fillfactor = 20);
COMMENT ON TABLE streamhouse.server_clock IS
    'One row: what the server''s clocks said when the retention worker last looked, and by how much the wall clock has '
    'leapt ahead, and when, as far as that is remembered';

CREATE TABLE streamhouse.partition (
    topic_id     uuid   NOT NULL,
    partition    int    NOT NULL CHECK (partition >= 0),
    log_start    bigint NOT NULL DEFAULT 0 CHECK (log_start >= 0),
    next_offset  bigint NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    next_epoch   bigint NOT NULL DEFAULT 1 CHECK (next_epoch BETWEEN 1 AND (1::bigint << 40) - 1),
    target_agent text,
    first_segment     bigint NOT NULL DEFAULT 0 CHECK (first_segment >= 0),
    log_start_version bigint NOT NULL DEFAULT 0,
    records_retired   bigint NOT NULL DEFAULT 0 CHECK (records_retired >= 0),
    bytes_retired     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic_id, partition),
    CHECK (first_segment <= log_start)
) WITH (fillfactor = 45); -- room for a new target of every row at once, beside the old one: no index changes
CREATE INDEX partition_log_start ON streamhouse.partition (log_start_version);
COMMENT ON TABLE streamhouse.partition IS
    'Partitions: where the log starts, where and under which number the next epoch begins, and who should '
    'own it. Segments below first_segment are gone; records_retired of the epochs'' counts lie below '
    'log_start or were given up';

CREATE TABLE streamhouse.control_change (
    version   bigint NOT NULL,
    topic_id  uuid,
    partition int,
    agent_id  text
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX control_change_version ON streamhouse.control_change (version);
CREATE INDEX control_change_agent ON streamhouse.control_change (agent_id, version) WHERE agent_id IS NOT NULL;
COMMENT ON TABLE streamhouse.control_change IS
    'What each of the last metadata versions changed: what an agent should do with a partition; what metadata tell '
    'of a partition (agent_id null); a topic (partition null); or anything (topic_id null)';

CREATE TABLE streamhouse.epoch (
    topic_id       uuid    NOT NULL,
    partition      int     NOT NULL,
    epoch          bigint  NOT NULL CHECK (epoch > 0),
    incarnation_id bigint,
    durability     text    NOT NULL CHECK (durability IN ('wal', 'object')),
    state          text    NOT NULL CHECK (state IN ('granted', 'open', 'orphaned', 'sealed')),
    inherited      boolean NOT NULL DEFAULT false,
    start_offset   bigint  NOT NULL CHECK (start_offset >= 0),
    limit_offset   bigint  NOT NULL,
    end_offset     bigint,
    records_base   bigint  CHECK (records_base >= 0),
    bytes_base     bigint  CHECK (bytes_base >= 0),
    orphaned_at    timestamptz,
    orphan_timeout interval,
    timeout_before interval,
    told_version   bigint,
    forced         boolean NOT NULL DEFAULT false,
    forced_at      timestamptz,
    leftover_of    bigint,
    held_at        bigint,
    PRIMARY KEY (topic_id, partition, epoch),
    CHECK ((incarnation_id IS NULL) = (durability = 'object')),
    CHECK (limit_offset > start_offset),
    CHECK ((end_offset IS NOT NULL) = (state = 'sealed')),
    CHECK (end_offset BETWEEN start_offset AND limit_offset),
    CHECK ((records_base IS NULL) = (bytes_base IS NULL)),
    CHECK (state <> 'orphaned' OR orphaned_at IS NOT NULL),
    CHECK (NOT forced OR state = 'sealed'),
    CHECK (forced = (forced_at IS NOT NULL))
) WITH (fillfactor = 70);
-- New records go to one epoch of a partition; older ones that are not resolved may be any number.
CREATE UNIQUE INDEX epoch_current ON streamhouse.epoch (topic_id, partition) INCLUDE (epoch)
    WHERE state IN ('granted', 'open');
CREATE UNIQUE INDEX epoch_unsealed ON streamhouse.epoch (topic_id, partition, epoch) WHERE state <> 'sealed';
CREATE UNIQUE INDEX epoch_leftover ON streamhouse.epoch (topic_id, partition, leftover_of)
    WHERE leftover_of IS NOT NULL;
CREATE INDEX epoch_held ON streamhouse.epoch (topic_id, partition, epoch) WHERE held_at IS NOT NULL;
-- Not for look-ups without an incarnation: all unsealed epochs would be read for a partition's (26_rows).
CREATE INDEX epoch_incarnation ON streamhouse.epoch (incarnation_id) WHERE state <> 'sealed' AND incarnation_id IS NOT NULL;
COMMENT ON TABLE streamhouse.epoch IS
    'Epochs of partitions: exclusive ranges of offsets, owned by an incarnation or, for object durability, '
    'by nobody. An orphaned one lost its partition to a newer one, and its WAL may still hold records of it. '
    'The bases are null until all earlier epochs are sealed';
