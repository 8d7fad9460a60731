/* Which batches of an idempotent producer are stored, and what is said of the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/log/producers.h"

#define ID 7

static ShProducerBudget budget = {.count_max = 1000000};

static ShAppendBatch batch_of(int64_t id, int16_t epoch, int32_t sequence, int32_t count)
{
    return (ShAppendBatch){.header = {.producer_id = id,
                                      .producer_epoch = epoch,
                                      .base_sequence = sequence,
                                      .last_offset_delta = count - 1,
                                      .record_count = count}};
}

/* As the log does: check, and take in what is new at `offset`. */
static ShStatus offer(ShProducers *producers, ShAppendBatch *batches, size_t count, int32_t unacked,
                      int64_t offset, ShSequenceCheck *check)
{
    ShError err = {0};
    ShStatus status = sh_producers_check(producers, batches, count, unacked, check, &err);
    if (status != SH_OK || check->claim_needed)
        return status;
    assert_int_equal(sh_producers_reserve(producers, &budget, batches[0].header.producer_id, 0, 0, &err),
                     SH_OK);
    for (size_t i = check->duplicates; i < count; i++) {
        batches[i].header.base_offset = offset;
        offset += batches[i].header.last_offset_delta + 1;
        sh_producers_note(producers, &batches[i].header);
    }
    return SH_OK;
}

typedef struct Step {
    int16_t epoch;
    int32_t sequence;
    int32_t count;
    int64_t offset; /* where it would be stored */
    ShStatus status;
    int64_t found; /* -1: it is new; else a duplicate, there */
} Step;

static void run_steps(ShProducers *producers, const Step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const Step *step = &steps[i];
        ShSequenceCheck check;
        ShAppendBatch batch = batch_of(ID, step->epoch, step->sequence, step->count);
        ShStatus status = offer(producers, &batch, 1, step->sequence, step->offset, &check);
        if (status != step->status)
            fail_msg("step %zu: %s instead of %s", i, sh_status_name(status), sh_status_name(step->status));
        if (status == SH_OK && (check.duplicates == 1) != (step->found >= 0))
            fail_msg("step %zu: %zu duplicates", i, check.duplicates);
        if (status == SH_OK && step->found >= 0)
            assert_int_equal(batch.header.base_offset, step->found);
    }
    sh_producers_clear(producers);
    assert_int_equal(atomic_load(&budget.count), 0);
}

#define RUN(steps) run_steps(&(ShProducers){0}, steps, sizeof(steps) / sizeof(steps)[0])

static void duplicates_and_gaps(void **state)
{
    (void)state;
    static const Step steps[] = {
        {0, 1, 1, 0, SH_UNKNOWN_PRODUCER_ID, -1},
        {0, 0, 10, 100, SH_OK, -1},
        {0, 0, 10, 0, SH_OK, 100},
        {0, 3, 2, 0, SH_OK, 103},
        {0, 11, 1, 0, SH_OUT_OF_ORDER_SEQUENCE, -1},
        {0, 12, 1, 0, SH_OUT_OF_ORDER_SEQUENCE, -1},
        {0, 5, 10, 0, SH_OUT_OF_ORDER_SEQUENCE, -1}, /* made anew around what is stored */
        {0, 10, 5, 200, SH_OK, -1},
        {0, 10, 5, 0, SH_OK, 200},
        {0, 9, 2, 0, SH_DUPLICATE_SEQUENCE, -1}, /* across two places */
        {0, 15, 1, 205, SH_OK, -1},
    };
    RUN(steps);
}

static void sequences_begin_again_behind_the_last(void **state)
{
    (void)state;
    static const Step steps[] = {
        {0, INT32_MAX - 2, 5, 100, SH_OK, -1}, /* to INT32_MAX, 0 and 1 */
        {0, INT32_MAX - 2, 5, 0, SH_OK, 100},
        {0, 0, 2, 0, SH_OK, 103},
        {0, 3, 1, 0, SH_OUT_OF_ORDER_SEQUENCE, -1},
        {0, 2, 1, 105, SH_OK, -1},
        {0, INT32_MAX - 3, 2, 0, SH_DUPLICATE_SEQUENCE, -1},
        {0, INT32_MAX, 4, 0, SH_OK, 102},
    };
    ShProducers producers = {0};
    ShStretch stored = {.base_offset = 10, .base_sequence = INT32_MAX - 3, .count = 1};
    assert_int_equal(sh_producers_reserve(&producers, &budget, ID, 0, 0, NULL), SH_OK);
    sh_producers_note_stretch(&producers, ID, 0, &stored);
    run_steps(&producers, steps, sizeof steps / sizeof steps[0]);
    assert_int_equal(sh_sequence_add(INT32_MAX, 1), 0);
    assert_int_equal(sh_sequence_distance(1, INT32_MAX), 2);
    assert_int_equal(sh_sequence_distance(INT32_MAX, 1), -2);
}

static void epochs_of_the_producer(void **state)
{
    (void)state;
    static const Step steps[] = {
        {3, 0, 2, 10, SH_OK, -1},
        {2, 2, 1, 0, SH_INVALID_PRODUCER_EPOCH, -1},
        {4, 2, 1, 0, SH_OUT_OF_ORDER_SEQUENCE, -1},
        {3, 2, 1, 12, SH_OK, -1},
        {4, 0, 1, 13, SH_OK, -1},
        {3, 3, 1, 0, SH_INVALID_PRODUCER_EPOCH, -1},
        {4, 0, 1, 0, SH_OK, 13},
        {4, 1, 1, 14, SH_OK, -1},
    };
    RUN(steps);
}

/* Five places are remembered, each as long as the batches follow each other. */
static void the_window(void **state)
{
    (void)state;
    static const Step steps[] = {
        {0, 0, 1, 0, SH_OK, -1},  {0, 1, 1, 1, SH_OK, -1},  {0, 2, 1, 2, SH_OK, -1},
        {0, 3, 1, 10, SH_OK, -1}, {0, 4, 1, 20, SH_OK, -1}, {0, 5, 1, 30, SH_OK, -1},
        {0, 6, 1, 40, SH_OK, -1}, {0, 0, 3, 0, SH_OK, 0},   {0, 2, 1, 0, SH_OK, 2},
        {0, 7, 1, 50, SH_OK, -1}, {0, 3, 1, 0, SH_OK, 10},  {0, 2, 1, 0, SH_DUPLICATE_SEQUENCE, -1},
        {0, 7, 1, 0, SH_OK, 50},
    };
    RUN(steps);
}

static void batches_of_one_call(void **state)
{
    (void)state;
    ShProducers producers = {0};
    ShSequenceCheck check;
    ShAppendBatch first[] = {batch_of(ID, 0, 0, 2), batch_of(ID, 0, 2, 1)};
    assert_int_equal(offer(&producers, first, 2, 0, 100, &check), SH_OK);
    ShAppendBatch mixed[] = {batch_of(ID, 0, 2, 1), batch_of(ID, 0, 3, 1), batch_of(ID, 0, 4, 1)};
    assert_int_equal(offer(&producers, mixed, 3, 2, 200, &check), SH_OK);
    assert_int_equal(check.duplicates, 1);
    assert_int_equal(mixed[0].header.base_offset, 102);
    ShAppendBatch gap[] = {batch_of(ID, 0, 5, 1), batch_of(ID, 0, 7, 1)};
    assert_int_equal(offer(&producers, gap, 2, 5, 0, &check), SH_OUT_OF_ORDER_SEQUENCE);
    ShAppendBatch twice[] = {batch_of(ID, 0, 5, 1), batch_of(ID, 0, 5, 1)};
    assert_int_equal(offer(&producers, twice, 2, 5, 0, &check), SH_OUT_OF_ORDER_SEQUENCE);
    ShAppendBatch strangers[] = {batch_of(ID, 0, 5, 1), batch_of(ID + 1, 0, 0, 1)};
    assert_int_equal(offer(&producers, strangers, 2, 5, 0, &check), SH_INVALID);
    sh_producers_clear(&producers);
}

/* An earlier epoch of the partition has sequences 0 to 4, of which 0 and 1 are published. */
static void claims_while_an_earlier_epoch_is_unresolved(void **state)
{
    (void)state;
    ShProducers producers = {.unresolved = true};
    ShSequenceCheck check;
    ShStretch published = {.base_offset = 10, .base_sequence = 0, .count = 2};
    assert_int_equal(sh_producers_reserve(&producers, &budget, ID, 0, 0, NULL), SH_OK);
    sh_producers_note_stretch(&producers, ID, 0, &published);

    ShAppendBatch batch = batch_of(ID, 0, 1, 1);
    assert_int_equal(offer(&producers, &batch, 1, 1, 0, &check), SH_OK);
    assert_int_equal(check.duplicates, 1); /* no claim is needed to know that */
    assert_int_equal(batch.header.base_offset, 11);

    batch = batch_of(ID, 0, 4, 1);
    assert_int_equal(offer(&producers, &batch, 1, 3, 0, &check), SH_OUT_OF_ORDER_SEQUENCE);
    batch = batch_of(ID, 0, 2, 1);
    assert_int_equal(offer(&producers, &batch, 1, 3, 0, &check), SH_DUPLICATE_SEQUENCE);
    batch = batch_of(ID, 0, 3, 1);
    assert_int_equal(offer(&producers, &batch, 1, 3, 0, &check), SH_OK);
    assert_true(check.claim_needed);
    batch = batch_of(ID, 0, 2, 1); /* follows what is published, though an earlier one is open as well */
    assert_int_equal(offer(&producers, &batch, 1, 1, 0, &check), SH_OK);
    assert_true(check.claim_needed);

    sh_producers_note_claim(&producers, ID, 0, 3);
    ShAppendBatch two[] = {batch_of(ID, 0, 3, 1), batch_of(ID, 0, 4, 1)};
    assert_int_equal(offer(&producers, two, 2, 3, 500, &check), SH_OK);
    assert_false(check.claim_needed);
    batch = batch_of(ID, 0, 2, 1);
    assert_int_equal(offer(&producers, &batch, 1, 5, 0, &check), SH_DUPLICATE_SEQUENCE);

    batch = batch_of(ID, 1, 0, 1); /* another epoch of it is another promise */
    assert_int_equal(offer(&producers, &batch, 1, 0, 0, &check), SH_OK);
    assert_true(check.claim_needed);
    batch = batch_of(ID + 1, 0, 0, 1);
    assert_int_equal(offer(&producers, &batch, 1, 0, 0, &check), SH_OK);
    assert_true(check.claim_needed);
    sh_producers_clear(&producers);
}

/* What a claim was made for long ago is published, and was given up; PostgreSQL tells it with the same claim.
 */
static void a_claim_never_sets_a_producer_back(void **state)
{
    (void)state;
    ShProducers producers = {.unresolved = true};
    ShSequenceCheck check;
    ShStretch published = {.base_offset = 10, .base_sequence = 0, .count = 10};
    assert_int_equal(sh_producers_reserve(&producers, &budget, ID, 0, 0, NULL), SH_OK);
    sh_producers_note_stretch(&producers, ID, 0, &published);
    sh_producers_note_claim(&producers, ID, 0, 5);

    ShAppendBatch batch = batch_of(ID, 0, 5, 5);
    assert_int_equal(offer(&producers, &batch, 1, 5, 0, &check), SH_OK);
    assert_int_equal(check.duplicates, 1);
    batch = batch_of(ID, 0, 5, 7); /* cut anew, around what is stored */
    assert_int_equal(offer(&producers, &batch, 1, 5, 20, &check), SH_OUT_OF_ORDER_SEQUENCE);
    batch = batch_of(ID, 0, 10, 1);
    assert_int_equal(offer(&producers, &batch, 1, 10, 20, &check), SH_OK);
    assert_int_equal(check.duplicates, 0);
    assert_false(check.claim_needed);

    ShStretch newer = {.base_offset = 21, .base_sequence = 0, .count = 1};
    sh_producers_note_stretch(&producers, ID, 1, &newer);
    sh_producers_note_claim(&producers, ID, 0, 5);
    batch = batch_of(ID, 0, 5, 7);
    assert_int_equal(offer(&producers, &batch, 1, 5, 22, &check), SH_INVALID_PRODUCER_EPOCH);
    batch = batch_of(ID, 1, 0, 1);
    assert_int_equal(offer(&producers, &batch, 1, 0, 22, &check), SH_OK);
    assert_int_equal(check.duplicates, 1);
    sh_producers_clear(&producers);
}

/* A batch of sequences 100 to 109 (or around the last one) beside every place where a claim can begin. */
static void how_much_of_a_batch_lies_before_a_sequence(void **state)
{
    (void)state;
    static const struct {
        int32_t base;
        int32_t sequence;
        int32_t before;
    } cases[] = {
        {100, 0, 0},
        {100, 99, 0},
        {100, 100, 0},
        {100, 101, 1},
        {100, 105, 5},
        {100, 109, 9},
        {100, 110, 10},
        {100, 111, 10},
        {100, 1 << 29, 10},
        {INT32_MAX - 4, INT32_MAX - 5, 0},
        {INT32_MAX - 4, INT32_MAX - 4, 0},
        {INT32_MAX - 4, INT32_MAX, 4},
        {INT32_MAX - 4, 0, 5},
        {INT32_MAX - 4, 4, 9},
        {INT32_MAX - 4, 5, 10},
        {INT32_MAX - 4, 6, 10},
        {0, INT32_MAX, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShBatchHeader header = {.base_sequence = cases[i].base, .last_offset_delta = 9};
        int32_t before = sh_sequences_before(&header, cases[i].sequence);
        if (before != cases[i].before)
            fail_msg("case %zu: %d before instead of %d", i, before, cases[i].before);
    }
}

/* An owner that knows sequences 0 to 9 published, their places forgotten up to 6, and waits for no more. */
static void what_overlaps_the_published_is_not_claimed(void **state)
{
    (void)state;
    static const struct {
        int32_t sequence;
        int32_t count;
        ShStatus status;
        bool claim;
    } cases[] = {
        {0, 3, SH_DUPLICATE_SEQUENCE, false},
        {5, 3, SH_DUPLICATE_SEQUENCE, false}, /* half of it at a known place */
        {7, 3, SH_OK, false},
        {5, 6, SH_OUT_OF_ORDER_SEQUENCE, false},
        {9, 2, SH_OUT_OF_ORDER_SEQUENCE, false},
        {0, 11, SH_OUT_OF_ORDER_SEQUENCE, false},
        {10, 1, SH_OK, true},
        {11, 1, SH_OK, true}, /* it knows 10 to be acknowledged: the earlier epoch has that */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShProducers producers = {.unresolved = true};
        ShSequenceCheck check = {0};
        ShStretch known = {.base_offset = 57, .base_sequence = 7, .count = 3};
        assert_int_equal(sh_producers_reserve(&producers, &budget, ID, 0, 0, NULL), SH_OK);
        sh_producers_note_stretch(&producers, ID, 0, &known);
        ShAppendBatch batch = batch_of(ID, 0, cases[i].sequence, cases[i].count);
        ShStatus status = offer(&producers, &batch, 1, cases[i].sequence, 100, &check);
        if (status != cases[i].status || check.claim_needed != cases[i].claim)
            fail_msg("case %zu: %s, claim %d", i, sh_status_name(status), check.claim_needed);
        sh_producers_clear(&producers);
    }
}

static ShStatus come(ShProducers *producers, ShProducerBudget *of, int64_t id, int64_t published_end,
                     int64_t now_ms)
{
    ShError err = {0};
    ShStatus status = sh_producers_reserve(producers, of, id, published_end, now_ms, &err);
    assert_int_equal(err.retriable, status == SH_EXHAUSTED);
    assert_true(status == SH_OK || err.retry_after_ms > 0);
    return status;
}

static void note_at(ShProducers *producers, int64_t id, int64_t offset)
{
    ShStretch stretch = {.base_offset = offset, .base_sequence = 0, .count = 1};
    sh_producers_note_stretch(producers, id, 0, &stretch);
}

/* At the bound of a partition newcomers wait, and the retry of whoever is known is recognised. */
static void nobody_is_forgotten_whose_retry_may_come(void **state)
{
    (void)state;
    ShProducers producers = {0};
    const int64_t idle_ms = SH_PRODUCER_IDLE_MS;
    for (int64_t id = 0; id < SH_PRODUCERS_MAX; id++) {
        assert_int_equal(come(&producers, &budget, id * 7919 % SH_PRODUCERS_MAX, 0, 0), SH_OK);
        note_at(&producers, id * 7919 % SH_PRODUCERS_MAX, id);
        sh_producers_find(&producers, id * 7919 % SH_PRODUCERS_MAX)->again = true;
    }
    assert_int_equal(producers.count, SH_PRODUCERS_MAX);
    for (size_t i = 1; i < producers.count; i++)
        assert_true(producers.list[i - 1]->producer_id < producers.list[i]->producer_id);
    /* All are published, and all were used; then all are idle, and none is published. */
    assert_int_equal(come(&producers, &budget, SH_PRODUCERS_MAX, INT64_MAX, idle_ms - 1), SH_EXHAUSTED);
    assert_int_equal(come(&producers, &budget, SH_PRODUCERS_MAX, 0, idle_ms), SH_EXHAUSTED);
    assert_int_equal(producers.count, SH_PRODUCERS_MAX);
    assert_false(producers.partial);
    ShSequenceCheck check;
    ShAppendBatch again = batch_of(0, 0, 0, 1);
    assert_int_equal(offer(&producers, &again, 1, 0, 0, &check), SH_OK);
    assert_int_equal(check.duplicates, 1);
    /* Half of them are published and idle, but for one that came again. */
    int64_t published_end = SH_PRODUCERS_MAX / 2;
    int64_t used = producers.list[1]->producer_id;
    while (sh_producers_find(&producers, used)->stretches[0].base_offset >= published_end)
        used++;
    assert_int_equal(come(&producers, &budget, used, published_end, idle_ms), SH_OK);
    assert_int_equal(come(&producers, &budget, SH_PRODUCERS_MAX, published_end, idle_ms), SH_OK);
    assert_true(producers.partial);
    assert_true(producers.count >= SH_PRODUCERS_MAX / 2 + 2 && producers.count <= SH_PRODUCERS_MAX / 2 + 3);
    assert_non_null(sh_producers_find(&producers, used));
    assert_non_null(sh_producers_find(&producers, SH_PRODUCERS_MAX));
    for (size_t i = 0; i < producers.count; i++) {
        const ShProducerState *left = producers.list[i];
        assert_true(left->producer_id == used || left->producer_id == SH_PRODUCERS_MAX ||
                    left->producer_id == 0 || left->stretches[0].base_offset >= published_end);
    }
    sh_producers_clear(&producers);
    assert_int_equal(atomic_load(&budget.count), 0);
}

/* Ids that come with one batch each fill a partition for seconds: then those of them that are published make
 * room. */
static void who_has_come_once_makes_room(void **state)
{
    (void)state;
    ShProducers producers = {0};
    for (int64_t id = 0; id < SH_PRODUCERS_MAX; id++) {
        assert_int_equal(come(&producers, &budget, id, 0, 1), SH_OK);
        note_at(&producers, id, id);
    }
    note_at(&producers, 7, SH_PRODUCERS_MAX);
    const int64_t newcomer = SH_PRODUCERS_MAX;
    const int64_t end = SH_PRODUCERS_MAX + 1;
    assert_int_equal(come(&producers, &budget, newcomer, end, SH_PRODUCER_ONCE_MS), SH_EXHAUSTED);
    assert_int_equal(come(&producers, &budget, newcomer, 0, SH_PRODUCER_ONCE_MS + 1), SH_EXHAUSTED);
    assert_int_equal(come(&producers, &budget, newcomer, end, SH_PRODUCER_ONCE_MS + 1), SH_OK);
    assert_int_equal(producers.count, 2);
    assert_non_null(sh_producers_find(&producers, 7));
    assert_true(producers.partial);
    sh_producers_clear(&producers);
}

/* A sweep that found nothing is not repeated for each newcomer, unless something was published, or a while is
 * over. */
static void futile_sweeps_are_rare(void **state)
{
    (void)state;
    ShProducerBudget small = {.count_max = 1};
    ShProducers producers = {0};
    assert_int_equal(come(&producers, &small, 1, 0, 1), SH_OK);
    note_at(&producers, 1, 0);
    assert_int_equal(come(&producers, &small, 2, 1, SH_PRODUCER_ONCE_MS), SH_EXHAUSTED);
    assert_int_equal(come(&producers, &small, 2, 1, SH_PRODUCER_ONCE_MS + 99), SH_EXHAUSTED);
    assert_int_equal(come(&producers, &small, 2, 2, SH_PRODUCER_ONCE_MS + 99), SH_OK);
    note_at(&producers, 2, 1);
    sh_producers_find(&producers, 2)->again = true;
    const int64_t used_ms = SH_PRODUCER_ONCE_MS + 99;
    assert_int_equal(come(&producers, &small, 3, 2, used_ms + SH_PRODUCER_IDLE_MS - 1), SH_EXHAUSTED);
    assert_int_equal(come(&producers, &small, 3, 2, used_ms + SH_PRODUCER_IDLE_MS + 98), SH_EXHAUSTED);
    assert_int_equal(come(&producers, &small, 3, 2, used_ms + SH_PRODUCER_IDLE_MS + 99), SH_OK);
    sh_producers_clear(&producers);
}

/* The bound of all partitions: each has its last writer, and who is refused has room made for him. */
static void all_partitions_share_a_bound(void **state)
{
    (void)state;
    ShProducerBudget small = {.count_max = 2};
    ShProducers one = {0};
    ShProducers two = {0};
    assert_int_equal(come(&one, &small, 1, 0, 0), SH_OK);
    assert_int_equal(come(&one, &small, 2, 0, 0), SH_OK);
    note_at(&one, 1, 10);
    note_at(&one, 2, 11);
    sh_producers_find(&one, 1)->again = sh_producers_find(&one, 2)->again = true;
    assert_int_equal(come(&two, &small, 1, 0, 0), SH_OK);
    assert_false(atomic_load(&small.is_short));
    assert_int_equal(come(&two, &small, 2, 0, 0), SH_EXHAUSTED);
    assert_true(atomic_load(&small.is_short));
    assert_int_equal(sh_producers_sweep(&one, 11, SH_PRODUCER_IDLE_MS), 1);
    assert_null(sh_producers_find(&one, 1));
    assert_int_equal(sh_producers_sweep(&one, 12, SH_PRODUCER_IDLE_MS - 1), 0);
    assert_int_equal(sh_producers_sweep(&one, 12, SH_PRODUCER_IDLE_MS), 1);
    assert_int_equal(come(&two, &small, 2, 0, 0), SH_OK);
    sh_producers_clear(&one);
    sh_producers_clear(&two);
}

/* 19 producers that write to all of 10,000 partitions, within the default memory budget. */
static void the_ordinary_large_case_fits(void **state)
{
    (void)state;
    assert_true((512 << 20) / 16 / SH_PRODUCER_STATE_BYTES >= 19 * 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(duplicates_and_gaps),
        cmocka_unit_test(sequences_begin_again_behind_the_last),
        cmocka_unit_test(epochs_of_the_producer),
        cmocka_unit_test(the_window),
        cmocka_unit_test(batches_of_one_call),
        cmocka_unit_test(claims_while_an_earlier_epoch_is_unresolved),
        cmocka_unit_test(a_claim_never_sets_a_producer_back),
        cmocka_unit_test(how_much_of_a_batch_lies_before_a_sequence),
        cmocka_unit_test(what_overlaps_the_published_is_not_claimed),
        cmocka_unit_test(nobody_is_forgotten_whose_retry_may_come),
        cmocka_unit_test(who_has_come_once_makes_room),
        cmocka_unit_test(futile_sweeps_are_rare),
        cmocka_unit_test(all_partitions_share_a_bound),
        cmocka_unit_test(the_ordinary_large_case_fits),
    };
    return cmocka_run_group_tests_name("producers", tests, NULL, NULL);
}
