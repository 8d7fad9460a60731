/*
 * fuzz_manifest.c - the reading of a snapshot's manifest from arbitrary bytes; each input once as it is, and
 * once with a last line that matches. What was read is written again and read the same.
 */
// link: agent/log/snapshot_manifest.c
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/snapshot_manifest.h"
#include "core/crc32c.h"

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static void parse(const char *text, size_t length);
static void write_again(const ShSnapshotManifest *manifest);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse((const char *)data, size);
    char *ended = malloc(size + 16);
    REQUIRE(ended != NULL);
    memcpy(ended, data, size);
    int added = snprintf(ended + size, 16, "end %08x\n", sh_crc32c(data, size));
    parse(ended, size + (size_t)added);
    free(ended);
    return 0;
}

static void parse(const char *text, size_t length)
{
    ShSnapshotManifest manifest = {0};
    ShError err;
    if (sh_snapshot_manifest_parse(text, length, &manifest, &err) == SH_OK)
        write_again(&manifest);
    sh_snapshot_manifest_free(&manifest);
}

static void write_again(const ShSnapshotManifest *manifest)
{
    ShSnapshotManifest again = {0};
    ShError err;
    char *text;
    size_t length;
    REQUIRE(sh_snapshot_manifest_write(manifest, &text, &length, &err) == SH_OK);
    REQUIRE(sh_snapshot_manifest_parse(text, length, &again, &err) == SH_OK);
    REQUIRE(again.section_count == manifest->section_count && again.part_count == manifest->part_count);
    for (size_t i = 0; i < again.section_count; i++)
        REQUIRE(strcmp(again.sections[i].columns, manifest->sections[i].columns) == 0 &&
                again.sections[i].bytes == manifest->sections[i].bytes);
    sh_snapshot_manifest_free(&again);
    free(text);
}
