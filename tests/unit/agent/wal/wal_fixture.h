/*
 * wal_fixture.h - a WAL in a directory of its own, batches to put into it, and what came of them.
 */
#ifndef TESTS_WAL_FIXTURE_H
#define TESTS_WAL_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
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

#include "agent/base/clock.h"
#include "agent/base/fault.h"
#include "agent/base/log.h"
#include "agent/wal/wal.h"
#include "agent/wal/wal_format.h"
#include "core/crc32c.h"

#define DEADLINE_MS 20000

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        ShError ok_err = {0};                                                                                \
        ShError *err = &ok_err;                                                                              \
        if ((call) != SH_OK)                                                                                 \
            fail_msg("%s: %s", #call, ok_err.message);                                                       \
    } while (0)

/* One batch in the test's own structure, as a caller embeds it. */
typedef struct Item {
    ShWalEntry entry;
    int64_t id;
} Item;

/* What on_written and recovery reported. */
typedef struct Fixture {
    char dir[64];
    ShWalOptions options;
    ShWal *wal;
    ShWalIdentity identity;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t written;
    int64_t failed;
    int64_t groups;
    int64_t next_id; /* the id that on_written must bring next */
    bool out_of_order;
    uint64_t file_of[4096]; /* by id: where the batch was written */
    int64_t recovered_count;
    int64_t recovered[4096]; /* ids in the order of recovery */
    bool damaged_delivered;
} Fixture;

/* A batch that carries `id` as base offset and matches its CRC; content is made from the id. */
static inline ShBuf *make_batch(int64_t id, size_t length)
{
    ShBuf *buf = sh_buf_new(length);
    assert_non_null(buf);
    buf->length = length;
    for (size_t i = 0; i < length; i++)
        buf->data[i] = (uint8_t)((uint64_t)id * 31 + i * 7);
    sh_put_u64(buf->data, (uint64_t)id);
    sh_put_u32(buf->data + 8, (uint32_t)(length - 12));
    buf->data[16] = SH_BATCH_MAGIC;
    sh_put_u32(buf->data + 17, sh_crc32c(buf->data + 21, length - 21));
    return buf;
}

static inline void fixture_on_written(void *arg, ShWalEntry *entries, ShStatus status, const ShError *err)
{
    Fixture *fixture = arg;
    pthread_mutex_lock(&fixture->lock);
    fixture->groups++;
    while (entries != NULL) {
        Item *item = (Item *)entries;
        entries = entries->next;
        if (item->id != fixture->next_id++)
            fixture->out_of_order = true;
        if (status == SH_OK) {
            fixture->written++;
            fixture->file_of[item->id % 4096] = item->entry.file_no;
        } else {
            fixture->failed++;
            assert_non_null(err);
        }
        sh_buf_unref(item->entry.batch.owner);
        free(item);
    }
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->lock);
}

static inline ShStatus fixture_on_recovered(void *arg, const ShWalEntry *entry, ShError *err)
{
    (void)err;
    Fixture *fixture = arg;
    int64_t id = (int64_t)sh_get_u64(entry->batch.data);
    ShBuf *expected = make_batch(id, entry->batch.length);
    if (memcmp(expected->data, entry->batch.data, entry->batch.length) != 0 ||
        entry->partition != (int32_t)(id % 7) || entry->epoch != id + 1000 ||
        entry->topic_id.bytes[3] != (uint8_t)id)
        fixture->damaged_delivered = true;
    sh_buf_unref(expected);
    fixture->recovered[fixture->recovered_count % 4096] = id;
    fixture->file_of[id % 4096] = entry->file_no;
    fixture->recovered_count++;
    return SH_OK;
}

static inline void fixture_init(Fixture *fixture, ShWalSync sync)
{
    memset(fixture, 0, sizeof *fixture);
    snprintf(fixture->dir, sizeof fixture->dir, "/tmp/test_wal_XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    pthread_mutex_init(&fixture->lock, NULL);
    assert_ok(sh_cond_init(&fixture->changed, err));
    fixture->options = (ShWalOptions){.dir = fixture->dir,
                                      .sync = sync,
                                      .sync_interval_ms = 20,
                                      .file_bytes = 256 * 1024,
                                      .budget_bytes = 64 * 1024 * 1024,
                                      .on_written = fixture_on_written,
                                      .arg = fixture};
    sh_log_setup(SH_LOG_ERROR, SH_LOG_TEXT);
}

static inline void fixture_open(Fixture *fixture)
{
    assert_ok(sh_wal_open(&fixture->options, &fixture->wal, &fixture->identity, err));
}

static inline ShWalRecovery fixture_recover(Fixture *fixture)
{
    ShWalRecovery stats = {0};
    fixture->recovered_count = 0;
    assert_ok(sh_wal_recover(fixture->wal, fixture_on_recovered, fixture, &stats, err));
    assert_int_equal(stats.batches, fixture->recovered_count);
    assert_false(fixture->damaged_delivered);
    return stats;
}

static inline void fixture_start(Fixture *fixture)
{
    fixture_open(fixture);
    fixture_recover(fixture);
    assert_ok(sh_wal_start(fixture->wal, err));
}

static inline void fixture_close(Fixture *fixture)
{
    sh_wal_close(fixture->wal);
    fixture->wal = NULL;
}

static inline ShStatus fixture_try_append(Fixture *fixture, int64_t id, size_t length, ShError *err)
{
    Item *item = calloc(1, sizeof *item);
    assert_non_null(item);
    ShBuf *buf = make_batch(id, length);
    item->id = id;
    item->entry = (ShWalEntry){
        .partition = (int32_t)(id % 7), .epoch = id + 1000, .batch = {buf->data, length, buf}};
    item->entry.topic_id.bytes[3] = (uint8_t)id;
    ShStatus status = sh_wal_append(fixture->wal, &item->entry, err);
    if (status != SH_OK) {
        sh_buf_unref(buf);
        free(item);
    }
    return status;
}

static inline void fixture_append(Fixture *fixture, int64_t first_id, int64_t count, size_t length)
{
    for (int64_t id = first_id; id < first_id + count; id++)
        assert_ok(fixture_try_append(fixture, id, length, err));
}

/* Wait until `*counter` reaches `value`. */
static inline void fixture_wait(Fixture *fixture, const int64_t *counter, int64_t value)
{
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    pthread_mutex_lock(&fixture->lock);
    while (*counter < value && sh_clock_now_ms() < deadline_ms)
        sh_cond_wait_ms(&fixture->changed, &fixture->lock, 100);
    int64_t reached = *counter;
    pthread_mutex_unlock(&fixture->lock);
    if (reached < value)
        fail_msg("waited for %" PRId64 ", got %" PRId64, value, reached);
}

/* The names of the files in the directory that end with `suffix`, sorted; returns how many. */
static inline int fixture_files(const Fixture *fixture, const char *suffix, char names[][64], int max)
{
    struct dirent **found = NULL;
    int count = 0;
    int all = scandir(fixture->dir, &found, NULL, alphasort);
    for (int i = 0; i < all; i++) {
        const char *name = found[i]->d_name;
        size_t length = strlen(name);
        if (length > strlen(suffix) && strcmp(name + length - strlen(suffix), suffix) == 0 && count < max)
            snprintf(names[count++], 64, "%.60s", name);
        free(found[i]);
    }
    free(found);
    return count;
}

/* Of log files: spares and unfinished ones are none. */
static inline int fixture_file_count(const Fixture *fixture)
{
    char names[64][64];
    return fixture_files(fixture, ".wal", names, 64);
}

static inline int fixture_spare_count(const Fixture *fixture)
{
    char names[64][64];
    return fixture_files(fixture, ".spare", names, 64);
}

/* Wait until the directory holds `count` log files. */
static inline void fixture_wait_files(const Fixture *fixture, int count)
{
    int64_t deadline_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (fixture_file_count(fixture) != count && sh_clock_now_ms() < deadline_ms)
        usleep(1000);
    assert_int_equal(fixture_file_count(fixture), count);
}

static inline void fixture_path(const Fixture *fixture, const char *name, char path[160])
{
    snprintf(path, 160, "%s/%s", fixture->dir, name);
}

static inline uint8_t *read_whole(const char *path, size_t *length)
{
    struct stat info;
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &info) == 0);
    uint8_t *bytes = malloc((size_t)info.st_size + 1);
    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, (size_t)info.st_size), info.st_size);
    close(fd);
    *length = (size_t)info.st_size;
    return bytes;
}

static inline void write_whole(const char *path, const uint8_t *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, length), (ssize_t)length);
    close(fd);
}

/* Remove the directory and everything in it. */
static inline void fixture_free(Fixture *fixture)
{
    if (fixture->wal != NULL)
        fixture_close(fixture);
    assert_ok(sh_fault_arm(NULL, err));
    DIR *dir = opendir(fixture->dir);
    const struct dirent *found;
    while (dir != NULL && (found = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), found->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    rmdir(fixture->dir);
    pthread_cond_destroy(&fixture->changed);
    pthread_mutex_destroy(&fixture->lock);
}

#endif
