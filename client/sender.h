/*
 * sender.h - which batches are sent when, and what is done about refusals and lost connections.
 *
 * A pure state machine: it belongs to one thread, time is an argument, and the world stands behind a
 * ShSenderPort. What it keeps up: the batches of a partition are sent in their order, a parcel is never
 * formed anew, and until a parcel that failed is resolved, no later one of its partition is sent.
 */
#ifndef SH_CLIENT_SENDER_H
#define SH_CLIENT_SENDER_H

#include "client/lane.h"
#include "client/streamhouse.h"

typedef struct ShSender ShSender;

typedef struct ShSenderPort {
    void *context;
    bool (*find_owner)(void *context, const ShLane *lane, ShPartitionOwner *out);
    /* False when the owner is of a lower epoch than the one that is known. */
    bool (*learn_owner)(void *context, const ShLane *lane, const ShPartitionOwner *owner);
    void (*want_metadata)(void *context);
    /* Send parcel->batches to parcel->address as the request parcel->id, setting `written` once it is on its
     * way. It stays in place until it is answered or its link is lost. */
    void (*send)(void *context, ShParcel *parcel);
    /* An answer is overdue: break the connection, and then call sh_sender_link_lost. */
    void (*drop_link)(void *context, const char *address);
    /* The fate of a batch, which is handed over. `error` NULL: stored at `base_offset`, -1: somewhere. */
    void (*done)(void *context, ShPendingBatch *batch, int64_t base_offset, const ShError *error);
    /* Nothing can be sent before sh_sender_set_producer or sh_sender_no_producer. */
    void (*want_producer)(void *context);
} ShSenderPort;

/* NULL when memory is short. Of the options it uses those about requests and retries. */
ShSender *sh_sender_new(const ShProducerOptions *options, const ShSenderPort *port, uint64_t seed);
/* Its batches must be gone: sh_sender_cancel. NULL allowed. */
void sh_sender_free(ShSender *sender);

/* The id of this idempotent producer; or the news that the server has none, so that it goes on without. */
void sh_sender_set_producer(ShSender *sender, int64_t producer_id, int16_t producer_epoch);
void sh_sender_no_producer(ShSender *sender);

/* A batch that was built, behind the others of its lane. */
void sh_sender_add(ShSender *sender, ShPendingBatch *batch);

/* Send what may be sent now, give up what is too old. Returns when to be called again; INT64_MAX: with the
 * next event. */
int64_t sh_sender_run(ShSender *sender, int64_t now_ms);

/* The server answered. An answer to no request under way is ignored. */
void sh_sender_answered(ShSender *sender, const ShProduceAnswer *answer, int64_t now_ms);

/* The connection to an address ended with requests unanswered, or could not be made. */
void sh_sender_link_lost(ShSender *sender, const char *address, const ShRefusal *why, int64_t now_ms);

/* Tell the owners of what is acknowledged that it is (proto/streamhouse.proto, a confirmation), without
 * waiting for more to send. False while answers are missing; may be called again. */
bool sh_sender_confirm_all(ShSender *sender);

/* Hand everything over as failed with SH_CANCELLED. */
void sh_sender_cancel(ShSender *sender);

#endif
