#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pg/pg_internal.h"

#define CREATE_ARGUMENTS_MAX 5

/* A call of create_topic that names only the arguments that are given, so that the others get SQL's defaults.
 */
typedef struct CreateCall {
    char sql[256];
    const char *values[CREATE_ARGUMENTS_MAX];
    int value_count;
} CreateCall;

static void add_argument(CreateCall *call, const char *name, const char *value);
static void read_size(ShPgRow *row, ShPgPartitionSize *out);

ShStatus sh_pg_create_topic(ShPg *pg, const ShPgCreateTopic *request, ShUuid *topic_id, ShError *err)
{
    ShPgNumber partitions;
    CreateCall call = {.sql = "SELECT streamhouse.create_topic("};
    add_argument(&call, "name", request->name);
    if (request->partitions != 0)
        add_argument(&call, "partitions", sh_pg_number(&partitions, request->partitions));
    if (request->retention[0] != '\0')
        add_argument(&call, "retention", request->retention);
    if (request->segment_size[0] != '\0')
        add_argument(&call, "segment_size", request->segment_size);
    if (request->durability[0] != '\0')
        add_argument(&call, "durability", request->durability);
    strcat(call.sql, ")");

    PGresult *result;
    ShStatus status = sh_pg_query(pg, call.sql, call.value_count, call.values, &result, err);
    if (status != SH_OK)
        return status;
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        ShPgRow row = {.result = result};
        ShUuid id = sh_pg_row_uuid(&row);
        status = sh_pg_row_end(&row, err);
        if (status == SH_OK)
            *topic_id = id;
    }
    PQclear(result);
    return status;
}

ShStatus sh_pg_drop_topic(ShPg *pg, const char *name, ShError *err)
{
    const char *const values[] = {name};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_DROP_TOPIC, values, &result, err);
    if (status == SH_OK)
        PQclear(result);
    return status;
}

ShStatus sh_pg_describe(ShPg *pg, const char *const *topics, size_t topic_count, ShPgPartitionSize **out,
                        size_t *count, ShError *err)
{
    ShPgArray names = {0};
    for (size_t i = 0; i < topic_count; i++)
        sh_pg_array_add_text(&names, topics[i]);
    const char *values[1];
    PGresult *result = NULL;
    ShPgPartitionSize *sizes = NULL;
    size_t row_count = 0;
    ShStatus status = sh_pg_arrays_end(&names, 1, values, err);
    if (status == SH_OK)
        status = sh_pg_call(pg, SH_PG_DESCRIBE, values, &result, err);
    if (status != SH_OK)
        goto done;

    row_count = (size_t)PQntuples(result);
    sizes = calloc(row_count + 1, sizeof *sizes);
    if (sizes == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "memory is short for %zu partitions", row_count);
    for (size_t i = 0; i < row_count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        read_size(&row, &sizes[i]);
        status = sh_pg_row_end(&row, err);
    }
    if (status == SH_OK) {
        *out = sizes;
        *count = row_count;
        sizes = NULL;
    }

done:
    free(sizes);
    PQclear(result);
    sh_pg_arrays_free(&names, 1);
    return status;
}

static void add_argument(CreateCall *call, const char *name, const char *value)
{
    size_t length = strlen(call->sql);
    snprintf(call->sql + length, sizeof call->sql - length, "%s%s => $%d", call->value_count == 0 ? "" : ", ",
             name, call->value_count + 1);
    call->values[call->value_count++] = value;
}

static void read_size(ShPgRow *row, ShPgPartitionSize *out)
{
    out->topic_id = sh_pg_row_uuid(row);
    sh_pg_row_text(row, out->topic, sizeof out->topic);
    sh_pg_row_text(row, out->durability, sizeof out->durability);
    sh_pg_row_text(row, out->retention, sizeof out->retention);
    out->segment_bytes = sh_pg_row_number(row, 0);
    out->partition = (int32_t)sh_pg_row_number(row, 0);
    sh_pg_row_text(row, out->owner, sizeof out->owner);
    out->epoch = sh_pg_row_number(row, 0);
    out->log_start = sh_pg_row_number(row, 0);
    out->published_end = sh_pg_row_number(row, 0);
    out->records = sh_pg_row_number(row, 0);
    out->bytes = sh_pg_row_number(row, 0);
}
