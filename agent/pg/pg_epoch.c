#include <stdlib.h>

#include "agent/pg/pg_internal.h"

/* In the order of ShAction and of ShEpochResult. */
static const char *const actions[] = {"own", "recover", "grant", "release", "roll", "none", NULL};
static const char *const results[] = {"granted", "open",    "sealed",   "busy",    "not_target",
                                      "fenced",  "dropped", "mismatch", "unknown", NULL};
#define RESULT_UNKNOWN 8 /* an id that no topic ever had */
/* In the order of ShLeftoverResult. */
static const char *const leftovers[] = {"leftover", "open", "fenced", "dropped", "unknown", NULL};

/* Of one statement: an agent may own all partitions there are, and a statement has a time-out. */
#define SLICE 2000

static size_t slice(size_t at, size_t count);
static void add_partitions(ShPgArray *arrays, const ShPgPartition *partitions, size_t count);
static void read_assignment(ShPgRow *row, ShPgAssignment *out);
static ShStatus call_arrays(ShPg *pg, ShPgStatement statement, int64_t incarnation, ShPgArray *arrays,
                            size_t array_count, PGresult **out, ShError *err);
static ShStatus call_epochs(ShPg *pg, ShPgStatement statement, int64_t incarnation, ShPgArray *arrays,
                            size_t array_count, size_t count, ShPgEpoch *out, ShError *err);
static ShStatus read_epochs(const PGresult *result, size_t count, ShPgEpoch *out, ShError *err);

ShStatus sh_pg_assignments(ShPg *pg, int64_t incarnation, int64_t after_version, ShPgAssignments *out,
                           ShError *err)
{
    ShPgNumber numbers[2];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation),
                                  after_version > 0 ? sh_pg_number(&numbers[1], after_version) : NULL};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_ASSIGNMENTS, values, &result, err);
    if (status != SH_OK)
        return status;

    size_t rows = (size_t)PQntuples(result);
    ShPgAssignments answer = {.rows = calloc(rows + 1, sizeof *answer.rows)};
    if (answer.rows == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "memory is short for %zu assignments", rows);
    else
        status = sh_pg_read_head(result, &answer.version, &answer.whole, err);
    for (size_t i = 1; i < rows && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i, .column = SH_PG_HEAD_COLUMNS};
        read_assignment(&row, &answer.rows[answer.count++]);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    if (status == SH_OK)
        *out = answer;
    else
        free(answer.rows);
    return status;
}

ShStatus sh_pg_grant(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                     ShPgEpoch *out, ShError *err)
{
    ShStatus status = SH_OK;
    for (size_t at = 0; at < count && status == SH_OK; at += SLICE) {
        ShPgArray arrays[2] = {0};
        for (size_t i = at; i < at + slice(at, count); i++) {
            sh_pg_array_add_uuid(&arrays[0], &partitions[i].topic_id);
            sh_pg_array_add_number(&arrays[1], partitions[i].partition);
        }
        status = call_epochs(pg, SH_PG_GRANT, incarnation, arrays, 2, slice(at, count), out + at, err);
    }
    return status;
}

ShStatus sh_pg_open(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                    ShPgEpoch *out, ShError *err)
{
    ShStatus status = SH_OK;
    for (size_t at = 0; at < count && status == SH_OK; at += SLICE) {
        ShPgArray arrays[3] = {0};
        add_partitions(arrays, partitions + at, slice(at, count));
        status = call_epochs(pg, SH_PG_OPEN, incarnation, arrays, 3, slice(at, count), out + at, err);
    }
    return status;
}

ShStatus sh_pg_seal(ShPg *pg, int64_t incarnation, const ShPgSeal *seals, size_t count, ShPgEpoch *out,
                    ShError *err)
{
    ShStatus status = SH_OK;
    for (size_t at = 0; at < count && status == SH_OK; at += SLICE) {
        ShPgArray arrays[5] = {0};
        for (size_t i = at; i < at + slice(at, count); i++) {
            sh_pg_array_add_uuid(&arrays[0], &seals[i].partition.topic_id);
            sh_pg_array_add_number(&arrays[1], seals[i].partition.partition);
            sh_pg_array_add_number(&arrays[2], seals[i].partition.epoch);
            sh_pg_array_add_number(&arrays[3], seals[i].end_offset);
            sh_pg_array_add_bool(&arrays[4], seals[i].lost);
        }
        status = call_epochs(pg, SH_PG_SEAL, incarnation, arrays, 5, slice(at, count), out + at, err);
    }
    return status;
}

static size_t slice(size_t at, size_t count)
{
    return count - at < SLICE ? count - at : SLICE;
}

ShStatus sh_pg_leftover(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                        ShPgLeftover *out, ShError *err)
{
    ShPgArray arrays[3] = {0};
    add_partitions(arrays, partitions, count);
    PGresult *result = NULL;
    ShStatus status = call_arrays(pg, SH_PG_LEFTOVER, incarnation, arrays, 3, &result, err);
    if (status != SH_OK)
        return status;
    status = sh_pg_expect_rows(result, count, err);
    for (size_t i = 0; i < count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        out[i].result = (ShLeftoverResult)sh_pg_row_word(&row, leftovers);
        out[i].forced_end = sh_pg_row_number(&row, 0);
        out[i].epoch = sh_pg_row_number(&row, 0);
        out[i].start_offset = sh_pg_row_number(&row, 0);
        out[i].limit_offset = sh_pg_row_number(&row, 0);
        out[i].published_end = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

/* Topic, partition and epoch: the first three arrays. */
static void add_partitions(ShPgArray *arrays, const ShPgPartition *partitions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sh_pg_array_add_uuid(&arrays[0], &partitions[i].topic_id);
        sh_pg_array_add_number(&arrays[1], partitions[i].partition);
        sh_pg_array_add_number(&arrays[2], partitions[i].epoch);
    }
}

static void read_assignment(ShPgRow *row, ShPgAssignment *out)
{
    out->topic_id = sh_pg_row_uuid(row);
    sh_pg_row_text(row, out->topic, sizeof out->topic);
    out->segment_bytes = sh_pg_row_number(row, 0);
    out->retention_ms = sh_pg_row_number(row, -1);
    out->batch_bytes_max = (int32_t)sh_pg_row_number(row, 0);
    out->partition = (int32_t)sh_pg_row_number(row, 0);
    out->action = (ShAction)sh_pg_row_word(row, actions);
    out->epoch = sh_pg_row_number(row, 0);
    out->start_offset = sh_pg_row_number(row, 0);
    out->limit_offset = sh_pg_row_number(row, 0);
    out->published_end = sh_pg_row_number(row, 0);
    out->open = sh_pg_row_bool(row);
    out->orphan_timeout_ms = sh_pg_row_number(row, 0);
}

/* Calls a function of an incarnation and arrays; frees the arrays. */
static ShStatus call_epochs(ShPg *pg, ShPgStatement statement, int64_t incarnation, ShPgArray *arrays,
                            size_t array_count, size_t count, ShPgEpoch *out, ShError *err)
{
    PGresult *result = NULL;
    ShStatus status = call_arrays(pg, statement, incarnation, arrays, array_count, &result, err);
    if (status == SH_OK) {
        status = read_epochs(result, count, out, err);
        PQclear(result);
    }
    return status;
}

static ShStatus call_arrays(ShPg *pg, ShPgStatement statement, int64_t incarnation, ShPgArray *arrays,
                            size_t array_count, PGresult **out, ShError *err)
{
    const char *values[6];
    ShPgNumber number;
    values[0] = sh_pg_number(&number, incarnation);
    ShStatus status = sh_pg_arrays_end(arrays, array_count, values + 1, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, statement, values, out, err);
    sh_pg_arrays_free(arrays, array_count);
    return status;
}

static ShStatus read_epochs(const PGresult *result, size_t count, ShPgEpoch *out, ShError *err)
{
    ShStatus status = sh_pg_expect_rows(result, count, err);
    for (size_t i = 0; i < count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        int word = sh_pg_row_word(&row, results);
        out[i].result = word == RESULT_UNKNOWN ? SH_EPOCH_DROPPED : (ShEpochResult)word;
        out[i].epoch = sh_pg_row_number(&row, 0);
        out[i].start_offset = sh_pg_row_number(&row, 0);
        out[i].limit_offset = sh_pg_row_number(&row, 0);
        out[i].published_end = sh_pg_row_number(&row, 0);
        out[i].orphan_timeout_ms = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    return status;
}
