#include "agent/pg/pg_scrub.h"

#include <stdlib.h>

#include "agent/pg/pg_internal.h"

static const char *const findings[] = {"missing", "size", "unknown", NULL};

ShStatus sh_pg_scrub_objects(ShPg *pg, const char *prefix, const ShPgStored *objects, size_t count,
                             ShPgScrubbed **out, size_t *out_count, ShError *err)
{
    ShPgArray arrays[2] = {0};
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_text(&arrays[0], objects[i].object_key);
        sh_pg_array_add_number(&arrays[1], (int64_t)objects[i].bytes);
    }
    const char *values[3] = {prefix};
    PGresult *result = NULL;
    ShPgScrubbed *rows = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, 2, values + 1, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_SCRUB_OBJECTS, values, &result, err);
    if (status == SH_OK && (rows = calloc((size_t)PQntuples(result) + 1, sizeof *rows)) == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory for %d rows of PostgreSQL's answer",
                         PQntuples(result));
    for (int i = 0; status == SH_OK && i < PQntuples(result); i++) {
        ShPgRow row = {.result = result, .row = i};
        sh_pg_row_text(&row, rows[i].object_key, sizeof rows[i].object_key);
        rows[i].finding = (ShScrubFinding)sh_pg_row_word(&row, findings);
        rows[i].bytes = sh_pg_row_number(&row, -1);
        rows[i].stored_bytes = sh_pg_row_number(&row, -1);
        status = sh_pg_row_end(&row, err);
    }
    if (status == SH_OK) {
        *out = rows;
        *out_count = (size_t)PQntuples(result);
    } else {
        free(rows);
    }
    PQclear(result);
    sh_pg_arrays_free(arrays, 2);
    return status;
}

ShStatus sh_pg_scrub_segments(ShPg *pg, const char *const *object_keys, size_t count,
                              ShPgScrubbedSegment **out, size_t *out_count, ShError *err)
{
    ShPgArray array = {0};
    for (size_t i = 0; i < count; i++)
        sh_pg_array_add_text(&array, object_keys[i]);
    const char *values[1] = {NULL};
    PGresult *result = NULL;
    ShPgScrubbedSegment *rows = NULL;
    ShStatus status = sh_pg_arrays_end(&array, 1, values, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_SCRUB_SEGMENTS, values, &result, err);
    if (status == SH_OK && (rows = calloc((size_t)PQntuples(result) + 1, sizeof *rows)) == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory for %d rows of PostgreSQL's answer",
                         PQntuples(result));
    for (int i = 0; status == SH_OK && i < PQntuples(result); i++) {
        ShPgRow row = {.result = result, .row = i};
        sh_pg_row_text(&row, rows[i].object_key, sizeof rows[i].object_key);
        sh_pg_row_text(&row, rows[i].topic, sizeof rows[i].topic);
        rows[i].partition = (int32_t)sh_pg_row_number(&row, 0);
        rows[i].first_offset = sh_pg_row_number(&row, 0);
        rows[i].last_offset = sh_pg_row_number(&row, 0);
        rows[i].records = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    if (status == SH_OK) {
        *out = rows;
        *out_count = (size_t)PQntuples(result);
    } else {
        free(rows);
    }
    PQclear(result);
    sh_pg_arrays_free(&array, 1);
    return status;
}
