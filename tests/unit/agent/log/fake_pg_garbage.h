/*
 * fake_pg_garbage.h - the part of fake_pg.h that is about data on its way out. What the test puts into
 * `fake_out` is handed out once.
 */
#ifndef TESTS_LOG_FAKE_PG_GARBAGE_H
#define TESTS_LOG_FAKE_PG_GARBAGE_H

#include "agent/pg/pg_garbage.h"

#define FAKE_GARBAGE_MAX 512

/* Guarded by fake.lock. */
typedef struct FakeOut {
    ShPgLogStart log_starts[4];
    size_t log_start_count;
    int log_start_looks; /* how often somebody has asked for them */
    ShPgGarbage garbage[FAKE_GARBAGE_MAX];
    size_t garbage_count;
    size_t confirmed; /* objects whose deletion was confirmed */
    bool scan_wanted;
    int scans_done;
    ShPgStored asked[FAKE_GARBAGE_MAX]; /* about which the scan has asked */
    size_t asked_count;
    bool compaction_wanted; /* the next claim gets all segments of topic 0, partition 0 */
    bool refuse_swap;
    int lost_swap_replies; /* so many swaps take effect, but their answers are lost */
    int claims;
    int announced;
    int given_up_announced;
    int swaps;
    ShUuid swapped_object;
    ShPgCompacted rows[FAKE_GARBAGE_MAX]; /* of the last swap */
    size_t row_count;
} FakeOut;

static FakeOut fake_out;

#include "tests/unit/agent/log/fake_pg_marker.h"
#include "tests/unit/agent/log/fake_pg_snapshot.h"

ShStatus sh_pg_topic_schemas(ShPg *pg, int64_t known_version, ShPgTopicSchemas **out, ShError *err)
{
    (void)pg;
    (void)known_version;
    *out = calloc(1, sizeof **out);
    return *out != NULL ? SH_OK : sh_fail(err, SH_NO_MEMORY, "no memory");
}

void sh_pg_topic_schemas_free(ShPgTopicSchemas *schemas)
{
    free(schemas);
}

ShStatus sh_pg_schema_by_id(ShPg *pg, int32_t id, ShPgSchema *out, ShError *err)
{
    (void)pg;
    (void)out;
    return sh_fail(err, SH_NOT_FOUND, "there is no schema %d", (int)id);
}

void sh_pg_schema_free(ShPgSchema *schema)
{
    (void)schema;
}

ShStatus sh_pg_schemas_seen(ShPg *pg, const ShPgSchemaSeen *seen, size_t count, ShError *err)
{
    (void)pg;
    (void)seen;
    (void)count;
    (void)err;
    return SH_OK;
}

ShStatus sh_pg_log_starts(ShPg *pg, int64_t after_version, ShPgLogStart **out, size_t *count, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(0, err);
    if (status != SH_OK)
        return status;
    *out = calloc(4, sizeof **out);
    *count = 0;
    fake_out.log_start_looks++;
    for (size_t i = 0; i < fake_out.log_start_count; i++)
        if (fake_out.log_starts[i].version > after_version)
            (*out)[(*count)++] = fake_out.log_starts[i];
    return fake_leave();
}

ShStatus sh_pg_garbage(ShPg *pg, int64_t incarnation, size_t max, ShPgGarbage **out, size_t *count,
                       ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *out = calloc(max + 1, sizeof **out);
    *count = fake_out.garbage_count < max ? fake_out.garbage_count : max;
    memcpy(*out, fake_out.garbage, *count * sizeof **out);
    return fake_leave();
}

ShStatus sh_pg_garbage_done(ShPg *pg, int64_t incarnation, const ShUuid *object_ids, size_t count,
                            ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < fake_out.garbage_count; j++)
            if (sh_uuid_equal(&object_ids[i], &fake_out.garbage[j].object_id)) {
                fake_out.garbage[j] = fake_out.garbage[--fake_out.garbage_count];
                fake_out.confirmed++;
                break;
            }
    return fake_leave();
}

ShStatus sh_pg_scan_claim(ShPg *pg, int64_t incarnation, bool *claimed, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *claimed = fake_out.scan_wanted;
    fake_out.scan_wanted = false;
    return fake_leave();
}

ShStatus sh_pg_scan_done(ShPg *pg, int64_t incarnation, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake_out.scans_done++;
    return fake_leave();
}

ShStatus sh_pg_unknown_objects(ShPg *pg, int64_t incarnation, const ShPgStored *objects, size_t count,
                               size_t *given_up, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    for (size_t i = 0; i < count && fake_out.asked_count < FAKE_GARBAGE_MAX; i++)
        fake_out.asked[fake_out.asked_count++] = objects[i];
    *given_up = 0;
    return fake_leave();
}

ShStatus sh_pg_compaction_claim(ShPg *pg, int64_t incarnation, int64_t bytes_max, ShPgSource **out,
                                size_t *count, ShError *err)
{
    (void)pg, (void)bytes_max;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    const FakePartition *partition = &fake.topics[0].partitions[0];
    fake_out.claims++;
    *out = calloc(partition->segment_count + 1, sizeof **out);
    *count = fake_out.compaction_wanted ? partition->segment_count : 0;
    fake_out.compaction_wanted = false;
    for (size_t i = 0; i < *count; i++) {
        const ShPgSegment *from = &partition->segments[i];
        ShPgSource *to = &(*out)[i];
        *to = (ShPgSource){.topic_id = fake.topics[0].id,
                           .first_offset = from->first_offset,
                           .base_offset = from->base_offset,
                           .last_offset = from->last_offset,
                           .epoch = from->epoch,
                           .position = from->position,
                           .length = from->length};
        memcpy(to->object_key, from->object_key, sizeof to->object_key);
    }
    return fake_leave();
}

static void fake_swap(const ShPgSwap *swap)
{
    FakePartition *partition = &fake.topics[0].partitions[0];
    partition->segment_count = swap->row_count;
    fake_out.row_count = swap->row_count;
    memcpy(fake_out.rows, swap->rows, swap->row_count * sizeof *swap->rows);
    for (size_t i = 0; i < swap->row_count; i++) {
        const ShPgCompacted *from = &swap->rows[i];
        partition->segments[i] = (ShPgSegment){.first_offset = from->first_offset,
                                               .base_offset = from->base_offset,
                                               .last_offset = from->last_offset,
                                               .epoch = from->epoch,
                                               .position = from->position,
                                               .length = from->length};
        snprintf(partition->segments[i].object_key, SH_OBJECT_KEY_BYTES, "%s", swap->object_key);
    }
}

ShStatus sh_pg_announce_object(ShPg *pg, int64_t incarnation, const ShUuid *object_id, const char *object_key,
                               uint64_t object_bytes, ShError *err)
{
    (void)pg, (void)object_id, (void)object_key, (void)object_bytes;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake_out.announced++;
    return fake_leave();
}

ShStatus sh_pg_give_up_object(ShPg *pg, int64_t incarnation, const ShUuid *object_id, ShError *err)
{
    (void)pg, (void)object_id;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake_out.given_up_announced++;
    return fake_leave();
}

ShStatus sh_pg_compaction_swap(ShPg *pg, const ShPgSwap *swap, bool *swapped, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(swap->incarnation, err);
    if (status != SH_OK)
        return status;
    bool again = sh_uuid_equal(&swap->object_id, &fake_out.swapped_object);
    *swapped = !fake_out.refuse_swap;
    fake_out.swaps++;
    if (*swapped && !again)
        fake_swap(swap);
    fake_out.swapped_object = swap->object_id;
    if (fake_out.lost_swap_replies > 0) {
        fake_out.lost_swap_replies--;
        fake_leave();
        return sh_fail(err, SH_UNAVAILABLE, "the answer was lost");
    }
    return fake_leave();
}

#endif
