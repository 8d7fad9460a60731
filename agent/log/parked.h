/*
 * parked.h - appends that wait until the control thread has asked what is new.
 *
 * An append to a topic that is not known, or to a partition that nobody has, may only be early: the topic was
 * created a moment ago. It waits for one look at the cluster and is then tried once more. What comes for the
 * same partition meanwhile waits behind it, so that the order of a producer's calls is kept.
 *
 * What waits is bounded: a request may name thousands of partitions that nobody has, and PostgreSQL may be
 * slow. And it is found by its partition, so that who comes for another one does not pay for it.
 */
#ifndef SH_AGENT_LOG_PARKED_H
#define SH_AGENT_LOG_PARKED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

/* Parts that wait; more are refused. */
#define SH_PARKED_MAX         16384
#define SH_PARKED_BUCKET_BITS 12

typedef struct ShParkedPart {
    STAILQ_ENTRY(ShParkedPart) link;
    LIST_ENTRY(ShParkedPart) name_link; /* in the bucket of its topic's name, ... */
    LIST_ENTRY(ShParkedPart) id_link;   /* ... and of its id, as far as they are given */
    ShAppend *append;
    ShAppendPart *part;
    uint64_t look;   /* the number of the look at the cluster that it waits for; 0: for who is before it */
    ShTarget target; /* a copy: the part may be answered and gone while the entry is still looked at */
    char topic[SH_TOPIC_NAME_BYTES];
} ShParkedPart;

LIST_HEAD(ShParkedBucket, ShParkedPart);

typedef struct ShParked {
    atomic_int count;
    uint64_t seed; /* nobody outside knows what shares a bucket */
    pthread_mutex_t lock;
    /* guarded by lock */
    bool busy; /* a thread is trying them again */
    uint64_t looks_wanted;
    uint64_t looks_done;
    STAILQ_HEAD(ShParkedList, ShParkedPart) list;
    struct ShParkedBucket by_name[1 << SH_PARKED_BUCKET_BITS];
    struct ShParkedBucket by_id[1 << SH_PARKED_BUCKET_BITS];
} ShParked;

ShStatus sh_parked_init(ShParked *parked, ShError *err) SH_MUST_CHECK;
void sh_parked_destroy(ShParked *parked);

/* Does an earlier part for the same partition wait? Then this one was put behind it, and, if it `asks`, has a
 * look of its own: what that one waits for tells nothing of it. Or, at the bound, it was refused. */
bool sh_parked_follow(ShEngine *engine, ShAppend *append, ShAppendPart *part, bool asks);

/* Have the part tried again after a look at the cluster. False: there is no room, and the part's error says
 * so. */
bool sh_parked_add(ShEngine *engine, ShAppend *append, ShAppendPart *part);

#endif
