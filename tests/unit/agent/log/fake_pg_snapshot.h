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
    int64_t keep_from;
    int done;
    uint64_t bytes;
} fake_snapshot;

ShStatus sh_pg_snapshot_claim(ShPg *pg, int64_t incarnation, int64_t *number, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *number = fake_snapshot.due;
    fake_snapshot.due = 0;
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
    fake_snapshot.done++;
    return fake_leave();
}

/* Byte i of the stream. */
static inline char fake_snapshot_byte(size_t i)
{
    return (char)('a' + i % 23 + i / 1000 % 3);
}

ShStatus sh_pg_snapshot_read(ShPg *pg, ShPgOrigin *origin, ShPgSection *sections, size_t *count,
                             ShPgStreamFn fn, void *arg, ShError *err)
{
    (void)pg;
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
