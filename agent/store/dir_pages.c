#include "agent/store/dir_pages.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* So much an object counts at least, however small it is: that bounds the list. */
#define ENTRY_BYTES_MIN (64 * 1024)

struct ShDirPagesEntry {
    ShDirPagesEntry *next; /* the next younger one */
    uint64_t bytes;
    char key[];
};

static void append(ShDirPages *pages, ShDirPagesEntry *entry);
static ShDirPagesEntry *take_excess(ShDirPages *pages);
static void give_up(int root_fd, const char *key);

void sh_dir_pages_init(ShDirPages *pages, uint64_t kept_bytes_max)
{
    *pages = (ShDirPages){.kept_bytes_max = kept_bytes_max, .mutex = PTHREAD_MUTEX_INITIALIZER};
}

void sh_dir_pages_destroy(ShDirPages *pages)
{
    for (ShDirPagesEntry *entry = pages->oldest, *next; entry != NULL; entry = next) {
        next = entry->next;
        free(entry);
    }
    pthread_mutex_destroy(&pages->mutex);
}

void sh_dir_pages_add(ShDirPages *pages, int root_fd, const char *key, uint64_t bytes)
{
    size_t key_bytes = strlen(key) + 1;
    ShDirPagesEntry *entry = malloc(sizeof *entry + key_bytes);
    if (entry == NULL)
        return;
    entry->bytes = bytes > ENTRY_BYTES_MIN ? bytes : ENTRY_BYTES_MIN;
    memcpy(entry->key, key, key_bytes);
    append(pages, entry);
    while ((entry = take_excess(pages)) != NULL) {
        give_up(root_fd, entry->key);
        free(entry);
    }
}

static void append(ShDirPages *pages, ShDirPagesEntry *entry)
{
    entry->next = NULL;
    pthread_mutex_lock(&pages->mutex);
    if (pages->newest != NULL)
        pages->newest->next = entry;
    else
        pages->oldest = entry;
    pages->newest = entry;
    pages->kept_bytes += entry->bytes;
    pthread_mutex_unlock(&pages->mutex);
}

/* The oldest object, off the list, while more than the bound is kept; else NULL. */
static ShDirPagesEntry *take_excess(ShDirPages *pages)
{
    ShDirPagesEntry *entry = NULL;
    pthread_mutex_lock(&pages->mutex);
    if (pages->kept_bytes > pages->kept_bytes_max) {
        entry = pages->oldest;
        pages->oldest = entry->next;
        if (pages->oldest == NULL)
            pages->newest = NULL;
        pages->kept_bytes -= entry->bytes;
    }
    pthread_mutex_unlock(&pages->mutex);
    return entry;
}

/* By its key and not by a descriptor that is kept open: that would hold the disk space of a deleted object.
 */
static void give_up(int root_fd, const char *key)
{
    int fd = openat(root_fd, key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* advice: where it is not taken, nothing is wrong */
    close(fd);
}
