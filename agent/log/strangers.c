#include "agent/log/strangers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define RETRY_MS         20
#define WAITING_MAX      1024
#define KNOWN_MAX_MS     3600000 /* PostgreSQL forgets an id a week after it was last asked for */
#define UNKNOWN_MAX_MS   10000
#define UNDECIDED_MAX_MS 1000

static ShHeardId *place_of(ShHeardId *ids, int64_t producer_id);
static bool is_heard(const ShHeardId *place, int64_t producer_id, int64_t age_max_ms);
static bool is_unknown(const ShHeardId *place, int64_t producer_id);
static bool is_undecided(const ShHeardId *place, int64_t producer_id);
static ShStatus want(ShEngine *engine, ShPartition *partition, int64_t producer_id, ShError *err);
static bool is_wanted(const ShStrangers *strangers, const ShPgStranger *stranger);
static void take_all(ShStrangers *strangers, ShStrangers *out);
static void drop_known(ShStrangers *list);
static void free_list(ShStrangers *list);
static void apply(ShEngine *engine, const ShStrangers *asked, const ShPgStrangerAnswer *rows,
                  size_t row_count);
static bool introduce(ShEngine *engine, ShPartition *partition, const ShPgStranger *stranger);
static void sweep(ShEngine *engine);

ShStatus sh_strangers_init(ShStrangers *strangers, ShError *err)
{
    *strangers = (ShStrangers){0};
    pthread_mutex_init(&strangers->lock, NULL);
    strangers->list = calloc(WAITING_MAX, sizeof *strangers->list);
    strangers->partitions = calloc(WAITING_MAX, sizeof(*strangers->partitions));
    strangers->known = calloc(SH_STRANGER_IDS, sizeof *strangers->known);
    strangers->unknown = calloc(SH_STRANGER_IDS, sizeof *strangers->unknown);
    if (strangers->list == NULL || strangers->partitions == NULL || strangers->known == NULL ||
        strangers->unknown == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for producer ids");
    return SH_OK;
}

void sh_strangers_destroy(ShStrangers *strangers)
{
    free_list(strangers);
    free(strangers->known);
    free(strangers->unknown);
    pthread_mutex_destroy(&strangers->lock);
}

ShStatus sh_strangers_check(ShEngine *engine, ShPartition *partition, int64_t producer_id, ShError *err)
{
    ShStrangers *strangers = &engine->strangers;
    sh_producers_drop_old(&partition->producers, producer_id, partition->published_end,
                          sh_clock_now_ms() - KNOWN_MAX_MS);
    if (sh_producers_find(&partition->producers, producer_id) != NULL)
        return SH_OK;
    pthread_mutex_lock(&strangers->lock);
    bool known = is_heard(place_of(strangers->known, producer_id), producer_id, KNOWN_MAX_MS);
    bool undecided = is_undecided(place_of(strangers->unknown, producer_id), producer_id);
    bool unknown = is_unknown(place_of(strangers->unknown, producer_id), producer_id);
    pthread_mutex_unlock(&strangers->lock);
    if (undecided)
        return sh_strangers_refuse_undecided(producer_id, err);
    if (unknown)
        return sh_fail(err, SH_UNKNOWN_PRODUCER_ID,
                       "producer id %" PRId64
                       " was not given by this cluster, or not used for so long that it "
                       "was forgotten: ask for another one (InitProducer)",
                       producer_id);
    ShStatus status = sh_producers_make_room(&partition->producers, &engine->producer_budget,
                                             partition->published_end, sh_clock_now_ms(), err);
    /* Where a claim comes first, it tells the same. */
    if (status != SH_OK || partition->producers.unresolved || (known && !partition->producers.partial))
        return status;
    return want(engine, partition, producer_id, err);
}

void sh_strangers_note(ShEngine *engine, int64_t producer_id, ShPgId id)
{
    ShStrangers *strangers = &engine->strangers;
    pthread_mutex_lock(&strangers->lock);
    ShHeardId *ids = id == SH_PG_ID_KNOWN ? strangers->known : strangers->unknown;
    *place_of(ids, producer_id) = (ShHeardId){
        .producer_id = producer_id, .heard_ms = sh_clock_now_ms(), .undecided = id == SH_PG_ID_UNDECIDED};
    pthread_mutex_unlock(&strangers->lock);
}

ShStatus sh_strangers_refuse_undecided(int64_t producer_id, ShError *err)
{
    ShStatus status = sh_fail(err, SH_EXHAUSTED,
                              "producer id %" PRId64
                              " may have been given by a database that was lost, and as many producers are "
                              "remembered as may be (streamhouse.producers_max)",
                              producer_id);
    return sh_fail_retry_after(err, status, UNDECIDED_MAX_MS);
}

ShStatus sh_strangers_ask(ShEngine *engine, ShPg *pg, ShError *err)
{
    ShStrangers asked;
    ShPgStrangerAnswer *rows = NULL;
    size_t row_count = 0;
    if (atomic_exchange(&engine->producer_budget.is_short, false))
        sweep(engine);
    take_all(&engine->strangers, &asked);
    drop_known(&asked);
    ShStatus status = SH_OK;
    if (asked.count > 0)
        status = sh_pg_lookup_producers(pg, engine->registered.incarnation, asked.list, asked.count, &rows,
                                        &row_count, err);
    if (status == SH_OK)
        apply(engine, &asked, rows, row_count);
    free(rows);
    free_list(&asked);
    return status;
}

/* Ids are random, or made up by somebody: what of them counts is the same. */
static ShHeardId *place_of(ShHeardId *ids, int64_t producer_id)
{
    uint64_t mixed = (uint64_t)producer_id * UINT64_C(0x9E3779B97F4A7C15);
    return &ids[(mixed >> 32) & (SH_STRANGER_IDS - 1)];
}

static bool is_heard(const ShHeardId *place, int64_t producer_id, int64_t age_max_ms)
{
    return place->heard_ms != 0 && place->producer_id == producer_id &&
           sh_clock_now_ms() - place->heard_ms < age_max_ms;
}

static bool is_unknown(const ShHeardId *place, int64_t producer_id)
{
    return !place->undecided && is_heard(place, producer_id, UNKNOWN_MAX_MS);
}

static bool is_undecided(const ShHeardId *place, int64_t producer_id)
{
    return place->undecided && is_heard(place, producer_id, UNDECIDED_MAX_MS);
}

/* Always fails. */
static ShStatus want(ShEngine *engine, ShPartition *partition, int64_t producer_id, ShError *err)
{
    ShStrangers *strangers = &engine->strangers;
    ShPgStranger stranger = {.partition = {.topic_id = partition->key.topic_id,
                                           .partition = partition->key.number,
                                           .epoch = partition->epoch},
                             .producer_id = producer_id};
    pthread_mutex_lock(&strangers->lock);
    bool wanted = is_wanted(strangers, &stranger);
    bool full = !wanted && strangers->count == WAITING_MAX;
    if (!wanted && !full) {
        strangers->list[strangers->count] = stranger;
        strangers->partitions[strangers->count++] = sh_partition_ref(partition);
    }
    pthread_mutex_unlock(&strangers->lock);
    sh_control_wake(engine);
    ShStatus status = full ? sh_fail(err, SH_EXHAUSTED, "too many new producers at a time")
                           : sh_fail(err, SH_UNAVAILABLE, "PostgreSQL is asked about producer %" PRId64,
                                     producer_id);
    return sh_fail_retry_after(err, status, RETRY_MS);
}

/* With the lock held. */
static bool is_wanted(const ShStrangers *strangers, const ShPgStranger *stranger)
{
    for (size_t i = 0; i < strangers->count; i++) {
        const ShPgStranger *other = &strangers->list[i];
        if (other->producer_id == stranger->producer_id &&
            other->partition.partition == stranger->partition.partition &&
            other->partition.epoch == stranger->partition.epoch &&
            sh_uuid_equal(&other->partition.topic_id, &stranger->partition.topic_id))
            return true;
    }
    return false;
}

/* The lists are copied, so that those that fill meanwhile need no memory. */
static void take_all(ShStrangers *strangers, ShStrangers *out)
{
    *out = (ShStrangers){0};
    pthread_mutex_lock(&strangers->lock);
    size_t count = strangers->count;
    if (count > 0) {
        out->list = calloc(count, sizeof *out->list);
        out->partitions = calloc(count, sizeof(*out->partitions));
    }
    for (size_t i = 0; i < count && out->list != NULL && out->partitions != NULL; i++) {
        out->list[i] = strangers->list[i];
        out->partitions[i] = strangers->partitions[i];
        out->count++;
    }
    if (out->count == count)
        strangers->count = 0;
    pthread_mutex_unlock(&strangers->lock);
}

/* Whom an earlier answer has introduced since they were wanted. */
static void drop_known(ShStrangers *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        ShPartition *partition = list->partitions[i];
        pthread_mutex_lock(&partition->mutex);
        bool known = sh_producers_find(&partition->producers, list->list[i].producer_id) != NULL;
        pthread_mutex_unlock(&partition->mutex);
        if (known) {
            sh_partition_unref(partition);
            continue;
        }
        list->list[kept] = list->list[i];
        list->partitions[kept++] = partition;
    }
    list->count = kept;
}

static void free_list(ShStrangers *list)
{
    for (size_t i = 0; i < list->count; i++)
        sh_partition_unref(list->partitions[i]);
    free(list->partitions);
    free(list->list);
}

/* Rows come by question and offset. */
static void apply(ShEngine *engine, const ShStrangers *asked, const ShPgStrangerAnswer *rows,
                  size_t row_count)
{
    size_t row = 0;
    for (size_t i = 0; i < asked->count; i++) {
        const ShPgStranger *stranger = &asked->list[i];
        ShPartition *partition = asked->partitions[i];
        ShPgId id = row < row_count && rows[row].place == i ? rows[row].id : SH_PG_ID_UNKNOWN;
        sh_strangers_note(engine, stranger->producer_id, id);
        pthread_mutex_lock(&partition->mutex);
        bool fresh = id == SH_PG_ID_KNOWN && introduce(engine, partition, stranger);
        for (; row < row_count && rows[row].place == i; row++) {
            ShStretch stretch = {.base_offset = rows[row].base_offset,
                                 .base_sequence = rows[row].base_sequence,
                                 .count = rows[row].count};
            if (fresh && stretch.count > 0)
                sh_producers_note_stretch(&partition->producers, stranger->producer_id,
                                          rows[row].producer_epoch, &stretch);
        }
        pthread_mutex_unlock(&partition->mutex);
    }
}

/* With the partition's mutex held. False where it is no stranger any more, or not this agent's to know. */
static bool introduce(ShEngine *engine, ShPartition *partition, const ShPgStranger *stranger)
{
    return partition->epoch == stranger->partition.epoch && sh_partition_is_owned(partition) &&
           sh_producers_find(&partition->producers, stranger->producer_id) == NULL &&
           sh_producers_reserve(&partition->producers, &engine->producer_budget, stranger->producer_id,
                                partition->published_end, sh_clock_now_ms(), NULL) == SH_OK;
}

/* Partitions that nobody writes to keep the state of producers which others could have the room of. */
static void sweep(ShEngine *engine)
{
    ShPartition **partitions = NULL;
    size_t count = 0;
    size_t swept = 0;
    int64_t now_ms = sh_clock_now_ms();
    if (sh_partition_table_list(&engine->partitions, &partitions, &count, NULL) != SH_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        pthread_mutex_lock(&partitions[i]->mutex);
        swept += sh_producers_sweep(&partitions[i]->producers, partitions[i]->published_end, now_ms);
        pthread_mutex_unlock(&partitions[i]->mutex);
    }
    sh_partition_list_free(partitions, count);
    sh_log_warn("producers_at_bound", "given_up=%zu known=%" PRId64, swept,
                (int64_t)atomic_load(&engine->producer_budget.count));
}
