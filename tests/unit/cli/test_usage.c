/* Misuse of the command: exit code 2, and one line on stderr that names the option and what it takes. Runs
 * the program that was built beside this test (make programs). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char program[PATH_MAX];

/* build/VARIANT/tests/unit/cli/test_usage runs build/VARIANT/streamhouse. */
static int find_program(void **state)
{
    (void)state;
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        return -1;
    self[length] = '\0';
    const char *root = dirname(dirname(dirname(dirname(self))));
    int written = snprintf(program, sizeof program, "%s/streamhouse", root);
    return written < (int)sizeof program && access(program, X_OK) == 0 ? 0 : -1;
}

/* Run it with these words, as a shell would split them; its exit code and what it said on
 * stderr or stdout. */
static int run(const char *words, bool standard_output, char *said, size_t said_bytes)
{
    char command[PATH_MAX + 512];
    snprintf(command, sizeof command, "'%s' --server 127.0.0.1:1 %s %s", program, words,
             standard_output ? "2>/dev/null" : "2>&1 >/dev/null");
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(said, 1, said_bytes - 1, pipe);
    said[length] = '\0';
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void misuse_is_named_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        const char *said;
    } cases[] = {
        {"", "a command is missing"},
        {"fly", "unknown command \"fly\""},
        {"topic", "\"topic\" needs a command after it"},
        {"topic fly", "unknown command \"topic fly\""},
        {"topic create", "the name of a topic is missing"},
        {"topic create a b", "unexpected argument \"b\" after the topic's name"},
        {"topic create a --partitions none", "--partitions none is not a whole number from 1"},
        {"topic create a --partitions", "option --partitions needs a value"},
        {"topic create a --segment-size big", "--segment-size big is not a size such as 64MB"},
        {"topic create a --durability tape", "--durability is wal or object, not tape"},
        {"topic delete a", "deleting topic \"a\" removes all its records; say --confirm"},
        {"topic list --output xml", "--output is text or json, not xml"},
        {"topic list 'a*'", "unexpected argument \"a*\"; a pattern is given with --filter"},
        {"produce a --key-json x --key-separator :", "--key-json and --key-separator exclude each other"},
        {"produce a --key-separator ::", "--key-separator is one character, not \"::\""},
        {"produce a --compression rar", "--compression is none, gzip, snappy, lz4 or zstd, not rar"},
        {"produce a --linger 5", "--linger 5 is not a duration such as 5ms, up to 60s"},
        {"produce a --batch-size 10", "--batch-size 10 is not a size such as 64kB, from 1kB to 16MB"},
        {"produce a --retry never", "--retry is always or safe, not never"},
        {"produce a --fast", "unknown option --fast"},
        {"consume a --from never", "--from never is not earliest"},
        {"consume a --max 0", "--max 0 is not a number of records"},
        {"consume a --output xml", "--output is text, json or value, not xml"},
        {"bench produce a --record-size 2MB", "--record-size 2MB is not a size"},
        {"bench consume a --records 0", "--records 0 is not a number of records"},
        {"--server", "option --server needs a value"},
        {"--server nowhere topic list", "\"nowhere\" is not a list of servers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char said[1024];
        int code = run(cases[i].words, false, said, sizeof said);
        if (strstr(said, cases[i].said) == NULL || strchr(said, '\n') != said + strlen(said) - 1 || code != 2)
            fail_msg("streamhouse %s: exit code %d, said: %s", cases[i].words, code, said);
    }
}

static void absent_server_is_a_failure_with_a_remedy(void **state)
{
    (void)state;
    char said[1024];
    assert_int_equal(run("topic list", false, said, sizeof said), 1);
    assert_string_equal(
        said, "streamhouse: cannot list the topics: no server answers at 127.0.0.1:1; is it running, "
              "is the address right?\n");
    assert_int_equal(run("produce a </dev/null", false, said, sizeof said), 1);
    assert_int_equal(run("consume a", false, said, sizeof said), 1);
}

static void help_and_version_go_to_stdout(void **state)
{
    (void)state;
    char said[8192];
    assert_int_equal(run("--help", true, said, sizeof said), 0);
    assert_non_null(strstr(said, "topic create NAME"));
    assert_int_equal(run("produce --version", true, said, sizeof said), 0);
    assert_string_equal(said, "streamhouse 0.1.0\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse_is_named_in_one_line),
        cmocka_unit_test(absent_server_is_a_failure_with_a_remedy),
        cmocka_unit_test(help_and_version_go_to_stdout),
    };
    return cmocka_run_group_tests_name("usage", tests, find_program, NULL);
}
