#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/buf_pool.h"

#define MIB (1024 * 1024)

static void a_buffer_given_back_is_taken_again(void **state)
{
    (void)state;
    ShBufPool *pool = sh_buf_pool_new(4 * MIB);
    ShBuf *first = sh_buf_pool_take(pool, MIB);
    assert_true(first->capacity >= MIB);
    memset(first->data, 1, first->capacity);
    first->length = MIB;
    sh_buf_ref(first);
    sh_buf_unref(first);
    ShBuf *other = sh_buf_pool_take(pool, 2 * MIB); /* the first is still held */
    assert_ptr_not_equal(other, first);
    sh_buf_unref(first);

    ShBuf *again = sh_buf_pool_take(pool, MIB - 5);
    assert_ptr_equal(again, first);
    assert_int_equal(again->length, 0);
    memset(again->data, 2, again->capacity);
    sh_buf_unref(again);
    sh_buf_unref(other);
    sh_buf_pool_free(pool);
}

static void the_newest_comes_first_and_sizes_suit(void **state)
{
    (void)state;
    ShBufPool *pool = sh_buf_pool_new(16 * MIB);
    ShBuf *large = sh_buf_pool_take(pool, 4 * MIB);
    ShBuf *old = sh_buf_pool_take(pool, MIB);
    ShBuf *new = sh_buf_pool_take(pool, MIB);
    sh_buf_unref(large);
    sh_buf_unref(old);
    sh_buf_unref(new);
    ShBuf *taken = sh_buf_pool_take(pool, MIB);
    assert_ptr_equal(taken, new);
    ShBuf *second = sh_buf_pool_take(pool, MIB);
    assert_ptr_equal(second, old);
    ShBuf *third = sh_buf_pool_take(pool, MIB); /* four times too large is not given away */
    assert_ptr_not_equal(third, large);
    sh_buf_unref(taken);
    sh_buf_unref(second);
    sh_buf_unref(third);
    sh_buf_pool_free(pool);
}

static void what_is_idle_is_bounded_and_the_oldest_goes(void **state)
{
    (void)state;
    ShBufPool *pool = sh_buf_pool_new(2 * MIB);
    ShBuf *bufs[3];
    for (int i = 0; i < 3; i++)
        bufs[i] = sh_buf_pool_take(pool, MIB);
    for (int i = 0; i < 3; i++)
        sh_buf_unref(bufs[i]);
    ShBuf *first = sh_buf_pool_take(pool, MIB);
    ShBuf *second = sh_buf_pool_take(pool, MIB);
    assert_ptr_equal(first, bufs[2]);
    assert_ptr_equal(second, bufs[1]);
    ShBuf *huge = sh_buf_pool_take(pool, 3 * MIB); /* more than it keeps at all */
    sh_buf_unref(huge);
    sh_buf_unref(first);
    sh_buf_unref(second);
    sh_buf_pool_free(pool);
}

static void small_and_impossible_ones_are_not_the_pools(void **state)
{
    (void)state;
    ShBufPool *pool = sh_buf_pool_new(MIB);
    ShBuf *small = sh_buf_pool_take(pool, 100);
    assert_int_equal(small->capacity, 100);
    assert_null(small->pool);
    sh_buf_unref(small);
    small = sh_buf_pool_take(pool, (64 << 10) - 1);
    assert_int_equal(small->capacity, (64 << 10) - 1);
    assert_null(small->pool);
    assert_null(sh_buf_pool_take(pool, SIZE_MAX));
    sh_buf_pool_free(pool);
    sh_buf_unref(small);
    sh_buf_pool_free(NULL);
}

static void a_buffer_may_outlive_its_pool(void **state)
{
    (void)state;
    ShBufPool *pool = sh_buf_pool_new(4 * MIB);
    ShBuf *one = sh_buf_pool_take(pool, MIB);
    ShBuf *two = sh_buf_pool_take(pool, MIB);
    sh_buf_pool_free(pool);
    memset(two->data, 3, MIB);
    sh_buf_unref(one);
    sh_buf_unref(two);
}

static void *take_and_give_back(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        ShBuf *buf = sh_buf_pool_take(arg, MIB);
        buf->data[0] = (uint8_t)i;
        sh_buf_unref(buf);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    pthread_t threads[3];
    ShBufPool *pool = sh_buf_pool_new(2 * MIB);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give_back, pool), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    sh_buf_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_given_back_is_taken_again),
        cmocka_unit_test(the_newest_comes_first_and_sizes_suit),
        cmocka_unit_test(what_is_idle_is_bounded_and_the_oldest_goes),
        cmocka_unit_test(small_and_impossible_ones_are_not_the_pools),
        cmocka_unit_test(a_buffer_may_outlive_its_pool),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
