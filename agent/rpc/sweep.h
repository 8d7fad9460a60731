/*
 * sweep.h - the acceptor's looks at the connections that stand: which have ended, which have to.
 *
 * All of it is the acceptor's thread's. ShAcceptor is laid open for acceptor.c and sweep.c alone.
 */
#ifndef SH_AGENT_RPC_SWEEP_H
#define SH_AGENT_RPC_SWEEP_H

#include <pthread.h>
#include <stdatomic.h>

#include "agent/base/listener.h"
#include "agent/base/metrics.h"
#include "agent/rpc/acceptor.h"
#include "agent/rpc/adopt.h"
#include "agent/rpc/crowd.h"
#include "agent/rpc/offenders.h"

#define SH_LISTENERS_MAX 4
/* Hosts that are remembered between sweeps because their calls were refused, at most. */
#define SH_REFUSED_MAX 16

struct ShAcceptor {
    const ShConfig *config;
    ShEngine *engine;
    ShAdopters *adopters;
    char bound[SH_ADDRESS_TEXT_BYTES];
    int listeners[SH_LISTENERS_MAX];
    size_t listener_count;
    int wake;  /* an eventfd: the thread shall look after connections at once, or end */
    int spare; /* a descriptor to give up when there is no other */
    pthread_t thread;
    bool started;
    atomic_bool stopping;
    atomic_int own_port;
    atomic_llong calls_of_richest; /* calls of the host that had most at the last sweep */

    ShHosts *hosts;
    int64_t connections_max;
    pthread_mutex_t lock;
    ShConnection **by_fd; /* by lock; changed by the thread alone, which reads without it */
    size_t by_fd_count;
    /* By lock: connections of different hosts whose calls were refused since the last sweep. */
    ShConnection *refused_calls[SH_REFUSED_MAX];
    size_t refused_count;
    /* the thread's */
    int fd_end;    /* above the highest descriptor of a connection */
    int64_t count; /* of connections that stand */
    int64_t
        over_count; /* of those whose descriptors are kept: they ended with calls, or before gRPC had them */
    int64_t waiting_bytes; /* of all connections */
    int64_t counted_bytes; /* of them, what the engine has been told */
    int64_t torn_lately;   /* likewise */
    ShOffenders offenders;
    /* What a host had, at the least, for whose newcomer no room could be made since the last sweep. */
    int64_t crowded_at;
    bool is_short; /* too many that have ended were there still, likewise */
    ShMetric *connections;
    ShMetric *refused;
    ShMetric *ended;
};

/* Look at every connection, and end those that must not stay. */
void sh_sweep(ShAcceptor *acceptor);

/* End a connection. False when that is not possible. `reason` is for the log. */
bool sh_sweep_end(ShAcceptor *acceptor, ShConnection *connection, const char *reason);
/* A connection's descriptor is none any more, or another's. */
void sh_sweep_forget(ShAcceptor *acceptor, ShConnection *connection);

/* Has the host to wait until it may connect again? */
bool sh_sweep_is_barred(ShAcceptor *acceptor, ShHost *host, int64_t now_ms);

/* All that stand, to choose from. */
ShCrowd sh_sweep_crowd(const ShAcceptor *acceptor);

#endif
