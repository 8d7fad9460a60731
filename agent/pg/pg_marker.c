#include "agent/pg/pg_marker.h"

#include <string.h>

#include "agent/pg/pg_internal.h"

/* The text forms that the parameters point to. */
typedef struct Parameters {
    ShPgNumber highest;
    ShPgNumber term;
    ShPgNumber contested;
    char nonce[SH_UUID_TEXT_BYTES];
    char cluster_id[SH_UUID_TEXT_BYTES];
} Parameters;

static void show_place(const char *place, char shown[SH_STORE_PLACE_BYTES]);
static void put_found(const ShPgMarkers *found, Parameters *texts, const char *values[5]);
static ShStatus call_for_step(ShPg *pg, ShPgStatement statement, const char *const *values,
                              ShPgMarkerStep *out, ShError *err);

ShStatus sh_pg_store(ShPg *pg, const ShUuid *seen, const char *place, ShPgStore *out, ShError *err)
{
    char id[SH_UUID_TEXT_BYTES];
    char shown[SH_STORE_PLACE_BYTES];
    const char *const values[] = {seen == NULL ? NULL : id, seen == NULL ? NULL : shown};
    PGresult *result;
    *out = (ShPgStore){0};
    if (seen != NULL) {
        sh_uuid_format(seen, id);
        show_place(place, shown);
    }
    ShStatus status = sh_pg_call(pg, SH_PG_STORE, values, &result, err);
    if (status != SH_OK)
        return status;
    if (PQntuples(result) > 0) {
        ShPgRow row = {.result = result};
        out->id = sh_pg_row_uuid(&row);
        sh_pg_row_text(&row, out->place, sizeof out->place);
        status = sh_pg_row_end(&row, err);
    }
    PQclear(result);
    return status;
}

/* A path is any bytes, and the database's encoding may know few of them. */
static void show_place(const char *place, char shown[SH_STORE_PLACE_BYTES])
{
    size_t length = 0;
    for (; place[length] != '\0' && length < SH_STORE_PLACE_BYTES - 1; length++)
        shown[length] = place[length] < 0x20 || place[length] > 0x7E ? '?' : place[length];
    shown[length] = '\0';
}

ShStatus sh_pg_marker_due(ShPg *pg, int64_t incarnation, bool *due, ShError *err)
{
    ShPgNumber number;
    const char *const values[] = {sh_pg_number(&number, incarnation)};
    return sh_pg_call_bool(pg, SH_PG_MARKER_DUE, values, due, err);
}

ShStatus sh_pg_marker_next(ShPg *pg, int64_t incarnation, const ShPgMarkers *found, ShPgMarkerStep *out,
                           ShError *err)
{
    ShPgNumber number;
    Parameters texts;
    const char *values[6] = {sh_pg_number(&number, incarnation)};
    put_found(found, &texts, values + 1);
    return call_for_step(pg, SH_PG_MARKER_NEXT, values, out, err);
}

ShStatus sh_pg_marker_confirm(ShPg *pg, int64_t incarnation, int64_t made, const ShPgMarkers *found,
                              ShPgMarkerStep *out, ShError *err)
{
    ShPgNumber numbers[2];
    Parameters texts;
    const char *values[7] = {sh_pg_number(&numbers[0], incarnation), sh_pg_number(&numbers[1], made)};
    put_found(found, &texts, values + 2);
    return call_for_step(pg, SH_PG_MARKER_CONFIRM, values, out, err);
}

/* highest, nonce, term, cluster_id, contested */
static void put_found(const ShPgMarkers *found, Parameters *texts, const char *values[5])
{
    bool is_any = found->highest > 0;
    sh_uuid_format(&found->nonce, texts->nonce);
    sh_uuid_format(&found->cluster_id, texts->cluster_id);
    values[0] = sh_pg_number(&texts->highest, found->highest);
    values[1] = is_any ? texts->nonce : NULL;
    values[2] = is_any ? sh_pg_number(&texts->term, found->term) : NULL;
    values[3] = is_any ? texts->cluster_id : NULL;
    values[4] = sh_pg_number(&texts->contested, found->contested);
}

static ShStatus call_for_step(ShPg *pg, ShPgStatement statement, const char *const *values,
                              ShPgMarkerStep *out, ShError *err)
{
    static const char *const actions[] = {[SH_MARKER_NONE] = "none",
                                          [SH_MARKER_PUT] = "put",
                                          [SH_MARKER_CONTEST] = "contest",
                                          [SH_MARKER_CONTESTED] = "contested",
                                          [SH_MARKER_HELD] = "held"};
    PGresult *result;
    ShStatus status = sh_pg_call(pg, statement, values, &result, err);
    if (status != SH_OK)
        return status;
    ShPgRow row = {.result = result};
    char action[16] = "";
    status = sh_pg_expect_rows(result, 1, err);
    if (status == SH_OK) {
        *out = (ShPgMarkerStep){0};
        sh_pg_row_text(&row, action, sizeof action);
        out->number = sh_pg_row_number(&row, 0);
        sh_pg_row_text(&row, out->body, sizeof out->body);
        status = sh_pg_row_end(&row, err);
    }
    for (size_t i = 0; status == SH_OK && i < sizeof actions / sizeof *actions; i++)
        if (strcmp(actions[i], action) == 0)
            out->action = (ShMarkerAction)i;
    PQclear(result);
    return status;
}
