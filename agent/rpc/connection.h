/*
 * connection.h - what is known of one client's connection, for the limits that are its own.
 *
 * Calls keep it alive. What it counts is counted for all connections in ShRpc or in the acceptor too: a bound
 * is for everybody, and who takes most of it is refused first.
 */
#ifndef SH_AGENT_RPC_CONNECTION_H
#define SH_AGENT_RPC_CONNECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "agent/base/rounds.h"
#include "agent/rpc/host.h"

/* HTTP/2's preface: who has sent less has said nothing. */
#define SH_FIRST_WORD_BYTES 24

/* What the kernel says of a connection. */
typedef struct ShTraffic {
    int64_t received_bytes; /* since it began */
    int64_t idle_ms;        /* since bytes came last */
    bool is_over;           /* nothing can come or go any more */
} ShTraffic;

typedef struct ShConnection {
    /* The descriptor is gRPC's, who closes it when it likes: it is this connection's while its inode is. */
    int fd;
    ino_t inode;
    ShHost *host;
    int64_t accepted_ms;
    bool is_own; /* the agent's own look at its port (probe.h) */
    /* It has ended, however long gRPC keeps the descriptor: as long as a call of it goes on. The acceptor's
     * thread says so. */
    atomic_bool is_over;
    atomic_bool is_adopted;  /* gRPC has it, and what was there has been read */
    ShRoundJob adopt_turn;   /* adopt.c's, as the next */
    bool waits_for_adoption; /* by its mutex */

    atomic_int refs;
    atomic_long calls;            /* open, refused ones among them */
    atomic_long admitted;         /* of them, those that were not refused */
    atomic_long reading;          /* of them, those for which gRPC receives a message */
    atomic_llong taken_bytes;     /* of messages that came, with their prefixes */
    atomic_ullong taken_calls;    /* that came */
    atomic_ullong lost_reads;     /* calls that ended while gRPC received a message */
    atomic_ullong offences;       /* calls that were refused by its host's own doing (offenders.h) */
    atomic_ullong torn;           /* calls that were given up as they began, or were too many */
    atomic_llong checks_until_us; /* its requests are checked by the pool until then (checker.h) */

    /* The acceptor's thread's, of its looks. */
    int64_t looked_ms;
    bool is_held; /* it had calls when it ended, or gRPC did not have it: its descriptor may be kept for long
                   */
    int64_t waiting_bytes; /* received and not taken */
    struct {
        int64_t forgotten; /* bytes that calls which ended have left unread */
        int64_t spare;     /* that may be forgotten yet */
        int64_t ended;     /* calls, and those given up, at the last look */
        int64_t lost;      /* `lost_reads`, likewise */
    } unread;              /* unread.c's */
    int64_t offended_ms;   /* when it was last seen that a call had been refused */
    uint64_t offences_before;
    int64_t torn_lately;  /* calls, of the last second or so */
    uint64_t torn_before; /* `torn` at the last look */
} ShConnection;

/* The connection of an accepted socket; NULL when memory is short. The caller has the one reference. */
ShConnection *sh_connection_new(int fd, const struct sockaddr_storage *peer, ShHosts *hosts);
ShConnection *sh_connection_ref(ShConnection *connection);
/* NULL allowed. */
void sh_connection_unref(ShConnection *connection);

/* Is the descriptor still this connection's? */
bool sh_connection_is_open(const ShConnection *connection);

/* False when it cannot be told. */
bool sh_connection_traffic(const ShConnection *connection, ShTraffic *traffic);
/* Bytes that came and that gRPC has not read yet: the kernel holds them. */
int64_t sh_connection_unread_bytes(const ShConnection *connection);

/* End it, unless it has ended by itself: gRPC finds it closed by the client, and what it has not read yet is
 * thrown away. False when the descriptor is another's by now, or descriptors are short. */
bool sh_connection_end(const ShConnection *connection);

/* Does who has `own` of a bound have nothing yet, or little with `want` more? */
static inline bool sh_connection_has_little(int64_t own, int64_t want, int64_t bound)
{
    return own == 0 || own + want <= bound / 64;
}

/* May something that takes `want` of a bound be begun, where everybody has taken `all` and this one `own`?
 * While half is free, yes, and when nobody has any. After that it is for those who have nothing yet, or
 * little. */
static inline bool sh_connection_may_take(int64_t own, int64_t all, int64_t want, int64_t bound)
{
    if (all == 0 || all + want <= bound / 2)
        return true;
    return all + want <= bound && sh_connection_has_little(own, want, bound);
}

#endif
