/*
 * rounds.h - a queue in which those who ask take turns.
 *
 * Jobs of one asker keep their order. After each of its jobs an asker waits behind the others of its group,
 * and the group behind the other groups: a host's connections, say, and the hosts. So nobody waits for more
 * than one job of each other, however many that one has. Groups and askers are searched one by one: only
 * those that have a job waiting are there, mostly none. The caller has the lock.
 */
#ifndef SH_AGENT_BASE_ROUNDS_H
#define SH_AGENT_BASE_ROUNDS_H

#include <stdbool.h>
#include <sys/queue.h>

typedef STAILQ_HEAD(ShRoundNodes, ShRoundNode) ShRoundNodes;

/* Lives in what is to be done. */
typedef struct ShRoundJob {
    STAILQ_ENTRY(ShRoundJob) link;
} ShRoundJob;

typedef struct ShRounds {
    ShRoundNodes groups; /* whose turn it is first; each has a job at least */
} ShRounds;

void sh_rounds_init(ShRounds *rounds);

/* Put the job behind the asker's others. The keys may be NULL; they are only compared, and are no other's
 * while jobs of theirs wait. False when memory is short. */
bool sh_rounds_put(ShRounds *rounds, const void *group_key, const void *asker_key, ShRoundJob *job);

/* The job whose turn it is; NULL when none waits. */
ShRoundJob *sh_rounds_take(ShRounds *rounds);

/* Take back a job that waits, by the keys it was put with. */
void sh_rounds_remove(ShRounds *rounds, const void *group_key, const void *asker_key, ShRoundJob *job);

#endif
