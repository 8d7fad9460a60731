/* What a publish is told of idempotent producers: of each producer's stretches in a run the first and the
 * last five. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/log/flight.h"

static const ShUuid topic = {{7}};

typedef struct Fixture {
    ShPartition *partition;
    ShFlight *flight;
    ShFlightRange *range; /* of all batches */
} Fixture;

static int setup(void **state)
{
    static Fixture fixture;
    fixture = (Fixture){.partition = sh_partition_new(&topic, 0, "t", false), .flight = sh_flight_new()};
    sh_partition_open(fixture.partition, 1, 0, 1000, 0);
    fixture.range = calloc(1, sizeof *fixture.range);
    assert_non_null(fixture.range);
    *fixture.range = (ShFlightRange){.partition = sh_partition_ref(fixture.partition), .idempotent = true};
    fixture.flight->ranges = fixture.range;
    fixture.flight->range_count = fixture.flight->range_capacity = 1;
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    Fixture *fixture = *state;
    sh_flight_free(fixture->flight);
    sh_partition_unref(fixture->partition);
    return 0;
}

/* A batch of two records; without a producer if `id` is -1. */
static void add(Fixture *fixture, int64_t id, int16_t producer_epoch, int32_t sequence)
{
    ShBatchRing *ring = &fixture->partition->ring;
    ShBuf *buf = sh_buf_new(SH_BATCH_HEADER_BYTES);
    assert_non_null(buf);
    ShBatchHeader header = {.base_offset = -1,
                            .last_offset_delta = 1,
                            .total_bytes = SH_BATCH_HEADER_BYTES,
                            .producer_id = id,
                            .producer_epoch = producer_epoch,
                            .base_sequence = sequence};
    ShSlice bytes = {.data = buf->data, .length = SH_BATCH_HEADER_BYTES, .owner = buf};
    ShLogBatch *batch = sh_log_batch_new(fixture->partition, bytes, &header);
    sh_buf_unref(buf);
    assert_non_null(batch);
    assert_int_equal(sh_batch_ring_reserve(ring, 1, NULL), SH_OK);
    sh_batch_ring_push(ring, batch);
    sh_partition_assign_offsets(fixture->partition, ring->end - 1);
    fixture->range->end = ring->end;
}

static size_t note(Fixture *fixture)
{
    assert_int_equal(sh_flight_note_stretches(fixture->flight, NULL), SH_OK);
    return fixture->flight->stretch_count;
}

static void assert_stretch(const Fixture *fixture, size_t i, int64_t id, int16_t producer_epoch,
                           int32_t sequence, int32_t count, int64_t offset)
{
    const ShPgStretch *stretch = &fixture->flight->stretches[i];
    assert_int_equal(stretch->run, 0);
    assert_int_equal(stretch->producer_id, id);
    assert_int_equal(stretch->producer_epoch, producer_epoch);
    assert_int_equal(stretch->base_sequence, sequence);
    assert_int_equal(stretch->count, count);
    assert_int_equal(stretch->base_offset, offset);
}

static void test_what_continues_is_one_stretch(void **state)
{
    Fixture *fixture = *state;
    add(fixture, 7, 0, 10);
    add(fixture, 7, 0, 12);
    add(fixture, -1, 0, -1);
    add(fixture, 7, 0, 14);
    add(fixture, 7, 1, 0);
    assert_int_equal(note(fixture), 3);
    assert_stretch(fixture, 0, 7, 0, 10, 4, 0);
    assert_stretch(fixture, 1, 7, 0, 14, 2, 6);
    assert_stretch(fixture, 2, 7, 1, 0, 2, 8);
}

/* From which sequence on it wrote there PostgreSQL compares, in a new term, with what another epoch has. */
static void test_the_first_and_the_last_five_of_many(void **state)
{
    Fixture *fixture = *state;
    for (int32_t i = 0; i < 9; i++) {
        add(fixture, 7, 0, 100 + 2 * i);
        add(fixture, 8, 0, 500 + 2 * i);
    }
    assert_int_equal(note(fixture), 12);
    assert_stretch(fixture, 0, 7, 0, 100, 2, 0);
    assert_stretch(fixture, 6, 8, 0, 500, 2, 2);
    for (int32_t i = 0; i < 5; i++) {
        assert_stretch(fixture, 1 + (size_t)i, 7, 0, 108 + 2 * i, 2, 16 + 4 * i);
        assert_stretch(fixture, 7 + (size_t)i, 8, 0, 508 + 2 * i, 2, 18 + 4 * i);
    }
}

static void test_six_of_a_producer_are_all(void **state)
{
    Fixture *fixture = *state;
    for (int32_t i = 0; i < 6; i++) {
        add(fixture, 7, 0, 100 + 2 * i);
        add(fixture, -1, 0, -1);
    }
    assert_int_equal(note(fixture), 6);
    for (int32_t i = 0; i < 6; i++)
        assert_stretch(fixture, (size_t)i, 7, 0, 100 + 2 * i, 2, 4 * i);
}

/* What a newer epoch of the producer brings displaces nothing of the older one. */
static void test_each_epoch_of_a_producer_by_itself(void **state)
{
    Fixture *fixture = *state;
    for (int32_t i = 0; i < 14; i++) {
        add(fixture, 7, i < 7 ? 0 : 1, i < 7 ? 100 + 2 * i : 2 * (i - 7));
        add(fixture, -1, 0, -1);
    }
    assert_int_equal(note(fixture), 12);
    assert_stretch(fixture, 0, 7, 0, 100, 2, 0);
    assert_stretch(fixture, 1, 7, 0, 104, 2, 8);
    assert_stretch(fixture, 5, 7, 0, 112, 2, 24);
    assert_stretch(fixture, 6, 7, 1, 0, 2, 28);
    assert_stretch(fixture, 7, 7, 1, 4, 2, 36);
    assert_stretch(fixture, 11, 7, 1, 12, 2, 52);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_continues_is_one_stretch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_first_and_the_last_five_of_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_six_of_a_producer_are_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_epoch_of_a_producer_by_itself, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
