#include <inttypes.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"

/* What the writer thread has taken from the queue. */
typedef struct Writer {
    ShWal *wal;
    ShWalList pending; /* not yet written */
    ShWalEntry *group; /* the entries of the group at work, in order */
    int64_t group_count;
} Writer;

static bool next_work(Writer *writer);
static ShStatus work(Writer *writer, ShError *err);
static ShStatus write_group(Writer *writer, ShWalList *nodes, ShError *err);
static ShWalEntry *link_entries(const ShWalList *nodes, uint64_t file_no);
static void acknowledge(Writer *writer);
static ShStatus seal_current(Writer *writer, ShError *err);
static int retire_current(ShWal *wal);
static ShStatus replace_current(Writer *writer, ShError *err);
static ShStatus rewrite(ShWal *wal, const ShWalFile *dead, ShError *err);
static ShStatus open_next(ShWal *wal, int64_t frames_bytes, bool may_wait, ShError *err);
static void die(Writer *writer, const ShError *err);

void *sh_wal_run_writer(void *arg)
{
    Writer writer = {.wal = arg};
    ShError err = {0};
    ShStatus status = SH_OK;
    while (status == SH_OK && next_work(&writer))
        status = work(&writer, &err);
    if (status == SH_OK && writer.wal->current != NULL)
        status = seal_current(&writer, &err);
    /* Sealing may have replaced the file instead. */
    if (status == SH_OK && writer.wal->current != NULL)
        status = seal_current(&writer, &err);
    if (status != SH_OK)
        die(&writer, &err);
    return NULL;
}

/* Wait for something to do; false when the WAL closes and nothing is left. */
static bool next_work(Writer *writer)
{
    ShWal *wal = writer->wal;
    pthread_mutex_lock(&wal->lock);
    sh_wal_list_join(&writer->pending, &wal->queue);
    while (writer->pending.first == NULL && !wal->current_failed && !wal->closing) {
        sh_cond_wait_ms(&wal->writer_wake, &wal->lock, SH_WAL_WAIT_MS_MAX);
        sh_wal_list_join(&writer->pending, &wal->queue);
    }
    bool more = writer->pending.first != NULL || wal->current_failed;
    pthread_mutex_unlock(&wal->lock);
    return more;
}

/* One step: replace a dead file, open or leave a file, or write all that fits into the current one. */
static ShStatus work(Writer *writer, ShError *err)
{
    ShWal *wal = writer->wal;
    pthread_mutex_lock(&wal->lock);
    bool failed = wal->current_failed;
    pthread_mutex_unlock(&wal->lock);
    if (failed) {
        sh_fail(err, SH_IO, "a sync beside the writer failed");
        return replace_current(writer, err);
    }
    if (wal->current == NULL)
        return open_next(wal, sh_wal_frame_bytes(writer->pending.first->batch.length), true, err);

    ShWalList nodes = sh_wal_list_take_fitting(&writer->pending, sh_wal_file_room(wal->current));
    if (nodes.first == NULL)
        return seal_current(writer, err);
    return write_group(writer, &nodes, err);
}

static ShStatus write_group(Writer *writer, ShWalList *nodes, ShError *err)
{
    ShWal *wal = writer->wal;
    ShWalFile *file = wal->current;
    int64_t bytes = nodes->frame_bytes;
    writer->group = link_entries(nodes, file->no);
    writer->group_count = nodes->count;

    pthread_mutex_lock(&wal->lock);
    int64_t synced = file->synced;
    pthread_mutex_unlock(&wal->lock);
    ShStatus status = sh_wal_write_frames(wal, file, synced, NULL, nodes, err);

    pthread_mutex_lock(&wal->lock);
    wal->unwritten_bytes -= bytes;
    file->held += nodes->count;
    if (status == SH_OK)
        file->position += bytes;
    else
        wal->current_failed = true;
    if (wal->unsynced.first == NULL) {
        wal->unsynced_since_ms = sh_clock_now_ms();
        pthread_cond_signal(&wal->syncer_wake);
    }
    sh_wal_list_join(&wal->unsynced, nodes);
    if (status == SH_OK && wal->sync == SH_WAL_SYNC_ALWAYS)
        status = sh_wal_sync_current(wal, err);
    pthread_mutex_unlock(&wal->lock);

    if (status != SH_OK)
        status = replace_current(writer, err);
    if (status != SH_OK)
        return status;
    sh_metric_add(wal->metrics.append_bytes, bytes);
    acknowledge(writer);
    return SH_OK;
}

static ShWalEntry *link_entries(const ShWalList *nodes, uint64_t file_no)
{
    ShWalEntry *first = NULL;
    ShWalEntry **link = &first;
    for (const ShWalNode *node = nodes->first; node != NULL; node = node->next) {
        node->entry->file_no = file_no;
        *link = node->entry;
        link = &node->entry->next;
    }
    *link = NULL;
    return first;
}

static void acknowledge(Writer *writer)
{
    ShWal *wal = writer->wal;
    ShWalEntry *entries = writer->group;
    sh_metric_add(wal->metrics.append_batches, writer->group_count);
    sh_metric_add(wal->metrics.groups, 1);
    atomic_fetch_add(&wal->batches_held, writer->group_count);
    writer->group = NULL;
    writer->group_count = 0;
    wal->on_written(wal->arg, entries, SH_OK, NULL);
}

/* End the current file. It is whole and synced, under every policy, before the next one gets its first frame:
 * so recovery may take any frame of a later file as proof that this one was whole. */
static ShStatus seal_current(Writer *writer, ShError *err)
{
    ShWal *wal = writer->wal;
    ShWalFile *file = wal->current;
    pthread_mutex_lock(&wal->lock);
    int64_t synced = file->synced;
    pthread_mutex_unlock(&wal->lock);

    ShStatus status = sh_wal_file_write_end(wal, file, synced, err);
    int fd = -1;
    pthread_mutex_lock(&wal->lock);
    if (status == SH_OK)
        status = sh_wal_sync_current(wal, err);
    if (status == SH_OK)
        fd = retire_current(wal);
    pthread_mutex_unlock(&wal->lock);
    if (status != SH_OK)
        return replace_current(writer, err);
    close(fd);
    return SH_OK;
}

/* With the lock held. The file may be deleted as soon as the lock is left, so its descriptor is the caller's
 * now. */
static int retire_current(ShWal *wal)
{
    ShWalFile *file = wal->current;
    int fd = file->fd;
    file->fd = -1;
    file->sealed = true;
    wal->sealed_bytes += file->size_bytes;
    wal->current = NULL;
    wal->current_failed = false;
    pthread_cond_signal(&wal->keeper_wake);
    return fd;
}

/* After a failed write or sync nobody knows what the kernel still has of the file: it is dead, and what it
 * held unsynced is written again, from memory, to the next one. */
static ShStatus replace_current(Writer *writer, ShError *err)
{
    ShWal *wal = writer->wal;
    ShWalFile *dead = wal->current;
    pthread_mutex_lock(&wal->lock);
    sh_wal_sync_claim(wal);
    dead->failed = true;
    dead->held++; /* keeps the dead file until it points to the new one */
    int fd = retire_current(wal);
    int64_t unsynced = wal->unsynced.count;
    int64_t bytes = sh_wal_frame_bytes(0) + wal->unsynced.frame_bytes;
    pthread_mutex_unlock(&wal->lock);
    sh_log_warn("wal_file_dead", "dir=\"%s\" file=%016" PRIx64 " unsynced_batches=%" PRId64 " reason=\"%s\"",
                wal->dir, dead->no, unsynced, err->message);
    sh_metric_add(wal->metrics.files_dead, 1);
    close(fd);

    ShWalList safe = {0};
    ShStatus status = open_next(wal, bytes, false, err);
    if (status == SH_OK)
        status = rewrite(wal, dead, err);
    pthread_mutex_lock(&wal->lock);
    dead->held--;
    if (status == SH_OK) {
        ShWalFile *fresh = wal->current;
        fresh->position += bytes;
        fresh->synced = fresh->position;
        fresh->held += writer->group_count + 1;
        dead->held -= writer->group_count;
        dead->rest = fresh;
        safe = wal->unsynced;
        wal->unsynced = (ShWalList){0};
        for (ShWalEntry *entry = writer->group; entry != NULL; entry = entry->next)
            entry->file_no = fresh->no;
    }
    sh_wal_sync_yield(wal);
    pthread_cond_signal(&wal->keeper_wake);
    pthread_mutex_unlock(&wal->lock);
    sh_wal_list_free(&safe);
    return status;
}

/* The unsynced list stands still: the caller has claimed syncing, and the writer alone adds to it. */
static ShStatus rewrite(ShWal *wal, const ShWalFile *dead, ShError *err)
{
    const ShWalFile *fresh = wal->current;
    ShWalFrame cut = {.type = SH_WAL_FRAME_CUT,
                      .cut_file_no = dead->no,
                      .cut_position = dead->synced,
                      .cut_through = fresh->position + sh_wal_frame_bytes(0) + wal->unsynced.frame_bytes};
    ShStatus status = sh_wal_write_frames(wal, fresh, fresh->synced, &cut, &wal->unsynced, err);
    return status == SH_OK ? sh_wal_file_sync(wal, fresh, err) : status;
}

/* Make the prepared file the current one, once there is one with room for so many bytes of frames. Without
 * `may_wait` a lack of space is an error; with it, only when the WAL is being closed. */
static ShStatus open_next(ShWal *wal, int64_t frames_bytes, bool may_wait, ShError *err)
{
    int64_t needed_bytes = SH_WAL_FILE_HEADER_BYTES + frames_bytes + sh_wal_frame_bytes(0);
    ShStatus status = SH_OK;
    pthread_mutex_lock(&wal->lock);
    if (wal->wanted_bytes < needed_bytes)
        wal->wanted_bytes = needed_bytes;
    wal->file_awaited = true;
    pthread_cond_signal(&wal->keeper_wake);
    while (wal->prepared == NULL || wal->prepared->size_bytes < needed_bytes) {
        if (wal->space_lacking && (!may_wait || wal->closing)) {
            status = sh_fail(err, SH_IO, "%s", wal->space_error.message);
            break;
        }
        sh_cond_wait_ms(&wal->writer_wake, &wal->lock, SH_WAL_WAIT_MS_MAX);
    }
    wal->file_awaited = false;
    if (status == SH_OK) {
        wal->current = wal->prepared;
        wal->prepared = NULL;
        wal->current->next = wal->files;
        wal->files = wal->current;
        wal->wanted_bytes = wal->file_bytes;
        pthread_cond_signal(&wal->keeper_wake);
    }
    pthread_mutex_unlock(&wal->lock);
    return status;
}

/* Refuse everything from now on, and give back every entry that waits. */
static void die(Writer *writer, const ShError *err)
{
    ShWal *wal = writer->wal;
    sh_log_error("wal_dead", "dir=\"%s\" reason=\"%s\"", wal->dir, err->message);
    pthread_mutex_lock(&wal->lock);
    wal->dead = true;
    wal->dead_error = *err;
    sh_wal_list_join(&writer->pending, &wal->queue);
    wal->unwritten_bytes = 0;
    pthread_cond_signal(&wal->syncer_wake);
    pthread_mutex_unlock(&wal->lock);

    ShWalEntry **link = &writer->group;
    while (*link != NULL)
        link = &(*link)->next;
    *link = link_entries(&writer->pending, 0);
    if (writer->group != NULL)
        wal->on_written(wal->arg, writer->group, SH_IO, err);
    sh_wal_list_free(&writer->pending);
}
