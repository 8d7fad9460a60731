/*
 * dir_store.c - objects as files below one directory.
 *
 *   <store_dir>/a3/agent-1/...   an object; its key is its path
 *   <store_dir>/.tmp/<uuid>      an object that is being written, or what a crash left of one
 *
 * An object gets its name by link(2), which gives a name only once: of two racing puts one wins. It is on
 * disk, with every directory above it, before put returns.
 */
#include "agent/store/dir_list.h"
#include "agent/store/dir_pages.h"
#include "agent/store/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/base/fault.h"

#define TEMP_DIR       ".tmp"
#define TEMP_AGE_MAX_S (24 * 3600)  /* an older temporary file has no writer any more */
#define PAGES_BYTES    (512u << 20) /* of the newest objects that the page cache keeps */

typedef struct DirStore {
    ShStore base;
    char *path;
    int root_fd;
    int temp_fd; /* the directory .tmp */
    ShDirPages pages;
} DirStore;

static ShStatus dir_check(ShStore *base, ShError *err);
static ShStatus dir_put(ShStore *base, const char *key, const struct iovec *pieces, size_t piece_count,
                        uint64_t total_bytes, ShError *err);
static ShStatus dir_get(ShStore *base, const char *key, uint64_t position, uint64_t length, ShBuf **out,
                        ShError *err);
static ShStatus dir_size(ShStore *base, const char *key, uint64_t *bytes, ShError *err);
static ShStatus dir_delete(ShStore *base, const char *key, ShError *err);
static ShStatus dir_list(ShStore *base, const char *prefix, ShStoreListFn fn, void *arg, ShError *err);
static void dir_close(ShStore *base);

static ShStatus open_directories(DirStore *store, ShError *err);
static int open_or_make_directory(int parent_fd, const char *name);
static void remove_old_temp_files(int temp_fd);
static ShStatus write_temp_file(DirStore *store, const char *temp, const struct iovec *pieces,
                                size_t piece_count, ShError *err);
static ShStatus write_pieces(int fd, const struct iovec *pieces, size_t piece_count, ShError *err);
static ssize_t write_some(int fd, const struct iovec *pieces, size_t piece_count);
static ShStatus sync_file(const DirStore *store, int fd, ShError *err);
static ShStatus give_name(DirStore *store, const char *temp, const char *key, ShError *err);
static ShStatus open_parent(DirStore *store, const char *key, int *out_fd, ShError *err);
static ShStatus open_object(DirStore *store, const char *key, int *out_fd, uint64_t *bytes, ShError *err);
static ShStatus fail_errno(ShError *err, const char *what, const char *name);

static const ShStoreOps dir_ops = {.check = dir_check,
                                   .put = dir_put,
                                   .get = dir_get,
                                   .size = dir_size,
                                   .delete = dir_delete,
                                   .list = dir_list,
                                   .close = dir_close};

ShStatus sh_dir_store_open(const ShConfig *config, ShStore **out, ShError *err)
{
    DirStore *store = calloc(1, sizeof *store);
    if (store == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the store");
    store->base.ops = &dir_ops;
    store->root_fd = -1;
    store->temp_fd = -1;
    sh_dir_pages_init(&store->pages, PAGES_BYTES);

    ShStatus status;
    store->path = strdup(config->store_dir);
    if (store->path == NULL || asprintf(&store->base.description, "directory %s", config->store_dir) < 0) {
        store->base.description = NULL;
        status = sh_fail(err, SH_NO_MEMORY, "no memory for the store");
        goto done;
    }
    status = sh_store_set_check_key(&store->base, config, err);
    if (status == SH_OK)
        status = open_directories(store, err);
    if (status != SH_OK)
        goto done;
    remove_old_temp_files(store->temp_fd);
    *out = &store->base;
    store = NULL;

done:
    if (store != NULL)
        dir_close(&store->base);
    return status;
}

static void dir_close(ShStore *base)
{
    DirStore *store = (DirStore *)base;
    sh_dir_pages_destroy(&store->pages);
    if (store->temp_fd >= 0)
        close(store->temp_fd);
    if (store->root_fd >= 0)
        close(store->root_fd);
    free(store->path);
    free(store->base.description);
    free(store->base.check_key);
    free(store);
}

static ShStatus dir_check(ShStore *base, ShError *err)
{
    return sh_store_probe(base, err);
}

static ShStatus dir_put(ShStore *base, const char *key, const struct iovec *pieces, size_t piece_count,
                        uint64_t total_bytes, ShError *err)
{
    DirStore *store = (DirStore *)base;
    ShUuid id;
    char temp[SH_UUID_TEXT_BYTES];

    if (sh_fault_hit("store.put"))
        return sh_fail(err, SH_UNAVAILABLE, "put %s: fault point store.put", key);
    ShStatus status = sh_uuid_random(&id, err);
    if (status != SH_OK)
        return status;
    sh_uuid_format(&id, temp);

    status = write_temp_file(store, temp, pieces, piece_count, err);
    if (status == SH_OK)
        status = give_name(store, temp, key, err);
    unlinkat(store->temp_fd, temp, 0);
    if (status == SH_OK)
        sh_dir_pages_add(&store->pages, store->root_fd, key, total_bytes);

    if (status == SH_OK && sh_fault_hit("store.put.reply"))
        return sh_fail(err, SH_UNAVAILABLE, "put %s: fault point store.put.reply", key);
    return status;
}

static ShStatus dir_get(ShStore *base, const char *key, uint64_t position, uint64_t length, ShBuf **out,
                        ShError *err)
{
    int fd = -1;
    uint64_t bytes;
    ShBuf *buf = NULL;

    if (sh_fault_hit("store.get"))
        return sh_fail(err, SH_UNAVAILABLE, "get %s: fault point store.get", key);
    ShStatus status = open_object((DirStore *)base, key, &fd, &bytes, err);
    if (status != SH_OK)
        return status;

    uint64_t left = position < bytes ? bytes - position : 0;
    size_t wanted = (size_t)(length < left ? length : left);
    buf = sh_buf_new(wanted);
    if (buf == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory for %zu bytes of object %s", wanted, key);
        goto done;
    }
    while (buf->length < wanted) {
        ssize_t got = pread(fd, buf->data + buf->length, wanted - buf->length,
                            (off_t)(position + buf->length));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            status = got < 0 ? fail_errno(err, "cannot read object", key)
                             : sh_fail(err, SH_IO, "object %s was cut while it was read", key);
            goto done;
        }
        buf->length += (size_t)got;
    }
    *out = buf;
    buf = NULL;

done:
    sh_buf_unref(buf);
    close(fd);
    return status;
}

static ShStatus dir_size(ShStore *base, const char *key, uint64_t *bytes, ShError *err)
{
    int fd;
    ShStatus status = open_object((DirStore *)base, key, &fd, bytes, err);
    if (status == SH_OK)
        close(fd);
    return status;
}

static ShStatus dir_delete(ShStore *base, const char *key, ShError *err)
{
    DirStore *store = (DirStore *)base;
    if (sh_fault_hit("store.delete"))
        return sh_fail(err, SH_UNAVAILABLE, "delete %s: fault point store.delete", key);

    /* Directories stay: removing an empty one would race with a put that is about to use it. */
    if (unlinkat(store->root_fd, key, 0) != 0)
        return errno == ENOENT || errno == ENOTDIR ? SH_OK : fail_errno(err, "cannot delete object", key);

    int parent_fd = -1;
    ShStatus status = open_parent(store, key, &parent_fd, err);
    if (status != SH_OK)
        return status;
    if (fsync(parent_fd) != 0)
        status = fail_errno(err, "cannot sync the directory of object", key);
    close(parent_fd);
    return status;
}

static ShStatus dir_list(ShStore *base, const char *prefix, ShStoreListFn fn, void *arg, ShError *err)
{
    return sh_dir_list(((DirStore *)base)->root_fd, prefix, fn, arg, err);
}

/* The root is made where only its last component is missing: a wrong path shall not grow a tree in a wrong
 * place. */
static ShStatus open_directories(DirStore *store, ShError *err)
{
    store->root_fd = open_or_make_directory(AT_FDCWD, store->path);
    if (store->root_fd < 0 && errno == ENOENT)
        return sh_fail(
            err, SH_NOT_FOUND,
            "the store's directory %s cannot be made: its parent directory is missing; create it or "
            "change store_dir",
            store->path);
    if (store->root_fd < 0)
        return sh_fail(err, errno == EACCES ? SH_DENIED : SH_IO,
                       "the store's directory %s cannot be opened: %s; see the setting store_dir",
                       store->path, strerror(errno));
    store->temp_fd = open_or_make_directory(store->root_fd, TEMP_DIR);
    if (store->temp_fd < 0)
        return sh_fail(err, errno == EACCES ? SH_DENIED : SH_IO,
                       "the store's directory %s is not writable: %s; see the setting store_dir", store->path,
                       strerror(errno));
    return SH_OK;
}

/* A descriptor, or -1 and errno. */
static int open_or_make_directory(int parent_fd, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(parent_fd, name, flags);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(parent_fd, name, 0750) != 0 && errno != EEXIST)
        return -1;
    return openat(parent_fd, name, flags);
}

/* Other agents may be writing into the same directory, so only age tells what is garbage. */
static void remove_old_temp_files(int temp_fd)
{
    int fd = openat(temp_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    const time_t now = time(NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct stat st;
        if (fstatat(temp_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            now - st.st_mtime > TEMP_AGE_MAX_S)
            unlinkat(temp_fd, entry->d_name, 0);
    }
    closedir(dir);
}

static ShStatus write_temp_file(DirStore *store, const char *temp, const struct iovec *pieces,
                                size_t piece_count, ShError *err)
{
    int fd = openat(store->temp_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return fail_errno(err, "cannot create a file in", store->path);
    ShStatus status = write_pieces(fd, pieces, piece_count, err);
    if (status == SH_OK)
        status = sync_file(store, fd, err);
    close(fd);
    return status;
}

/* Gathered writes of at most IOV_MAX pieces; what a short write leaves of a piece is written by itself. */
static ShStatus write_pieces(int fd, const struct iovec *pieces, size_t piece_count, ShError *err)
{
    size_t next = 0;
    size_t done_of_next = 0;
    while (next < piece_count) {
        struct iovec rest = {.iov_base = (uint8_t *)pieces[next].iov_base + done_of_next,
                             .iov_len = pieces[next].iov_len - done_of_next};
        size_t count = piece_count - next < IOV_MAX ? piece_count - next : IOV_MAX;
        ssize_t written = done_of_next > 0 ? write_some(fd, &rest, 1) : write_some(fd, pieces + next, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return sh_fail(err, errno == ENOSPC || errno == EDQUOT ? SH_EXHAUSTED : SH_IO,
                           "cannot write an object: %s", strerror(errno));
        done_of_next += (size_t)written;
        while (next < piece_count && done_of_next >= pieces[next].iov_len)
            done_of_next -= pieces[next++].iov_len;
    }
    return SH_OK;
}

/* As writev. */
static ssize_t write_some(int fd, const struct iovec *pieces, size_t piece_count)
{
    if (sh_fault_hit("store.write.short")) {
        const struct iovec half = {.iov_base = pieces->iov_base, .iov_len = (pieces->iov_len + 1) / 2};
        return writev(fd, &half, 1);
    }
    if (sh_fault_hit("store.write")) {
        errno = ENOSPC;
        return -1;
    }
    return writev(fd, pieces, (int)piece_count);
}

static ShStatus sync_file(const DirStore *store, int fd, ShError *err)
{
    if (sh_fault_hit("store.fsync"))
        errno = EIO;
    else if (fsync(fd) == 0)
        return SH_OK;
    return fail_errno(err, "cannot sync a file in", store->path);
}

static ShStatus give_name(DirStore *store, const char *temp, const char *key, ShError *err)
{
    const char *slash = strrchr(key, '/');
    const char *name = slash != NULL ? slash + 1 : key;
    int parent_fd = -1;
    ShStatus status = open_parent(store, key, &parent_fd, err);
    if (status != SH_OK)
        return status;
    if (linkat(store->temp_fd, temp, parent_fd, name, 0) != 0)
        status = errno == EEXIST ? sh_fail(err, SH_EXISTS, "object %s exists", key)
                                 : fail_errno(err, "cannot name object", key);
    /* Also of a name that was there: it may be ours, of a put whose sync failed. */
    if ((status == SH_OK || status == SH_EXISTS) && fsync(parent_fd) != 0)
        status = fail_errno(err, "cannot sync the directory of object", key);
    close(parent_fd);
    return status;
}

/* Open the directory that the key's file stands in, making what is missing. Each directory above it is
 * synced, also one that was there: another thread may have made it a moment ago and not have come to its own
 * sync. */
static ShStatus open_parent(DirStore *store, const char *key, int *out_fd, ShError *err)
{
    char component[NAME_MAX + 1];
    int fd = openat(store->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    const char *next = key;
    for (const char *slash; fd >= 0 && (slash = strchr(next, '/')) != NULL; next = slash + 1) {
        snprintf(component, sizeof component, "%.*s", (int)(slash - next), next);
        int child_fd = open_or_make_directory(fd, component);
        if (child_fd >= 0 && fsync(fd) != 0) {
            close(child_fd);
            child_fd = -1;
        }
        int saved_errno = errno;
        close(fd);
        errno = saved_errno;
        fd = child_fd;
    }
    if (fd < 0)
        return fail_errno(err, "cannot open or make the directory of object", key);
    *out_fd = fd;
    return SH_OK;
}

static ShStatus open_object(DirStore *store, const char *key, int *out_fd, uint64_t *bytes, ShError *err)
{
    struct stat st;
    int fd = openat(store->root_fd, key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? sh_fail(err, SH_NOT_FOUND, "object %s does not exist", key)
                   : fail_errno(err, "cannot open object", key);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return sh_fail(err, SH_NOT_FOUND, "object %s does not exist", key);
    }
    *out_fd = fd;
    *bytes = (uint64_t)st.st_size;
    return SH_OK;
}

static ShStatus fail_errno(ShError *err, const char *what, const char *name)
{
    int code = errno;
    ShStatus status = SH_IO;
    if (code == ENOSPC || code == EDQUOT || code == EMFILE || code == ENFILE)
        status = SH_EXHAUSTED;
    else if (code == EACCES || code == EPERM || code == EROFS)
        status = SH_DENIED;
    return sh_fail(err, status, "%s %s: %s", what, name, strerror(code));
}
