#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"

static void buffer_starts_empty_with_its_capacity(void **state)
{
    (void)state;
    ShBuf *buf = sh_buf_new(10);
    assert_non_null(buf);
    assert_int_equal(buf->capacity, 10);
    assert_int_equal(buf->length, 0);
    memset(buf->data, 1, 10);
    sh_buf_unref(buf);
    sh_buf_unref(NULL);
    assert_null(sh_buf_ref(NULL));
}

static void impossible_capacity_gives_no_buffer(void **state)
{
    (void)state;
    assert_null(sh_buf_new(SIZE_MAX));
    assert_null(sh_buf_new(SIZE_MAX - 1));
}

static void copy_is_independent(void **state)
{
    (void)state;
    char text[] = "abc";
    ShBuf *buf = sh_buf_copy(text, 3);
    text[0] = 'x';
    assert_int_equal(buf->length, 3);
    assert_memory_equal(buf->data, "abc", 3);
    sh_buf_unref(buf);

    buf = sh_buf_copy(NULL, 0);
    assert_int_equal(buf->length, 0);
    sh_buf_unref(buf);
}

static void *ref_and_unref(void *arg)
{
    for (int i = 0; i < 10000; i++)
        sh_buf_unref(sh_buf_ref(arg));
    return NULL;
}

static void references_count_across_threads(void **state)
{
    (void)state;
    ShBuf *buf = sh_buf_copy("shared", 6);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, buf), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(atomic_load(&buf->refs), 1);
    assert_memory_equal(buf->data, "shared", 6);
    sh_buf_unref(buf);
}

static void uuid_text_round_trip(void **state)
{
    (void)state;
    const char *text = "00112233-4455-6677-8899-aabbccddeeff";
    ShUuid uuid;
    assert_int_equal(sh_uuid_parse(text, &uuid, NULL), SH_OK);
    for (int i = 0; i < 16; i++)
        assert_int_equal(uuid.bytes[i], i * 0x11);
    char formatted[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&uuid, formatted);
    assert_string_equal(formatted, text);

    ShUuid upper;
    assert_int_equal(sh_uuid_parse("00112233-4455-6677-8899-AABBCCDDEEFF", &upper, NULL), SH_OK);
    assert_true(sh_uuid_equal(&uuid, &upper));
}

static void wrong_uuid_text_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeefff",
        "00112233-4455-6677-8899-aabbccddeefg",
        "001122334455-6677-8899-aabbccddeeff--",
        "{0112233-4455-6677-8899-aabbccddeef}",
        "00112233 4455-6677-8899-aabbccddeeff",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ShUuid uuid = {{7}};
        ShError err;
        assert_int_equal(sh_uuid_parse(wrong[i], &uuid, &err), SH_INVALID);
        assert_non_null(strstr(err.message, wrong[i]));
        assert_int_equal(uuid.bytes[0], 7);
    }
}

static void random_uuids_differ_and_say_version_4(void **state)
{
    (void)state;
    ShUuid a;
    ShUuid b;
    assert_int_equal(sh_uuid_random(&a, NULL), SH_OK);
    assert_int_equal(sh_uuid_random(&b, NULL), SH_OK);
    assert_false(sh_uuid_equal(&a, &b));
    assert_int_equal(a.bytes[6] >> 4, 4);
    assert_int_equal(a.bytes[8] >> 6, 2);
    assert_false(sh_uuid_is_zero(&a));
    assert_true(sh_uuid_is_zero(&(ShUuid){{0}}));
}

static void integers_stand_in_network_order(void **state)
{
    (void)state;
    uint8_t bytes[8];
    sh_put_u16(bytes, 0xfedc);
    assert_memory_equal(bytes, "\xfe\xdc", 2);
    assert_int_equal(sh_get_u16(bytes), 0xfedc);
    sh_put_u32(bytes, 0xfedcba98);
    assert_memory_equal(bytes, "\xfe\xdc\xba\x98", 4);
    assert_int_equal(sh_get_u32(bytes), 0xfedcba98);
    sh_put_u64(bytes, 0xfedcba9876543210);
    assert_memory_equal(bytes, "\xfe\xdc\xba\x98\x76\x54\x32\x10", 8);
    assert_true(sh_get_u64(bytes) == 0xfedcba9876543210);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_starts_empty_with_its_capacity),
        cmocka_unit_test(impossible_capacity_gives_no_buffer),
        cmocka_unit_test(copy_is_independent),
        cmocka_unit_test(references_count_across_threads),
        cmocka_unit_test(uuid_text_round_trip),
        cmocka_unit_test(wrong_uuid_text_is_refused),
        cmocka_unit_test(random_uuids_differ_and_say_version_4),
        cmocka_unit_test(integers_stand_in_network_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
