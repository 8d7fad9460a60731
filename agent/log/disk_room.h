/*
 * disk_room.h - an agent whose disk has no room for the write-ahead log can take no record of `wal` topics:
 * when that lasts, PostgreSQL is told, and others get its partitions until there is room again. It serves
 * readers and `object` topics meanwhile.
 */
#ifndef SH_AGENT_LOG_DISK_ROOM_H
#define SH_AGENT_LOG_DISK_ROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/log/engine.h"
#include "agent/pg/pg.h"

/* The control thread's. */
typedef struct ShDiskRoom {
    atomic_int_fast64_t patience_ms; /* how long it has to last; changed by tests */
    int64_t since_ms;                /* since when it was found so; 0: it was not */
    bool told;                       /* PostgreSQL knows */
} ShDiskRoom;

void sh_disk_room_init(ShDiskRoom *room);

/* Look, and tell PostgreSQL when it has lasted, or is over. A log that is full of what waits to be published
 * does not count: its files go when that is done, and nobody else could take partitions over before. */
ShStatus sh_disk_room_step(ShEngine *engine, ShPg *pg, ShError *err) SH_MUST_CHECK;

#endif
