/*
 * fake_pg_present.h - the part of fake_pg.h that is about a new term: no engine of these tests is awaited by
 * one, `fake_term` says whether its number is to be taken, and `fake_store` which store is the cluster's.
 */
#ifndef TESTS_LOG_FAKE_PG_PRESENT_H
#define TESTS_LOG_FAKE_PG_PRESENT_H

#include <stdio.h>

#include "agent/pg/pg_present.h"

static struct {
    ShPgTerm term;  /* to take; zero: none */
    int64_t others; /* told of the store; -1: nothing was told */
} fake_term = {.others = -1};

ShStatus sh_pg_term_to_take(ShPg *pg, int64_t incarnation, ShPgTerm *out, ShError *err)
{
    (void)pg, (void)incarnation, (void)err;
    *out = fake_term.term;
    return SH_OK;
}

ShStatus sh_pg_term_taken(ShPg *pg, int64_t incarnation, int64_t others, bool *is_ours, ShError *err)
{
    (void)pg, (void)incarnation, (void)err;
    fake_term.others = others;
    *is_ours = others < fake_term.term.number;
    return SH_OK;
}

ShStatus sh_pg_store(ShPg *pg, const ShUuid *seen, const char *place, ShPgStore *out, ShError *err)
{
    (void)pg, (void)err;
    if (seen != NULL && sh_uuid_is_zero(&fake_store.known.id)) {
        fake_store.known.id = *seen;
        snprintf(fake_store.known.place, sizeof fake_store.known.place, "%s", place);
    }
    fake_store.asked_only = seen == NULL;
    *out = fake_store.known;
    return SH_OK;
}

void sh_pg_guard(ShPg *pg, int64_t incarnation, atomic_int_fast64_t *calls)
{
    (void)pg, (void)incarnation, (void)calls;
}

ShStatus sh_pg_awaited(ShPg *pg, int64_t incarnation, bool *awaited, ShError *err)
{
    (void)pg, (void)incarnation, (void)err;
    *awaited = false;
    return SH_OK;
}

ShStatus sh_pg_unknown_keys(ShPg *pg, int64_t incarnation, const char *const *keys, size_t count,
                            bool *unknown, ShError *err)
{
    (void)pg, (void)incarnation, (void)keys, (void)count, (void)unknown;
    return sh_fail(err, SH_INTERNAL, "nothing is to be presented");
}

ShStatus sh_pg_present_epoch(ShPg *pg, int64_t incarnation, const ShPgPartition *partition,
                             int64_t start_offset, ShPgEpoch *out, ShError *err)
{
    (void)pg, (void)incarnation, (void)partition, (void)start_offset, (void)out;
    return sh_fail(err, SH_INTERNAL, "nothing is to be presented");
}

ShStatus sh_pg_present_object(ShPg *pg, const ShPgPublish *object, const ShPgPresented *presented,
                              bool *waits, ShError *err)
{
    (void)pg, (void)object, (void)presented, (void)waits;
    return sh_fail(err, SH_INTERNAL, "nothing is to be presented");
}

ShStatus sh_pg_next_twice(ShPg *pg, int64_t incarnation, ShPgTwice *out, bool *found, ShError *err)
{
    (void)pg, (void)incarnation, (void)out, (void)found;
    return sh_fail(err, SH_INTERNAL, "nothing is to be presented");
}

ShStatus sh_pg_void_twice(ShPg *pg, int64_t incarnation, const ShPgTwice *twice, const ShPgPiece *pieces,
                          size_t count, ShError *err)
{
    (void)pg, (void)incarnation, (void)twice, (void)pieces, (void)count;
    return sh_fail(err, SH_INTERNAL, "nothing is to be presented");
}

ShStatus sh_pg_presented(ShPg *pg, int64_t incarnation, int64_t unreadable, int64_t *unresolved, ShError *err)
{
    (void)pg, (void)incarnation, (void)unreadable, (void)unresolved;
    return sh_fail(err, SH_INTERNAL, "nothing is to be presented");
}

#endif
