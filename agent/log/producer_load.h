/*
 * producer_load.h - what PostgreSQL knows of the idempotent producers of partitions that are taken up.
 */
#ifndef SH_AGENT_LOG_PRODUCER_LOAD_H
#define SH_AGENT_LOG_PRODUCER_LOAD_H

#include "agent/log/engine.h"
#include "agent/log/partition.h"
#include "agent/pg/pg.h"

/* Replace the state of the producers of `count` partitions, named in `names` with the epochs that begin: to
 * be done before anything is accepted in them. Blocks. */
ShStatus sh_producers_load(ShEngine *engine, ShPg *pg, ShPartition *const *partitions,
                           const ShPgPartition *names, size_t count, ShError *err) SH_MUST_CHECK;

#endif
