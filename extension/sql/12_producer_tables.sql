-- Idempotent producers: what each has stored in a partition, and what new owners were promised by it.

CREATE SEQUENCE streamhouse.producer_number;
COMMENT ON SEQUENCE streamhouse.producer_number IS 'Counts the producer ids that were given';

CREATE SEQUENCE streamhouse.producer_room;
COMMENT ON SEQUENCE streamhouse.producer_room IS
    'When the id was given that last made room for another, in microseconds since 1970: a hint where to look for the next one';

CREATE TABLE streamhouse.producer (
    producer_id bigint PRIMARY KEY CHECK (producer_id >= 0),
    used_at     timestamptz NOT NULL DEFAULT now(),
    has_batches boolean     NOT NULL DEFAULT false
) WITH (fillfactor = 80);
CREATE INDEX producer_used_at ON streamhouse.producer (has_batches, used_at);
COMMENT ON TABLE streamhouse.producer IS
    'The ids that producers were given, about when each was last asked for, and whether a batch may have come with it: '
    'others are not taken';

CREATE TABLE streamhouse.producer_state (
    topic_id        uuid     NOT NULL,
    partition       int      NOT NULL,
    producer_id     bigint   NOT NULL CHECK (producer_id >= 0),
    producer_epoch  int      NOT NULL CHECK (producer_epoch BETWEEN 0 AND 32767),
    base_sequences  int[]    NOT NULL,
    sequence_counts int[]    NOT NULL,
    base_offsets    bigint[] NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    updates         bigint   NOT NULL DEFAULT 0 CHECK (updates >= 0),
    stage           bigint   NOT NULL GENERATED ALWAYS AS (updates / 16) STORED,
    PRIMARY KEY (topic_id, partition, producer_id, stage)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
-- Not for look-ups in a partition: all partitions that a producer has written to would be read (26_rows).
CREATE INDEX producer_state_producer ON streamhouse.producer_state ((producer_id + 0));
COMMENT ON TABLE streamhouse.producer_state IS
    'What idempotent producers have published in each partition: the last stretches of consecutive sequences '
    'at consecutive offsets, oldest first. Written by publishes, under the heads'' locks. stage rises with every 16th '
    'update and is part of the key (25_heads)';

CREATE TABLE streamhouse.producer_claim (
    topic_id          uuid   NOT NULL,
    partition         int    NOT NULL,
    producer_id       bigint NOT NULL CHECK (producer_id >= 0),
    producer_epoch    int    NOT NULL CHECK (producer_epoch BETWEEN 0 AND 32767),
    epoch             bigint NOT NULL,
    first_unacked_seq int    NOT NULL CHECK (first_unacked_seq >= 0),
    claimed_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition, producer_id, producer_epoch, epoch)
);
CREATE INDEX producer_claim_claimed_at ON streamhouse.producer_claim (claimed_at);
COMMENT ON TABLE streamhouse.producer_claim IS
    'From which sequence on a producer writes in an epoch that began while an earlier one was unresolved: '
    'late batches of earlier epochs at or behind it are void';

CREATE TABLE streamhouse.producer_expiry (
    one_row     boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    checked_at  timestamptz NOT NULL DEFAULT '-infinity',
    topic_id    uuid,
    partition   int,
    producer_id bigint,
    forgotten   bigint NOT NULL DEFAULT 0
);
INSERT INTO streamhouse.producer_expiry DEFAULT VALUES;
COMMENT ON TABLE streamhouse.producer_expiry IS
    'How far the retention worker has looked for state that is not written any more (null: not at it), when it '
    'was last through, and how many of the ids that producer_number counts are gone';

CREATE INDEX epoch_forced ON streamhouse.epoch (topic_id, partition) WHERE forced;

SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_number', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_room', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_state', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_claim', '');
-- Its row is made with the table; what it counts is counted again by the first look.
SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_expiry', 'WHERE false');
