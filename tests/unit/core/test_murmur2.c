#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/murmur2.h"
#include "tests/unit/core/vectors/librdkafka_batches.h"

/* Values that the Java client's own tests state. */
static void java_values(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int32_t hash;
    } known[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"abc", 479470107},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        assert_int_equal((int32_t)sh_murmur2(known[i].key, strlen(known[i].key)), known[i].hash);
}

static void librdkafka_partitions_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof librdkafka_partitions / sizeof librdkafka_partitions[0]; i++) {
        const LibrdkafkaPartition *expected = &librdkafka_partitions[i];
        assert_int_equal(sh_murmur2_partition(expected->key, strlen(expected->key), LIBRDKAFKA_PARTITIONS),
                         expected->partition);
    }
}

static void partition_is_in_range(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        int32_t partition = sh_murmur2_partition(&i, sizeof i, 7);
        assert_in_range(partition, 0, 6);
        assert_int_equal(sh_murmur2_partition(&i, sizeof i, 1), 0);
    }
    assert_in_range(sh_murmur2_partition(NULL, 0, 7), 0, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(java_values),
        cmocka_unit_test(librdkafka_partitions_agree),
        cmocka_unit_test(partition_is_in_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
