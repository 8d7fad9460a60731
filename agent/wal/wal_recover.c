#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
    bool dropped; /* rewriting to it was not finished: the dead file has what was acknowledged */
} Found;

typedef struct Recovery {
    ShWal *wal;
    Found *files;
    size_t count;
} Recovery;

/* The bytes of one file. */
typedef struct Mapped {
    const uint8_t *bytes;
    size_t length;
} Mapped;

static ShStatus scan_all(Recovery *recovery, ShError *err);
static ShStatus scan_file(const ShWal *wal, Found *file, ShError *err);
static ShStatus map_file(const ShWal *wal, uint64_t no, Mapped *out, ShError *err);
static void unmap_file(Mapped *mapped);
static ShStatus judge_all(Recovery *recovery, ShError *err);
static void apply_cut(Recovery *recovery, Found *file);
static ShStatus fail_damaged(const ShWal *wal, const Found *file, ShError *err);
static ShStatus mend(const ShWal *wal, Found *file, ShWalRecovery *stats, ShError *err);
static ShStatus end_at(const ShWal *wal, const Found *file, int fd, ShError *err);
static ShStatus deliver(ShWal *wal, const Found *found, ShWalRecoverFn fn, void *arg, ShWalRecovery *stats,
                        ShError *err);
static ShStatus adopt(ShWal *wal, const Found *found, ShWalFile **out, ShError *err);
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
        status = deliver(wal, &recovery.files[i], fn, arg, &sums, err);
    if (status == SH_OK) {
        sh_metric_add(wal->metrics.batches_recovered, sums.batches);
        sh_log_info("wal_recovered",
                    "dir=\"%s\" files=%" PRId64 " batches=%" PRId64 " bytes=%" PRId64 " torn_bytes=%" PRId64,
                    wal->dir, sums.files, sums.batches, sums.bytes, sums.torn_bytes);
        *stats = sums;
    }
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
        recovery->files[i].no = numbers[i];
        status = scan_file(wal, &recovery->files[i], err);
    }
    free(numbers);
    return status;
}

static ShStatus scan_file(const ShWal *wal, Found *file, ShError *err)
{
    Mapped mapped;
    ShStatus status = map_file(wal, file->no, &mapped, err);
    if (status != SH_OK)
        return status;
    ShWalFileHeader header;
    status = sh_wal_decode_file_header(mapped.bytes, mapped.length, &header, err);
    if (status == SH_OK && !sh_uuid_equal(&header.id.wal_uuid, &wal->wal_uuid))
        status = sh_fail(err, SH_CORRUPT, "the file belongs to another WAL; move it to that one's directory");
    if (status == SH_OK && header.id.file_no != file->no)
        status = sh_fail(err, SH_CORRUPT, "the file has the name of another: its number is %016" PRIx64,
                         header.id.file_no);
    if (status != SH_OK) {
        sh_fail_prefix(err, status, "WAL file %s/%016" PRIx64 ".wal", wal->dir, file->no);
    } else {
        sh_wal_scan(&header, mapped.bytes, mapped.length, &file->scan);
        file->size_bytes = (int64_t)mapped.length;
        file->end = file->scan.end;
    }
    unmap_file(&mapped);
    return status;
}

/* Map the file's pages rather than copy them: recovery is as fast as the checksums. All pages are fetched
 * here, so that a disk that cannot read them is an error and not a signal later. */
static ShStatus map_file(const ShWal *wal, uint64_t no, Mapped *out, ShError *err)
{
    char name[SH_WAL_FILE_NAME_BYTES];
    struct stat info;
    sh_wal_file_name(no, name);
    ShStatus status = SH_OK;
    Mapped mapped = {0};
    int fd = openat(wal->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = sh_fail(err, SH_IO, "WAL file %s/%s cannot be opened: %s", wal->dir, name, strerror(errno));
        goto done;
    }
    mapped.length = (size_t)info.st_size;
    if (mapped.length > 0) {
        void *bytes = mmap(NULL, mapped.length, PROT_READ, MAP_PRIVATE, fd, 0);
        /* Kernels before 5.14 do not know the advice; there the pages come as they are touched. */
        if (bytes == MAP_FAILED ||
            (madvise(bytes, mapped.length, MADV_POPULATE_READ) != 0 && errno != EINVAL)) {
            status = sh_fail(err, SH_IO, "WAL file %s/%s cannot be read: %s", wal->dir, name,
                             strerror(errno));
            if (bytes != MAP_FAILED)
                munmap(bytes, mapped.length);
            goto done;
        }
        mapped.bytes = bytes;
    }
    *out = mapped;

done:
    if (fd >= 0)
        close(fd);
    return status;
}

static void unmap_file(Mapped *mapped)
{
    if (mapped->bytes != NULL)
        munmap((void *)mapped->bytes, mapped->length);
    *mapped = (Mapped){0};
}

/* Decide what each file holds, from the last one back: a frame of a later file proves that the earlier ones
 * were whole, except where a CUT frame says that one died. */
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
    return sh_fail(
        err, SH_CORRUPT,
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
            return sh_fail(err, SH_IO, "WAL file %s/%s cannot be deleted: %s", wal->dir, name,
                           strerror(errno));
        file->end = SH_WAL_FILE_HEADER_BYTES;
        return SH_OK;
    }
    if (file->scan.ended && !file->dead)
        return SH_OK;

    int fd = openat(wal->dir_fd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return sh_fail(err, SH_IO, "WAL file %s/%s cannot be opened for writing: %s", wal->dir, name,
                       strerror(errno));
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

static ShStatus deliver(ShWal *wal, const Found *found, ShWalRecoverFn fn, void *arg, ShWalRecovery *stats,
                        ShError *err)
{
    if (found->end == SH_WAL_FILE_HEADER_BYTES)
        return SH_OK;
    ShWalFile *file = NULL;
    Mapped mapped;
    ShStatus status = map_file(wal, found->no, &mapped, err);
    if (status != SH_OK)
        return status;
    status = adopt(wal, found, &file, err);

    ShWalFileId id = {wal->wal_uuid, found->no};
    ShWalFrame frame;
    for (int64_t position = SH_WAL_FILE_HEADER_BYTES; status == SH_OK && position < found->end;
         position += sh_wal_frame_bytes(frame.batch_length)) {
        if (!sh_wal_decode_frame(&id, mapped.bytes, mapped.length, position, &frame)) {
            status = sh_fail(err, SH_IO, "WAL file %s/%016" PRIx64 ".wal changed while it was read", wal->dir,
                             found->no);
            break;
        }
        if (frame.type != SH_WAL_FRAME_BATCH)
            continue;
        status = deliver_batch(wal, file, &frame, mapped.bytes + position + SH_WAL_FRAME_HEADER_BYTES, fn,
                               arg, err);
        stats->batches++;
        stats->bytes += (int64_t)frame.batch_length;
    }
    stats->files++;
    unmap_file(&mapped);
    /* The reading's own hold stays after a failure: batches that nobody was given must not be deleted. */
    if (status == SH_OK) {
        pthread_mutex_lock(&wal->lock);
        file->held--;
        pthread_mutex_unlock(&wal->lock);
    }
    return status;
}

/* Count the file among those of the log, held once by its reader. */
static ShStatus adopt(ShWal *wal, const Found *found, ShWalFile **out, ShError *err)
{
    ShWalFile *file = calloc(1, sizeof *file);
    if (file == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to recover a WAL file");
    *file = (ShWalFile){.no = found->no,
                        .fd = -1,
                        .size_bytes = found->size_bytes,
                        .position = found->end,
                        .synced = found->end,
                        .held = 1,
                        .sealed = true};
    pthread_mutex_lock(&wal->lock);
    file->next = wal->files;
    wal->files = file;
    wal->sealed_bytes += file->size_bytes;
    pthread_mutex_unlock(&wal->lock);
    atomic_fetch_add(&wal->disk_bytes, file->size_bytes);
    *out = file;
    return SH_OK;
}

static ShStatus deliver_batch(ShWal *wal, ShWalFile *file, const ShWalFrame *frame, const uint8_t *batch,
                              ShWalRecoverFn fn, void *arg, ShError *err)
{
    ShBuf *buf = sh_buf_copy(batch, frame->batch_length);
    if (buf == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a recovered batch of %zu bytes",
                       frame->batch_length);
    ShWalEntry entry = {.topic_id = frame->topic_id,
                        .partition = frame->partition,
                        .epoch = frame->epoch,
                        .batch = {buf->data, buf->length, buf},
                        .file_no = file->no};
    pthread_mutex_lock(&wal->lock);
    file->held++;
    pthread_mutex_unlock(&wal->lock);
    atomic_fetch_add(&wal->batches_held, 1);
    ShStatus status = fn(arg, &entry, err);
    sh_buf_unref(buf);
    return status;
}
