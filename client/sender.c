#include "client/sender.h"
#include "client/misfits.h"
#include "client/sequencer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Marks the request ids of confirmations. */
#define CONFIRMS (UINT64_C(1) << 63)

#define REDIRECTS_AT_ONCE_MAX 3 /* after so many attempts a redirect waits like any retry */

struct ShSender {
    ShProducerOptions options;
    ShSenderPort port;
    uint64_t random;
    uint64_t last_id;
    ShSequencer sequencer;
    ShLane *active;  /* lanes with something waiting or under way, or with something to confirm */
    int unconfirmed; /* confirmations without an answer */
};

static void wake_unsequenced(ShSender *sender);
static int64_t run_lane(ShSender *sender, ShLane *lane, int64_t now_ms);
static bool is_idle(const ShLane *lane);
static bool has_to_confirm(const ShLane *lane);
static void confirm(ShSender *sender, ShLane *lane);
static void expire_waiting(ShSender *sender, ShLane *lane, int64_t now_ms);
static bool send_next(ShSender *sender, ShLane *lane, int64_t now_ms);
static int in_flight_max(const ShSender *sender);
static bool may_number(ShSender *sender, ShLane *lane, ShParcel **again, int64_t now_ms);
static ShParcel *form_parcel(ShSender *sender, ShLane *lane);
static int64_t next_time(ShSender *sender, const ShLane *lane, int64_t now_ms);
static ShParcel *find_parcel(ShSender *sender, uint64_t id);
static void refuse(ShSender *sender, ShParcel *parcel, const ShRefusal *why, int64_t now_ms);
static void settle_misfits(ShSender *sender, ShParcel *parcel, const ShProduceAnswer *answer, int64_t now_ms);
static void drop_empty_batches(ShSender *sender, ShParcel *parcel, const ShError *error);
static void renumber(ShSender *sender, ShParcel *parcel, const ShError *error, int64_t now_ms);
static void retry_or_fail(ShSender *sender, ShParcel *parcel, const ShError *error, int64_t hold_ms,
                          int64_t now_ms);
static bool is_outcome_unknown(ShStatus status);
static void fail_unknown(ShSender *sender, ShParcel *parcel, const ShError *error);
static int64_t backoff_ms(ShSender *sender, int attempts, int retry_after_ms);
static void finish(ShSender *sender, ShParcel *parcel, int64_t base_offset, const ShError *error);
static void finish_scattered(ShSender *sender, ShParcel *parcel, const int64_t *offsets);
static void unlink_parcel(ShLane *lane, ShParcel *parcel);

ShSender *sh_sender_new(const ShProducerOptions *options, const ShSenderPort *port, uint64_t seed)
{
    ShSender *sender = calloc(1, sizeof *sender);
    if (sender == NULL)
        return NULL;
    sender->options = *options;
    sender->port = *port;
    sender->sequencer.on = options->idempotence;
    sender->random = seed | 1;
    return sender;
}

void sh_sender_free(ShSender *sender)
{
    free(sender);
}

void sh_sender_set_producer(ShSender *sender, int64_t producer_id, int16_t producer_epoch)
{
    sender->sequencer.has_id = true;
    sender->sequencer.producer_id = producer_id;
    sender->sequencer.producer_epoch = producer_epoch;
    wake_unsequenced(sender);
}

void sh_sender_no_producer(ShSender *sender)
{
    sender->sequencer.on = false;
    wake_unsequenced(sender);
}

void sh_sender_add(ShSender *sender, ShPendingBatch *batch)
{
    ShLane *lane = batch->lane;
    batch->next = NULL;
    if (lane->waiting_last != NULL)
        lane->waiting_last->next = batch;
    else
        lane->waiting = batch;
    lane->waiting_last = batch;
    if (!lane->active) {
        lane->active = true;
        lane->next_active = sender->active;
        sender->active = lane;
    }
}

int64_t sh_sender_run(ShSender *sender, int64_t now_ms)
{
    int64_t due_ms = INT64_MAX;
    for (ShLane **link = &sender->active; *link != NULL;) {
        ShLane *lane = *link;
        int64_t lane_due_ms = run_lane(sender, lane, now_ms);
        if (!is_idle(lane) || lane->idle_since_ms == 0)
            lane->idle_since_ms = is_idle(lane) ? now_ms : 0;
        /* What comes at once confirms as well. */
        bool may_come = is_idle(lane) && has_to_confirm(lane) && now_ms <= lane->idle_since_ms;
        if (may_come)
            lane_due_ms = now_ms + 1;
        else if (is_idle(lane))
            confirm(sender, lane);
        if (lane_due_ms < due_ms)
            due_ms = lane_due_ms;
        if (is_idle(lane) && !may_come) {
            lane->active = false;
            *link = lane->next_active;
        } else {
            link = &lane->next_active;
        }
    }
    return due_ms;
}

void sh_sender_answered(ShSender *sender, const ShProduceAnswer *answer, int64_t now_ms)
{
    ShParcel *parcel = find_parcel(sender, answer->request_id);
    if (answer->request_id & CONFIRMS && sender->unconfirmed > 0)
        sender->unconfirmed--;
    if (parcel == NULL)
        return;
    parcel->id = 0;
    parcel->lane->under_way--;
    if (answer->misfit_count > 0)
        settle_misfits(sender, parcel, answer, now_ms);
    else if (answer->refused)
        refuse(sender, parcel, &answer->refusal, now_ms);
    else if (answer->batch_offset_count == parcel->batch_count)
        finish_scattered(sender, parcel, answer->batch_offsets);
    else
        finish(sender, parcel, answer->base_offset, NULL);
}

void sh_sender_link_lost(ShSender *sender, const char *address, const ShRefusal *why, int64_t now_ms)
{
    ShRefusal lost = *why;
    if (lost.error.status == SH_OK || !lost.error.retriable)
        (void)sh_fail(&lost.error, SH_UNAVAILABLE, "the connection to %s ended: %.300s", address,
                      why->error.status != SH_OK ? why->error.message : "the server closed it");
    sender->unconfirmed = 0;
    sender->port.want_metadata(sender->port.context);
    for (ShLane *lane = sender->active; lane != NULL; lane = lane->next_active) {
        for (ShParcel *parcel = lane->parcels, *next = NULL; parcel != NULL; parcel = next) {
            next = parcel->next;
            if (parcel->id == 0 || strcmp(parcel->address, address) != 0)
                continue;
            parcel->id = 0;
            lane->under_way--;
            parcel->uncertain |= parcel->written;
            if (parcel->written && !parcel->stamped && sender->options.retry == SH_RETRY_SAFE)
                fail_unknown(sender, parcel, &lost.error);
            else
                retry_or_fail(sender, parcel, &lost.error,
                              backoff_ms(sender, parcel->attempts, lost.error.retry_after_ms), now_ms);
        }
    }
}

void sh_sender_cancel(ShSender *sender)
{
    ShError error;
    (void)sh_fail(&error, SH_CANCELLED, "the producer was closed before the record was acknowledged");
    for (; sender->active != NULL; sender->active = sender->active->next_active) {
        ShLane *lane = sender->active;
        lane->active = false;
        while (lane->parcels != NULL)
            finish(sender, lane->parcels, -1, &error);
        lane->under_way = 0;
        for (ShPendingBatch *batch = lane->waiting, *next = NULL; batch != NULL; batch = next) {
            next = batch->next;
            sender->port.done(sender->port.context, batch, -1, &error);
        }
        lane->waiting = lane->waiting_last = NULL;
    }
}

bool sh_sender_confirm_all(ShSender *sender)
{
    for (ShLane *lane = sender->active; lane != NULL; lane = lane->next_active)
        if (is_idle(lane))
            confirm(sender, lane);
    return sender->unconfirmed == 0;
}

/* Lanes that have sent nothing yet waited for the producer id. */
static void wake_unsequenced(ShSender *sender)
{
    for (ShLane *lane = sender->active; lane != NULL; lane = lane->next_active) {
        if (!lane->sequenced)
            lane->hold_until_ms = 0;
    }
}

static bool is_idle(const ShLane *lane)
{
    return lane->waiting == NULL && lane->parcels == NULL;
}

static bool has_to_confirm(const ShLane *lane)
{
    return lane->sequenced && !lane->begin_anew && lane->told_unacked != lane->next_sequence;
}

/* Tell the owner that all is acknowledged: readers have waited for that. Should it get lost, they see the
 * records when these are published. */
static void confirm(ShSender *sender, ShLane *lane)
{
    ShPartitionOwner owner;
    if (!has_to_confirm(lane))
        return;
    lane->told_unacked = lane->next_sequence;
    ShParcel *parcel = sender->port.find_owner(sender->port.context, lane, &owner) ? calloc(1, sizeof *parcel)
                                                                                   : NULL;
    if (parcel == NULL)
        return;
    parcel->confirms = true;
    parcel->lane = lane;
    parcel->id = ++sender->last_id | CONFIRMS;
    parcel->producer_id = lane->producer_id;
    parcel->producer_epoch = lane->producer_epoch;
    parcel->first_unacked = lane->next_sequence;
    snprintf(parcel->address, sizeof parcel->address, "%s", owner.address);
    sender->unconfirmed++;
    sender->port.send(sender->port.context, parcel);
}

static int64_t run_lane(ShSender *sender, ShLane *lane, int64_t now_ms)
{
    for (ShParcel *parcel = lane->parcels; parcel != NULL; parcel = parcel->next) {
        if (parcel->id != 0 && now_ms >= parcel->sent_ms + sender->options.request_timeout_ms) {
            sender->port.drop_link(sender->port.context, parcel->address);
            break;
        }
    }
    expire_waiting(sender, lane, now_ms);
    while (send_next(sender, lane, now_ms))
        ;
    return next_time(sender, lane, now_ms);
}

/* Give up what no attempt can deliver in time. What is under way is not given up: its answer
 * may still come. */
static void expire_waiting(ShSender *sender, ShLane *lane, int64_t now_ms)
{
    ShError error;
    (void)sh_fail(&error, SH_TIMEOUT, "not delivered within %d ms", sender->options.delivery_timeout_ms);
    if (lane->under_way > 0)
        return;
    while (lane->parcels != NULL && now_ms >= lane->parcels->deadline_ms)
        finish(sender, lane->parcels, -1, &error);
    while (lane->parcels == NULL && lane->waiting != NULL &&
           now_ms >= lane->waiting->created_ms + sender->options.delivery_timeout_ms) {
        ShPendingBatch *batch = lane->waiting;
        lane->waiting = batch->next;
        if (lane->waiting == NULL)
            lane->waiting_last = NULL;
        sender->port.done(sender->port.context, batch, -1, &error);
    }
}

/* True when a parcel was sent and the lane may have more to send. */
static bool send_next(ShSender *sender, ShLane *lane, int64_t now_ms)
{
    ShParcel *again = NULL; /* the first that waits to be sent again */
    int limit = in_flight_max(sender);
    for (ShParcel *parcel = lane->parcels; parcel != NULL; parcel = parcel->next) {
        if (again == NULL && parcel->id == 0)
            again = parcel;
        if (parcel->id == 0 || parcel->attempts > 1)
            limit = 1;
    }
    if (now_ms < lane->hold_until_ms || lane->under_way >= limit || (again == NULL && lane->waiting == NULL))
        return false;
    if (sender->sequencer.on && !may_number(sender, lane, &again, now_ms))
        return false;

    ShPartitionOwner owner;
    if (!sender->port.find_owner(sender->port.context, lane, &owner)) {
        sender->port.want_metadata(sender->port.context);
        lane->hold_until_ms = now_ms + sender->options.retry_backoff_ms;
        return false;
    }
    ShParcel *parcel = again != NULL ? again : form_parcel(sender, lane);
    if (parcel == NULL) {
        lane->hold_until_ms = now_ms + sender->options.retry_backoff_ms;
        return false;
    }
    if (again == NULL && sender->sequencer.on)
        sh_sequencer_stamp(lane, parcel);
    parcel->first_unacked = lane->told_unacked = sh_sequencer_first_unacked(lane);
    snprintf(parcel->address, sizeof parcel->address, "%s", owner.address);
    parcel->id = ++sender->last_id;
    parcel->sent_ms = now_ms;
    parcel->written = false;
    parcel->attempts++;
    lane->under_way++;
    sender->port.send(sender->port.context, parcel);
    return true;
}

static int in_flight_max(const ShSender *sender)
{
    int wanted = sender->options.in_flight_max;
    if (!sender->sequencer.on)
        return wanted == 0 ? 1 : wanted;
    return wanted == 0 || wanted > SH_IDEMPOTENT_IN_FLIGHT_MAX ? SH_IDEMPOTENT_IN_FLIGHT_MAX : wanted;
}

/* May the lane send, as an idempotent producer's? `again` becomes the parcel that is to be resolved first. */
static bool may_number(ShSender *sender, ShLane *lane, ShParcel **again, int64_t now_ms)
{
    switch (sh_sequencer_prepare(&sender->sequencer, lane)) {
    case SH_SEQUENCE_READY:
        return true;
    case SH_SEQUENCE_RESOLVE:
        *again = lane->parcels;
        while (!(*again)->uncertain || (*again)->id != 0)
            *again = (*again)->next;
        return true;
    case SH_SEQUENCE_NO_ID:
        sender->port.want_producer(sender->port.context);
        lane->hold_until_ms = now_ms + sender->options.retry_backoff_ms;
        return false;
    default:
        lane->hold_until_ms = now_ms + sender->options.retry_backoff_ms;
        return false;
    }
}

/* The waiting batches that fit into one request; at least one. NULL when memory is short. */
static ShParcel *form_parcel(ShSender *sender, ShLane *lane)
{
    ShParcel *parcel = calloc(1, sizeof *parcel);
    if (parcel == NULL)
        return NULL;
    parcel->lane = lane;
    parcel->deadline_ms = lane->waiting->created_ms + sender->options.delivery_timeout_ms;
    while (lane->waiting != NULL && parcel->batch_count < SH_PARCEL_BATCHES_MAX) {
        ShPendingBatch *batch = lane->waiting;
        if (parcel->batch_count > 0 && parcel->bytes + batch->bytes->length > sender->options.request_bytes)
            break;
        parcel->batches[parcel->batch_count++] = batch;
        parcel->bytes += batch->bytes->length;
        lane->waiting = batch->next;
        batch->next = NULL;
    }
    if (lane->waiting == NULL)
        lane->waiting_last = NULL;

    parcel->previous = lane->parcels_last;
    if (parcel->previous != NULL)
        parcel->previous->next = parcel;
    else
        lane->parcels = parcel;
    lane->parcels_last = parcel;
    return parcel;
}

/* When the lane has to be looked at again, if nothing happens before. */
static int64_t next_time(ShSender *sender, const ShLane *lane, int64_t now_ms)
{
    int64_t due_ms = INT64_MAX;
    for (const ShParcel *parcel = lane->parcels; parcel != NULL; parcel = parcel->next) {
        int64_t overdue_ms = parcel->sent_ms + sender->options.request_timeout_ms;
        if (parcel->id != 0 && overdue_ms > now_ms && overdue_ms < due_ms)
            due_ms = overdue_ms;
    }
    bool idle = lane->under_way == 0 && (lane->parcels != NULL || lane->waiting != NULL);
    if (idle && lane->hold_until_ms < due_ms)
        due_ms = lane->hold_until_ms;
    return due_ms;
}

static ShParcel *find_parcel(ShSender *sender, uint64_t id)
{
    for (ShLane *lane = sender->active; id != 0 && lane != NULL; lane = lane->next_active) {
        for (ShParcel *parcel = lane->parcels; parcel != NULL; parcel = parcel->next) {
            if (parcel->id == id)
                return parcel;
        }
    }
    return NULL;
}

/* The server said no: turn to the owner that it names, try again, or give up. */
static void refuse(ShSender *sender, ShParcel *parcel, const ShRefusal *why, int64_t now_ms)
{
    const ShError *error = &why->error;
    ShStatus status = error->status;
    if (parcel->stamped && (status == SH_DUPLICATE_SEQUENCE ||
                            (sh_sequencer_is_refusal(status) && sh_sequencer_is_stored(parcel)))) {
        finish(sender, parcel, -1, NULL);
        return;
    }
    parcel->uncertain |= is_outcome_unknown(status);
    if (parcel->stamped && sh_sequencer_is_refusal(status)) {
        renumber(sender, parcel, error, now_ms);
        return;
    }
    if (is_outcome_unknown(status) && !parcel->stamped && sender->options.retry == SH_RETRY_SAFE) {
        fail_unknown(sender, parcel, error);
        return;
    }
    int64_t hold_ms = backoff_ms(sender, parcel->attempts, error->retry_after_ms);
    if (status == SH_NOT_OWNER || status == SH_FENCED) {
        bool turned = why->has_owner &&
                      sender->port.learn_owner(sender->port.context, parcel->lane, &why->owner) &&
                      strcmp(why->owner.address, parcel->address) != 0;
        if (!turned)
            sender->port.want_metadata(sender->port.context);
        else if (parcel->attempts <= REDIRECTS_AT_ONCE_MAX)
            hold_ms = 0;
        retry_or_fail(sender, parcel, error, hold_ms, now_ms);
    } else if (error->retriable || status == SH_CANCELLED ||
               (parcel->stamped && is_outcome_unknown(status))) {
        retry_or_fail(sender, parcel, error, hold_ms, now_ms);
    } else {
        finish(sender, parcel, -1, error);
    }
}

/* Some records do not fit. Without sequences the others are stored, if there are any. With them nothing is:
 * the others are sent again, and as sequences have no holes all that follows is numbered anew. */
static void settle_misfits(ShSender *sender, ShParcel *parcel, const ShProduceAnswer *answer, int64_t now_ms)
{
    ShError error = answer->refusal.error;
    bool is_sent_again = answer->refused && parcel->stamped && !sh_sequencer_is_stored(parcel);
    bool done = is_sent_again ? sh_misfits_take_out(parcel, answer) : sh_misfits_mark(parcel, answer);
    if (!done)
        (void)sh_fail(&error, SH_NO_MEMORY, "no memory to take out records that do not fit");
    if (!is_sent_again || !done) {
        finish(sender, parcel, answer->base_offset, answer->refused || !done ? &error : NULL);
        return;
    }
    parcel->uncertain = false;
    sh_sequencer_gave_up(parcel);
    drop_empty_batches(sender, parcel, &error);
    if (parcel->batch_count == 0)
        finish(sender, parcel, -1, &error);
    else
        retry_or_fail(sender, parcel, &error, 0, now_ms);
}

static void drop_empty_batches(ShSender *sender, ShParcel *parcel, const ShError *error)
{
    size_t kept = 0;
    parcel->bytes = 0;
    for (size_t i = 0; i < parcel->batch_count; i++) {
        ShPendingBatch *batch = parcel->batches[i];
        if (batch->count == 0) {
            sender->port.done(sender->port.context, batch, -1, error);
            continue;
        }
        parcel->batches[kept++] = batch;
        parcel->bytes += batch->bytes->length;
    }
    parcel->batch_count = kept;
}

/* The server does not take the parcel's sequences as they are: send it again, behind its predecessors or with
 * others. What it forgot it may have stored before. */
static void renumber(ShSender *sender, ShParcel *parcel, const ShError *error, int64_t now_ms)
{
    bool forgotten = error->status != SH_OUT_OF_ORDER_SEQUENCE && parcel->uncertain;
    sh_sequencer_refused(&sender->sequencer, parcel, error->status);
    if (forgotten && sender->options.retry == SH_RETRY_SAFE)
        fail_unknown(sender, parcel, error);
    else
        retry_or_fail(sender, parcel, error,
                      parcel->attempts <= REDIRECTS_AT_ONCE_MAX
                          ? 0
                          : backoff_ms(sender, parcel->attempts, error->retry_after_ms),
                      now_ms);
}

static void retry_or_fail(ShSender *sender, ShParcel *parcel, const ShError *error, int64_t hold_ms,
                          int64_t now_ms)
{
    if (now_ms + hold_ms < parcel->deadline_ms) {
        if (parcel->lane->hold_until_ms < now_ms + hold_ms)
            parcel->lane->hold_until_ms = now_ms + hold_ms;
        return;
    }
    ShError late;
    (void)sh_fail(&late, SH_TIMEOUT, "not delivered within %d ms; at last: %.350s",
                  sender->options.delivery_timeout_ms, error->message);
    finish(sender, parcel, -1, &late);
}

/* After these the records may have been stored although the server did not say so. */
static bool is_outcome_unknown(ShStatus status)
{
    return status == SH_TIMEOUT || status == SH_CANCELLED || status == SH_INTERNAL || status == SH_IO;
}

static void fail_unknown(ShSender *sender, ShParcel *parcel, const ShError *error)
{
    ShError unknown = *error;
    (void)sh_fail(&unknown, SH_UNAVAILABLE, "outcome unknown, not sent again: %.400s", error->message);
    unknown.retriable = false;
    finish(sender, parcel, -1, &unknown);
}

/* As long as the server asks for; else doubling from attempt to attempt, of which the upper
 * half is jitter. */
static int64_t backoff_ms(ShSender *sender, int attempts, int retry_after_ms)
{
    int64_t delay_ms = sender->options.retry_backoff_ms;
    for (int i = 1; i < attempts && delay_ms < sender->options.retry_backoff_max_ms; i++)
        delay_ms *= 2;
    if (delay_ms > sender->options.retry_backoff_max_ms)
        delay_ms = sender->options.retry_backoff_max_ms;
    int64_t half_ms = delay_ms / 2;
    delay_ms = half_ms + (int64_t)(sh_client_random(&sender->random) % (uint64_t)(half_ms + 1));
    return retry_after_ms > delay_ms ? retry_after_ms : delay_ms;
}

/* Without an error, or where a later parcel is acknowledged, it is stored; offset -1: nobody knows where. */
static void finish(ShSender *sender, ShParcel *parcel, int64_t base_offset, const ShError *error)
{
    if (sh_sequencer_is_stored(parcel))
        error = NULL;
    if (error != NULL)
        sh_sequencer_gave_up(parcel);
    else
        sh_sequencer_acked(parcel);
    unlink_parcel(parcel->lane, parcel);
    for (size_t i = 0; i < parcel->batch_count; i++) {
        int32_t count = parcel->batches[i]->count;
        sender->port.done(sender->port.context, parcel->batches[i], base_offset, error);
        if (error == NULL && base_offset >= 0)
            base_offset += count;
    }
    free(parcel);
}

static void finish_scattered(ShSender *sender, ShParcel *parcel, const int64_t *offsets)
{
    sh_sequencer_acked(parcel);
    unlink_parcel(parcel->lane, parcel);
    for (size_t i = 0; i < parcel->batch_count; i++)
        sender->port.done(sender->port.context, parcel->batches[i], offsets[i], NULL);
    free(parcel);
}

static void unlink_parcel(ShLane *lane, ShParcel *parcel)
{
    if (parcel->previous != NULL)
        parcel->previous->next = parcel->next;
    else
        lane->parcels = parcel->next;
    if (parcel->next != NULL)
        parcel->next->previous = parcel->previous;
    else
        lane->parcels_last = parcel->previous;
}
