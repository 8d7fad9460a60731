/*
 * log_fixture.h - an engine over a real WAL, a real directory store and a fake PostgreSQL, and blocking calls
 * to it.
 */
#ifndef TESTS_LOG_FIXTURE_H
#define TESTS_LOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/base/fault.h"
#include "agent/log/engine.h"
#include "agent/log/engine_internal.h"
#include "core/batch.h"
#include "tests/unit/agent/log/fake_pg.h"

#define DEADLINE_MS 20000

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        ShError ok_err = {0};                                                                                \
        ShError *err = &ok_err;                                                                              \
        if ((call) != SH_OK)                                                                                 \
            fail_msg("%s: %s", #call, ok_err.message);                                                       \
    } while (0)

typedef struct Fixture {
    char dir[64];
    char extra[8][96]; /* settings of the test's own, as environment variables */
    ShConfig *config;
    ShEngine *engine;
} Fixture;

/* A callback's end, to be waited for. */
typedef struct Signal {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool done;
    ShStatus status;
} Signal;

static inline void signal_init(Signal *signal)
{
    memset(signal, 0, sizeof *signal);
    pthread_mutex_init(&signal->lock, NULL);
    assert_ok(sh_cond_init(&signal->cond, err));
}

static inline void signal_set(Signal *signal, ShStatus status)
{
    pthread_mutex_lock(&signal->lock);
    signal->done = true;
    signal->status = status;
    pthread_cond_signal(&signal->cond);
    pthread_mutex_unlock(&signal->lock);
}

static inline bool signal_wait(Signal *signal, int64_t timeout_ms)
{
    int64_t until_ms = sh_clock_now_ms() + timeout_ms;
    pthread_mutex_lock(&signal->lock);
    while (!signal->done && sh_clock_now_ms() < until_ms)
        sh_cond_wait_ms(&signal->cond, &signal->lock, until_ms - sh_clock_now_ms());
    bool done = signal->done;
    pthread_mutex_unlock(&signal->lock);
    return done;
}

static inline ShStatus try_start(Fixture *fixture, ShError *err)
{
    char data[96];
    char *environment[16] = {data, (char *)"STREAMHOUSE_AGENT_ID=a1",
                             (char *)"STREAMHOUSE_HEARTBEAT_INTERVAL=50ms",
                             (char *)"STREAMHOUSE_UPLOADS_MAX=2", (char *)"STREAMHOUSE_READ_THREADS=2"};
    snprintf(data, sizeof data, "STREAMHOUSE_DATA_DIR=%s", fixture->dir);
    for (size_t i = 0; i < 8 && fixture->extra[i][0] != '\0'; i++)
        environment[5 + i] = fixture->extra[i];
    if (sh_config_load(NULL, environment, &fixture->config, err) != SH_OK)
        fail_msg("settings: %s", err->message);
    return sh_engine_start(fixture->config, "here:1", "here:2", &fixture->engine, err);
}

static inline void start(Fixture *fixture)
{
    assert_ok(try_start(fixture, err));
}

/* A crash in good order: nothing is drained. */
static inline void stop(Fixture *fixture)
{
    sh_engine_stop(fixture->engine);
    fixture->engine = NULL;
    sh_config_free(fixture->config);
    fixture->config = NULL;
}

static inline int setup(void **state)
{
    Fixture *fixture = calloc(1, sizeof *fixture);
    char path[96];
    snprintf(fixture->dir, sizeof fixture->dir, "/tmp/sh-log-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    snprintf(path, sizeof path, "%s/wal", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/store", fixture->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    sh_log_setup(SH_LOG_ERROR, SH_LOG_TEXT);
    fake_reset();
    memset(&fake_out, 0, sizeof fake_out);
    fake_topic("t", false);
    fake_topic("o", true);
    *state = fixture;
    return 0;
}

static inline int teardown(void **state)
{
    Fixture *fixture = *state;
    assert_ok(sh_fault_arm(NULL, err));
    stop(fixture);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", fixture->dir);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

/* --- append */

typedef struct Append {
    ShAppend call;
    ShAppendPart part;
    ShAppendBatch batch;
    Signal signal;
} Append;

static inline void append_done(ShAppend *call)
{
    Append *append = (Append *)call;
    signal_set(&append->signal, append->part.error.status);
}

static inline ShTarget target_of(const char *topic, int32_t partition)
{
    return (ShTarget){.topic = topic, .topic_length = strlen(topic), .partition = partition};
}

/* Begin an append of one batch of `count` records of `bytes` each, at the time `timestamp_ms`. */
static inline void append_begin(Fixture *fixture, Append *append, ShTarget target, int count, size_t bytes,
                                int64_t timestamp_ms)
{
    memset(append, 0, sizeof *append);
    signal_init(&append->signal);
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    uint8_t *value = calloc(1, bytes + 1);
    for (int i = 0; i < count; i++) {
        ShRecord record = {.timestamp_ms = timestamp_ms + i, .value = value, .value_length = bytes};
        assert_ok(sh_batch_builder_add(builder, &record, NULL, 0, err));
    }
    assert_ok(sh_batch_builder_finish(builder, &append->part.owner, err));
    sh_batch_builder_free(builder);
    free(value);
    append->batch.data = append->part.owner->data;
    assert_ok(sh_batch_peek(append->batch.data, append->part.owner->length, &append->batch.header, err));
    append->part.target = target;
    append->part.batches = &append->batch;
    append->part.batch_count = 1;
    append->call = (ShAppend){.parts = &append->part, .part_count = 1, .done = append_done};
    sh_engine_append(fixture->engine, &append->call);
}

static inline ShStatus append_end(Append *append)
{
    if (!signal_wait(&append->signal, DEADLINE_MS))
        fail_msg("the append was not answered");
    sh_buf_unref(append->part.owner);
    append->part.owner = NULL;
    return append->part.error.status;
}

static inline void admin_done(void *arg, ShStatus status, const ShError *err, const void *result)
{
    (void)err, (void)result;
    signal_set(arg, status);
}

/* Change the durability of the fake's topic from `object` to `wal`, and have the engine learn of it. */
static inline void make_wal(Fixture *fixture, size_t topic)
{
    FAKE_CHANGE(fake.topics[topic].object_durability = false);
    Signal signal;
    signal_init(&signal);
    sh_engine_drop_topic(
        fixture->engine, "t",
        &(ShAdminCaller){.done = admin_done, .arg = &signal}); /* a change has the metadata loaded */
    assert_true(signal_wait(&signal, DEADLINE_MS));
}

/* The base offset, or minus the status. */
static inline int64_t append_to(Fixture *fixture, const char *topic, int count, size_t bytes)
{
    Append append;
    append_begin(fixture, &append, target_of(topic, 0), count, bytes, 1000);
    ShStatus status = append_end(&append);
    return status == SH_OK ? append.part.base_offset : -(int64_t)status;
}

/* Append until it is accepted, as clients do. */
static inline int64_t append_patiently(Fixture *fixture, const char *topic, int count, size_t bytes)
{
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    int64_t offset;
    do {
        offset = append_to(fixture, topic, count, bytes);
    } while (offset < 0 && sh_clock_now_ms() < until_ms);
    return offset;
}

/* --- fetch */

typedef struct Fetch {
    ShFetch call;
    ShFetchPart part;
    Signal signal;
} Fetch;

static inline void fetch_done(ShFetch *call)
{
    Fetch *fetch = (Fetch *)call;
    signal_set(&fetch->signal, fetch->part.error.status);
}

static inline void fetch_begin(Fixture *fixture, Fetch *fetch, const char *topic, int64_t offset,
                               int64_t wait_ms, int64_t bytes_min)
{
    memset(fetch, 0, sizeof *fetch);
    signal_init(&fetch->signal);
    fetch->part.target = target_of(topic, 0);
    fetch->part.offset = offset;
    fetch->call = (ShFetch){.parts = &fetch->part,
                            .part_count = 1,
                            .wait_max_ms = wait_ms,
                            .bytes_min = bytes_min,
                            .done = fetch_done};
    sh_engine_fetch(fixture->engine, &fetch->call);
}

/* A fetch of parts that the caller keeps; one byte of any is enough. */
static inline void fetch_parts_begin(Fixture *fixture, Fetch *fetch, ShFetchPart *parts, size_t count)
{
    memset(fetch, 0, sizeof *fetch);
    signal_init(&fetch->signal);
    fetch->call = (ShFetch){
        .parts = parts, .part_count = count, .wait_max_ms = 2000, .bytes_min = 1, .done = fetch_done};
    sh_engine_fetch(fixture->engine, &fetch->call);
}

static inline ShStatus fetch_end(Fetch *fetch)
{
    if (!signal_wait(&fetch->signal, DEADLINE_MS))
        fail_msg("the fetch was not answered");
    return fetch->part.error.status;
}

/* Read [offset, end) and check that the offsets of the batches follow each other; returns where it ended. */
static inline int64_t read_to(Fixture *fixture, const char *topic, int64_t offset, int64_t end)
{
    while (offset < end) {
        Fetch fetch;
        fetch_begin(fixture, &fetch, topic, offset, 2000, 1);
        if (fetch_end(&fetch) != SH_OK)
            fail_msg("fetch at %lld: %s", (long long)offset, fetch.part.error.message);
        if (fetch.part.slice_count == 0)
            break;
        int64_t next = offset;
        for (size_t i = 0; i < fetch.part.slice_count; i++) {
            ShBatchHeader header;
            assert_ok(sh_batch_peek(fetch.part.slices[i].data, fetch.part.slices[i].length, &header, err));
            assert_true(header.base_offset <= next);
            next = header.base_offset + header.last_offset_delta + 1;
        }
        assert_int_equal(next, fetch.part.next_offset);
        offset = next;
        sh_fetch_release(&fetch.call);
    }
    return offset;
}

/* Read what `fake` or one of its parts holds, under the lock. */
#define FAKE_GET(expression)                                                                                 \
    ({                                                                                                       \
        pthread_mutex_lock(&fake.lock);                                                                      \
        typeof(expression) fake_got = (expression);                                                          \
        pthread_mutex_unlock(&fake.lock);                                                                    \
        fake_got;                                                                                            \
    })

/* Poll until `condition` holds. */
#define wait_until(condition)                                                                                \
    do {                                                                                                     \
        int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;                                                  \
        while (!(condition) && sh_clock_now_ms() < until_ms)                                                 \
            usleep(1000);                                                                                    \
        assert_true(condition);                                                                              \
    } while (0)

static inline int64_t fake_published(size_t topic)
{
    pthread_mutex_lock(&fake.lock);
    int64_t end = fake.topics[topic].partitions[0].end;
    pthread_mutex_unlock(&fake.lock);
    return end;
}

/* A call of three batches. */
typedef struct Triple {
    Append append;
    ShAppendBatch batches[3];
} Triple;

__attribute__((unused)) static void triple_begin(Fixture *fixture, Triple *triple, size_t bytes)
{
    Append *append = &triple->append;
    memset(triple, 0, sizeof *triple);
    signal_init(&append->signal);
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    uint8_t *value = calloc(1, bytes);
    append->part.owner = sh_buf_new(3 * (bytes + 200));
    for (int i = 0; i < 3; i++) {
        ShBuf *one = NULL;
        ShRecord record = {.timestamp_ms = 1000, .value = value, .value_length = bytes};
        assert_ok(sh_batch_builder_add(builder, &record, NULL, 0, err));
        assert_ok(sh_batch_builder_finish(builder, &one, err));
        triple->batches[i].data = append->part.owner->data + append->part.owner->length;
        memcpy(triple->batches[i].data, one->data, one->length);
        append->part.owner->length += one->length;
        assert_ok(sh_batch_peek(triple->batches[i].data, one->length, &triple->batches[i].header, err));
        sh_buf_unref(one);
    }
    free(value);
    sh_batch_builder_free(builder);
    append->part.target = target_of("t", 0);
    append->part.batches = triple->batches;
    append->part.batch_count = 3;
    append->call = (ShAppend){.parts = &append->part, .part_count = 1, .done = append_done};
    sh_engine_append(fixture->engine, &append->call);
}

#endif
