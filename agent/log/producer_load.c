#include "agent/log/producer_load.h"

#include <stdlib.h>

#include "agent/log/engine_internal.h"

static ShStatus note(ShEngine *engine, ShPartition *partition, const ShPgProducer *row, ShError *err);

ShStatus sh_producers_load(ShEngine *engine, ShPg *pg, ShPartition *const *partitions,
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
        status = sh_producers_reserve(&partition->producers, &engine->producer_budget, row->producer_id, err);
    if (row->producer_id >= 0 && status == SH_OK)
        sh_producers_note_stretch(&partition->producers, row->producer_id, row->producer_epoch, &stretch);
    pthread_mutex_unlock(&partition->mutex);
    return status;
}
