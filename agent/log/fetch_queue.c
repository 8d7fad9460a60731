#include "agent/log/fetch_queue.h"

#include <stdlib.h>

static struct ShFetchQueue *queue_of(ShFetcher *fetcher, const ShFetchState *state);
static void place(ShFetcher *fetcher, size_t index, ShFetchState *state);
static void sift_up(ShFetcher *fetcher, size_t index);
static void sift_down(ShFetcher *fetcher, size_t index);

void sh_fetch_queue_push(ShFetcher *fetcher, ShFetchState *state)
{
    if (state->running) {
        state->again = true;
        return;
    }
    if (state->queued)
        return;
    state->queued = true;
    STAILQ_INSERT_TAIL(queue_of(fetcher, state), state, link);
    pthread_cond_signal(&fetcher->wake);
}

ShFetchState *sh_fetch_queue_pop(ShFetcher *fetcher)
{
    struct ShFetchQueue *queue = STAILQ_EMPTY(&fetcher->eager) ? &fetcher->patient : &fetcher->eager;
    ShFetchState *state = STAILQ_FIRST(queue);
    if (state == NULL)
        return NULL;
    STAILQ_REMOVE_HEAD(queue, link);
    state->queued = false;
    state->running = true;
    state->again = false;
    return state;
}

bool sh_fetch_heap_add(ShFetcher *fetcher, ShFetchState *state)
{
    if (fetcher->heap_count == fetcher->heap_capacity) {
        size_t capacity = fetcher->heap_capacity == 0 ? 64 : fetcher->heap_capacity * 2;
        ShFetchState **heap = realloc(fetcher->heap, capacity * sizeof *heap);
        if (heap == NULL)
            return false;
        fetcher->heap = heap;
        fetcher->heap_capacity = capacity;
    }
    place(fetcher, ++fetcher->heap_count, state);
    sift_up(fetcher, fetcher->heap_count);
    return true;
}

void sh_fetch_heap_remove(ShFetcher *fetcher, ShFetchState *state)
{
    size_t index = state->heap_index;
    if (index == 0)
        return;
    state->heap_index = 0;
    ShFetchState *last = fetcher->heap[--fetcher->heap_count];
    if (last == state)
        return;
    place(fetcher, index, last);
    sift_up(fetcher, index);
    sift_down(fetcher, last->heap_index);
}

static struct ShFetchQueue *queue_of(ShFetcher *fetcher, const ShFetchState *state)
{
    return state->bytes_enough > 1 ? &fetcher->patient : &fetcher->eager;
}

static void place(ShFetcher *fetcher, size_t index, ShFetchState *state)
{
    fetcher->heap[index - 1] = state;
    state->heap_index = index;
}

static void sift_up(ShFetcher *fetcher, size_t index)
{
    ShFetchState *state = fetcher->heap[index - 1];
    while (index > 1 && fetcher->heap[index / 2 - 1]->deadline_ms > state->deadline_ms) {
        place(fetcher, index, fetcher->heap[index / 2 - 1]);
        index /= 2;
    }
    place(fetcher, index, state);
}

static void sift_down(ShFetcher *fetcher, size_t index)
{
    ShFetchState *state = fetcher->heap[index - 1];
    while (2 * index <= fetcher->heap_count) {
        size_t child = 2 * index;
        if (child < fetcher->heap_count &&
            fetcher->heap[child]->deadline_ms < fetcher->heap[child - 1]->deadline_ms)
            child++;
        if (fetcher->heap[child - 1]->deadline_ms >= state->deadline_ms)
            break;
        place(fetcher, index, fetcher->heap[child - 1]);
        index = child;
    }
    place(fetcher, index, state);
}
