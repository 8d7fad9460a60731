/* The bytes: what is encoded is decoded, and nothing else passes. */
#include "tests/unit/agent/wal/wal_fixture.h"

#define POSITION 48

static const ShWalFileId file = {.wal_uuid = {{1, 2, 3}}, .file_no = 0x100000001};

/* A file's bytes with one batch frame at POSITION; returns the whole length. */
static size_t encode_one(uint8_t *bytes, ShWalFrame *frame, size_t batch_length)
{
    ShBuf *batch = make_batch(7, batch_length);
    *frame = (ShWalFrame){.type = SH_WAL_FRAME_BATCH,
                          .synced = POSITION,
                          .topic_id = {{9, 8, 7}},
                          .partition = 3,
                          .epoch = 44,
                          .batch_length = batch_length};
    sh_wal_encode_frame(&file, POSITION, frame, batch->data, bytes + POSITION);
    memcpy(bytes + POSITION + SH_WAL_FRAME_HEADER_BYTES, batch->data, batch_length);
    memset(bytes + POSITION + SH_WAL_FRAME_HEADER_BYTES + batch_length, 0, sh_wal_padding(batch_length));
    sh_buf_unref(batch);
    return POSITION + (size_t)sh_wal_frame_bytes(batch_length);
}

static void test_frame_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[512] = {0};
    for (size_t length = 61; length < 80; length++) {
        ShWalFrame frame, found;
        size_t whole = encode_one(bytes, &frame, length);
        assert_int_equal(whole % SH_WAL_ALIGN_BYTES, 0);
        assert_true(sh_wal_decode_frame(&file, bytes, whole, POSITION, &found));
        assert_int_equal(found.type, SH_WAL_FRAME_BATCH);
        assert_int_equal(found.synced, POSITION);
        assert_true(sh_uuid_equal(&found.topic_id, &frame.topic_id));
        assert_int_equal(found.partition, 3);
        assert_int_equal(found.epoch, 44);
        assert_int_equal(found.batch_length, length);
        assert_true(sh_wal_batch_intact(bytes + POSITION + SH_WAL_FRAME_HEADER_BYTES, length));
    }
}

static void test_cut_and_end_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[256] = {0};
    ShWalFrame cut = {.type = SH_WAL_FRAME_CUT, .cut_file_no = 77, .cut_position = 4096, .cut_through = 9000},
               found;
    sh_wal_encode_frame(&file, POSITION, &cut, NULL, bytes + POSITION);
    assert_true(sh_wal_decode_frame(&file, bytes, sizeof bytes, POSITION, &found));
    assert_int_equal(found.type, SH_WAL_FRAME_CUT);
    assert_int_equal(found.cut_file_no, 77);
    assert_int_equal(found.cut_position, 4096);
    assert_int_equal(found.cut_through, 9000);

    ShWalFrame end = {.type = SH_WAL_FRAME_END, .synced = 48};
    sh_wal_encode_frame(&file, POSITION, &end, NULL, bytes + POSITION);
    assert_true(sh_wal_decode_frame(&file, bytes, sizeof bytes, POSITION, &found));
    assert_int_equal(found.type, SH_WAL_FRAME_END);
}

/* The frame's CRC covers its header and the batch's uncovered bytes, the batch's CRC the rest: no bit is
 * free. */
static void test_every_flipped_bit_is_seen(void **state)
{
    (void)state;
    uint8_t bytes[512] = {0};
    ShWalFrame frame, found;
    size_t whole = encode_one(bytes, &frame, 64);
    for (size_t bit = POSITION * 8; bit < whole * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool passes = sh_wal_decode_frame(&file, bytes, whole, POSITION, &found) &&
                      sh_wal_batch_intact(bytes + POSITION + SH_WAL_FRAME_HEADER_BYTES, found.batch_length);
        assert_false(passes);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void test_a_frame_of_another_place_is_none(void **state)
{
    (void)state;
    uint8_t bytes[512] = {0};
    ShWalFrame frame, found;
    size_t whole = encode_one(bytes, &frame, 64);
    ShWalFileId other_number = file, other_wal = file;
    other_number.file_no++;
    other_wal.wal_uuid.bytes[15] ^= 1;
    assert_false(sh_wal_decode_frame(&other_number, bytes, whole, POSITION, &found));
    assert_false(sh_wal_decode_frame(&other_wal, bytes, whole, POSITION, &found));
    memmove(bytes + POSITION + 8, bytes + POSITION, whole - POSITION);
    assert_false(sh_wal_decode_frame(&file, bytes, whole + 8, POSITION + 8, &found));
}

static void test_a_cut_off_frame_is_none(void **state)
{
    (void)state;
    uint8_t bytes[512] = {0};
    ShWalFrame frame, found;
    size_t whole = encode_one(bytes, &frame, 70);
    for (size_t length = 0; length < whole; length++) {
        uint8_t *exact = malloc(length + 1);
        memcpy(exact, bytes, length);
        assert_false(sh_wal_decode_frame(&file, exact, length, POSITION, &found));
        free(exact);
    }
    assert_false(sh_wal_decode_frame(&file, bytes, whole, (int64_t)whole + 8, &found));
    assert_false(sh_wal_decode_frame(&file, bytes, whole, -8, &found));
}

static void test_file_header(void **state)
{
    (void)state;
    uint8_t bytes[SH_WAL_FILE_HEADER_BYTES];
    ShWalFileHeader found;
    ShError refusal;
    sh_wal_encode_file_header(&(ShWalFileHeader){.id = file, .former_no = 0x10000000a}, bytes);
    assert_ok(sh_wal_decode_file_header(bytes, sizeof bytes, &found, err));
    assert_true(sh_uuid_equal(&found.id.wal_uuid, &file.wal_uuid));
    assert_int_equal(found.id.file_no, file.file_no);
    assert_int_equal(found.former_no, 0x10000000a);
    for (size_t byte = 0; byte < sizeof bytes; byte++) {
        bytes[byte] ^= 0x10;
        assert_int_not_equal(sh_wal_decode_file_header(bytes, sizeof bytes, &found, &refusal), SH_OK);
        bytes[byte] ^= 0x10;
        assert_int_equal(sh_wal_decode_file_header(bytes, byte, &found, &refusal), SH_CORRUPT);
    }
    bytes[11] = 2;
    assert_int_equal(sh_wal_decode_file_header(bytes, sizeof bytes, &found, &refusal), SH_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_round_trip),
        cmocka_unit_test(test_cut_and_end_round_trip),
        cmocka_unit_test(test_every_flipped_bit_is_seen),
        cmocka_unit_test(test_a_frame_of_another_place_is_none),
        cmocka_unit_test(test_a_cut_off_frame_is_none),
        cmocka_unit_test(test_file_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
