#include <stdlib.h>
#include <string.h>

#include "agent/rpc/error.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"

/* Of those that may wait for the engine. With more than half of these each has little. */
#define CALLS_OF_HOST_MAX (SH_ADMIN_JOBS_MAX / 8)

/* The engine's result lives during its callback only, so the answer is packed there, and sent on the call's
 * thread. */
typedef struct AdminCall {
    ShCall call;
    ShWake wake;
    ShError error;
    grpc_byte_buffer *answer; /* with error.status SH_OK */
    bool is_counted;
    atomic_bool given_up;
} AdminCall;

static void start_create(ShCall *call, grpc_byte_buffer *message);
static void start_delete(ShCall *call, grpc_byte_buffer *message);
static void start_describe(ShCall *call, grpc_byte_buffer *message);
static void start_init_producer(ShCall *call, grpc_byte_buffer *message);
static void on_created(void *arg, ShStatus status, const ShError *err, const void *result);
static void on_deleted(void *arg, ShStatus status, const ShError *err, const void *result);
static void on_described(void *arg, ShStatus status, const ShError *err, const void *result);
static void on_producer(void *arg, ShStatus status, const ShError *err, const void *result);
static bool count_call(AdminCall *self);
static void forget_count(AdminCall *self);
static void give_up(ShCall *call);
static bool is_failed(AdminCall *self, ShStatus status, const ShError *err);
static grpc_byte_buffer *pack_description(AdminCall *self, const ShTopicSizes *sizes);
static void fill_topic(const ShPartitionSize *from, Streamhouse__V1__TopicDescription *out);
static void fill_partition(const ShPartitionSize *from, Streamhouse__V1__PartitionDescription *out);
static ShAdminCaller begin(ShCall *call, ShAdminDoneFn done);
static void on_wake(ShWake *wake);
static void destroy(ShCall *call);

const ShMethod sh_method_create_topic = {
    .path = "/streamhouse.v1.Admin/CreateTopic",
    .name = "CreateTopic",
    .call_bytes = sizeof(AdminCall),
    .start = start_create,
    .destroy = destroy,
};

const ShMethod sh_method_delete_topic = {
    .path = "/streamhouse.v1.Admin/DeleteTopic",
    .name = "DeleteTopic",
    .call_bytes = sizeof(AdminCall),
    .start = start_delete,
    .destroy = destroy,
};

const ShMethod sh_method_describe_topics = {
    .path = "/streamhouse.v1.Admin/DescribeTopics",
    .name = "DescribeTopics",
    .call_bytes = sizeof(AdminCall),
    .start = start_describe,
    .cancelled = give_up,
    .destroy = destroy,
};

const ShMethod sh_method_init_producer = {
    .path = "/streamhouse.v1.StreamHouse/InitProducer",
    .name = "InitProducer",
    .call_bytes = sizeof(AdminCall),
    .start = start_init_producer,
    .destroy = destroy,
};

static void start_create(ShCall *call, grpc_byte_buffer *message)
{
    ShError err = {0};
    if (!count_call((AdminCall *)call))
        return;
    const Streamhouse__V1__CreateTopicRequest *request = (const Streamhouse__V1__CreateTopicRequest *)
        sh_call_parse(call, message, &streamhouse__v1__create_topic_request__descriptor, 0, &err);
    if (request == NULL) {
        sh_call_fail(call, &err);
        return;
    }
    ShTopicSpec spec = {.name = request->name,
                        .partitions = request->partitions,
                        .durability = request->durability,
                        .retention = request->retention,
                        .segment_size = request->segment_size};
    ShAdminCaller caller = begin(call, on_created);
    sh_engine_create_topic(sh_call_engine(call), &spec, &caller);
}

static void start_delete(ShCall *call, grpc_byte_buffer *message)
{
    ShError err = {0};
    if (!count_call((AdminCall *)call))
        return;
    const Streamhouse__V1__DeleteTopicRequest *request = (const Streamhouse__V1__DeleteTopicRequest *)
        sh_call_parse(call, message, &streamhouse__v1__delete_topic_request__descriptor, 0, &err);
    if (request == NULL) {
        sh_call_fail(call, &err);
        return;
    }
    ShAdminCaller caller = begin(call, on_deleted);
    sh_engine_drop_topic(sh_call_engine(call), request->name, &caller);
}

static void start_describe(ShCall *call, grpc_byte_buffer *message)
{
    ShError err = {0};
    if (!count_call((AdminCall *)call))
        return;
    const Streamhouse__V1__DescribeTopicsRequest *request = (const Streamhouse__V1__DescribeTopicsRequest *)
        sh_call_parse(call, message, &streamhouse__v1__describe_topics_request__descriptor, 1, &err);
    if (request == NULL) {
        sh_call_fail(call, &err);
        return;
    }
    ShAdminCaller caller = begin(call, on_described);
    sh_engine_describe_topics(sh_call_engine(call), (const char *const *)request->topics, request->n_topics,
                              &((AdminCall *)call)->given_up, &caller);
}

static void start_init_producer(ShCall *call, grpc_byte_buffer *message)
{
    ShError err = {0};
    if (!count_call((AdminCall *)call))
        return;
    const Streamhouse__V1__InitProducerRequest *request = (const Streamhouse__V1__InitProducerRequest *)
        sh_call_parse(call, message, &streamhouse__v1__init_producer_request__descriptor, 0, &err);
    if (request != NULL && request->transactional_id[0] != '\0') {
        (void)sh_fail(&err, SH_UNSUPPORTED, "transactions are not supported: leave transactional_id empty");
        request = NULL;
    }
    if (request == NULL) {
        sh_call_fail(call, &err);
        return;
    }
    ShAdminCaller caller = begin(call, on_producer);
    sh_engine_init_producer(sh_call_engine(call), &caller);
}

static void on_created(void *arg, ShStatus status, const ShError *err, const void *result)
{
    AdminCall *self = arg;
    if (!is_failed(self, status, err)) {
        const ShUuid *topic_id = result;
        Streamhouse__V1__CreateTopicResponse response = STREAMHOUSE__V1__CREATE_TOPIC_RESPONSE__INIT;
        response.topic_id.data = (uint8_t *)(uintptr_t)topic_id->bytes;
        response.topic_id.len = sizeof topic_id->bytes;
        self->answer = sh_message_pack(&response.base);
    }
    sh_worker_post(&self->wake);
}

static void on_deleted(void *arg, ShStatus status, const ShError *err, const void *result)
{
    (void)result;
    AdminCall *self = arg;
    if (!is_failed(self, status, err)) {
        Streamhouse__V1__DeleteTopicResponse response = STREAMHOUSE__V1__DELETE_TOPIC_RESPONSE__INIT;
        self->answer = sh_message_pack(&response.base);
    }
    sh_worker_post(&self->wake);
}

static void on_described(void *arg, ShStatus status, const ShError *err, const void *result)
{
    AdminCall *self = arg;
    if (!is_failed(self, status, err))
        self->answer = pack_description(self, result);
    sh_worker_post(&self->wake);
}

static void on_producer(void *arg, ShStatus status, const ShError *err, const void *result)
{
    AdminCall *self = arg;
    if (!is_failed(self, status, err)) {
        const ShProducerId *producer = result;
        Streamhouse__V1__InitProducerResponse response = STREAMHOUSE__V1__INIT_PRODUCER_RESPONSE__INIT;
        response.producer_id = producer->id;
        response.producer_epoch = producer->epoch;
        self->answer = sh_message_pack(&response.base);
    }
    sh_worker_post(&self->wake);
}

/* The calls of all run one after the other. */
static bool count_call(AdminCall *self)
{
    ShCall *call = &self->call;
    if (call->connection == NULL)
        return true;
    self->is_counted = true;
    int64_t all = atomic_fetch_add(&call->worker->rpc->admin_calls, 1);
    int64_t own = atomic_fetch_add(&call->connection->host->admin_calls, 1);
    if (own < CALLS_OF_HOST_MAX && sh_connection_may_take(own, all, 1, SH_ADMIN_JOBS_MAX))
        return true;
    ShError err = {0};
    (void)sh_fail_for_room(&err, "too many calls of administration are under way, or of this address");
    forget_count(self); /* however long the refusal is on its way */
    sh_call_fail(call, &err);
    return false;
}

static void forget_count(AdminCall *self)
{
    if (self->is_counted) {
        atomic_fetch_sub(&self->call.worker->rpc->admin_calls, 1);
        atomic_fetch_sub(&self->call.connection->host->admin_calls, 1);
    }
    self->is_counted = false;
}

static void give_up(ShCall *call)
{
    atomic_store(&((AdminCall *)call)->given_up, true);
}

static bool is_failed(AdminCall *self, ShStatus status, const ShError *err)
{
    if (status == SH_OK)
        return false;
    if (err != NULL)
        self->error = *err;
    self->error.status = status;
    return true;
}

/* Partitions come ordered by topic: each run of the same topic is one description. */
static grpc_byte_buffer *pack_description(AdminCall *self, const ShTopicSizes *sizes)
{
    ShCall *call = &self->call;
    size_t count = sizes->count;
    Streamhouse__V1__DescribeTopicsResponse response = STREAMHOUSE__V1__DESCRIBE_TOPICS_RESPONSE__INIT;
    Streamhouse__V1__TopicDescription *topics = sh_call_alloc(call, count * sizeof *topics);
    Streamhouse__V1__PartitionDescription *partitions = sh_call_alloc(call, count * sizeof *partitions);
    Streamhouse__V1__PartitionDescription **list = sh_call_alloc(call, count * sizeof(*list));
    response.topics = sh_call_alloc(call, count * sizeof(Streamhouse__V1__TopicDescription *));
    if (topics == NULL || partitions == NULL || list == NULL || response.topics == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const ShPartitionSize *from = &sizes->partitions[i];
        if (i == 0 || !sh_uuid_equal(&from->topic_id, &sizes->partitions[i - 1].topic_id)) {
            Streamhouse__V1__TopicDescription *topic = &topics[response.n_topics];
            fill_topic(from, topic);
            topic->partitions = &list[i];
            response.topics[response.n_topics++] = topic;
        }
        Streamhouse__V1__TopicDescription *topic = response.topics[response.n_topics - 1];
        fill_partition(from, &partitions[i]);
        list[i] = &partitions[i];
        topic->n_partitions++;
        topic->records += from->records;
        topic->bytes += from->bytes;
    }
    return sh_message_pack(&response.base);
}

static void fill_topic(const ShPartitionSize *from, Streamhouse__V1__TopicDescription *out)
{
    streamhouse__v1__topic_description__init(out);
    out->name = (char *)(uintptr_t)from->topic;
    out->topic_id.data = (uint8_t *)(uintptr_t)from->topic_id.bytes;
    out->topic_id.len = sizeof from->topic_id.bytes;
    out->durability = (char *)(uintptr_t)from->durability;
    out->retention = (char *)(uintptr_t)from->retention;
    out->segment_bytes = from->segment_bytes;
}

static void fill_partition(const ShPartitionSize *from, Streamhouse__V1__PartitionDescription *out)
{
    streamhouse__v1__partition_description__init(out);
    out->partition = from->partition;
    out->owner = (char *)(uintptr_t)from->owner;
    out->epoch = from->epoch;
    out->log_start = from->log_start;
    out->published_end = from->published_end;
    out->records = from->records;
    out->bytes = from->bytes;
}

/* The call is held until the engine's callback has been followed by on_wake. Hosts take turns. */
static ShAdminCaller begin(ShCall *call, ShAdminDoneFn done)
{
    AdminCall *self = (AdminCall *)call;
    self->wake = (ShWake){.call = call, .run = on_wake};
    sh_call_hold(call);
    return (ShAdminCaller){
        .asker = call->connection != NULL ? call->connection->host : NULL, .done = done, .arg = self};
}

static void on_wake(ShWake *wake)
{
    ShCall *call = wake->call;
    AdminCall *self = (AdminCall *)call;
    forget_count(self);
    if (self->error.status != SH_OK) {
        sh_call_fail(call, &self->error);
    } else if (self->answer == NULL) {
        sh_call_end(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
    } else {
        sh_call_answer(call, self->answer);
        self->answer = NULL;
    }
    sh_call_release(call);
}

static void destroy(ShCall *call)
{
    AdminCall *self = (AdminCall *)call;
    forget_count(self);
    grpc_byte_buffer_destroy(self->answer);
}
