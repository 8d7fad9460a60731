/*
 * lane.h - a partition's way through a producer: records gather in the open batch, sealed batches wait,
 * parcels are under way.
 *
 *   accumulator (the producer's lock)      sender (the producer's thread)
 *   record -> open batch -> sealed batches -> waiting batches -> parcels -> answer
 */
#ifndef SH_CLIENT_LANE_H
#define SH_CLIENT_LANE_H

#include "client/messages.h"
#include "client/partitioner.h"
#include "core/batch.h"
#include "core/bytes.h"

#define SH_PARCEL_BATCHES_MAX SH_ANSWER_BATCHES_MAX

typedef struct ShLane ShLane;

/* A batch and whom to tell about its records. */
typedef struct ShPendingBatch {
    struct ShPendingBatch *next;
    struct ShPendingBatch *previous;
    ShLane *lane;
    ShBatchBuilder *builder; /* until it is built */
    ShBuf *bytes;            /* once it is built */
    void **opaques;          /* one per record that was given */
    int32_t count;           /* records in it */
    /* Once some were refused, per record that was given: why; NULL: it is in the batch. See misfits.h. */
    char **misfits;
    int32_t given;        /* records, with `misfits`; else there are `count` */
    int32_t capacity;     /* of opaques */
    size_t charged_bytes; /* of the producer's buffer */
    int64_t created_ms;
} ShPendingBatch;

/* What one request carries: consecutive batches of one partition. Sent again, it is the same. */
typedef struct ShParcel {
    struct ShParcel *next; /* of its lane, in order */
    struct ShParcel *previous;
    uint64_t id; /* of the request under way; 0: waits to be sent again */
    ShLane *lane;
    ShPendingBatch *batches[SH_PARCEL_BATCHES_MAX];
    size_t batch_count;
    size_t bytes;
    int attempts;
    int64_t deadline_ms; /* of its oldest record's delivery */
    int64_t sent_ms;
    bool written;   /* on its way: should the connection break, nobody knows whether it arrived */
    bool uncertain; /* of an earlier try nobody knows */
    bool confirms;  /* a confirmation: no batches, no lane waits for it, and the link frees it */
    bool stamped;   /* its batches carry sequences, from base_sequence on */
    int32_t base_sequence;
    int32_t end_sequence;  /* behind its last */
    int32_t first_unacked; /* as it was sent last */
    int64_t producer_id;   /* of a confirmation */
    int16_t producer_epoch;
    char address[SH_CLIENT_ADDRESS_BYTES];
    struct ShParcel *next_queued; /* of its link, until it is written */
} ShParcel;

typedef struct ShProducerTopic {
    struct ShProducerTopic *next;
    char name[SH_CLIENT_TOPIC_BYTES];
    ShUuid topic_id;
    ShPartitioner partitioner; /* the producer's lock guards it */
    ShLane *lanes;             /* one per partition */
    int32_t lane_count;
} ShProducerTopic;

struct ShLane {
    const ShProducerTopic *topic;
    int32_t partition;

    ShPendingBatch *open; /* the accumulator's, under the producer's lock */

    /* The sender's, on the producer's thread. */
    ShPendingBatch *waiting, *waiting_last;
    ShParcel *parcels, *parcels_last;
    int under_way; /* parcels with an id */
    int64_t hold_until_ms;
    bool sequenced; /* as an idempotent producer's: it numbers its parcels, see sequencer.h */
    bool begin_anew;
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t next_sequence;
    int32_t acked_end;     /* behind the highest that is acknowledged: all below it is stored */
    int32_t told_unacked;  /* the server knows all below acknowledged */
    int64_t idle_since_ms; /* nothing waits or is under way; 0: something does */
    bool active;           /* stands in the sender's list */
    ShLane *next_active;
};

#endif
