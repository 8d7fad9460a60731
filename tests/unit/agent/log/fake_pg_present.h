/*
 * fake_pg_present.h - the part of fake_pg.h that is about a new term: no engine of these tests is awaited by
 * one unless `fake_present` says so, `fake_term` says whether its number is to be taken, and `fake_store`
 * which store is the cluster's.
 */
#ifndef TESTS_LOG_FAKE_PG_PRESENT_H
#define TESTS_LOG_FAKE_PG_PRESENT_H

#include <inttypes.h>
#include <stdio.h>

#include "agent/pg/pg_present.h"

static struct {
    ShPgTerm term;  /* to take; zero: none */
    int64_t others; /* told of the store; -1: nothing was told */
} fake_term = {.others = -1};

#define FAKE_PRESENTED_MAX 64

/* An object as it was presented, by its first run. */
typedef struct FakePresented {
    int64_t publish_no; /* as its key says */
    int64_t first_offset;
    ShPgEpochOrigin origin;
    bool is_last;
    bool acknowledged;
    char writer[SH_AGENT_ID_BYTES];
} FakePresented;

/* Knows no object of the store. Of each partition it has the end: a run that begins above that is a gap. */
static struct {
    bool awaited;
    int64_t ends[FAKE_PARTITIONS];
    FakePresented calls[FAKE_PRESENTED_MAX];
    size_t count;
    int voids; /* runs that were placed as void */
} fake_present;

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
    *awaited = fake_present.awaited;
    return SH_OK;
}

ShStatus sh_pg_unknown_keys(ShPg *pg, int64_t incarnation, const char *const *keys, size_t count,
                            bool *unknown, ShError *err)
{
    (void)pg, (void)incarnation, (void)keys, (void)err;
    for (size_t i = 0; i < count; i++)
        unknown[i] = true;
    return SH_OK;
}

ShStatus sh_pg_present_epoch(ShPg *pg, int64_t incarnation, const ShPgPartition *partition,
                             int64_t start_offset, ShPgEpoch *out, ShError *err)
{
    (void)pg, (void)incarnation, (void)partition, (void)start_offset, (void)out;
    return sh_fail(err, SH_INTERNAL, "nothing is to be presented");
}

ShStatus sh_pg_present_object(ShPg *pg, const ShPgPublish *object, const ShPgPresented *presented,
                              bool *placed, bool *waits, ShError *err)
{
    (void)pg, (void)err;
    FakePresented call = {.first_offset = object->runs[0].first_offset,
                          .origin = presented->origins[0],
                          .is_last = presented->is_last,
                          .acknowledged = presented->acknowledged};
    snprintf(call.writer, sizeof call.writer, "%s", presented->writer_agent);
    if (fake_present.count == FAKE_PRESENTED_MAX ||
        sscanf(object->object_key, "%*[^/]/%*[^/]/%*[^/]/%" SCNd64, &call.publish_no) != 1)
        return sh_fail(err, SH_INTERNAL, "too much is presented");
    fake_present.calls[fake_present.count++] = call;
    *placed = *waits = false;
    int64_t ends[FAKE_PARTITIONS];
    memcpy(ends, fake_present.ends, sizeof ends);
    for (size_t i = 0; i < object->run_count; i++) {
        const ShPgRun *run = &object->runs[i];
        *waits |= run->first_offset > ends[run->partition];
        if (run->first_offset == ends[run->partition])
            ends[run->partition] += run->offset_count;
    }
    for (size_t i = 0; i < object->run_count && (presented->is_last || !*waits); i++) {
        const ShPgRun *run = &object->runs[i];
        int64_t *end = &fake_present.ends[run->partition];
        if (run->first_offset != *end)
            continue;
        *end += run->offset_count;
        fake_present.voids += run->is_void;
        *placed = true;
    }
    return SH_OK;
}

ShStatus sh_pg_next_twice(ShPg *pg, int64_t incarnation, ShPgTwice *out, bool *found, ShError *err)
{
    (void)pg, (void)incarnation, (void)out, (void)err;
    *found = false;
    return SH_OK;
}

ShStatus sh_pg_void_twice(ShPg *pg, int64_t incarnation, const ShPgTwice *twice, const ShPgPiece *pieces,
                          size_t count, ShError *err)
{
    (void)pg, (void)incarnation, (void)twice, (void)pieces, (void)count;
    return sh_fail(err, SH_INTERNAL, "nothing is to be presented");
}

ShStatus sh_pg_presented(ShPg *pg, int64_t incarnation, int64_t unreadable, int64_t *unresolved, ShError *err)
{
    (void)pg, (void)incarnation, (void)unreadable, (void)err;
    *unresolved = 0;
    return SH_OK;
}

#endif
