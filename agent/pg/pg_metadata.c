#include <stdlib.h>

#include "agent/pg/pg_internal.h"

static ShStatus read_partitions(ShPg *pg, int64_t after_version, ShPgMetadata *metadata, ShError *err);
static void read_partition(ShPgRow *row, ShPgPartitionInfo *out);
static ShStatus read_agents(ShPg *pg, ShPgMetadata *metadata, ShError *err);

ShStatus sh_pg_metadata(ShPg *pg, int64_t after_version, ShPgMetadata **out, ShError *err)
{
    ShPgMetadata *metadata = calloc(1, sizeof *metadata);
    if (metadata == NULL)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for the metadata");

    ShStatus status = read_partitions(pg, after_version, metadata, err);
    if (status == SH_OK)
        status = read_agents(pg, metadata, err);
    if (status != SH_OK) {
        sh_pg_metadata_free(metadata);
        return status;
    }
    *out = metadata;
    return SH_OK;
}

void sh_pg_metadata_free(ShPgMetadata *metadata)
{
    if (metadata == NULL)
        return;
    free(metadata->partitions);
    free(metadata->agents);
    free(metadata);
}

static ShStatus read_partitions(ShPg *pg, int64_t after_version, ShPgMetadata *metadata, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {after_version > 0 ? sh_pg_number(&number, after_version) : NULL};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_METADATA, values, &result, err);
    if (status != SH_OK)
        return status;
    size_t rows = (size_t)PQntuples(result);
    metadata->partitions = calloc(rows + 1, sizeof metadata->partitions[0]);
    if (metadata->partitions == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "memory is short for the metadata");
    else
        status = sh_pg_read_head(result, &metadata->version, &metadata->whole, err);
    for (size_t i = 1; i < rows && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i, .column = SH_PG_HEAD_COLUMNS};
        read_partition(&row, &metadata->partitions[metadata->partition_count++]);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

static void read_partition(ShPgRow *row, ShPgPartitionInfo *out)
{
    out->topic_id = sh_pg_row_uuid(row);
    sh_pg_row_text(row, out->topic, sizeof out->topic);
    out->object_durability = sh_pg_row_bool(row);
    out->retention_ms = sh_pg_row_number(row, -1);
    out->segment_bytes = sh_pg_row_number(row, 0);
    out->batch_bytes_max = (int32_t)sh_pg_row_number(row, 0);
    out->time_rule.is_append_time = sh_pg_row_bool(row);
    out->time_rule.before_max_ms = sh_pg_row_number(row, -1);
    out->time_rule.after_max_ms = sh_pg_row_number(row, -1);
    out->partitions = (int32_t)sh_pg_row_number(row, 0);
    out->partition = (int32_t)sh_pg_row_number(row, -1);
    sh_pg_row_text(row, out->owner, sizeof out->owner);
    sh_pg_row_text(row, out->address, sizeof out->address);
    sh_pg_row_text(row, out->zone, sizeof out->zone);
    out->epoch = sh_pg_row_number(row, 0);
}

static ShStatus read_agents(ShPg *pg, ShPgMetadata *metadata, ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_LIVE_AGENTS, NULL, &result, err);
    if (status != SH_OK)
        return status;
    metadata->agent_count = (size_t)PQntuples(result);
    metadata->agents = calloc(metadata->agent_count + 1, sizeof metadata->agents[0]);
    if (metadata->agents == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "memory is short for the metadata");
    for (size_t i = 0; i < metadata->agent_count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        ShPgAgentInfo *agent = &metadata->agents[i];
        sh_pg_row_text(&row, agent->agent_id, sizeof agent->agent_id);
        sh_pg_row_text(&row, agent->address, sizeof agent->address);
        sh_pg_row_text(&row, agent->zone, sizeof agent->zone);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}
