/*
 * parked.h - appends that wait until the control thread has asked what is new.
 *
 * An append to a topic that is not known, or to a partition that nobody has, may only be early: the topic was
 * created a moment ago. It waits for one look at the cluster and is then tried once more. What comes for the
 * same partition meanwhile waits behind it, so that the order of a producer's calls is kept.
 */
#ifndef SH_AGENT_LOG_PARKED_H
#define SH_AGENT_LOG_PARKED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

typedef struct ShParkedPart {
    struct ShParkedPart *next;
    ShAppend *append;
    ShAppendPart *part;
    uint64_t look;   /* the number of the look at the cluster that it waits for; 0: for who is before it */
    ShTarget target; /* a copy: the part may be answered and gone while the entry is still looked at */
    char topic[SH_TOPIC_NAME_BYTES];
} ShParkedPart;

typedef struct ShParked {
    atomic_int count;
    pthread_mutex_t lock;
    /* guarded by lock */
    bool busy; /* a thread is trying them again */
    uint64_t looks_wanted;
    uint64_t looks_done;
    ShParkedPart *first;
    ShParkedPart *last;
} ShParked;

void sh_parked_init(ShParked *parked);
void sh_parked_destroy(ShParked *parked);

/* Does an earlier part for the same partition wait? Then this one was put behind it, and, if it `asks`, has a
 * look of its own: what that one waits for tells nothing of it. */
bool sh_parked_follow(ShEngine *engine, ShAppend *append, ShAppendPart *part, bool asks);

/* Have the part tried again after a look at the cluster; false when memory is short. */
bool sh_parked_add(ShEngine *engine, ShAppend *append, ShAppendPart *part);

#endif
