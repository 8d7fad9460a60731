/*
 * store_identity.h - whether the store that this agent was given is the cluster's.
 *
 * An agent with another one would acknowledge records that no other agent finds, and miss theirs.
 */
#ifndef SH_AGENT_LOG_STORE_IDENTITY_H
#define SH_AGENT_LOG_STORE_IDENTITY_H

#include "agent/log/engine.h"
#include "agent/pg/pg.h"
#include "agent/store/store.h"

/* Does the store hold the number that PostgreSQL knows? SH_INVALID: it is another one, and the error says
 * which the cluster's is. A cluster that has no store yet is content with any. Changes nothing. */
ShStatus sh_store_identity_check(ShStore *store, ShPg *pg, ShError *err) SH_MUST_CHECK;

/* The same, and a cluster that has no store yet has this one from now on; a store without a number gets one.
 */
ShStatus sh_store_identity_settle(ShStore *store, ShPg *pg, ShError *err) SH_MUST_CHECK;

/* At the start, before the agent registers: settle it, on the control thread's connection. Waits for the
 * store.
 */
ShStatus sh_store_identity_start(ShEngine *engine, ShError *err) SH_MUST_CHECK;

#endif
