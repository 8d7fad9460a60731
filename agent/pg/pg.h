/*
 * pg.h - what the agent asks PostgreSQL: one C function for each SQL function that agents may call.
 *
 * Each ShPg is one connection, used by one thread at a time, opened when first needed and again after a
 * failure. Calls block until the answer or the deadline. The SQL functions are documented in
 * docs/reference/sql.md; nothing else of the database is known here.
 *
 * Errors: SH_UNAVAILABLE (no connection, server starting or stopping, reply lost: retriable; whether the call
 * took effect is unknown), SH_FENCED (this incarnation was superseded), SH_UNSUPPORTED (server or extension
 * too old or missing; the message names the remedy), SH_INVALID / SH_EXISTS / SH_NOT_FOUND / SH_DENIED as the
 * SQLSTATE says. The message holds the server's message, detail and hint, never the connection's password.
 */
#ifndef SH_AGENT_PG_PG_H
#define SH_AGENT_PG_PG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/batch.h"
#include "core/bytes.h"
#include "core/status.h"

typedef struct ShPg ShPg;

#define SH_TOPIC_NAME_BYTES 250 /* 249 characters and the NUL */
#define SH_AGENT_ID_BYTES   128
#define SH_ADDRESS_BYTES    272

/* `conninfo` is libpq's; `application_name` shows in pg_stat_activity. No connection is made yet. */
ShStatus sh_pg_new(const char *conninfo, const char *application_name, int64_t timeout_ms, ShPg **out,
                   ShError *err) SH_MUST_CHECK;
void sh_pg_free(ShPg *pg);

/* Is there a connection, as far as is known? */
bool sh_pg_is_connected(const ShPg *pg);

/* Connect now and check server version (15 or newer), extension and its version, the rights of the role, and
 * that the session stays with one server process (a pooler may hand each transaction to another).
 * SH_UNAVAILABLE: there may be a server later. SH_DENIED, SH_UNSUPPORTED: waiting does not change it;
 * SH_DENIED also where the server refuses the role, its password or the database, or the connection string is
 * no good. */
ShStatus sh_pg_check(ShPg *pg, ShError *err) SH_MUST_CHECK;

/* What an agent wants of the server. */
typedef struct ShPgNeeds {
    int64_t connections;
    int64_t heartbeat_ms; /* between two renewals of its lease */
    int64_t marker_ms;    /* between two looks at the marker in the store */
} ShPgNeeds;

/* Ask what is wrong with the server for such an agent: `tell` is called with each sentence, which it borrows.
 */
ShStatus sh_pg_advice(ShPg *pg, const ShPgNeeds *needs, void (*tell)(const char *problem, void *arg),
                      void *arg, ShError *err) SH_MUST_CHECK;

/* Break a call that another thread has under way, or else the next one: it fails with SH_UNAVAILABLE (for
 * shutdown). */
void sh_pg_cancel(ShPg *pg);

/* --- incarnation and lease --------------------------------------------------------------------------------
 */

typedef struct ShPgRegister {
    const char *agent_id;
    ShUuid wal_uuid;
    int64_t incarnation_no;
    const char *address;
    const char *http_address;
    const char *zone;
    const char *boot_id;
    const char *version;
    int64_t calls_seen; /* | SH_PG_LOSS_FOUND: and the database has forgotten what it answered */
} ShPgRegister;

#define SH_PG_LOSS_FOUND (INT64_C(1) << 39)

typedef struct ShPgRegistered {
    int64_t incarnation;
    ShUuid cluster_id;
    int64_t term;
    int lease_ticks;
    int tick_interval_ms;
    int64_t calls;
} ShPgRegistered;

ShStatus sh_pg_register(ShPg *pg, const ShPgRegister *request, ShPgRegistered *out,
                        ShError *err) SH_MUST_CHECK;

/* From now on each new connection is first asked whether the database knows of this incarnation and of as
 * many calls as `*calls`, which must live as long as `pg`; if not, SH_OUTDATED. Each call's answer raises
 * `*calls` to its own count, and is SH_OUTDATED when that is not above what `*calls` was before: the database
 * has lost calls between. */
void sh_pg_guard(ShPg *pg, int64_t incarnation, atomic_int_fast64_t *calls);

typedef struct ShPgHeartbeat {
    int64_t assignment_version; /* rises when sh_pg_assignments would answer differently */
    int64_t metadata_version;   /* rises when sh_pg_metadata would answer differently */
    int64_t calls;
} ShPgHeartbeat;

/* `unpublished`: how many records the agent has accepted and not published, for operators to see. */
ShStatus sh_pg_heartbeat(ShPg *pg, int64_t incarnation, int64_t calls_seen, int64_t unpublished,
                         ShPgHeartbeat *out, ShError *err) SH_MUST_CHECK;

typedef struct ShPgVersions {
    int64_t assignment_version;
    int64_t metadata_version;
} ShPgVersions;

/* What a heartbeat would tell of them, without renewing the lease. */
ShStatus sh_pg_versions(ShPg *pg, int64_t incarnation, ShPgVersions *out, ShError *err) SH_MUST_CHECK;

/* Tell whether the disk lacks room for the write-ahead log: while it does, others get the partitions. */
ShStatus sh_pg_lacks_room(ShPg *pg, int64_t incarnation, bool lacks, ShError *err) SH_MUST_CHECK;

/* End the incarnation after a drain; SH_INVALID while it has open epochs. */
ShStatus sh_pg_end(ShPg *pg, int64_t incarnation, ShError *err) SH_MUST_CHECK;

/* --- partitions and epochs --------------------------------------------------------------------------------
 */

typedef enum ShAction {
    SH_ACTION_OWN,
    SH_ACTION_RECOVER, /* the epoch is inherited or orphaned: publish what is left, seal */
    SH_ACTION_GRANT,
    SH_ACTION_RELEASE,
    SH_ACTION_ROLL, /* seal, and go on in a new epoch: the range above is taken */
    SH_ACTION_NONE  /* nothing (any more) */
} ShAction;

typedef struct ShPgAssignment {
    ShUuid topic_id;
    char topic[SH_TOPIC_NAME_BYTES];
    int64_t segment_bytes;
    int64_t retention_ms; /* -1: for ever */
    int32_t batch_bytes_max;
    int32_t partition;
    ShAction action;
    int64_t epoch; /* of an owned or recoverable partition; else 0, as the next three */
    int64_t start_offset;
    int64_t limit_offset;
    int64_t published_end;
    bool open;                 /* false: the epoch is only granted */
    int64_t orphan_timeout_ms; /* 0: none */
} ShPgAssignment;

typedef struct ShPgAssignments {
    int64_t version; /* what changed after it is asked for next */
    bool whole;      /* where no row is, there is nothing to do; else only what changed is told */
    ShPgAssignment *rows;
    size_t count;
} ShPgAssignments;

/* What this incarnation should do at the partitions where something has changed for it since `after_version`;
 * 0, or a version of long ago: at all that it owns or should own. `out->rows` is freed with free(). */
ShStatus sh_pg_assignments(ShPg *pg, int64_t incarnation, int64_t after_version, ShPgAssignments *out,
                           ShError *err) SH_MUST_CHECK;

/* Names one partition and, except for grants, its epoch. */
typedef struct ShPgPartition {
    ShUuid topic_id;
    int32_t partition;
    int64_t epoch;
} ShPgPartition;

typedef enum ShEpochResult {
    SH_EPOCH_GRANTED,
    SH_EPOCH_OPEN,
    SH_EPOCH_SEALED,
    SH_EPOCH_BUSY,       /* another incarnation has an unsealed epoch there */
    SH_EPOCH_NOT_TARGET, /* placed on another agent meanwhile */
    SH_EPOCH_FENCED,
    SH_EPOCH_DROPPED, /* the topic is gone */
    SH_EPOCH_MISMATCH /* seal: the end is not the published end */
} ShEpochResult;

typedef struct ShPgEpoch {
    ShEpochResult result;
    int64_t epoch;
    int64_t start_offset;
    int64_t limit_offset;
    int64_t published_end;
    int64_t orphan_timeout_ms; /* of a grant; 0: none */
} ShPgEpoch;

/* Batched; `out` has `count` places and is filled in the order of the requests. */
ShStatus sh_pg_grant(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                     ShPgEpoch *out, ShError *err) SH_MUST_CHECK;
ShStatus sh_pg_open(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                    ShPgEpoch *out, ShError *err) SH_MUST_CHECK;

typedef struct ShPgSeal {
    ShPgPartition partition;
    int64_t end_offset; /* must be the published end */
    bool lost;          /* acknowledged offsets may be missing: the next epoch starts at the limit */
} ShPgSeal;

ShStatus sh_pg_seal(ShPg *pg, int64_t incarnation, const ShPgSeal *seals, size_t count, ShPgEpoch *out,
                    ShError *err) SH_MUST_CHECK;

typedef enum ShLeftoverResult {
    SH_LEFTOVER_FOUND,
    SH_LEFTOVER_OPEN,   /* the old epoch is not sealed by force: publish it as it is */
    SH_LEFTOVER_FENCED, /* another WAL's */
    SH_LEFTOVER_DROPPED,
    SH_LEFTOVER_UNKNOWN /* an id that no topic ever had */
} ShLeftoverResult;

typedef struct ShPgLeftover {
    ShLeftoverResult result;
    int64_t forced_end; /* offset o of the old epoch, from here on, is offset o - forced_end + start_offset */
    int64_t epoch;      /* of this one */
    int64_t start_offset;
    int64_t limit_offset;
    int64_t published_end;
} ShPgLeftover;

/* Where the records of epochs go that were sealed by force before all was published. Asked again, the same.
 */
ShStatus sh_pg_leftover(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                        ShPgLeftover *out, ShError *err) SH_MUST_CHECK;

/* --- idempotent producers ---------------------------------------------------------------------------------
 */

/* An id that no producer had before, and its first epoch. */
ShStatus sh_pg_init_producer(ShPg *pg, int64_t incarnation, int64_t *producer_id, int16_t *producer_epoch,
                             ShError *err) SH_MUST_CHECK;

/* What is published of a producer in a partition that was asked about. */
typedef struct ShPgProducer {
    size_t place;        /* of the partition in the question */
    bool unresolved;     /* an earlier epoch of it may still bring batches */
    int64_t producer_id; /* -1: this row only tells that */
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t count;
    int64_t base_offset;
} ShPgProducer;

/* The producers of partitions, as of their epochs: at most `producers_max` of each, those that wrote last.
 * Ordered by partition, producer and offset; `*out` is freed with free(). */
ShStatus sh_pg_producers(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                         int producers_max, ShPgProducer **out, size_t *out_count,
                         ShError *err) SH_MUST_CHECK;

/* The owner of `partition.epoch` is about to take the producer's first batch there. */
typedef struct ShPgClaim {
    ShPgPartition partition;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t first_unacked_seq;
} ShPgClaim;

/* What PostgreSQL knows of a producer's id. */
typedef enum ShPgId {
    SH_PG_ID_UNKNOWN,  /* it was not given, or is forgotten */
    SH_PG_ID_KNOWN,    /* it was given, or has been taken for given */
    SH_PG_ID_UNDECIDED /* it may be one that is lost: taken for given later, when there is room */
} ShPgId;

typedef struct ShPgClaimAnswer {
    size_t place; /* of the claim in the question */
    ShPgId id;
    int32_t claimed_from; /* where its next batch begins; -1: the sequence is published already */
    /* Something that the producer has published; count 0: nothing. */
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t count;
    int64_t base_offset;
} ShPgClaimAnswer;

/* Claim sequences, so that late batches of earlier epochs are void from there on. At least one row for each
 * claim, ordered by claim and offset; `*out` is freed with free(). */
ShStatus sh_pg_claim(ShPg *pg, int64_t incarnation, const ShPgClaim *claims, size_t count,
                     ShPgClaimAnswer **out, size_t *out_count, ShError *err) SH_MUST_CHECK;

/* A producer that the owner of `partition.epoch` knows nothing of. */
typedef struct ShPgStranger {
    ShPgPartition partition;
    int64_t producer_id;
} ShPgStranger;

typedef struct ShPgStrangerAnswer {
    size_t place; /* of the stranger in the question */
    ShPgId id;
    /* Something that it has published in the partition; count 0: nothing. */
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t count;
    int64_t base_offset;
} ShPgStrangerAnswer;

/* At least one row for each, ordered by stranger and offset; `*out` is freed with free(). */
ShStatus sh_pg_lookup_producers(ShPg *pg, int64_t incarnation, const ShPgStranger *strangers, size_t count,
                                ShPgStrangerAnswer **out, size_t *out_count, ShError *err) SH_MUST_CHECK;

/* What later epochs have claimed: batches of the producer from that sequence on are void. */
typedef struct ShPgVoid {
    size_t place; /* of the epoch in the question */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t first_unacked_seq;
} ShPgVoid;

ShStatus sh_pg_claims(ShPg *pg, int64_t incarnation, const ShPgPartition *epochs, size_t count,
                      ShPgVoid **out, size_t *out_count, ShError *err) SH_MUST_CHECK;

/* --- publish ----------------------------------------------------------------------------------------------
 */

typedef struct ShPgRun {
    ShUuid topic_id;
    int32_t partition;
    int64_t epoch;
    int64_t first_offset; /* -1: ownerless, assigned by the publish */
    int64_t offset_count;
    int64_t record_count;
    uint64_t position;
    uint64_t length;
    int64_t min_timestamp_ms;
    int64_t max_timestamp_ms;
    bool is_void; /* offsets skipped, no data */
} ShPgRun;

/* What a run holds of one idempotent producer: consecutive sequences at consecutive offsets. */
typedef struct ShPgStretch {
    size_t run; /* its place among the runs */
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t base_sequence;
    int32_t count;
    int64_t base_offset;       /* -1: ownerless; the run is this one batch then */
    int32_t first_unacked_seq; /* of that batch: behind all that was acknowledged */
} ShPgStretch;

typedef struct ShPgPublish {
    int64_t incarnation;
    int64_t publish_no;
    int64_t confirmed_no; /* results up to this publish are no longer needed */
    ShUuid object_id;
    const char *object_key;
    uint64_t object_bytes;
    const ShPgRun *runs;
    size_t run_count;
    const ShPgStretch *stretches; /* by run, in the order of the batches; NULL with count 0 */
    size_t stretch_count;
} ShPgPublish;

typedef enum ShPublishResult {
    SH_PUBLISH_PUBLISHED,
    SH_PUBLISH_DUPLICATE,
    SH_PUBLISH_VOID,
    SH_PUBLISH_GAP, /* an earlier publish of the partition is missing */
    SH_PUBLISH_FENCED,
    SH_PUBLISH_DROPPED,
    SH_PUBLISH_UNKNOWN, /* no such topic or epoch, and no tombstone either */
    /* Of an idempotent producer's batch in an ownerless epoch. */
    SH_PUBLISH_OUT_OF_ORDER,
    SH_PUBLISH_OLD_PRODUCER,      /* a newer epoch of it has written there */
    SH_PUBLISH_UNKNOWN_PRODUCER,  /* nothing is known of it, and this is not its first batch */
    SH_PUBLISH_TOO_MANY_PRODUCERS /* as SH_PG_ID_UNDECIDED */
} ShPublishResult;

typedef struct ShPgRunResult {
    ShPublishResult result;
    int64_t first_offset;
    int64_t published_end;
} ShPgRunResult;

/* first_offset: of a duplicate in an ownerless epoch where it was stored first, -1 when that is forgotten. */
/* One transaction, decided per run; repeating a call whose reply was lost gives the same results. `results`
 * has run_count places. SH_CANCELLED: the object was abandoned, upload again under a new key.
 * SH_OUT_OF_ORDER_SEQUENCE: it holds batches that are void by now: ask sh_pg_claims and build another. */
ShStatus sh_pg_publish(ShPg *pg, const ShPgPublish *publish, ShPgRunResult *results,
                       ShError *err) SH_MUST_CHECK;

/* --- reading ----------------------------------------------------------------------------------------------
 */

#define SH_OBJECT_KEY_BYTES 512

typedef struct ShPgSegment {
    int64_t first_offset; /* of the first record readers may see; the run may begin below, at base_offset */
    int64_t base_offset;  /* of the run's relative offset 0 */
    int64_t last_offset;
    int64_t epoch;
    char object_key[SH_OBJECT_KEY_BYTES];
    uint64_t position;
    uint64_t length;
    int64_t records;
    int64_t min_timestamp_ms;
    int64_t max_timestamp_ms;
} ShPgSegment;

/* Segments from the one that holds `from_offset`, or the next above it, at most `max` of them. */
ShStatus sh_pg_read_index(ShPg *pg, const ShUuid *topic_id, int32_t partition, int64_t from_offset,
                          size_t max, ShPgSegment *out, size_t *count, ShError *err) SH_MUST_CHECK;

typedef struct ShPgBounds {
    bool found;
    int64_t log_start;
    int64_t published_end;
    int64_t epoch;
} ShPgBounds;

ShStatus sh_pg_read_bounds(ShPg *pg, const ShPgPartition *partitions, size_t count, ShPgBounds *out,
                           ShError *err) SH_MUST_CHECK;

/* The first segment, from an offset and the log start on, whose newest record is at or after a time; `*found`
 * false when there is none. Where that record lies below these, ask again from behind the segment. */
ShStatus sh_pg_find_timestamp(ShPg *pg, const ShUuid *topic_id, int32_t partition, int64_t timestamp_ms,
                              int64_t from_offset, ShPgSegment *out, bool *found, ShError *err) SH_MUST_CHECK;

/* --- metadata and administration --------------------------------------------------------------------------
 */

typedef struct ShPgPartitionInfo {
    ShUuid topic_id;
    char topic[SH_TOPIC_NAME_BYTES]; /* "" : the topic is gone, the rest means nothing */
    bool object_durability;
    int64_t retention_ms; /* -1: for ever */
    int64_t segment_bytes;
    int32_t batch_bytes_max;
    ShTimeRule time_rule;
    int32_t partitions;            /* of the topic */
    int32_t partition;             /* -1: the row tells of the topic alone, as do those above */
    char owner[SH_AGENT_ID_BYTES]; /* "" : none */
    char address[SH_ADDRESS_BYTES];
    char zone[64];
    int64_t epoch;
} ShPgPartitionInfo;

typedef struct ShPgAgentInfo {
    char agent_id[SH_AGENT_ID_BYTES];
    char address[SH_ADDRESS_BYTES];
    char zone[64];
} ShPgAgentInfo;

typedef struct ShPgMetadata {
    int64_t version;               /* what changed after it is asked for next */
    bool whole;                    /* all there is; else only what changed */
    ShPgPartitionInfo *partitions; /* ordered by topic id and partition */
    size_t partition_count;
    ShPgAgentInfo *agents; /* with a live lease */
    size_t agent_count;
} ShPgMetadata;

/* What has changed since `after_version`; 0, or a version of long ago: all. */
ShStatus sh_pg_metadata(ShPg *pg, int64_t after_version, ShPgMetadata **out, ShError *err) SH_MUST_CHECK;
void sh_pg_metadata_free(ShPgMetadata *metadata);

typedef struct ShPgCreateTopic {
    const char *name;
    int32_t partitions;       /* 0: default */
    const char *durability;   /* "" : default, as the next two */
    const char *retention;    /* an interval */
    const char *segment_size; /* such as 64MB */
} ShPgCreateTopic;

ShStatus sh_pg_create_topic(ShPg *pg, const ShPgCreateTopic *request, ShUuid *topic_id,
                            ShError *err) SH_MUST_CHECK;
ShStatus sh_pg_drop_topic(ShPg *pg, const char *name, ShError *err) SH_MUST_CHECK;

typedef struct ShPgPartitionSize {
    ShUuid topic_id;
    char topic[SH_TOPIC_NAME_BYTES];
    char durability[16];
    char retention[64]; /* an interval; "" : for ever */
    int64_t segment_bytes;
    int32_t partition;
    char owner[SH_AGENT_ID_BYTES];
    int64_t epoch;
    int64_t log_start;
    int64_t published_end;
    int64_t records;
    int64_t bytes;
} ShPgPartitionSize;

/* Partitions of the named topics (count 0: all) with their sizes, ordered; freed with free(). */
ShStatus sh_pg_describe(ShPg *pg, const char *const *topics, size_t topic_count, ShPgPartitionSize **out,
                        size_t *count, ShError *err) SH_MUST_CHECK;

/* Wait up to `timeout_ms` for news on the channel `streamhouse` (LISTEN on this connection); `*news` tells
 * whether any came; on a new connection it is true at once, because some may have been missed. Also returns
 * early, without news, when sh_pg_wake is called. */
ShStatus sh_pg_wait_news(ShPg *pg, int64_t timeout_ms, bool *news, ShError *err) SH_MUST_CHECK;
/* End the sh_pg_wait_news of this connection that is under way, or else the next one, from any thread. */
void sh_pg_wake(ShPg *pg);

#endif
