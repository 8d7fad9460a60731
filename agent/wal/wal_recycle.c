/*
 * wal_recycle.c - a released file becomes the next one, so that its bytes need not be zeroed again.
 *
 * A log file whose header is not its own would be damage. No step leaves one behind, whichever of the
 * directory's changes a power cut undoes:
 *
 *   step                                   a crash behind it leaves
 *   1. rename it to its spare name         the released file, or a spare
 *   2. sync the directory                  a spare
 *   3. write the new header and sync it    a spare
 *   4. rename it to its new number         a spare, or a log file without frames
 *   5. sync the directory                  a log file without frames
 *
 * A spare means nothing: the next start deletes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/fault.h"
#include "agent/base/log.h"
#include "agent/wal/wal_internal.h"

/* As many as the publishing of one object commonly releases at once. */
#define SPARES_MAX 4

static int recycle(const ShWal *wal, const ShWalFile *spare, uint64_t no, int *fd);
static void delete_spare(ShWal *wal, ShWalFile *spare);

bool sh_wal_recyclable(const ShWal *wal, const ShWalFile *file)
{
    /* A file of an earlier incarnation may have been restored from a copy and lack the blocks behind its
     * frames. */
    bool own = file->no >> 32 == (uint64_t)wal->identity.incarnation_no;
    return own && !file->failed && file->size_bytes == wal->file_bytes && wal->spare_count < SPARES_MAX &&
           !wal->closing && !wal->dead;
}

bool sh_wal_set_aside(ShWal *wal, ShWalFile *file)
{
    char name[SH_WAL_FILE_NAME_BYTES], spare_name[SH_WAL_FILE_NAME_BYTES];
    sh_wal_file_name(file->no, name);
    sh_wal_spare_name(file->no, spare_name);
    if (sh_fault_hit("wal.recycle.aside") || renameat(wal->dir_fd, name, wal->dir_fd, spare_name) != 0)
        return false;
    file->next = wal->spares;
    wal->spares = file;
    wal->spare_count++;
    return true;
}

ShWalFile *sh_wal_recycle(ShWal *wal, uint64_t no, int64_t size_bytes)
{
    while (wal->spares != NULL) {
        ShWalFile *file = wal->spares;
        wal->spares = file->next;
        wal->spare_count--;
        int fd = -1;
        int error = 0;
        if (file->size_bytes == size_bytes && (error = recycle(wal, file, no, &fd)) == 0) {
            *file = sh_wal_file_fresh(no, fd, size_bytes);
            sh_metric_add(wal->metrics.files_recycled, 1);
            return file;
        }
        if (error != 0)
            sh_log_warn("wal_file_not_recycled", "dir=\"%s\" file=%016" PRIx64 " reason=\"%s\"", wal->dir,
                        file->no, strerror(error));
        delete_spare(wal, file);
    }
    return NULL;
}

void sh_wal_delete_spares(ShWal *wal)
{
    while (wal->spares != NULL) {
        ShWalFile *file = wal->spares;
        wal->spares = file->next;
        delete_spare(wal, file);
    }
    wal->spare_count = 0;
}

/* Steps 2 to 5. Returns 0, or an errno value; then the file has its spare name or none. */
static int recycle(const ShWal *wal, const ShWalFile *spare, uint64_t no, int *out)
{
    char spare_name[SH_WAL_FILE_NAME_BYTES], name[SH_WAL_FILE_NAME_BYTES];
    sh_wal_spare_name(spare->no, spare_name);
    sh_wal_file_name(no, name);
    uint8_t header[SH_WAL_FILE_HEADER_BYTES];
    sh_wal_encode_file_header(&(ShWalFileHeader){{wal->wal_uuid, no}, spare->no}, header);

    errno = EIO; /* for the fault points and a short write */
    int fd = sh_wal_open_regular(wal->dir_fd, spare_name, O_RDWR);
    bool named = fd >= 0 && !sh_fault_hit("wal.recycle.header") && fsync(wal->dir_fd) == 0 &&
                 pwrite(fd, header, sizeof header, 0) == sizeof header && fdatasync(fd) == 0 &&
                 !sh_fault_hit("wal.recycle.rename") &&
                 renameat(wal->dir_fd, spare_name, wal->dir_fd, name) == 0;
    if (named && !sh_fault_hit("wal.recycle.sync") && fsync(wal->dir_fd) == 0) {
        *out = fd;
        return 0;
    }

    int error = errno;
    if (named)
        unlinkat(wal->dir_fd, name, 0);
    if (fd >= 0)
        close(fd);
    return error;
}

static void delete_spare(ShWal *wal, ShWalFile *spare)
{
    char name[SH_WAL_FILE_NAME_BYTES];
    sh_wal_spare_name(spare->no, name);
    if (unlinkat(wal->dir_fd, name, 0) != 0 && errno != ENOENT)
        sh_log_warn("wal_file_not_deleted", "dir=\"%s\" file=%s reason=\"%s\"", wal->dir, name,
                    strerror(errno));
    else
        atomic_fetch_sub(&wal->disk_bytes, spare->size_bytes);
    free(spare);
}
