#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "client/fetcher.h"

#define MESSAGES_INITIAL 256

/* A partition that was assigned. */
typedef struct Assignment {
    struct Assignment *next;
    ShFetchTarget *target;
    int64_t position;
} Assignment;

struct ShConsumer {
    ShClient *client;
    ShConsumerOptions options;
    ShFetcher *fetcher;
    Assignment *assignments;
    Assignment *of_chunk; /* whose chunk is being read */
    ShChunk *chunk;       /* being read, or NULL */
    size_t read_bytes;    /* of the chunk */
    ShScratch scratch;    /* a decompressed batch */
    ShMessage *messages;
    size_t message_capacity;
};

static ShStatus check_options(const ShConsumerOptions *options, ShError *err);
static ShStatus find_start(ShConsumer *consumer, const char *topic, int32_t partition, ShStart start,
                           int64_t *offset, ShError *err);
static Assignment *find_assignment(const ShConsumer *consumer, const char *topic, int32_t partition);
static ShStatus add_assignment(ShConsumer *consumer, ShFetchTarget *target, Assignment **out, ShError *err);
static ShStatus open_chunk(ShConsumer *consumer, ShChunk *chunk, ShError *err);
static ShStatus handle_failure(ShConsumer *consumer, Assignment *assignment, const ShError *failure,
                               ShError *err);
static void close_chunk(ShConsumer *consumer);
static ShStatus read_batch(ShConsumer *consumer, size_t *count, ShError *err);
static ShStatus read_records(ShConsumer *consumer, ShBatchReader *reader, size_t *count, ShError *err);
static ShStatus add_room(ShConsumer *consumer, ShError *err);

void sh_consumer_options_init(ShConsumerOptions *options)
{
    *options = (ShConsumerOptions){
        .queue_bytes = 32 * 1024 * 1024,
        .fetch_wait_ms = 500,
        .fetch_bytes_min = 1,
        .fetch_bytes_max = 1024 * 1024,
        .decompressed_bytes_max = 64 * 1024 * 1024,
        .call_timeout_ms = 30 * 1000,
        .out_of_range = SH_OUT_OF_RANGE_ERROR,
    };
}

ShStatus sh_consumer_new(ShClient *client, const ShConsumerOptions *options, ShConsumer **out, ShError *err)
{
    ShStatus status = check_options(options, err);
    if (status != SH_OK)
        return status;
    ShConsumer *consumer = calloc(1, sizeof *consumer);
    if (consumer == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a consumer");
    consumer->client = client;
    consumer->options = *options;
    status = sh_fetcher_new(client, options, &consumer->fetcher, err);
    if (status != SH_OK) {
        free(consumer);
        return status;
    }
    *out = consumer;
    return SH_OK;
}

ShStatus sh_consumer_assign(ShConsumer *consumer, const char *topic, int32_t partition, ShStart start,
                            ShError *err)
{
    ShTopicShape shape;
    ShStatus status = sh_client_topic_shape(consumer->client, topic, consumer->options.call_timeout_ms,
                                            &shape, err);
    if (status != SH_OK)
        return status;
    if (partition < 0 || partition >= shape.partition_count)
        return sh_fail(err, SH_NOT_FOUND, "topic \"%s\" has no partition %d; they go from 0 to %d", topic,
                       partition, shape.partition_count - 1);
    int64_t offset = 0;
    ShFetchTarget *target = NULL;
    status = find_start(consumer, topic, partition, start, &offset, err);
    if (status == SH_OK)
        status = sh_fetcher_target(consumer->fetcher, topic, &shape.topic_id, partition, &target, err);
    Assignment *assignment = find_assignment(consumer, topic, partition);
    if (status == SH_OK && assignment == NULL)
        status = add_assignment(consumer, target, &assignment, err);
    if (status != SH_OK)
        return status;
    assignment->position = offset;
    sh_fetcher_start(consumer->fetcher, target, offset);
    return SH_OK;
}

ShStatus sh_consumer_poll(ShConsumer *consumer, int timeout_ms, const ShMessage **messages, size_t *count,
                          ShError *err)
{
    int64_t deadline_ms = sh_client_now_ms() + timeout_ms;
    *messages = NULL;
    *count = 0;
    for (;;) {
        if (consumer->chunk != NULL && !sh_fetcher_is_current(consumer->fetcher, consumer->chunk))
            close_chunk(consumer);
        ShStatus status = SH_OK;
        if (consumer->chunk == NULL) {
            ShChunk *chunk = sh_fetcher_next(consumer->fetcher, deadline_ms);
            if (chunk == NULL)
                return SH_OK;
            status = open_chunk(consumer, chunk, err);
        } else if (consumer->read_bytes < consumer->chunk->length) {
            status = read_batch(consumer, count, err);
        } else {
            if (consumer->of_chunk->position < consumer->chunk->next_offset)
                consumer->of_chunk->position = consumer->chunk->next_offset;
            close_chunk(consumer);
        }
        if (status != SH_OK)
            return status;
        if (*count > 0) {
            *messages = consumer->messages;
            return SH_OK;
        }
    }
}

ShStatus sh_consumer_position(ShConsumer *consumer, const char *topic, int32_t partition, int64_t *out,
                              ShError *err)
{
    const Assignment *assignment = find_assignment(consumer, topic, partition);
    if (assignment == NULL)
        return sh_fail(err, SH_NOT_FOUND, "partition %d of \"%s\" is not assigned", partition, topic);
    *out = assignment->position;
    return SH_OK;
}

ShStatus sh_consumer_end_offset(ShConsumer *consumer, const char *topic, int32_t partition, int64_t *out,
                                ShError *err)
{
    return sh_client_list_offset(consumer->client, topic, partition, SH_LIST_LATEST,
                                 consumer->options.call_timeout_ms, out, err);
}

void sh_consumer_close(ShConsumer *consumer)
{
    if (consumer == NULL)
        return;
    sh_chunk_free(consumer->chunk);
    sh_fetcher_free(consumer->fetcher);
    while (consumer->assignments != NULL) {
        Assignment *assignment = consumer->assignments;
        consumer->assignments = assignment->next;
        free(assignment);
    }
    sh_scratch_free(&consumer->scratch);
    free(consumer->messages);
    free(consumer);
}

static ShStatus check_options(const ShConsumerOptions *o, ShError *err)
{
    if (o->queue_bytes < 1024)
        return sh_fail(err, SH_INVALID, "queue_bytes must be at least 1 KiB");
    if (o->fetch_wait_ms < 0 || o->fetch_bytes_min < 0 || o->fetch_bytes_max < 1 || o->call_timeout_ms < 1)
        return sh_fail(err, SH_INVALID,
                       "the fetch options must not be negative, call_timeout_ms must be positive");
    if (o->decompressed_bytes_max < 1024)
        return sh_fail(err, SH_INVALID, "decompressed_bytes_max must be at least 1 KiB");
    return SH_OK;
}

static ShStatus find_start(ShConsumer *consumer, const char *topic, int32_t partition, ShStart start,
                           int64_t *offset, ShError *err)
{
    *offset = start.value;
    if (start.at == SH_START_OFFSET)
        return start.value >= 0 ? SH_OK : sh_fail(err, SH_INVALID, "an offset is never negative");
    int64_t timestamp_ms = start.at == SH_START_EARLIEST ? SH_LIST_EARLIEST
                           : start.at == SH_START_LATEST ? SH_LIST_LATEST
                                                         : start.value;
    return sh_client_list_offset(consumer->client, topic, partition, timestamp_ms,
                                 consumer->options.call_timeout_ms, offset, err);
}

static Assignment *find_assignment(const ShConsumer *consumer, const char *topic, int32_t partition)
{
    Assignment *assignment = consumer->assignments;
    while (assignment != NULL && (sh_fetch_target_partition(assignment->target) != partition ||
                                  strcmp(sh_fetch_target_topic(assignment->target), topic) != 0))
        assignment = assignment->next;
    return assignment;
}

static ShStatus add_assignment(ShConsumer *consumer, ShFetchTarget *target, Assignment **out, ShError *err)
{
    Assignment *assignment = calloc(1, sizeof *assignment);
    if (assignment == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a partition");
    assignment->target = target;
    assignment->next = consumer->assignments;
    consumer->assignments = *out = assignment;
    return SH_OK;
}

/* Take a chunk over to be read; one that tells of a failure is dealt with at once. */
static ShStatus open_chunk(ShConsumer *consumer, ShChunk *chunk, ShError *err)
{
    Assignment *assignment = consumer->assignments;
    while (assignment != NULL && assignment->target != chunk->target)
        assignment = assignment->next;

    ShStatus status = SH_OK;
    if (assignment == NULL || !sh_fetcher_is_current(consumer->fetcher, chunk)) {
        sh_chunk_free(chunk);
    } else if (chunk->error.status != SH_OK) {
        status = handle_failure(consumer, assignment, &chunk->error, err);
        sh_chunk_free(chunk);
    } else {
        consumer->chunk = chunk;
        consumer->of_chunk = assignment;
        consumer->read_bytes = 0;
    }
    return status;
}

static ShStatus handle_failure(ShConsumer *consumer, Assignment *assignment, const ShError *failure,
                               ShError *err)
{
    const char *topic = sh_fetch_target_topic(assignment->target);
    int32_t partition = sh_fetch_target_partition(assignment->target);
    if (failure->status == SH_OUT_OF_RANGE && consumer->options.out_of_range != SH_OUT_OF_RANGE_ERROR) {
        ShStart start = {consumer->options.out_of_range == SH_OUT_OF_RANGE_EARLIEST ? SH_START_EARLIEST
                                                                                    : SH_START_LATEST,
                         0};
        return sh_consumer_assign(consumer, topic, partition, start, err);
    }
    if (err != NULL)
        *err = *failure;
    return sh_fail_prefix(err, failure->status, "partition %d of \"%s\"", partition, topic);
}

static void close_chunk(ShConsumer *consumer)
{
    sh_chunk_free(consumer->chunk);
    consumer->chunk = NULL;
}

/* The records of the chunk's next batch that are not below the position. A damaged batch
 * ends the partition. */
static ShStatus read_batch(ShConsumer *consumer, size_t *count, ShError *err)
{
    ShBatchReader reader;
    const ShChunk *chunk = consumer->chunk;
    Assignment *assignment = consumer->of_chunk;
    ShError damage;
    ShStatus status = sh_batch_reader_init(
        &reader, chunk->data + consumer->read_bytes, chunk->length - consumer->read_bytes,
        consumer->options.decompressed_bytes_max, &consumer->scratch, &damage);
    if (status == SH_OK) {
        consumer->read_bytes += reader.header.total_bytes;
        if ((reader.header.attributes & SH_BATCH_ATTR_CONTROL) == 0)
            status = read_records(consumer, &reader, count, &damage);
    }
    if (status == SH_OK) {
        int64_t next = reader.header.base_offset + reader.header.last_offset_delta + 1;
        if (assignment->position < next)
            assignment->position = next;
        return SH_OK;
    }
    *count = 0;
    sh_fetcher_rest(consumer->fetcher, assignment->target);
    return handle_failure(consumer, assignment, &damage, err);
}

/* Each record is decoded in its place in the list, and the next one over it where it is not wanted. */
static ShStatus read_records(ShConsumer *consumer, ShBatchReader *reader, size_t *count, ShError *err)
{
    const char *topic = sh_fetch_target_topic(consumer->of_chunk->target);
    int32_t partition = sh_fetch_target_partition(consumer->of_chunk->target);
    int64_t position = consumer->of_chunk->position;
    for (;;) {
        bool more = false;
        ShStatus status = *count < consumer->message_capacity ? SH_OK : add_room(consumer, err);
        if (status != SH_OK)
            return status;
        ShMessage *message = &consumer->messages[*count];
        status = sh_batch_reader_next(reader, &message->record, &more, err);
        if (status != SH_OK || !more)
            return status;
        message->topic = topic;
        message->partition = partition;
        *count += message->record.offset >= position;
    }
}

static ShStatus add_room(ShConsumer *consumer, ShError *err)
{
    size_t capacity = consumer->message_capacity == 0 ? MESSAGES_INITIAL : consumer->message_capacity * 2;
    ShMessage *messages = realloc(consumer->messages, capacity * sizeof *messages);
    if (messages == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a batch of %zu records", capacity);
    consumer->messages = messages;
    consumer->message_capacity = capacity;
    return SH_OK;
}
