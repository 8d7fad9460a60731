/*
 * host.h - where clients come from, as limits know it (sh_address_key), and what the connections of a host
 * have together.
 */
#ifndef SH_AGENT_RPC_HOST_H
#define SH_AGENT_RPC_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uthash.h>

#include "agent/base/address.h"

typedef struct ShHosts ShHosts;

typedef struct ShHost {
    ShHosts *hosts;
    uint8_t key[SH_ADDRESS_KEY_BYTES];
    atomic_long calls;          /* admitted, and not freed yet */
    atomic_llong request_bytes; /* that its requests to produce hold */
    atomic_int lists;           /* ListOffsets calls under way */
    atomic_int admin_calls;     /* calls of administration under way */
    atomic_ullong offences;     /* as ShConnection.offences */
    atomic_llong kept_until_us; /* its share of the workers' time is used up to then */
    /* The acceptor's thread's. */
    long connections; /* that stand */
    long over;        /* that ended with calls, and whose descriptors gRPC keeps */
    int64_t looked_ms;
    int64_t barred_at_ms;     /* the last time */
    int64_t offences_lately;  /* less what is forgotten */
    uint64_t offences_before; /* `offences` at the last look */
    long refs;                /* by the table's mutex, as the next */
    UT_hash_handle hh;
} ShHost;

/* The hosts that have connections. NULL when memory is short. */
ShHosts *sh_hosts_new(void);
/* When no host of it is held any more. NULL allowed. */
void sh_hosts_free(ShHosts *hosts);

/* The host of a peer, with a reference: one object as long as anybody holds it. NULL when memory is short. */
ShHost *sh_host_of(ShHosts *hosts, const struct sockaddr_storage *peer);
/* A worker serves everybody. Of what keeps it for long a host may have a quarter of one's time, and so much
 * at once; what is more goes elsewhere (checker.h). Any thread; a time that passes unseen does no harm. */
#define SH_HOST_KEEPS_MAX_US 10000
#define SH_HOST_KEEPS_RATIO  4
bool sh_host_may_keep_worker(const ShHost *host, int64_t now_us);
/* It has kept one for `us`. */
void sh_host_kept_worker(ShHost *host, int64_t now_us, int64_t us);

ShHost *sh_host_ref(ShHost *host);
void sh_host_release(ShHost *host);

#endif
