#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/crc32c.h"

/* RFC 3720, appendix B.4. */
static void published_values(void **state)
{
    (void)state;
    uint8_t bytes[32];
    assert_int_equal(sh_crc32c("123456789", 9), 0xE3069283);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(sh_crc32c(bytes, sizeof bytes), 0x8A9136AA);
    memset(bytes, 0xFF, sizeof bytes);
    assert_int_equal(sh_crc32c(bytes, sizeof bytes), 0x62A8AB43);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)i;
    assert_int_equal(sh_crc32c(bytes, sizeof bytes), 0x46DD794E);
    for (int i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(sh_crc32c(bytes, sizeof bytes), 0x113FDB5C);
}

static void empty_input_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(sh_crc32c(NULL, 0), 0);
    assert_int_equal(sh_crc32c_extend(0xE3069283, NULL, 0), 0xE3069283);
}

static void parts_extend_to_the_whole(void **state)
{
    (void)state;
    uint8_t bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31 + i / 7);
    uint32_t whole = sh_crc32c(bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++)
        assert_int_equal(sh_crc32c_extend(sh_crc32c(bytes, cut), bytes + cut, sizeof bytes - cut), whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(empty_input_changes_nothing),
        cmocka_unit_test(parts_extend_to_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
