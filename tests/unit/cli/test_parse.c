/* Values of options: what is understood, and what is refused. The command is no library, so its files are
 * included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "cli/parse.c"

static void numbers_keep_their_bounds(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_true(sh_parse_number("12", 1, 12, &value));
    assert_int_equal(value, 12);
    assert_true(sh_parse_number("-3", -5, 5, &value));
    static const char *const bad[] = {"",   " 1", "+1", "1 ", "1x", "x", "13", "0", "99999999999999999999",
                                      "1.0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(sh_parse_number(bad[i], 1, 12, &value));
}

static void sizes_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"0", 0},         {"100", 100},       {"64kB", 65536},
                {"64KiB", 65536}, {"64MB", 64 << 20}, {"1GB", 1 << 30}};
    int64_t value = 0;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(sh_parse_bytes(good[i].text, &value));
        assert_int_equal(value, good[i].bytes);
    }
    static const char *const bad[] = {"",     "kB",  "-1kB",         "1.5MB",
                                      "1 MB", "1mb", "9999999999GB", "123456789012345678901"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(sh_parse_bytes(bad[i], &value));
}

static void durations_need_a_unit(void **state)
{
    (void)state;
    int64_t value = 0;
    assert_true(sh_parse_duration_ms("5ms", &value));
    assert_int_equal(value, 5);
    assert_true(sh_parse_duration_ms("2m", &value));
    assert_int_equal(value, 120000);
    assert_true(sh_parse_duration_ms("7d", &value));
    assert_int_equal(value, 604800000);
    assert_false(sh_parse_duration_ms("5", &value));
    assert_false(sh_parse_duration_ms("5x", &value));
    assert_false(sh_parse_duration_ms("", &value));
}

static void retention_becomes_an_interval(void **state)
{
    (void)state;
    char text[16];
    assert_true(sh_parse_retention("7d", text, sizeof text));
    assert_string_equal(text, "7 days");
    assert_true(sh_parse_retention("30m", text, sizeof text));
    assert_string_equal(text, "30 minutes");
    assert_true(sh_parse_retention("1 mon 2 days", text, sizeof text));
    assert_string_equal(text, "1 mon 2 days");
    assert_false(sh_parse_retention("one month and two days", text, sizeof text));
}

static void expect_start(const char *text, ShStartAt at, int64_t value)
{
    ShStart start;
    assert_true(sh_parse_start(text, &start));
    assert_int_equal(start.at, at);
    assert_int_equal(start.value, value);
}

static void start_is_a_word_an_offset_or_a_time(void **state)
{
    (void)state;
    expect_start("earliest", SH_START_EARLIEST, 0);
    expect_start("latest", SH_START_LATEST, 0);
    expect_start("42", SH_START_OFFSET, 42);
    expect_start("@1517363399650", SH_START_TIMESTAMP, 1517363399650);
    expect_start("2018-02-01", SH_START_TIMESTAMP, 1517443200000);
    expect_start("2018-02-01T12:00:00Z", SH_START_TIMESTAMP, 1517486400000);
    expect_start("2018-02-01 12:00", SH_START_TIMESTAMP, 1517486400000);
    expect_start("2018-02-01T12:00:00.25+01:00", SH_START_TIMESTAMP, 1517482800250);
    expect_start("2018-02-01T12:00:00-0530", SH_START_TIMESTAMP, 1517506200000);
    static const char *const bad[] = {"",
                                      "first",
                                      "-1",
                                      "@",
                                      "@x",
                                      "2018-13-01",
                                      "2018-02-01T",
                                      "2018-02-01T25:00",
                                      "2018-02-01T12:00:00+1",
                                      "2018-02-01T12:00:00Zx",
                                      "2018-02-01x",
                                      "1960-01-01"};
    ShStart start;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(sh_parse_start(bad[i], &start));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_bounds),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(durations_need_a_unit),
        cmocka_unit_test(retention_becomes_an_interval),
        cmocka_unit_test(start_is_a_word_an_offset_or_a_time),
    };
    return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
