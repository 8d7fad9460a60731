/*
 * fetch.h - serving readers: rounds over a fetch's partitions, and the waits between them.
 *
 * A round tries every part in memory. When a part needs the store, the whole fetch goes to a read thread,
 * which does the round again with the store at hand. A round that finds too little leaves a waiter at each
 * partition; whatever moves a high watermark queues the fetch for another round, which one thread
 * ("sh-fetch") runs. The same thread ends waits whose time is over.
 *
 * A fetch that waits holds no batches: it remembers how much it has found and up to where. The rounds that
 * follow only count what has come since, and collect when it is to be answered. Who waits for more than one
 * byte is served after those who take whatever comes.
 */
#ifndef SH_AGENT_LOG_FETCH_H
#define SH_AGENT_LOG_FETCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "agent/log/engine.h"
#include "agent/log/partition.h"

/* One part's place in its partition's list of waiters (guarded by the partition's mutex). */
typedef struct ShFetchWaiter {
    struct ShFetchWaiter *next;
    struct ShFetchWaiter *prev;
    ShPartition *partition; /* a reference while registered, else NULL */
    struct ShFetchState *state;
    int64_t resume_offset; /* the part's search goes on here, above a hole */
    bool is_unknown;       /* the part waits to learn its bounds */
    /* What the part brought along, if it goes on where the store's last answer ended; else 0. */
    int64_t store_run_bytes;
    bool goes_on;
    /* What the last round has found, if the state `has_found` something. */
    uint64_t found_bytes;
    int64_t found_end_offset;
} ShFetchWaiter;

typedef struct ShFetchState {
    ShEngine *engine;
    ShFetch *fetch;
    int64_t started_ms;
    int64_t asked_deadline_ms; /* of the fetch */
    int64_t deadline_ms;       /* of the wait under way: later while bounds are unknown */
    bool refreshed;            /* the metadata was asked for since the call */
    ShError refresh_error;     /* ... and why it did not come */
    ShFetchWaiter *waiters;    /* one for each part */
    uint64_t bytes_max;
    uint64_t bytes_enough;            /* with so many the call is answered */
    uint64_t bytes;                   /* of all parts, in this round */
    uint64_t tail_bytes;              /* of them, from memory */
    bool has_found;                   /* the last round found something, and too little */
    bool counts_only;                 /* this round collects nothing */
    int store_reads;                  /* made in this round */
    struct ShSearchedPlace *searched; /* how far the last round came in a large segment, or NULL */
    bool is_full;                     /* a batch did not fit into the answer, or the round may read no more */
    bool from_store;                  /* something came out of the read cache or the store */
    uint64_t generation;              /* the fetcher's, when this round began */
    /* guarded by the fetcher's lock */
    bool running; /* a round is under way */
    bool again;   /* ... and another one is wanted */
    bool queued;
    atomic_bool cancelled; /* read without the lock too */
    bool turned_away;      /* it would have waited, but the agent is leaving */
    STAILQ_ENTRY(ShFetchState) link;
    size_t heap_index; /* 1-based; 0: not in the heap */
} ShFetchState;

typedef struct ShFetcher {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock */
    bool stopping;
    bool leaving;                                  /* nobody may wait any more */
    uint64_t generation;                           /* rises when everybody shall look again */
    STAILQ_HEAD(ShFetchQueue, ShFetchState) eager; /* to be run: those that one byte is enough for, ... */
    struct ShFetchQueue patient;                   /* ... and, after them, the others */
    ShFetchState **heap;                           /* by deadline */
    size_t heap_count;
    size_t heap_capacity;
} ShFetcher;

ShStatus sh_fetch_init(ShFetcher *fetcher, ShError *err) SH_MUST_CHECK;
ShStatus sh_fetch_start(ShEngine *engine, ShError *err) SH_MUST_CHECK;
/* Answer what waits with SH_CANCELLED and end the thread. */
void sh_fetch_stop(ShEngine *engine);
void sh_fetch_destroy(ShFetcher *fetcher);

/* With the partition's mutex held: look again, for all who wait at it. */
void sh_fetch_wake(ShEngine *engine, ShPartition *partition);
/* Look again, for all who wait anywhere. */
void sh_fetch_wake_all(ShEngine *engine);
/* The agent is leaving: who waits now or later is told to turn to another one. */
void sh_fetch_end_waits(ShEngine *engine);

/* What a try of one part came to. */
typedef enum ShReadOutcome {
    SH_READ_DATA,   /* slices were added */
    SH_READ_END,    /* nothing there yet */
    SH_READ_BOUNDS, /* the same, and whether it is the end is being asked */
    SH_READ_STORE,  /* what is wanted lies in the store */
    SH_READ_LATER,  /* likewise, far into a segment: others have their turn before it is read on */
    SH_READ_FAILED  /* the part's error says why */
} ShReadOutcome;

/* Try part `index` in memory (read_tail.c). At SH_READ_END and SH_READ_BOUNDS its waiter is registered. */
ShReadOutcome sh_read_tail(ShFetchState *state, size_t index, ShPartition *partition);

/* Read part `index` from the store, on a read thread (read_store.c). SH_READ_END: the store has nothing for
 * the offset; the waiter's resume_offset was moved above the hole. */
ShReadOutcome sh_read_store(ShFetchState *state, size_t index, ShPartition *partition, ShPg *pg);

/* Serve part `index` with what the read cache has, on any thread: SH_READ_DATA, or SH_READ_STORE when it has
 * nothing (read_store.c). */
ShReadOutcome sh_read_cached(ShFetchState *state, size_t index, ShPartition *partition);

/* Room for as many slices again: they are full at each power of two. */
ShStatus sh_fetch_grow_slices(ShFetchPart *part, ShError *err) SH_MUST_CHECK;

/* Add a batch or several whole ones to part `index`, with a reference on the owner, if they fit into the
 * bounds of part and fetch; the first batch of a fetch always does. `*added` tells. In a round that only
 * counts the slice is not kept. */
static inline ShStatus sh_fetch_add_slice(ShFetchState *state, size_t index, const ShSlice *slice,
                                          bool *added, ShError *err)
{
    ShFetchPart *part = &state->fetch->parts[index];
    bool fits = state->bytes + slice->length <= state->bytes_max &&
                (part->bytes_max == 0 || part->bytes + slice->length <= (uint64_t)part->bytes_max);
    *added = fits || state->bytes == 0;
    if (!*added) {
        state->is_full |= state->bytes + slice->length > state->bytes_max;
        return SH_OK;
    }
    if (!state->counts_only) {
        bool is_full = (part->slice_count & (part->slice_count - 1)) == 0;
        if (is_full && sh_fetch_grow_slices(part, err) != SH_OK)
            return SH_NO_MEMORY;
        sh_buf_ref(slice->owner);
        part->slices[part->slice_count++] = *slice;
    }
    part->bytes += slice->length;
    state->bytes += slice->length;
    return SH_OK;
}

#endif
