#include "agent/store/dir_list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a walk carries along. `path` is the key of the entry at hand, or of the directory with its '/'. */
typedef struct Walk {
    const char *prefix;
    size_t prefix_length;
    ShStoreListFn fn;
    void *arg;
    bool stopped;
    char path[SH_STORE_KEY_BYTES_MAX + 2];
} Walk;

/* One directory's names. Those of directories end in '/', so that sorting them sorts the keys below. */
typedef struct Names {
    char **items;
    size_t count;
    size_t capacity;
} Names;

static ShStatus walk_directory(Walk *walk, int fd, size_t path_length, ShError *err);
static ShStatus visit(Walk *walk, int fd, const char *name, size_t path_length, ShError *err);
static bool may_match(const Walk *walk, size_t path_length);
static ShStatus read_names(int fd, Names *names, ShError *err);
static bool append_name(Names *names, const char *name, bool is_directory);
static int compare_names(const void *a, const void *b);
static void free_names(Names *names);

ShStatus sh_dir_list(int root_fd, const char *prefix, ShStoreListFn fn, void *arg, ShError *err)
{
    Walk walk = {.prefix = prefix, .prefix_length = strlen(prefix), .fn = fn, .arg = arg};
    int fd = openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return sh_fail(err, SH_IO, "cannot open the store's directory: %s", strerror(errno));
    return walk_directory(&walk, fd, 0, err);
}

/* Takes `fd`. The depth is bounded by the length of a key. */
static ShStatus walk_directory(Walk *walk, int fd, size_t path_length, ShError *err)
{
    Names names = {0};
    ShStatus status = read_names(fd, &names, err);
    if (status == SH_OK && names.count > 0)
        qsort(names.items, names.count, sizeof *names.items, compare_names);
    for (size_t i = 0; status == SH_OK && !walk->stopped && i < names.count; i++)
        status = visit(walk, fd, names.items[i], path_length, err);
    free_names(&names);
    close(fd);
    return status;
}

static ShStatus visit(Walk *walk, int fd, const char *name, size_t path_length, ShError *err)
{
    size_t name_length = strlen(name);
    if (path_length + name_length > SH_STORE_KEY_BYTES_MAX)
        return SH_OK; /* no key of ours is so long */
    memcpy(walk->path + path_length, name, name_length + 1);
    path_length += name_length;
    if (!may_match(walk, path_length))
        return SH_OK;

    if (name[name_length - 1] == '/') {
        int child_fd = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (child_fd < 0)
            return sh_fail(err, SH_IO, "cannot open directory %s of the store: %s", walk->path,
                           strerror(errno));
        return walk_directory(walk, child_fd, path_length, err);
    }
    struct stat st;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT
                   ? SH_OK /* deleted meanwhile */
                   : sh_fail(err, SH_IO, "cannot look at object %s: %s", walk->path, strerror(errno));
    if (S_ISREG(st.st_mode))
        walk->stopped = !walk->fn(walk->arg, walk->path, (uint64_t)st.st_size);
    return SH_OK;
}

/* A directory matters while its path and the prefix agree as far as both go; an object must have it all. */
static bool may_match(const Walk *walk, size_t path_length)
{
    bool is_directory = walk->path[path_length - 1] == '/';
    if (!is_directory && path_length < walk->prefix_length)
        return false;
    size_t shared = path_length < walk->prefix_length ? path_length : walk->prefix_length;
    return memcmp(walk->path, walk->prefix, shared) == 0;
}

static ShStatus read_names(int fd, Names *names, ShError *err)
{
    ShStatus status = SH_OK;
    int own_fd = dup(fd);
    DIR *dir = own_fd >= 0 ? fdopendir(own_fd) : NULL;
    if (dir == NULL) {
        status = sh_fail(err, SH_IO, "cannot list a directory of the store: %s", strerror(errno));
        if (own_fd >= 0)
            close(own_fd);
        return status;
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0)
                status = sh_fail(err, SH_IO, "cannot list a directory of the store: %s", strerror(errno));
            break;
        }
        if (entry->d_name[0] == '.')
            continue;
        struct stat st;
        bool is_directory = entry->d_type == DT_DIR;
        if (entry->d_type == DT_UNKNOWN && fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            is_directory = S_ISDIR(st.st_mode);
        if (!append_name(names, entry->d_name, is_directory)) {
            status = sh_fail(err, SH_NO_MEMORY, "no memory to list a directory of the store");
            break;
        }
    }
    closedir(dir);
    return status;
}

static bool append_name(Names *names, const char *name, bool is_directory)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity == 0 ? 64 : names->capacity * 2;
        char **items = reallocarray(names->items, capacity, sizeof *items);
        if (items == NULL)
            return false;
        names->items = items;
        names->capacity = capacity;
    }
    char *item = NULL;
    if (asprintf(&item, "%s%s", name, is_directory ? "/" : "") < 0)
        return false;
    names->items[names->count++] = item;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(Names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}
