#include "agent/log/rebuild.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/snapshot_manifest.h"
#include "agent/log/store_identity.h"
#include "agent/log/term.h"
#include "agent/store/store.h"
#include "core/codec.h"
#include "core/crc32c.h"

#define PG_TIMEOUT_MS  60000 /* to connect, and for what is short */
#define MANIFEST_BYTES (16u << 20)
#define TERM_BITS      40 /* an incarnation's number begins with its term */

typedef struct Rebuild {
    FILE *out;
    ShStore *store;
    ShPg *pg;
    int64_t *numbers; /* of snapshots with a manifest, ascending */
    size_t number_count;
    size_t number_capacity;
    bool short_of_memory;
    int64_t term_above; /* the highest term that anything in the store is of */
} Rebuild;

/* The stream of one snapshot. */
typedef struct Reader {
    ShStore *store;
    int64_t number;
    const ShSnapshotManifest *manifest;
    size_t next_part;
    ShScratch part;
    size_t at; /* in it */
} Reader;

static ShStatus look_through_store(Rebuild *rebuild, ShError *err);
static bool on_listed(void *arg, const char *key, uint64_t bytes);
static bool add_number(Rebuild *rebuild, int64_t number);
static ShStatus find_and_fill(Rebuild *rebuild, ShError *err);
static ShStatus fill(Rebuild *rebuild, int64_t number, ShError *err);
static ShStatus load_manifest(ShStore *store, int64_t number, ShSnapshotManifest *out, ShError *err);
static ShStatus give(void *arg, size_t max, const char **bytes, size_t *count, ShError *err);
static ShStatus load_part(Reader *reader, ShError *err);

ShStatus sh_rebuild(const ShConfig *config, FILE *out, ShError *err)
{
    Rebuild rebuild = {.out = out};
    ShStatus status = sh_store_open(config, &rebuild.store, err);
    if (status == SH_OK)
        status = sh_pg_new(config->postgres, "streamhouse-agent rebuild", PG_TIMEOUT_MS, &rebuild.pg, err);
    if (status == SH_OK)
        status = sh_store_identity_check(rebuild.store, rebuild.pg, err);
    if (status == SH_OK)
        status = look_through_store(&rebuild, err);
    if (status == SH_OK)
        status = find_and_fill(&rebuild, err);
    if (status == SH_OK)
        status = sh_store_identity_settle(rebuild.store, rebuild.pg, err);
    free(rebuild.numbers);
    sh_pg_free(rebuild.pg);
    sh_store_close(rebuild.store);
    return status;
}

/* One listing of the whole store: which snapshots there are, and the last term. */
static ShStatus look_through_store(Rebuild *rebuild, ShError *err)
{
    ShStatus status = sh_store_list(rebuild->store, "", on_listed, rebuild, err);
    if (status == SH_OK && rebuild->short_of_memory)
        status = sh_fail(err, SH_NO_MEMORY, "no memory for the store's snapshots");
    if (status == SH_OK && rebuild->number_count == 0)
        status = sh_fail(err, SH_NOT_FOUND,
                         "%s holds no snapshot of the index: look at the setting of the store and its prefix",
                         sh_store_describe(rebuild->store));
    return status;
}

static bool on_listed(void *arg, const char *key, uint64_t bytes)
{
    (void)bytes;
    Rebuild *rebuild = arg;
    bool is_manifest;
    int64_t number = sh_snapshot_number(key, &is_manifest);
    if (is_manifest)
        return add_number(rebuild, number);
    /* A term may have no object yet, when what was acknowledged in it is in write-ahead logs alone. */
    ShUuid nonce;
    int64_t term = sh_term_of_key(key, &nonce);
    if (term > rebuild->term_above)
        rebuild->term_above = term;
    int64_t incarnation;
    /* "<two digits>/<agent>/<incarnation>/<object>" */
    if (sscanf(key, "%*2[0-9a-f]/%*[^/]/%18" SCNd64 "/", &incarnation) == 1 &&
        incarnation >> TERM_BITS > rebuild->term_above)
        rebuild->term_above = incarnation >> TERM_BITS;
    return true;
}

static bool add_number(Rebuild *rebuild, int64_t number)
{
    if (rebuild->number_count == rebuild->number_capacity) {
        size_t capacity = rebuild->number_capacity == 0 ? 16 : 2 * rebuild->number_capacity;
        int64_t *grown = reallocarray(rebuild->numbers, capacity, sizeof *grown);
        rebuild->short_of_memory = grown == NULL;
        if (grown == NULL)
            return false;
        rebuild->numbers = grown;
        rebuild->number_capacity = capacity;
    }
    rebuild->numbers[rebuild->number_count++] = number; /* keys come in order */
    return true;
}

static ShStatus find_and_fill(Rebuild *rebuild, ShError *err)
{
    ShStatus status = SH_OK;
    for (size_t i = rebuild->number_count; i-- > 0;) {
        sh_error_clear(err);
        status = fill(rebuild, rebuild->numbers[i], err);
        /* What is wrong with the database is so for each of them. */
        if (status != SH_CORRUPT && status != SH_NOT_FOUND)
            return status;
        fprintf(rebuild->out, "damaged snapshot=%" PRId64 " reason=\"%s\"\n", rebuild->numbers[i],
                err->message);
    }
    return sh_fail(err, SH_CORRUPT, "none of the %zu snapshots in the store is whole: nothing was changed",
                   rebuild->number_count);
}

static ShStatus fill(Rebuild *rebuild, int64_t number, ShError *err)
{
    ShSnapshotManifest manifest = {0};
    Reader reader = {.store = rebuild->store, .number = number, .manifest = &manifest};
    int64_t term = 0;
    ShStatus status = load_manifest(rebuild->store, number, &manifest, err);
    if (status == SH_OK && manifest.origin.term > rebuild->term_above)
        rebuild->term_above = manifest.origin.term;
    if (status == SH_OK)
        status = sh_pg_rebuild(rebuild->pg, number, rebuild->term_above, manifest.sections,
                               manifest.section_count, give, &reader, &term, err);
    if (status == SH_OK) {
        uint64_t bytes = 0;
        for (size_t i = 0; i < manifest.section_count; i++)
            bytes += manifest.sections[i].bytes;
        fprintf(rebuild->out,
                "rebuilt snapshot=%" PRId64 " taken_at=%s tables=%zu bytes=%" PRIu64 " term=%" PRId64 "\n",
                number, manifest.origin.taken_at, manifest.section_count, bytes, term);
    }
    sh_scratch_free(&reader.part);
    sh_snapshot_manifest_free(&manifest);
    return status;
}

static ShStatus load_manifest(ShStore *store, int64_t number, ShSnapshotManifest *out, ShError *err)
{
    char key[SH_SNAPSHOT_KEY_BYTES];
    ShBuf *bytes = NULL;
    sh_snapshot_manifest_key(key, number);
    ShStatus status = sh_store_get(store, key, 0, MANIFEST_BYTES, &bytes, err);
    if (status == SH_OK)
        status = sh_snapshot_manifest_parse((const char *)bytes->data, bytes->length, out, err);
    sh_buf_unref(bytes);
    return status;
}

static ShStatus give(void *arg, size_t max, const char **bytes, size_t *count, ShError *err)
{
    Reader *reader = arg;
    if (reader->at == reader->part.length) {
        ShStatus status = load_part(reader, err);
        if (status != SH_OK)
            return status;
    }
    size_t left = reader->part.length - reader->at;
    *bytes = (const char *)reader->part.data + reader->at;
    *count = left < max ? left : max;
    reader->at += *count;
    return SH_OK;
}

static ShStatus load_part(Reader *reader, ShError *err)
{
    if (reader->next_part == reader->manifest->part_count)
        return sh_fail(err, SH_CORRUPT, "snapshot %" PRId64 " ends before its tables do", reader->number);
    const ShSnapshotPart *part = &reader->manifest->parts[reader->next_part];
    char key[SH_SNAPSHOT_KEY_BYTES];
    ShBuf *bytes = NULL;
    sh_snapshot_part_key(key, reader->number, reader->next_part);
    ShStatus status = sh_store_get(reader->store, key, 0, part->stored_bytes, &bytes, err);
    if (status == SH_OK &&
        (bytes->length != part->stored_bytes || sh_crc32c(bytes->data, bytes->length) != part->crc))
        status = sh_fail(err, SH_CORRUPT, "%s does not match its checksum", key);
    if (status == SH_OK)
        status = sh_codec_decompress(SH_CODEC_ZSTD, bytes->data, bytes->length, part->bytes, &reader->part,
                                     err);
    if (status == SH_OK && reader->part.length != part->bytes)
        status = sh_fail(err, SH_CORRUPT, "%s holds %zu bytes, not %" PRIu64, key, reader->part.length,
                         part->bytes);
    sh_buf_unref(bytes);
    reader->at = 0;
    reader->next_part++;
    return status;
}
