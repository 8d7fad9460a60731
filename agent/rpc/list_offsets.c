/*
 * list_offsets.c - the offsets that times stand for, some at a time and one call after the other.
 *
 * Each look-up may ask PostgreSQL and read from the store, on the threads that fetches need too. So what a
 * request asks twice is looked up once, half of those threads serve these calls at most, and a call gives up
 * its turn after LOOKUPS_A_TURN of them.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rpc/error.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"
#include "agent/rpc/target.h"

#define LOOKUPS_A_TURN 8
/* Different times that a request may ask for of one partition. */
#define TIMES_MAX 16
/* Calls under way. */
#define CALLS_MAX 256
/* What a partition of an answer takes at most, near enough: a name, and an error that says who its owner is.
 */
#define RESULT_BYTES 2048

typedef struct ListCall {
    ShCall call;
    ShWake wake;
    ShRoundJob turn;   /* while it waits for it */
    ShListPart *parts; /* each once */
    size_t part_count;
    size_t done_count;
    uint32_t *places; /* which of the parts each partition of the request is */
    size_t place_count;
    ShListOffsets list; /* the look-ups of this turn */
    bool is_counted;
    atomic_bool given_up;
} ListCall;

/* A partition of the request, to be sorted. */
typedef struct Asked {
    ShListPart part;
    uint32_t place;
} Asked;

static void start(ShCall *call, grpc_byte_buffer *message);
static bool count_call(ListCall *self);
static void forget_count(ListCall *self);
static void forget(ShCall *call);
static void destroy(ShCall *call);
static ShStatus read_request(ListCall *self, grpc_byte_buffer *message, ShError *err);
static ShStatus join_equal(ListCall *self, Asked *asked, ShError *err);
static int by_part(const void *left, const void *right);
static int compare_targets(const ShTarget *a, const ShTarget *b);
static ShStatus wait_for_turn(ListCall *self, ShError *err);
static const ShHost *host_of(const ListCall *self);
static void pass_turn(ShRpc *rpc);
static void take_turn(ListCall *self);
static void on_listed(ShListOffsets *list);
static void on_wake(ShWake *wake);
static void answer(ListCall *self);
static bool all_failed_alike(const ListCall *self);
static void fill_result(const ShListPart *part, ShPartitionError *error,
                        Streamhouse__V1__ListOffsetsResult *out);

const ShMethod sh_method_list_offsets = {
    .path = "/streamhouse.v1.StreamHouse/ListOffsets",
    .name = "ListOffsets",
    .call_bytes = sizeof(ListCall),
    .start = start,
    .cancelled = forget,
    .destroy = destroy,
};

static void start(ShCall *call, grpc_byte_buffer *message)
{
    ListCall *self = (ListCall *)call;
    ShError err = {0};
    if (!count_call(self)) {
        (void)sh_fail_for_room(&err, "too many calls of ListOffsets are under way");
        sh_call_fail(call, &err);
        return;
    }
    if (read_request(self, message, &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    self->wake = (ShWake){.call = call, .run = on_wake};
    sh_call_hold(call);
    if (wait_for_turn(self, &err) == SH_OK)
        return;
    sh_call_fail(call, &err);
    sh_call_release(call);
}

static bool count_call(ListCall *self)
{
    ShRpc *rpc = self->call.worker->rpc;
    ShConnection *connection = self->call.connection;
    self->is_counted = true;
    int64_t all = atomic_fetch_add(&rpc->lists.calls, 1);
    int64_t own = connection != NULL ? atomic_fetch_add(&connection->host->lists, 1) : 0;
    if (sh_connection_may_take(own, all, 1, CALLS_MAX))
        return true;
    forget_count(self); /* however long the refusal is on its way */
    return false;
}

static void forget_count(ListCall *self)
{
    if (!self->is_counted)
        return;
    atomic_fetch_sub(&self->call.worker->rpc->lists.calls, 1);
    if (self->call.connection != NULL)
        atomic_fetch_sub(&self->call.connection->host->lists, 1);
    self->is_counted = false;
}

static void forget(ShCall *call)
{
    atomic_store(&((ListCall *)call)->given_up, true); /* its next turn is its last */
}

static void destroy(ShCall *call)
{
    forget_count((ListCall *)call);
}

static ShStatus read_request(ListCall *self, grpc_byte_buffer *message, ShError *err)
{
    ShCall *call = &self->call;
    const Streamhouse__V1__ListOffsetsRequest *wire = (const Streamhouse__V1__ListOffsetsRequest *)
        sh_call_parse(call, message, &streamhouse__v1__list_offsets_request__descriptor, 1, err);
    if (wire == NULL)
        return SH_INVALID;
    if (wire->n_partitions == 0)
        return sh_fail(err, SH_INVALID, "the request names no partition");

    Asked *asked = sh_call_alloc(call, wire->n_partitions * sizeof *asked);
    self->parts = sh_call_alloc(call, wire->n_partitions * sizeof *self->parts);
    self->places = sh_call_alloc(call, wire->n_partitions * sizeof *self->places);
    self->place_count = wire->n_partitions;
    if (asked == NULL || self->parts == NULL || self->places == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the request");
    for (size_t i = 0; i < wire->n_partitions; i++) {
        const Streamhouse__V1__ListOffsetsPartition *from = wire->partitions[i];
        ShWireBytes topic = {.data = (const uint8_t *)from->topic, .length = strlen(from->topic)};
        ShWireBytes topic_id = {.data = from->topic_id.data, .length = from->topic_id.len};
        asked[i] = (Asked){.part.timestamp_ms = from->timestamp_ms, .place = (uint32_t)i};
        ShStatus status = sh_target_parse(topic, topic_id, from->partition, &asked[i].part.target, err);
        if (status == SH_OK && from->timestamp_ms < SH_TIMESTAMP_EARLIEST)
            status = sh_fail(err, SH_INVALID, "timestamp_ms %lld is below -2", (long long)from->timestamp_ms);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "partition %zu of the request", i);
    }
    return join_equal(self, asked, err);
}

/* What is asked twice is looked up once. */
static ShStatus join_equal(ListCall *self, Asked *asked, ShError *err)
{
    size_t times = 0;
    qsort(asked, self->place_count, sizeof *asked, by_part);
    for (size_t i = 0; i < self->place_count; i++) {
        const ShListPart *last = self->part_count > 0 ? &self->parts[self->part_count - 1] : NULL;
        bool same_partition = last != NULL && compare_targets(&last->target, &asked[i].part.target) == 0;
        if (!same_partition || last->timestamp_ms != asked[i].part.timestamp_ms) {
            self->parts[self->part_count++] = asked[i].part;
            times = same_partition ? times + 1 : 1;
        }
        if (times > TIMES_MAX)
            return sh_fail(err, SH_INVALID, "the request asks for more than %d times of one partition",
                           TIMES_MAX);
        self->places[asked[i].place] = (uint32_t)(self->part_count - 1);
    }
    return SH_OK;
}

static int by_part(const void *left, const void *right)
{
    const ShListPart *a = &((const Asked *)left)->part;
    const ShListPart *b = &((const Asked *)right)->part;
    int order = compare_targets(&a->target, &b->target);
    return order != 0 ? order : (a->timestamp_ms > b->timestamp_ms) - (a->timestamp_ms < b->timestamp_ms);
}

static int compare_targets(const ShTarget *a, const ShTarget *b)
{
    if (a->partition != b->partition)
        return a->partition < b->partition ? -1 : 1;
    if (a->topic_length != b->topic_length)
        return a->topic_length < b->topic_length ? -1 : 1;
    int order = a->topic_length > 0 ? memcmp(a->topic, b->topic, a->topic_length) : 0;
    return order != 0 ? order : memcmp(a->topic_id.bytes, b->topic_id.bytes, sizeof a->topic_id.bytes);
}

/* Where as many look up already as may: hosts take turns. */
static ShStatus wait_for_turn(ListCall *self, ShError *err)
{
    ShRpc *rpc = self->call.worker->rpc;
    int64_t turns = rpc->config->read_threads / 2;
    pthread_mutex_lock(&rpc->lists.mutex);
    bool is_free = rpc->lists.running < (turns > 1 ? turns : 1);
    bool waits = !is_free && sh_rounds_put(&rpc->lists.waiting, NULL, host_of(self), &self->turn);
    rpc->lists.running += is_free;
    pthread_mutex_unlock(&rpc->lists.mutex);
    if (is_free)
        take_turn(self);
    else if (!waits)
        return sh_fail(err, SH_NO_MEMORY, "no memory to wait for a turn");
    return SH_OK;
}

/* The turn of a call is over: it is the next one's, which may be of another worker. */
static void pass_turn(ShRpc *rpc)
{
    pthread_mutex_lock(&rpc->lists.mutex);
    ShRoundJob *next = sh_rounds_take(&rpc->lists.waiting);
    if (next == NULL)
        rpc->lists.running--;
    pthread_mutex_unlock(&rpc->lists.mutex);
    if (next != NULL)
        take_turn((ListCall *)(void *)((char *)next - offsetof(ListCall, turn)));
}

/* One that was given up has its turn to end in. */
static void take_turn(ListCall *self)
{
    size_t left = atomic_load(&self->given_up) ? 0 : self->part_count - self->done_count;
    self->list = (ShListOffsets){.parts = self->parts + self->done_count,
                                 .part_count = left < LOOKUPS_A_TURN ? left : LOOKUPS_A_TURN,
                                 .asker = host_of(self),
                                 .given_up = &self->given_up,
                                 .done = on_listed,
                                 .arg = self};
    if (left > 0)
        sh_engine_list_offsets(sh_call_engine(&self->call), &self->list);
    else
        on_listed(&self->list);
}

static const ShHost *host_of(const ListCall *self)
{
    return self->call.connection != NULL ? self->call.connection->host : NULL;
}

static void on_listed(ShListOffsets *list)
{
    ListCall *self = list->arg;
    sh_worker_post(&self->wake);
}

static void on_wake(ShWake *wake)
{
    ShCall *call = wake->call;
    ShRpc *rpc = call->worker->rpc;
    ListCall *self = (ListCall *)call;
    self->done_count += self->list.part_count;
    bool waits = false;
    bool is_done = self->done_count == self->part_count;
    if (!is_done && !call->ended) { /* it gives up its turn, and waits for the next behind others */
        pthread_mutex_lock(&rpc->lists.mutex);
        waits = sh_rounds_put(&rpc->lists.waiting, NULL, host_of(self), &self->turn);
        pthread_mutex_unlock(&rpc->lists.mutex);
    }
    pass_turn(rpc);
    if (waits)
        return;
    ShError err = {0};
    if (!is_done)
        (void)sh_fail(&err, SH_NO_MEMORY, "no memory to wait for a turn");
    if (!call->ended && is_done)
        answer(self);
    else if (!call->ended)
        sh_call_fail(call, &err);
    sh_call_release(call);
}

static void answer(ListCall *self)
{
    ShCall *call = &self->call;
    size_t count = self->place_count;
    ShError err = {0};
    if (sh_call_reserve_answer(call, (int64_t)(count * RESULT_BYTES), &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    ShPartitionError *errors = sh_call_alloc(call, self->part_count * sizeof *errors);
    Streamhouse__V1__ListOffsetsResult *results = sh_call_alloc(call, self->part_count * sizeof *results);
    Streamhouse__V1__ListOffsetsResponse response = STREAMHOUSE__V1__LIST_OFFSETS_RESPONSE__INIT;
    response.results = sh_call_alloc(call, count * sizeof(Streamhouse__V1__ListOffsetsResult *));
    response.n_results = count;
    grpc_byte_buffer *packed = NULL;
    if (errors != NULL && results != NULL && response.results != NULL) {
        for (size_t i = 0; i < self->part_count; i++)
            fill_result(&self->parts[i], &errors[i], &results[i]);
        for (size_t i = 0; i < count; i++)
            response.results[i] = &results[self->places[i]];
        if (all_failed_alike(self)) {
            sh_call_fail_partition(call, &errors[self->places[0]]);
            return;
        }
        packed = sh_message_pack(&response.base);
    }
    if (packed != NULL)
        sh_call_answer(call, packed);
    else
        sh_call_end(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
}

static bool all_failed_alike(const ListCall *self)
{
    grpc_status_code code = sh_rpc_code(self->parts[0].error.status, SH_FROM_STORE);
    for (size_t i = 1; i < self->part_count; i++) {
        if (sh_rpc_code(self->parts[i].error.status, SH_FROM_STORE) != code)
            return false;
    }
    return code != GRPC_STATUS_OK;
}

static void fill_result(const ShListPart *part, ShPartitionError *error,
                        Streamhouse__V1__ListOffsetsResult *out)
{
    streamhouse__v1__list_offsets_result__init(out);
    /* The name borrows from the request, where protobuf-c has ended it with a NUL. */
    if (part->target.topic_length > 0)
        out->topic = (char *)(uintptr_t)part->target.topic;
    if (!sh_uuid_is_zero(&part->target.topic_id)) {
        out->topic_id.data = (uint8_t *)(uintptr_t)part->target.topic_id.bytes;
        out->topic_id.len = sizeof part->target.topic_id.bytes;
    }
    out->partition = part->target.partition;
    if (part->error.status != SH_OK) {
        sh_partition_error_fill(error, &part->error, &part->redirect, SH_FROM_STORE);
        out->error = &error->error;
        return;
    }
    out->offset = part->offset;
    out->timestamp_ms = part->found_timestamp_ms;
}
