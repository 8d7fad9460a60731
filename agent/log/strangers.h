/*
 * strangers.h - producers that a partition knows nothing of: whether their ids were given, and what of theirs
 * PostgreSQL knows.
 *
 * Ids cannot be guessed, and one that PostgreSQL has not given is not taken: so nobody can write in another's
 * name, nor fill tables with producers of his own making. The owner learns of a stranger before it takes its
 * first batch, in one call of the control thread for all that wait; meanwhile the batch waits, as for a claim
 * (claims.h). So PostgreSQL hears of each id before anybody has a batch of it: others it may forget soon.
 * Where the partition has all that PostgreSQL knows of it, an id that was asked about a short while ago needs
 * no question. Who is known and has not written for as long is asked about again, as PostgreSQL may have
 * forgotten the id.
 *
 * The answer tells what was published when it was asked for. A producer that became known, was heard and
 * given up between the two would come back without what it wrote; so nobody is asked about who is known when
 * the question begins, and until its answer is applied nobody who needs one becomes known otherwise.
 */
#ifndef SH_AGENT_LOG_STRANGERS_H
#define SH_AGENT_LOG_STRANGERS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

#define SH_STRANGER_IDS 16384 /* a power of two: known ones are remembered, and as many unknown ones */

/* When an id was last heard of; 0: never. */
typedef struct ShHeardId {
    int64_t producer_id;
    int64_t heard_ms;
    bool undecided; /* of those that are not known */
} ShHeardId;

typedef struct ShStrangers {
    pthread_mutex_t lock;
    /* guarded by lock: who is asked about next, with a reference on each partition */
    ShPgStranger *list;
    struct ShPartition **partitions;
    size_t count;
    /* guarded by lock: one place for each id, for the one that came last */
    ShHeardId *known;
    ShHeardId *unknown;
} ShStrangers;

ShStatus sh_strangers_init(ShStrangers *strangers, ShError *err) SH_MUST_CHECK;
void sh_strangers_destroy(ShStrangers *strangers);

/* With the partition's mutex held: may the producer's batches be looked at? SH_UNAVAILABLE with a delay while
 * PostgreSQL is asked; SH_UNKNOWN_PRODUCER_ID; SH_EXHAUSTED. Where a claim is needed, that asks. */
ShStatus sh_strangers_check(ShEngine *engine, struct ShPartition *partition, int64_t producer_id,
                            ShError *err) SH_MUST_CHECK;

/* PostgreSQL has said whether the id was given. */
void sh_strangers_note(ShEngine *engine, int64_t producer_id, ShPgId id);

/* SH_EXHAUSTED with a delay: an id of which PostgreSQL cannot say yet whether it was given. That it is none
 * would not be true for good, and its producer would send under another id what is stored under this one. */
ShStatus sh_strangers_refuse_undecided(int64_t producer_id, ShError *err);

/* On the control thread: ask about those that wait, and make room where producers were turned away. */
ShStatus sh_strangers_ask(ShEngine *engine, ShPg *pg, ShError *err) SH_MUST_CHECK;

#endif
