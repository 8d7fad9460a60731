#include <stdlib.h>

#include "agent/pg/pg_garbage.h"
#include "agent/pg/pg_internal.h"

#define SCALAR_COUNT 6
#define ARRAY_COUNT  8

static const char *const swap_words[] = {"refused", "swapped", NULL};

static ShStatus read_source(const PGresult *result, int number, ShPgSource *out, ShError *err);
static void fill_arrays(ShPgArray arrays[ARRAY_COUNT], const ShPgSwap *swap);

ShStatus sh_pg_compaction_claim(ShPg *pg, int64_t incarnation, int64_t bytes_max, ShPgSource **out,
                                size_t *count, ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation),
                                  sh_pg_number(&numbers[1], bytes_max)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_COMPACTION_CLAIM, values, &result, err);
    if (status != SH_OK)
        return status;
    int row_count = PQntuples(result);
    ShPgSource *sources = calloc((size_t)row_count + 1, sizeof *sources);
    if (sources == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory for %d segments to compact", row_count);
    for (int i = 0; status == SH_OK && i < row_count; i++)
        status = read_source(result, i, &sources[i], err);
    if (status == SH_OK) {
        *out = sources;
        *count = (size_t)row_count;
    } else {
        free(sources);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_announce_object(ShPg *pg, int64_t incarnation, const ShUuid *object_id, const char *object_key,
                               uint64_t object_bytes, ShError *err)
{
    ShPgNumber numbers[2];
    char object[SH_UUID_TEXT_BYTES];
    sh_uuid_format(object_id, object);
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation), object, object_key,
                                  sh_pg_number(&numbers[1], (int64_t)object_bytes)};
    PGresult *result = NULL;
    ShStatus status = sh_pg_call(pg, SH_PG_ANNOUNCE_OBJECT, values, &result, err);
    PQclear(result);
    return status;
}

ShStatus sh_pg_give_up_object(ShPg *pg, int64_t incarnation, const ShUuid *object_id, ShError *err)
{
    ShPgNumber number;
    char object[SH_UUID_TEXT_BYTES];
    sh_uuid_format(object_id, object);
    const char *const values[] = {sh_pg_number(&number, incarnation), object};
    PGresult *result = NULL;
    ShStatus status = sh_pg_call(pg, SH_PG_GIVE_UP_OBJECT, values, &result, err);
    PQclear(result);
    return status;
}

ShStatus sh_pg_compaction_swap(ShPg *pg, const ShPgSwap *swap, bool *swapped, ShError *err)
{
    ShPgNumber numbers[3];
    char topic[SH_UUID_TEXT_BYTES];
    char object[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&swap->sources[0].topic_id, topic);
    sh_uuid_format(&swap->object_id, object);
    const char *values[SCALAR_COUNT + ARRAY_COUNT] = {
        sh_pg_number(&numbers[0], swap->incarnation),
        topic,
        sh_pg_number(&numbers[1], swap->sources[0].partition),
        object,
        swap->object_key,
        sh_pg_number(&numbers[2], (int64_t)swap->object_bytes),
    };
    ShPgArray arrays[ARRAY_COUNT] = {0};
    fill_arrays(arrays, swap);
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, ARRAY_COUNT, values + SCALAR_COUNT, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_COMPACTION_SWAP, values, &result, err);
    if (status == SH_OK)
        status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        ShPgRow row = {.result = result};
        *swapped = sh_pg_row_word(&row, swap_words) == 1;
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    sh_pg_arrays_free(arrays, ARRAY_COUNT);
    return status;
}

static ShStatus read_source(const PGresult *result, int number, ShPgSource *out, ShError *err)
{
    ShPgRow row = {.result = result, .row = number};
    out->topic_id = sh_pg_row_uuid(&row);
    out->partition = (int32_t)sh_pg_row_number(&row, 0);
    out->first_offset = sh_pg_row_number(&row, 0);
    out->base_offset = sh_pg_row_number(&row, 0);
    out->last_offset = sh_pg_row_number(&row, 0);
    out->epoch = sh_pg_row_number(&row, 0);
    out->object_id = sh_pg_row_uuid(&row);
    sh_pg_row_text(&row, out->object_key, sizeof out->object_key);
    out->position = (uint64_t)sh_pg_row_number(&row, 0);
    out->length = (uint64_t)sh_pg_row_number(&row, 0);
    return sh_pg_row_end(&row, err);
}

static void fill_arrays(ShPgArray arrays[ARRAY_COUNT], const ShPgSwap *swap)
{
    for (size_t i = 0; i < swap->source_count; i++) {
        sh_pg_array_add_number(&arrays[0], swap->sources[i].first_offset);
        sh_pg_array_add_uuid(&arrays[1], &swap->sources[i].object_id);
    }
    for (size_t i = 0; i < swap->row_count; i++) {
        const ShPgCompacted *row = &swap->rows[i];
        sh_pg_array_add_number(&arrays[2], row->first_offset);
        sh_pg_array_add_number(&arrays[3], row->base_offset);
        sh_pg_array_add_number(&arrays[4], row->last_offset);
        sh_pg_array_add_number(&arrays[5], row->epoch);
        sh_pg_array_add_number(&arrays[6], (int64_t)row->position);
        sh_pg_array_add_number(&arrays[7], (int64_t)row->length);
    }
}
