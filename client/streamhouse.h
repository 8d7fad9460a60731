/*
 * streamhouse.h - libstreamhouse: produce to and consume from StreamHouse in C.
 *
 *   ShClient    knows the cluster: addresses, topics, owners of partitions. Any thread may use it.
 *   ShProducer  appends records in the background, batch by batch, and reports each record's fate.
 *   ShConsumer  reads partitions from a position on. One thread at a time may use it.
 *
 * A client outlives the producers and consumers made from it. Functions that can fail return a ShStatus and
 * fill the optional ShError; its message names the thing and the remedy, `retriable` says whether the same
 * call may succeed later. Time-outs are in milliseconds and bound the whole call. Strings that are passed in
 * are copied.
 */
#ifndef SH_CLIENT_STREAMHOUSE_H
#define SH_CLIENT_STREAMHOUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/batch.h"
#include "core/bytes.h"
#include "core/codec.h"
#include "core/status.h"

#define SH_API            __attribute__((visibility("default")))
#define SH_CLIENT_VERSION "0.1.0"

typedef struct ShClient ShClient;
typedef struct ShProducer ShProducer;
typedef struct ShConsumer ShConsumer;

/* --- client ------------------------------------------------------------------------------------------- */

/* A client of the cluster that answers at any of `addresses`: "host:port,host:port". Connects when it is
 * first used; SH_INVALID when the text is no such list. */
SH_API ShStatus sh_client_new(const char *addresses, ShClient **out, ShError *err) SH_MUST_CHECK;
/* Before its first use: the availability zone that the program runs in. What any agent can do, as with topics
 * of durability `object`, is asked of agents of this zone, if there are any. SH_INVALID when it is too long.
 */
SH_API ShStatus sh_client_set_zone(ShClient *client, const char *zone, ShError *err) SH_MUST_CHECK;
/* After its producers and consumers. NULL allowed. */
SH_API void sh_client_free(ShClient *client);

typedef struct ShAgentInfo {
    char *agent_id;
    char *address; /* host:port */
    char *zone;
} ShAgentInfo;

typedef struct ShPartitionInfo {
    int32_t partition;
    char *owner;   /* agent id; "" when there is none */
    char *address; /* of the owner, host:port; "" when there is none */
    int64_t epoch;
} ShPartitionInfo;

typedef struct ShTopicInfo {
    char *name;
    ShUuid topic_id;
    char *durability; /* "wal" or "object" */
    ShPartitionInfo *partitions;
    size_t partition_count;
} ShTopicInfo;

typedef struct ShClusterInfo {
    char *cluster_id;
    ShAgentInfo *agents;
    size_t agent_count;
    ShTopicInfo *topics;
    size_t topic_count;
} ShClusterInfo;

/* Agents, topics and owners; `topic` NULL: all topics. SH_NOT_FOUND when there is no such topic. `*out` is
 * freed with sh_cluster_info_free. Blocks. */
SH_API ShStatus sh_client_cluster_info(ShClient *client, const char *topic, int timeout_ms,
                                       ShClusterInfo **out, ShError *err) SH_MUST_CHECK;
SH_API void sh_cluster_info_free(ShClusterInfo *info);

/* The number of partitions of a topic, from the cache where it is known. Blocks where it is not. */
SH_API ShStatus sh_client_partition_count(ShClient *client, const char *topic, int timeout_ms, int32_t *out,
                                          ShError *err) SH_MUST_CHECK;

/* What sh_client_list_offset can look for, beside a time in milliseconds since the Unix epoch. */
#define SH_LIST_LATEST   (-1)
#define SH_LIST_EARLIEST (-2)

/* The offset of the first record of a partition (SH_LIST_EARLIEST), of the next one to come (SH_LIST_LATEST),
 * or of the first record at or after a time; the next offset where there is none. Blocks. */
SH_API ShStatus sh_client_list_offset(ShClient *client, const char *topic, int32_t partition,
                                      int64_t timestamp_ms, int timeout_ms, int64_t *out,
                                      ShError *err) SH_MUST_CHECK;

/* --- topics ------------------------------------------------------------------------------------------- */

/* NULL and 0 mean the server's default. */
typedef struct ShTopicOptions {
    const char *name;
    int32_t partitions;
    const char *durability;   /* "wal" or "object" */
    const char *retention;    /* a PostgreSQL interval such as "7 days"; default: for ever */
    const char *segment_size; /* such as "64MB" */
} ShTopicOptions;

typedef struct ShPartitionDescription {
    int32_t partition;
    char *owner; /* agent id; "" when there is none */
    int64_t epoch;
    int64_t log_start;
    int64_t published_end;
    int64_t records; /* published */
    int64_t bytes;   /* published */
} ShPartitionDescription;

typedef struct ShTopicDescription {
    char *name;
    ShUuid topic_id;
    char *durability;
    char *retention; /* "" for ever */
    int64_t segment_bytes;
    int64_t records; /* published */
    int64_t bytes;   /* published */
    ShPartitionDescription *partitions;
    size_t partition_count;
} ShTopicDescription;

typedef struct ShTopicDescriptions {
    ShTopicDescription *topics;
    size_t topic_count;
} ShTopicDescriptions;

/* These block. SH_EXISTS, SH_NOT_FOUND and SH_INVALID carry the server's words. */
SH_API ShStatus sh_client_create_topic(ShClient *client, const ShTopicOptions *options, int timeout_ms,
                                       ShError *err) SH_MUST_CHECK;
SH_API ShStatus sh_client_delete_topic(ShClient *client, const char *name, int timeout_ms,
                                       ShError *err) SH_MUST_CHECK;
/* `topic` NULL: all topics. `*out` is freed with sh_topic_descriptions_free. */
SH_API ShStatus sh_client_describe_topics(ShClient *client, const char *topic, int timeout_ms,
                                          ShTopicDescriptions **out, ShError *err) SH_MUST_CHECK;
SH_API void sh_topic_descriptions_free(ShTopicDescriptions *descriptions);

/* --- producer ----------------------------------------------------------------------------------------- */

/* What happens to a send whose outcome is unknown: it was written, and the connection was lost before its
 * answer. With idempotence both send it again, and it is stored once; they differ only if the server forgot
 * the producer meanwhile. */
typedef enum ShRetry {
    SH_RETRY_ALWAYS = 0, /* send again: every record is stored at least once */
    SH_RETRY_SAFE        /* report the records as failed with "outcome unknown": none is stored twice */
} ShRetry;

#define SH_PARTITION_ANY (-1)

/* The fate of one record. Borrowed, valid during the callback. */
typedef struct ShDelivery {
    const char *topic;
    int32_t partition;
    int64_t offset; /* -1 when it failed, or was stored so long ago that the server has forgotten where */
    const ShError *error; /* NULL: acknowledged. SH_INVALID may be of this record alone, for not fitting its
                             topic's schemas: the others of its batch are sent without it */
    void *opaque;         /* as given to sh_producer_produce */
} ShDelivery;

/* Called once per accepted record, from the producer's own thread (or the one that closes it), never under a
 * lock. It may call sh_producer_produce, which then never waits; it may not flush or close. Records of one
 * partition come in their order. */
typedef void (*ShDeliveryFn)(const ShDelivery *delivery, void *context);

typedef struct ShProducerOptions {
    size_t batch_bytes;   /* a batch is sent when it has so many bytes */
    size_t request_bytes; /* bound of what one request carries of a partition, in whole batches */
    int linger_ms;        /* ... or is so old */
    ShCodec codec;
    size_t buffer_bytes; /* bound of all records that are not yet delivered */
    int block_ms;        /* how long produce waits for room; 0: fails with SH_EXHAUSTED at once */
    int in_flight_max;   /* requests under way per partition; 0: as many as keep the order, 5 with
                            idempotence (which never has more), 1 without. Above 1 without it, a request that
                            the server refuses can be overtaken by those that are already on their way */
    bool idempotence;    /* every record is stored once, in order, however often it is sent; where the server
                            does not offer it, as without */
    int delivery_timeout_ms; /* from produce to the last retry */
    int request_timeout_ms;  /* a request that is not answered in time counts as lost with its connection */
    int retry_backoff_ms;    /* delay of the first retry; doubles, with jitter */
    int retry_backoff_max_ms;
    ShRetry retry;
    ShDeliveryFn on_delivery; /* NULL: nobody is told */
    void *on_delivery_context;
} ShProducerOptions;

/* The defaults: 128 KiB batches, 1 MiB requests, 5 ms linger, no compression, 64 MiB buffer, 60 s blocking,
 * idempotence with 5 requests in flight per partition, 120 s delivery and 30 s request time-out, back-off
 * from 100 ms to 1 s, SH_RETRY_ALWAYS. */
SH_API void sh_producer_options_init(ShProducerOptions *options);

/* A producer with its thread. `client` must outlive it. SH_INVALID names the option that is out of range. */
SH_API ShStatus sh_producer_new(ShClient *client, const ShProducerOptions *options, ShProducer **out,
                                ShError *err) SH_MUST_CHECK;

/* Append one record: key, value and headers are copied before it returns. `partition` is a number or
 * SH_PARTITION_ANY: by murmur2 of the key as Kafka does, without a key by one partition per batch. The
 * record's offset is ignored; timestamp 0 means now, to within a few milliseconds. Any thread. Blocks only
 * for a topic's first metadata and for room, at most block_ms; who never blocks calls
 * sh_client_partition_count before. SH_NOT_FOUND: no such topic or partition; SH_TOO_LARGE: over
 * request_bytes; SH_EXHAUSTED: no room. When it fails there is no callback. */
SH_API ShStatus sh_producer_produce(ShProducer *producer, const char *topic, int32_t partition,
                                    const ShRecord *record, const ShHeader *headers, size_t header_count,
                                    void *opaque, ShError *err) SH_MUST_CHECK;

/* Send what is there without waiting for linger, and wait until every record has had its callback. SH_TIMEOUT
 * says how many are left; they stay with the producer. */
SH_API ShStatus sh_producer_flush(ShProducer *producer, int timeout_ms, ShError *err) SH_MUST_CHECK;

/* Records accepted and not yet reported. */
SH_API size_t sh_producer_pending(ShProducer *producer);

/* Stop and free. Records that are still there are reported with SH_CANCELLED: flush first. NULL allowed. */
SH_API void sh_producer_close(ShProducer *producer);

/* --- consumer ----------------------------------------------------------------------------------------- */

typedef enum ShStartAt {
    SH_START_EARLIEST,
    SH_START_LATEST,
    SH_START_OFFSET,   /* value: the offset */
    SH_START_TIMESTAMP /* value: milliseconds since the Unix epoch */
} ShStartAt;

typedef struct ShStart {
    ShStartAt at;
    int64_t value;
} ShStart;

/* What to do where the position is below the log start or above the end. */
typedef enum ShOutOfRange {
    /* poll fails with SH_OUT_OF_RANGE; the partition rests until it is assigned again */
    SH_OUT_OF_RANGE_ERROR = 0,
    SH_OUT_OF_RANGE_EARLIEST,
    SH_OUT_OF_RANGE_LATEST
} ShOutOfRange;

typedef struct ShConsumerOptions {
    size_t queue_bytes; /* fetched ahead, over all partitions; one response more may stand beside it */
    int fetch_wait_ms;  /* the server collects so long until fetch_bytes_min are there */
    int fetch_bytes_min;
    int fetch_bytes_max;           /* of one response */
    size_t decompressed_bytes_max; /* of one batch */
    int call_timeout_ms;           /* of assign's look-ups */
    ShOutOfRange out_of_range;
} ShConsumerOptions;

/* One record and where it stands. Headers are read with sh_record_next_header(&message->record, ...). */
typedef struct ShMessage {
    const char *topic;
    int32_t partition;
    ShRecord record;
} ShMessage;

/* The defaults: 32 MiB queue, 500 ms wait, 1 byte, 1 MiB responses, 64 MiB batches, 30 s,
 * SH_OUT_OF_RANGE_ERROR. */
SH_API void sh_consumer_options_init(ShConsumerOptions *options);
SH_API ShStatus sh_consumer_new(ShClient *client, const ShConsumerOptions *options, ShConsumer **out,
                                ShError *err) SH_MUST_CHECK;

/* Read this partition, from `start` on; assigned already, it moves there. Blocks where the start has to be
 * looked up. */
SH_API ShStatus sh_consumer_assign(ShConsumer *consumer, const char *topic, int32_t partition, ShStart start,
                                   ShError *err) SH_MUST_CHECK;

/* The next records: at most one batch, all of one partition, in offset order. `*messages` borrows from the
 * consumer until the next call of poll or close; `*count` is 0 when nothing came in time. A failing partition
 * (SH_CORRUPT, SH_OUT_OF_RANGE, SH_NOT_FOUND) is reported once and rests until it is assigned again; the
 * others go on. Owners that move and agents that restart are followed in silence. */
SH_API ShStatus sh_consumer_poll(ShConsumer *consumer, int timeout_ms, const ShMessage **messages,
                                 size_t *count, ShError *err) SH_MUST_CHECK;

/* The offset after the last record that poll returned (or after a hole that it passed). */
SH_API ShStatus sh_consumer_position(ShConsumer *consumer, const char *topic, int32_t partition, int64_t *out,
                                     ShError *err) SH_MUST_CHECK;

/* The partition's next offset at this moment, asked from the server. Blocks. */
SH_API ShStatus sh_consumer_end_offset(ShConsumer *consumer, const char *topic, int32_t partition,
                                       int64_t *out, ShError *err) SH_MUST_CHECK;

/* Stop and free. NULL allowed. */
SH_API void sh_consumer_close(ShConsumer *consumer);

#endif
