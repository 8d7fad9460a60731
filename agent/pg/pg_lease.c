#include "agent/pg/pg_internal.h"

ShStatus sh_pg_register(ShPg *pg, const ShPgRegister *request, ShPgRegistered *out, ShError *err)
{
    char wal_uuid[SH_UUID_TEXT_BYTES];
    ShPgNumber incarnation_no;
    ShPgNumber calls_seen;
    sh_uuid_format(&request->wal_uuid, wal_uuid);
    const char *const values[] = {
        request->agent_id,
        wal_uuid,
        sh_pg_number(&incarnation_no, request->incarnation_no),
        request->address,
        request->http_address,
        request->zone,
        request->boot_id,
        request->version,
        sh_pg_number(&calls_seen, request->calls_seen),
    };
    PGresult *result;
    ShStatus status = sh_pg_call_row(pg, SH_PG_REGISTER, values, &result, err);
    if (status != SH_OK)
        return status;

    ShPgRow row = {.result = result};
    ShPgRegistered registered;
    registered.incarnation = sh_pg_row_number(&row, 0);
    registered.cluster_id = sh_pg_row_uuid(&row);
    registered.term = sh_pg_row_number(&row, 0);
    registered.lease_ticks = (int)sh_pg_row_number(&row, 0);
    registered.tick_interval_ms = (int)sh_pg_row_number(&row, 0);
    registered.calls = sh_pg_row_number(&row, 0);
    status = sh_pg_row_end(&row, err);
    PQclear(result);
    if (status == SH_OK)
        *out = registered;
    return status;
}

ShStatus sh_pg_heartbeat(ShPg *pg, int64_t incarnation, int64_t calls_seen, int64_t unpublished,
                         ShPgHeartbeat *out, ShError *err)
{
    ShPgNumber numbers[3];
    const char *const values[] = {sh_pg_number(&numbers[0], incarnation),
                                  sh_pg_number(&numbers[1], calls_seen),
                                  sh_pg_number(&numbers[2], unpublished)};
    PGresult *result;
    ShStatus status = sh_pg_call_row(pg, SH_PG_HEARTBEAT, values, &result, err);
    if (status != SH_OK)
        return status;

    ShPgRow row = {.result = result};
    ShPgHeartbeat heartbeat;
    heartbeat.assignment_version = sh_pg_row_number(&row, 0);
    heartbeat.metadata_version = sh_pg_row_number(&row, 0);
    heartbeat.calls = sh_pg_row_number(&row, 0);
    status = sh_pg_row_end(&row, err);
    PQclear(result);
    if (status == SH_OK)
        *out = heartbeat;
    return status;
}

ShStatus sh_pg_versions(ShPg *pg, int64_t incarnation, ShPgVersions *out, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    PGresult *result;
    ShStatus status = sh_pg_call_row(pg, SH_PG_VERSIONS, values, &result, err);
    if (status != SH_OK)
        return status;

    ShPgRow row = {.result = result};
    ShPgVersions versions;
    versions.assignment_version = sh_pg_row_number(&row, 0);
    versions.metadata_version = sh_pg_row_number(&row, 0);
    status = sh_pg_row_end(&row, err);
    PQclear(result);
    if (status == SH_OK)
        *out = versions;
    return status;
}

ShStatus sh_pg_lacks_room(ShPg *pg, int64_t incarnation, bool lacks, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation), lacks ? "t" : "f"};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_LACKS_ROOM, values, &result, err);
    if (status == SH_OK)
        PQclear(result);
    return status;
}

ShStatus sh_pg_end(ShPg *pg, int64_t incarnation, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, SH_PG_END, values, &result, err);
    if (status == SH_OK)
        PQclear(result);
    return status;
}
