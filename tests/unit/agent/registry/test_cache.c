/* The cache of schemas by id: bounds, order of use, freshness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/registry/cache.h"

static int64_t now_ms = 1000000;

static int64_t get_now_ms(void)
{
    return now_ms;
}

static int start(void **state)
{
    sh_clock_set_for_test(get_now_ms);
    return sh_registry_cache_new(10000, (ShRegistryCache **)state, NULL) == SH_OK ? 0 : -1;
}

static int stop(void **state)
{
    sh_registry_cache_free(*state);
    sh_registry_cache_free(NULL);
    sh_clock_set_for_test(NULL);
    return 0;
}

static ShRegistryFound look_up(ShRegistryCache *cache, int32_t id, ShRegistryForm form, const char *expected)
{
    char *body;
    size_t length;
    ShRegistryFound found = sh_registry_cache_get(cache, id, form, &body, &length);
    if (found == SH_REGISTRY_FOUND_NOTHING)
        return found;
    assert_int_equal(length, strlen(expected));
    assert_string_equal(body, expected);
    free(body);
    return found;
}

static void test_ids_and_forms_are_apart(void **state)
{
    ShRegistryCache *cache = *state;
    sh_registry_cache_put(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}", 2);
    sh_registry_cache_put(cache, 1, SH_REGISTRY_FORM_TEXT, "text", 4);
    sh_registry_cache_put(cache, 1025, SH_REGISTRY_FORM_OBJECT, "same bucket", 11);
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}"), SH_REGISTRY_FOUND_FRESH);
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_TEXT, "text"), SH_REGISTRY_FOUND_FRESH);
    assert_int_equal(look_up(cache, 1025, SH_REGISTRY_FORM_OBJECT, "same bucket"), SH_REGISTRY_FOUND_FRESH);
    assert_int_equal(look_up(cache, 2, SH_REGISTRY_FORM_OBJECT, ""), SH_REGISTRY_FOUND_NOTHING);
    sh_registry_cache_remove(cache, 1, SH_REGISTRY_FORM_OBJECT);
    sh_registry_cache_remove(cache, 2, SH_REGISTRY_FORM_OBJECT);
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, ""), SH_REGISTRY_FOUND_NOTHING);
    assert_int_equal(look_up(cache, 1025, SH_REGISTRY_FORM_OBJECT, "same bucket"), SH_REGISTRY_FOUND_FRESH);
    sh_registry_cache_clear(cache);
    assert_int_equal(look_up(cache, 1025, SH_REGISTRY_FORM_OBJECT, ""), SH_REGISTRY_FOUND_NOTHING);
    assert_int_equal(sh_registry_cache_bytes(cache), 0);
}

static void test_what_was_used_longest_ago_goes_first(void **state)
{
    ShRegistryCache *cache = *state;
    static char body[1000];
    memset(body, 'x', sizeof body - 1);
    for (int32_t id = 1; id <= 8; id++)
        sh_registry_cache_put(cache, id, SH_REGISTRY_FORM_OBJECT, body, sizeof body - 1);
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, body), SH_REGISTRY_FOUND_FRESH);
    for (int32_t id = 9; id <= 12; id++)
        sh_registry_cache_put(cache, id, SH_REGISTRY_FORM_OBJECT, body, sizeof body - 1);
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, body), SH_REGISTRY_FOUND_FRESH);
    assert_int_equal(look_up(cache, 2, SH_REGISTRY_FORM_OBJECT, body), SH_REGISTRY_FOUND_NOTHING);
    assert_int_equal(look_up(cache, 12, SH_REGISTRY_FORM_OBJECT, body), SH_REGISTRY_FOUND_FRESH);
    assert_in_range(sh_registry_cache_bytes(cache), 8000, 10000);

    /* One that would take more than half of the room is not kept, and drives nobody out. */
    static char large[6000];
    memset(large, 'y', sizeof large - 1);
    sh_registry_cache_put(cache, 99, SH_REGISTRY_FORM_OBJECT, large, sizeof large - 1);
    assert_int_equal(look_up(cache, 99, SH_REGISTRY_FORM_OBJECT, large), SH_REGISTRY_FOUND_NOTHING);
    assert_int_equal(look_up(cache, 12, SH_REGISTRY_FORM_OBJECT, body), SH_REGISTRY_FOUND_FRESH);
}

static void test_one_of_many_is_told_that_it_is_old(void **state)
{
    ShRegistryCache *cache = *state;
    sh_registry_cache_put(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}", 2);
    now_ms += SH_REGISTRY_CACHE_FRESH_MS - 1;
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}"), SH_REGISTRY_FOUND_FRESH);
    now_ms += 1;
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}"), SH_REGISTRY_FOUND_OLD);
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}"), SH_REGISTRY_FOUND_FRESH);
    sh_registry_cache_put(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}", 2);
    now_ms += SH_REGISTRY_CACHE_FRESH_MS - 1;
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}"), SH_REGISTRY_FOUND_FRESH);
}

static void test_a_cache_without_room(void **state)
{
    (void)state;
    ShRegistryCache *cache;
    assert_int_equal(sh_registry_cache_new(0, &cache, NULL), SH_OK);
    sh_registry_cache_put(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}", 2);
    sh_registry_cache_put(cache, 2, SH_REGISTRY_FORM_OBJECT, "", 0);
    assert_int_equal(look_up(cache, 1, SH_REGISTRY_FORM_OBJECT, "{}"), SH_REGISTRY_FOUND_NOTHING);
    assert_int_equal(sh_registry_cache_bytes(cache), 0);
    sh_registry_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ids_and_forms_are_apart, start, stop),
        cmocka_unit_test_setup_teardown(test_what_was_used_longest_ago_goes_first, start, stop),
        cmocka_unit_test_setup_teardown(test_one_of_many_is_told_that_it_is_old, start, stop),
        cmocka_unit_test_setup_teardown(test_a_cache_without_room, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
