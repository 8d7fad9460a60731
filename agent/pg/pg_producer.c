#include <stdlib.h>

#include "agent/pg/pg_internal.h"

typedef void (*ReadRowFn)(ShPgRow *row, void *out);

static ShStatus call(ShPg *pg, ShPgStatement statement, const char **values, ShPgArray *arrays,
                     size_t array_count, size_t asked_count, ReadRowFn read, size_t row_bytes, void **out,
                     size_t *out_count, ShError *err);
static size_t read_place(ShPgRow *row);
static ShPgId read_id(ShPgRow *row);
static void read_producer(ShPgRow *row, void *out);
static void read_claim(ShPgRow *row, void *out);
static void read_stranger(ShPgRow *row, void *out);
static void read_void(ShPgRow *row, void *out);

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
    return call(pg, SH_PG_PRODUCERS, values, arrays, 3, count, read_producer, sizeof **out, (void **)out,
                out_count, err);
}

ShStatus sh_pg_lookup_producers(ShPg *pg, int64_t incarnation, const ShPgStranger *strangers, size_t count,
                                ShPgStrangerAnswer **out, size_t *out_count, ShError *err)
{
    ShPgArray arrays[3] = {0};
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_uuid(&arrays[0], &strangers[i].partition.topic_id);
        sh_pg_array_add_number(&arrays[1], strangers[i].partition.partition);
        sh_pg_array_add_number(&arrays[2], strangers[i].producer_id);
    }
    ShPgNumber number;
    const char *values[4] = {sh_pg_number(&number, incarnation)};
    return call(pg, SH_PG_LOOKUP_PRODUCERS, values, arrays, 3, count, read_stranger, sizeof **out,
                (void **)out, out_count, err);
}

ShStatus sh_pg_claim(ShPg *pg, int64_t incarnation, const ShPgClaim *claims, size_t count,
                     ShPgClaimAnswer **out, size_t *out_count, ShError *err)
{
    ShPgArray arrays[6] = {0};
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_uuid(&arrays[0], &claims[i].partition.topic_id);
        sh_pg_array_add_number(&arrays[1], claims[i].partition.partition);
        sh_pg_array_add_number(&arrays[2], claims[i].partition.epoch);
        sh_pg_array_add_number(&arrays[3], claims[i].producer_id);
        sh_pg_array_add_number(&arrays[4], claims[i].producer_epoch);
        sh_pg_array_add_number(&arrays[5], claims[i].first_unacked_seq);
    }
    ShPgNumber number;
    const char *values[7] = {sh_pg_number(&number, incarnation)};
    return call(pg, SH_PG_CLAIM, values, arrays, 6, count, read_claim, sizeof **out, (void **)out, out_count,
                err);
}

ShStatus sh_pg_claims(ShPg *pg, int64_t incarnation, const ShPgPartition *epochs, size_t count,
                      ShPgVoid **out, size_t *out_count, ShError *err)
{
    ShPgArray arrays[3] = {0};
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_uuid(&arrays[0], &epochs[i].topic_id);
        sh_pg_array_add_number(&arrays[1], epochs[i].partition);
        sh_pg_array_add_number(&arrays[2], epochs[i].epoch);
    }
    ShPgNumber number;
    const char *values[4] = {sh_pg_number(&number, incarnation)};
    return call(pg, SH_PG_CLAIMS, values, arrays, 3, count, read_void, sizeof **out, (void **)out, out_count,
                err);
}

/* The arrays stand behind the first value; they are freed. Each row begins with a size_t: which of those that
 * were asked about it is for. */
static ShStatus call(ShPg *pg, ShPgStatement statement, const char **values, ShPgArray *arrays,
                     size_t array_count, size_t asked_count, ReadRowFn read, size_t row_bytes, void **out,
                     size_t *out_count, ShError *err)
{
    PGresult *result = NULL;
    char *rows = NULL;
    size_t row_count = 0;
    ShStatus status = sh_pg_arrays_end(arrays, array_count, values + 1, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, statement, values, &result, err);
    if (status == SH_OK) {
        row_count = (size_t)PQntuples(result);
        rows = calloc(row_count + 1, row_bytes);
        if (rows == NULL)
            status = sh_fail(err, SH_NO_MEMORY, "memory is short for %zu rows about producers", row_count);
    }
    for (size_t i = 0; i < row_count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        read(&row, rows + i * row_bytes);
        if (*(const size_t *)(const void *)(rows + i * row_bytes) >= asked_count)
            row.bad = true;
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    sh_pg_arrays_free(arrays, array_count);
    if (status != SH_OK) {
        free(rows);
        return status;
    }
    *out = rows;
    *out_count = row_count;
    return SH_OK;
}

/* An ordinal counts from 1; a bad one becomes a place beyond all. */
static size_t read_place(ShPgRow *row)
{
    return (size_t)sh_pg_row_number(row, 0) - 1;
}

static void read_producer(ShPgRow *row, void *out)
{
    ShPgProducer *producer = out;
    producer->place = read_place(row);
    producer->unresolved = sh_pg_row_bool(row);
    producer->producer_id = sh_pg_row_number(row, -1);
    producer->producer_epoch = (int16_t)sh_pg_row_number(row, -1);
    producer->base_sequence = (int32_t)sh_pg_row_number(row, 0);
    producer->count = (int32_t)sh_pg_row_number(row, 0);
    producer->base_offset = sh_pg_row_number(row, -1);
}

/* Null: undecided. */
static ShPgId read_id(ShPgRow *row)
{
    char word[2];
    sh_pg_row_text(row, word, sizeof word);
    return word[0] == '\0' ? SH_PG_ID_UNDECIDED : word[0] == 't' ? SH_PG_ID_KNOWN : SH_PG_ID_UNKNOWN;
}

static void read_claim(ShPgRow *row, void *out)
{
    ShPgClaimAnswer *answer = out;
    answer->place = read_place(row);
    answer->id = read_id(row);
    answer->claimed_from = (int32_t)sh_pg_row_number(row, -1);
    answer->producer_epoch = (int16_t)sh_pg_row_number(row, -1);
    answer->base_sequence = (int32_t)sh_pg_row_number(row, 0);
    answer->count = (int32_t)sh_pg_row_number(row, 0);
    answer->base_offset = sh_pg_row_number(row, -1);
}

static void read_stranger(ShPgRow *row, void *out)
{
    ShPgStrangerAnswer *answer = out;
    answer->place = read_place(row);
    answer->id = read_id(row);
    answer->producer_epoch = (int16_t)sh_pg_row_number(row, -1);
    answer->base_sequence = (int32_t)sh_pg_row_number(row, 0);
    answer->count = (int32_t)sh_pg_row_number(row, 0);
    answer->base_offset = sh_pg_row_number(row, -1);
}

static void read_void(ShPgRow *row, void *out)
{
    ShPgVoid *claimed = out;
    claimed->place = read_place(row);
    claimed->producer_id = sh_pg_row_number(row, -1);
    claimed->producer_epoch = (int16_t)sh_pg_row_number(row, -1);
    claimed->first_unacked_seq = (int32_t)sh_pg_row_number(row, 0);
}
