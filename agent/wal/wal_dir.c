#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/wal/wal_internal.h"

#define LOCK_NAME               "lock"
#define IDENTITY_NAME           "identity"
#define IDENTITY_TEMPORARY_NAME "identity.tmp"
#define TEMPORARY_SUFFIX        ".tmp"

static ShStatus fail_access(const char *dir, int error, const char *doing, ShError *err);
static bool write_fully(int fd, const char *data, size_t length);
static bool parse_file_name(const char *name, uint64_t *no);
static bool has_suffix(const char *name, const char *suffix);
static int compare_numbers(const void *a, const void *b);

ShStatus sh_wal_dir_open(const char *dir, int *fd, ShError *err)
{
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0)
        return SH_OK;
    if (errno == ENOENT)
        return sh_fail(err, SH_NOT_FOUND, "WAL directory %s does not exist: create it, or set wal_dir", dir);
    if (errno == ENOTDIR)
        return sh_fail(err, SH_INVALID, "WAL directory %s is not a directory: set wal_dir to one", dir);
    return fail_access(dir, errno, "cannot be opened", err);
}

int sh_wal_open_regular(int dir_fd, const char *name, int flags)
{
    struct stat info;
    int fd = openat(dir_fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
    if (fd < 0 || (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)))
        return fd;
    close(fd);
    errno = ELOOP;
    return -1;
}

int sh_wal_create_regular(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT)
        return -1;
    return openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
}

ShStatus sh_wal_dir_lock(ShWal *wal, ShError *err)
{
    int fd = sh_wal_open_regular(wal->dir_fd, LOCK_NAME, O_RDWR | O_CREAT);
    if (fd < 0)
        return fail_access(wal->dir, errno,
                           errno == ELOOP ? "has a lock that cannot be used" : "is not writable", err);

    char text[32] = "";
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        ssize_t length = pread(fd, text, sizeof text - 1, 0);
        text[length > 0 ? strcspn(text, "\n") : 0] = '\0';
        close(fd);
        if (error != EWOULDBLOCK)
            return fail_access(wal->dir, error, "cannot be locked", err);
        return sh_fail(err, SH_EXISTS,
                       "WAL directory %s is in use by process %s: stop that agent, or set another wal_dir",
                       wal->dir, text[0] != '\0' ? text : "(unknown)");
    }

    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)length, 0) != length) {
        int error = errno;
        close(fd);
        return fail_access(wal->dir, error, "is not writable", err);
    }
    wal->lock_fd = fd;
    return SH_OK;
}

ShStatus sh_wal_dir_sync(const ShWal *wal, ShError *err)
{
    if (fsync(wal->dir_fd) != 0)
        return sh_fail(err, SH_IO, "WAL directory %s cannot be synced: %s", wal->dir, strerror(errno));
    return SH_OK;
}

ShStatus sh_wal_identity_load(const char *dir, int dir_fd, ShWalIdentityFile *out, ShError *err)
{
    int fd = sh_wal_open_regular(dir_fd, IDENTITY_NAME, O_RDONLY);
    if (fd < 0 && errno == ENOENT)
        return sh_fail(err, SH_NOT_FOUND, "WAL directory %s has no identity file", dir);
    if (fd < 0)
        return fail_access(dir, errno, "has an identity file that cannot be read", err);
    char text[SH_WAL_IDENTITY_BYTES_MAX];
    ssize_t length = pread(fd, text, sizeof text, 0);
    int error = errno;
    close(fd);
    if (length < 0)
        return fail_access(dir, error, "has an identity file that cannot be read", err);

    ShStatus status = sh_wal_identity_parse(text, (size_t)length, out, err);
    if (status != SH_OK)
        return sh_fail_prefix(
            err, status,
            "WAL identity file %s/" IDENTITY_NAME
            " is damaged (restore it from a copy; without it this WAL cannot be told from others)",
            dir);
    return SH_OK;
}

ShStatus sh_wal_identity_store(const ShWal *wal, const ShWalIdentityFile *identity, ShError *err)
{
    char text[SH_WAL_IDENTITY_BYTES_MAX];
    size_t length = sh_wal_identity_format(identity, text);
    int fd = sh_wal_create_regular(wal->dir_fd, IDENTITY_TEMPORARY_NAME);
    if (fd < 0)
        return fail_access(wal->dir, errno, "is not writable", err);
    bool written = write_fully(fd, text, length) && fsync(fd) == 0;
    int error = errno;
    close(fd);
    if (!written)
        return fail_access(wal->dir, error, "does not take the identity file", err);
    if (renameat(wal->dir_fd, IDENTITY_TEMPORARY_NAME, wal->dir_fd, IDENTITY_NAME) != 0)
        return fail_access(wal->dir, errno, "does not take the identity file", err);
    return sh_wal_dir_sync(wal, err);
}

ShStatus sh_wal_dir_list(const char *dir_path, int dir_fd, bool clean, uint64_t **out, size_t *count,
                         ShError *err)
{
    uint64_t *numbers = NULL;
    size_t used = 0, capacity = 0;
    ShStatus status = SH_OK;
    DIR *dir = NULL;
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (dir = fdopendir(fd)) == NULL) {
        status = fail_access(dir_path, errno, "cannot be listed", err);
        if (fd >= 0)
            close(fd);
        goto done;
    }

    const struct dirent *found;
    while ((found = readdir(dir)) != NULL) {
        uint64_t no;
        if (clean && (has_suffix(found->d_name, SH_WAL_LOG_SUFFIX TEMPORARY_SUFFIX) ||
                      has_suffix(found->d_name, SH_WAL_SPARE_SUFFIX)))
            unlinkat(dir_fd, found->d_name, 0);
        if (!parse_file_name(found->d_name, &no))
            continue;
        if (used == capacity) {
            capacity = capacity == 0 ? 16 : 2 * capacity;
            uint64_t *larger = reallocarray(numbers, capacity, sizeof *numbers);
            if (larger == NULL) {
                status = sh_fail(err, SH_NO_MEMORY, "no memory to list %s", dir_path);
                goto done;
            }
            numbers = larger;
        }
        numbers[used++] = no;
    }
    if (used > 0)
        qsort(numbers, used, sizeof *numbers, compare_numbers);
    *out = numbers;
    *count = used;
    numbers = NULL;

done:
    free(numbers);
    if (dir != NULL)
        closedir(dir);
    return status;
}

static ShStatus fail_access(const char *dir, int error, const char *doing, ShError *err)
{
    if (error == EACCES || error == EPERM || error == EROFS)
        return sh_fail(err, SH_DENIED,
                       "WAL directory %s %s: %s; give the agent's user the right to write there", dir, doing,
                       strerror(error));
    if (error == ENOSPC || error == EDQUOT)
        return sh_fail(err, SH_EXHAUSTED, "WAL directory %s %s: %s; free some space", dir, doing,
                       strerror(error));
    if (error == ELOOP)
        return sh_fail(err, SH_INVALID,
                       "WAL directory %s %s: it is a link, or no regular file; see who has put it there", dir,
                       doing);
    return sh_fail(err, SH_IO, "WAL directory %s %s: %s", dir, doing, strerror(error));
}

static bool write_fully(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(fd, data, length);
        if (written < 0 && errno != EINTR)
            return false;
        if (written > 0) {
            data += written;
            length -= (size_t)written;
        }
    }
    return true;
}

static bool parse_file_name(const char *name, uint64_t *no)
{
    char again[SH_WAL_FILE_NAME_BYTES];
    char *end;
    uint64_t value = strtoull(name, &end, 16);
    sh_wal_file_name(value, again);
    if (strcmp(name, again) != 0)
        return false;
    *no = value;
    return true;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name);
    return length >= strlen(suffix) && strcmp(name + length - strlen(suffix), suffix) == 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}
