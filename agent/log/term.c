/*
 * term.c - takes the number of a new term in the store.
 *
 *   term/0000002-<nonce>   streamhouse term 2 <cluster> <nonce>
 *
 * A database that was restored counts its terms from where the backup was, and so does a copy. The nonce
 * tells two beginnings of one number apart, as do the keys, so none hides the other. Each is put first and
 * looks then: of two at least the later one sees both, and begins a higher term. The objects stay for ever.
 * docs/internals/terms.md has the argument.
 */
#include "agent/log/term.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/start_wait.h"
#include "agent/pg/pg_present.h"

#define PREFIX    "term/"
#define TERM_MAX  ((INT64_C(1) << 22) - 1) /* as many as there are ranges of offsets for */
#define KEY_BYTES 64

typedef struct Look {
    const ShPgTerm *term;
    int64_t others; /* the highest number of another beginning */
} Look;

static ShStatus put_and_look(ShEngine *engine, Look *look, ShError *err);
static bool on_listed(void *arg, const char *key, uint64_t bytes);

ShStatus sh_term_take(ShEngine *engine, ShError *err)
{
    ShPg *pg = engine->control.pg;
    int64_t incarnation = engine->registered.incarnation;
    ShPgTerm term;
    ShStatus status = sh_pg_term_to_take(pg, incarnation, &term, err);
    if (status != SH_OK || term.number == 0)
        return status;
    Look look = {.term = &term};
    for (int attempt = 0; (status = put_and_look(engine, &look, err)) != SH_OK && err->retriable; attempt++) {
        sh_start_wait_note("store", err);
        if (!sh_engine_pause(engine, sh_engine_backoff_ms(attempt)))
            break;
        sh_error_clear(err);
    }
    sh_start_wait_over();
    bool is_ours = false;
    if (status == SH_OK)
        status = sh_pg_term_taken(pg, incarnation, look.others, &is_ours, err);
    if (status == SH_OK && !is_ours)
        status = sh_fail(err, SH_OUTDATED,
                         "the number %" PRId64 " was in use: the store knows of term %" PRId64
                         " of another beginning",
                         term.number, look.others);
    return status;
}

int64_t sh_term_of_key(const char *key, ShUuid *nonce)
{
    int64_t number;
    int length = 0;
    if (sscanf(key, PREFIX "%7" SCNd64 "-%n", &number, &length) != 1 || length == 0 || number < 1 ||
        number > TERM_MAX || sh_uuid_parse(key + length, nonce, NULL) != SH_OK)
        return 0;
    return number;
}

static ShStatus put_and_look(ShEngine *engine, Look *look, ShError *err)
{
    char key[KEY_BYTES];
    char nonce[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&look->term->nonce, nonce);
    snprintf(key, sizeof key, PREFIX "%07" PRId64 "-%s", look->term->number, nonce);
    struct iovec piece = {.iov_base = (void *)(uintptr_t)look->term->body,
                          .iov_len = strlen(look->term->body)};
    ShStatus status = sh_store_put(engine->store, key, &piece, 1, piece.iov_len, err);
    look->others = 0;
    return status == SH_OK ? sh_store_list(engine->store, PREFIX, on_listed, look, err) : status;
}

static bool on_listed(void *arg, const char *key, uint64_t bytes)
{
    (void)bytes;
    Look *look = arg;
    ShUuid nonce;
    int64_t number = sh_term_of_key(key, &nonce);
    if (number > look->others && !sh_uuid_equal(&nonce, &look->term->nonce))
        look->others = number;
    return true;
}
