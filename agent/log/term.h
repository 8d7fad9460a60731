/*
 * term.h - the number of a new term is taken in the store before anybody acts in the term.
 */
#ifndef SH_AGENT_LOG_TERM_H
#define SH_AGENT_LOG_TERM_H

#include <stdint.h>

#include "agent/log/engine.h"
#include "core/bytes.h"

/* At the start, once the agent is registered and before it does anything else. Does nothing unless the term
 * is a new one. SH_OUTDATED: its number was in use, and a later one has begun. Waits for the store. */
ShStatus sh_term_take(ShEngine *engine, ShError *err) SH_MUST_CHECK;

/* The number of the term that an object in the store is of, and the nonce of its beginning; 0: it is of none.
 */
int64_t sh_term_of_key(const char *key, ShUuid *nonce);

#endif
