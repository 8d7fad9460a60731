-- Terms: what is known of each beginning, and whom readers wait for.

CREATE TABLE streamhouse.term (
    term             bigint PRIMARY KEY,
    began_at         timestamptz NOT NULL DEFAULT now(),
    reason           text        NOT NULL,
    ticks_left       int         NOT NULL CHECK (ticks_left >= 0),
    unresolved       bigint      NOT NULL DEFAULT 0,
    settled_at       timestamptz,
    accepted         boolean     NOT NULL DEFAULT false,
    deletion_allowed boolean     NOT NULL DEFAULT false
);
COMMENT ON TABLE streamhouse.term IS
    'Terms after the first: begun when the database may have lost history. Until one is settled, readers wait '
    'at its boundary. ticks_left: it is not settled sooner; unresolved: records found in the store for which '
    'the index has no place';

CREATE TABLE streamhouse.term_awaited (
    term         bigint NOT NULL REFERENCES streamhouse.term,
    wal_uuid     uuid   NOT NULL,
    agent_id     text   NOT NULL,
    presented_at timestamptz,
    PRIMARY KEY (term, wal_uuid)
);
COMMENT ON TABLE streamhouse.term_awaited IS
    'Agents, by WAL, that were at work before a term, and whether they have presented what they know';

SELECT pg_catalog.pg_extension_config_dump('streamhouse.term', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.term_awaited', '');
