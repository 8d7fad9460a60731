/* The manifest of a snapshot: written, read back, and damaged in every way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/log/snapshot_manifest.h"
#include "core/crc32c.h"

static void fill(ShSnapshotManifest *manifest)
{
    ShError err;
    assert_int_equal(sh_snapshot_manifest_init(manifest, &err), SH_OK);
    manifest->origin = (ShPgOrigin){
        .cluster_id.bytes = {1, 2, 3}, .term = 7, .version = "0.1.0", .taken_at = "2026-11-25T10:00:00.000Z"};
    manifest->sections[0] = (ShPgSection){.is_sequence = true,
                                          .name = "streamhouse.producer_number",
                                          .columns = "last_value,is_called",
                                          .bytes = 6};
    manifest->sections[1] = (ShPgSection){
        .name = "streamhouse.segment", .columns = "topic_id,\"position\"", .bytes = SH_SNAPSHOT_PART_BYTES};
    manifest->section_count = 2;
    for (int i = 0; i < 2; i++) {
        ShSnapshotPart part = {
            .bytes = i == 0 ? SH_SNAPSHOT_PART_BYTES : 6, .stored_bytes = 100, .crc = 0xabcdef01};
        assert_int_equal(sh_snapshot_manifest_add_part(manifest, &part, &err), SH_OK);
    }
}

static ShStatus parse(const char *text, size_t length, ShSnapshotManifest *out)
{
    ShError err;
    *out = (ShSnapshotManifest){0};
    ShStatus status = sh_snapshot_manifest_parse(text, length, out, &err);
    if (status != SH_OK)
        assert_true(err.message[0] != '\0');
    return status;
}

/* Of `lines`, with the checksum that belongs to them. */
static ShStatus parse_lines(const char *lines)
{
    char text[4096];
    ShSnapshotManifest manifest;
    int length = snprintf(text, sizeof text, "%send %08x\n", lines, sh_crc32c(lines, strlen(lines)));
    ShStatus status = parse(text, (size_t)length, &manifest);
    sh_snapshot_manifest_free(&manifest);
    return status;
}

static void test_read_back(void **state)
{
    (void)state;
    ShError err;
    ShSnapshotManifest written, read;
    char *text;
    size_t length;
    fill(&written);
    assert_int_equal(sh_snapshot_manifest_write(&written, &text, &length, &err), SH_OK);
    assert_int_equal(parse(text, length, &read), SH_OK);
    assert_int_equal(read.section_count, 2);
    assert_int_equal(read.part_count, 2);
    assert_true(sh_uuid_equal(&read.origin.cluster_id, &written.origin.cluster_id));
    assert_int_equal(read.origin.term, written.origin.term);
    assert_string_equal(read.origin.version, written.origin.version);
    assert_string_equal(read.origin.taken_at, written.origin.taken_at);
    assert_true(read.sections[0].is_sequence);
    assert_false(read.sections[1].is_sequence);
    assert_string_equal(read.sections[1].columns, "topic_id,\"position\"");
    assert_int_equal(read.sections[1].bytes, SH_SNAPSHOT_PART_BYTES);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(read.parts[i].bytes, written.parts[i].bytes);
        assert_int_equal(read.parts[i].stored_bytes, written.parts[i].stored_bytes);
        assert_int_equal(read.parts[i].crc, written.parts[i].crc);
    }
    sh_snapshot_manifest_free(&read);

    /* Cut anywhere, or with any byte changed, it is none. */
    for (size_t i = 0; i < length; i++) {
        assert_int_not_equal(parse(text, i, &read), SH_OK);
        sh_snapshot_manifest_free(&read);
        text[i] ^= 1;
        assert_int_not_equal(parse(text, length, &read), SH_OK);
        sh_snapshot_manifest_free(&read);
        text[i] ^= 1;
    }
    free(text);
    sh_snapshot_manifest_free(&written);
}

#define ORIGIN "origin 00000000-0000-0000-0000-00000000000c 3 0.1.0 2026-01-01T00:00:00.000Z\n"

static void test_what_does_not_add_up(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        ShStatus status;
    } cases[] = {
        {"streamhouse snapshot 1\n" ORIGIN "table 5 a.b c\npart 5 9 00000000\n", SH_OK},
        {"streamhouse snapshot 1\n" ORIGIN "table 0 a.b c\n", SH_OK},
        {"streamhouse snapshot 2\n" ORIGIN "table 0 a.b c\n", SH_UNSUPPORTED},
        {"something else\n", SH_CORRUPT},
        {"", SH_CORRUPT},
        {"streamhouse snapshot 1\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN, SH_CORRUPT},
        {"streamhouse snapshot 1\ntable 0 a.b c\n" ORIGIN, SH_CORRUPT},
        {"streamhouse snapshot 1\norigin x 3 0.1.0 now\ntable 0 a.b c\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN "table 5 a.b c\npart 4 9 00000000\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN "part 5 9 00000000\ntable 5 a.b c\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN "index 5 a.b c\npart 5 9 00000000\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN "table 5 a.b c d\npart 5 9 00000000\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN "table 0 a.b c\npart 0 9 00000000\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN "table 9000000 a.b c\npart 9000000 9 00000000\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN "table 5 a.b c\npart 5 99999999 00000000\n", SH_CORRUPT},
        {"streamhouse snapshot 1\n" ORIGIN
         "table 18446744073709551615 a.b c\ntable 6 a.b c\npart 5 9 00000000\n",
         SH_CORRUPT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (parse_lines(cases[i].lines) != cases[i].status)
            fail_msg("case %zu: %s", i, cases[i].lines);
}

static void test_keys(void **state)
{
    (void)state;
    char key[SH_SNAPSHOT_KEY_BYTES];
    bool is_manifest;
    sh_snapshot_manifest_key(key, INT64_MAX);
    assert_string_equal(key, "snapshot/9223372036854775807/manifest");
    assert_int_equal(sh_snapshot_number(key, &is_manifest), INT64_MAX);
    assert_true(is_manifest);
    sh_snapshot_part_key(key, 12, SH_SNAPSHOT_PARTS_MAX);
    assert_string_equal(key, "snapshot/0000000000000000012/100000.part");
    assert_int_equal(sh_snapshot_number(key, &is_manifest), 12);
    assert_false(is_manifest);
    static const char *const others[] = {
        "snapshot/",           "snapshot/0/manifest",        "snapshot/12/readme",  "snapshot/12",
        "snapshot/x/manifest", "marker/0000000000000000012", "snapshot/-3/manifest"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(sh_snapshot_number(others[i], &is_manifest), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_what_does_not_add_up),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
