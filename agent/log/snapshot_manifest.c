#include "agent/log/snapshot_manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/crc32c.h"

#define FIRST_LINE "streamhouse snapshot 1"
#define LINE_MAX   (SH_SNAPSHOT_NAME_BYTES + SH_SNAPSHOT_COLUMNS_BYTES + 64)

static ShStatus parse_line(const char *line, size_t number, ShSnapshotManifest *out, ShError *err);
static bool parse_section(const char *line, ShSnapshotManifest *out);
static bool parse_origin(const char *line, ShPgOrigin *out);
static ShStatus check_sums(const ShSnapshotManifest *manifest, ShError *err);

ShStatus sh_snapshot_manifest_init(ShSnapshotManifest *manifest, ShError *err)
{
    *manifest = (ShSnapshotManifest){
        .sections = calloc(SH_SNAPSHOT_SECTIONS_MAX, sizeof *manifest->sections)};
    if (manifest->sections == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a snapshot's tables");
    return SH_OK;
}

void sh_snapshot_manifest_free(ShSnapshotManifest *manifest)
{
    free(manifest->sections);
    free(manifest->parts);
    *manifest = (ShSnapshotManifest){0};
}

ShStatus sh_snapshot_manifest_add_part(ShSnapshotManifest *manifest, const ShSnapshotPart *part, ShError *err)
{
    if (manifest->part_count == SH_SNAPSHOT_PARTS_MAX)
        return sh_fail(err, SH_TOO_LARGE, "a snapshot of more than %d parts", SH_SNAPSHOT_PARTS_MAX);
    if (manifest->part_count == manifest->part_capacity) {
        size_t capacity = manifest->part_capacity == 0 ? 16 : 2 * manifest->part_capacity;
        ShSnapshotPart *grown = reallocarray(manifest->parts, capacity, sizeof *grown);
        if (grown == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for %zu parts of a snapshot", capacity);
        manifest->parts = grown;
        manifest->part_capacity = capacity;
    }
    manifest->parts[manifest->part_count++] = *part;
    return SH_OK;
}

ShStatus sh_snapshot_manifest_write(const ShSnapshotManifest *manifest, char **out, size_t *length,
                                    ShError *err)
{
    char cluster_id[SH_UUID_TEXT_BYTES];
    char *text = NULL;
    FILE *file = open_memstream(&text, length);
    if (file == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a snapshot's manifest");
    sh_uuid_format(&manifest->origin.cluster_id, cluster_id);
    fprintf(file, FIRST_LINE "\norigin %s %" PRId64 " %s %s\n", cluster_id, manifest->origin.term,
            manifest->origin.version, manifest->origin.taken_at);
    for (size_t i = 0; i < manifest->section_count; i++) {
        const ShPgSection *section = &manifest->sections[i];
        fprintf(file, "%s %" PRIu64 " %s %s\n", section->is_sequence ? "sequence" : "table", section->bytes,
                section->name, section->columns);
    }
    for (size_t i = 0; i < manifest->part_count; i++)
        fprintf(file, "part %" PRIu64 " %" PRIu64 " %08x\n", manifest->parts[i].bytes,
                manifest->parts[i].stored_bytes, manifest->parts[i].crc);
    fflush(file);
    fprintf(file, "end %08x\n", text == NULL ? 0 : sh_crc32c(text, *length));
    if (fclose(file) != 0) {
        free(text);
        return sh_fail(err, SH_NO_MEMORY, "no memory for a snapshot's manifest");
    }
    *out = text;
    return SH_OK;
}

ShStatus sh_snapshot_manifest_parse(const char *text, size_t length, ShSnapshotManifest *out, ShError *err)
{
    ShStatus status = sh_snapshot_manifest_init(out, err);
    size_t at = 0;
    for (size_t number = 1; status == SH_OK; number++) {
        char line[LINE_MAX];
        const char *end = memchr(text + at, '\n', length - at);
        size_t bytes = end == NULL ? 0 : (size_t)(end - (text + at));
        if (end == NULL || bytes >= sizeof line || memchr(text + at, '\0', bytes) != NULL)
            return sh_fail(err, SH_CORRUPT, "line %zu of the manifest is cut off or too long", number);
        memcpy(line, text + at, bytes);
        line[bytes] = '\0';
        unsigned crc;
        if (sscanf(line, "end %8x", &crc) == 1) {
            if (crc != sh_crc32c(text, at) || at + bytes + 1 != length)
                return sh_fail(err, SH_CORRUPT, "the manifest does not match its checksum");
            return check_sums(out, err);
        }
        status = parse_line(line, number, out, err);
        at += bytes + 1;
    }
    return status;
}

static ShStatus parse_line(const char *line, size_t number, ShSnapshotManifest *out, ShError *err)
{
    ShSnapshotPart part;
    int end = 0;
    if (number == 1) {
        if (strcmp(line, FIRST_LINE) == 0)
            return SH_OK;
        return sh_fail(err, strncmp(line, "streamhouse snapshot ", 21) == 0 ? SH_UNSUPPORTED : SH_CORRUPT,
                       "the manifest begins with \"%.60s\", not with \"" FIRST_LINE "\"", line);
    }
    if (number == 2 ? parse_origin(line, &out->origin) : parse_section(line, out))
        return SH_OK;
    if (number > 2 &&
        sscanf(line, "part %19" SCNu64 " %19" SCNu64 " %8x%n", &part.bytes, &part.stored_bytes, &part.crc,
               &end) == 3 &&
        line[end] == '\0' && part.bytes > 0 && part.bytes <= SH_SNAPSHOT_PART_BYTES &&
        part.stored_bytes <= 2 * (uint64_t)SH_SNAPSHOT_PART_BYTES)
        return sh_snapshot_manifest_add_part(out, &part, err);
    return sh_fail(err, SH_CORRUPT, "line %zu of the manifest is not understood: \"%.60s\"", number, line);
}

static bool parse_origin(const char *line, ShPgOrigin *out)
{
    char cluster_id[SH_UUID_TEXT_BYTES];
    int end = 0;
    return sscanf(line, "origin %36s %19" SCNd64 " %31s %39s%n", cluster_id, &out->term, out->version,
                  out->taken_at, &end) == 4 &&
           line[end] == '\0' && out->term > 0 && sh_uuid_parse(cluster_id, &out->cluster_id, NULL) == SH_OK;
}

static bool parse_section(const char *line, ShSnapshotManifest *out)
{
    char kind[9];
    ShPgSection *section = &out->sections[out->section_count];
    int end = 0;
    if (out->section_count == SH_SNAPSHOT_SECTIONS_MAX || out->part_count > 0)
        return false;
    _Static_assert(SH_SNAPSHOT_NAME_BYTES == 128 && SH_SNAPSHOT_COLUMNS_BYTES == 1024, "as read here");
    if (sscanf(line, "%8s %19" SCNu64 " %127s %1023s%n", kind, &section->bytes, section->name,
               section->columns, &end) != 4 ||
        line[end] != '\0')
        return false;
    section->is_sequence = strcmp(kind, "sequence") == 0;
    bool is_known = section->is_sequence || strcmp(kind, "table") == 0;
    out->section_count += is_known;
    return is_known;
}

static ShStatus check_sums(const ShSnapshotManifest *manifest, ShError *err)
{
    uint64_t sections = 0, parts = 0;
    for (size_t i = 0; i < manifest->section_count; i++)
        if (__builtin_add_overflow(sections, manifest->sections[i].bytes, &sections))
            return sh_fail(err, SH_CORRUPT, "the manifest's tables are too large");
    for (size_t i = 0; i < manifest->part_count; i++)
        parts += manifest->parts[i].bytes;
    if (manifest->section_count == 0 || sections != parts)
        return sh_fail(err, SH_CORRUPT, "the manifest's tables have %" PRIu64 " bytes, its parts %" PRIu64,
                       sections, parts);
    return SH_OK;
}

void sh_snapshot_manifest_key(char key[SH_SNAPSHOT_KEY_BYTES], int64_t number)
{
    snprintf(key, SH_SNAPSHOT_KEY_BYTES, SH_SNAPSHOT_PREFIX "%019" PRId64 "/manifest", number);
}

void sh_snapshot_part_key(char key[SH_SNAPSHOT_KEY_BYTES], int64_t number, size_t part)
{
    snprintf(key, SH_SNAPSHOT_KEY_BYTES, SH_SNAPSHOT_PREFIX "%019" PRId64 "/%06zu.part", number, part);
}

int64_t sh_snapshot_number(const char *key, bool *is_manifest)
{
    int64_t number = 0;
    int end = 0;
    *is_manifest = false;
    if (sscanf(key, SH_SNAPSHOT_PREFIX "%19" SCNd64 "/%n", &number, &end) != 1 || end == 0 || number <= 0)
        return 0;
    *is_manifest = strcmp(key + end, "manifest") == 0;
    size_t length = strlen(key + end);
    bool is_part = length > 5 && strcmp(key + end + length - 5, ".part") == 0;
    return *is_manifest || is_part ? number : 0;
}
