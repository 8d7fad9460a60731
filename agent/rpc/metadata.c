#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/rpc/error.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"
#include "agent/rpc/target.h"

/* What a topic, a partition and an agent take in the answer and beside it while it is made, near enough. */
#define TOPIC_BYTES     (sizeof(Streamhouse__V1__TopicMetadata) + sizeof(ShPartitionError) + 400)
#define PARTITION_BYTES (sizeof(Streamhouse__V1__PartitionMetadata) + sizeof(Streamhouse__V1__Owner) + 128)
#define AGENT_BYTES     (sizeof(Streamhouse__V1__AgentInfo) + 200)

typedef struct MetadataCall {
    ShCall call;
    ShWake wake;
    Streamhouse__V1__MetadataRequest *request; /* in the call's memory; each topic once */
} MetadataCall;

static void start(ShCall *call, grpc_byte_buffer *message);
static bool names_are_valid(const Streamhouse__V1__MetadataRequest *request);
static bool drop_repeated(ShCall *call, Streamhouse__V1__MetadataRequest *request);
static int by_name(const void *left, const void *right);
static int64_t answer_bytes(const MetadataCall *self, const ShMeta *meta);
static bool knows_all(const ShMeta *meta, const Streamhouse__V1__MetadataRequest *request);
static void on_refreshed(void *arg, ShStatus status, const ShError *err);
static void on_wake(ShWake *wake);
static void answer(MetadataCall *self, const ShMeta *meta);
static bool fill_agents(ShCall *call, const ShMeta *meta, Streamhouse__V1__MetadataResponse *response);
static bool fill_topics(MetadataCall *self, const ShMeta *meta, Streamhouse__V1__MetadataResponse *response);
static bool fill_topic(ShCall *call, const ShMetaTopic *topic, Streamhouse__V1__TopicMetadata *out);
static bool fill_missing(ShCall *call, const char *name, Streamhouse__V1__TopicMetadata *out);
static void fill_owner(const ShMetaPartition *partition, Streamhouse__V1__Owner *out);

const ShMethod sh_method_metadata = {
    .path = "/streamhouse.v1.StreamHouse/Metadata",
    .name = "Metadata",
    .call_bytes = sizeof(MetadataCall),
    .start = start,
};

static void start(ShCall *call, grpc_byte_buffer *message)
{
    MetadataCall *self = (MetadataCall *)call;
    ShError err = {0};
    self->request = (Streamhouse__V1__MetadataRequest *)sh_call_parse(
        call, message, &streamhouse__v1__metadata_request__descriptor, 1, &err);
    if (self->request == NULL) {
        sh_call_fail(call, &err);
        return;
    }

    if (!names_are_valid(self->request)) {
        sh_call_end(call, GRPC_STATUS_INVALID_ARGUMENT, SH_TOPIC_NAME_RULE);
        return;
    }
    if (!drop_repeated(call, self->request)) {
        sh_call_end(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the request");
        return;
    }

    ShEngine *engine = sh_call_engine(call);
    const ShMeta *meta = sh_engine_meta(engine);
    bool complete = knows_all(meta, self->request);
    if (complete)
        answer(self, meta);
    sh_engine_meta_release(engine, meta);
    if (complete)
        return;

    /* The snapshot may be older than the topic: ask PostgreSQL once before saying that there is none. */
    sh_call_hold(call);
    self->wake = (ShWake){.call = call, .run = on_wake};
    sh_engine_meta_refresh(engine, on_refreshed, self);
}

static bool names_are_valid(const Streamhouse__V1__MetadataRequest *request)
{
    for (size_t i = 0; i < request->n_topics; i++) {
        if (!sh_target_is_topic_name((const uint8_t *)request->topics[i], strlen(request->topics[i])))
            return false;
    }
    return true;
}

/* An answer has each topic once, where it is named first, however often it is. False when memory is short. */
static bool drop_repeated(ShCall *call, Streamhouse__V1__MetadataRequest *request)
{
    size_t count = request->n_topics;
    char ***places = sh_call_alloc(call, count * sizeof *places);
    if (places == NULL)
        return false;
    for (size_t i = 0; i < count; i++)
        places[i] = &request->topics[i];
    if (count > 1)
        qsort(places, count, sizeof places[0], by_name);
    const char *last = NULL;
    for (size_t i = 0; i < count; i++) {
        if (last != NULL && strcmp(last, *places[i]) == 0)
            *places[i] = NULL;
        else
            last = *places[i];
    }
    request->n_topics = 0;
    for (size_t i = 0; i < count; i++) {
        if (request->topics[i] != NULL)
            request->topics[request->n_topics++] = request->topics[i];
    }
    return true;
}

/* Of equal names the one that stands first. */
static int by_name(const void *left, const void *right)
{
    char *const *a = *(char ***)(uintptr_t)left;
    char *const *b = *(char ***)(uintptr_t)right;
    int order = strcmp(*a, *b);
    return order != 0 ? order : (a > b) - (a < b);
}

static bool knows_all(const ShMeta *meta, const Streamhouse__V1__MetadataRequest *request)
{
    for (size_t i = 0; i < request->n_topics; i++) {
        if (sh_meta_find(meta, request->topics[i], strlen(request->topics[i])) == NULL)
            return false;
    }
    return true;
}

/* A refresh that failed leaves the snapshot as it was, which is the best answer there is. */
static void on_refreshed(void *arg, ShStatus status, const ShError *err)
{
    (void)status;
    (void)err;
    MetadataCall *self = arg;
    sh_worker_post(&self->wake);
}

static void on_wake(ShWake *wake)
{
    ShCall *call = wake->call;
    ShEngine *engine = sh_call_engine(call);
    const ShMeta *meta = sh_engine_meta(engine);
    answer((MetadataCall *)call, meta);
    sh_engine_meta_release(engine, meta);
    sh_call_release(call);
}

static void answer(MetadataCall *self, const ShMeta *meta)
{
    ShCall *call = &self->call;
    ShError err = {0};
    if (sh_call_reserve_answer(call, answer_bytes(self, meta), &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    Streamhouse__V1__MetadataResponse response = STREAMHOUSE__V1__METADATA_RESPONSE__INIT;
    char cluster_id[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&meta->cluster_id, cluster_id);
    response.cluster_id = cluster_id;
    grpc_byte_buffer *packed = NULL;
    if (fill_agents(call, meta, &response) && fill_topics(self, meta, &response))
        packed = sh_message_pack(&response.base);
    if (packed != NULL)
        sh_call_answer(call, packed);
    else
        sh_call_end(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
}

static int64_t answer_bytes(const MetadataCall *self, const ShMeta *meta)
{
    const Streamhouse__V1__MetadataRequest *request = self->request;
    bool all = request->n_topics == 0;
    size_t count = all ? meta->topic_count : request->n_topics;
    size_t bytes = meta->agent_count * AGENT_BYTES + count * TOPIC_BYTES;
    for (size_t i = 0; i < count; i++) {
        const ShMetaTopic *topic = all ? &meta->topics[i]
                                       : sh_meta_find(meta, request->topics[i], strlen(request->topics[i]));
        bytes += topic != NULL ? topic->partition_count * PARTITION_BYTES : 0;
    }
    return (int64_t)bytes;
}

static bool fill_agents(ShCall *call, const ShMeta *meta, Streamhouse__V1__MetadataResponse *response)
{
    Streamhouse__V1__AgentInfo *agents = sh_call_alloc(call, meta->agent_count * sizeof *agents);
    response->agents = sh_call_alloc(call, meta->agent_count * sizeof(Streamhouse__V1__AgentInfo *));
    if (agents == NULL || response->agents == NULL)
        return false;
    response->n_agents = meta->agent_count;
    for (size_t i = 0; i < meta->agent_count; i++) {
        streamhouse__v1__agent_info__init(&agents[i]);
        agents[i].agent_id = meta->agents[i].agent_id;
        agents[i].address = meta->agents[i].address;
        agents[i].zone = meta->agents[i].zone;
        response->agents[i] = &agents[i];
    }
    return true;
}

static bool fill_topics(MetadataCall *self, const ShMeta *meta, Streamhouse__V1__MetadataResponse *response)
{
    ShCall *call = &self->call;
    bool all = self->request->n_topics == 0;
    size_t count = all ? meta->topic_count : self->request->n_topics;
    Streamhouse__V1__TopicMetadata *topics = sh_call_alloc(call, count * sizeof *topics);
    response->topics = sh_call_alloc(call, count * sizeof(Streamhouse__V1__TopicMetadata *));
    if (topics == NULL || response->topics == NULL)
        return false;
    response->n_topics = count;
    for (size_t i = 0; i < count; i++) {
        char *name = all ? NULL : self->request->topics[i];
        const ShMetaTopic *topic = all ? &meta->topics[i] : sh_meta_find(meta, name, strlen(name));
        streamhouse__v1__topic_metadata__init(&topics[i]);
        bool filled = topic != NULL ? fill_topic(call, topic, &topics[i])
                                    : fill_missing(call, name, &topics[i]);
        if (!filled)
            return false;
        response->topics[i] = &topics[i];
    }
    return true;
}

static bool fill_topic(ShCall *call, const ShMetaTopic *topic, Streamhouse__V1__TopicMetadata *out)
{
    /* Packing only reads; protobuf-c has no const form of its messages. */
    out->name = (char *)(uintptr_t)topic->name;
    out->topic_id.data = (uint8_t *)(uintptr_t)topic->topic_id.bytes;
    out->topic_id.len = sizeof topic->topic_id.bytes;
    out->durability = (char *)(uintptr_t)(topic->object_durability ? "object" : "wal");

    size_t count = topic->partition_count;
    Streamhouse__V1__PartitionMetadata *partitions = sh_call_alloc(call, count * sizeof *partitions);
    Streamhouse__V1__Owner *owners = sh_call_alloc(call, count * sizeof *owners);
    out->partitions = sh_call_alloc(call, count * sizeof(Streamhouse__V1__PartitionMetadata *));
    if (partitions == NULL || owners == NULL || out->partitions == NULL)
        return false;
    out->n_partitions = count;
    for (size_t i = 0; i < count; i++) {
        const ShMetaPartition *partition = &topic->partitions[i];
        streamhouse__v1__partition_metadata__init(&partitions[i]);
        partitions[i].partition = partition->partition;
        if (partition->owner != NULL) {
            fill_owner(partition, &owners[i]);
            partitions[i].owner = &owners[i];
        }
        out->partitions[i] = &partitions[i];
    }
    return true;
}

static bool fill_missing(ShCall *call, const char *name, Streamhouse__V1__TopicMetadata *out)
{
    ShError err;
    sh_fail(&err, SH_NOT_FOUND, "topic \"%s\" does not exist; create it with streamhouse.create_topic", name);
    ShPartitionError *error = sh_call_alloc(call, sizeof *error);
    if (error == NULL)
        return false;
    sh_partition_error_fill(error, &err, NULL, SH_FROM_CLIENT);
    out->name = (char *)(uintptr_t)name;
    out->error = &error->error;
    return true;
}

static void fill_owner(const ShMetaPartition *partition, Streamhouse__V1__Owner *out)
{
    const ShOwner *owner = partition->owner;
    streamhouse__v1__owner__init(out);
    out->agent_id = (char *)(uintptr_t)owner->agent_id;
    out->address = (char *)(uintptr_t)owner->address;
    out->zone = (char *)(uintptr_t)owner->zone;
    out->epoch = partition->epoch;
}
