/*
 * fetch_queue.h - which fetch gets a round next, and whose time is over. All functions want the fetcher's
 * lock held.
 */
#ifndef SH_AGENT_LOG_FETCH_QUEUE_H
#define SH_AGENT_LOG_FETCH_QUEUE_H

#include "agent/log/fetch.h"

/* Have a round run, now or after the one under way. */
void sh_fetch_queue_push(ShFetcher *fetcher, ShFetchState *state);
/* The next to run, or NULL: of those that one byte is enough for, as long as there are any. */
ShFetchState *sh_fetch_queue_pop(ShFetcher *fetcher);

/* Put the state into the deadline heap; false when memory is short. */
bool sh_fetch_heap_add(ShFetcher *fetcher, ShFetchState *state);
/* Take it out, if it is in. */
void sh_fetch_heap_remove(ShFetcher *fetcher, ShFetchState *state);

#endif
