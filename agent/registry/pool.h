/*
 * pool.h - threads with a connection to PostgreSQL each, and the queue of questions to it.
 *
 * Bounded in every way: a full queue, a question that waited too long and a PostgreSQL that is away are
 * answered with an error, soon. Each kind of calls has a queue of its own length. What lists schemas has at
 * most half of the connections, and together with what is work all but one: so what looks one thing up has
 * its turn.
 *
 * Addresses take turns, and each has at most as many places, and as much of the memory for bodies, as stay
 * free: one alone half of them, two a third each. So however much some ask, there is room for who comes.
 */
#ifndef SH_AGENT_REGISTRY_POOL_H
#define SH_AGENT_REGISTRY_POOL_H

#include <sys/queue.h>

#include "agent/base/address.h"
#include "agent/registry/routes.h"
#include "core/codec.h"

#define SH_REGISTRY_BODIES_BYTES_MAX ((size_t)64 << 20) /* of all requests until they are answered */
#define SH_REGISTRY_SMALL_BYTES      ((size_t)8 << 10)  /* there is always room for a body of these */

typedef struct ShRegistryPool ShRegistryPool;

/* One question. Zero-initialise it. The owner keeps it until `done` was called. */
typedef struct ShRegistryJob {
    ShRegistryCall call;
    ShRegistryAnswer answer; /* an old one from the cache, with status 0, may be there before */
    void (*done)(struct ShRegistryJob *job); /* from a thread of the pool, once the answer is there */
    void *owner;
    ShScratch body; /* if it has data, it is to be read first (sh_registry_call_prepare), and freed */
    uint8_t origin[SH_ADDRESS_KEY_BYTES]; /* whose it is */
    size_t bytes;                         /* of its body */
    /* the pool's */
    STAILQ_ENTRY(ShRegistryJob) link;
    struct ShRegistryTurn *turn;
    int64_t deadline_ms;
} ShRegistryJob;

ShStatus sh_registry_pool_start(const char *conninfo, const char *application_name, int connections,
                                ShRegistryCache *cache, ShRegistryPool **out, ShError *err) SH_MUST_CHECK;

/* Queue a job. False, with an error as its answer, when the queue is full, its address has its share of it,
 * or the pool stops. */
bool sh_registry_pool_ask(ShRegistryPool *pool, ShRegistryJob *job);

/* Break what is under way off, answer what waits with an error, and end the threads. NULL is fine. */
void sh_registry_pool_stop(ShRegistryPool *pool);
void sh_registry_pool_free(ShRegistryPool *pool);

#endif
