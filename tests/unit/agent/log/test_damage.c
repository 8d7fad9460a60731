/* One damaged byte in the store, each in turn: readers and compaction get an error or what was written, never
 * another record, offset, or end. */
#include "tests/unit/agent/log/log_fixture.h"

#include "agent/log/segment_read.h"

#define BATCHES       4
#define BATCH_RECORDS 3
#define RECORDS       (BATCHES * BATCH_RECORDS)

typedef struct Stored {
    char path[640];
    uint8_t *bytes;
    size_t length;
} Stored;

static void append_numbered(Fixture *fixture, int first)
{
    Append append = {0};
    signal_init(&append.signal);
    ShBatchBuilder *builder = sh_batch_builder_new(SH_CODEC_NONE);
    for (int i = first; i < first + BATCH_RECORDS; i++) {
        char value[16];
        int length = snprintf(value, sizeof value, "record %d", i);
        ShRecord record = {
            .timestamp_ms = 1000 + i, .value = (uint8_t *)value, .value_length = (size_t)length};
        assert_ok(sh_batch_builder_add(builder, &record, NULL, 0, err));
    }
    assert_ok(sh_batch_builder_finish(builder, &append.part.owner, err));
    sh_batch_builder_free(builder);
    append.batch.data = append.part.owner->data;
    assert_ok(sh_batch_peek(append.batch.data, append.part.owner->length, &append.batch.header, err));
    append.part.target = target_of("t", 0);
    append.part.batches = &append.batch;
    append.part.batch_count = 1;
    append.call = (ShAppend){.parts = &append.part, .part_count = 1, .done = append_done};
    sh_engine_append(fixture->engine, &append.call);
    assert_int_equal(append_end(&append), SH_OK);
}

/* One object that holds all batches, which the engine has to read from the store. */
static Stored store_records(Fixture *fixture)
{
    snprintf(fixture->extra[0], sizeof fixture->extra[0], "STREAMHOUSE_FLUSH_INTERVAL=10s");
    start(fixture);
    for (int i = 0; i < BATCHES; i++)
        append_numbered(fixture, i * BATCH_RECORDS);
    sh_flush_now(fixture->engine);
    wait_until(fake_published(0) == RECORDS);
    stop(fixture);
    start(fixture);
    assert_int_equal(fake.topics[0].partitions[0].segment_count, 1);
    Stored stored = {0};
    snprintf(stored.path, sizeof stored.path, "%s/store/%s", fixture->dir,
             fake.topics[0].partitions[0].segments[0].object_key);
    FILE *file = fopen(stored.path, "rb");
    assert_non_null(file);
    stored.bytes = malloc(1 << 16);
    stored.length = fread(stored.bytes, 1, 1 << 16, file);
    fclose(file);
    return stored;
}

static void write_flipped(const Stored *stored, size_t at, uint8_t flip)
{
    FILE *file = fopen(stored->path, "rb+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fputc(stored->bytes[at] ^ flip, file), stored->bytes[at] ^ flip);
    assert_int_equal(fclose(file), 0);
}

/* Each record is the one of its offset, and they follow each other; returns where they end. */
static int64_t check_records(ShSlice batches, int64_t next)
{
    ShScratch scratch = {0};
    ShBatchReader reader;
    for (size_t at = 0; at < batches.length; at += reader.header.total_bytes) {
        bool more = true;
        assert_ok(
            sh_batch_reader_init(&reader, batches.data + at, batches.length - at, 1 << 16, &scratch, err));
        for (;;) {
            ShRecord record;
            char expected[16];
            assert_ok(sh_batch_reader_next(&reader, &record, &more, err));
            if (!more)
                break;
            int length = snprintf(expected, sizeof expected, "record %d", (int)next);
            assert_int_equal(record.offset, next++);
            assert_int_equal(record.timestamp_ms, 1000 + next - 1);
            assert_int_equal(record.value_length, length);
            assert_memory_equal(record.value, expected, (size_t)length);
        }
    }
    sh_scratch_free(&scratch);
    return next;
}

/* False: the reader is told of the damage. */
static bool read_all(Fixture *fixture)
{
    int64_t next = 0;
    while (next < RECORDS) {
        Fetch fetch;
        fetch_begin(fixture, &fetch, "t", next, 0, 1);
        ShStatus status = fetch_end(&fetch);
        if (status != SH_OK) {
            assert_int_equal(status, SH_CORRUPT);
            return false;
        }
        assert_true(fetch.part.slice_count > 0);
        for (size_t i = 0; i < fetch.part.slice_count; i++)
            next = check_records(fetch.part.slices[i], next);
        assert_int_equal(fetch.part.next_offset, next);
        sh_fetch_release(&fetch.call);
    }
    assert_int_equal(next, RECORDS);
    return true;
}

static void forget(Fixture *fixture)
{
    ShResolved found = {0};
    ShTarget target = target_of("t", 0);
    assert_ok(sh_meta_resolve(fixture->engine, &target, &found, err));
    sh_read_cache_forget(fixture->engine, found.partition);
    sh_partition_unref(found.partition);
}

static const uint8_t flips[] = {0x01, 0x10, 0x80, 0xFF};

static void test_readers_never_get_another_record(void **state)
{
    Fixture *fixture = *state;
    Stored stored = store_records(fixture);
    const ShPgSegment *segment = &fake.topics[0].partitions[0].segments[0];
    size_t found = 0;
    for (size_t at = 0; at < stored.length; at++) {
        for (size_t i = 0; i < sizeof flips; i++) {
            write_flipped(&stored, at, flips[i]);
            forget(fixture);
            bool whole = read_all(fixture);
            bool in_run = at >= segment->position && at < segment->position + segment->length;
            assert_true(whole || in_run);
            found += !whole;
        }
        write_flipped(&stored, at, 0);
    }
    /* All but the epochs of the batches, which have no meaning at rest. */
    assert_int_equal(found, (segment->length - 4 * BATCHES) * sizeof flips);
    free(stored.bytes);
}

static bool compact(Fixture *fixture)
{
    const ShPgSegment *segment = &fake.topics[0].partitions[0].segments[0];
    ShPgSource source = {.topic_id = fake.topics[0].id,
                         .first_offset = segment->first_offset,
                         .base_offset = segment->base_offset,
                         .last_offset = segment->last_offset,
                         .epoch = segment->epoch,
                         .position = segment->position,
                         .length = segment->length};
    snprintf(source.object_key, sizeof source.object_key, "%s", segment->object_key);
    ShCompaction compaction = {.sources = &source, .source_count = 1};
    ShStatus status = sh_compaction_build(fixture->engine, &compaction, NULL);
    if (status == SH_OK) {
        uint8_t *object = malloc(compaction.object.total_bytes);
        size_t length = 0;
        for (size_t i = 0; i < compaction.object.piece_count; i++) {
            const struct iovec *piece = &compaction.object.pieces[i];
            memcpy(object + length, piece->iov_base, piece->iov_len);
            length += piece->iov_len;
        }
        const ShPgCompacted *row = &compaction.rows[0];
        ShSlice run = {.data = object + row->position, .length = row->length};
        assert_int_equal(compaction.row_count, 1);
        assert_int_equal(check_records(run, 0), RECORDS);
        free(object);
    } else {
        assert_int_equal(status, SH_CORRUPT);
    }
    sh_compaction_free(&compaction);
    return status == SH_OK;
}

static void test_compaction_never_writes_another_record(void **state)
{
    Fixture *fixture = *state;
    Stored stored = store_records(fixture);
    const ShPgSegment *segment = &fake.topics[0].partitions[0].segments[0];
    size_t found = 0;
    for (size_t at = segment->position; at < segment->position + segment->length; at++) {
        for (size_t i = 0; i < sizeof flips; i++) {
            write_flipped(&stored, at, flips[i]);
            found += !compact(fixture);
        }
        write_flipped(&stored, at, 0);
    }
    assert_int_equal(found, (segment->length - 4 * BATCHES) * sizeof flips);
    free(stored.bytes);
}

/* A row of the index that is not what the object holds: another run, or more or fewer offsets. */
static void test_a_row_that_names_another_run_serves_nothing(void **state)
{
    Fixture *fixture = *state;
    Stored stored = store_records(fixture);
    ShPgSegment *segment = &fake.topics[0].partitions[0].segments[0];
    const ShPgSegment good = *segment;
    ShBatchHeader first;
    assert_ok(sh_batch_peek(stored.bytes + good.position, good.length, &first, err));
    for (int i = 0; i < 4; i++) {
        pthread_mutex_lock(&fake.lock);
        *segment = good;
        segment->position += i == 0 ? first.total_bytes : 0;
        segment->length -= i <= 1 ? first.total_bytes : 0;
        segment->base_offset += i == 2;
        segment->last_offset += i == 3;
        pthread_mutex_unlock(&fake.lock);
        forget(fixture);
        assert_false(read_all(fixture));
    }
    free(stored.bytes);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_readers_never_get_another_record),
        TEST(test_compaction_never_writes_another_record),
        TEST(test_a_row_that_names_another_run_serves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
