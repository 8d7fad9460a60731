#include "tests/unit/agent/base/base_test.h"

#include <sys/wait.h>

#include "agent/base/clock.h"
#include "agent/base/fault.h"

static void arm(const char *spec)
{
    ShError err;
    if (sh_fault_arm(spec, &err) != SH_OK)
        fail_msg("%s", err.message);
}

static void test_points_fail_as_armed(void **state)
{
    (void)state;
    assert_false(sh_fault_hit("a.b"));
    arm("a.b=error,c.d=error:2");
    for (int i = 0; i < 5; i++) {
        assert_true(sh_fault_hit("a.b"));
        assert_int_equal(sh_fault_hit("c.d"), i < 2);
        assert_false(sh_fault_hit("a"));
    }
    arm("");
    assert_false(sh_fault_hit("a.b"));
}

static void test_a_stall_delays_and_passes(void **state)
{
    (void)state;
    arm("a.b=stall:20");
    int64_t started_ms = sh_clock_now_ms();
    assert_false(sh_fault_hit("a.b"));
    assert_true(sh_clock_now_ms() - started_ms >= 19);
    arm(NULL);
}

static void test_a_crash_ends_the_process(void **state)
{
    (void)state;
    arm("a.b=crash");
    pid_t child = fork();
    if (child == 0) {
        sh_fault_hit("a.b");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 137);
    arm(NULL);
}

static void test_what_does_not_parse_is_refused_and_arms_nothing(void **state)
{
    (void)state;
    static const char *const specs[] = {"a.b",         "=error",       "a.b=",      "a.b=eror",
                                        "a.b=error:x", "a.b=error:-1", "a.b=stall", "a.b=stall:1s",
                                        "a.b=crash:1", "a.b=error,,"};
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        ShError err;
        if (sh_fault_arm(specs[i], &err) != SH_INVALID)
            fail_msg("\"%s\" was accepted", specs[i]);
        assert_contains(err.message, "fault");
        assert_false(sh_fault_hit("a.b"));
    }
}

/* The list in the documents is complete. */
static void test_every_point_is_documented(void **state)
{
    (void)state;
    static char page[65536];
    FILE *file = fopen("docs/internals/faults.md", "r");
    assert_non_null(file);
    size_t length = fread(page, 1, sizeof page - 1, file);
    fclose(file);
    page[length] = '\0';

    FILE *points = popen(
        "grep -rhoE 'sh_fault_hit\\(\"[^\"]+\"' agent --include=*.c | cut -d'\"' -f2 | sort -u", "r");
    assert_non_null(points);
    char point[128];
    int count = 0;
    for (; fgets(point, sizeof point, points) != NULL; count++) {
        point[strcspn(point, "\n")] = '\0';
        char quoted[160];
        snprintf(quoted, sizeof quoted, "`%s`", point);
        if (strstr(page, quoted) == NULL)
            fail_msg("docs/internals/faults.md does not list %s", quoted);
    }
    pclose(points);
    assert_true(count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_points_fail_as_armed),
        cmocka_unit_test(test_a_stall_delays_and_passes),
        cmocka_unit_test(test_a_crash_ends_the_process),
        cmocka_unit_test(test_what_does_not_parse_is_refused_and_arms_nothing),
        cmocka_unit_test(test_every_point_is_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
