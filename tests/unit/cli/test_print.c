/* Keys out of lines, records as text, JSON and bytes, numbers for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "cli/format.c"
#include "cli/histogram.c"
#include "cli/key.c"
#include "cli/print.c"

static void expect_printed(ShPrintFn print, const ShMessage *message, const char *expected,
                           size_t expected_length)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_true(print(out, message));
    fclose(out);
    assert_int_equal(length, expected_length);
    assert_memory_equal(text, expected, length);
    free(text);
}

static ShMessage message_of(const char *key, const char *value, size_t value_length)
{
    return (ShMessage){.topic = "t",
                       .partition = 3,
                       .record = {.offset = 7,
                                  .timestamp_ms = 1000,
                                  .key = (const uint8_t *)key,
                                  .key_length = key != NULL ? strlen(key) : 0,
                                  .value = (const uint8_t *)value,
                                  .value_length = value_length}};
}

static void values_are_printed_byte_for_byte(void **state)
{
    (void)state;
    ShMessage message = message_of("k", "a\0\xff", 3);
    expect_printed(sh_print_value, &message, "a\0\xff\n", 4);
    expect_printed(sh_print_text, &message, "3:7\tk\ta\0\xff\n", 10);
    message = message_of(NULL, NULL, 0);
    expect_printed(sh_print_value, &message, "\n", 1);
}

static void json_marks_what_is_no_text(void **state)
{
    (void)state;
    ShMessage message = message_of("\xc3\xa9", "\xff\x00\x01\x02", 4);
    static const char expected[] =
        "{\"topic\":\"t\",\"partition\":3,\"offset\":7,\"timestamp\":1000,\"key\":\"\xc3\xa9\","
        "\"value\":\"/wABAg==\",\"value_encoding\":\"base64\",\"headers\":[]}\n";
    expect_printed(sh_print_json, &message, expected, sizeof expected - 1);
    message = message_of(NULL, NULL, 0);
    static const char nulls[] =
        "{\"topic\":\"t\",\"partition\":3,\"offset\":7,\"timestamp\":1000,\"key\":null,"
        "\"value\":null,\"headers\":[]}\n";
    expect_printed(sh_print_json, &message, nulls, sizeof nulls - 1);
}

static void json_has_the_headers(void **state)
{
    (void)state;
    ShMessage message = message_of(NULL, "v", 1);
    static const uint8_t headers[] = {2, 'h', 4, 'o', 'k', 2, 'n', 1}; /* h: "ok", n: null */
    message.record.headers = headers;
    message.record.headers_length = sizeof headers;
    message.record.header_count = 2;
    static const char expected[] =
        "{\"topic\":\"t\",\"partition\":3,\"offset\":7,\"timestamp\":1000,\"key\":null,"
        "\"value\":\"v\",\"headers\":[{\"key\":\"h\",\"value\":\"ok\"},"
        "{\"key\":\"n\",\"value\":null}]}\n";
    expect_printed(sh_print_json, &message, expected, sizeof expected - 1);
}

/* The key of a line by a rule; "-" when it has none. */
static void expect_key(ShKeyRule rule, const char *line, const char *key_expected, const char *value_expected)
{
    ShKey key;
    ShRecord record = {.value = (const uint8_t *)line, .value_length = strlen(line)};
    assert_int_equal(sh_key_extract(&rule, &record, &key, NULL), SH_OK);
    if (strcmp(key_expected, "-") == 0) {
        assert_null(record.key);
    } else {
        assert_int_equal(record.key_length, strlen(key_expected));
        assert_memory_equal(record.key, key_expected, record.key_length);
    }
    assert_int_equal(record.value_length, strlen(value_expected));
    assert_memory_equal(record.value, value_expected, record.value_length);
    sh_key_release(&key);
}

static void keys_come_from_a_field_or_before_a_separator(void **state)
{
    (void)state;
    ShKeyRule json = {.json_field = "net"};
    expect_key(json, "{\"net\":\"us\"}", "us", "{\"net\":\"us\"}");
    expect_key(json, "{\"net\":\"a\\u00e9\\\"\"}", "a\xc3\xa9\"", "{\"net\":\"a\\u00e9\\\"\"}");
    expect_key(json, "{\"net\":12}", "12", "{\"net\":12}");
    expect_key(json, "{\"net\":{\"a\":[1]}}", "{\"a\":[1]}", "{\"net\":{\"a\":[1]}}");
    expect_key(json, "{\"net\":null}", "-", "{\"net\":null}");
    expect_key(json, "{}", "-", "{}");
    ShKeyRule separator = {.separator = ':'};
    expect_key(separator, "k:v:w", "k", "v:w");
    expect_key(separator, ":v", "", "v");
    expect_key(separator, "v", "-", "v");
    expect_key((ShKeyRule){0}, "k:v", "-", "k:v");

    ShKey key;
    ShError error;
    static const char *const bad[] = {"", "[1]", "{\"net\":", "x", "{} {}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ShRecord record = {.value = (const uint8_t *)bad[i], .value_length = strlen(bad[i])};
        assert_int_equal(sh_key_extract(&json, &record, &key, &error), SH_INVALID);
    }
}

static void numbers_are_readable(void **state)
{
    (void)state;
    char text[SH_FORMAT_BYTES];
    assert_string_equal(sh_format_count(0, text), "0");
    assert_string_equal(sh_format_count(999, text), "999");
    assert_string_equal(sh_format_count(1245678, text), "1,245,678");
    assert_string_equal(sh_format_count(-1000, text), "-1,000");
    assert_string_equal(sh_format_count(INT64_MIN, text), "-9,223,372,036,854,775,808");
    assert_string_equal(sh_format_size(1023, text), "1023 bytes");
    assert_string_equal(sh_format_size(1288490188, text), "1.2 GB");
}

static void percentiles_are_close(void **state)
{
    (void)state;
    ShHistogram *histogram = calloc(1, sizeof *histogram);
    assert_int_equal(sh_histogram_percentile(histogram, 50), 0);
    for (int64_t value = 1; value <= 100000; value++)
        sh_histogram_add(histogram, value);
    assert_in_range(sh_histogram_percentile(histogram, 50), 50000, 51600);
    assert_in_range(sh_histogram_percentile(histogram, 99), 99000, 100000);
    assert_int_equal(sh_histogram_percentile(histogram, 100), 100000);
    sh_histogram_add(histogram, -5);
    sh_histogram_add(histogram, INT64_MAX);
    assert_int_equal(histogram->max, INT64_MAX);
    assert_int_equal(sh_histogram_percentile(histogram, 0.0001), 0);
    free(histogram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_printed_byte_for_byte),
        cmocka_unit_test(json_marks_what_is_no_text),
        cmocka_unit_test(json_has_the_headers),
        cmocka_unit_test(keys_come_from_a_field_or_before_a_separator),
        cmocka_unit_test(numbers_are_readable),
        cmocka_unit_test(percentiles_are_close),
    };
    return cmocka_run_group_tests_name("print", tests, NULL, NULL);
}
