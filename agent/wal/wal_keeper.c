#include <inttypes.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"

/* Storing the identity costs two syncs, and the call counter in it rises all the time. */
#define IDENTITY_INTERVAL_MS 1000

static bool must_prepare(const ShWal *wal);
static void prepare(ShWal *wal);
static void store_identity(ShWal *wal);

void *sh_wal_run_keeper(void *arg)
{
    ShWal *wal = arg;
    int64_t identity_stored_ms = sh_clock_now_ms();
    pthread_mutex_lock(&wal->lock);
    while (!wal->keeper_closing) {
        if (sh_wal_remove_one_released(wal))
            continue;
        if (must_prepare(wal)) {
            prepare(wal);
            continue;
        }
        if (wal->identity_dirty && sh_clock_now_ms() - identity_stored_ms >= IDENTITY_INTERVAL_MS) {
            store_identity(wal);
            identity_stored_ms = sh_clock_now_ms();
            continue;
        }
        sh_cond_wait_ms(&wal->keeper_wake, &wal->lock,
                        wal->space_lacking ? SH_WAL_RETRY_MS : SH_WAL_WAIT_MS_MAX);
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}

bool sh_wal_remove_one_released(ShWal *wal)
{
    ShWalFile **link = &wal->files;
    while (*link != NULL && (!(*link)->sealed || (*link)->held > 0))
        link = &(*link)->next;
    ShWalFile *file = *link;
    if (file == NULL)
        return false;

    *link = file->next;
    wal->sealed_bytes -= file->size_bytes;
    wal->prepare_after_ms = 0;
    ShWalFile *rest = file->rest;
    bool recyclable = sh_wal_recyclable(wal, file);
    pthread_mutex_unlock(&wal->lock);
    if (!recyclable || !sh_wal_set_aside(wal, file))
        sh_wal_file_delete(wal, file);
    pthread_mutex_lock(&wal->lock);
    if (rest != NULL)
        rest->held--;
    return true;
}

static bool must_prepare(const ShWal *wal)
{
    bool wanted = wal->prepared == NULL || wal->prepared->size_bytes < wal->wanted_bytes;
    bool useful = !wal->dead && (!wal->closing || wal->file_awaited);
    return wanted && useful && sh_clock_now_ms() >= wal->prepare_after_ms;
}

/* With the lock held, which is left meanwhile. */
static void prepare(ShWal *wal)
{
    ShWalFile *too_small = wal->prepared;
    int64_t size_bytes = wal->wanted_bytes;
    uint64_t no = wal->next_file_no++;
    wal->prepared = NULL;
    pthread_mutex_unlock(&wal->lock);

    ShError err = {0};
    if (too_small != NULL)
        sh_wal_file_delete(wal, too_small);
    ShWalFile *file = sh_wal_recycle(wal, no, size_bytes);
    ShStatus status = file != NULL ? SH_OK : sh_wal_file_create(wal, no, size_bytes, &file, &err);
    if (status != SH_OK)
        sh_log_warn("wal_space_lacking", "dir=\"%s\" reason=\"%s\"", wal->dir, err.message);

    pthread_mutex_lock(&wal->lock);
    wal->prepared = file;
    wal->space_lacking = status != SH_OK;
    wal->space_error = err;
    if (status == SH_OK)
        wal->room_refused = false;
    else if (wal->room_refused && wal->current != NULL && wal->current->held == 0)
        wal->turn_wanted = true;
    wal->prepare_after_ms = status == SH_OK ? 0 : sh_clock_now_ms() + SH_WAL_RETRY_MS;
    pthread_cond_signal(&wal->writer_wake);
}

/* With the lock held, which is left meanwhile. A failure is tried again later. */
static void store_identity(ShWal *wal)
{
    ShWalIdentityFile identity = wal->identity;
    wal->identity_dirty = false;
    pthread_mutex_unlock(&wal->lock);
    ShError err;
    ShStatus status = sh_wal_identity_store(wal, &identity, &err);
    if (status != SH_OK)
        sh_log_warn("wal_identity_not_stored", "reason=\"%s\"", err.message);
    pthread_mutex_lock(&wal->lock);
    if (status != SH_OK)
        wal->identity_dirty = true;
}
