/*
 * fake_engine.h - an engine in memory for the tests of agent/rpc: one topic, orders, whose partitions behave
 * differently.
 *
 *   0, 1  take records and give them back
 *   2     refuses: RESOURCE_EXHAUSTED, retry after 250 ms
 *   3     is owned by another agent
 *
 * A thread of its own completes appends and waiting fetches, as the engine's threads do. The topic `later` is
 * in the metadata after a refresh only. Include it in one file of a test program.
 */
#ifndef SH_TESTS_RPC_FAKE_ENGINE_H
#define SH_TESTS_RPC_FAKE_ENGINE_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/log/engine.h"

#define FAKE_PARTITIONS      2
#define FAKE_BATCHES_MAX     65536
#define FAKE_QUEUE_MAX       4096
#define FAKE_BATCH_BYTES_MAX (8 << 20)

typedef struct FakeBatch {
    ShSlice slice;
    int64_t base_offset;
    int64_t end_offset;
} FakeBatch;

typedef struct FakeLog {
    FakeBatch *batches;
    size_t count;
    int64_t end; /* above the last batch there may be a hole before it */
} FakeLog;

typedef struct FakeDescribe {
    const atomic_bool *given_up;
    ShAdminDoneFn done;
    void *arg;
} FakeDescribe;

struct ShEngine {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool stopping;
    bool hold_appends; /* complete none for now */
    FakeLog logs[FAKE_PARTITIONS];
    ShAppend *appends[FAKE_QUEUE_MAX];
    size_t append_count;
    ShConfirmation confirmation;
    int confirmations;
    size_t append_count_peak;
    ShFetch *fetches[FAKE_QUEUE_MAX];
    int64_t fetch_deadlines_ms[FAKE_QUEUE_MAX];
    bool fetch_cancelled[FAKE_QUEUE_MAX];
    size_t fetch_count;
    long fetches_begun;
    long fetches_of_any; /* of them, those for which any byte is enough */
    long cancels;
    int64_t held_bytes; /* by calls */
    long lookups;       /* of offsets */
    long refreshes;
    ShMetaTopic topics[2];
    ShMetaPartition partitions[4];
    ShMeta meta[2];
    int meta_now;
    char created[64];
    ShListOffsets *lists[64]; /* held back */
    size_t list_count;
    bool hold_lists;
    bool hold_describes; /* complete none for now */
    FakeDescribe describes[SH_ADMIN_JOBS_MAX];
    size_t describe_count;
    ShSchemaTable *schemas; /* NULL: nothing is validated */
    bool knows_all;         /* what is not to be appended counts as stored */
};

static const ShUuid fake_topic_id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static inline void fake_redirect(ShOwner *owner)
{
    *owner = (ShOwner){.agent_id = "other", .address = "127.0.0.1:1234", .zone = "z2", .epoch = 7};
}

/* What a request to this partition fails with, or SH_OK. Fills in the id as the engine does. */
static inline ShStatus fake_resolve(ShTarget *target, ShOwner *redirect, ShError *err)
{
    bool named = target->topic_length == 6 && memcmp(target->topic, "orders", 6) == 0;
    bool by_id = target->has_topic_id && sh_uuid_equal(&target->topic_id, &fake_topic_id);
    if ((target->topic_length > 0 && !named) || (target->has_topic_id && !by_id))
        return sh_fail(err, SH_NOT_FOUND, "no such topic");
    target->topic_id = fake_topic_id;
    if (target->partition == 2)
        return sh_fail_retry_after(err, sh_fail(err, SH_EXHAUSTED, "the WAL is full"), 250);
    if (target->partition == 3) {
        fake_redirect(redirect);
        return sh_fail(err, SH_NOT_OWNER, "partition orders-3 is not owned by this agent");
    }
    if (target->partition > 3)
        return sh_fail(err, SH_NOT_FOUND, "no such partition");
    return SH_OK;
}

static inline void fake_append_part(ShEngine *engine, ShAppendPart *part)
{
    sh_error_clear(&part->error);
    if (fake_resolve(&part->target, &part->redirect, &part->error) != SH_OK)
        return;
    FakeLog *log = &engine->logs[part->target.partition];
    if (part->misfits != NULL && part->misfits->whole.status != SH_OK && !engine->knows_all) {
        part->error = part->misfits->whole;
        return;
    }
    part->base_offset = log->end;
    part->record_count = 0;
    part->epoch = 5;
    for (size_t i = 0; i < part->batch_count; i++) {
        const ShAppendBatch *batch = &part->batches[i];
        sh_batch_set_base_offset(batch->data, log->end);
        FakeBatch *stored = &log->batches[log->count++ % FAKE_BATCHES_MAX];
        sh_buf_unref(stored->slice.owner);
        stored->slice = (ShSlice){batch->data, batch->header.total_bytes, sh_buf_ref(part->owner)};
        stored->base_offset = log->end;
        log->end += batch->header.record_count;
        stored->end_offset = log->end;
        part->record_count += batch->header.record_count;
    }
}

/* Fill a fetch with what is there; true when it may be answered. */
static inline bool fake_fill(ShEngine *engine, ShFetch *fetch)
{
    uint64_t total = 0;
    bool failed = false;
    for (size_t turn = 0; turn < fetch->part_count; turn++) {
        ShFetchPart *part = &fetch->parts[(fetch->first_part + turn) % fetch->part_count];
        sh_error_clear(&part->error);
        if (fake_resolve(&part->target, &part->redirect, &part->error) != SH_OK) {
            failed = true;
            continue;
        }
        const FakeLog *log = &engine->logs[part->target.partition];
        part->high_watermark = log->end;
        part->next_offset = part->offset;
        part->epoch = 5;
        free(part->slices);
        part->slices = calloc(log->count + 1, sizeof *part->slices);
        part->slice_count = 0;
        part->bytes = 0;
        if (part->offset > log->end) {
            (void)sh_fail(&part->error, SH_OUT_OF_RANGE, "offset beyond the end");
            failed = true;
        }
        for (size_t i = 0; i < log->count && (total == 0 || total < (uint64_t)fetch->bytes_max); i++) {
            if (log->batches[i].end_offset <= part->offset)
                continue;
            part->slices[part->slice_count++] = log->batches[i].slice;
            part->bytes += log->batches[i].slice.length;
            total += log->batches[i].slice.length;
            part->next_offset = log->batches[i].end_offset;
        }
    }
    bool led_on = false;
    for (size_t p = 0; p < fetch->part_count; p++) {
        ShFetchPart *part = &fetch->parts[p];
        if (part->slice_count == 0 && part->error.status == SH_OK && part->high_watermark > part->offset)
            part->next_offset = part->high_watermark;
        led_on |= sh_fetch_part_is_led_on(part);
    }
    if (!failed && !led_on && total < (uint64_t)fetch->bytes_min)
        return false;
    for (size_t p = 0; p < fetch->part_count; p++) {
        for (size_t i = 0; i < fetch->parts[p].slice_count; i++)
            sh_buf_ref(fetch->parts[p].slices[i].owner);
    }
    return true;
}

static inline void fake_empty(ShFetch *fetch)
{
    for (size_t p = 0; p < fetch->part_count; p++)
        fetch->parts[p].slice_count = 0;
}

/* Take the first fetch that can be answered now, or NULL. With the mutex held. */
static inline ShFetch *fake_take_fetch(ShEngine *engine)
{
    for (size_t i = 0; i < engine->fetch_count; i++) {
        ShFetch *fetch = engine->fetches[i];
        bool filled = fake_fill(engine, fetch);
        if (!filled && !engine->fetch_cancelled[i] && engine->fetch_deadlines_ms[i] > sh_clock_now_ms())
            continue;
        if (!filled)
            fake_empty(fetch);
        size_t last = --engine->fetch_count;
        engine->fetches[i] = engine->fetches[last];
        engine->fetch_deadlines_ms[i] = engine->fetch_deadlines_ms[last];
        engine->fetch_cancelled[i] = engine->fetch_cancelled[last];
        return fetch;
    }
    return NULL;
}

static inline void *fake_run(void *arg)
{
    ShEngine *engine = arg;
    pthread_mutex_lock(&engine->mutex);
    for (;;) {
        ShFetch *fetch = fake_take_fetch(engine);
        if (fetch != NULL) {
            pthread_mutex_unlock(&engine->mutex);
            fetch->done(fetch);
            pthread_mutex_lock(&engine->mutex);
        } else if (engine->append_count > 0 && !engine->hold_appends) {
            ShAppend *append = engine->appends[0];
            memmove(engine->appends, engine->appends + 1, --engine->append_count * sizeof(ShAppend *));
            for (size_t i = 0; i < append->part_count; i++)
                fake_append_part(engine, &append->parts[i]);
            pthread_mutex_unlock(&engine->mutex);
            append->done(append);
            pthread_mutex_lock(&engine->mutex);
        } else if (engine->stopping) {
            break;
        } else {
            sh_cond_wait_ms(&engine->changed, &engine->mutex, engine->fetch_count > 0 ? 5 : 1000);
        }
    }
    pthread_mutex_unlock(&engine->mutex);
    return NULL;
}

static inline ShEngine *fake_engine_new(void)
{
    ShEngine *engine = calloc(1, sizeof *engine);
    pthread_mutex_init(&engine->mutex, NULL);
    if (sh_cond_init(&engine->changed, NULL) != SH_OK)
        abort();
    for (int i = 0; i < FAKE_PARTITIONS; i++)
        engine->logs[i].batches = calloc(FAKE_BATCHES_MAX, sizeof(FakeBatch));
    for (int i = 0; i < 4; i++)
        engine->partitions[i] = (ShMetaPartition){.partition = i};
    static ShOwner other;
    fake_redirect(&other);
    engine->partitions[3].owner = &other;
    engine->partitions[3].epoch = other.epoch;
    engine->topics[0] = (ShMetaTopic){.name = "later", .topic_id = {{9}}, .object_durability = true};
    engine->topics[1] = (ShMetaTopic){
        .name = "orders", .topic_id = fake_topic_id, .partitions = engine->partitions, .partition_count = 4};
    static ShOwner agents[1] = {{.agent_id = "me", .address = "127.0.0.1:1", .zone = "z1"}};
    engine->meta[0] = (ShMeta){
        .topics = &engine->topics[1], .topic_count = 1, .agents = agents, .agent_count = 1};
    engine->meta[1] = (ShMeta){
        .topics = engine->topics, .topic_count = 2, .agents = agents, .agent_count = 1};
    if (sh_thread_start(&engine->thread, "fake-engine", fake_run, engine, NULL) != SH_OK)
        abort();
    return engine;
}

static inline void fake_engine_free(ShEngine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->stopping = true;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
    pthread_join(engine->thread, NULL);
    for (int p = 0; p < FAKE_PARTITIONS; p++) {
        for (size_t i = 0; i < FAKE_BATCHES_MAX; i++)
            sh_buf_unref(engine->logs[p].batches[i].slice.owner);
        free(engine->logs[p].batches);
    }
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->mutex);
    free(engine);
}

/* Appends that are not completed yet. */
static inline size_t fake_appends(ShEngine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    size_t count = engine->append_count;
    pthread_mutex_unlock(&engine->mutex);
    return count;
}

static inline void fake_hold_appends(ShEngine *engine, bool hold)
{
    pthread_mutex_lock(&engine->mutex);
    engine->hold_appends = hold;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
}

static inline long fake_read(ShEngine *engine, const long *counter)
{
    pthread_mutex_lock(&engine->mutex);
    long value = *counter;
    pthread_mutex_unlock(&engine->mutex);
    return value;
}

/* A batch that was appended; it stays while the engine does. */
static inline ShSlice fake_stored(ShEngine *engine, int partition, size_t index)
{
    pthread_mutex_lock(&engine->mutex);
    ShSlice slice = engine->logs[partition].batches[index].slice;
    pthread_mutex_unlock(&engine->mutex);
    return slice;
}

static inline size_t fake_waiting_fetches(ShEngine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    size_t count = engine->fetch_count;
    pthread_mutex_unlock(&engine->mutex);
    return count;
}

/* What calls hold and have not given back. */
static inline int64_t fake_held_bytes(ShEngine *engine)
{
    return __atomic_load_n(&engine->held_bytes, __ATOMIC_SEQ_CST);
}

static inline size_t fake_waiting_appends(ShEngine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    size_t count = engine->append_count;
    pthread_mutex_unlock(&engine->mutex);
    return count;
}

static inline void fake_describe(ShAdminDoneFn done, void *arg)
{
    static const ShPartitionSize rows[3] = {
        {.topic_id = {{1}}, .topic = "a", .durability = "wal", .records = 5, .bytes = 50},
        {.topic_id = {{2}}, .topic = "b", .durability = "wal", .records = 1, .bytes = 10},
        {.topic_id = {{2}}, .topic = "b", .durability = "wal", .partition = 1, .records = 2, .bytes = 20},
    };
    ShTopicSizes sizes = {.partitions = rows, .count = 3};
    done(arg, SH_OK, NULL, &sizes);
}

static inline void fake_hold_describes(ShEngine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->hold_describes = true;
    pthread_mutex_unlock(&engine->mutex);
}

/* Those that are held, and the next ones. */
static inline void fake_release_describes(ShEngine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->hold_describes = false;
    size_t count = engine->describe_count;
    engine->describe_count = 0;
    pthread_mutex_unlock(&engine->mutex);
    for (size_t i = 0; i < count; i++)
        fake_describe(engine->describes[i].done, engine->describes[i].arg);
}

/* How many are held, or of them given up. */
static inline size_t fake_held_describes(ShEngine *engine, bool given_up)
{
    size_t count = 0;
    pthread_mutex_lock(&engine->mutex);
    for (size_t i = 0; i < engine->describe_count; i++)
        count += !given_up || atomic_load(engine->describes[i].given_up);
    pthread_mutex_unlock(&engine->mutex);
    return count;
}

/* --- what agent/rpc calls ----------------------------------------------------------------------------------
 */

void sh_engine_append(ShEngine *engine, ShAppend *append)
{
    pthread_mutex_lock(&engine->mutex);
    if (engine->append_count == FAKE_QUEUE_MAX)
        abort();
    engine->appends[engine->append_count++] = append;
    if (engine->append_count > engine->append_count_peak)
        engine->append_count_peak = engine->append_count;
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
}

void sh_engine_confirm(ShEngine *engine, const ShConfirmation *confirmation)
{
    pthread_mutex_lock(&engine->mutex);
    engine->confirmation = *confirmation;
    engine->confirmations++;
    pthread_mutex_unlock(&engine->mutex);
}

void sh_engine_hold_memory(ShEngine *engine, int64_t bytes)
{
    __atomic_add_fetch(&engine->held_bytes, bytes, __ATOMIC_SEQ_CST);
}

static bool fake_lacks(void *arg, int32_t id, int64_t as_of_ms)
{
    (void)arg;
    (void)id;
    (void)as_of_ms;
    return true;
}

/* Records are held against the schemas that the test has given. */
bool sh_engine_check_begin(ShEngine *engine, const ShTarget *target, ShSchemaBudget *budget,
                           ShRecordCheck *check)
{
    (void)target;
    if (engine->schemas == NULL)
        return false;
    sh_schema_table_ref(engine->schemas);
    sh_record_check_begin(check, engine->schemas, sh_schema_table_find(engine->schemas, &fake_topic_id), NULL,
                          budget);
    check->lacks = fake_lacks;
    return true;
}

ShStatus sh_engine_check_end(ShEngine *engine, ShRecordCheck *check, ShError *err)
{
    (void)engine;
    return sh_record_check_end(check, err);
}

int64_t sh_engine_batch_bytes_max(ShEngine *engine, const ShTarget *target, ShTimeRule *time_rule,
                                  bool *is_known)
{
    (void)engine;
    (void)target;
    *time_rule = (ShTimeRule){.before_max_ms = -1, .after_max_ms = -1};
    *is_known = true;
    return FAKE_BATCH_BYTES_MAX;
}

void sh_engine_fetch(ShEngine *engine, ShFetch *fetch)
{
    pthread_mutex_lock(&engine->mutex);
    engine->fetches_begun++;
    engine->fetches_of_any += fetch->bytes_min <= 1;
    bool answered = fake_fill(engine, fetch);
    if (!answered && fetch->wait_max_ms == 0) {
        fake_empty(fetch);
        answered = true;
    }
    if (!answered) {
        engine->fetches[engine->fetch_count] = fetch;
        engine->fetch_cancelled[engine->fetch_count] = false;
        engine->fetch_deadlines_ms[engine->fetch_count++] = sh_clock_now_ms() + fetch->wait_max_ms;
        pthread_cond_broadcast(&engine->changed);
    }
    pthread_mutex_unlock(&engine->mutex);
    if (answered)
        fetch->done(fetch);
}

void sh_engine_fetch_cancel(ShEngine *engine, ShFetch *fetch)
{
    pthread_mutex_lock(&engine->mutex);
    engine->cancels++;
    for (size_t i = 0; i < engine->fetch_count; i++) {
        if (engine->fetches[i] == fetch)
            engine->fetch_cancelled[i] = true;
    }
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
}

void sh_fetch_release(ShFetch *fetch)
{
    for (size_t p = 0; p < fetch->part_count; p++) {
        ShFetchPart *part = &fetch->parts[p];
        for (size_t i = 0; i < part->slice_count; i++)
            sh_buf_unref(part->slices[i].owner);
        free(part->slices);
        part->slices = NULL;
        part->slice_count = 0;
    }
}

const ShMeta *sh_engine_meta(ShEngine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    const ShMeta *meta = &engine->meta[engine->meta_now];
    pthread_mutex_unlock(&engine->mutex);
    return meta;
}

void sh_engine_meta_release(ShEngine *engine, const ShMeta *meta)
{
    (void)engine;
    (void)meta;
}

const ShMetaTopic *sh_meta_find(const ShMeta *meta, const char *name, size_t name_length)
{
    for (size_t i = 0; i < meta->topic_count; i++) {
        if (strlen(meta->topics[i].name) == name_length &&
            memcmp(meta->topics[i].name, name, name_length) == 0)
            return &meta->topics[i];
    }
    return NULL;
}

void sh_engine_meta_refresh(ShEngine *engine, void (*done)(void *arg, ShStatus status, const ShError *err),
                            void *arg)
{
    pthread_mutex_lock(&engine->mutex);
    engine->refreshes++;
    engine->meta_now = 1;
    pthread_mutex_unlock(&engine->mutex);
    done(arg, SH_OK, NULL);
}

void sh_engine_create_topic(ShEngine *engine, const ShTopicSpec *spec, const ShAdminCaller *caller)
{
    if (strcmp(spec->name, "orders") == 0) {
        ShError err;
        caller->done(caller->arg, sh_fail(&err, SH_EXISTS, "topic \"orders\" exists"), &err, NULL);
        return;
    }
    strncpy(engine->created, spec->name, sizeof engine->created - 1);
    caller->done(caller->arg, SH_OK, NULL, &fake_topic_id);
}

void sh_engine_drop_topic(ShEngine *engine, const char *name, const ShAdminCaller *caller)
{
    (void)engine;
    ShError err;
    if (strcmp(name, "orders") == 0)
        caller->done(caller->arg, SH_OK, NULL, NULL);
    else
        caller->done(caller->arg, sh_fail(&err, SH_NOT_FOUND, "topic \"%s\" does not exist", name), &err,
                     NULL);
}

void sh_engine_init_producer(ShEngine *engine, const ShAdminCaller *caller)
{
    (void)engine;
    ShProducerId producer = {.id = 1099511627777, .epoch = 0};
    caller->done(caller->arg, SH_OK, NULL, &producer);
}

void sh_engine_describe_topics(ShEngine *engine, const char *const *names, size_t name_count,
                               const atomic_bool *given_up, const ShAdminCaller *caller)
{
    (void)names;
    (void)name_count;
    pthread_mutex_lock(&engine->mutex);
    bool is_held = engine->hold_describes;
    if (is_held && engine->describe_count == sizeof engine->describes / sizeof engine->describes[0])
        abort();
    if (is_held)
        engine->describes[engine->describe_count++] = (FakeDescribe){given_up, caller->done, caller->arg};
    pthread_mutex_unlock(&engine->mutex);
    if (!is_held)
        fake_describe(caller->done, caller->arg);
}

#include "tests/unit/agent/rpc/fake_lists.h"

#endif
