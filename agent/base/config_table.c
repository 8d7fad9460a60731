#include "agent/base/config_table.h"

#include <string.h>

#define KB 1024LL
#define MB (1024 * KB)
#define GB (1024 * MB)
#define TB (1024 * GB)
#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

#define AT(field) offsetof(ShConfig, field)

static const char *const wal_syncs[] = {"always", "interval", "never", NULL};
static const char *const stores[] = {"directory", "s3", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const sign_payloads[] = {"auto", "always", "never", NULL};

/* In the order of config.h and of the reference. Ranges are what was thought through, not what would not crash. */
const ShSetting sh_settings[] = {
    {.section = "Identity and addresses", .name = "agent_id", .kind = SH_SETTING_TEXT, .offset = AT(agent_id),
     .default_text = "", .default_words = "the host's name", .min = 1, .max = 127,
     .help = "The agent's name in the cluster: letters, digits, `.`, `_` and `-`. Two agents must not share one."},
    {.name = "zone", .kind = SH_SETTING_TEXT, .offset = AT(zone), .default_text = "", .min = 0, .max = 63,
     .help = "Availability zone. Clients of `object` topics prefer agents of their own zone."},
    {.name = "data_dir", .kind = SH_SETTING_TEXT, .offset = AT(data_dir), .default_text = "/var/lib/streamhouse",
     .min = 1, .max = 1024, .help = "Where `wal_dir` and `store_dir` lie unless they are set."},
    {.name = "listen_address", .kind = SH_SETTING_ADDRESS, .offset = AT(listen_address),
     .default_text = "127.0.0.1:50051", .min = 1, .max = 262,
     .help = "Where the gRPC server listens. Port 0 takes any free one."},
    {.name = "advertised_address", .kind = SH_SETTING_ADDRESS, .offset = AT(advertised_address), .default_text = "",
     .default_words = "the bound `listen_address`", .min = 0, .max = 262,
     .help = "What clients and other agents are told to connect to."},
    {.name = "http_address", .kind = SH_SETTING_ADDRESS, .offset = AT(http_address),
     .default_text = "127.0.0.1:8080", .min = 1, .max = 262,
     .help = "Where `/health`, `/ready` and `/metrics` are served. Port 0 takes any free one."},
    {.name = "postgres", .kind = SH_SETTING_CONNINFO, .offset = AT(postgres), .default_text = "dbname=streamhouse",
     .min = 1, .max = 4096,
     .help = "Connection string of libpq: `key=value` pairs or a `postgresql://` URI. Better keep the password in a "
             "password file (`passfile=`)."},
    {.name = "port_file", .kind = SH_SETTING_TEXT, .offset = AT(port_file), .default_text = "", .min = 0, .max = 1024,
     .help = "A file to write the bound addresses to once the agent is ready, for scripts."},

    {.section = "Write-ahead log", .name = "wal_dir", .kind = SH_SETTING_TEXT, .offset = AT(wal_dir),
     .default_text = "", .default_words = "`data_dir`/wal", .min = 1, .max = 1100,
     .help = "The write-ahead log: the only data that must survive on this host. One agent at a time uses it."},
    {.name = "wal_sync", .kind = SH_SETTING_CHOICE, .offset = AT(wal_sync), .default_text = "always",
     .choices = wal_syncs,
     .help = "When acknowledged records are on the disk: `always` before the acknowledgement, `interval` at most "
             "`wal_sync_interval` later, `never` when the kernel likes. The last two can lose that much on a power cut, "
             "nothing when only the agent dies."},
    {.name = "wal_sync_interval", .kind = SH_SETTING_DURATION, .offset = AT(wal_sync_interval_ms),
     .default_text = "100ms", .min = 1, .max = MINUTE, .help = "The window of `wal_sync: interval`."},
    {.name = "wal_file_size", .kind = SH_SETTING_SIZE, .offset = AT(wal_file_bytes), .default_text = "64MB",
     .min = MB, .max = GB, .help = "Size of one file of the log; at most half of `wal_budget`."},
    {.name = "wal_budget", .kind = SH_SETTING_SIZE, .offset = AT(wal_budget_bytes), .default_text = "4GB",
     .min = 2 * MB, .max = 64 * TB,
     .help = "Disk space the log may take. At the bound producers are told to come back later."},

    {.section = "Store", .name = "store", .kind = SH_SETTING_CHOICE, .offset = AT(store), .default_text = "directory",
     .choices = stores, .help = "Where segments rest: a local `directory`, or `s3`."},
    {.name = "store_dir", .kind = SH_SETTING_TEXT, .offset = AT(store_dir), .default_text = "",
     .default_words = "`data_dir`/store", .min = 1, .max = 1100,
     .help = "The directory of `store: directory`. All agents of a cluster must see the same one."},
    {.name = "s3_bucket", .kind = SH_SETTING_TEXT, .offset = AT(s3_bucket), .default_text = "", .min = 0, .max = 255,
     .help = "The bucket; it must exist."},
    {.name = "s3_prefix", .kind = SH_SETTING_TEXT, .offset = AT(s3_prefix), .default_text = "", .min = 0, .max = 200,
     .help = "Stands before every object's key, such as `production/`."},
    {.name = "s3_region", .kind = SH_SETTING_TEXT, .offset = AT(s3_region), .default_text = "us-east-1",
     .default_words = "`AWS_REGION`, else us-east-1", .min = 1, .max = 63,
     .help = "The region requests are signed for."},
    {.name = "s3_endpoint", .kind = SH_SETTING_TEXT, .offset = AT(s3_endpoint), .default_text = "",
     .default_words = "AWS, in `s3_region`", .min = 0, .max = 512,
     .help = "URL of another S3 server, such as `http://127.0.0.1:7480`."},
    {.name = "s3_path_style", .kind = SH_SETTING_FLAG, .offset = AT(s3_path_style), .default_text = "false",
     .help = "Put the bucket into the path rather than the host name, as most servers other than AWS want it."},
    {.name = "s3_access_key", .kind = SH_SETTING_TEXT, .offset = AT(s3_access_key), .default_text = "",
     .default_words = "`AWS_ACCESS_KEY_ID`", .min = 0, .max = 255,
     .help = "Access key id. The three `AWS_...` variables count only when none of the three settings is given."},
    {.name = "s3_secret_key", .kind = SH_SETTING_SECRET, .offset = AT(s3_secret_key), .default_text = "",
     .default_words = "`AWS_SECRET_ACCESS_KEY`", .min = 0, .max = 1024, .help = "Secret key. Never printed."},
    {.name = "s3_session_token", .kind = SH_SETTING_SECRET, .offset = AT(s3_session_token), .default_text = "",
     .default_words = "`AWS_SESSION_TOKEN`", .min = 0, .max = 4096,
     .help = "Session token of temporary credentials. Never printed."},
    {.name = "s3_sign_payload", .kind = SH_SETTING_CHOICE, .offset = AT(s3_sign_payload), .default_text = "auto",
     .choices = sign_payloads,
     .help = "Whether the bytes of an upload are hashed into its signature; `auto`: only over plain http."},
    {.name = "s3_multipart_size", .kind = SH_SETTING_SIZE, .offset = AT(s3_multipart_bytes), .default_text = "16MB",
     .min = 5 * MB, .max = 5 * GB, .help = "Larger objects go up in parts of this size."},
    {.name = "s3_timeout", .kind = SH_SETTING_DURATION, .offset = AT(s3_timeout_ms), .default_text = "10s",
     .min = 100, .max = 10 * MINUTE, .help = "Deadline of one attempt of a request."},
    {.name = "s3_retries_max", .kind = SH_SETTING_NUMBER, .offset = AT(s3_retries_max), .default_text = "5",
     .min = 0, .max = 100, .help = "Attempts after the first, each after a longer, random pause."},

    {.section = "Flush and publish", .name = "flush_size", .kind = SH_SETTING_SIZE, .offset = AT(flush_bytes),
     .default_text = "8MB", .min = 64 * KB, .max = GB,
     .help = "An object is written when so many bytes wait for it."},
    {.name = "flush_interval", .kind = SH_SETTING_DURATION, .offset = AT(flush_interval_ms), .default_text = "1s",
     .min = 10, .max = HOUR, .help = "... or when the oldest of them waits so long."},
    {.name = "object_flush_interval", .kind = SH_SETTING_DURATION, .offset = AT(object_flush_interval_ms),
     .default_text = "250ms", .min = 10, .max = MINUTE,
     .help = "The same for topics of durability `object`, whose producers wait for the object."},
    {.name = "uploads_max", .kind = SH_SETTING_NUMBER, .offset = AT(uploads_max), .default_text = "4", .min = 1,
     .max = 64, .help = "Uploads in flight."},

    {.section = "Bounds", .name = "memory_budget", .kind = SH_SETTING_SIZE, .offset = AT(memory_budget_bytes),
     .default_text = "512MB", .min = 16 * MB, .max = 4 * TB,
     .help = "Memory for record data: what waits for the store, and caches. At the bound producers are told to come "
             "back later."},
    {.name = "message_bytes_max", .kind = SH_SETTING_SIZE, .offset = AT(message_bytes_max), .default_text = "16MB",
     .min = 64 * KB, .max = GB, .help = "The largest gRPC message that is accepted."},
    {.name = "batch_bytes_max", .kind = SH_SETTING_SIZE, .offset = AT(batch_bytes_max), .default_text = "1MB",
     .min = KB, .max = 256 * MB,
     .help = "The largest record batch; below `message_bytes_max`. A topic may set a lower bound."},
    {.name = "batch_decompressed_bytes_max", .kind = SH_SETTING_SIZE, .offset = AT(batch_decompressed_bytes_max),
     .default_text = "64MB", .min = KB, .max = GB, .help = "... and once its records are decompressed."},
    {.name = "fetch_bytes_max", .kind = SH_SETTING_SIZE, .offset = AT(fetch_bytes_max), .default_text = "8MB",
     .min = KB, .max = 512 * MB, .help = "The largest answer to one fetch, whatever the client asks for."},
    {.name = "fetch_wait_max", .kind = SH_SETTING_DURATION, .offset = AT(fetch_wait_max_ms), .default_text = "30s",
     .min = 0, .max = 10 * MINUTE, .help = "The longest wait of a fetch for data, whatever the client asks for."},

    {.section = "Threads and times", .name = "rpc_threads", .kind = SH_SETTING_NUMBER, .offset = AT(rpc_threads),
     .default_text = "2", .min = 1, .max = 64, .help = "Threads that serve gRPC."},
    {.name = "read_threads", .kind = SH_SETTING_NUMBER, .offset = AT(read_threads), .default_text = "4", .min = 1,
     .max = 64, .help = "Threads that read from the store."},
    {.name = "heartbeat_interval", .kind = SH_SETTING_DURATION, .offset = AT(heartbeat_interval_ms),
     .default_text = "1s", .min = 50, .max = MINUTE,
     .help = "Time between renewals of the agent's lease; well below the cluster's lease time."},
    {.name = "drain_timeout", .kind = SH_SETTING_DURATION, .offset = AT(drain_timeout_ms), .default_text = "30s",
     .min = 100, .max = HOUR,
     .help = "How long a shutdown may take to hand everything over. What is left stays in the log for the next start."},

    {.section = "Log", .name = "log_level", .kind = SH_SETTING_CHOICE, .offset = AT(log_level), .default_text = "info",
     .choices = log_levels, .help = "The least level that is written."},
    {.name = "log_format", .kind = SH_SETTING_CHOICE, .offset = AT(log_format), .default_text = "text",
     .choices = log_formats, .help = "Lines of `key=value` pairs, or JSON objects."},
};

const size_t sh_setting_count = sizeof sh_settings / sizeof sh_settings[0];

const ShSetting *sh_setting_find(const char *name)
{
    for (size_t i = 0; i < sh_setting_count; i++) {
        if (strcmp(sh_settings[i].name, name) == 0)
            return &sh_settings[i];
    }
    return NULL;
}
