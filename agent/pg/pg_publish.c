#include "agent/base/fault.h"
#include "agent/pg/pg_internal.h"

/* In the order of ShPublishResult. */
static const char *const words[] = {"published",
                                    "duplicate",
                                    "void",
                                    "gap",
                                    "fenced",
                                    "dropped",
                                    "unknown",
                                    "out_of_order",
                                    "old_producer",
                                    "unknown_producer",
                                    "too_many_producers",
                                    NULL};

#define SCALAR_COUNT 6
#define RUN_ARRAYS   11
#define ARRAY_COUNT  (SH_PG_PUBLISH_ARRAYS + 1)

static void fill_arrays(ShPgArray arrays[RUN_ARRAYS], const ShPgRun *runs, size_t count);
static void fill_stretches(ShPgArray *arrays, const ShPgStretch *stretches, size_t count);
static ShStatus read_results(const PGresult *result, size_t count, ShPgRunResult *results, ShError *err);

ShStatus sh_pg_publish(ShPg *pg, const ShPgPublish *publish, ShPgRunResult *results, ShError *err)
{
    char object_id[SH_UUID_TEXT_BYTES];
    ShPgNumber numbers[4];
    sh_uuid_format(&publish->object_id, object_id);
    const char *values[SCALAR_COUNT + ARRAY_COUNT] = {
        sh_pg_number(&numbers[0], publish->incarnation),
        sh_pg_number(&numbers[1], publish->publish_no),
        sh_pg_number(&numbers[2], publish->confirmed_no),
        object_id,
        publish->object_key,
        sh_pg_number(&numbers[3], (int64_t)publish->object_bytes),
    };
    ShPgArray arrays[ARRAY_COUNT] = {0};
    sh_pg_publish_arrays(publish, arrays);
    for (size_t i = 0; i < publish->stretch_count; i++)
        sh_pg_array_add_number(&arrays[SH_PG_PUBLISH_ARRAYS], publish->stretches[i].first_unacked_seq);

    PGresult *result = NULL;
    ShStatus status = sh_pg_arrays_end(arrays, ARRAY_COUNT, values + SCALAR_COUNT, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_PUBLISH, values, &result, err);
    if (status == SH_OK && sh_fault_hit("pg.publish.reply")) {
        sh_pg_disconnect(pg);
        status = sh_fail(err, SH_UNAVAILABLE, "the reply to a publish was lost: fault pg.publish.reply");
    }
    if (status == SH_OK)
        status = read_results(result, publish->run_count, results, err);
    PQclear(result);
    sh_pg_arrays_free(arrays, ARRAY_COUNT);
    return status;
}

void sh_pg_publish_arrays(const ShPgPublish *publish, ShPgArray arrays[SH_PG_PUBLISH_ARRAYS])
{
    fill_arrays(arrays, publish->runs, publish->run_count);
    fill_stretches(arrays + RUN_ARRAYS, publish->stretches, publish->stretch_count);
}

static void fill_arrays(ShPgArray arrays[RUN_ARRAYS], const ShPgRun *runs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const ShPgRun *run = &runs[i];
        sh_pg_array_add_uuid(&arrays[0], &run->topic_id);
        sh_pg_array_add_number(&arrays[1], run->partition);
        sh_pg_array_add_number(&arrays[2], run->epoch);
        if (run->first_offset < 0)
            sh_pg_array_add_null(&arrays[3]);
        else
            sh_pg_array_add_number(&arrays[3], run->first_offset);
        sh_pg_array_add_number(&arrays[4], run->offset_count);
        sh_pg_array_add_number(&arrays[5], run->record_count);
        sh_pg_array_add_number(&arrays[6], (int64_t)run->position);
        sh_pg_array_add_number(&arrays[7], (int64_t)run->length);
        sh_pg_array_add_number(&arrays[8], run->min_timestamp_ms);
        sh_pg_array_add_number(&arrays[9], run->max_timestamp_ms);
        sh_pg_array_add_bool(&arrays[10], run->is_void);
    }
}

static void fill_stretches(ShPgArray *arrays, const ShPgStretch *stretches, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const ShPgStretch *stretch = &stretches[i];
        sh_pg_array_add_number(&arrays[0], (int64_t)stretch->run + 1);
        sh_pg_array_add_number(&arrays[1], stretch->producer_id);
        sh_pg_array_add_number(&arrays[2], stretch->producer_epoch);
        sh_pg_array_add_number(&arrays[3], stretch->base_sequence);
        sh_pg_array_add_number(&arrays[4], stretch->count);
        if (stretch->base_offset < 0)
            sh_pg_array_add_null(&arrays[5]);
        else
            sh_pg_array_add_number(&arrays[5], stretch->base_offset);
    }
}

static ShStatus read_results(const PGresult *result, size_t count, ShPgRunResult *results, ShError *err)
{
    ShStatus status = sh_pg_expect_rows(result, count, err);
    for (size_t i = 0; i < count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        if (sh_pg_row_number(&row, 0) != (int64_t)i + 1)
            row.bad = true;
        results[i].result = (ShPublishResult)sh_pg_row_word(&row, words);
        results[i].first_offset = sh_pg_row_number(&row, -1);
        results[i].published_end = sh_pg_row_number(&row, -1);
        status = sh_pg_row_end(&row, err);
    }
    return status;
}
