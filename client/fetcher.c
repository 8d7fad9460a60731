#include "client/fetcher.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/refresh.h"
#include "core/crc32c.h"
#include "proto/streamhouse.pb-c.h"

#define RETRY_MS 100

/* A stream to one agent, for all partitions it owns, or for one of them alone. The thread's own. */
typedef struct FetchLink {
    struct FetchLink *next;
    ShFetcher *fetcher;
    char address[SH_CLIENT_ADDRESS_BYTES];
    const ShFetchTarget *only; /* NULL: all */
    ShClientCall *call;        /* NULL: none under way */
    ShBuf *request;            /* until it is written */
    bool outdated;             /* cancelled to be opened again with other partitions */
} FetchLink;

struct ShFetchTarget {
    ShFetchTarget *next;
    char topic[SH_CLIENT_TOPIC_BYTES];
    ShUuid topic_id;
    int32_t partition;
    /* The fetcher's lock guards what follows. */
    bool resting;
    unsigned generation;
    int64_t fetch_offset; /* the next to ask for */
    int64_t hold_until_ms;
    bool alone;      /* to be fetched by a stream of its own; see blame */
    FetchLink *link; /* that fetches it now */
};

struct ShFetcher {
    ShClient *client;
    ShConsumerOptions options;
    pthread_t thread;
    bool thread_started;
    ShLoop *loop;
    ShRefresh refresh;
    FetchLink *links;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t filled;
    ShFetchTarget *targets;
    ShChunk *first, *last;
    size_t queued_bytes;
    bool stopping;
};

static void *run(void *arg);
static int64_t attach_targets(ShFetcher *fetcher, int64_t now_ms);
static FetchLink *get_link(ShFetcher *fetcher, const char *address, const ShFetchTarget *only);
static void open_links(ShFetcher *fetcher, bool has_room);
static void open_link(FetchLink *link);
static size_t count_targets(const FetchLink *link);
static ShBuf *pack_request(const FetchLink *link);
static void on_writable(void *context);
static void on_message(void *context, ShBuf *message);
static void on_closed(void *context, const ShRefusal *why);
static void blame(FetchLink *link, const ShRefusal *why);
static ShFetchTarget *find_part_target(const FetchLink *link, const ShFetchedPart *part);
static void take_part(FetchLink *link, ShFetchTarget *target, const ShFetchedPart *part,
                      const ShError *damage, ShBuf *message);
static ShStatus check_batches(const ShFetchedPart *part, ShError *err);
static void turn_away(FetchLink *link, ShFetchTarget *target, const ShRefusal *why);
static bool is_final(ShStatus status);
static void enqueue(ShFetcher *fetcher, ShFetchTarget *target, const ShFetchedPart *part, ShBuf *message,
                    const ShError *error);

ShStatus sh_fetcher_new(ShClient *client, const ShConsumerOptions *options, ShFetcher **out, ShError *err)
{
    ShFetcher *fetcher = calloc(1, sizeof *fetcher);
    if (fetcher == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a consumer");
    fetcher->client = client;
    fetcher->options = *options;
    pthread_mutex_init(&fetcher->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&fetcher->filled, &attributes);
    pthread_condattr_destroy(&attributes);

    ShStatus status = SH_OK;
    fetcher->loop = sh_loop_new(sh_client_transport(client));
    fetcher->refresh = (ShRefresh){.client = client, .loop = fetcher->loop};
    if (fetcher->loop == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory for a consumer");
    else if (pthread_create(&fetcher->thread, NULL, run, fetcher) != 0)
        status = sh_fail(err, SH_EXHAUSTED, "no thread for a consumer");
    else
        fetcher->thread_started = true;
    if (status != SH_OK) {
        sh_fetcher_free(fetcher);
        return status;
    }
    pthread_setname_np(fetcher->thread, "sh-consumer");
    *out = fetcher;
    return SH_OK;
}

void sh_fetcher_free(ShFetcher *fetcher)
{
    if (fetcher == NULL)
        return;
    if (fetcher->thread_started) {
        pthread_mutex_lock(&fetcher->lock);
        fetcher->stopping = true;
        pthread_mutex_unlock(&fetcher->lock);
        sh_loop_wake(fetcher->loop);
        pthread_join(fetcher->thread, NULL);
    }
    sh_loop_free(fetcher->loop);
    for (FetchLink *link = fetcher->links, *next = NULL; link != NULL; link = next) {
        next = link->next;
        free(link);
    }
    for (ShFetchTarget *target = fetcher->targets, *next = NULL; target != NULL; target = next) {
        next = target->next;
        free(target);
    }
    for (ShChunk *chunk = fetcher->first, *next = NULL; chunk != NULL; chunk = next) {
        next = chunk->next;
        sh_chunk_free(chunk);
    }
    pthread_cond_destroy(&fetcher->filled);
    pthread_mutex_destroy(&fetcher->lock);
    free(fetcher);
}

ShStatus sh_fetcher_target(ShFetcher *fetcher, const char *topic, const ShUuid *topic_id, int32_t partition,
                           ShFetchTarget **out, ShError *err)
{
    ShStatus status = SH_OK;
    pthread_mutex_lock(&fetcher->lock);
    ShFetchTarget *target = fetcher->targets;
    while (target != NULL && (target->partition != partition || strcmp(target->topic, topic) != 0))
        target = target->next;
    if (target == NULL) {
        target = calloc(1, sizeof *target);
        if (target == NULL) {
            status = sh_fail(err, SH_NO_MEMORY, "no memory for a partition");
        } else {
            snprintf(target->topic, sizeof target->topic, "%s", topic);
            target->topic_id = *topic_id;
            target->partition = partition;
            target->resting = true;
            target->next = fetcher->targets;
            fetcher->targets = target;
        }
    }
    pthread_mutex_unlock(&fetcher->lock);
    if (status == SH_OK)
        *out = target;
    return status;
}

const char *sh_fetch_target_topic(const ShFetchTarget *target)
{
    return target->topic;
}
int32_t sh_fetch_target_partition(const ShFetchTarget *target)
{
    return target->partition;
}

void sh_fetcher_start(ShFetcher *fetcher, ShFetchTarget *target, int64_t offset)
{
    pthread_mutex_lock(&fetcher->lock);
    target->resting = false;
    target->generation++;
    target->fetch_offset = offset;
    target->hold_until_ms = 0;
    target->alone = false;
    target->link = NULL;
    pthread_mutex_unlock(&fetcher->lock);
    sh_loop_wake(fetcher->loop);
}

void sh_fetcher_rest(ShFetcher *fetcher, ShFetchTarget *target)
{
    pthread_mutex_lock(&fetcher->lock);
    target->resting = true;
    target->generation++;
    target->link = NULL;
    pthread_mutex_unlock(&fetcher->lock);
}

ShChunk *sh_fetcher_next(ShFetcher *fetcher, int64_t deadline_ms)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    bool in_time = true;
    pthread_mutex_lock(&fetcher->lock);
    while (fetcher->first == NULL && in_time)
        in_time = pthread_cond_timedwait(&fetcher->filled, &fetcher->lock, &until) == 0;
    ShChunk *chunk = fetcher->first;
    bool was_full = fetcher->queued_bytes >= fetcher->options.queue_bytes;
    if (chunk != NULL) {
        fetcher->first = chunk->next;
        if (fetcher->first == NULL)
            fetcher->last = NULL;
        fetcher->queued_bytes -= chunk->length;
    }
    bool is_full = fetcher->queued_bytes >= fetcher->options.queue_bytes;
    pthread_mutex_unlock(&fetcher->lock);
    if (was_full && !is_full)
        sh_loop_wake(fetcher->loop);
    return chunk;
}

bool sh_fetcher_is_current(ShFetcher *fetcher, const ShChunk *chunk)
{
    pthread_mutex_lock(&fetcher->lock);
    bool current = chunk->generation == chunk->target->generation;
    pthread_mutex_unlock(&fetcher->lock);
    return current;
}

void sh_chunk_free(ShChunk *chunk)
{
    if (chunk == NULL)
        return;
    sh_buf_unref(chunk->owner);
    free(chunk);
}

static void *run(void *arg)
{
    ShFetcher *fetcher = arg;
    pthread_mutex_lock(&fetcher->lock);
    while (!fetcher->stopping) {
        int64_t now_ms = sh_client_now_ms();
        int64_t due_ms = attach_targets(fetcher, now_ms);
        bool has_room = fetcher->queued_bytes < fetcher->options.queue_bytes;
        open_links(fetcher, has_room);
        pthread_mutex_unlock(&fetcher->lock);

        int64_t refresh_ms = sh_refresh_run(&fetcher->refresh, now_ms);
        sh_loop_run(fetcher->loop, refresh_ms < due_ms ? refresh_ms : due_ms);
        pthread_mutex_lock(&fetcher->lock);
    }
    pthread_mutex_unlock(&fetcher->lock);
    return NULL;
}

/* Give each partition that nobody fetches to its owner's link. A stream's partitions are fixed, so one that
 * gains a partition is closed and opened anew. Returns when to look again. The lock is held. */
static int64_t attach_targets(ShFetcher *fetcher, int64_t now_ms)
{
    int64_t due_ms = INT64_MAX;
    for (ShFetchTarget *target = fetcher->targets; target != NULL; target = target->next) {
        if (target->resting || target->link != NULL)
            continue;
        ShPartitionOwner owner;
        bool held = now_ms < target->hold_until_ms;
        if (!held && !sh_client_owner(fetcher->client, target->topic, target->partition, &owner)) {
            fetcher->refresh.wanted = true;
            target->hold_until_ms = now_ms + RETRY_MS;
            held = true;
        }
        FetchLink *link = held ? NULL : get_link(fetcher, owner.address, target->alone ? target : NULL);
        if (link != NULL && link->call == NULL) {
            target->link = link;
        } else if (link != NULL && !link->outdated) {
            link->outdated = true;
            sh_client_call_cancel(link->call);
        } else if (held && target->hold_until_ms < due_ms) {
            due_ms = target->hold_until_ms;
        }
    }
    return due_ms;
}

static FetchLink *get_link(ShFetcher *fetcher, const char *address, const ShFetchTarget *only)
{
    FetchLink *link = fetcher->links;
    while (link != NULL && (link->only != only || strcmp(link->address, address) != 0))
        link = link->next;
    if (link == NULL) {
        link = calloc(1, sizeof *link);
        if (link == NULL)
            return NULL;
        link->fetcher = fetcher;
        link->only = only;
        strcpy(link->address, address);
        link->next = fetcher->links;
        fetcher->links = link;
    }
    return link;
}

/* Open the links that have partitions and no stream, close those that have lost all, and let the others read
 * while there is room. The lock is held. */
static void open_links(ShFetcher *fetcher, bool has_room)
{
    for (FetchLink *link = fetcher->links; link != NULL; link = link->next) {
        bool wanted = count_targets(link) > 0;
        if (link->call == NULL && wanted)
            open_link(link);
        if (link->call == NULL)
            continue;
        if (!wanted)
            sh_client_call_cancel(link->call);
        if (has_room)
            sh_client_call_read(link->call);
    }
}

static void open_link(FetchLink *link)
{
    ShClientCallEvents events = {on_writable, on_message, on_closed, link};
    link->outdated = false;
    link->request = pack_request(link);
    if (link->request != NULL)
        link->call = sh_client_call_start(link->fetcher->loop, link->address, SH_METHOD_FETCH_STREAM, 0,
                                          &events);
    if (link->call == NULL) {
        sh_buf_unref(link->request);
        link->request = NULL;
    }
}

/* The partitions that a link fetches, or is to fetch. The lock is held. */
static size_t count_targets(const FetchLink *link)
{
    size_t count = 0;
    for (const ShFetchTarget *target = link->fetcher->targets; target != NULL; target = target->next)
        count += target->link == link;
    return count;
}

/* NULL when memory is short. */
static ShBuf *pack_request(const FetchLink *link)
{
    const ShFetcher *fetcher = link->fetcher;
    size_t count = count_targets(link);
    ShBuf *packed = NULL;
    Streamhouse__V1__FetchPartition *parts = calloc(count, sizeof *parts);
    Streamhouse__V1__FetchPartition **list = calloc(count, sizeof *list);
    if (parts == NULL || list == NULL)
        goto done;
    size_t used = 0;
    for (ShFetchTarget *target = fetcher->targets; target != NULL; target = target->next) {
        if (target->link != link)
            continue;
        Streamhouse__V1__FetchPartition *part = list[used] = &parts[used];
        used++;
        streamhouse__v1__fetch_partition__init(part);
        part->topic = target->topic;
        part->topic_id = (ProtobufCBinaryData){sizeof target->topic_id.bytes, target->topic_id.bytes};
        part->partition = target->partition;
        part->offset = target->fetch_offset;
    }
    Streamhouse__V1__FetchRequest request = STREAMHOUSE__V1__FETCH_REQUEST__INIT;
    request.partitions = list;
    request.n_partitions = count;
    request.max_wait_ms = fetcher->options.fetch_wait_ms;
    request.min_bytes = fetcher->options.fetch_bytes_min;
    request.max_bytes = fetcher->options.fetch_bytes_max;
    packed = sh_buf_new(streamhouse__v1__fetch_request__get_packed_size(&request));
    if (packed != NULL)
        packed->length = streamhouse__v1__fetch_request__pack(&request, packed->data);
done:
    free(list);
    free(parts);
    return packed;
}

static void on_writable(void *context)
{
    FetchLink *link = context;
    if (link->request == NULL) {
        sh_client_call_end_writes(link->call);
        return;
    }
    ShSlice whole = {link->request->data, link->request->length, link->request};
    sh_client_call_write(link->call, &whole, 1);
    sh_buf_unref(link->request);
    link->request = NULL;
}

static void on_message(void *context, ShBuf *message)
{
    FetchLink *link = context;
    ShFetcher *fetcher = link->fetcher;
    ShProtobufReader reader = sh_protobuf_reader(message->data, message->length);
    ShFetchedPart part;
    bool more = false;
    ShStatus status;
    while ((status = sh_message_next_fetched(&reader, &part, &more, NULL)) == SH_OK && more) {
        ShError damage = {0};
        bool damaged = !part.refused && check_batches(&part, &damage) != SH_OK;
        pthread_mutex_lock(&fetcher->lock);
        ShFetchTarget *target = find_part_target(link, &part);
        if (target != NULL)
            take_part(link, target, &part, damaged ? &damage : NULL, message);
        pthread_mutex_unlock(&fetcher->lock);
    }
    if (status != SH_OK)
        sh_client_call_cancel(link->call);
}

static void on_closed(void *context, const ShRefusal *why)
{
    FetchLink *link = context;
    ShFetcher *fetcher = link->fetcher;
    sh_buf_unref(link->request);
    link->request = NULL;
    link->call = NULL;

    pthread_mutex_lock(&fetcher->lock);
    blame(link, why);
    pthread_mutex_unlock(&fetcher->lock);
    link->outdated = false;
}

/* A stream that ended lets go of its partitions. Its status does not tell which of several failed: where that
 * matters each of them gets a stream of its own, in which the failure finds its partition. The lock is held.
 */
static void blame(FetchLink *link, const ShRefusal *why)
{
    size_t count = count_targets(link);
    ShRefusal of_any = *why;
    of_any.has_owner = why->has_owner && count == 1;
    bool ambiguous = count > 1 && is_final(why->error.status);
    for (ShFetchTarget *target = link->fetcher->targets; target != NULL; target = target->next) {
        if (target->link != link)
            continue;
        if (link->outdated || ambiguous) {
            target->alone = target->alone || ambiguous;
            target->link = NULL;
        } else {
            turn_away(link, target, &of_any);
        }
    }
}

static ShFetchTarget *find_part_target(const FetchLink *link, const ShFetchedPart *part)
{
    ShFetchTarget *target = link->fetcher->targets;
    while (target != NULL && (target->link != link || target->partition != part->partition ||
                              strlen(target->topic) != part->topic_length ||
                              memcmp(target->topic, part->topic, part->topic_length) != 0))
        target = target->next;
    return target;
}

/* The lock is held. */
static void take_part(FetchLink *link, ShFetchTarget *target, const ShFetchedPart *part,
                      const ShError *damage, ShBuf *message)
{
    if (part->refused) {
        turn_away(link, target, &part->refusal);
    } else if (damage != NULL) {
        enqueue(link->fetcher, target, part, NULL, damage);
    } else if (part->next_offset > target->fetch_offset) {
        enqueue(link->fetcher, target, part, message, NULL);
    }
}

/* Whole batches, each with the CRC that it claims. */
static ShStatus check_batches(const ShFetchedPart *part, ShError *err)
{
    const uint8_t *next = part->batches;
    size_t left = part->batches_length;
    while (left > 0) {
        ShBatchHeader header;
        ShStatus status = sh_batch_peek(next, left, &header, err);
        if (status == SH_OK && sh_crc32c(next + SH_BATCH_UNCOVERED_BYTES,
                                         header.total_bytes - SH_BATCH_UNCOVERED_BYTES) != header.crc)
            status = sh_fail(err, SH_CORRUPT, "the batch at offset %lld does not match its checksum",
                             (long long)header.base_offset);
        if (status != SH_OK)
            return status;
        next += header.total_bytes;
        left -= header.total_bytes;
    }
    return SH_OK;
}

/* A partition cannot be fetched over this link: try again later, elsewhere, or tell the consumer. The lock is
 * held. */
static void turn_away(FetchLink *link, ShFetchTarget *target, const ShRefusal *why)
{
    ShFetcher *fetcher = link->fetcher;
    if (is_final(why->error.status)) {
        enqueue(fetcher, target, NULL, NULL, &why->error);
        return;
    }
    bool turned = why->has_owner &&
                  sh_client_learn_owner(fetcher->client, target->topic, target->partition, &why->owner) &&
                  strcmp(why->owner.address, link->address) != 0;
    int delay_ms = why->error.retry_after_ms > RETRY_MS ? why->error.retry_after_ms : RETRY_MS;
    target->alone = false;
    target->link = NULL;
    target->hold_until_ms = turned ? 0 : sh_client_now_ms() + delay_ms;
    fetcher->refresh.wanted = fetcher->refresh.wanted || !turned;
}

/* Whether asking again cannot help. */
static bool is_final(ShStatus status)
{
    return status == SH_OUT_OF_RANGE || status == SH_NOT_FOUND || status == SH_INVALID ||
           status == SH_CORRUPT || status == SH_DENIED || status == SH_UNSUPPORTED;
}

/* Append a chunk of `part` (NULL with an error); after an error the partition rests. The lock is held. */
static void enqueue(ShFetcher *fetcher, ShFetchTarget *target, const ShFetchedPart *part, ShBuf *message,
                    const ShError *error)
{
    ShChunk *chunk = calloc(1, sizeof *chunk);
    if (chunk == NULL) {
        target->link = NULL; /* what follows on this stream is not taken, so that nothing is skipped */
        return;
    }
    chunk->target = target;
    chunk->generation = target->generation;
    if (error != NULL) {
        chunk->error = *error;
        target->resting = true;
        target->link = NULL;
    } else {
        chunk->owner = sh_buf_ref(message);
        chunk->data = part->batches;
        chunk->length = part->batches_length;
        chunk->next_offset = target->fetch_offset = part->next_offset;
    }
    if (fetcher->last != NULL)
        fetcher->last->next = chunk;
    else
        fetcher->first = chunk;
    fetcher->last = chunk;
    fetcher->queued_bytes += chunk->length;
    pthread_cond_signal(&fetcher->filled);
}
