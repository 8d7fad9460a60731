#include "tests/unit/agent/base/base_test.h"

#include <jansson.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "tests/unit/agent/base/captured.h"

static int64_t fake_ms;
static int64_t fake_now_ms(void)
{
    return fake_ms;
}

/* The line after its time. */
static const char *after_time(const char *line)
{
    assert_true(strlen(line) > 25 && line[10] == 'T' && line[23] == 'Z');
    return line + 25;
}

static void test_text_lines_quote_what_needs_it(void **state)
{
    (void)state;
    sh_log_setup(SH_LOG_INFO, SH_LOG_TEXT);
    capture_lines();
    sh_log_info("wal_opened", "dir=%s files=%d bytes=%lld ratio=%.2f", "/data/wal", 3, 1LL << 40, 0.5);
    assert_string_equal(after_time(captured_lines()),
                        "INFO wal_opened dir=/data/wal files=3 bytes=1099511627776 ratio=0.50\n");
    capture_lines();
    sh_log_info("odd", "reason=\"%s\" empty=%s mixed=%s:%d part=%.*s size=%zu", "a \"b\" \\ c\nd\x01", "",
                "host", 80, 3, "abcdef", (size_t)7);
    assert_string_equal(after_time(captured_lines()),
                        "INFO odd reason=\"a \\\"b\\\" \\\\ c\\nd\\u0001\" empty=\"\" "
                        "mixed=host:80 part=abc size=7\n");
    capture_lines();
    sh_log_info("plain", " ");
    assert_string_equal(after_time(captured_lines()), "INFO plain\n");
}

static void test_a_value_cannot_forge_a_line(void **state)
{
    (void)state;
    sh_log_setup(SH_LOG_INFO, SH_LOG_TEXT);
    capture_lines();
    sh_log_info("e", "key=%s", "x\n2026-01-31T12:00:00.123Z INFO forged");
    const char *lines = captured_lines();
    assert_ptr_equal(strchr(lines, '\n'), lines + strlen(lines) - 1);
}

static void test_json_lines_parse(void **state)
{
    (void)state;
    sh_log_setup(SH_LOG_DEBUG, SH_LOG_JSON);
    capture_lines();
    sh_log_debug("e", "text=\"%s\" number=%lld hex=%x nan=%f bad=%s good=%s", "a \"b\"\n", -5LL, 255u,
                 0.0 / 0.0, "\xff\xc3", "\xc3\xa9");
    json_error_t problem;
    json_t *line = json_loads(captured_lines(), 0, &problem);
    if (line == NULL)
        fail_msg("%s: %s", problem.text, captured);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "DEBUG");
    assert_string_equal(json_string_value(json_object_get(line, "event")), "e");
    assert_string_equal(json_string_value(json_object_get(line, "text")), "a \"b\"\n");
    assert_int_equal(json_integer_value(json_object_get(line, "number")), -5);
    assert_string_equal(json_string_value(json_object_get(line, "hex")), "ff");
    assert_true(json_is_string(json_object_get(line, "nan")));
    assert_string_equal(json_string_value(json_object_get(line, "good")), "\xc3\xa9");
    json_decref(line);
    sh_log_setup(SH_LOG_INFO, SH_LOG_TEXT);
}

static void test_long_lines_stay_whole(void **state)
{
    (void)state;
    static char big[4096];
    memset(big, 1, sizeof big - 1);
    sh_log_setup(SH_LOG_INFO, SH_LOG_JSON);
    capture_lines();
    sh_log_info("e", "a=%s b=%s c=%s d=1", big, big, big);
    json_t *line = json_loads(captured_lines(), 0, NULL);
    assert_non_null(line);
    assert_non_null(json_object_get(line, "a"));
    json_decref(line);
    sh_log_setup(SH_LOG_INFO, SH_LOG_TEXT);
}

static void test_levels_below_are_left_out(void **state)
{
    (void)state;
    sh_log_setup(SH_LOG_WARN, SH_LOG_TEXT);
    capture_lines();
    sh_log_debug("quiet", " ");
    sh_log_info("quiet", " ");
    sh_log_error("loud", " ");
    const char *lines = captured_lines();
    assert_lacks(lines, "quiet");
    assert_contains(lines, "ERROR loud\n");
    sh_log_setup(SH_LOG_INFO, SH_LOG_TEXT);
}

static void test_repeated_warnings_are_counted(void **state)
{
    (void)state;
    fake_ms = 1000000;
    sh_clock_set_for_test(fake_now_ms);
    capture_lines();
    for (int i = 0; i < 25; i++) {
        sh_log_warn("store_slow", "n=%d", i);
        sh_log_info("informed", "n=%d", i);
    }
    sh_log_warn("other", " ");
    fake_ms += 9999;
    sh_log_warn("store_slow", "n=25");
    fake_ms += 1;
    sh_log_warn("store_slow", "n=26");
    sh_log_warn("store_slow", "n=27");
    const char *lines = captured_lines();
    sh_clock_set_for_test(NULL);
    assert_contains(lines, "store_slow n=9\n");
    assert_lacks(lines, "store_slow n=10\n");
    assert_contains(lines, "informed n=24\n");
    assert_contains(lines, "WARN other\n");
    assert_lacks(lines, "n=25\n");
    assert_contains(lines, "store_slow n=26 suppressed=16\n");
    assert_contains(lines, "store_slow n=27\n");
}

/* Who waited here would wait for ever. */
static void test_nobody_waits_for_a_full_pipe(void **state)
{
    (void)state;
    static char page[4096];
    sh_log_setup(SH_LOG_INFO, SH_LOG_TEXT);
    capture_lines();
    while (fcntl(pipe_ends[1], F_SETFL, O_NONBLOCK) == 0 && write(pipe_ends[1], page, sizeof page) > 0)
        continue;
    assert_int_equal(fcntl(pipe_ends[1], F_SETFL, 0), 0);
    alarm(10);
    sh_log_info("first", " ");
    sh_log_info("second", " ");
    alarm(0);
    while (read(pipe_ends[0], page, sizeof page) > 0)
        continue;
    sh_log_info("third", " ");
    const char *lines = captured_lines();
    const char *third = strchr(lines, '\n') + 1;
    assert_true(strncmp(after_time(lines), "WARN log_dropped lines=2\n", 25) == 0);
    assert_string_equal(after_time(third), "INFO third\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_lines_quote_what_needs_it),
        cmocka_unit_test(test_a_value_cannot_forge_a_line),
        cmocka_unit_test(test_json_lines_parse),
        cmocka_unit_test(test_long_lines_stay_whole),
        cmocka_unit_test(test_levels_below_are_left_out),
        cmocka_unit_test(test_nobody_waits_for_a_full_pipe),
        cmocka_unit_test(test_repeated_warnings_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
