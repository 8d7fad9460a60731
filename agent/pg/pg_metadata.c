#include <stdlib.h>

#include "agent/pg/pg_internal.h"

static ShStatus read_version(ShPg *pg, ShPgMetadata *metadata, ShError *err);
static ShStatus read_partitions(ShPg *pg, ShPgMetadata *metadata, ShError *err);
static void read_partition(ShPgRow *row, ShPgPartitionInfo *out);
static ShStatus read_agents(ShPg *pg, ShPgMetadata *metadata, ShError *err);

ShStatus sh_pg_metadata(ShPg *pg, ShPgMetadata **out, ShError *err)
{
    ShPgMetadata *metadata = calloc(1, sizeof *metadata);
    if (metadata == NULL)
        return sh_fail(err, SH_NO_MEMORY, "memory is short for the metadata");

    /* The version comes first: a change in between makes the rows newer than it says, and is asked for again.
     */
    ShStatus status = read_version(pg, metadata, err);
    if (status == SH_OK)
        status = read_partitions(pg, metadata, err);
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

static ShStatus read_version(ShPg *pg, ShPgMetadata *metadata, ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_METADATA_VERSION, NULL, &result, err);
    if (status != SH_OK)
        return status;
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        ShPgRow row = {.result = result};
        metadata->version = sh_pg_row_number(&row, 0);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

static ShStatus read_partitions(ShPg *pg, ShPgMetadata *metadata, ShError *err)
{
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_METADATA, NULL, &result, err);
    if (status != SH_OK)
        return status;
    metadata->partition_count = (size_t)PQntuples(result);
    metadata->partitions = calloc(metadata->partition_count + 1, sizeof metadata->partitions[0]);
    if (metadata->partitions == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "memory is short for the metadata");
    for (size_t i = 0; i < metadata->partition_count && status == SH_OK; i++) {
        ShPgRow row = {.result = result, .row = (int)i};
        read_partition(&row, &metadata->partitions[i]);
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
    out->partition = (int32_t)sh_pg_row_number(row, 0);
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
