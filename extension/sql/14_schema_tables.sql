-- The schema registry: schemas, the versions of subjects, settings, and where ids were seen.
--
-- A row of schema never changes and never goes: its id names it for ever, also when every version that had it
-- was deleted for good. All changes are made under the control lock and raise cluster.schema_version.

CREATE SEQUENCE streamhouse.schema_number AS int;
COMMENT ON SEQUENCE streamhouse.schema_number IS 'Ids of schemas: none is given twice';

CREATE TABLE streamhouse.schema (
    schema_id         int PRIMARY KEY CHECK (schema_id > 0),
    type              text   NOT NULL CHECK (type IN ('AVRO', 'JSON', 'PROTOBUF')),
    canonical         text   NOT NULL,
    digest            bytea  NOT NULL UNIQUE,
    normalized_digest bytea  NOT NULL,
    fingerprint       bytea  NOT NULL,
    record_name       text,
    dependency_ids    int[]  NOT NULL,
    dependency_names  text[] NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    CHECK (cardinality(dependency_ids) = cardinality(dependency_names))
);
CREATE INDEX schema_normalized ON streamhouse.schema (normalized_digest);
COMMENT ON TABLE streamhouse.schema IS
    'Schemas by id. The digest is of type, canonical text and references, and so are those of equal schemas; '
    'normalized_digest is of the normalized text; the fingerprint is SHA-256 of the parsing canonical form. '
    'Dependencies are the references and theirs, each after what it needs itself';

CREATE TABLE streamhouse.schema_reference (
    schema_id     int  NOT NULL,
    ordinal       int  NOT NULL,
    name          text NOT NULL,
    subject       text NOT NULL,
    version       int  NOT NULL,
    referenced_id int  NOT NULL,
    PRIMARY KEY (schema_id, ordinal)
);
CREATE INDEX schema_reference_id ON streamhouse.schema_reference (referenced_id);
CREATE INDEX schema_reference_to ON streamhouse.schema_reference (subject, version);
COMMENT ON TABLE streamhouse.schema_reference IS
    'What a schema refers to: under which name, in which version of which subject, and that version''s '
    'schema';

CREATE TABLE streamhouse.schema_subject (
    subject      text PRIMARY KEY CHECK (length(subject) BETWEEN 1 AND 500),
    next_version bigint NOT NULL DEFAULT 1 CHECK (next_version > 0)
);
COMMENT ON TABLE streamhouse.schema_subject IS
    'Subjects that ever had a version, and the number of the next one: numbers are not used again';

CREATE TABLE streamhouse.schema_version (
    subject       text NOT NULL,
    version       int  NOT NULL CHECK (version > 0),
    schema_id     int  NOT NULL,
    state         text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'deleted', 'purged')),
    registered_at timestamptz NOT NULL DEFAULT now(),
    registered_by text NOT NULL DEFAULT session_user,
    deleted_at    timestamptz,
    PRIMARY KEY (subject, version),
    CHECK ((deleted_at IS NULL) = (state = 'live'))
);
CREATE INDEX schema_version_schema ON streamhouse.schema_version (schema_id);
COMMENT ON TABLE streamhouse.schema_version IS
    'Versions of subjects: live, deleted (soft: it can be asked for), or purged (deleted for good: it only '
    'keeps its number)';

CREATE TABLE streamhouse.schema_setting (
    subject       text PRIMARY KEY,
    compatibility text CHECK (compatibility IN ('NONE', 'BACKWARD', 'BACKWARD_TRANSITIVE', 'FORWARD',
                                                'FORWARD_TRANSITIVE', 'FULL', 'FULL_TRANSITIVE')),
    mode          text CHECK (mode IN ('READWRITE', 'READONLY', 'IMPORT'))
);
COMMENT ON TABLE streamhouse.schema_setting IS
    'Compatibility level and mode, of a subject or (subject '''') of all that have none of their own; null:'
    ' not set';

CREATE TABLE streamhouse.schema_seen (
    schema_id int  NOT NULL,
    topic_id  uuid NOT NULL,
    last_seen timestamptz NOT NULL,
    PRIMARY KEY (schema_id, topic_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE streamhouse.schema_seen IS
    'When agents last saw a schema''s id in a record of a topic, to about a minute';

SELECT pg_catalog.pg_extension_config_dump('streamhouse.schema_number', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.schema', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.schema_reference', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.schema_subject', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.schema_version', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.schema_setting', '');
SELECT pg_catalog.pg_extension_config_dump('streamhouse.schema_seen', '');
