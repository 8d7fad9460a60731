-- Idempotent producers: what each has stored in a partition, and what new owners were promised by it.

CREATE SEQUENCE streamhouse.producer_number MAXVALUE 1099511627775;
COMMENT ON SEQUENCE streamhouse.producer_number IS
    'Numbers producers; with the cluster''s term above them they are producer ids';

CREATE TABLE streamhouse.producer_state (
    topic_id        uuid     NOT NULL,
    partition       int      NOT NULL,
    producer_id     bigint   NOT NULL CHECK (producer_id >= 0),
    producer_epoch  int      NOT NULL CHECK (producer_epoch BETWEEN 0 AND 32767),
    base_sequences  int[]    NOT NULL,
    sequence_counts int[]    NOT NULL,
    base_offsets    bigint[] NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic_id, partition, producer_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE streamhouse.producer_state IS
    'What idempotent producers have published in each partition: the last stretches of consecutive sequences '
    'at consecutive offsets, oldest first. Written by publishes, under the heads'' locks';

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
COMMENT ON TABLE streamhouse.producer_claim IS
    'From which sequence on a producer writes in an epoch that began while an earlier one was unresolved: '
    'late batches of earlier epochs at or behind it are void';

-- When expired rows were last looked for.
CREATE TABLE streamhouse.producer_expiry (
    one_row    boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    checked_at timestamptz NOT NULL
);
COMMENT ON TABLE streamhouse.producer_expiry IS 'When producers that write no more were last looked for';

CREATE INDEX epoch_forced ON streamhouse.epoch (topic_id, partition) WHERE forced;

SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_number', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_state', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_claim', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.producer_expiry', '');
