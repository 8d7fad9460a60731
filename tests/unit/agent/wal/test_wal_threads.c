/* Many threads append while others release: each thread's batches stay in order, all files go in the end. */
#include "tests/unit/agent/wal/wal_fixture.h"

#define THREADS            4
#define BATCHES_PER_THREAD 3000
#define SMALL              2000 /* bytes of a batch, at most */
#define LARGE              20000

typedef struct Shared {
    Fixture fixture;
    size_t batch_bytes_max;
    int64_t next_of[THREADS];
    int64_t done;
    bool out_of_order;
    bool failed;
} Shared;

typedef struct Appender {
    Shared *shared;
    int number;
    pthread_t thread;
} Appender;

/* Releases from here too, as a publish that is quicker than the next group would. */
static void on_written(void *arg, ShWalEntry *entries, ShStatus status, const ShError *err)
{
    (void)err;
    Shared *shared = arg;
    pthread_mutex_lock(&shared->fixture.lock);
    while (entries != NULL) {
        Item *item = (Item *)entries;
        entries = entries->next;
        int number = (int)(item->id / BATCHES_PER_THREAD);
        if (item->id % BATCHES_PER_THREAD != shared->next_of[number]++)
            shared->out_of_order = true;
        if (status != SH_OK)
            shared->failed = true;
        sh_wal_release(shared->fixture.wal, item->entry.file_no, 1);
        sh_buf_unref(item->entry.batch.owner);
        free(item);
        shared->done++;
    }
    pthread_cond_broadcast(&shared->fixture.changed);
    pthread_mutex_unlock(&shared->fixture.lock);
}

static void *run_appender(void *arg)
{
    const Appender *appender = arg;
    for (int64_t i = 0; i < BATCHES_PER_THREAD; i++) {
        int64_t id = appender->number * BATCHES_PER_THREAD + i;
        size_t length = 61 + (size_t)(id * 13) % appender->shared->batch_bytes_max;
        while (fixture_try_append(&appender->shared->fixture, id, length, NULL) == SH_EXHAUSTED)
            sched_yield();
    }
    return NULL;
}

static void run_all(ShWalSync sync, size_t batch_bytes_max, const char *faults)
{
    Shared shared = {.batch_bytes_max = batch_bytes_max};
    fixture_init(&shared.fixture, sync);
    shared.fixture.options.on_written = on_written;
    shared.fixture.options.arg = &shared;
    shared.fixture.options.sync_interval_ms = 2;
    shared.fixture.options.budget_bytes = 1024 * (int64_t)batch_bytes_max;
    shared.fixture.options.file_bytes = 128 * (int64_t)batch_bytes_max;
    fixture_start(&shared.fixture);
    assert_ok(sh_fault_arm(faults, err));
    Appender appenders[THREADS];
    for (int i = 0; i < THREADS; i++) {
        appenders[i] = (Appender){.shared = &shared, .number = i};
        assert_ok(sh_thread_start(&appenders[i].thread, "appender", run_appender, &appenders[i], err));
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(appenders[i].thread, NULL);
    fixture_wait(&shared.fixture, &shared.done, THREADS * BATCHES_PER_THREAD);
    fixture_close(&shared.fixture);
    assert_false(shared.out_of_order);
    assert_false(shared.failed);
    assert_int_equal(fixture_file_count(&shared.fixture), 0);
    fixture_free(&shared.fixture);
}

static void test_many_threads_under_every_policy(void **state)
{
    (void)state;
    run_all(SH_WAL_SYNC_ALWAYS, SMALL, NULL);
    run_all(SH_WAL_SYNC_INTERVAL, SMALL, NULL);
    run_all(SH_WAL_SYNC_NEVER, SMALL, NULL);
}

/* Batches that let the writer run ahead of the syncer. */
static void test_many_threads_with_large_batches(void **state)
{
    (void)state;
    run_all(SH_WAL_SYNC_ALWAYS, LARGE, NULL);
    run_all(SH_WAL_SYNC_ALWAYS, LARGE, "wal.fdatasync=error:1");
}

static void test_many_threads_over_failing_syncs(void **state)
{
    (void)state;
    run_all(SH_WAL_SYNC_ALWAYS, SMALL, "wal.fdatasync=error:1");
    run_all(SH_WAL_SYNC_INTERVAL, SMALL, "wal.fdatasync=error:1");
    run_all(SH_WAL_SYNC_NEVER, SMALL, "wal.write=error:1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_threads_under_every_policy),
        cmocka_unit_test(test_many_threads_with_large_batches),
        cmocka_unit_test(test_many_threads_over_failing_syncs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
