/*
 * messages.h - the hot messages of proto/streamhouse.proto, and errors as the server words them.
 */
#ifndef SH_CLIENT_MESSAGES_H
#define SH_CLIENT_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "client/protobuf.h"
#include "core/bytes.h"
#include "core/codec.h"
#include "core/status.h"

#define SH_CLIENT_TOPIC_BYTES   250 /* a name of 249 characters and the NUL */
#define SH_CLIENT_ADDRESS_BYTES 272 /* host:port and the NUL */

/* Who takes a partition's records, and since which epoch. */
typedef struct ShPartitionOwner {
    char address[SH_CLIENT_ADDRESS_BYTES]; /* "" : unknown */
    int64_t epoch;
} ShPartitionOwner;

/* A PartitionError: what went wrong, and the owner it named. */
typedef struct ShRefusal {
    ShError error;
    bool has_owner;
    ShPartitionOwner owner;
} ShRefusal;

/* A record that is not stored because it does not fit the topic's schemas. */
typedef struct ShMisfit {
    size_t index;          /* in the request, over all of its batches */
    const uint8_t *reason; /* borrowed from the message, not NUL-terminated; may be empty */
    size_t reason_length;
} ShMisfit;

/* The answer to a request that carried one partition. */
#define SH_ANSWER_BATCHES_MAX 32
typedef struct ShProduceAnswer {
    uint64_t request_id;
    int64_t base_offset;
    int64_t batch_offsets[SH_ANSWER_BATCHES_MAX]; /* where they do not follow each other */
    size_t batch_offset_count;
    int64_t record_count;
    int64_t epoch;
    bool refused;
    ShRefusal refusal;
    ShMisfit *misfits; /* in their order; without a refusal all other records are stored, with it none is */
    size_t misfit_count;
} ShProduceAnswer;

/* One partition's part of a FetchResponse; topic and batches are borrowed from the message. */
typedef struct ShFetchedPart {
    const uint8_t *topic;
    size_t topic_length;
    int32_t partition;
    int64_t log_start;
    int64_t high_watermark;
    int64_t next_offset;
    int64_t epoch;
    const uint8_t *batches;
    size_t batches_length;
    bool refused;
    ShRefusal refusal;
} ShFetchedPart;

/* Replace `head` by the bytes of a ProduceRequest up to the content of its `batches`; the message is complete
 * with `batches_bytes` bytes of batches behind it. */
ShStatus sh_message_put_produce(ShScratch *head, uint64_t request_id, const char *topic,
                                const ShUuid *topic_id, int32_t partition, int32_t first_unacked_seq,
                                size_t batches_bytes, ShError *err) SH_MUST_CHECK;

/* Replace `head` by a whole ProduceRequest that confirms: the producer knows all below first_unacked_seq
 * acknowledged. */
ShStatus sh_message_put_confirmation(ShScratch *head, uint64_t request_id, const char *topic,
                                     const ShUuid *topic_id, int32_t partition, int64_t producer_id,
                                     int16_t producer_epoch, int32_t first_unacked_seq,
                                     ShError *err) SH_MUST_CHECK;

/* Read a ProduceResponse. SH_CORRUPT when it is damaged or has no result. Free with sh_message_free_produced,
 * also after an error. */
ShStatus sh_message_get_produced(const uint8_t *data, size_t length, ShProduceAnswer *out,
                                 ShError *err) SH_MUST_CHECK;
void sh_message_free_produced(ShProduceAnswer *answer);

/* Read a FetchResponse, part by part: `reader` is over the message; `*more` is false after the last one. */
ShStatus sh_message_next_fetched(ShProtobufReader *reader, ShFetchedPart *out, bool *more,
                                 ShError *err) SH_MUST_CHECK;

/* Read a PartitionError. Never fails: damage makes it a SH_CORRUPT of its own. */
void sh_message_get_refusal(const uint8_t *data, size_t length, ShRefusal *out);

/* A gRPC status code with the server's stable reason ("" where there is none) as a status. */
ShStatus sh_message_status(int grpc_code, const char *reason, size_t reason_length);

#endif
