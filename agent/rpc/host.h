/*
 * host.h - where clients come from, as limits know it: an address of IPv4, or the first 64 bits of one of
 * IPv6, for who has one of these has all. What the connections of a host have together is counted here.
 */
#ifndef SH_AGENT_RPC_HOST_H
#define SH_AGENT_RPC_HOST_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uthash.h>

typedef struct ShHosts ShHosts;

typedef struct ShHost {
    ShHosts *hosts;
    uint8_t key[16];   /* IPv4 as IPv6 maps it, or the first half of IPv6 and zeros */
    atomic_long calls; /* open */
    long connections;  /* that stand; the acceptor's thread's */
    long refs;         /* by the table's mutex, as the next */
    UT_hash_handle hh;
} ShHost;

/* The hosts that have connections. NULL when memory is short. */
ShHosts *sh_hosts_new(void);
/* When no host of it is held any more. NULL allowed. */
void sh_hosts_free(ShHosts *hosts);

/* The host of a peer, with a reference: one object as long as anybody holds it. NULL when memory is short. */
ShHost *sh_host_of(ShHosts *hosts, const struct sockaddr_storage *peer);
void sh_host_release(ShHost *host);

#endif
