/*
 * marker.c - looks at the markers in the store, and makes the next one when PostgreSQL says so.
 *
 *   marker/0000000000000000042            streamhouse marker <number> <cluster> <term> <nonce>
 *   marker/0000000000000000042.contested  somebody objects to it
 *
 * A marker is put only where none of its number is. What is there is listed before and after, and read: who
 * was slow in between finds a higher one, or another's nonce. docs/internals/marker.md has the argument.
 */
#include "agent/log/marker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/pg/pg_marker.h"

#define PREFIX    "marker/"
#define CONTESTED ".contested"
#define OLD_MAX   16 /* deleted in one renewal */

typedef struct Look {
    int64_t highest;
    int64_t contested;
    int64_t keep_from; /* older ones are deleted */
    char old[OLD_MAX][64];
    size_t old_count;
} Look;

static ShStatus look(ShEngine *engine, int64_t keep_from, ShPgMarkers *found, Look *seen, ShError *err);
static bool on_listed(void *arg, const char *key, uint64_t bytes);
static ShStatus read_marker(ShEngine *engine, ShPgMarkers *found, ShError *err);
static ShStatus put(ShEngine *engine, int64_t number, const char *suffix, const char *body, ShError *err);
static void marker_key(char key[64], int64_t number, const char *suffix);

ShStatus sh_marker_renew(ShEngine *engine, ShError *err)
{
    ShPg *pg = engine->garbage.pg;
    int64_t incarnation = engine->registered.incarnation;
    bool due = false;
    ShPgMarkers found;
    ShPgMarkerStep step;
    Look seen;
    ShStatus status = sh_pg_marker_due(pg, incarnation, &due, err);
    if (status != SH_OK || !due)
        return status;
    status = look(engine, 0, &found, &seen, err);
    if (status == SH_OK)
        status = sh_pg_marker_next(pg, incarnation, &found, &step, err);
    if (status == SH_OK && step.action == SH_MARKER_PUT) {
        int64_t made = step.number;
        status = put(engine, made, "", step.body, err);
        if (status == SH_OK)
            status = look(engine, made - 1, &found, &seen, err);
        if (status == SH_OK)
            status = sh_pg_marker_confirm(pg, incarnation, made, &found, &step, err);
    }
    if (status != SH_OK)
        return status;
    if (step.action == SH_MARKER_CONTEST || step.action == SH_MARKER_CONTESTED)
        sh_log_error("store_contested", "store=\"%s\" by=\"%s\" see=\"streamhouse.store_marker_status\"",
                     sh_store_describe(engine->store), step.body);
    if (step.action == SH_MARKER_CONTEST)
        return put(engine, step.number, CONTESTED, step.body, err);
    for (size_t i = 0; step.action == SH_MARKER_HELD && status == SH_OK && i < seen.old_count; i++)
        status = sh_store_delete(engine->store, seen.old[i], err);
    return status;
}

/* List the markers, and read the highest. */
static ShStatus look(ShEngine *engine, int64_t keep_from, ShPgMarkers *found, Look *seen, ShError *err)
{
    *seen = (Look){.contested = -1, .keep_from = keep_from};
    ShStatus status = sh_store_list(engine->store, PREFIX, on_listed, seen, err);
    *found = (ShPgMarkers){.highest = seen->highest, .contested = seen->contested};
    return status != SH_OK || found->highest == 0 ? status : read_marker(engine, found, err);
}

static bool on_listed(void *arg, const char *key, uint64_t bytes)
{
    (void)bytes;
    Look *seen = arg;
    int64_t number;
    int length = 0;
    if (sscanf(key, PREFIX "%19" SCNd64 "%n", &number, &length) != 1 || number <= 0)
        return true;
    if (key[length] == '\0' && number > seen->highest)
        seen->highest = number;
    else if (strcmp(key + length, CONTESTED) == 0 && number > seen->contested)
        seen->contested = number;
    if (number < seen->keep_from && seen->old_count < OLD_MAX && strlen(key) < sizeof seen->old[0])
        strcpy(seen->old[seen->old_count++], key);
    return true;
}

/* What stands in the highest marker. One that cannot be read is nobody's that we know. */
static ShStatus read_marker(ShEngine *engine, ShPgMarkers *found, ShError *err)
{
    char key[64];
    char text[SH_MARKER_BODY_BYTES] = "";
    ShBuf *bytes = NULL;
    marker_key(key, found->highest, "");
    ShStatus status = sh_store_get(engine->store, key, 0, sizeof text - 1, &bytes, err);
    if (status != SH_OK)
        return status;
    memcpy(text, bytes->data, bytes->length < sizeof text - 1 ? bytes->length : sizeof text - 1);
    sh_buf_unref(bytes);
    int64_t number;
    char cluster_id[SH_UUID_TEXT_BYTES] = "";
    char nonce[SH_UUID_TEXT_BYTES] = "";
    bool is_read = sscanf(text, "streamhouse marker %" SCNd64 " %36s %" SCNd64 " %36s", &number, cluster_id,
                          &found->term, nonce) == 4 &&
                   number == found->highest && sh_uuid_parse(cluster_id, &found->cluster_id, NULL) == SH_OK &&
                   sh_uuid_parse(nonce, &found->nonce, NULL) == SH_OK;
    if (!is_read) {
        sh_log_warn("marker_unreadable", "key=%s", key);
        found->term = 0;
    }
    return SH_OK;
}

/* One that is there already is left as it is: the look that follows tells whose it is. */
static ShStatus put(ShEngine *engine, int64_t number, const char *suffix, const char *body, ShError *err)
{
    char key[64];
    marker_key(key, number, suffix);
    struct iovec piece = {.iov_base = (void *)(uintptr_t)body, .iov_len = strlen(body)};
    ShStatus status = sh_store_put(engine->store, key, &piece, 1, piece.iov_len, err);
    if (status != SH_EXISTS)
        return status;
    sh_error_clear(err);
    return SH_OK;
}

static void marker_key(char key[64], int64_t number, const char *suffix)
{
    snprintf(key, 64, PREFIX "%019" PRId64 "%s", number, suffix);
}
