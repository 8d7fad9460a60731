/*
 * fake_pg_read.h - the part of fake_pg.h that readers ask: the index, how far it goes, and times in it.
 */
#ifndef TESTS_LOG_FAKE_PG_READ_H
#define TESTS_LOG_FAKE_PG_READ_H

ShStatus sh_pg_read_index(ShPg *pg, const ShUuid *topic_id, int32_t partition, int64_t from_offset,
                          size_t max, ShPgSegment *out, size_t *count, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(0, err);
    if (status != SH_OK)
        return status;
    FakeTopic *topic;
    const FakePartition *found = fake_find(topic_id, partition, &topic);
    *count = 0;
    for (size_t i = 0; i < found->segment_count && *count < max; i++)
        if (found->segments[i].last_offset >= from_offset)
            out[(*count)++] = found->segments[i];
    return fake_leave();
}

ShStatus sh_pg_read_bounds(ShPg *pg, const ShPgPartition *partitions, size_t count, ShPgBounds *out,
                           ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(0, err);
    if (status != SH_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        FakeTopic *topic;
        const FakePartition *found = fake_find(&partitions[i].topic_id, partitions[i].partition, &topic);
        out[i] = (ShPgBounds){.found = found != NULL && topic->live};
        if (found != NULL) {
            bool at_gap = fake.gap_epoch != 0 && found == &fake.topics[0].partitions[0];
            out[i].log_start = found->log_start;
            out[i].published_end = at_gap ? fake.gap_end : found->end;
            out[i].epoch = at_gap ? fake.gap_epoch : found->epoch;
        }
    }
    return fake_leave();
}

ShStatus sh_pg_find_timestamp(ShPg *pg, const ShUuid *topic_id, int32_t partition, int64_t timestamp_ms,
                              int64_t from_offset, ShPgSegment *out, bool *found, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(0, err);
    if (status != SH_OK)
        return status;
    FakeTopic *topic;
    const FakePartition *place = fake_find(topic_id, partition, &topic);
    *found = false;
    if (from_offset < place->log_start)
        from_offset = place->log_start;
    for (size_t i = 0; i < place->segment_count && !*found; i++) {
        *found = place->segments[i].max_timestamp_ms >= timestamp_ms &&
                 place->segments[i].last_offset >= from_offset;
        if (*found)
            *out = place->segments[i];
    }
    if (*found && out->first_offset < from_offset)
        out->first_offset = from_offset;
    return fake_leave();
}

#endif
