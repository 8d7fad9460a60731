#include "tests/unit/agent/base/base_test.h"

#include <signal.h>

#include "agent/base/clock.h"

static int64_t fake_now_ms(void)
{
    return 12345;
}

static void test_the_clock_can_be_replaced(void **state)
{
    (void)state;
    int64_t real_ms = sh_clock_now_ms();
    assert_true(real_ms > 0 && sh_clock_now_us() >= real_ms * 1000);
    sh_clock_set_for_test(fake_now_ms);
    assert_int_equal(sh_clock_now_ms(), 12345);
    assert_int_equal(sh_clock_now_us(), 12345000);
    assert_true(sh_clock_wall_ms() > 1600000000000);
    sh_clock_set_for_test(NULL);
    assert_true(sh_clock_now_ms() >= real_ms);
}

static void test_the_boot_id_is_a_uuid(void **state)
{
    (void)state;
    char first[37];
    char second[37];
    assert_int_equal(sh_boot_id(first, NULL), SH_OK);
    assert_int_equal(sh_boot_id(second, NULL), SH_OK);
    assert_string_equal(first, second);
    assert_int_equal(strlen(first), 36);
}

typedef struct Box {
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool told;
    bool signals_blocked;
} Box;

static void *tell(void *arg)
{
    Box *box = arg;
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    pthread_mutex_lock(&box->mutex);
    box->signals_blocked = sigismember(&mask, SIGTERM) == 1;
    box->told = true;
    pthread_cond_signal(&box->cond);
    pthread_mutex_unlock(&box->mutex);
    return NULL;
}

static void test_threads_block_signals_and_conditions_have_deadlines(void **state)
{
    (void)state;
    Box box = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(sh_cond_init(&box.cond, NULL), SH_OK);
    pthread_mutex_lock(&box.mutex);
    assert_false(sh_cond_wait_ms(&box.cond, &box.mutex, 1));
    assert_false(sh_cond_wait_ms(&box.cond, &box.mutex, -1));
    pthread_t thread;
    assert_int_equal(sh_thread_start(&thread, "a name that is too long", tell, &box, NULL), SH_OK);
    while (!box.told)
        assert_true(sh_cond_wait_ms(&box.cond, &box.mutex, INT64_MAX));
    pthread_mutex_unlock(&box.mutex);
    pthread_join(thread, NULL);
    assert_true(box.signals_blocked);
    pthread_cond_destroy(&box.cond);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_clock_can_be_replaced),
        cmocka_unit_test(test_the_boot_id_is_a_uuid),
        cmocka_unit_test(test_threads_block_signals_and_conditions_have_deadlines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
