/*
 * claims.h - who writes which sequences while an earlier epoch of a partition is unresolved (G8).
 *
 * The owner of the new epoch claims a producer's sequences, from its first batch there on, before it takes
 * that batch. Whoever publishes the earlier epoch late leaves out what was claimed: those offsets are void. A
 * claim and a late publish are serialised by PostgreSQL.
 */
#ifndef SH_AGENT_LOG_CLAIMS_H
#define SH_AGENT_LOG_CLAIMS_H

#include <pthread.h>
#include <stddef.h>

#include "agent/log/engine.h"
#include "agent/log/flight.h"
#include "agent/pg/pg.h"

typedef struct ShClaims {
    pthread_mutex_t lock;
    /* guarded by lock: what is wanted, with a reference on each partition */
    ShPgClaim *list;
    struct ShPartition **partitions;
    size_t count;
    size_t capacity;
} ShClaims;

void sh_claims_init(ShClaims *claims);
void sh_claims_destroy(ShClaims *claims);

/* With the partition's mutex held: have a claim made for the producer of this batch, from its sequence on.
 * Always fails: SH_UNAVAILABLE with a delay, after which the batch may come again. */
ShStatus sh_claims_want(ShEngine *engine, struct ShPartition *partition, const ShBatchHeader *header,
                        ShError *err);

/* On the control thread: make what claims are wanted. */
ShStatus sh_claims_make(ShEngine *engine, ShPg *pg, ShError *err) SH_MUST_CHECK;

/* On the publisher thread: ask which batches of the flight's epochs are void, and mark them. */
ShStatus sh_claims_learn(ShEngine *engine, ShPg *pg, const ShFlight *flight, ShError *err) SH_MUST_CHECK;

/* How many of a batch's sequences lie before all that is claimed in the epoch `place` of the question. */
int32_t sh_claims_count_unclaimed(const ShBatchHeader *header, const ShPgVoid *rows, size_t row_count,
                                  size_t place);

#endif
