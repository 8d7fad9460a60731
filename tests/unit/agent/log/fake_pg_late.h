/*
 * fake_pg_late.h - the part of the fake that places what is left of epochs sealed by force; fake_pg.h
 * includes it.
 */
#ifndef TESTS_LOG_FAKE_PG_LATE_H
#define TESTS_LOG_FAKE_PG_LATE_H

ShStatus sh_pg_leftover(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                        ShPgLeftover *out, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    fake.leftovers_asked++;
    for (size_t i = 0; i < count; i++) {
        FakeTopic *topic;
        FakePartition *partition = fake_find(&partitions[i].topic_id, partitions[i].partition, &topic);
        out[i].result = partition->forced_epoch == partitions[i].epoch ? SH_LEFTOVER_FOUND
                                                                       : SH_LEFTOVER_FENCED;
        if (fake.refuse_leftovers != 0)
            out[i].result = fake.refuse_leftovers;
        if (out[i].result != SH_LEFTOVER_FOUND)
            continue;
        if (partition->epoch == partition->forced_epoch) {
            partition->epoch++;
            partition->start = partition->end = 2 * fake.range;
            partition->limit = 3 * fake.range - partition->forced_end;
            partition->owned = partition->open = partition->orphaned = true;
            fake.loses_replies = fake.lose_late_replies;
        }
        out[i] = (ShPgLeftover){.forced_end = partition->forced_end,
                                .epoch = partition->epoch,
                                .start_offset = partition->start,
                                .limit_offset = partition->limit,
                                .published_end = partition->end};
    }
    fake.version++;
    status = fake_leave();
    if (status == SH_OK && fake.lose_leftovers-- > 0)
        status = sh_fail(err, SH_UNAVAILABLE, "the answer was lost");
    return status;
}

#endif
