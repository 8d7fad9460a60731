/*
 * snapshot_manifest.h - the text object that says what a snapshot of the index consists of.
 *
 *   streamhouse snapshot 1                       the format's version
 *   origin <cluster> <term> <extension version> <taken at>
 *   table <bytes> <name> <columns>               or sequence; in the order of the stream
 *   part <bytes> <stored bytes> <crc32c>         in the order of the stream; the CRC is of what is stored
 *   end <crc32c>                                 of all the lines above
 *
 * A snapshot without a manifest that ends so is none: it is written last. Lines end with a line feed.
 * docs/internals/ snapshot.md says where the objects stand.
 */
#ifndef SH_AGENT_LOG_SNAPSHOT_MANIFEST_H
#define SH_AGENT_LOG_SNAPSHOT_MANIFEST_H

#include "agent/pg/pg_snapshot.h"
#include "core/bytes.h"

#define SH_SNAPSHOT_PREFIX     "snapshot/"
#define SH_SNAPSHOT_KEY_BYTES  64
#define SH_SNAPSHOT_PART_BYTES (8u << 20) /* of the stream in one part, before compression */
#define SH_SNAPSHOT_PARTS_MAX  100000

typedef struct ShSnapshotPart {
    uint64_t bytes;        /* of the stream */
    uint64_t stored_bytes; /* compressed, the size of the object */
    uint32_t crc;
} ShSnapshotPart;

/* Zero-initialise it; sh_snapshot_manifest_free releases what it holds. */
typedef struct ShSnapshotManifest {
    ShPgOrigin origin;
    ShPgSection *sections;
    size_t section_count;
    ShSnapshotPart *parts;
    size_t part_count;
    size_t part_capacity;
} ShSnapshotManifest;

void sh_snapshot_manifest_free(ShSnapshotManifest *manifest);

/* Room for SH_SNAPSHOT_SECTIONS_MAX sections. */
ShStatus sh_snapshot_manifest_init(ShSnapshotManifest *manifest, ShError *err) SH_MUST_CHECK;
ShStatus sh_snapshot_manifest_add_part(ShSnapshotManifest *manifest, const ShSnapshotPart *part,
                                       ShError *err) SH_MUST_CHECK;

/* The text; free it with free(). */
ShStatus sh_snapshot_manifest_write(const ShSnapshotManifest *manifest, char **out, size_t *length,
                                    ShError *err) SH_MUST_CHECK;

/* Read a manifest of foreign bytes into a zero-initialised `out`, freed by the caller also after a failure.
 * SH_CORRUPT names the line; SH_UNSUPPORTED: a later format. */
ShStatus sh_snapshot_manifest_parse(const char *text, size_t length, ShSnapshotManifest *out,
                                    ShError *err) SH_MUST_CHECK;

/* "snapshot/<number>/manifest", and "snapshot/<number>/<part>.part". */
void sh_snapshot_manifest_key(char key[SH_SNAPSHOT_KEY_BYTES], int64_t number);
void sh_snapshot_part_key(char key[SH_SNAPSHOT_KEY_BYTES], int64_t number, size_t part);
/* The number in a key, 0 when it is no snapshot's. `*is_manifest` tells which of the two it is. */
int64_t sh_snapshot_number(const char *key, bool *is_manifest);

#endif
