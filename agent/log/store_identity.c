/*
 * store_identity.c - the object that tells one store from another.
 *
 *   store/identity   streamhouse store <uuid>
 *
 * It is put where none is, and never changed. The first agent of a cluster puts it, unless it is there (the
 * index was rebuilt, or made anew), and tells PostgreSQL. Of two first agents with two stores PostgreSQL
 * takes the one that tells it first; the other has left an object that does no harm.
 */
#include "agent/log/store_identity.h"

#include <stdio.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/start_wait.h"
#include "agent/pg/pg_marker.h"

#define KEY        "store/identity"
#define FIRST      "streamhouse store "
#define BODY_BYTES (sizeof FIRST + SH_UUID_TEXT_BYTES)

static ShStatus settle(ShEngine *engine, ShError *err);
static ShStatus ask_both(ShStore *store, ShPg *pg, ShPgStore *known, ShUuid *seen, ShError *err);
static ShStatus read_identity(ShStore *store, ShUuid *out, ShError *err);
static ShStatus put_identity(ShStore *store, ShUuid *out, ShError *err);
static ShStatus compare(const ShPgStore *known, const ShUuid *seen, const ShStore *store, ShError *err);

ShStatus sh_store_identity_check(ShStore *store, ShPg *pg, ShError *err)
{
    ShPgStore known;
    ShUuid seen;
    ShStatus status = ask_both(store, pg, &known, &seen, err);
    return status == SH_OK ? compare(&known, &seen, store, err) : status;
}

ShStatus sh_store_identity_settle(ShStore *store, ShPg *pg, ShError *err)
{
    ShPgStore known;
    ShUuid seen;
    ShStatus status = ask_both(store, pg, &known, &seen, err);
    if (status == SH_OK && sh_uuid_is_zero(&known.id)) {
        if (sh_uuid_is_zero(&seen))
            status = put_identity(store, &seen, err);
        if (status == SH_OK)
            status = sh_pg_store(pg, &seen, sh_store_describe(store), &known, err);
    }
    return status == SH_OK ? compare(&known, &seen, store, err) : status;
}

ShStatus sh_store_identity_start(ShEngine *engine, ShError *err)
{
    return sh_start_wait_for(engine, "store", settle, err);
}

static ShStatus settle(ShEngine *engine, ShError *err)
{
    return sh_store_identity_settle(engine->store, engine->control.pg, err);
}

static ShStatus ask_both(ShStore *store, ShPg *pg, ShPgStore *known, ShUuid *seen, ShError *err)
{
    ShStatus status = sh_pg_store(pg, NULL, NULL, known, err);
    return status == SH_OK ? read_identity(store, seen, err) : status;
}

/* Zero where there is none. */
static ShStatus read_identity(ShStore *store, ShUuid *out, ShError *err)
{
    ShBuf *bytes = NULL;
    char text[BODY_BYTES] = "";
    *out = (ShUuid){{0}};
    ShStatus status = sh_store_get(store, KEY, 0, sizeof text - 1, &bytes, err);
    if (status == SH_NOT_FOUND) {
        sh_error_clear(err);
        return SH_OK;
    }
    if (status != SH_OK)
        return status;
    memcpy(text, bytes->data, bytes->length);
    sh_buf_unref(bytes);
    text[strcspn(text, "\n")] = '\0';
    if (strncmp(text, FIRST, strlen(FIRST)) != 0 || sh_uuid_parse(text + strlen(FIRST), out, NULL) != SH_OK)
        return sh_fail(err, SH_CORRUPT, "%s: " KEY " does not say which store it is",
                       sh_store_describe(store));
    return SH_OK;
}

static ShStatus put_identity(ShStore *store, ShUuid *out, ShError *err)
{
    char id[SH_UUID_TEXT_BYTES];
    char body[BODY_BYTES];
    ShStatus status = sh_uuid_random(out, err);
    if (status != SH_OK)
        return status;
    sh_uuid_format(out, id);
    int length = snprintf(body, sizeof body, FIRST "%s\n", id);
    struct iovec piece = {.iov_base = body, .iov_len = (size_t)length};
    status = sh_store_put(store, KEY, &piece, 1, piece.iov_len, err);
    if (status != SH_EXISTS)
        return status;
    sh_error_clear(err); /* another agent was quicker */
    return read_identity(store, out, err);
}

static ShStatus compare(const ShPgStore *known, const ShUuid *seen, const ShStore *store, ShError *err)
{
    char ours[SH_UUID_TEXT_BYTES] = "without a number", theirs[SH_UUID_TEXT_BYTES];
    if (sh_uuid_is_zero(&known->id) || sh_uuid_equal(&known->id, seen))
        return SH_OK;
    sh_uuid_format(&known->id, theirs);
    if (!sh_uuid_is_zero(seen))
        sh_uuid_format(seen, ours);
    return sh_fail(
        err, SH_INVALID,
        "%s is not the cluster's store: it is %s (" KEY "), and the cluster's is %s, first seen as %s; "
        "look at store_dir, s3_endpoint, s3_bucket and s3_prefix. If that one was mistaken, or lost "
        "its " KEY ": stop all agents, and SELECT streamhouse.forget_store()",
        sh_store_describe(store), ours, theirs, known->place);
}
