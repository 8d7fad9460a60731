/*
 * fake_pg_snapshot.h - the part of fake_pg.h that is about snapshots of the index: `fake_snapshot` says
 * whether one is due and what it holds, and tells what came of it.
 */
#ifndef TESTS_LOG_FAKE_PG_SNAPSHOT_H
#define TESTS_LOG_FAKE_PG_SNAPSHOT_H

#include "agent/pg/pg_snapshot.h"

/* Guarded by fake.lock. */
static struct {
    int64_t due;        /* the number of the next; 0: none */
    size_t table_bytes; /* of the stream */
    bool breaks_off;    /* the connection, in the middle */
    bool stands_still;  /* in the middle, until the test goes on */
    bool is_standing;
    bool is_lost;      /* the claim, when it is renewed */
    int answers_lost;  /* of so many calls that it is done, which take effect */
    int64_t keep_from; /* 0: it counts for nothing */
    int64_t give_up_below;
    int64_t given_up_below;
    int done;
    int renewed;
    int failed;
    char reason[128]; /* of the last failure */
    uint64_t bytes;
} fake_snapshot = {.keep_from = 1};

ShStatus sh_pg_snapshot_claim(ShPg *pg, int64_t incarnation, ShPgSnapshotClaim *out, ShError *err)
{
    (void)pg;
    *out = (ShPgSnapshotClaim){0};
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    out->give_up_below = fake_snapshot.give_up_below;
    if (out->give_up_below == 0) {
        out->number = fake_snapshot.due;
        fake_snapshot.due = 0;
    }
    return fake_leave();
}

ShStatus sh_pg_snapshot_renew(ShPg *pg, int64_t incarnation, int64_t number, bool *held, ShError *err)
{
    (void)pg;
    (void)number;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *held = !fake_snapshot.is_lost;
    fake_snapshot.renewed++;
    return fake_leave();
}

ShStatus sh_pg_snapshot_failed(ShPg *pg, int64_t incarnation, int64_t number, const char *reason,
                               ShError *err)
{
    (void)pg;
    (void)number;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake_snapshot.failed++;
    snprintf(fake_snapshot.reason, sizeof fake_snapshot.reason, "%s", reason);
    return fake_leave();
}

ShStatus sh_pg_snapshots_gone(ShPg *pg, int64_t incarnation, int64_t below, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake_snapshot.given_up_below = below;
    fake_snapshot.give_up_below = 0;
    return fake_leave();
}

ShStatus sh_pg_snapshot_done(ShPg *pg, int64_t incarnation, int64_t number, uint64_t bytes,
                             int64_t *keep_from, ShError *err)
{
    (void)pg;
    (void)number;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *keep_from = fake_snapshot.keep_from;
    fake_snapshot.bytes = bytes;
    if (fake_snapshot.answers_lost > 0) {
        fake_snapshot.answers_lost--;
        fake_leave();
        return sh_fail(err, SH_UNAVAILABLE, "the answer was lost");
    }
    fake_snapshot.done++;
    return fake_leave();
}

/* For as long as the test wants, or until somebody cancels. */
static ShStatus fake_stand_still(ShPg *pg, ShError *err)
{
    for (;;) {
        pthread_mutex_lock(&fake.lock);
        bool stands = fake_snapshot.stands_still;
        fake_snapshot.is_standing = stands;
        pthread_mutex_unlock(&fake.lock);
        if (!stands)
            return SH_OK;
        pthread_mutex_lock(&pg->lock);
        if (!pg->woken)
            sh_cond_wait_ms(&pg->cond, &pg->lock, 5);
        bool cancelled = pg->woken;
        pthread_mutex_unlock(&pg->lock);
        if (cancelled)
            return sh_fail(err, SH_UNAVAILABLE, "the fake is broken off");
    }
}

/* Byte i of the stream. */
static inline char fake_snapshot_byte(size_t i)
{
    return (char)('a' + i % 23 + i / 1000 % 3);
}

ShStatus sh_pg_snapshot_read(ShPg *pg, ShPgOrigin *origin, ShPgSection *sections, size_t *count,
                             ShPgStreamFn fn, void *arg, ShError *err)
{
    ShStatus status = fake_enter(0, err);
    if (status != SH_OK)
        return status;
    size_t bytes = fake_snapshot.table_bytes;
    bool breaks_off = fake_snapshot.breaks_off;
    status = fake_leave();
    *origin = (ShPgOrigin){.term = 3, .version = "0.1.0", .taken_at = "2026-01-01T00:00:00.000Z"};
    sections[0] = (ShPgSection){.name = "streamhouse.topic", .columns = "topic_id,name", .bytes = bytes};
    *count = 1;
    char row[1001];
    for (size_t at = 0; at < bytes && status == SH_OK;) {
        size_t length = bytes - at < sizeof row ? bytes - at : sizeof row;
        if (at >= bytes / 2 && at < bytes / 2 + sizeof row)
            status = fake_stand_still(pg, err);
        if (status != SH_OK)
            return status;
        if (breaks_off && at >= bytes / 2)
            return sh_fail(err, SH_UNAVAILABLE, "the fake breaks off");
        for (size_t i = 0; i < length; i++)
            row[i] = fake_snapshot_byte(at + i);
        status = fn(arg, row, length, err);
        at += length;
    }
    return status;
}

#endif
