#include "agent/log/producer_load.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define PARTITIONS_MAX 2000 /* of one question */

static ShStatus load_some(ShEngine *engine, ShPg *pg, ShPartition *const *partitions,
                          const ShPgPartition *names, size_t count, ShError *err);
static ShStatus note(ShEngine *engine, ShPartition *partition, const ShPgProducer *row, ShError *err);
static void note_partial(ShPartition *const *partitions, const ShPgProducer *rows, size_t row_count);

ShStatus sh_producers_load(ShEngine *engine, ShPg *pg, ShPartition *const *partitions,
                           const ShPgPartition *names, size_t count, ShError *err)
{
    ShStatus status = SH_OK;
    for (size_t at = 0; at < count && status == SH_OK; at += PARTITIONS_MAX)
        status = load_some(engine, pg, partitions + at, names + at,
                           count - at < PARTITIONS_MAX ? count - at : PARTITIONS_MAX, err);
    return status;
}

static ShStatus load_some(ShEngine *engine, ShPg *pg, ShPartition *const *partitions,
                          const ShPgPartition *names, size_t count, ShError *err)
{
    ShPgProducer *rows = NULL;
    size_t row_count = 0;
    ShStatus status = sh_pg_producers(pg, engine->registered.incarnation, names, count, SH_PRODUCERS_MAX,
                                      &rows, &row_count, err);
    for (size_t i = 0; i < count && status == SH_OK; i++) {
        pthread_mutex_lock(&partitions[i]->mutex);
        sh_producers_clear(&partitions[i]->producers);
        pthread_mutex_unlock(&partitions[i]->mutex);
    }
    for (size_t i = 0; i < row_count && status == SH_OK; i++)
        status = note(engine, partitions[rows[i].place], &rows[i], err);
    if (status == SH_OK)
        note_partial(partitions, rows, row_count);
    free(rows);
    return status;
}

static ShStatus note(ShEngine *engine, ShPartition *partition, const ShPgProducer *row, ShError *err)
{
    ShStretch stretch = {
        .base_offset = row->base_offset, .base_sequence = row->base_sequence, .count = row->count};
    ShStatus status = SH_OK;
    pthread_mutex_lock(&partition->mutex);
    partition->producers.unresolved |= row->unresolved;
    if (row->producer_id >= 0)
        status = sh_producers_reserve(&partition->producers, &engine->producer_budget, row->producer_id,
                                      INT64_MAX, sh_clock_now_ms(), err);
    if (row->producer_id >= 0 && status == SH_OK)
        sh_producers_note_stretch(&partition->producers, row->producer_id, row->producer_epoch, &stretch);
    /* What has no room is asked for when the producer comes. */
    partition->producers.partial |= status == SH_EXHAUSTED;
    pthread_mutex_unlock(&partition->mutex);
    if (status != SH_EXHAUSTED)
        return status;
    sh_error_clear(err);
    return SH_OK;
}

/* Of a partition with as many producers as were asked for there may be more. */
static void note_partial(ShPartition *const *partitions, const ShPgProducer *rows, size_t row_count)
{
    int in_partition = 0;
    for (size_t i = 0; i < row_count; i++) {
        bool begins = i == 0 || rows[i].place != rows[i - 1].place;
        if (begins)
            in_partition = 0;
        in_partition += begins || rows[i].producer_id != rows[i - 1].producer_id;
        if (in_partition < SH_PRODUCERS_MAX)
            continue;
        ShPartition *partition = partitions[rows[i].place];
        pthread_mutex_lock(&partition->mutex);
        partition->producers.partial = true;
        pthread_mutex_unlock(&partition->mutex);
    }
}
