/*
 * wal_writer.c - the thread that owns the current file: it writes groups, acknowledges, goes to the next
 * file, and writes a dead file again.
 *
 * What it must guarantee:
 * - Batches are written and acknowledged in the order of their appends.
 * - Under `always` a batch is acknowledged after an fdatasync that began when its group had been written.
 * - A frame's synced point states what was synced when it was written, never more.
 * - A file is whole and synced before the next one gets its first frame.
 *
 * Why it is fast: nothing is copied but into the page cache, and under `always` the disk does not wait for
 * that. While the syncer syncs what is written, the writer writes what comes next and acknowledges what was
 * synced before; the next fdatasync takes all that was written by then. A little is not worth that: during a
 * sync it waits for more, and with little behind it the writer syncs it itself, two wake-ups less.
 */
#include <inttypes.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"

/* Of one group: the syncer gets the first of much to sync while the rest is written. */
#define GROUP_BYTES ((int64_t)1 << 20)

/* Less than this gathers while a sync is under way. */
#define LITTLE_BYTES ((int64_t)128 << 10)

/* Written and not yet synced, at most. The disk is never idle with it; a sync under full load takes half of
 * it, as much as an object, so that neither log nor store keeps the other from the disk. */
#define AHEAD_BYTES ((int64_t)16 << 20)

/* What the writer thread has taken from the queue and not yet written. */
typedef struct Writer {
    ShWal *wal;
    ShWalList pending;
} Writer;

/* Entries on their way to on_written. */
typedef struct Outgoing {
    ShWalEntry *first;
    ShWalEntry *last;
    int64_t count;
    int64_t frame_bytes;
} Outgoing;

static bool next_work(Writer *writer);
static int64_t worth_writing(const ShWal *wal);
static ShStatus work(Writer *writer, ShError *err);
static ShStatus write_group(Writer *writer, ShWalList *nodes, ShError *err);
static bool syncs_itself(const Writer *writer);
static void acknowledge(ShWal *wal);
static void take_entries(Outgoing *outgoing, const ShWalList *nodes);
static void hand_over(ShWal *wal, const Outgoing *outgoing);
static ShStatus seal_current(ShWal *wal, ShError *err);
static int retire_current(ShWal *wal);
static ShStatus replace_current(ShWal *wal, ShError *err);
static ShStatus rewrite(ShWal *wal, const ShWalFile *dead, ShError *err);
static void follow_dead(ShWal *wal, ShWalFile *dead, int64_t bytes);
static ShStatus open_next(ShWal *wal, int64_t frames_bytes, bool may_wait, ShError *err);
static void mark_dead(ShWal *wal, const ShError *err);
static void die(Writer *writer, const ShError *err);

void *sh_wal_run_writer(void *arg)
{
    ShWal *wal = arg;
    Writer writer = {.wal = wal};
    ShError err = {0};
    ShStatus status = SH_OK;
    while (status == SH_OK && next_work(&writer))
        status = work(&writer, &err);
    if (status == SH_OK && wal->current != NULL)
        status = seal_current(wal, &err);
    /* Sealing may have replaced the file instead. */
    if (status == SH_OK && wal->current != NULL)
        status = seal_current(wal, &err);
    acknowledge(wal);
    if (status != SH_OK)
        die(&writer, &err);
    return NULL;
}

/* Wait for something to do; false when the WAL closes and nothing is left to write. */
static bool next_work(Writer *writer)
{
    ShWal *wal = writer->wal;
    bool writes = false;
    pthread_mutex_lock(&wal->lock);
    for (;;) {
        wal->gather_bytes = worth_writing(wal) - writer->pending.frame_bytes;
        writes = wal->queue.frame_bytes >= wal->gather_bytes;
        if (writes || wal->durable.first != NULL || wal->current_failed || wal->turn_wanted || wal->closing)
            break;
        sh_cond_wait_ms(&wal->writer_wake, &wal->lock, SH_WAL_WAIT_MS_MAX);
    }
    if (writes)
        sh_wal_list_join(&writer->pending, &wal->queue);
    bool more = writes || wal->durable.first != NULL || wal->current_failed ||
                (wal->turn_wanted && !wal->closing);
    pthread_mutex_unlock(&wal->lock);
    return more;
}

/* How many bytes must wait before the writer writes them. With the lock held. */
static int64_t worth_writing(const ShWal *wal)
{
    if (wal->sync != SH_WAL_SYNC_ALWAYS || wal->unsynced.first == NULL || wal->closing)
        return 1;
    return wal->unsynced.frame_bytes < AHEAD_BYTES ? LITTLE_BYTES : INT64_MAX;
}

/* One step: acknowledge what was synced, then replace a dead file, open or leave a file, or write a group. A
 * full file of which nothing is held is the room that the next one is to get. */
static ShStatus work(Writer *writer, ShError *err)
{
    ShWal *wal = writer->wal;
    acknowledge(wal);
    pthread_mutex_lock(&wal->lock);
    bool failed = wal->current_failed;
    bool writes = writer->pending.frame_bytes >= worth_writing(wal);
    bool turns = wal->turn_wanted && wal->current != NULL && wal->current->held == 0;
    wal->turn_wanted = false;
    pthread_mutex_unlock(&wal->lock);
    if (failed) {
        sh_fail(err, SH_IO, "a sync beside the writer failed");
        return replace_current(wal, err);
    }
    if (!writes)
        return turns ? seal_current(wal, err) : SH_OK;
    if (wal->current == NULL)
        return open_next(wal, sh_wal_frame_bytes(writer->pending.first->batch.length), true, err);

    ShWalList nodes = sh_wal_list_take_fitting(&writer->pending, GROUP_BYTES, sh_wal_file_room(wal->current));
    if (nodes.first == NULL)
        return seal_current(wal, err);
    return write_group(writer, &nodes, err);
}

static ShStatus write_group(Writer *writer, ShWalList *nodes, ShError *err)
{
    ShWal *wal = writer->wal;
    ShWalFile *file = wal->current;
    int64_t bytes = nodes->frame_bytes;
    for (const ShWalNode *node = nodes->first; node != NULL; node = node->next)
        node->entry->file_no = file->no;

    pthread_mutex_lock(&wal->lock);
    int64_t synced = file->synced;
    pthread_mutex_unlock(&wal->lock);
    ShStatus status = sh_wal_write_frames(wal, file, synced, NULL, nodes, err);

    /* Under the other policies the group is acknowledged now; its nodes stay until they are synced. */
    Outgoing outgoing = {0};
    if (status == SH_OK && wal->sync != SH_WAL_SYNC_ALWAYS)
        take_entries(&outgoing, nodes);

    pthread_mutex_lock(&wal->lock);
    wal->unwritten_bytes -= bytes;
    file->held += nodes->count;
    if (status == SH_OK)
        file->position += bytes;
    else
        wal->current_failed = true;
    if (wal->unsynced.first == NULL)
        wal->unsynced_since_ms = sh_clock_now_ms();
    sh_wal_list_join(&wal->unsynced, nodes);
    if (status == SH_OK && syncs_itself(writer))
        status = sh_wal_sync_current(wal, err);
    else
        pthread_cond_signal(&wal->syncer_wake);
    pthread_mutex_unlock(&wal->lock);

    hand_over(wal, &outgoing);
    return status == SH_OK ? SH_OK : replace_current(wal, err);
}

/* Whether the writer syncs what it has just written, instead of the syncer, which may have ended when the WAL
 * closes. With the lock held. */
static bool syncs_itself(const Writer *writer)
{
    const ShWal *wal = writer->wal;
    int64_t behind = writer->pending.frame_bytes + wal->queue.frame_bytes;
    bool little = behind < LITTLE_BYTES && wal->unsynced.frame_bytes < LITTLE_BYTES && !wal->sync_busy;
    return wal->sync == SH_WAL_SYNC_ALWAYS && (little || wal->closing);
}

/* Whatever is durable by now: everything that one sync covered, or several. */
static void acknowledge(ShWal *wal)
{
    pthread_mutex_lock(&wal->lock);
    ShWalList nodes = wal->durable;
    wal->durable = (ShWalList){0};
    pthread_mutex_unlock(&wal->lock);

    Outgoing outgoing = {0};
    take_entries(&outgoing, &nodes);
    sh_wal_list_free(&nodes);
    hand_over(wal, &outgoing);
}

/* Link those entries of the nodes that were not acknowledged yet behind the outgoing ones. */
static void take_entries(Outgoing *outgoing, const ShWalList *nodes)
{
    for (ShWalNode *node = nodes->first; node != NULL; node = node->next) {
        ShWalEntry *entry = node->entry;
        if (entry == NULL)
            continue;
        node->entry = NULL;
        entry->next = NULL;
        if (outgoing->last == NULL)
            outgoing->first = entry;
        else
            outgoing->last->next = entry;
        outgoing->last = entry;
        outgoing->count++;
        outgoing->frame_bytes += sh_wal_frame_bytes(node->batch.length);
    }
}

static void hand_over(ShWal *wal, const Outgoing *outgoing)
{
    if (outgoing->count == 0)
        return;
    sh_metric_add(wal->metrics.append_bytes, outgoing->frame_bytes);
    sh_metric_add(wal->metrics.append_batches, outgoing->count);
    sh_metric_add(wal->metrics.groups, 1);
    atomic_fetch_add(&wal->batches_held, outgoing->count);
    wal->on_written(wal->arg, outgoing->first, SH_OK, NULL);
}

/* End the current file. It is whole and synced, under every policy, before the next one gets its first frame:
 * so recovery may take any frame of a later file as proof that this one was whole. Under `always` the END
 * frame itself is proof of all before it. */
static ShStatus seal_current(ShWal *wal, ShError *err)
{
    ShWalFile *file = wal->current;
    ShStatus status = SH_OK;
    int fd = -1;
    pthread_mutex_lock(&wal->lock);
    if (wal->sync == SH_WAL_SYNC_ALWAYS && file->synced < file->position)
        status = sh_wal_sync_current(wal, err);
    int64_t synced = file->synced;
    pthread_mutex_unlock(&wal->lock);
    if (status == SH_OK) {
        acknowledge(wal);
        status = sh_wal_file_write_end(wal, file, synced, err);
    }
    pthread_mutex_lock(&wal->lock);
    if (status == SH_OK)
        status = sh_wal_sync_current(wal, err);
    if (status == SH_OK)
        fd = retire_current(wal);
    pthread_mutex_unlock(&wal->lock);
    if (status != SH_OK)
        return replace_current(wal, err);
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
static ShStatus replace_current(ShWal *wal, ShError *err)
{
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

    ShStatus status = open_next(wal, bytes, false, err);
    if (status == SH_OK)
        status = rewrite(wal, dead, err);
    pthread_mutex_lock(&wal->lock);
    dead->held--;
    if (status == SH_OK)
        follow_dead(wal, dead, bytes);
    else
        mark_dead(wal, err); /* before the syncer may look again */
    sh_wal_sync_yield(wal);
    pthread_cond_signal(&wal->keeper_wake);
    pthread_mutex_unlock(&wal->lock);
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

/* The current file has all that the dead one held unsynced. What was acknowledged before keeps the dead
 * file's number. With the lock held. */
static void follow_dead(ShWal *wal, ShWalFile *dead, int64_t bytes)
{
    ShWalFile *fresh = wal->current;
    fresh->position += bytes;
    fresh->synced = fresh->position;
    fresh->held++;
    dead->rest = fresh;
    for (const ShWalNode *node = wal->unsynced.first; node != NULL; node = node->next) {
        if (node->entry == NULL)
            continue;
        node->entry->file_no = fresh->no;
        fresh->held++;
        dead->held--;
    }
    sh_wal_list_join(&wal->durable, &wal->unsynced);
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

/* Refuse everything from now on. With the lock held. */
static void mark_dead(ShWal *wal, const ShError *err)
{
    wal->dead = true;
    wal->dead_error = *err;
    wal->unwritten_bytes = 0;
    pthread_cond_signal(&wal->syncer_wake);
}

/* Give back every entry that waits. */
static void die(Writer *writer, const ShError *err)
{
    ShWal *wal = writer->wal;
    sh_log_error("wal_dead", "dir=\"%s\" reason=\"%s\"", wal->dir, err->message);
    Outgoing outgoing = {0};
    pthread_mutex_lock(&wal->lock);
    mark_dead(wal, err);
    sh_wal_list_join(&writer->pending, &wal->queue);
    /* Nobody syncs a dead WAL, so these stand still. */
    take_entries(&outgoing, &wal->unsynced);
    take_entries(&outgoing, &writer->pending);
    pthread_mutex_unlock(&wal->lock);

    if (outgoing.count > 0)
        wal->on_written(wal->arg, outgoing.first, SH_IO, err);
    sh_wal_list_free(&writer->pending);
}
