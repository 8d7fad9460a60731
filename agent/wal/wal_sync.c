/*
 * wal_sync.c - fdatasync of the current file, beside the writer or by it.
 *
 * What it must guarantee: a sync makes durable what had been written when it began, whatever is written
 * meanwhile; a file that failed is never synced again. Why it is fast: the writer does not wait for it, and
 * one sync covers all groups that were written during the one before.
 */
#include <inttypes.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"

static void sync_beside_writer(ShWal *wal);

void sh_wal_sync_claim(ShWal *wal)
{
    while (wal->sync_busy)
        sh_cond_wait_ms(&wal->sync_done, &wal->lock, SH_WAL_WAIT_MS_MAX);
    wal->sync_busy = true;
}

void sh_wal_sync_yield(ShWal *wal)
{
    wal->sync_busy = false;
    pthread_cond_broadcast(&wal->sync_done);
}

ShStatus sh_wal_sync_current(ShWal *wal, ShError *err)
{
    sh_wal_sync_claim(wal);
    ShWalFile *file = wal->current;
    /* The kernel reports a failure once: a second sync would succeed and mean nothing. */
    if (wal->current_failed) {
        sh_wal_sync_yield(wal);
        return sh_fail(err, SH_IO, "WAL file %016" PRIx64 " failed before", file->no);
    }
    int64_t position = file->position;
    int64_t count = wal->unsynced.count;
    int64_t started_ms = sh_clock_now_ms();
    pthread_mutex_unlock(&wal->lock);

    ShStatus status = sh_wal_file_sync(wal, file, err);

    pthread_mutex_lock(&wal->lock);
    if (status == SH_OK) {
        ShWalList safe = sh_wal_list_take(&wal->unsynced, count);
        file->synced = position;
        wal->unsynced_since_ms = started_ms;
        sh_wal_list_join(&wal->durable, &safe);
    } else {
        wal->current_failed = true;
    }
    pthread_cond_signal(&wal->writer_wake);
    sh_wal_sync_yield(wal);
    return status;
}

void *sh_wal_run_syncer(void *arg)
{
    ShWal *wal = arg;
    pthread_mutex_lock(&wal->lock);
    while (!wal->closing && !wal->dead) {
        int64_t wait_ms = SH_WAL_WAIT_MS_MAX;
        if (wal->unsynced.count > 0 && !wal->current_failed)
            wait_ms = wal->unsynced_since_ms + wal->sync_interval_ms - sh_clock_now_ms();
        if (wait_ms > 0)
            sh_cond_wait_ms(&wal->syncer_wake, &wal->lock, wait_ms);
        else if (wal->sync_busy)
            sh_cond_wait_ms(&wal->sync_done, &wal->lock, SH_WAL_WAIT_MS_MAX);
        else
            sync_beside_writer(wal);
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}

/* With the lock held, which is left meanwhile. A failure has marked the file for the writer. */
static void sync_beside_writer(ShWal *wal)
{
    ShError err;
    if (sh_wal_sync_current(wal, &err) == SH_OK)
        return;
    pthread_mutex_unlock(&wal->lock);
    sh_log_warn("wal_sync_failed", "dir=\"%s\" reason=\"%s\"", wal->dir, err.message);
    pthread_mutex_lock(&wal->lock);
}
