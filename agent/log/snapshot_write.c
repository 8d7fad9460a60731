/*
 * snapshot_write.c - one snapshot of the index: the tables as one stream, cut into parts, and the manifest
 * behind them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/engine_internal.h"
#include "agent/log/snapshot_manifest.h"
#include "agent/pg/pg_snapshot.h"
#include "core/codec.h"
#include "core/crc32c.h"

/* How long PostgreSQL may send nothing. How long the whole takes depends on the size of the index. */
#define PG_TIMEOUT_MS 300000
/* How often the claim, which holds for ten minutes, is renewed at least. */
#define RENEW_MS 60000
/* A part that the store does not take is put again so often. */
#define PUTS_MAX 6

typedef struct Writer {
    ShEngine *engine;
    int64_t number;
    int64_t renew_at_ms;
    ShSnapshotManifest manifest;
    uint8_t *part; /* SH_SNAPSHOT_PART_BYTES, not yet stored */
    size_t part_bytes;
    ShScratch compressed;
    uint64_t stored_bytes;
} Writer;

static ShStatus write_all(Writer *writer, ShError *err);
static ShStatus check_number(Writer *writer, ShError *err);
static void set_reader(ShEngine *engine, ShPg *pg);
static ShStatus take(void *arg, const char *bytes, size_t count, ShError *err);
static ShStatus renew(Writer *writer, ShError *err);
static ShStatus store_part(Writer *writer, ShError *err);
static ShStatus put(Writer *writer, const char *key, void *bytes, size_t length, ShError *err);
static ShStatus store_manifest(Writer *writer, ShError *err);
static void delete_parts(Writer *writer);
static bool is_leaving(ShEngine *engine);

ShStatus sh_snapshot_write(ShEngine *engine, int64_t number, uint64_t *stored_bytes, ShError *err)
{
    Writer writer = {.engine = engine, .number = number, .part = malloc(SH_SNAPSHOT_PART_BYTES)};
    ShStatus status = writer.part != NULL ? sh_snapshot_manifest_init(&writer.manifest, err)
                                          : sh_fail(err, SH_NO_MEMORY, "no memory for a part of a snapshot");
    if (status == SH_OK)
        status = check_number(&writer, err);
    if (status == SH_OK) {
        status = write_all(&writer, err);
        if (status != SH_OK)
            delete_parts(&writer);
    }
    *stored_bytes = writer.stored_bytes;
    sh_snapshot_manifest_free(&writer.manifest);
    sh_scratch_free(&writer.compressed);
    free(writer.part);
    return status;
}

static ShStatus write_all(Writer *writer, ShError *err)
{
    ShEngine *engine = writer->engine;
    ShPg *pg = NULL;
    char name[64];
    snprintf(name, sizeof name, "streamhouse-agent %.20s snapshot reader", engine->config->agent_id);
    ShStatus status = sh_pg_new(engine->config->postgres, name, PG_TIMEOUT_MS, &pg, err);
    if (status == SH_OK)
        status = renew(writer, err);
    if (status == SH_OK) {
        set_reader(engine, pg);
        status = sh_pg_snapshot_read(pg, &writer->manifest.origin, writer->manifest.sections,
                                     &writer->manifest.section_count, take, writer, err);
        set_reader(engine, NULL);
    }
    sh_pg_free(pg);
    if (status == SH_OK && writer->part_bytes > 0)
        status = store_part(writer, err);
    if (status == SH_OK)
        status = renew(writer, err);
    return status == SH_OK ? store_manifest(writer, err) : status;
}

/* One that is there is another database's, or what this one was rebuilt from: not a part of it is touched. */
static ShStatus check_number(Writer *writer, ShError *err)
{
    char key[SH_SNAPSHOT_KEY_BYTES];
    uint64_t bytes;
    sh_snapshot_manifest_key(key, writer->number);
    ShStatus status = sh_store_size(writer->engine->store, key, &bytes, err);
    if (status == SH_OK)
        return sh_fail(err, SH_EXISTS, "the store has a snapshot with this number, of an earlier history");
    if (status != SH_NOT_FOUND)
        return status;
    sh_error_clear(err);
    return SH_OK;
}

static void set_reader(ShEngine *engine, ShPg *pg)
{
    pthread_mutex_lock(&engine->snapshotter.lock);
    engine->snapshotter.reader = pg;
    if (pg != NULL && atomic_load(&engine->stopping))
        sh_pg_cancel(pg);
    pthread_mutex_unlock(&engine->snapshotter.lock);
}

static ShStatus take(void *arg, const char *bytes, size_t count, ShError *err)
{
    Writer *writer = arg;
    ShStatus status = sh_clock_now_ms() >= writer->renew_at_ms ? renew(writer, err) : SH_OK;
    while (count > 0 && status == SH_OK) {
        size_t room = SH_SNAPSHOT_PART_BYTES - writer->part_bytes;
        size_t taken = count < room ? count : room;
        memcpy(writer->part + writer->part_bytes, bytes, taken);
        writer->part_bytes += taken;
        bytes += taken;
        count -= taken;
        if (writer->part_bytes == SH_SNAPSHOT_PART_BYTES)
            status = store_part(writer, err);
    }
    return status;
}

static ShStatus renew(Writer *writer, ShError *err)
{
    ShEngine *engine = writer->engine;
    int64_t interval_ms = engine->config->garbage_interval_ms;
    bool held = false;
    if (is_leaving(engine))
        return sh_fail(err, SH_UNAVAILABLE, "the agent is stopping");
    writer->renew_at_ms = sh_clock_now_ms() + (interval_ms < RENEW_MS ? interval_ms : RENEW_MS);
    ShStatus status = sh_pg_snapshot_renew(engine->snapshotter.pg, engine->registered.incarnation,
                                           writer->number, &held, err);
    if (status == SH_UNAVAILABLE) {
        /* The claim holds for longer than until the next time; if it ends, another agent writes one too. */
        sh_error_clear(err);
        return SH_OK;
    }
    return status == SH_OK && !held
               ? sh_fail(err, SH_CANCELLED,
                         "it took longer than streamhouse.snapshot_hold, or another agent took over")
               : status;
}

static ShStatus store_part(Writer *writer, ShError *err)
{
    writer->compressed.length = 0;
    ShStatus status = sh_codec_compress(SH_CODEC_ZSTD, writer->part, writer->part_bytes, &writer->compressed,
                                        err);
    if (status != SH_OK)
        return status;
    char key[SH_SNAPSHOT_KEY_BYTES];
    sh_snapshot_part_key(key, writer->number, writer->manifest.part_count);
    ShSnapshotPart part = {.bytes = writer->part_bytes,
                           .stored_bytes = writer->compressed.length,
                           .crc = sh_crc32c(writer->compressed.data, writer->compressed.length)};
    status = put(writer, key, writer->compressed.data, writer->compressed.length, err);
    if (status == SH_OK)
        status = sh_snapshot_manifest_add_part(&writer->manifest, &part, err);
    writer->part_bytes = 0;
    return status;
}

static ShStatus put(Writer *writer, const char *key, void *bytes, size_t length, ShError *err)
{
    ShEngine *engine = writer->engine;
    struct iovec piece = {.iov_base = bytes, .iov_len = length};
    for (int i = 1;; i++) {
        ShStatus status = sh_fault_hit("snapshot.put")
                              ? sh_fail(err, SH_UNAVAILABLE, "fault point snapshot.put")
                              : sh_store_put(engine->store, key, &piece, 1, length, err);
        if (status == SH_OK)
            writer->stored_bytes += length;
        if (status == SH_OK || status == SH_EXISTS || i == PUTS_MAX || is_leaving(engine))
            return status;
        if (!sh_engine_pause(engine, sh_engine_backoff_ms(i)))
            return status;
        sh_error_clear(err);
    }
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
    status = put(writer, key, text, length, err);
    free(text);
    return status;
}

/* Those that were stored, and the manifest, which may be there although its put failed. The rest is deleted
 * with the next snapshot that is finished. */
static void delete_parts(Writer *writer)
{
    ShEngine *engine = writer->engine;
    char key[SH_SNAPSHOT_KEY_BYTES];
    sh_snapshot_manifest_key(key, writer->number);
    ShStatus status = sh_store_delete(engine->store, key, NULL);
    for (size_t i = 0; i < writer->manifest.part_count && status == SH_OK; i++) {
        if (atomic_load(&engine->stopping))
            return;
        sh_snapshot_part_key(key, writer->number, i);
        status = sh_store_delete(engine->store, key, NULL);
    }
}

static bool is_leaving(ShEngine *engine)
{
    return atomic_load(&engine->stopping) || atomic_load(&engine->draining);
}
