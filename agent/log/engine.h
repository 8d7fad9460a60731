/*
 * engine.h - the logs of all partitions at this agent: append, fetch, list offsets, administration.
 *
 * This is all that rpc/ and http/ see of the inside. The engine owns the threads that flush, upload, publish,
 * read and talk to PostgreSQL. Calls from outside are asynchronous: they never block on I/O, and the `done`
 * callback of a call comes exactly once, from any thread, possibly before the call returns. It must not
 * block, and must not call back into the engine for the same request object before it has returned.
 */
#ifndef SH_AGENT_LOG_ENGINE_H
#define SH_AGENT_LOG_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/schema/record_check.h"
#include "agent/base/config.h"
#include "core/batch.h"
#include "core/bytes.h"
#include "core/status.h"

typedef struct ShEngine ShEngine;

/* Everything in order: open and recover the WAL, check the store, register with PostgreSQL, publish what the
 * WAL had left, start the threads. `address` and `http_address` are what other agents and clients are told.
 * Returns once recovery is complete and the first assignments are taken up; blocks meanwhile. Errors name the
 * part and the remedy. */
ShStatus sh_engine_start(const ShConfig *config, const char *address, const char *http_address,
                         ShEngine **out, ShError *err) SH_MUST_CHECK;

/* Refuse new appends (SH_UNAVAILABLE, with a retry delay; SH_NOT_OWNER with the new owner once known), flush,
 * publish, seal, end the incarnation. Fetches are served on. Blocks at most drain_timeout_ms; SH_TIMEOUT
 * tells what is left, which is safe in the WAL. */
ShStatus sh_engine_drain(ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* Answer all calls that wait, with SH_CANCELLED and a retry delay, and refuse those that come: for servers
 * that wait for their calls before the engine stops. The lease is renewed no more. Blocks for as long as
 * breaking off a question to PostgreSQL takes. */
void sh_engine_end_calls(ShEngine *engine);

/* Stop the threads and free. Calls still waiting get SH_CANCELLED. Without a drain before it this is a crash
 * in good order: the WAL keeps what is not published. NULL allowed. */
void sh_engine_stop(ShEngine *engine);
/* An agent that cannot stop in good order within this time ends as in a crash. */
#define SH_ENGINE_STOP_MAX_MS 60000

/* Ready to serve (lease held, WAL alive)? If not, `why` says what is missing. */
bool sh_engine_ready(ShEngine *engine, char *why, size_t why_bytes);

/* While none is there yet: does the start wait for something? Then `why` says for what. */
bool sh_engine_start_waits(char *why, size_t why_bytes);

/* Something after which the agent must exit (a dead WAL, fenced by a newer incarnation); SH_OK while there is
 * none. */
ShStatus sh_engine_fatal(ShEngine *engine, ShError *err);

/* Count `bytes` more against the memory budget, for what a caller holds outside of the log: requests under
 * way, answers on their way. Negative: less. What the log can give up makes room. Any thread, no lock held.
 */
void sh_engine_hold_memory(ShEngine *engine, int64_t bytes);

/* --- naming topics ----------------------------------------------------------------------------------------
 */

/* How a request names a partition. Names are borrowed until `done`. At least one of name and id is given. */
typedef struct ShTarget {
    const char *topic; /* not NUL-terminated; NULL or length 0: not given */
    size_t topic_length;
    bool has_topic_id;
    ShUuid topic_id; /* filled in by the engine when it was not given */
    int32_t partition;
} ShTarget;

/* Who owns a partition, for redirects. Strings are "" when unknown. */
typedef struct ShOwner {
    char agent_id[128];
    char address[272];
    char zone[64];
    int64_t epoch;
} ShOwner;

/* --- append -----------------------------------------------------------------------------------------------
 */

/* One checked batch (sh_batch_check was SH_OK). The bytes will be changed: base offset and leader epoch. */
typedef struct ShAppendBatch {
    uint8_t *data;
    ShBatchHeader header;
} ShAppendBatch;

typedef struct ShAppendPart {
    ShTarget target;
    ShBuf *owner; /* holds the bytes of all batches; the engine takes references of its own */
    ShAppendBatch *batches;
    size_t batch_count;        /* at least 1, and all or none of them are appended */
    int32_t first_unacked_seq; /* with an idempotent producer: behind all that is acknowledged */
    /* Records that do not fit, of a part from outside; the caller's. With `misfits->whole` set nothing may be
     * appended: unless all is stored already, that is the answer. */
    ShRecordErrors *misfits;
    bool is_unchecked; /* no check was begun: should the topic be validated by now, the part has to come again
                        */
    bool has_checked_times; /* held against the time rule of the topic */
    /* results */
    ShError error;  /* status SH_OK: acknowledged */
    bool scattered; /* the batches do not follow each other: header.base_offset of each says where it is */
    int64_t base_offset; /* of the first batch */
    int64_t record_count;
    int64_t epoch;
    ShOwner redirect;  /* with SH_NOT_OWNER */
    bool asks_in_vain; /* refused because PostgreSQL is silent: it is not asked once more; the engine's */
} ShAppendPart;

typedef struct ShAppend {
    ShAppendPart *parts;
    size_t part_count;
    void (*done)(struct ShAppend *append);
    void *arg;
    int pending; /* the engine's */
} ShAppend;

/* Append; `append` and its parts stay in place until done. Calls of one thread reach each partition in their
 * order. */
void sh_engine_append(ShEngine *engine, ShAppend *append);

/* What an idempotent producer says when it has nothing to send: it knows all below a sequence acknowledged.
 */
typedef struct ShConfirmation {
    ShTarget target;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t first_unacked_seq;
} ShConfirmation;

/* Let readers have what can no longer be sent again elsewhere (firm.h). What is not known here is passed
 * over. */
void sh_engine_confirm(ShEngine *engine, const ShConfirmation *confirmation);

/* The largest batch the topic takes, or the agent's limit where the topic is unknown. `*is_known` tells
 * which, and `*time_rule` gets what times its records may have. */
int64_t sh_engine_batch_bytes_max(ShEngine *engine, const ShTarget *target, ShTimeRule *time_rule,
                                  bool *is_known);

/* Begin to hold a part's records against the schemas of its topic. False: they are not checked, as far as is
 * known now (ShAppendPart.is_unchecked), and there is nothing to end. The budget is the request's, of all its
 * parts (sh_record_check_budget). */
bool sh_engine_check_begin(ShEngine *engine, const ShTarget *target, ShSchemaBudget *budget,
                           ShRecordCheck *check);
/* sh_record_check_end; what is not here is fetched meanwhile. */
ShStatus sh_engine_check_end(ShEngine *engine, ShRecordCheck *check, ShError *err) SH_MUST_CHECK;

/* --- fetch ------------------------------------------------------------------------------------------------
 */

typedef struct ShFetchPart {
    ShTarget target;
    int64_t offset;
    int64_t bytes_max; /* 0: no bound of its own */
    /* results */
    ShError error;
    ShOwner redirect;
    ShSlice *slices; /* whole batches, in order; each slice holds a reference on its owner */
    size_t slice_count;
    uint64_t bytes;
    int64_t next_offset;
    int64_t log_start;
    int64_t high_watermark;
    int64_t epoch;
    /* The engine's, kept by a caller who fetches on and on; 0 at first: where the answer before ended if it
     * came from the store, and how much came from there one after the other. */
    int64_t store_end_offset;
    int64_t store_run_bytes;
} ShFetchPart;

typedef struct ShFetch {
    ShFetchPart *parts;
    size_t part_count;
    size_t first_part; /* whose turn it is to fill the answer */
    int64_t wait_max_ms;
    int64_t bytes_min;
    int64_t bytes_max; /* 0: the agent's default */
    const void *asker; /* who asks, only compared: askers take turns at the store; NULL: those not known */
    void (*done)(struct ShFetch *fetch);
    void *arg;
    void *engine_state; /* the engine's; NULL before the call */
} ShFetch;

/* Fetch; `fetch` and its parts stay in place until done. A part that fails does not wait for the others: an
 * error ends the wait, and so does a part that is led over a hole. Served from memory at the tail and from
 * the store behind it, never past the high watermark. */
void sh_engine_fetch(ShEngine *engine, ShFetch *fetch);

/* End the wait of a fetch under way early; `done` still comes (once), with what is there or SH_CANCELLED.
 * Must not be called after done. Returns at once. */
void sh_engine_fetch_cancel(ShEngine *engine, ShFetch *fetch);

/* There is no record at the part's offset, nor will there be: it goes on at next_offset, above a hole. */
static inline bool sh_fetch_part_is_led_on(const ShFetchPart *part)
{
    return part->error.status == SH_OK && part->bytes == 0 && part->next_offset > part->offset;
}

/* Release the result slices of all parts (after done). */
void sh_fetch_release(ShFetch *fetch);

/* --- list offsets -----------------------------------------------------------------------------------------
 */

#define SH_TIMESTAMP_LATEST   (-1)
#define SH_TIMESTAMP_EARLIEST (-2)

typedef struct ShListPart {
    ShTarget target;
    int64_t timestamp_ms;
    /* results */
    ShError error;
    ShOwner redirect;
    int64_t offset;
    int64_t found_timestamp_ms; /* -1: none */
} ShListPart;

typedef struct ShListOffsets {
    ShListPart *parts;
    size_t part_count;
    const void *asker;           /* as ShFetch.asker */
    const atomic_bool *given_up; /* set: nobody waits for it any more. NULL: somebody does */
    void (*done)(struct ShListOffsets *list);
    void *arg;
} ShListOffsets;

void sh_engine_list_offsets(ShEngine *engine, ShListOffsets *list);

/* --- metadata and administration --------------------------------------------------------------------------
 */

typedef struct ShMetaPartition {
    int32_t partition;
    int64_t epoch;        /* 0: none yet */
    const ShOwner *owner; /* shared by an agent's partitions, its epoch unused; NULL: nobody */
} ShMetaPartition;

typedef struct ShMetaTopic {
    char name[250];
    ShUuid topic_id;
    bool object_durability;
    int64_t batch_bytes_max;
    ShTimeRule time_rule;
    ShMetaPartition *partitions;
    size_t partition_count;
} ShMetaTopic;

/* A snapshot of the cluster, shared and immutable. */
typedef struct ShMeta {
    ShUuid cluster_id;
    ShMetaTopic *topics; /* ordered by name */
    size_t topic_count;
    ShOwner *agents; /* epoch unused */
    size_t agent_count;
} ShMeta;

/* Borrow the current snapshot; give it back with sh_engine_meta_release. Never blocks on I/O, may be some
 * moments old. */
const ShMeta *sh_engine_meta(ShEngine *engine);
void sh_engine_meta_release(ShEngine *engine, const ShMeta *meta);
/* Find a topic by name in a snapshot; NULL when there is none. */
const ShMetaTopic *sh_meta_find(const ShMeta *meta, const char *name, size_t name_length);

/* Have the snapshot refreshed from PostgreSQL and call `done(arg)` when it is (or could not be: the error
 * tells). Use it before saying that a topic does not exist. Coalesced with other requests. */
void sh_engine_meta_refresh(ShEngine *engine, void (*done)(void *arg, ShStatus status, const ShError *err),
                            void *arg);

/* Administration calls, as the SQL functions of the same name. Strings are copied. */
typedef struct ShTopicSpec {
    const char *name;
    int32_t partitions;
    const char *durability;
    const char *retention;
    const char *segment_size;
} ShTopicSpec;

/* Calls of administration that wait at most; more are refused with SH_EXHAUSTED. They run one after the
 * other, and those who ask take turns. */
#define SH_ADMIN_JOBS_MAX 256

typedef void (*ShAdminDoneFn)(void *arg, ShStatus status, const ShError *err, const void *result);

/* Who asks, only compared and alive until `done`, and what is to be called. */
typedef struct ShAdminCaller {
    const void *asker;
    ShAdminDoneFn done;
    void *arg;
} ShAdminCaller;

/* result: const ShUuid *, valid during the callback. */
void sh_engine_create_topic(ShEngine *engine, const ShTopicSpec *spec, const ShAdminCaller *caller);
void sh_engine_drop_topic(ShEngine *engine, const char *name, const ShAdminCaller *caller);

/* An id for an idempotent producer. result: const ShProducerId *, valid during the callback. */
typedef struct ShProducerId {
    int64_t id;
    int16_t epoch;
} ShProducerId;
void sh_engine_init_producer(ShEngine *engine, const ShAdminCaller *caller);

/* One partition's sizes, as the view streamhouse.partitions has them. */
typedef struct ShPartitionSize {
    ShUuid topic_id;
    char topic[250];
    char durability[16];
    char retention[64];
    int64_t segment_bytes;
    int32_t partition;
    char owner[128];
    int64_t epoch;
    int64_t log_start;
    int64_t published_end;
    int64_t records;
    int64_t bytes;
} ShPartitionSize;

typedef struct ShTopicSizes {
    const ShPartitionSize *partitions; /* ordered by topic and partition */
    size_t count;
} ShTopicSizes;

/* result: const ShTopicSizes *, valid during the callback. `names` may be NULL with count 0: all topics. One
 * that is `given_up` (which lives until `done`) before its turn comes costs nothing and ends with
 * SH_CANCELLED. */
void sh_engine_describe_topics(ShEngine *engine, const char *const *names, size_t name_count,
                               const atomic_bool *given_up, const ShAdminCaller *caller);

#endif
