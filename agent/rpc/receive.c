#include "agent/rpc/receive.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "agent/base/clock.h"
#include "agent/base/open_files.h"
#include "agent/rpc/frames.h"

/* One descriptor's. The frames are of the thread that reads, which gRPC has one of at a time. */
typedef struct Watch {
    _Atomic ino_t inode; /* 0: none */
    ShFrames frames;
    atomic_llong data_bytes;
    atomic_llong opened;
    atomic_llong reset;
    _Atomic(const char *) fault;
} Watch;

typedef ssize_t Receive(int fd, struct msghdr *message, int flags);

/* By descriptor, made once and kept: pages of it that no descriptor had take no memory. */
static _Atomic(Watch *) watches;
static size_t watch_count;

static Receive *c_library(void);
static Watch *find(int fd);
static const char *take(Watch *watch, const struct msghdr *message, size_t length);
/* As <sys/socket.h> has it, for the dynamic linker. */
__attribute__((visibility("default"), used)) ssize_t recvmsg(int fd, struct msghdr *message, int flags);

bool sh_receive_watch(int fd, ino_t inode)
{
    Watch *all = atomic_load(&watches);
    if (all == NULL) {
        watch_count = (size_t)sh_open_files_max();
        all = calloc(watch_count, sizeof *all);
        if (all == NULL)
            return false;
        atomic_store(&watches, all);
    }
    if ((size_t)fd >= watch_count)
        return false;
    Watch *watch = &all[fd];
    watch->frames = (ShFrames){0};
    atomic_store(&watch->data_bytes, 0);
    atomic_store(&watch->opened, 0);
    atomic_store(&watch->reset, 0);
    atomic_store(&watch->fault, NULL);
    atomic_store(&watch->inode, inode);
    return true;
}

ShReceived sh_receive_look(int fd, ino_t inode)
{
    Watch *all = atomic_load(&watches);
    if (all == NULL || (size_t)fd >= watch_count || atomic_load(&all[fd].inode) != inode)
        return (ShReceived){0};
    const Watch *watch = &all[fd];
    return (ShReceived){.data_bytes = atomic_load(&watch->data_bytes),
                        .opened = atomic_load(&watch->opened),
                        .reset = atomic_load(&watch->reset),
                        .fault = atomic_load(&watch->fault)};
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t received = c_library()(fd, message, flags);
    if (received <= 0 || (flags & (MSG_PEEK | MSG_ERRQUEUE)) != 0)
        return received;
    int error = errno;
    Watch *watch = find(fd);
    if (watch != NULL && take(watch, message, (size_t)received) != NULL) {
        (void)shutdown(fd, SHUT_RDWR);
        errno = ECONNRESET;
        return -1;
    }
    errno = error;
    return received;
}

static Receive *c_library(void)
{
    static _Atomic(Receive *) known;
    Receive *found = atomic_load_explicit(&known, memory_order_acquire);
    if (found == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "recvmsg");
        memcpy(&found, &symbol,
               sizeof found); /* ISO C has no cast from an object's pointer to a function's */
        atomic_store_explicit(&known, found, memory_order_release);
    }
    return found;
}

/* The descriptor's number may be another's by now. */
static Watch *find(int fd)
{
    struct stat about;
    Watch *all = atomic_load_explicit(&watches, memory_order_acquire);
    if (all == NULL || fd < 0 || (size_t)fd >= watch_count)
        return NULL;
    ino_t inode = atomic_load_explicit(&all[fd].inode, memory_order_acquire);
    return inode != 0 && fstat(fd, &about) == 0 && about.st_ino == inode ? &all[fd] : NULL;
}

/* NULL, or why the connection ends here. */
static const char *take(Watch *watch, const struct msghdr *message, size_t length)
{
    const char *fault = atomic_load_explicit(&watch->fault, memory_order_acquire); /* stored last */
    int64_t now_ms = sh_clock_now_ms();
    for (size_t i = 0; i < message->msg_iovlen && length > 0 && fault == NULL; i++) {
        const struct iovec *piece = &message->msg_iov[i];
        size_t bytes = piece->iov_len < length ? piece->iov_len : length;
        fault = sh_frames_take(&watch->frames, piece->iov_base, bytes, now_ms);
        length -= bytes;
    }
    atomic_store_explicit(&watch->data_bytes, watch->frames.data_bytes, memory_order_release);
    atomic_store_explicit(&watch->opened, watch->frames.opened, memory_order_release);
    atomic_store_explicit(&watch->reset, watch->frames.reset, memory_order_release);
    atomic_store_explicit(&watch->fault, fault, memory_order_release);
    return fault;
}
