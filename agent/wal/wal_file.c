#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/fault.h"
#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"

/* Zeros go out in pieces that are synced one by one, so that no large burst stands before the writer's
 * fdatasync. */
#define ZERO_BYTES      ((int64_t)1 << 20)
#define ZERO_SYNC_BYTES (4 * ZERO_BYTES)

static int allocate(int fd, int64_t size_bytes);
static int zero_out(int fd, int64_t size_bytes);
static ShStatus fail_create(const ShWal *wal, const char *name, int64_t size_bytes, int error, ShError *err);

void sh_wal_file_name(uint64_t no, char out[SH_WAL_FILE_NAME_BYTES])
{
    snprintf(out, SH_WAL_FILE_NAME_BYTES, "%016" PRIx64 SH_WAL_LOG_SUFFIX, no);
}

void sh_wal_spare_name(uint64_t no, char out[SH_WAL_FILE_NAME_BYTES])
{
    snprintf(out, SH_WAL_FILE_NAME_BYTES, "%016" PRIx64 SH_WAL_SPARE_SUFFIX, no);
}

ShWalFile sh_wal_file_fresh(uint64_t no, int fd, int64_t size_bytes)
{
    return (ShWalFile){.no = no,
                       .fd = fd,
                       .size_bytes = size_bytes,
                       .position = SH_WAL_FILE_HEADER_BYTES,
                       .synced = SH_WAL_FILE_HEADER_BYTES};
}

ShStatus sh_wal_file_create(ShWal *wal, uint64_t no, int64_t size_bytes, ShWalFile **out, ShError *err)
{
    char name[SH_WAL_FILE_NAME_BYTES], temporary[SH_WAL_FILE_NAME_BYTES + 4];
    sh_wal_file_name(no, name);
    snprintf(temporary, sizeof temporary, "%s.tmp", name);

    ShWalFile *file = calloc(1, sizeof *file);
    if (file == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for WAL file %s", name);

    /* The file gets its name when its header is on disk: a named file with a bad header is damage. */
    uint8_t header[SH_WAL_FILE_HEADER_BYTES];
    sh_wal_encode_file_header(&(ShWalFileHeader){.id = {wal->wal_uuid, no}}, header);
    int error = 0;
    int fd = sh_wal_create_regular(wal->dir_fd, temporary);
    if (fd < 0)
        error = errno;
    else
        error = allocate(fd, size_bytes);
    if (error == 0)
        error = zero_out(fd, size_bytes);
    if (error == 0 && (pwrite(fd, header, sizeof header, 0) != sizeof header || fsync(fd) != 0 ||
                       renameat(wal->dir_fd, temporary, wal->dir_fd, name) != 0))
        error = errno;
    if (error == 0 && sh_wal_dir_sync(wal, err) != SH_OK)
        error = EIO;
    if (error != 0) {
        if (fd >= 0)
            close(fd);
        unlinkat(wal->dir_fd, temporary, 0);
        unlinkat(wal->dir_fd, name, 0);
        free(file);
        return fail_create(wal, name, size_bytes, error, err);
    }

    *file = sh_wal_file_fresh(no, fd, size_bytes);
    atomic_fetch_add(&wal->disk_bytes, size_bytes);
    *out = file;
    return SH_OK;
}

ShStatus sh_wal_file_try(const ShWal *wal, uint64_t no, int64_t size_bytes, ShError *err)
{
    char name[SH_WAL_FILE_NAME_BYTES], temporary[SH_WAL_FILE_NAME_BYTES + 4];
    sh_wal_file_name(no, name);
    snprintf(temporary, sizeof temporary, "%s.tmp", name);
    int fd = sh_wal_create_regular(wal->dir_fd, temporary);
    int error = fd < 0 ? errno : allocate(fd, size_bytes);
    if (fd >= 0)
        close(fd);
    unlinkat(wal->dir_fd, temporary, 0);
    return error == 0 ? SH_OK : fail_create(wal, name, size_bytes, error, err);
}

ShStatus sh_wal_file_write_end(const ShWal *wal, const ShWalFile *file, int64_t synced, ShError *err)
{
    uint8_t bytes[SH_WAL_FRAME_HEADER_BYTES];
    ShWalFrame end = {.type = SH_WAL_FRAME_END, .synced = synced};
    sh_wal_encode_frame(&(ShWalFileId){wal->wal_uuid, file->no}, file->position, &end, NULL, bytes);
    errno = EIO; /* for the fault point and a short write */
    if (sh_fault_hit("wal.write") || pwrite(file->fd, bytes, sizeof bytes, file->position) != sizeof bytes)
        return sh_fail(err, SH_IO, "WAL file %016" PRIx64 " cannot be written at %" PRId64 ": %s", file->no,
                       file->position, strerror(errno));
    return SH_OK;
}

ShStatus sh_wal_file_sync(const ShWal *wal, const ShWalFile *file, ShError *err)
{
    int64_t started_us = sh_clock_now_us();
    bool failed = sh_fault_hit("wal.fdatasync");
    int error = EIO;
    if (!failed && fdatasync(file->fd) != 0) {
        error = errno;
        failed = true;
    }
    sh_metric_observe_us(wal->metrics.sync_duration, sh_clock_now_us() - started_us);
    if (failed)
        return sh_fail(err, SH_IO, "WAL file %016" PRIx64 " cannot be synced: %s", file->no, strerror(error));
    return SH_OK;
}

void sh_wal_file_delete(ShWal *wal, ShWalFile *file)
{
    char name[SH_WAL_FILE_NAME_BYTES];
    sh_wal_file_name(file->no, name);
    sh_wal_file_close(file);
    if (unlinkat(wal->dir_fd, name, 0) != 0)
        sh_log_warn("wal_file_not_deleted", "dir=\"%s\" file=%s reason=\"%s\"", wal->dir, name,
                    strerror(errno));
    else
        atomic_fetch_sub(&wal->disk_bytes, file->size_bytes);
    free(file);
}

void sh_wal_file_close(ShWalFile *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

static int allocate(int fd, int64_t size_bytes)
{
    return sh_fault_hit("wal.fallocate") ? ENOSPC : posix_fallocate(fd, 0, size_bytes);
}

/* Blocks that were only reserved become data by a change of metadata when they are written: each fdatasync
 * would wait for the file system's journal, and depend on it. */
static int zero_out(int fd, int64_t size_bytes)
{
    void *zeros = calloc(1, (size_t)ZERO_BYTES);
    if (zeros == NULL)
        return ENOMEM;
    int error = 0;
    for (int64_t done = 0; error == 0 && done < size_bytes;) {
        int64_t piece = size_bytes - done < ZERO_BYTES ? size_bytes - done : ZERO_BYTES;
        ssize_t written = pwrite(fd, zeros, (size_t)piece, done);
        if (written < 0 && errno != EINTR)
            error = errno;
        else if (written > 0)
            done += written;
        if (error == 0 && done % ZERO_SYNC_BYTES == 0 && fdatasync(fd) != 0)
            error = errno;
    }
    free(zeros);
    return error;
}

static ShStatus fail_create(const ShWal *wal, const char *name, int64_t size_bytes, int error, ShError *err)
{
    bool lacking = error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE;
    return sh_fail(err, lacking ? SH_EXHAUSTED : SH_IO,
                   "WAL file %s/%s of %" PRId64 " bytes cannot be created: %s", wal->dir, name, size_bytes,
                   strerror(error));
}
