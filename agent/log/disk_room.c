#include "agent/log/disk_room.h"

#include "agent/log/engine_internal.h"

/* As long as an agent that no client reaches is borne (agent/main.c). */
#define PATIENCE_MS 20000

static bool lasts(ShEngine *engine, bool lacks);

void sh_disk_room_init(ShDiskRoom *room)
{
    *room = (ShDiskRoom){0};
    atomic_init(&room->patience_ms, PATIENCE_MS);
}

ShStatus sh_disk_room_step(ShEngine *engine, ShPg *pg, ShError *err)
{
    ShDiskRoom *room = &engine->disk_room;
    char why[SH_ERROR_MESSAGE_BYTES] = "";
    bool lacks = sh_wal_lacks_room(engine->wal, why, sizeof why);
    if (lacks)
        sh_flush_now(engine); /* what is published makes room */
    bool tells = room->told ? lacks : lasts(engine, lacks);
    if (tells == room->told)
        return SH_OK;
    ShStatus status = sh_pg_lacks_room(pg, engine->registered.incarnation, tells, err);
    if (status != SH_OK)
        return status;
    room->told = tells;
    room->since_ms = 0;
    if (tells)
        sh_log_error("disk_full", "dir=\"%s\" ms=%lld reason=\"%s\"", engine->config->wal_dir,
                     (long long)atomic_load(&room->patience_ms), why);
    else
        sh_log_info("disk_has_room", "dir=\"%s\"", engine->config->wal_dir);
    return SH_OK;
}

static bool lasts(ShEngine *engine, bool lacks)
{
    ShDiskRoom *room = &engine->disk_room;
    int64_t now_ms = sh_clock_now_ms();
    if (!lacks || sh_wal_batches(engine->wal) > 0)
        room->since_ms = 0;
    else if (room->since_ms == 0)
        room->since_ms = now_ms;
    return room->since_ms != 0 && now_ms - room->since_ms >= atomic_load(&room->patience_ms);
}
