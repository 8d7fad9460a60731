/*
 * pg_marker.h - what the agent asks PostgreSQL about whose the store is: its identity, and the markers in it.
 *
 * Everything that pg.h says of connections, calls and errors holds here too.
 */
#ifndef SH_AGENT_PG_PG_MARKER_H
#define SH_AGENT_PG_PG_MARKER_H

#include "agent/pg/pg.h"

#define SH_MARKER_BODY_BYTES 200

#define SH_STORE_PLACE_BYTES 512

/* The store that is the cluster's. */
typedef struct ShPgStore {
    ShUuid id;                        /* zero: it has none yet */
    char place[SH_STORE_PLACE_BYTES]; /* where it was first seen */
} ShPgStore;

/* Ask for it; `seen`, the number that this agent's store has, becomes that of a cluster which has none. NULL:
 * only ask. Made before the agent registers. */
ShStatus sh_pg_store(ShPg *pg, const ShUuid *seen, const char *place, ShPgStore *out,
                     ShError *err) SH_MUST_CHECK;

/* What was found below the markers' prefix. */
typedef struct ShPgMarkers {
    int64_t highest;   /* number of the highest marker; 0: none */
    int64_t contested; /* the highest marker that was objected to; -1: none */
    /* of the highest one */
    ShUuid nonce;
    ShUuid cluster_id;
    int64_t term;
} ShPgMarkers;

typedef enum ShMarkerAction {
    SH_MARKER_NONE,
    SH_MARKER_PUT,       /* make the marker, unless there is one of this number */
    SH_MARKER_CONTEST,   /* object to it */
    SH_MARKER_CONTESTED, /* somebody else works with the store, and knows */
    SH_MARKER_HELD       /* the marker that was made counts */
} ShMarkerAction;

typedef struct ShPgMarkerStep {
    ShMarkerAction action;
    int64_t number;
    char body[SH_MARKER_BODY_BYTES]; /* of the marker to put; else who the other one is */
} ShPgMarkerStep;

/* Is this agent to look at the markers now? */
ShStatus sh_pg_marker_due(ShPg *pg, int64_t incarnation, bool *due, ShError *err) SH_MUST_CHECK;
/* What is to be done about what was found. */
ShStatus sh_pg_marker_next(ShPg *pg, int64_t incarnation, const ShPgMarkers *found, ShPgMarkerStep *out,
                           ShError *err) SH_MUST_CHECK;
/* Marker `made` was put; `found` is what is there now. */
ShStatus sh_pg_marker_confirm(ShPg *pg, int64_t incarnation, int64_t made, const ShPgMarkers *found,
                              ShPgMarkerStep *out, ShError *err) SH_MUST_CHECK;

#endif
