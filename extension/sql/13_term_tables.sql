-- Terms: what is known of each beginning, and whom readers wait for.

CREATE TABLE streamhouse.term (
    term             bigint PRIMARY KEY,
    began_at         timestamptz NOT NULL DEFAULT now(),
    reason           text        NOT NULL,
    known_until      timestamptz NOT NULL DEFAULT now(),
    nonce            uuid        NOT NULL DEFAULT gen_random_uuid(),
    taken_at         timestamptz,
    ticks_left       int         NOT NULL CHECK (ticks_left >= 0),
    unreadable       bigint      NOT NULL DEFAULT 0,
    unresolved       bigint      NOT NULL DEFAULT 0,
    settled_at       timestamptz,
    accepted         boolean     NOT NULL DEFAULT false,
    deletion_allowed boolean     NOT NULL DEFAULT false
);
COMMENT ON TABLE streamhouse.term IS
    'Terms after the first: begun when the database may have lost history. Until one is settled, readers wait '
    'at its boundary. known_until: the last time at which the database shows that agents were at work (-infinity: never); '
    'nonce: what tells this beginning from others of the same number, of a database before it was restored, or of a copy; '
    'taken_at: since when the store says that the number is this one''s; '
    'ticks_left: it is not settled sooner; unreadable: objects that the last agent to present could not read; '
    'unresolved: these, and records found in the store for which the index has no place, as last counted';

CREATE TABLE streamhouse.term_awaited (
    term         bigint NOT NULL,
    wal_uuid     uuid   NOT NULL,
    agent_id     text   NOT NULL,
    presented_at timestamptz,
    PRIMARY KEY (term, wal_uuid)
);
COMMENT ON TABLE streamhouse.term_awaited IS
    'Agents, by WAL, that were at work before a term, and whether they have presented what they know';

CREATE TABLE streamhouse.unplaced_run (
    object_id    uuid   NOT NULL,
    ordinal      int    NOT NULL,
    wal_uuid     uuid   NOT NULL,
    topic_id     uuid,
    partition    int,
    epoch        bigint,
    first_offset bigint,
    end_offset   bigint,
    records      bigint NOT NULL CHECK (records > 0),
    PRIMARY KEY (object_id, ordinal)
);
COMMENT ON TABLE streamhouse.unplaced_run IS
    'Until a term is settled: runs of objects in the store that found no place in the index, by the WAL that wrote them. '
    'Offsets are null where nobody knows them; ordinal 0 is what was left out before the object was presented';

CREATE TABLE streamhouse.late_sequences (
    topic_id        uuid     NOT NULL,
    partition       int      NOT NULL,
    producer_id     bigint   NOT NULL,
    producer_epoch  int      NOT NULL,
    epoch           bigint   NOT NULL,
    first_seq       int      NOT NULL,
    end_seq         int      NOT NULL,
    base_sequences  int[]    NOT NULL,
    sequence_counts int[]    NOT NULL,
    base_offsets    bigint[] NOT NULL,
    PRIMARY KEY (topic_id, partition, producer_id, producer_epoch, epoch)
);
COMMENT ON TABLE streamhouse.late_sequences IS
    'Until a term is settled: what idempotent producers wrote in epochs of older terms, as far as it has been published '
    'since the term began, and the last five stretches of it, oldest first, where they may yet be void';

CREATE TABLE streamhouse.stored_twice (
    topic_id     uuid   NOT NULL,
    partition    int    NOT NULL,
    first_offset bigint NOT NULL,
    end_offset   bigint NOT NULL CHECK (end_offset > first_offset),
    PRIMARY KEY (topic_id, partition, first_offset)
);
COMMENT ON TABLE streamhouse.stored_twice IS
    'Until a term is settled: offsets whose records their producer has sent anew in a later epoch, where they are stored '
    'too: an agent makes them void here';

CREATE TABLE streamhouse.store_marker (
    one_row       boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    number        bigint DEFAULT 0 CHECK (number >= 0),
    nonce         uuid,
    next_nonce    uuid,
    held_since    timestamptz,
    confirmed_at  timestamptz,
    held_since_ms bigint,
    confirmed_ms  bigint,
    contested_by  text,
    contest_floor bigint NOT NULL DEFAULT 0,
    claimed_by    bigint,
    claimed_until timestamptz
) WITH (fillfactor = 20);
COMMENT ON TABLE streamhouse.store_marker IS
    'One row, made at first use: the last marker object in the store that is this database''s (number null: it takes '
    'the chain over), the nonce that the next one will carry, since when the chain has been held without a break '
    '(by the wall clock and by the server''s monotonic one), '
    'who else was found to work with the store, and up to which marker objections are settled';

SELECT pg_catalog.pg_extension_config_dump('streamhouse.term', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.store_marker', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.term_awaited', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.unplaced_run', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.late_sequences', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.stored_twice', '');
