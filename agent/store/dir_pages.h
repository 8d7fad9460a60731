/*
 * dir_pages.h - the objects whose bytes the page cache shall keep: the newest ones, up to a bound.
 *
 * A new object takes new pages, and pages that nobody has used lately are dear (docs/internals/store.md).
 * Giving up the pages of older objects lets newer ones take the same memory again and again, leaves the rest
 * of the machine's page cache alone, and still serves a reader that is not far behind from memory.
 */
#ifndef SH_AGENT_STORE_DIR_PAGES_H
#define SH_AGENT_STORE_DIR_PAGES_H

#include <pthread.h>
#include <stdint.h>

typedef struct ShDirPagesEntry ShDirPagesEntry;

typedef struct ShDirPages {
    uint64_t kept_bytes_max;

    pthread_mutex_t mutex; /* guards what follows */
    ShDirPagesEntry *oldest;
    ShDirPagesEntry *newest;
    uint64_t kept_bytes;
} ShDirPages;

void sh_dir_pages_init(ShDirPages *pages, uint64_t kept_bytes_max);
void sh_dir_pages_destroy(ShDirPages *pages);

/* An object was stored under `key`, a path below `root_fd`, and synced: its pages count from now on, and
 * those of the oldest objects are given up until no more than the bound is kept. An object that is gone by
 * then is passed over; one that cannot be noted for want of memory keeps its pages. Blocks on the file
 * system. Any thread. */
void sh_dir_pages_add(ShDirPages *pages, int root_fd, const char *key, uint64_t bytes);

#endif
