#include "agent/log/snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/snapshot_manifest.h"
#include "core/codec.h"
#include "core/crc32c.h"

/* Reading a large table takes its time, and a statement that is broken off is all in vain. */
#define PG_TIMEOUT_MS 300000
#define OLD_MAX       256 /* objects deleted in one round */

typedef struct Writer {
    ShEngine *engine;
    int64_t number;
    ShSnapshotManifest manifest;
    uint8_t *part; /* SH_SNAPSHOT_PART_BYTES, not yet stored */
    size_t part_bytes;
    ShScratch compressed;
    uint64_t stored_bytes;
} Writer;

typedef struct Old {
    int64_t keep_from;
    char keys[OLD_MAX][SH_SNAPSHOT_KEY_BYTES];
    size_t count;
} Old;

static ShStatus write_snapshot(ShEngine *engine, int64_t number, uint64_t *stored_bytes, ShError *err);
static void set_pg(ShEngine *engine, ShPg *pg);
static ShStatus take(void *arg, const char *bytes, size_t count, ShError *err);
static ShStatus store_part(Writer *writer, ShError *err);
static ShStatus store_manifest(Writer *writer, ShError *err);
static ShStatus delete_old(ShEngine *engine, int64_t keep_from, ShError *err);
static bool on_listed(void *arg, const char *key, uint64_t bytes);

ShStatus sh_snapshot_renew(ShEngine *engine, ShError *err)
{
    ShGarbage *garbage = &engine->garbage;
    int64_t number;
    uint64_t bytes = 0;
    int64_t keep_from = 0;
    int64_t began_ms = sh_clock_now_ms();
    ShStatus status = sh_pg_snapshot_claim(garbage->pg, engine->registered.incarnation, &number, err);
    if (status != SH_OK || number == 0)
        return status;
    status = write_snapshot(engine, number, &bytes, err);
    if (status == SH_EXISTS) {
        /* Left behind by a database that was rebuilt from an older one: the next number is free, or the one
         * after. */
        sh_log_warn("snapshot_number_taken", "number=%" PRId64, number);
        sh_error_clear(err);
        return SH_OK;
    }
    if (status == SH_OK)
        status = sh_pg_snapshot_done(garbage->pg, engine->registered.incarnation, number, bytes, &keep_from,
                                     err);
    if (status != SH_OK)
        return status;
    sh_metric_add(garbage->snapshots, 1);
    sh_metric_set(garbage->snapshot_bytes, (int64_t)bytes);
    sh_log_info("snapshot_written", "number=%" PRId64 " bytes=%" PRIu64 " ms=%" PRId64, number, bytes,
                sh_clock_now_ms() - began_ms);
    return delete_old(engine, keep_from, err);
}

static ShStatus write_snapshot(ShEngine *engine, int64_t number, uint64_t *stored_bytes, ShError *err)
{
    Writer writer = {.engine = engine, .number = number, .part = malloc(SH_SNAPSHOT_PART_BYTES)};
    ShPg *pg = NULL;
    ShStatus status = writer.part != NULL ? sh_snapshot_manifest_init(&writer.manifest, err)
                                          : sh_fail(err, SH_NO_MEMORY, "no memory for a part of a snapshot");
    if (status == SH_OK)
        status = sh_pg_new(engine->config->postgres, "streamhouse-agent snapshot", PG_TIMEOUT_MS, &pg, err);
    if (status == SH_OK) {
        set_pg(engine, pg);
        status = sh_pg_snapshot_read(pg, &writer.manifest.origin, writer.manifest.sections,
                                     &writer.manifest.section_count, take, &writer, err);
    }
    if (status == SH_OK && writer.part_bytes > 0)
        status = store_part(&writer, err);
    if (status == SH_OK)
        status = store_manifest(&writer, err);
    *stored_bytes = writer.stored_bytes;
    set_pg(engine, NULL);
    sh_pg_free(pg);
    sh_snapshot_manifest_free(&writer.manifest);
    sh_scratch_free(&writer.compressed);
    free(writer.part);
    return status;
}

static void set_pg(ShEngine *engine, ShPg *pg)
{
    pthread_mutex_lock(&engine->garbage.lock);
    engine->garbage.snapshot_pg = pg;
    pthread_mutex_unlock(&engine->garbage.lock);
}

static ShStatus take(void *arg, const char *bytes, size_t count, ShError *err)
{
    Writer *writer = arg;
    while (count > 0) {
        size_t room = SH_SNAPSHOT_PART_BYTES - writer->part_bytes;
        size_t taken = count < room ? count : room;
        memcpy(writer->part + writer->part_bytes, bytes, taken);
        writer->part_bytes += taken;
        bytes += taken;
        count -= taken;
        ShStatus status = SH_OK;
        if (writer->part_bytes == SH_SNAPSHOT_PART_BYTES)
            status = store_part(writer, err);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

static ShStatus store_part(Writer *writer, ShError *err)
{
    ShEngine *engine = writer->engine;
    if (atomic_load(&engine->stopping) || atomic_load(&engine->draining))
        return sh_fail(err, SH_UNAVAILABLE, "the agent is stopping");
    writer->compressed.length = 0;
    ShStatus status = sh_codec_compress(SH_CODEC_ZSTD, writer->part, writer->part_bytes, &writer->compressed,
                                        err);
    if (status != SH_OK)
        return status;
    char key[SH_SNAPSHOT_KEY_BYTES];
    sh_snapshot_part_key(key, writer->number, writer->manifest.part_count);
    struct iovec piece = {.iov_base = writer->compressed.data, .iov_len = writer->compressed.length};
    ShSnapshotPart part = {.bytes = writer->part_bytes,
                           .stored_bytes = piece.iov_len,
                           .crc = sh_crc32c(piece.iov_base, piece.iov_len)};
    status = sh_store_put(engine->store, key, &piece, 1, piece.iov_len, err);
    if (status == SH_OK)
        status = sh_snapshot_manifest_add_part(&writer->manifest, &part, err);
    if (status == SH_OK)
        status = sh_garbage_renew_marker(engine, err);
    writer->stored_bytes += piece.iov_len;
    writer->part_bytes = 0;
    return status;
}

static ShStatus store_manifest(Writer *writer, ShError *err)
{
    char key[SH_SNAPSHOT_KEY_BYTES];
    char *text = NULL;
    size_t length = 0;
    ShStatus status = sh_snapshot_manifest_write(&writer->manifest, &text, &length, err);
    if (status != SH_OK)
        return status;
    sh_snapshot_manifest_key(key, writer->number);
    struct iovec piece = {.iov_base = text, .iov_len = length};
    status = sh_store_put(writer->engine->store, key, &piece, 1, length, err);
    writer->stored_bytes += length;
    free(text);
    return status;
}

/* What was broken off goes too. A manifest goes after its parts; without them it is found out by whoever
 * reads it. */
static ShStatus delete_old(ShEngine *engine, int64_t keep_from, ShError *err)
{
    Old *old = calloc(1, sizeof *old);
    if (old == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to delete old snapshots");
    old->keep_from = keep_from;
    ShStatus status = sh_store_list(engine->store, SH_SNAPSHOT_PREFIX, on_listed, old, err);
    for (size_t i = 0; i < old->count && status == SH_OK && !atomic_load(&engine->stopping); i++)
        status = sh_store_delete(engine->store, old->keys[i], err);
    free(old);
    return status;
}

static bool on_listed(void *arg, const char *key, uint64_t bytes)
{
    (void)bytes;
    Old *old = arg;
    bool is_manifest;
    int64_t number = sh_snapshot_number(key, &is_manifest);
    if (number > 0 && number < old->keep_from && strlen(key) < SH_SNAPSHOT_KEY_BYTES)
        strcpy(old->keys[old->count++], key);
    return old->count < OLD_MAX;
}
