/* Who comes when: jobs in their order, askers in turns, groups in turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/base/rounds.h"

typedef struct Job {
    ShRoundJob turn;
    const char *name;
} Job;

/* The linker sends calls here. */
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
static int fail_after = -1; /* so many calls; -1: none fails */

void *__wrap_calloc(size_t count, size_t bytes)
{
    if (fail_after >= 0 && fail_after-- == 0)
        return NULL;
    return __real_calloc(count, bytes);
}

#define KEY(letter) ((const void *)(uintptr_t)(letter))

/* Each job's name is its group, its asker and its number. */
static void put(ShRounds *rounds, Job *job, const char *name)
{
    job->name = name;
    assert_true(sh_rounds_put(rounds, KEY(name[0] - '0'), KEY(name[1]), &job->turn));
}

static void expect(ShRounds *rounds, const char *name)
{
    Job *job = (Job *)sh_rounds_take(rounds);
    assert_non_null(job);
    assert_string_equal(job->name, name);
}

static void test_turns(void **state)
{
    (void)state;
    static const char *const came[] = {"1a1", "1a2", "1a3", "1b1", "2c1", "2c2", "1b2", "0d1", "2e1"};
    static const char *const go[] = {"1a1", "2c1", "0d1", "1b1", "2e1", "1a2", "2c2", "1b2", "1a3"};
    Job jobs[sizeof came / sizeof came[0]];
    ShRounds rounds;
    sh_rounds_init(&rounds);
    assert_null(sh_rounds_take(&rounds));
    for (size_t i = 0; i < sizeof came / sizeof came[0]; i++)
        put(&rounds, &jobs[i], came[i]);
    for (size_t i = 0; i < sizeof go / sizeof go[0]; i++)
        expect(&rounds, go[i]);
    assert_null(sh_rounds_take(&rounds));
}

/* What is taken back leaves the others their turns, and nothing behind. */
static void test_jobs_are_taken_back(void **state)
{
    (void)state;
    static const char *const came[] = {"1a1", "1a2", "1b1", "2c1", "0d1", "0d2"};
    Job jobs[sizeof came / sizeof came[0]];
    ShRounds rounds;
    sh_rounds_init(&rounds);
    for (size_t i = 0; i < sizeof came / sizeof came[0]; i++)
        put(&rounds, &jobs[i], came[i]);
    sh_rounds_remove(&rounds, KEY(1), KEY('a'), &jobs[0].turn);
    sh_rounds_remove(&rounds, KEY(2), KEY('c'), &jobs[3].turn);
    sh_rounds_remove(&rounds, KEY(0), KEY('d'), &jobs[5].turn);
    expect(&rounds, "1a2");
    expect(&rounds, "0d1");
    sh_rounds_remove(&rounds, KEY(1), KEY('b'), &jobs[2].turn);
    assert_null(sh_rounds_take(&rounds));
    put(&rounds, &jobs[3], "2c1");
    expect(&rounds, "2c1");
}

/* Who comes while others are served waits for one job of each, whatever they have. */
static void test_a_newcomer_waits_for_one_of_each(void **state)
{
    (void)state;
    Job many[40];
    Job one;
    ShRounds rounds;
    sh_rounds_init(&rounds);
    for (size_t i = 0; i < 20; i++) {
        put(&rounds, &many[2 * i], "1am");
        put(&rounds, &many[2 * i + 1], "2bm");
    }
    expect(&rounds, "1am");
    put(&rounds, &one, "3c1");
    expect(&rounds, "2bm");
    expect(&rounds, "1am");
    expect(&rounds, "3c1");
    for (size_t i = 0; i < 18; i++) {
        expect(&rounds, "2bm");
        expect(&rounds, "1am");
    }
    expect(&rounds, "2bm");
    assert_null(sh_rounds_take(&rounds));
}

static void test_no_memory_refuses_the_job_alone(void **state)
{
    (void)state;
    int refused = 0;
    for (int after = 0; after < 6; after++) {
        Job first;
        Job second = {.name = "2b1"};
        ShRounds rounds;
        sh_rounds_init(&rounds);
        put(&rounds, &first, "1a1");
        fail_after = after;
        bool taken = sh_rounds_put(&rounds, KEY(2), KEY('b'), &second.turn);
        fail_after = -1;
        refused += !taken;
        expect(&rounds, "1a1");
        if (taken)
            expect(&rounds, "2b1");
        assert_null(sh_rounds_take(&rounds));
        put(&rounds, &second, "2b1");
        expect(&rounds, "2b1");
        assert_null(sh_rounds_take(&rounds));
    }
    assert_in_range(refused, 1, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_jobs_are_taken_back),
        cmocka_unit_test(test_a_newcomer_waits_for_one_of_each),
        cmocka_unit_test(test_no_memory_refuses_the_job_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
