#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"

#define FILE_BYTES_MIN 4096
#define RETRY_AFTER_MS 500

static ShStatus create(const ShWalOptions *options, ShWal **out, ShError *err);
static ShStatus init_conditions(ShWal *wal, ShError *err);
static void create_metrics(ShWalMetrics *metrics);
static void refresh_metrics(void *arg);
static ShStatus load_identity(ShWal *wal, ShWalIdentity *identity, ShError *err);
static ShStatus check_new(const ShWal *wal, ShError *err);
static ShStatus admit(ShWal *wal, ShWalNode *node, ShError *err);
static void stop_threads(ShWal *wal);
static ShStatus adopt_identity(ShWal *wal, ShError *err);
static void store_final_identity(ShWal *wal);
static void destroy(ShWal *wal);

ShStatus sh_wal_open(const ShWalOptions *options, ShWal **out, ShWalIdentity *identity, ShError *err)
{
    ShWal *wal = NULL;
    ShStatus status = create(options, &wal, err);
    if (status != SH_OK)
        return status;
    status = sh_wal_dir_open(wal->dir, &wal->dir_fd, err);
    if (status == SH_OK)
        status = sh_wal_dir_lock(wal, err);
    if (status == SH_OK)
        status = load_identity(wal, identity, err);
    if (status != SH_OK) {
        destroy(wal);
        return status;
    }
    create_metrics(&wal->metrics);
    sh_metrics_on_print(refresh_metrics, wal);
    *out = wal;
    return SH_OK;
}

ShStatus sh_wal_check_room(ShWal *wal, ShError *err)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    ShStatus status = sh_wal_dir_list(wal->dir, wal->dir_fd, false, &numbers, &count, err);
    free(numbers);
    return status == SH_OK && count == 0 ? sh_wal_file_try(wal, wal->next_file_no, wal->file_bytes, err)
                                         : status;
}

ShStatus sh_wal_start(ShWal *wal, ShError *err)
{
    ShStatus status = adopt_identity(wal, err);
    if (status == SH_OK)
        status = sh_thread_start(&wal->keeper, "wal-keeper", sh_wal_run_keeper, wal, err);
    if (status != SH_OK)
        return status;
    wal->keeper_started = true;
    status = sh_thread_start(&wal->writer, "wal-writer", sh_wal_run_writer, wal, err);
    if (status != SH_OK)
        return status;
    wal->writer_started = true;
    if (wal->sync != SH_WAL_SYNC_NEVER) {
        status = sh_thread_start(&wal->syncer, "wal-syncer", sh_wal_run_syncer, wal, err);
        wal->syncer_started = status == SH_OK;
    }
    return status;
}

ShStatus sh_wal_append(ShWal *wal, ShWalEntry *entry, ShError *err)
{
    if (entry->batch.length < SH_BATCH_HEADER_BYTES || entry->batch.length > SH_WAL_BATCH_BYTES_MAX)
        return sh_fail(err, SH_INVALID, "a batch of %zu bytes cannot go into the WAL", entry->batch.length);
    ShWalNode *node = malloc(sizeof *node);
    if (node == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a WAL entry");
    *node = (ShWalNode){.entry = entry,
                        .topic_id = entry->topic_id,
                        .partition = entry->partition,
                        .epoch = entry->epoch,
                        .batch = entry->batch};
    sh_buf_ref(node->batch.owner);

    pthread_mutex_lock(&wal->lock);
    ShStatus status = admit(wal, node, err);
    if (status == SH_OK && wal->queue.frame_bytes >= wal->gather_bytes)
        pthread_cond_signal(&wal->writer_wake);
    pthread_mutex_unlock(&wal->lock);

    if (status != SH_OK) {
        sh_buf_unref(node->batch.owner);
        free(node);
    }
    return status;
}

void sh_wal_release(ShWal *wal, uint64_t file_no, int64_t batches)
{
    pthread_mutex_lock(&wal->lock);
    ShWalFile *file = wal->files;
    while (file != NULL && file->no != file_no)
        file = file->next;
    bool known = file != NULL && file->held >= batches;
    if (known) {
        file->held -= batches;
        atomic_fetch_sub(&wal->batches_held, batches);
        if (file->sealed && file->held == 0)
            pthread_cond_signal(&wal->keeper_wake);
    }
    pthread_mutex_unlock(&wal->lock);
    if (!known)
        sh_log_error("wal_release_unknown", "dir=\"%s\" file=%016" PRIx64 " batches=%" PRId64, wal->dir,
                     file_no, batches);
}

void sh_wal_note_calls(ShWal *wal, int64_t calls)
{
    pthread_mutex_lock(&wal->lock);
    if (calls > wal->identity.calls) {
        wal->identity.calls = calls;
        wal->identity_dirty = true;
    }
    pthread_mutex_unlock(&wal->lock);
}

bool sh_wal_lacks_room(ShWal *wal, char *why, size_t why_bytes)
{
    pthread_mutex_lock(&wal->lock);
    bool lacks = wal->space_lacking && (wal->current == NULL || wal->room_refused);
    if (lacks)
        snprintf(why, why_bytes, "the write-ahead log gets no space: %s", wal->space_error.message);
    pthread_mutex_unlock(&wal->lock);
    return lacks;
}

int64_t sh_wal_bytes(const ShWal *wal)
{
    return atomic_load(&wal->disk_bytes);
}

int64_t sh_wal_batches(const ShWal *wal)
{
    return atomic_load(&wal->batches_held);
}

void sh_wal_close(ShWal *wal)
{
    if (wal == NULL)
        return;
    stop_threads(wal);
    sh_metrics_forget_on_print(refresh_metrics, wal);
    if (wal->prepared != NULL)
        sh_wal_file_delete(wal, wal->prepared);
    if (wal->writer_started) {
        pthread_mutex_lock(&wal->lock);
        while (sh_wal_remove_one_released(wal))
            ;
        pthread_mutex_unlock(&wal->lock);
    } /* else the start was not completed: the next one judges by the same files */
    sh_wal_delete_spares(wal);
    store_final_identity(wal);
    destroy(wal);
}

ShStatus sh_wal_note_damage(ShWal *wal, ShError *err)
{
    wal->identity.damaged = true;
    return sh_wal_identity_store(wal, &wal->identity, err);
}

static ShStatus create(const ShWalOptions *options, ShWal **out, ShError *err)
{
    if (options->budget_bytes < 4 * FILE_BYTES_MIN || options->file_bytes < FILE_BYTES_MIN)
        return sh_fail(err, SH_INVALID, "a WAL needs files of %d bytes and a budget of %d bytes at least",
                       FILE_BYTES_MIN, 4 * FILE_BYTES_MIN);
    if (options->file_bytes > options->budget_bytes / 4)
        return sh_fail(err, SH_INVALID,
                       "wal_file_size (%" PRId64 " bytes) is more than a quarter of wal_budget (%" PRId64
                       " bytes)",
                       options->file_bytes, options->budget_bytes);
    ShWal *wal = calloc(1, sizeof *wal);
    if (wal == NULL || (wal->dir = strdup(options->dir)) == NULL) {
        free(wal);
        return sh_fail(err, SH_NO_MEMORY, "no memory for the WAL");
    }
    wal->dir_fd = -1;
    wal->lock_fd = -1;
    wal->sync = options->sync;
    wal->skip_corruption = options->skip_corruption;
    wal->sync_interval_ms = options->sync == SH_WAL_SYNC_ALWAYS ? 0 : options->sync_interval_ms;
    wal->on_written = options->on_written;
    wal->arg = options->arg;

    /* Beside what is held, the disk carries the unfilled rest of the current file and a prepared one. */
    wal->file_bytes = options->file_bytes;
    wal->wanted_bytes = wal->file_bytes;
    wal->data_bytes_max = options->budget_bytes - 2 * wal->file_bytes;

    pthread_mutex_init(&wal->lock, NULL);
    ShStatus status = init_conditions(wal, err);
    if (status != SH_OK) {
        free(wal->dir);
        free(wal);
        return status;
    }
    *out = wal;
    return SH_OK;
}

static ShStatus init_conditions(ShWal *wal, ShError *err)
{
    pthread_cond_t *all[] = {&wal->writer_wake, &wal->syncer_wake, &wal->keeper_wake, &wal->sync_done};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        ShStatus status = sh_cond_init(all[i], err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

static void create_metrics(ShWalMetrics *metrics)
{
    metrics->append_bytes = sh_metric_counter("streamhouse_wal_append_bytes_total", NULL,
                                              "Bytes of frames written to the WAL and acknowledged.");
    metrics->append_batches = sh_metric_counter("streamhouse_wal_append_batches_total", NULL,
                                                "Batches written to the WAL and acknowledged.");
    metrics->groups = sh_metric_counter("streamhouse_wal_groups_total", NULL,
                                        "Groups of batches that were acknowledged together.");
    metrics->sync_duration = sh_metric_histogram("streamhouse_wal_sync_duration_seconds", NULL,
                                                 "Time that one fdatasync of a WAL file took.");
    metrics->size_bytes = sh_metric_gauge("streamhouse_wal_size_bytes", NULL,
                                          "Size of all WAL files on disk.");
    metrics->batches_held = sh_metric_gauge("streamhouse_wal_batches_held", NULL,
                                            "Batches in the WAL that have no committed disposition yet.");
    metrics->batches_recovered = sh_metric_counter("streamhouse_wal_batches_recovered_total", NULL,
                                                   "Batches that earlier incarnations left in the WAL.");
    metrics->files_dead = sh_metric_counter("streamhouse_wal_files_dead_total", NULL,
                                            "WAL files given up after a failed write or sync.");
    metrics->files_recycled = sh_metric_counter(
        "streamhouse_wal_files_recycled_total", NULL,
        "Released WAL files that became the next one without being zeroed again.");
}

static void refresh_metrics(void *arg)
{
    const ShWal *wal = arg;
    sh_metric_set(wal->metrics.size_bytes, sh_wal_bytes(wal));
    sh_metric_set(wal->metrics.batches_held, sh_wal_batches(wal));
}

/* Read who this WAL is, or make it up for a new directory, and raise the incarnation number on disk. */
static ShStatus load_identity(ShWal *wal, ShWalIdentity *identity, ShError *err)
{
    ShWalIdentityFile now = {.clean = true, .sync = wal->sync};
    ShStatus status = sh_wal_identity_load(wal->dir, wal->dir_fd, &now, err);
    if (status == SH_NOT_FOUND) {
        status = check_new(wal, err);
        if (status == SH_OK)
            status = sh_uuid_random(&now.wal_uuid, err);
    }
    if (status != SH_OK)
        return status;

    ShWalIdentity found = {.wal_uuid = now.wal_uuid,
                           .incarnation_no = now.incarnation_no + 1,
                           .calls_seen = now.calls,
                           .clean = now.clean,
                           .damaged = now.damaged,
                           .previous_sync = now.sync};
    memcpy(found.boot_id, now.boot_id, sizeof found.boot_id);
    /* Boot id and policy stay those of the last incarnation that acknowledged anything: should this one die
     * before its recovery is complete, the next must judge by them too. sh_wal_start puts its own in. */
    now.incarnation_no = found.incarnation_no;
    now.clean = false;
    status = sh_wal_identity_store(wal, &now, err);
    if (status != SH_OK)
        return status;

    wal->identity = now;
    wal->wal_uuid = now.wal_uuid;
    wal->next_file_no = (uint64_t)now.incarnation_no << 32 | 1;
    *identity = found;
    char uuid[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&now.wal_uuid, uuid);
    sh_log_info("wal_opened", "dir=\"%s\" wal=%s incarnation=%" PRId64 " clean=%s damaged=%s", wal->dir, uuid,
                now.incarnation_no, found.clean ? "yes" : "no", found.damaged ? "yes" : "no");
    return SH_OK;
}

/* A directory without an identity may be taken for a new WAL only if no log file lies in it. */
static ShStatus check_new(const ShWal *wal, ShError *err)
{
    uint64_t *numbers = NULL;
    size_t count = 0;
    ShStatus status = sh_wal_dir_list(wal->dir, wal->dir_fd, true, &numbers, &count, err);
    if (status != SH_OK)
        return status;
    free(numbers);
    if (count > 0)
        return sh_fail(
            err, SH_CORRUPT,
            "WAL directory %s holds %zu log files but no identity file: restore the file, or move the log "
            "files away if their records are not needed",
            wal->dir, count);
    return SH_OK;
}

/* Queue the node if its frame finds room. With the lock held. */
static ShStatus admit(ShWal *wal, ShWalNode *node, ShError *err)
{
    if (wal->dead)
        return sh_fail(err, SH_IO, "the WAL has failed: %s", wal->dead_error.message);
    if (wal->closing)
        return sh_fail(err, SH_UNAVAILABLE, "the WAL is being closed");

    int64_t bytes = sh_wal_frame_bytes(node->batch.length);
    if (bytes > wal->data_bytes_max)
        return sh_fail(err, SH_TOO_LARGE, "a batch of %zu bytes exceeds the WAL's budget: raise wal_budget",
                       node->batch.length);
    int64_t used = wal->sealed_bytes + wal->unwritten_bytes +
                   (wal->current != NULL ? wal->current->position : 0);
    if (used + bytes > wal->data_bytes_max) {
        sh_fail(err, SH_EXHAUSTED, "the WAL has reached its budget: %" PRId64 " bytes wait to be published",
                used);
        return sh_fail_retry_after(err, SH_EXHAUSTED, RETRY_AFTER_MS);
    }
    int64_t room = wal->current != NULL ? sh_wal_file_room(wal->current) : 0;
    if (wal->space_lacking && wal->unwritten_bytes + bytes > room) {
        wal->room_refused = true;
        sh_fail(err, SH_EXHAUSTED, "the WAL gets no space: %s", wal->space_error.message);
        return sh_fail_retry_after(err, SH_EXHAUSTED, RETRY_AFTER_MS);
    }
    wal->unwritten_bytes += bytes;
    sh_wal_list_push(&wal->queue, node);
    return SH_OK;
}

/* The writer needs the keeper until it has ended. */
static void stop_threads(ShWal *wal)
{
    pthread_mutex_lock(&wal->lock);
    wal->closing = true;
    pthread_cond_signal(&wal->writer_wake);
    pthread_cond_signal(&wal->syncer_wake);
    pthread_mutex_unlock(&wal->lock);
    if (wal->writer_started)
        pthread_join(wal->writer, NULL);
    if (wal->syncer_started)
        pthread_join(wal->syncer, NULL);

    pthread_mutex_lock(&wal->lock);
    wal->keeper_closing = true;
    pthread_cond_signal(&wal->keeper_wake);
    pthread_mutex_unlock(&wal->lock);
    if (wal->keeper_started)
        pthread_join(wal->keeper, NULL);
}

/* From here on what the log holds was written by this incarnation, and what earlier ones had open is sealed.
 */
static ShStatus adopt_identity(ShWal *wal, ShError *err)
{
    char boot_id[sizeof wal->identity.boot_id];
    ShStatus status = sh_boot_id(boot_id, err);
    if (status != SH_OK)
        return status;
    pthread_mutex_lock(&wal->lock);
    wal->identity.sync = wal->sync;
    wal->identity.damaged = false;
    memcpy(wal->identity.boot_id, boot_id, sizeof boot_id);
    ShWalIdentityFile identity = wal->identity;
    pthread_mutex_unlock(&wal->lock);
    return sh_wal_identity_store(wal, &identity, err);
}

static void store_final_identity(ShWal *wal)
{
    /* Files that were not even looked at count as held. */
    uint64_t *numbers = NULL;
    size_t count = 0;
    ShError err;
    ShStatus status = sh_wal_dir_list(wal->dir, wal->dir_fd, true, &numbers, &count, &err);
    free(numbers);
    wal->identity.clean = count == 0 && !wal->dead && !wal->identity.damaged;
    if (status == SH_OK)
        status = sh_wal_identity_store(wal, &wal->identity, &err);
    if (status != SH_OK)
        sh_log_warn("wal_identity_not_stored", "reason=\"%s\"", err.message);
    sh_log_info("wal_closed", "dir=\"%s\" files=%zu batches=%" PRId64, wal->dir, count, sh_wal_batches(wal));
}

static void destroy(ShWal *wal)
{
    while (wal->files != NULL) {
        ShWalFile *file = wal->files;
        wal->files = file->next;
        sh_wal_file_close(file);
        free(file);
    }
    sh_wal_list_free(&wal->durable);
    sh_wal_list_free(&wal->unsynced);
    sh_wal_list_free(&wal->queue);
    if (wal->lock_fd >= 0)
        close(wal->lock_fd);
    if (wal->dir_fd >= 0)
        close(wal->dir_fd);
    pthread_cond_destroy(&wal->writer_wake);
    pthread_cond_destroy(&wal->syncer_wake);
    pthread_cond_destroy(&wal->keeper_wake);
    pthread_cond_destroy(&wal->sync_done);
    pthread_mutex_destroy(&wal->lock);
    free(wal->dir);
    free(wal);
}
