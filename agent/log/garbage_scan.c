/*
 * garbage_scan.c - the look through the store for objects that the index does not know: uploaded by an agent
 * that died before it could publish them.
 *
 * Objects stand under 256 prefixes, which are listed one after the other with a pause between them, so that
 * the store hardly notices. PostgreSQL decides what is given up; the deletion is another round's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/log/engine_internal.h"

#define PREFIX_COUNT    256
#define PREFIX_PAUSE_MS 5
#define KEYS_MAX        500 /* of one question */
#define UPLOAD_AGE_MS   (60 * 60 * 1000)

typedef struct Scan {
    ShEngine *engine;
    ShPgStored *found;
    size_t count;
    size_t given_up;
    ShStatus status;
    ShError *err;
} Scan;

static void end_uploads(ShEngine *engine);
static ShStatus scan_prefix(Scan *scan, int number);
static bool on_listed(void *arg, const char *key, uint64_t bytes);
static void ask(Scan *scan);

ShStatus sh_garbage_scan(ShEngine *engine, ShError *err)
{
    ShPg *pg = engine->garbage.pg;
    bool claimed = false;
    ShStatus status = sh_pg_scan_claim(pg, engine->registered.incarnation, &claimed, err);
    if (status != SH_OK || !claimed)
        return status;
    Scan scan = {.engine = engine, .err = err, .found = calloc(KEYS_MAX, sizeof *scan.found)};
    if (scan.found == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to look through the store");
    for (int i = 0; i < PREFIX_COUNT && status == SH_OK; i++) {
        status = sh_garbage_renew_marker(engine, err);
        if (status == SH_OK)
            status = scan_prefix(&scan, i);
        if (atomic_load(&engine->draining) || !sh_engine_pause(engine, PREFIX_PAUSE_MS))
            break;
    }
    free(scan.found);
    if (status == SH_OK)
        end_uploads(engine);
    sh_metric_add(engine->garbage.objects_given_up, (int64_t)scan.given_up);
    if (scan.given_up > 0)
        sh_log_info("objects_given_up", "objects=%zu", scan.given_up);
    if (status == SH_OK && !atomic_load(&engine->draining) && !atomic_load(&engine->stopping))
        status = sh_pg_scan_done(pg, engine->registered.incarnation, err);
    return status;
}

/* Not every server has such a list, so that it fails is no reason to look again. */
static void end_uploads(ShEngine *engine)
{
    ShError err = {0};
    size_t count = 0;
    ShStatus status = sh_store_end_uploads(engine->store, UPLOAD_AGE_MS, &count, &err);
    if (count > 0)
        sh_log_info("uploads_ended", "uploads=%zu reason=\"they were begun and never completed\"", count);
    if (status != SH_OK)
        sh_log_warn("uploads_not_ended", "status=%s reason=\"%s\"", sh_status_name(status), err.message);
}

static ShStatus scan_prefix(Scan *scan, int number)
{
    char prefix[8];
    snprintf(prefix, sizeof prefix, "%02x/", (unsigned)number & 0xFF);
    ShStatus status = sh_store_list(scan->engine->store, prefix, on_listed, scan, scan->err);
    if (status == SH_OK && scan->status == SH_OK && scan->count > 0)
        ask(scan);
    return status != SH_OK ? status : scan->status;
}

static bool on_listed(void *arg, const char *key, uint64_t bytes)
{
    Scan *scan = arg;
    ShPgStored *found = &scan->found[scan->count];
    int length = snprintf(found->object_key, sizeof found->object_key, "%s", key);
    if ((size_t)length >= sizeof found->object_key)
        return true; /* no key of ours is so long */
    found->bytes = bytes;
    if (++scan->count == KEYS_MAX)
        ask(scan);
    return scan->status == SH_OK && !atomic_load(&scan->engine->stopping);
}

static void ask(Scan *scan)
{
    size_t given_up = 0;
    scan->status = sh_pg_unknown_objects(scan->engine->garbage.pg, scan->engine->registered.incarnation,
                                         scan->found, scan->count, &given_up, scan->err);
    scan->count = 0;
    scan->given_up += given_up;
}
