/*
 * receive.h - what gRPC receives goes past here.
 *
 * gRPC reads its sockets itself, by recvmsg, and lets nobody look at what came (frames.h says why somebody
 * must). The dynamic linker takes recvmsg from the program before it takes it from the C library, so that
 * gRPC's reads of connections that are watched count their frames on the way; all other reads pass as they
 * are. A connection that sends what gRPC should not read looks to it as if its peer had reset it.
 */
#ifndef SH_AGENT_RPC_RECEIVE_H
#define SH_AGENT_RPC_RECEIVE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What has come over a connection since it began. */
typedef struct ShReceived {
    int64_t data_bytes; /* of messages, with their prefixes */
    int64_t opened;     /* calls begun */
    int64_t reset;      /* ... and given up */
    const char *fault;  /* why it looks reset; NULL: it does not */
} ShReceived;

/* Watch what comes over the descriptor of a new connection, as long as it has this inode. False when memory
 * is short. One thread. */
bool sh_receive_watch(int fd, ino_t inode);

/* What came; all zero when it is not watched. Any thread. */
ShReceived sh_receive_look(int fd, ino_t inode);

#endif
