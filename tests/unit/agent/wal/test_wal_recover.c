/* Recovery from files that are made by hand, byte for byte: torn, damaged, stale, foreign. */
#include "tests/unit/agent/wal/wal_fixture.h"

/* A log file under construction. */
typedef struct Image {
    ShWalFileId id;
    uint8_t bytes[16384];
    int64_t position;
} Image;

static int64_t add_batch(Image *image, int64_t id, size_t length, int64_t synced);
static void add_end(Image *image);

static void image_init(Image *image, const Fixture *fixture, uint64_t file_no)
{
    memset(image, 0, sizeof *image);
    image->id = (ShWalFileId){fixture->identity.wal_uuid, file_no};
    sh_wal_encode_file_header(&(ShWalFileHeader){.id = image->id}, image->bytes);
    image->position = SH_WAL_FILE_HEADER_BYTES;
}

/* A file that was filled, synced and released as `former_no`, and then recycled. */
static void image_recycle(Image *image, const Fixture *fixture, uint64_t former_no, uint64_t file_no)
{
    image_init(image, fixture, former_no);
    for (int64_t id = 1000; image->position < 15000; id++)
        add_batch(image, id, 61 + (size_t)id % 90, image->position);
    add_end(image);
    image->id.file_no = file_no;
    sh_wal_encode_file_header(&(ShWalFileHeader){image->id, former_no}, image->bytes);
    image->position = SH_WAL_FILE_HEADER_BYTES;
}

/* Add a batch as fixture_on_recovered expects it; returns the position of its frame. */
static int64_t add_batch(Image *image, int64_t id, size_t length, int64_t synced)
{
    int64_t position = image->position;
    ShBuf *batch = make_batch(id, length);
    ShWalFrame frame = {.type = SH_WAL_FRAME_BATCH,
                        .synced = synced,
                        .partition = (int32_t)(id % 7),
                        .epoch = id + 1000,
                        .batch_length = length};
    frame.topic_id.bytes[3] = (uint8_t)id;
    sh_wal_encode_frame(&image->id, position, &frame, batch->data, image->bytes + position);
    memcpy(image->bytes + position + SH_WAL_FRAME_HEADER_BYTES, batch->data, length);
    sh_buf_unref(batch);
    image->position += sh_wal_frame_bytes(length);
    return position;
}

static void add_mark(Image *image, ShWalFrame frame)
{
    sh_wal_encode_frame(&image->id, image->position, &frame, NULL, image->bytes + image->position);
    image->position += sh_wal_frame_bytes(0);
}

static void add_end(Image *image)
{
    add_mark(image, (ShWalFrame){.type = SH_WAL_FRAME_END});
}

static void image_path(const Image *image, const Fixture *fixture, char path[160])
{
    snprintf(path, 160, "%s/%016" PRIx64 ".wal", fixture->dir, image->id.file_no);
}

static void image_write(const Image *image, const Fixture *fixture, size_t length)
{
    char path[160];
    image_path(image, fixture, path);
    write_whole(path, image->bytes, length);
}

/* Recover in an incarnation of its own and expect the batches first_id, first_id + 1, ... */
static ShWalRecovery expect_recovered(Fixture *fixture, int64_t first_id, int64_t count)
{
    fixture_open(fixture);
    ShWalRecovery stats = fixture_recover(fixture);
    assert_int_equal(stats.batches, count);
    for (int64_t i = 0; i < count; i++)
        assert_int_equal(fixture->recovered[i], first_id + i);
    return stats;
}

/* Recovery fails, says so, and neither calls back nor changes the file. */
static void expect_corrupt(Fixture *fixture, const Image *image, const char *words)
{
    char path[160];
    image_path(image, fixture, path);
    size_t before_length, after_length;
    uint8_t *before = read_whole(path, &before_length);
    fixture_open(fixture);
    fixture->recovered_count = 0;
    ShWalRecovery stats;
    ShError err = {0};
    sh_log_setup(SH_LOG_ERROR + 1, SH_LOG_TEXT); /* what is missing is logged */
    assert_int_equal(sh_wal_recover(fixture->wal, fixture_on_recovered, fixture, &stats, &err), SH_CORRUPT);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
    assert_int_equal(fixture->recovered_count, 0);
    fixture_close(fixture);
    uint8_t *after = read_whole(path, &after_length);
    assert_int_equal(after_length, before_length);
    assert_memory_equal(after, before, before_length);
    free(before);
    free(after);
}

static void setup(Fixture *fixture)
{
    fixture_init(fixture, SH_WAL_SYNC_ALWAYS);
    fixture_open(fixture);
    fixture_close(fixture);
}

static void test_a_tail_torn_at_every_byte_is_cut_off(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image image;
    image_init(&image, &fixture, 0x100000001);
    add_batch(&image, 0, 100, 48);
    int64_t synced = image.position;
    add_batch(&image, 1, 99, 48);
    int64_t last = add_batch(&image, 2, 61, synced);
    int64_t bytes_needed = SH_WAL_FRAME_HEADER_BYTES + 61;
    for (int64_t kept = 0; kept < bytes_needed; kept++) {
        Image torn = image;
        memset(torn.bytes + last + kept, 0, (size_t)(bytes_needed - kept));
        size_t length = kept % 2 == 0 ? sizeof torn.bytes : (size_t)(last + kept);
        image_write(&torn, &fixture, length);
        ShWalRecovery stats = expect_recovered(&fixture, 0, 2);
        assert_true(stats.torn_bytes <= kept && (kept == 0 || stats.torn_bytes > 0));
        fixture_close(&fixture);

        /* What was cut is gone for good: the next recovery finds a whole file. */
        assert_int_equal(expect_recovered(&fixture, 0, 2).torn_bytes, 0);
        fixture_close(&fixture);
    }
    fixture_free(&fixture);
}

static void test_any_damage_before_the_synced_point_is_corruption(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image image;
    image_init(&image, &fixture, 0x100000001);
    add_batch(&image, 0, 64, 48);
    int64_t second = add_batch(&image, 1, 64, 48);
    int64_t synced = image.position;
    add_batch(&image, 2, 64, synced);
    for (int64_t at = second; at < synced; at++) {
        image.bytes[at] ^= 0x40;
        image_write(&image, &fixture, sizeof image.bytes);
        char words[64];
        snprintf(words, sizeof words, "damaged at position %" PRId64, second);
        expect_corrupt(&fixture, &image, words);
        image.bytes[at] ^= 0x40;
    }
    fixture_free(&fixture);
}

static void test_damage_behind_the_synced_point_is_a_torn_tail(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image image;
    image_init(&image, &fixture, 0x100000001);
    add_batch(&image, 0, 64, 48);
    int64_t synced = image.position;
    int64_t second = add_batch(&image, 1, 64, synced);
    add_batch(&image, 2, 64, synced);
    for (int64_t at = second; at < second + sh_wal_frame_bytes(64); at += 3) {
        image.bytes[at] ^= 0x40;
        image_write(&image, &fixture, sizeof image.bytes);
        ShWalRecovery stats = expect_recovered(&fixture, 0, 1);
        assert_int_equal(stats.torn_bytes, image.position - second);
        fixture_close(&fixture);
        image.bytes[at] ^= 0x40;
    }
    fixture_free(&fixture);
}

static void test_a_later_file_proves_the_earlier_one_whole(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image first, second;
    image_init(&first, &fixture, 0x100000001);
    int64_t start = add_batch(&first, 0, 64, 48);
    add_batch(&first, 1, 64, 48);
    add_end(&first);
    image_init(&second, &fixture, 0x100000002);
    add_batch(&second, 2, 64, 48);
    image_write(&first, &fixture, sizeof first.bytes);
    image_write(&second, &fixture, sizeof second.bytes);
    expect_recovered(&fixture, 0, 3);
    fixture_close(&fixture);

    first.bytes[start + 100] ^= 1;
    image_write(&first, &fixture, sizeof first.bytes);
    expect_corrupt(&fixture, &first, "0000000100000001.wal is damaged at position 48");
    first.bytes[start + 100] ^= 1;
    image_write(&first, &fixture, (size_t)(first.position - 8));
    expect_corrupt(&fixture, &first, "0000000100000001.wal is damaged");
    fixture_free(&fixture);
}

static void test_stale_frames_are_not_read(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image image, stale;
    image_init(&image, &fixture, 0x100000002);
    image_init(&stale, &fixture, 0x100000001);
    add_batch(&image, 0, 64, 48);
    add_batch(&stale, 100, 64, 48);
    int64_t at = image.position;
    add_batch(&stale, 101, 64, at);
    add_batch(&stale, 102, 64, stale.position);
    memcpy(image.bytes + at, stale.bytes + at, (size_t)(stale.position - at));
    image_write(&image, &fixture, sizeof image.bytes);
    expect_recovered(&fixture, 0, 1);
    fixture_close(&fixture);

    /* The same with frames that another WAL wrote under the same file number. */
    stale.id = image.id;
    stale.id.wal_uuid.bytes[0] ^= 1;
    stale.position = at;
    add_batch(&stale, 101, 64, at);
    memcpy(image.bytes + at, stale.bytes + at, (size_t)(stale.position - at));
    image_write(&image, &fixture, sizeof image.bytes);
    expect_recovered(&fixture, 0, 1);
    fixture_free(&fixture);
}

/* Instead of zeros there are stale frames wherever the tear left no new bytes. */
static void test_a_recycled_file_torn_at_every_byte_is_cut_off(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image stale, image;
    image_recycle(&stale, &fixture, 0x100000001, 0x100000004);
    image = stale;
    add_batch(&image, 0, 100, 48);
    int64_t last = add_batch(&image, 1, 99, 48);
    int64_t batch_at = last + SH_WAL_FRAME_HEADER_BYTES;
    for (int64_t kept = 0; kept < SH_WAL_FRAME_HEADER_BYTES + 99; kept++) {
        Image torn = image;
        memcpy(torn.bytes + last + kept, stale.bytes + last + kept,
               sizeof torn.bytes - (size_t)(last + kept));
        image_write(&torn, &fixture, sizeof torn.bytes);
        ShWalRecovery stats = expect_recovered(&fixture, 0, 1);
        bool whole_header = last + kept >= batch_at + SH_BATCH_UNCOVERED_BYTES;
        assert_int_equal(stats.torn_bytes, whole_header ? image.position - last : 0);
        fixture_close(&fixture);
        assert_int_equal(expect_recovered(&fixture, 0, 1).torn_bytes, 0);
        fixture_close(&fixture);
    }
    fixture_free(&fixture);
}

static void test_a_recycled_file_counts_as_any_other(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image first, second;
    image_recycle(&first, &fixture, 0x100000001, 0x100000004);
    add_batch(&first, 0, 64, 48);
    int64_t damaged = add_batch(&first, 1, 64, 48);
    int64_t synced = first.position;
    add_batch(&first, 2, 64, synced);

    /* Behind it a prepared one, which holds nothing whatever its bytes say. */
    image_recycle(&second, &fixture, 0x100000002, 0x100000005);
    image_write(&first, &fixture, sizeof first.bytes);
    image_write(&second, &fixture, sizeof second.bytes);
    ShWalRecovery stats = expect_recovered(&fixture, 0, 3);
    assert_int_equal(stats.torn_bytes, 0);
    assert_int_equal(fixture_file_count(&fixture), 1);
    fixture_close(&fixture);

    first.bytes[damaged + 60] ^= 1;
    image_write(&first, &fixture, sizeof first.bytes);
    expect_corrupt(&fixture, &first, "0000000100000004.wal is damaged");
    first.bytes[damaged + 60] ^= 1;

    /* Without its END it must be the last one. */
    add_batch(&second, 3, 64, 48);
    image_write(&first, &fixture, sizeof first.bytes);
    image_write(&second, &fixture, sizeof second.bytes);
    expect_corrupt(&fixture, &first, "0000000100000004.wal is damaged");
    add_end(&first);
    image_write(&first, &fixture, sizeof first.bytes);
    expect_recovered(&fixture, 0, 4);
    fixture_free(&fixture);
}

static void test_files_that_do_not_belong_here_are_refused(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image image;
    image_init(&image, &fixture, 0x100000001);
    image.id.wal_uuid.bytes[0] ^= 1;
    sh_wal_encode_file_header(&(ShWalFileHeader){.id = image.id}, image.bytes);
    image_write(&image, &fixture, sizeof image.bytes);
    expect_corrupt(&fixture, &image, "belongs to another WAL");

    image_init(&image, &fixture, 0x100000007);
    image.id.file_no = 0x100000001;
    image_write(&image, &fixture, sizeof image.bytes);
    expect_corrupt(&fixture, &image, "its number is 0000000100000007");

    image_write(&image, &fixture, 0);
    expect_corrupt(&fixture, &image, "0000000100000001.wal: the file header is cut off");
    fixture_free(&fixture);
}

static void test_a_dead_file_ends_where_its_successor_says(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image dead, fresh;
    image_init(&dead, &fixture, 0x100000001);
    add_batch(&dead, 0, 64, 48);
    int64_t synced = dead.position;
    int64_t lost = add_batch(&dead, 1, 64, synced);
    dead.bytes[lost + 70] ^= 1;

    image_init(&fresh, &fixture, 0x100000002);
    int64_t through = SH_WAL_FILE_HEADER_BYTES + sh_wal_frame_bytes(0) + 2 * sh_wal_frame_bytes(64);
    add_mark(&fresh, (ShWalFrame){.type = SH_WAL_FRAME_CUT,
                                  .synced = 48,
                                  .cut_file_no = dead.id.file_no,
                                  .cut_position = synced,
                                  .cut_through = through});
    add_batch(&fresh, 1, 64, 48);
    int64_t last = add_batch(&fresh, 2, 64, 48);
    image_write(&dead, &fixture, sizeof dead.bytes);
    image_write(&fresh, &fixture, sizeof fresh.bytes);
    expect_recovered(&fixture, 0, 3);
    fixture_close(&fixture);

    /* Now the rewriting was not finished: what the dead file still has counts, and nothing comes twice. */
    dead.bytes[lost + 70] ^= 1;
    fresh.bytes[last + 70] ^= 1;
    image_write(&dead, &fixture, sizeof dead.bytes);
    image_write(&fresh, &fixture, sizeof fresh.bytes);
    assert_int_equal(expect_recovered(&fixture, 0, 2).files, 1);
    fixture_close(&fixture);

    /* A dead file that is damaged before its cut lost what was synced. */
    dead.bytes[48 + 70] ^= 1;
    fresh.bytes[last + 70] ^= 1;
    image_write(&dead, &fixture, sizeof dead.bytes);
    image_write(&fresh, &fixture, sizeof fresh.bytes);
    expect_corrupt(&fixture, &dead, "damaged at position 48");

    /* Gone past, though the file has not even the bytes before its cut. */
    image_write(&dead, &fixture, 100);
    fixture.options.skip_corruption = true;
    assert_int_equal(expect_recovered(&fixture, 1, 2).holes, 1);
    fixture_free(&fixture);
}

/* A file says first of all where a dead one ends; anywhere else such a frame is no frame. */
static void test_a_cut_stands_first(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image image;
    image_init(&image, &fixture, 0x100000001);
    add_batch(&image, 0, 64, 48);
    add_mark(&image, (ShWalFrame){.type = SH_WAL_FRAME_CUT,
                                  .synced = 48,
                                  .cut_file_no = 0x100000000,
                                  .cut_position = 48,
                                  .cut_through = 200});
    add_batch(&image, 1, 64, 48);
    image_write(&image, &fixture, sizeof image.bytes);
    expect_recovered(&fixture, 0, 1);
    fixture_free(&fixture);
}

static void test_files_of_several_incarnations_come_in_order_and_go_when_released(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image image;
    for (int64_t i = 0; i < 3; i++) {
        image_init(&image, &fixture, (uint64_t)(i + 1) << 32 | 1);
        add_batch(&image, 2 * i, 64, 48);
        add_batch(&image, 2 * i + 1, 100, 48);
        if (i < 2)
            add_end(&image);
        image_write(&image, &fixture, sizeof image.bytes);
    }
    image_init(&image, &fixture, 0x300000002); /* prepared, never used */
    image_write(&image, &fixture, sizeof image.bytes);

    assert_int_equal(expect_recovered(&fixture, 0, 6).files, 3);
    assert_int_equal(sh_wal_batches(fixture.wal), 6);
    assert_ok(sh_wal_start(fixture.wal, err));
    sh_wal_release(fixture.wal, 0x200000001, 2);
    fixture_close(&fixture);
    assert_int_equal(fixture_file_count(&fixture), 2);

    fixture_open(&fixture);
    assert_false(fixture.identity.clean);
    fixture_recover(&fixture);
    assert_int_equal(fixture.recovered_count, 4);
    assert_ok(sh_wal_start(fixture.wal, err));
    sh_wal_release(fixture.wal, 0x100000001, 2);
    sh_wal_release(fixture.wal, 0x300000001, 2);
    fixture_close(&fixture);
    assert_int_equal(fixture_file_count(&fixture), 0);
    fixture_open(&fixture);
    assert_true(fixture.identity.clean);
    fixture_free(&fixture);
}

static ShStatus refuse_third(void *arg, const ShWalEntry *entry, ShError *err)
{
    int *seen = arg;
    (void)entry;
    return ++*seen == 3 ? sh_fail(err, SH_NO_MEMORY, "enough") : SH_OK;
}

static void test_a_refused_batch_stays(void **state)
{
    (void)state;
    Fixture fixture;
    setup(&fixture);
    Image image;
    image_init(&image, &fixture, 0x100000001);
    for (int64_t id = 0; id < 5; id++)
        add_batch(&image, id, 64, 48);
    image_write(&image, &fixture, sizeof image.bytes);
    fixture_open(&fixture);
    int seen = 0;
    ShWalRecovery stats;
    assert_int_equal(sh_wal_recover(fixture.wal, refuse_third, &seen, &stats, NULL), SH_NO_MEMORY);
    sh_wal_release(fixture.wal, image.id.file_no, 3);
    fixture_close(&fixture);
    expect_recovered(&fixture, 0, 5);
    fixture_free(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_tail_torn_at_every_byte_is_cut_off),
        cmocka_unit_test(test_any_damage_before_the_synced_point_is_corruption),
        cmocka_unit_test(test_damage_behind_the_synced_point_is_a_torn_tail),
        cmocka_unit_test(test_a_later_file_proves_the_earlier_one_whole),
        cmocka_unit_test(test_stale_frames_are_not_read),
        cmocka_unit_test(test_a_recycled_file_torn_at_every_byte_is_cut_off),
        cmocka_unit_test(test_a_recycled_file_counts_as_any_other),
        cmocka_unit_test(test_files_that_do_not_belong_here_are_refused),
        cmocka_unit_test(test_a_dead_file_ends_where_its_successor_says),
        cmocka_unit_test(test_a_cut_stands_first),
        cmocka_unit_test(test_files_of_several_incarnations_come_in_order_and_go_when_released),
        cmocka_unit_test(test_a_refused_batch_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
