#include "client/sequencer.h"

static bool number_anew(ShSequencer *sequencer, ShLane *lane);
static bool own_bytes(ShPendingBatch *batch);
static bool is_ahead(int32_t a, int32_t b);

ShSequenceState sh_sequencer_prepare(ShSequencer *sequencer, ShLane *lane)
{
    bool begins = lane->begin_anew || !lane->sequenced;
    if (!begins)
        return SH_SEQUENCE_READY;
    for (const ShParcel *parcel = lane->parcels; parcel != NULL; parcel = parcel->next) {
        if (parcel->uncertain && parcel->id == 0 && parcel->stamped)
            return SH_SEQUENCE_RESOLVE;
    }
    if (lane->under_way > 0)
        return SH_SEQUENCE_WAIT;
    if (lane->sequenced && lane->producer_id == sequencer->producer_id && lane->producer_epoch == INT16_MAX)
        sequencer->has_id = false;
    if (!sequencer->has_id)
        return SH_SEQUENCE_NO_ID;
    return number_anew(sequencer, lane) ? SH_SEQUENCE_READY : SH_SEQUENCE_WAIT;
}

void sh_sequencer_stamp(ShLane *lane, ShParcel *parcel)
{
    parcel->stamped = true;
    parcel->base_sequence = lane->next_sequence;
    for (size_t i = 0; i < parcel->batch_count; i++) {
        ShPendingBatch *batch = parcel->batches[i];
        sh_batch_set_producer(batch->bytes->data, batch->bytes->length, lane->producer_id,
                              lane->producer_epoch, lane->next_sequence);
        lane->next_sequence = (int32_t)(((int64_t)lane->next_sequence + batch->count) & INT32_MAX);
    }
    parcel->end_sequence = lane->next_sequence;
}

int32_t sh_sequencer_first_unacked(const ShLane *lane)
{
    int32_t first = lane->parcels != NULL ? lane->parcels->base_sequence : lane->next_sequence;
    return is_ahead(lane->acked_end, first) ? lane->acked_end : first;
}

void sh_sequencer_acked(ShParcel *parcel)
{
    if (parcel->stamped && is_ahead(parcel->end_sequence, parcel->lane->acked_end))
        parcel->lane->acked_end = parcel->end_sequence;
}

bool sh_sequencer_is_stored(const ShParcel *parcel)
{
    return parcel->stamped && !is_ahead(parcel->end_sequence, parcel->lane->acked_end);
}

bool sh_sequencer_is_refusal(ShStatus status)
{
    return status == SH_OUT_OF_ORDER_SEQUENCE || status == SH_UNKNOWN_PRODUCER_ID ||
           status == SH_INVALID_PRODUCER_EPOCH;
}

void sh_sequencer_refused(ShSequencer *sequencer, ShParcel *parcel, ShStatus status)
{
    ShLane *lane = parcel->lane;
    parcel->uncertain = false;
    /* Sent while an earlier one was open, it may only have come before that one. */
    if (lane->begin_anew || lane->parcels != parcel || parcel->first_unacked != parcel->base_sequence)
        return;
    lane->begin_anew = true;
    /* An id that the server does not know stays unknown in every epoch of it. */
    if (status != SH_OUT_OF_ORDER_SEQUENCE && lane->producer_id == sequencer->producer_id)
        sequencer->has_id = false;
}

void sh_sequencer_gave_up(ShParcel *parcel)
{
    parcel->lane->begin_anew |= parcel->stamped;
}

/* False when memory is short. */
static bool number_anew(ShSequencer *sequencer, ShLane *lane)
{
    for (ShParcel *parcel = lane->parcels; parcel != NULL; parcel = parcel->next) {
        for (size_t i = 0; i < parcel->batch_count; i++) {
            if (!own_bytes(parcel->batches[i]))
                return false;
        }
    }
    bool same = lane->sequenced && lane->producer_id == sequencer->producer_id;
    lane->producer_epoch = same ? (int16_t)(lane->producer_epoch + 1) : sequencer->producer_epoch;
    lane->producer_id = sequencer->producer_id;
    lane->next_sequence = lane->acked_end = 0;
    lane->sequenced = true;
    lane->begin_anew = false;
    for (ShParcel *parcel = lane->parcels; parcel != NULL; parcel = parcel->next)
        sh_sequencer_stamp(lane, parcel);
    return true;
}

/* A connection that broke may still hold the bytes that it was to send: they are not changed under it. */
static bool own_bytes(ShPendingBatch *batch)
{
    ShBuf *copy = sh_buf_copy(batch->bytes->data, batch->bytes->length);
    if (copy == NULL)
        return false;
    sh_buf_unref(batch->bytes);
    batch->bytes = copy;
    return true;
}

/* Of two sequences that lie less than half their circle apart. */
static bool is_ahead(int32_t a, int32_t b)
{
    int64_t ahead = ((int64_t)a - b) & INT32_MAX;
    return ahead > 0 && ahead < 1 << 30;
}
