#include "agent/pg/pg_internal.h"

static void read_segment(ShPgRow *row, ShPgSegment *out);
static ShStatus read_segments(const PGresult *result, size_t max, ShPgSegment *out, size_t *count,
                              ShError *err);
#define BOUNDS_MAX 2000 /* of one statement: an agent may read all partitions there are */

static ShStatus read_some_bounds(ShPg *pg, const ShPgPartition *partitions, size_t count, ShPgBounds *out,
                                 ShError *err);
static ShStatus match_bounds(const PGresult *result, const ShPgPartition *partitions, size_t count,
                             ShPgBounds *out, ShError *err);

ShStatus sh_pg_read_index(ShPg *pg, const ShUuid *topic_id, int32_t partition, int64_t from_offset,
                          size_t max, ShPgSegment *out, size_t *count, ShError *err)
{
    char topic[SH_UUID_TEXT_BYTES];
    ShPgNumber numbers[3];
    sh_uuid_format(topic_id, topic);
    const char *const values[] = {topic, sh_pg_number(&numbers[0], partition),
                                  sh_pg_number(&numbers[1], from_offset),
                                  sh_pg_number(&numbers[2], (int64_t)max)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_READ_INDEX, values, &result, err);
    if (status != SH_OK)
        return status;
    status = read_segments(result, max, out, count, err);
    PQclear(result);
    return status;
}

ShStatus sh_pg_read_bounds(ShPg *pg, const ShPgPartition *partitions, size_t count, ShPgBounds *out,
                           ShError *err)
{
    ShStatus status = SH_OK;
    for (size_t at = 0; at < count && status == SH_OK; at += BOUNDS_MAX)
        status = read_some_bounds(pg, partitions + at, count - at < BOUNDS_MAX ? count - at : BOUNDS_MAX,
                                  out + at, err);
    return status;
}

static ShStatus read_some_bounds(ShPg *pg, const ShPgPartition *partitions, size_t count, ShPgBounds *out,
                                 ShError *err)
{
    ShPgArray arrays[2] = {0};
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_uuid(&arrays[0], &partitions[i].topic_id);
        sh_pg_array_add_number(&arrays[1], partitions[i].partition);
    }
    const char *values[2];
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, 2, values, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_READ_BOUNDS, values, &result, err);
    if (status == SH_OK) {
        status = match_bounds(result, partitions, count, out, err);
        PQclear(result);
    }
    sh_pg_arrays_free(arrays, 2);
    return status;
}

ShStatus sh_pg_find_timestamp(ShPg *pg, const ShUuid *topic_id, int32_t partition, int64_t timestamp_ms,
                              int64_t from_offset, ShPgSegment *out, bool *found, ShError *err)
{
    ShPgArray arrays[4] = {0};
    sh_pg_array_add_uuid(&arrays[0], topic_id);
    sh_pg_array_add_number(&arrays[1], partition);
    sh_pg_array_add_number(&arrays[2], timestamp_ms);
    sh_pg_array_add_number(&arrays[3], from_offset);
    const char *values[4];
    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, 4, values, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_FIND_TIMESTAMPS, values, &result, err);
    if (status == SH_OK) {
        size_t count;
        status = read_segments(result, 1, out, &count, err);
        PQclear(result);
        if (status == SH_OK)
            *found = count == 1;
    }
    sh_pg_arrays_free(arrays, 4);
    return status;
}

static void read_segment(ShPgRow *row, ShPgSegment *out)
{
    out->first_offset = sh_pg_row_number(row, 0);
    out->base_offset = sh_pg_row_number(row, 0);
    out->last_offset = sh_pg_row_number(row, 0);
    out->epoch = sh_pg_row_number(row, 0);
    sh_pg_row_text(row, out->object_key, sizeof out->object_key);
    out->position = (uint64_t)sh_pg_row_number(row, 0);
    out->length = (uint64_t)sh_pg_row_number(row, 0);
    out->records = sh_pg_row_number(row, 0);
    out->min_timestamp_ms = sh_pg_row_number(row, 0);
    out->max_timestamp_ms = sh_pg_row_number(row, 0);
}

static ShStatus read_segments(const PGresult *result, size_t max, ShPgSegment *out, size_t *count,
                              ShError *err)
{
    size_t row_count = (size_t)PQntuples(result);
    if (row_count > max)
        return sh_fail(err, SH_INTERNAL, "PostgreSQL's answer has %zu segments instead of at most %zu",
                       row_count, max);
    for (size_t i = 0; i < row_count; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        read_segment(&row, &out[i]);
        ShStatus status = sh_pg_row_end(&row, err);
        if (status != SH_OK)
            return status;
    }
    *count = row_count;
    return SH_OK;
}

/* The answer has the order of the question, and leaves out partitions that do not exist. */
static ShStatus match_bounds(const PGresult *result, const ShPgPartition *partitions, size_t count,
                             ShPgBounds *out, ShError *err)
{
    int next = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = (ShPgBounds){0};
        if (next == PQntuples(result))
            continue;
        ShPgRow row = {.result = result, .row = next};
        ShUuid topic_id = sh_pg_row_uuid(&row);
        int64_t partition = sh_pg_row_number(&row, -1);
        if (sh_uuid_equal(&topic_id, &partitions[i].topic_id) && partition == partitions[i].partition) {
            out[i].found = true;
            out[i].log_start = sh_pg_row_number(&row, 0);
            out[i].published_end = sh_pg_row_number(&row, 0);
            out[i].epoch = sh_pg_row_number(&row, 0);
            next++;
        }
        ShStatus status = sh_pg_row_end(&row, err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}
