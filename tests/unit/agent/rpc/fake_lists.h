/*
 * fake_lists.h - the part of fake_engine.h that looks up offsets, at once or when it is told to.
 */
#ifndef SH_TESTS_RPC_FAKE_LISTS_H
#define SH_TESTS_RPC_FAKE_LISTS_H

#include "tests/unit/agent/rpc/fake_engine.h"

static inline void fake_hold_lists(ShEngine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    engine->hold_lists = true;
    pthread_mutex_unlock(&engine->mutex);
}

/* How many are held back; with `release` the first is answered. */
static inline size_t fake_held_lists(ShEngine *engine, bool release)
{
    pthread_mutex_lock(&engine->mutex);
    size_t count = engine->list_count;
    ShListOffsets *first = engine->lists[0];
    if (release && count > 0)
        memmove(engine->lists, engine->lists + 1, --engine->list_count * sizeof(ShListOffsets *));
    pthread_mutex_unlock(&engine->mutex);
    if (release && count > 0)
        first->done(first);
    return count;
}

void sh_engine_list_offsets(ShEngine *engine, ShListOffsets *list)
{
    pthread_mutex_lock(&engine->mutex);
    engine->lookups += (long)list->part_count;
    bool is_held = engine->hold_lists;
    if (is_held)
        engine->lists[engine->list_count++] = list;
    pthread_mutex_unlock(&engine->mutex);
    if (is_held)
        return;
    for (size_t i = 0; i < list->part_count; i++) {
        ShListPart *part = &list->parts[i];
        sh_error_clear(&part->error);
        if (fake_resolve(&part->target, &part->redirect, &part->error) != SH_OK)
            continue;
        pthread_mutex_lock(&engine->mutex);
        part->offset = part->timestamp_ms == SH_TIMESTAMP_LATEST ? engine->logs[part->target.partition].end
                                                                 : 0;
        pthread_mutex_unlock(&engine->mutex);
        part->found_timestamp_ms = -1;
    }
    list->done(list);
}

#endif
