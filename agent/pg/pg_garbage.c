#include "agent/pg/pg_garbage.h"

#include <stdlib.h>

#include "agent/pg/pg_internal.h"

/* Room for the rows of a result, at least one. */
static void *new_rows(const PGresult *result, size_t row_bytes, ShError *err)
{
    void *rows = calloc((size_t)PQntuples(result) + 1, row_bytes);
    if (rows == NULL)
        (void)sh_fail(err, SH_NO_MEMORY, "no memory for %d rows of PostgreSQL's answer", PQntuples(result));
    return rows;
}

ShStatus sh_pg_log_starts(ShPg *pg, int64_t after_version, ShPgLogStart **out, size_t *count, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, after_version)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_LOG_STARTS, values, &result, err);
    if (status != SH_OK)
        return status;
    ShPgLogStart *rows = new_rows(result, sizeof *rows, err);
    if (rows == NULL)
        status = SH_NO_MEMORY;
    for (int i = 0; status == SH_OK && i < PQntuples(result); i++) {
        ShPgRow row = {.result = result, .row = i};
        rows[i].topic_id = sh_pg_row_uuid(&row);
        rows[i].partition = (int32_t)sh_pg_row_number(&row, 0);
        rows[i].log_start = sh_pg_row_number(&row, 0);
        rows[i].version = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    if (status == SH_OK) {
        *out = rows;
        *count = (size_t)PQntuples(result);
    } else {
        free(rows);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_garbage(ShPg *pg, int64_t incarnation, size_t max, ShPgGarbage **out, size_t *count,
                       ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation),
                                  sh_pg_number(&numbers[1], (int64_t)max)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_GARBAGE, values, &result, err);
    if (status != SH_OK)
        return status;
    ShPgGarbage *rows = new_rows(result, sizeof *rows, err);
    if (rows == NULL)
        status = SH_NO_MEMORY;
    for (int i = 0; status == SH_OK && i < PQntuples(result); i++) {
        ShPgRow row = {.result = result, .row = i};
        rows[i].object_id = sh_pg_row_uuid(&row);
        sh_pg_row_text(&row, rows[i].object_key, sizeof rows[i].object_key);
        rows[i].bytes = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    if (status == SH_OK) {
        *out = rows;
        *count = (size_t)PQntuples(result);
    } else {
        free(rows);
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_garbage_done(ShPg *pg, int64_t incarnation, const ShUuid *object_ids, size_t count,
                            ShError *err)
{
    ShPgNumber number;
    ShPgArray array = {0};
    for (size_t i = 0; i < count; i++)
        sh_pg_array_add_uuid(&array, &object_ids[i]);
    const char *values[2] = {sh_pg_number(&number, incarnation)};
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(&array, 1, values + 1, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_GARBAGE_DONE, values, &result, err);
    PQclear(result);
    sh_pg_arrays_free(&array, 1);
    return status;
}

ShStatus sh_pg_scan_claim(ShPg *pg, int64_t incarnation, bool *claimed, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    return sh_pg_call_bool(pg, SH_PG_SCAN_CLAIM, values, claimed, err);
}

ShStatus sh_pg_scan_done(ShPg *pg, int64_t incarnation, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    PGresult *result = NULL;
    ShStatus status = sh_pg_call(pg, SH_PG_SCAN_DONE, values, &result, err);
    PQclear(result);
    return status;
}

ShStatus sh_pg_unknown_objects(ShPg *pg, int64_t incarnation, const ShPgStored *objects, size_t count,
                               size_t *given_up, ShError *err)
{
    ShPgNumber number;
    ShPgArray arrays[2] = {0};
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_text(&arrays[0], objects[i].object_key);
        sh_pg_array_add_number(&arrays[1], (int64_t)objects[i].bytes);
    }
    const char *values[3] = {sh_pg_number(&number, incarnation)};
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, 2, values + 1, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_UNKNOWN_OBJECTS, values, &result, err);
    if (status == SH_OK)
        *given_up = (size_t)PQntuples(result);
    PQclear(result);
    sh_pg_arrays_free(arrays, 2);
    return status;
}
