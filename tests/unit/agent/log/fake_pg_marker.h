/*
 * fake_pg_marker.h - the part of fake_pg.h that is about the markers in the store: `fake_marker` says what is
 * to be done, and tells what was found.
 */
#ifndef TESTS_LOG_FAKE_PG_MARKER_H
#define TESTS_LOG_FAKE_PG_MARKER_H

#include "agent/pg/pg_marker.h"

/* Guarded by fake.lock. */
static struct {
    bool due;
    ShPgMarkerStep step;
    bool refuse;       /* the confirmation */
    int looks;         /* calls of sh_pg_marker_next */
    ShPgMarkers found; /* told by it */
    int confirmations;
    int64_t confirmed; /* the number of the last one */
    ShPgMarkers after; /* told by it */
} fake_marker;

ShStatus sh_pg_marker_due(ShPg *pg, int64_t incarnation, bool *due, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *due = fake_marker.due;
    return fake_leave();
}

ShStatus sh_pg_marker_next(ShPg *pg, int64_t incarnation, const ShPgMarkers *found, ShPgMarkerStep *out,
                           ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake_marker.looks++;
    fake_marker.due = false;
    fake_marker.found = *found;
    *out = fake_marker.step;
    return fake_leave();
}

ShStatus sh_pg_marker_confirm(ShPg *pg, int64_t incarnation, int64_t number, const ShPgMarkers *found,
                              ShPgMarkerStep *out, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake_marker.confirmed = number;
    fake_marker.after = *found;
    fake_marker.confirmations++;
    *out = (ShPgMarkerStep){.action = fake_marker.refuse ? SH_MARKER_CONTEST : SH_MARKER_HELD,
                            .number = found->highest};
    return fake_leave();
}

#endif
