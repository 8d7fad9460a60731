#include <stdlib.h>

#include "agent/pg/pg_internal.h"

static void read_producer(ShPgRow *row, size_t partition_count, ShPgProducer *out);

ShStatus sh_pg_init_producer(ShPg *pg, int64_t incarnation, int64_t *producer_id, int16_t *producer_epoch,
                             ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_INIT_PRODUCER, values, &result, err);
    if (status != SH_OK)
        return status;
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        ShPgRow row = {.result = result};
        *producer_id = sh_pg_row_number(&row, -1);
        *producer_epoch = (int16_t)sh_pg_row_number(&row, -1);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_producers(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                         int producers_max, ShPgProducer **out, size_t *out_count, ShError *err)
{
    ShPgArray arrays[3] = {0};
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_uuid(&arrays[0], &partitions[i].topic_id);
        sh_pg_array_add_number(&arrays[1], partitions[i].partition);
        sh_pg_array_add_number(&arrays[2], partitions[i].epoch);
    }
    ShPgNumber numbers[2];
    const char *values[5] = {sh_pg_number(&numbers[0], incarnation)};
    values[4] = sh_pg_number(&numbers[1], producers_max);
    PGresult *result = NULL;
    ShPgProducer *rows = NULL;
    size_t row_count = 0;
    ShStatus status = sh_pg_arrays_end(arrays, 3, values + 1, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_PRODUCERS, values, &result, err);
    if (status == SH_OK) {
        row_count = (size_t)PQntuples(result);
        rows = calloc(row_count + 1, sizeof *rows);
        if (rows == NULL)
            status = sh_fail(err, SH_NO_MEMORY, "memory is short for %zu producers", row_count);
    }
    for (size_t i = 0; i < row_count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        read_producer(&row, count, &rows[i]);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    sh_pg_arrays_free(arrays, 3);
    if (status != SH_OK) {
        free(rows);
        return status;
    }
    *out = rows;
    *out_count = row_count;
    return SH_OK;
}

static void read_producer(ShPgRow *row, size_t partition_count, ShPgProducer *out)
{
    int64_t ordinal = sh_pg_row_number(row, 0);
    if (ordinal < 1 || (size_t)ordinal > partition_count)
        row->bad = true;
    out->place = (size_t)(ordinal - 1);
    out->unresolved = sh_pg_row_bool(row);
    out->producer_id = sh_pg_row_number(row, -1);
    out->producer_epoch = (int16_t)sh_pg_row_number(row, -1);
    out->base_sequence = (int32_t)sh_pg_row_number(row, 0);
    out->count = (int32_t)sh_pg_row_number(row, 0);
    out->base_offset = sh_pg_row_number(row, -1);
}
