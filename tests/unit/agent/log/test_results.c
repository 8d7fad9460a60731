/* Results of publishes that no object carries yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "agent/base/clock.h"
#include "agent/log/results.h"

static int64_t now_ms = 1000;

static int64_t get_now_ms(void)
{
    return now_ms;
}

/* The oldest is written within ten seconds, whatever came after it; what was taken is due no more. */
static void test_the_oldest_is_due_in_ten_seconds(void **state)
{
    (void)state;
    ShResults results;
    ShSegmentResult *taken;
    size_t count;
    sh_clock_set_for_test(get_now_ms);
    sh_results_init(&results);
    assert_int_equal(sh_results_due_ms(&results), INT64_MAX);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(sh_results_add(&results, &(ShSegmentResult){0}, 1, NULL), SH_OK);
        now_ms += 5;
        assert_int_equal(sh_results_due_ms(&results), 11000);
    }
    sh_results_take(&results, &taken, &count);
    assert_int_equal(count, 100);
    free(taken);
    assert_int_equal(sh_results_due_ms(&results), INT64_MAX);
    sh_results_take(&results, &taken, &count);
    assert_int_equal(count, 0);
    assert_null(taken);
    assert_int_equal(sh_results_add(&results, &(ShSegmentResult){0}, 1, NULL), SH_OK);
    assert_int_equal(sh_results_due_ms(&results), now_ms + 10000);
    sh_results_destroy(&results);
    sh_clock_set_for_test(NULL);
}

/* What comes together is taken together, in its order. */
static void test_results_of_an_object_stay_together(void **state)
{
    (void)state;
    ShResults results;
    ShSegmentResult *taken;
    ShSegmentResult added[200] = {{0}};
    size_t count;
    sh_results_init(&results);
    for (int i = 0; i < 200; i++)
        added[i].first_offset = i;
    assert_int_equal(sh_results_add(&results, added, 0, NULL), SH_OK);
    assert_int_equal(sh_results_due_ms(&results), INT64_MAX);
    assert_int_equal(sh_results_add(&results, added, 130, NULL), SH_OK);
    assert_int_equal(sh_results_add(&results, added + 130, 70, NULL), SH_OK);
    sh_results_take(&results, &taken, &count);
    assert_int_equal(count, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(taken[i].first_offset, i);
    free(taken);
    sh_results_destroy(&results);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_of_an_object_stay_together),
        cmocka_unit_test(test_the_oldest_is_due_in_ten_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
