#include "agent/pg/pg_present.h"

#include <string.h>

#include "agent/pg/pg_internal.h"

#define OBJECT_SCALARS 9
#define OBJECT_ARRAYS  (SH_PG_PUBLISH_ARRAYS + 2)

static const char *const epoch_words[] = {"open", "sealed", "fenced", "dropped", "unknown", NULL};
static const ShEpochResult epoch_results[] = {SH_EPOCH_OPEN, SH_EPOCH_SEALED, SH_EPOCH_FENCED,
                                              SH_EPOCH_DROPPED, SH_EPOCH_FENCED};

typedef enum RunResult {
    RUN_PLACED,
    RUN_DUPLICATE,
    RUN_VOID,
    RUN_DROPPED,
    RUN_GAP,
    RUN_FENCED,
    RUN_UNKNOWN
} RunResult;
static const char *const run_words[] = {"published", "duplicate", "void",    "dropped",
                                        "gap",       "fenced",    "unknown", NULL};

ShStatus sh_pg_term_to_take(ShPg *pg, int64_t incarnation, ShPgTerm *out, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    PGresult *result;
    *out = (ShPgTerm){0};
    ShStatus status = sh_pg_call(pg, SH_PG_TERM_TO_TAKE, values, &result, err);
    if (status != SH_OK)
        return status;
    if (PQntuples(result) > 0) {
        ShPgRow row = {.result = result};
        out->number = sh_pg_row_number(&row, 0);
        out->nonce = sh_pg_row_uuid(&row);
        sh_pg_row_text(&row, out->body, sizeof out->body);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_term_taken(ShPg *pg, int64_t incarnation, int64_t others, bool *is_ours, ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation), sh_pg_number(&numbers[1], others)};
    return sh_pg_call_bool(pg, SH_PG_TERM_TAKEN, values, is_ours, err);
}

ShStatus sh_pg_awaited(ShPg *pg, int64_t incarnation, bool *awaited, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    return sh_pg_call_bool(pg, SH_PG_AWAITED, values, awaited, err);
}

ShStatus sh_pg_unknown_keys(ShPg *pg, int64_t incarnation, const char *const *keys, size_t count,
                            bool *unknown, ShError *err)
{
    ShPgNumber number;
    ShPgArray array = {0};
    for (size_t i = 0; i < count; i++)
        sh_pg_array_add_text(&array, keys[i]);
    const char *values[2] = {sh_pg_number(&number, incarnation)};
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(&array, 1, values + 1, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_UNKNOWN_KEYS, values, &result, err);
    sh_pg_arrays_free(&array, 1);
    if (status != SH_OK)
        return status;
    /* The answer keeps the order of the question. */
    int row = 0;
    for (size_t i = 0; i < count; i++) {
        unknown[i] = row < PQntuples(result) && strcmp(PQgetvalue(result, row, 0), keys[i]) == 0;
        row += unknown[i];
    }
    if (row != PQntuples(result))
        status = sh_fail(err, SH_INTERNAL, "PostgreSQL answers with keys that were not asked about");
    PQclear(result);
    return status;
}

ShStatus sh_pg_present_epoch(ShPg *pg, int64_t incarnation, const ShPgPartition *partition,
                             int64_t start_offset, ShPgEpoch *out, ShError *err)
{
    ShPgNumber number;
    ShPgArray arrays[4] = {0};
    sh_pg_array_add_uuid(&arrays[0], &partition->topic_id);
    sh_pg_array_add_number(&arrays[1], partition->partition);
    sh_pg_array_add_number(&arrays[2], partition->epoch);
    sh_pg_array_add_number(&arrays[3], start_offset);
    const char *values[5] = {sh_pg_number(&number, incarnation)};
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, 4, values + 1, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_PRESENT_EPOCHS, values, &result, err);
    sh_pg_arrays_free(arrays, 4);
    if (status != SH_OK)
        return status;
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        ShPgRow row = {.result = result};
        *out = (ShPgEpoch){.result = epoch_results[sh_pg_row_word(&row, epoch_words)]};
        out->epoch = sh_pg_row_number(&row, 0);
        out->start_offset = sh_pg_row_number(&row, 0);
        out->limit_offset = sh_pg_row_number(&row, 0);
        out->published_end = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_present_object(ShPg *pg, const ShPgPublish *object, const ShPgPresented *presented,
                              bool *placed, bool *waits, ShError *err)
{
    char writer[SH_UUID_TEXT_BYTES];
    char object_id[SH_UUID_TEXT_BYTES];
    ShPgNumber numbers[3];
    sh_uuid_format(&presented->writer_wal, writer);
    sh_uuid_format(&object->object_id, object_id);
    const char *values[OBJECT_SCALARS + OBJECT_ARRAYS] = {
        sh_pg_number(&numbers[0], object->incarnation),
        writer,
        presented->writer_agent,
        object_id,
        object->object_key,
        sh_pg_number(&numbers[1], (int64_t)object->object_bytes),
        presented->is_last ? "t" : "f",
        presented->acknowledged ? "t" : "f",
        sh_pg_number(&numbers[2], presented->left_out),
    };
    ShPgArray arrays[OBJECT_ARRAYS] = {0};
    sh_pg_publish_arrays(object, arrays);
    for (size_t i = 0; i < object->run_count; i++) {
        const ShPgEpochOrigin *origin = &presented->origins[i];
        sh_pg_array_add_number(&arrays[SH_PG_PUBLISH_ARRAYS], origin->start_offset);
        sh_pg_array_add_bool(&arrays[SH_PG_PUBLISH_ARRAYS + 1], origin->is_ownerless);
    }
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, OBJECT_ARRAYS, values + OBJECT_SCALARS, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_PRESENT_OBJECT, values, &result, err);
    sh_pg_arrays_free(arrays, OBJECT_ARRAYS);
    if (status != SH_OK)
        return status;

    *placed = *waits = false;
    status = sh_pg_expect_rows(result, object->run_count, err);
    for (size_t i = 0; i < object->run_count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        (void)sh_pg_row_number(&row, 0);
        RunResult word = (RunResult)sh_pg_row_word(&row, run_words);
        *placed |= word == RUN_PLACED || word == RUN_VOID;
        *waits |= word == RUN_GAP;
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_next_twice(ShPg *pg, int64_t incarnation, ShPgTwice *out, bool *found, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    PGresult *result;
    *out = (ShPgTwice){0};
    ShStatus status = sh_pg_call(pg, SH_PG_NEXT_TWICE, values, &result, err);
    if (status != SH_OK)
        return status;
    *found = PQntuples(result) > 0;
    if (*found) {
        ShPgRow row = {.result = result};
        out->topic_id = sh_pg_row_uuid(&row);
        out->partition = (int32_t)sh_pg_row_number(&row, 0);
        out->void_from = sh_pg_row_number(&row, 0);
        out->void_end = sh_pg_row_number(&row, 0);
        out->segment.first_offset = sh_pg_row_number(&row, 0);
        out->segment.base_offset = sh_pg_row_number(&row, 0);
        out->segment.last_offset = sh_pg_row_number(&row, 0);
        out->segment.epoch = sh_pg_row_number(&row, 0);
        sh_pg_row_text(&row, out->segment.object_key, sizeof out->segment.object_key);
        out->segment.position = (uint64_t)sh_pg_row_number(&row, 0);
        out->segment.length = (uint64_t)sh_pg_row_number(&row, 0);
        out->segment.records = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_void_twice(ShPg *pg, int64_t incarnation, const ShPgTwice *twice, const ShPgPiece *pieces,
                          size_t count, ShError *err)
{
    char topic[SH_UUID_TEXT_BYTES];
    ShPgNumber numbers[6];
    ShPgArray arrays[4] = {0};
    sh_uuid_format(&twice->topic_id, topic);
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_number(&arrays[0], pieces[i].first_offset);
        sh_pg_array_add_number(&arrays[1], pieces[i].last_offset);
        sh_pg_array_add_number(&arrays[2], (int64_t)pieces[i].length);
        sh_pg_array_add_number(&arrays[3], pieces[i].records);
    }
    const char *values[12] = {sh_pg_number(&numbers[0], incarnation),
                              topic,
                              sh_pg_number(&numbers[1], twice->partition),
                              sh_pg_number(&numbers[2], twice->void_from),
                              sh_pg_number(&numbers[3], twice->void_end),
                              sh_pg_number(&numbers[4], twice->segment.first_offset),
                              sh_pg_number(&numbers[5], twice->segment.last_offset),
                              twice->segment.object_key};
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, 4, values + 8, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_VOID_TWICE, values, &result, err);
    sh_pg_arrays_free(arrays, 4);
    if (status == SH_OK)
        PQclear(result);
    return status;
}

ShStatus sh_pg_presented(ShPg *pg, int64_t incarnation, int64_t unreadable, int64_t *unresolved, ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation),
                                  sh_pg_number(&numbers[1], unreadable)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_PRESENTED, values, &result, err);
    if (status != SH_OK)
        return status;
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        ShPgRow row = {.result = result};
        *unresolved = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}
