#include "agent/log/parked.h"

#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"

static ShParkedPart *new_entry(ShAppend *append, ShAppendPart *part);
static bool same_target(const ShTarget *a, const ShTarget *b);
static void push(ShParked *parked, ShParkedPart *entry);
static void try_again(void *arg, ShStatus status, const ShError *err);
static void pop(ShParked *parked);

void sh_parked_init(ShParked *parked)
{
    *parked = (ShParked){0};
    pthread_mutex_init(&parked->lock, NULL);
}

void sh_parked_destroy(ShParked *parked)
{
    pthread_mutex_destroy(&parked->lock);
}

bool sh_parked_follow(ShEngine *engine, ShAppend *append, ShAppendPart *part, bool asks)
{
    ShParked *parked = &engine->parked;
    if (atomic_load_explicit(&parked->count, memory_order_relaxed) == 0)
        return false;
    ShParkedPart *entry = new_entry(append, part);
    if (entry == NULL)
        return false;
    pthread_mutex_lock(&parked->lock);
    const ShParkedPart *earlier = parked->first;
    while (earlier != NULL && !same_target(&earlier->target, &entry->target))
        earlier = earlier->next;
    if (earlier != NULL && asks)
        entry->look = ++parked->looks_wanted;
    if (earlier != NULL)
        push(parked, entry);
    pthread_mutex_unlock(&parked->lock);
    if (earlier == NULL)
        free(entry);
    else if (asks)
        sh_engine_meta_refresh(engine, try_again, engine);
    return earlier != NULL;
}

bool sh_parked_add(ShEngine *engine, ShAppend *append, ShAppendPart *part)
{
    ShParkedPart *entry = new_entry(append, part);
    if (entry == NULL)
        return false;
    pthread_mutex_lock(&engine->parked.lock);
    entry->look = ++engine->parked.looks_wanted;
    push(&engine->parked, entry);
    pthread_mutex_unlock(&engine->parked.lock);
    sh_engine_meta_refresh(engine, try_again, engine);
    return true;
}

static ShParkedPart *new_entry(ShAppend *append, ShAppendPart *part)
{
    ShParkedPart *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->append = append;
    entry->part = part;
    entry->target = part->target;
    if (entry->target.topic_length > sizeof entry->topic)
        entry->target.topic_length = sizeof entry->topic;
    if (entry->target.topic_length > 0)
        memcpy(entry->topic, part->target.topic, entry->target.topic_length);
    entry->target.topic = entry->topic;
    return entry;
}

static bool same_target(const ShTarget *a, const ShTarget *b)
{
    if (a->partition != b->partition)
        return false;
    if (a->topic_length > 0 && b->topic_length > 0)
        return a->topic_length == b->topic_length && memcmp(a->topic, b->topic, a->topic_length) == 0;
    return a->has_topic_id && b->has_topic_id && sh_uuid_equal(&a->topic_id, &b->topic_id);
}

/* With the lock held. */
static void push(ShParked *parked, ShParkedPart *entry)
{
    if (parked->last != NULL)
        parked->last->next = entry;
    else
        parked->first = entry;
    parked->last = entry;
    atomic_fetch_add(&parked->count, 1);
}

/* Try all that a look was made for, in order. What came while this one was under way may not have been seen
 * by it, and has a later one. An entry leaves the list only after its try, so that none overtakes it. */
static void try_again(void *arg, ShStatus status, const ShError *err)
{
    ShEngine *engine = arg;
    ShParked *parked = &engine->parked;
    pthread_mutex_lock(&parked->lock);
    bool busy = parked->busy;
    parked->busy = true;
    parked->looks_done++;
    while (!busy && parked->first != NULL && parked->first->look <= parked->looks_done) {
        ShParkedPart *entry = parked->first;
        pthread_mutex_unlock(&parked->lock);
        ShAppend *append = entry->append;
        ShStatus tried = status;
        if (status == SH_OK)
            tried = sh_append_try(engine, append, entry->part);
        else
            entry->part->error = *err;
        pthread_mutex_lock(&parked->lock);
        pop(parked);
        if (tried != SH_OK) {
            pthread_mutex_unlock(&parked->lock);
            sh_append_finish(append);
            pthread_mutex_lock(&parked->lock);
        }
    }
    if (!busy)
        parked->busy = false;
    pthread_mutex_unlock(&parked->lock);
}

/* With the lock held. */
static void pop(ShParked *parked)
{
    ShParkedPart *entry = parked->first;
    parked->first = entry->next;
    if (parked->first == NULL)
        parked->last = NULL;
    atomic_fetch_sub(&parked->count, 1);
    free(entry);
}
