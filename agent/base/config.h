/*
 * config.h - the agent's settings: from defaults, then a YAML file, then the environment, then checked.
 *
 * Each setting is one row of the table in config_rows_*.c: name, type, unit, default, range, help. The file
 * is a flat YAML mapping of names to values; the environment overrides it with STREAMHOUSE_<NAME in upper
 * case>, in which the settings of the protection of S3 may leave the prefix out (THROTTLE_ENABLED,
 * BREAKER_OPEN). Sizes take kB, MB, GB, TB (powers of 1024, as in PostgreSQL), durations ms, s, min, h.
 *
 * A name is the field's without its unit: flush_interval_ms is `flush_interval`, wal_budget_bytes
 * `wal_budget`; three sizes of things are `wal_file_size`, `flush_size` and `s3_multipart_size`.
 */
#ifndef SH_AGENT_BASE_CONFIG_H
#define SH_AGENT_BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/status.h"

typedef enum ShWalSync { SH_WAL_SYNC_ALWAYS, SH_WAL_SYNC_INTERVAL, SH_WAL_SYNC_NEVER } ShWalSync;
/* What recovery does with damage to what had been synced. */
typedef enum ShWalCorruption { SH_WAL_CORRUPTION_REFUSE, SH_WAL_CORRUPTION_SKIP } ShWalCorruption;
typedef enum ShStoreKind { SH_STORE_DIRECTORY, SH_STORE_S3 } ShStoreKind;
/* Where those are who may change what the schema registry allows, and delete in it. */
typedef enum ShChangesFrom {
    SH_CHANGES_FROM_LOOPBACK,
    SH_CHANGES_FROM_ANYWHERE,
    SH_CHANGES_FROM_NOWHERE
} ShChangesFrom;
typedef enum ShLogLevel { SH_LOG_DEBUG, SH_LOG_INFO, SH_LOG_WARN, SH_LOG_ERROR } ShLogLevel;
typedef enum ShLogFormat { SH_LOG_TEXT, SH_LOG_JSON } ShLogFormat;
/* Which encryption at rest a put asks the server for. */
typedef enum ShS3Encryption {
    SH_S3_ENCRYPTION_BUCKET,
    SH_S3_ENCRYPTION_S3,
    SH_S3_ENCRYPTION_KMS
} ShS3Encryption;

/* What the server is to hold the bytes of an upload against. */
typedef enum ShS3Checksum { SH_S3_CHECKSUM_NONE, SH_S3_CHECKSUM_CRC32C, SH_S3_CHECKSUM_MD5 } ShS3Checksum;

/* Where the keys of S3 come from. */
typedef enum ShS3CredentialsFrom {
    SH_S3_CREDENTIALS_AUTO,
    SH_S3_CREDENTIALS_KEYS,
    SH_S3_CREDENTIALS_WEB_IDENTITY,
    SH_S3_CREDENTIALS_CONTAINER,
    SH_S3_CREDENTIALS_INSTANCE
} ShS3CredentialsFrom;

typedef enum ShSignPayload { SH_SIGN_AUTO, SH_SIGN_ALWAYS, SH_SIGN_NEVER } ShSignPayload;

/* All settings, checked. Strings are owned by the struct and never NULL ("" when unset). Read-only once
 * loaded. */
typedef struct ShConfig {
    /* identity and addresses */
    char *agent_id;           /* default: the host's name */
    char *zone;               /* availability zone, may be "" */
    char *data_dir;           /* where wal/ and the directory store live unless named below */
    char *listen_address;     /* gRPC, host:port; default 127.0.0.1:50051, port 0: any free one */
    char *advertised_address; /* what clients are told; default: the bound listen address */
    char *http_address;       /* host:port; default 127.0.0.1:8080 */
    bool schema_registry_enabled;
    char *schema_registry_address; /* the registry's REST API, host:port; default 127.0.0.1:8081 */
    char *schema_registry_hosts;   /* names in Host that it answers to; "": see access.h */
    ShChangesFrom schema_registry_changes_from;
    int64_t schema_registry_cache_bytes;
    int64_t schema_registry_connections; /* to PostgreSQL, at most */
    char *postgres;                      /* libpq connection string; default "dbname=streamhouse" */
    char *port_file; /* where to write the bound addresses once ready, for scripts; "" : nowhere */

    /* write-ahead log */
    char *wal_dir; /* default: data_dir/wal */
    ShWalSync wal_sync;
    int64_t wal_sync_interval_ms;
    int64_t wal_file_bytes;
    int64_t wal_budget_bytes;
    ShWalCorruption wal_corruption;

    /* store */
    ShStoreKind store;
    char *store_dir; /* default: data_dir/store */
    char *s3_bucket;
    char *s3_prefix;
    char *s3_region;
    char *s3_endpoint; /* "" : AWS for the region */
    char *s3_ca_file;  /* "" : what the system trusts */
    bool s3_path_style;
    char *s3_access_key;
    char *s3_secret_key;    /* never printed */
    char *s3_session_token; /* never printed */
    ShS3CredentialsFrom s3_credentials;
    char *s3_role_arn;                /* of web identity, as the next two */
    char *s3_web_identity_token_file; /* replaced by somebody before the token ends */
    char *s3_sts_endpoint;            /* "" : AWS's in the region */
    char *s3_container_uri;
    char *s3_container_token_file; /* "" : none is asked for */
    char *s3_instance_endpoint;    /* "" : where AWS has it */
    ShSignPayload s3_sign_payload;
    ShS3Encryption s3_encryption;
    char *s3_kms_key; /* of SH_S3_ENCRYPTION_KMS; "" : the bucket's */
    ShS3Checksum s3_checksum;
    int64_t s3_multipart_bytes; /* objects larger than this go up in parts of this size */
    int64_t s3_timeout_ms;      /* of one request attempt */
    int64_t s3_deadline_ms;     /* of a request with all its attempts and waits; 0, in tests only: none */
    int64_t s3_retries_max;

    /* protection of S3; rates are requests a second */
    bool throttle_enabled;
    int64_t throttle_put_rate;
    int64_t throttle_get_rate;
    int64_t throttle_delete_rate;
    int64_t throttle_list_rate;
    int64_t breaker_failures_max;    /* in a row */
    int64_t breaker_failure_percent; /* ... or this share of a window's requests */
    int64_t breaker_window_ms;
    int64_t breaker_open_ms; /* until S3 is tried again */

    /* flush and publish */
    int64_t flush_bytes;              /* an object is due when so many bytes wait */
    int64_t flush_interval_ms;        /* ... or when the oldest waits so long */
    int64_t object_flush_interval_ms; /* the same for topics of durability `object`, where producers wait */
    int64_t uploads_max;              /* uploads in flight */

    /* garbage and compaction */
    int64_t garbage_interval_ms;
    int64_t compaction_interval_ms;
    int64_t compaction_rate_bytes; /* a second; 0: no compaction */

    /* bounds */
    int64_t memory_budget_bytes;
    int64_t message_bytes_max; /* a gRPC message */
    int64_t batch_bytes_max;
    int64_t batch_decompressed_bytes_max;
    int64_t fetch_bytes_max; /* of one fetch response */
    int64_t fetch_wait_max_ms;

    /* threads and times */
    int64_t rpc_threads;
    int64_t read_threads;
    int64_t heartbeat_interval_ms;
    int64_t drain_timeout_ms;

    ShLogLevel log_level;
    ShLogFormat log_format;
} ShConfig;

/* Load settings: defaults, then `path` (NULL: no file), then the environment `environ_list` (NULL-terminated
 * "NAME=value" strings). Unknown names, bad values and values out of range are SH_INVALID with the name, what
 * was found, where (file and line, or the variable), the unit and the range. */
ShStatus sh_config_load(const char *path, char **environ_list, ShConfig **out, ShError *err) SH_MUST_CHECK;
void sh_config_free(ShConfig *config);

/* Print every setting with its value ("(hidden)" for secrets) as YAML, for --check-config and the log. */
void sh_config_print(const ShConfig *config, FILE *to);

/* Print the reference: a Markdown table of all settings with unit, default, range and help. */
void sh_config_print_reference(FILE *to);

const char *sh_wal_sync_name(ShWalSync sync);

/* Where the keys come from: what `s3_credentials` says, with AUTO decided. */
ShS3CredentialsFrom sh_config_s3_credentials(const ShConfig *config);

#endif
