#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"
#include "agent/wal/wal_scan.h"

/* A file that was found, and what is to become of it. */
typedef struct Found {
    uint64_t no;
    int64_t size_bytes;
    ShWalScan scan;
    int64_t end;  /* its frames count up to here */
    bool dead;    /* a later file holds what followed `end` */
    bool dropped; /* rewriting to it was not finished: its batches stand in the dead file, or were not acknowledged */
} Found;

typedef struct Recovery {
    ShWal *wal;
    Found *files;
    size_t count;
    ShScratch bytes; /* of the file being read */
} Recovery;

static ShStatus scan_all(Recovery *recovery, ShError *err);
static ShStatus read_file(Recovery *recovery, uint64_t no, ShError *err);
static ShStatus judge_all(Recovery *recovery, ShError *err);
static void apply_cut(Recovery *recovery, Found *file);
static ShStatus fail_damaged(const ShWal *wal, const Found *file, ShError *err);
static ShStatus mend(const ShWal *wal, Found *file, ShWalRecovery *stats, ShError *err);
static ShStatus end_at(const ShWal *wal, const Found *file, int fd, ShError *err);
static ShStatus deliver(Recovery *recovery, const Found *file, ShWalRecoverFn fn, void *arg, ShWalRecovery *stats,
                        ShError *err);
static ShStatus deliver_batch(ShWal *wal, ShWalFile *file, const ShWalFrame *frame, const uint8_t *batch,
                              ShWalRecoverFn fn, void *arg, ShError *err);

ShStatus sh_wal_recover(ShWal *wal, ShWalRecoverFn fn, void *arg, ShWalRecovery *stats, ShError *err)
{
    Recovery recovery = {.wal = wal};
    ShWalRecovery sums = {0};
    ShStatus status = scan_all(&recovery, err);
    if (status == SH_OK)
        status = judge_all(&recovery, err);
    for (size_t i = 0; status == SH_OK && i < recovery.count; i++)
        status = mend(wal, &recovery.files[i], &sums, err);
    for (size_t i = 0; status == SH_OK && i < recovery.count; i++)
        status = deliver(&recovery, &recovery.files[i], fn, arg, &sums, err);
    if (status == SH_OK) {
        sh_metric_add(wal->metrics.batches_recovered, sums.batches);
        sh_log_info("wal_recovered", "dir=\"%s\" files=%" PRId64 " batches=%" PRId64 " bytes=%" PRId64
                    " torn_bytes=%" PRId64, wal->dir, sums.files, sums.batches, sums.bytes, sums.torn_bytes);
        *stats = sums;
    }
    sh_scratch_free(&recovery.bytes);
    free(recovery.files);
    return status;
}

static ShStatus scan_all(Recovery *recovery, ShError *err)
{
    ShWal *wal = recovery->wal;
    uint64_t *numbers = NULL;
    ShStatus status = sh_wal_dir_list(wal, &numbers, &recovery->count, err);
    if (status != SH_OK)
        return status;
    recovery->files = calloc(recovery->count + 1, sizeof *recovery->files);
    if (recovery->files == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory to recover %zu WAL files", recovery->count);

    for (size_t i = 0; status == SH_OK && i < recovery->count; i++) {
        Found *file = &recovery->files[i];
        file->no = numbers[i];
        status = read_file(recovery, file->no, err);
        if (status != SH_OK)
            break;
        ShWalFileId id;
        status = sh_wal_decode_file_header(recovery->bytes.data, recovery->bytes.length, &id, err);
        if (status == SH_OK && !sh_uuid_equal(&id.wal_uuid, &wal->wal_uuid))
            status = sh_fail(err, SH_CORRUPT, "the file belongs to another WAL; move it to that one's directory");
        if (status == SH_OK && id.file_no != file->no)
            status = sh_fail(err, SH_CORRUPT, "the file has the name of another: its number is %016" PRIx64,
                             id.file_no);
        if (status != SH_OK)
            sh_fail_prefix(err, status, "WAL file %s/%016" PRIx64 ".wal", wal->dir, file->no);
        else
            sh_wal_scan(&id, recovery->bytes.data, recovery->bytes.length, &file->scan);
        file->size_bytes = (int64_t)recovery->bytes.length;
        file->end = file->scan.end;
    }
    free(numbers);
    return status;
}

static ShStatus read_file(Recovery *recovery, uint64_t no, ShError *err)
{
    ShWal *wal = recovery->wal;
    char name[SH_WAL_FILE_NAME_BYTES];
    struct stat info;
    sh_wal_file_name(no, name);
    ShStatus status = SH_OK;
    int fd = openat(wal->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = sh_fail(err, SH_IO, "WAL file %s/%s cannot be opened: %s", wal->dir, name, strerror(errno));
        goto done;
    }
    status = sh_scratch_reserve(&recovery->bytes, (size_t)info.st_size + 1, err);
    recovery->bytes.length = 0;
    while (status == SH_OK && recovery->bytes.length < (size_t)info.st_size) {
        ssize_t got = pread(fd, recovery->bytes.data + recovery->bytes.length,
                            (size_t)info.st_size - recovery->bytes.length, (off_t)recovery->bytes.length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            status = sh_fail(err, SH_IO, "WAL file %s/%s cannot be read at %zu: %s", wal->dir, name,
                             recovery->bytes.length, got < 0 ? strerror(errno) : "it became shorter");
        else
            recovery->bytes.length += (size_t)got;
    }

done:
    if (fd >= 0)
        close(fd);
    return status;
}

/* Decide what each file holds, from the last one back: a frame of a later file proves that the earlier ones were
 * whole, except where a CUT frame says that one died. */
static ShStatus judge_all(Recovery *recovery, ShError *err)
{
    bool followed = false;
    for (size_t i = recovery->count; i-- > 0;) {
        Found *file = &recovery->files[i];
        if (file->dead) {
            if (file->scan.end < file->end)
                return fail_damaged(recovery->wal, file, err);
            followed = true;
            continue;
        }
        if (sh_wal_scan_is_corrupt(&file->scan) || (followed && !file->scan.ended))
            return fail_damaged(recovery->wal, file, err);
        if (file->scan.has_cut)
            apply_cut(recovery, file);
        if (!file->dropped && (file->scan.batches > 0 || file->scan.ended))
            followed = true;
    }
    return SH_OK;
}

static void apply_cut(Recovery *recovery, Found *file)
{
    const ShWalFrame *cut = &file->scan.cut;
    if (file->scan.end < cut->cut_through) {
        file->dropped = true;
        file->end = SH_WAL_FILE_HEADER_BYTES;
        return;
    }
    for (size_t i = 0; i < recovery->count; i++) {
        Found *dead = &recovery->files[i];
        if (dead->no == cut->cut_file_no && dead < file) {
            dead->dead = true;
            dead->end = cut->cut_position;
        }
    }
}

static ShStatus fail_damaged(const ShWal *wal, const Found *file, ShError *err)
{
    return sh_fail(err, SH_CORRUPT,
                   "WAL file %s/%016" PRIx64 ".wal is damaged at position %" PRId64 ", which was synced; its last good "
                   "batch stands at %" PRId64 ". Nothing was changed: restore the file from the disk's redundancy, or "
                   "move it away and lose the acknowledged batches behind that position",
                   wal->dir, file->no, file->scan.end, file->scan.last_frame);
}

/* Give the file a clean end, so that it is whole when later files follow. */
static ShStatus mend(const ShWal *wal, Found *file, ShWalRecovery *stats, ShError *err)
{
    char name[SH_WAL_FILE_NAME_BYTES];
    sh_wal_file_name(file->no, name);
    bool torn = !file->dead && file->scan.torn_bytes > 0;
    if (torn) {
        stats->torn_bytes += file->scan.torn_bytes;
        sh_log_warn("wal_torn_tail", "dir=\"%s\" file=%s position=%" PRId64 " bytes=%" PRId64, wal->dir, name,
                    file->end, file->scan.torn_bytes);
    }
    if (file->end == SH_WAL_FILE_HEADER_BYTES || file->scan.batches == 0) {
        if (unlinkat(wal->dir_fd, name, 0) != 0)
            return sh_fail(err, SH_IO, "WAL file %s/%s cannot be deleted: %s", wal->dir, name, strerror(errno));
        file->end = SH_WAL_FILE_HEADER_BYTES;
        return SH_OK;
    }
    if (file->scan.ended && !file->dead)
        return SH_OK;

    int fd = openat(wal->dir_fd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return sh_fail(err, SH_IO, "WAL file %s/%s cannot be opened for writing: %s", wal->dir, name, strerror(errno));
    ShStatus status = end_at(wal, file, fd, err);
    close(fd);
    file->size_bytes = file->end + sh_wal_frame_bytes(0);
    return status;
}

static ShStatus end_at(const ShWal *wal, const Found *file, int fd, ShError *err)
{
    ShWalFile open = {.no = file->no, .fd = fd, .position = file->end};
    ShStatus status = sh_wal_file_write_end(wal, &open, file->end, err);
    if (status == SH_OK && (ftruncate(fd, file->end + sh_wal_frame_bytes(0)) != 0 || fsync(fd) != 0))
        status = sh_fail(err, SH_IO, "WAL file %s/%016" PRIx64 ".wal cannot be cut: %s", wal->dir, file->no,
                         strerror(errno));
    return status;
}

static ShStatus deliver(Recovery *recovery, const Found *found, ShWalRecoverFn fn, void *arg, ShWalRecovery *stats,
                        ShError *err)
{
    if (found->end == SH_WAL_FILE_HEADER_BYTES)
        return SH_OK;
    ShWal *wal = recovery->wal;
    ShStatus status = read_file(recovery, found->no, err);
    if (status != SH_OK)
        return status;
    ShWalFile *file = calloc(1, sizeof *file);
    if (file == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to recover a WAL file");
    *file = (ShWalFile){.no = found->no, .fd = -1, .size_bytes = found->size_bytes, .position = found->end,
                        .synced = found->end, .held = 1, .sealed = true};
    pthread_mutex_lock(&wal->lock);
    file->next = wal->files;
    wal->files = file;
    wal->sealed_bytes += file->size_bytes;
    pthread_mutex_unlock(&wal->lock);
    atomic_fetch_add(&wal->disk_bytes, file->size_bytes);
    stats->files++;

    ShWalFileId id = {wal->wal_uuid, found->no};
    ShWalFrame frame;
    for (int64_t position = SH_WAL_FILE_HEADER_BYTES; status == SH_OK && position < found->end;
         position += sh_wal_frame_bytes(frame.batch_length)) {
        if (!sh_wal_decode_frame(&id, recovery->bytes.data, recovery->bytes.length, position, &frame)) {
            status = sh_fail(err, SH_IO, "WAL file %s/%016" PRIx64 ".wal changed while it was read", wal->dir, id.file_no);
            break;
        }
        if (frame.type != SH_WAL_FRAME_BATCH)
            continue;
        status = deliver_batch(wal, file, &frame, recovery->bytes.data + position + SH_WAL_FRAME_HEADER_BYTES, fn,
                               arg, err);
        stats->batches++;
        stats->bytes += (int64_t)frame.batch_length;
    }
    /* The reading's own hold stays after a failure: batches that nobody was given must not be deleted. */
    if (status == SH_OK) {
        pthread_mutex_lock(&wal->lock);
        file->held--;
        pthread_mutex_unlock(&wal->lock);
    }
    return status;
}

static ShStatus deliver_batch(ShWal *wal, ShWalFile *file, const ShWalFrame *frame, const uint8_t *batch,
                              ShWalRecoverFn fn, void *arg, ShError *err)
{
    ShBuf *buf = sh_buf_copy(batch, frame->batch_length);
    if (buf == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a recovered batch of %zu bytes", frame->batch_length);
    ShWalEntry entry = {.topic_id = frame->topic_id, .partition = frame->partition, .epoch = frame->epoch,
                        .batch = {buf->data, buf->length, buf}, .file_no = file->no};
    pthread_mutex_lock(&wal->lock);
    file->held++;
    pthread_mutex_unlock(&wal->lock);
    atomic_fetch_add(&wal->batches_held, 1);
    ShStatus status = fn(arg, &entry, err);
    sh_buf_unref(buf);
    return status;
}
