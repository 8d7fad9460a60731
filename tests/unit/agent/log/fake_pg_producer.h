/*
 * fake_pg_producer.h - the part of fake_pg.h that is about idempotent producers.
 */
#ifndef SH_TESTS_UNIT_FAKE_PG_PRODUCER_H
#define SH_TESTS_UNIT_FAKE_PG_PRODUCER_H

#include "agent/pg/pg.h"

/* No producer is remembered; `unresolved` makes every partition one that was taken over. */
ShStatus sh_pg_init_producer(ShPg *pg, int64_t incarnation, int64_t *producer_id, int16_t *producer_epoch,
                             ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *producer_id = ++fake.last_producer;
    *producer_epoch = 0;
    return fake_leave();
}

ShStatus sh_pg_producers(ShPg *pg, int64_t incarnation, const ShPgPartition *partitions, size_t count,
                         int producers_max, ShPgProducer **out, size_t *out_count, ShError *err)
{
    (void)pg, (void)partitions, (void)producers_max;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *out = calloc(count + 1, sizeof **out);
    *out_count = fake.unresolved ? count : 0;
    for (size_t i = 0; i < *out_count; i++)
        (*out)[i] = (ShPgProducer){.place = i, .unresolved = true, .producer_id = -1};
    return fake_leave();
}

/* All ids were given but `unknown_id`; of one in `stored_id` a stretch is published. */
ShStatus sh_pg_lookup_producers(ShPg *pg, int64_t incarnation, const ShPgStranger *strangers, size_t count,
                                ShPgStrangerAnswer **out, size_t *out_count, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *out = calloc(count + 1, sizeof **out);
    *out_count = count;
    for (size_t i = 0; i < count; i++) {
        (*out)[i] = (ShPgStrangerAnswer){.place = i,
                                         .id = strangers[i].producer_id == fake.unknown_id ? SH_PG_ID_UNKNOWN
                                                                                           : SH_PG_ID_KNOWN};
        if (strangers[i].producer_id == fake.stored_id) {
            (*out)[i].base_sequence = fake.stored.base_sequence;
            (*out)[i].count = fake.stored.count;
            (*out)[i].base_offset = fake.stored.base_offset;
        }
    }
    fake.lookups += (int)count;
    return fake_leave();
}

ShStatus sh_pg_claim(ShPg *pg, int64_t incarnation, const ShPgClaim *claims, size_t count,
                     ShPgClaimAnswer **out, size_t *out_count, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *out = calloc(count + 1, sizeof **out);
    *out_count = count;
    for (size_t i = 0; i < count; i++)
        (*out)[i] = (ShPgClaimAnswer){
            .place = i, .id = SH_PG_ID_KNOWN, .claimed_from = claims[i].first_unacked_seq};
    fake.last_claim = claims[count - 1];
    fake.claims += (int)count;
    return fake_leave();
}

ShStatus sh_pg_claims(ShPg *pg, int64_t incarnation, const ShPgPartition *epochs, size_t count,
                      ShPgVoid **out, size_t *out_count, ShError *err)
{
    (void)pg;
    ShStatus status = fake_enter(incarnation, err);
    if (status != SH_OK)
        return status;
    *out = calloc(count + 1, sizeof **out);
    *out_count = 0;
    if (fake.builds_fail && sh_fault_arm("flush.build=error:2", err) != SH_OK)
        abort();
    for (size_t i = 0; i < count && fake.claimed_id > 0; i++)
        if (fake.claimed_epoch == 0 || epochs[i].epoch == fake.claimed_epoch)
            (*out)[(*out_count)++] = (ShPgVoid){
                .place = i, .producer_id = fake.claimed_id, .first_unacked_seq = fake.claimed_from};
    return fake_leave();
}

#endif
