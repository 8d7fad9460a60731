#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/client.h"
#include "proto/streamhouse.pb-c.h"

#define LIST_ATTEMPTS_MAX 6
#define LIST_PAUSE_MS     50 /* after the first attempt; doubles */

static ShStatus copy_cluster(ShClusterInfo *out, const Streamhouse__V1__MetadataResponse *in, ShError *err);
static bool copy_topic(ShTopicInfo *out, const Streamhouse__V1__TopicMetadata *in);
static bool copy_text(char **out, const char *text);
static ShStatus list_once(ShClient *client, const char *address, const char *topic, int32_t partition,
                          int64_t timestamp_ms, int timeout_ms, int64_t *out, ShRefusal *why);
static ShStatus take_refusal(const Streamhouse__V1__PartitionError *error, ShRefusal *why);
static bool may_list_again(ShStatus status);
static void pause_ms(int milliseconds);

ShStatus sh_client_cluster_info(ShClient *client, const char *topic, int timeout_ms, ShClusterInfo **out,
                                ShError *err)
{
    char *names[] = {(char *)(uintptr_t)topic};
    Streamhouse__V1__MetadataRequest request = STREAMHOUSE__V1__METADATA_REQUEST__INIT;
    request.topics = names;
    request.n_topics = topic != NULL ? 1 : 0;
    ProtobufCMessage *answer = NULL;
    ShStatus status = sh_client_ask(client, SH_METHOD_METADATA, &request.base, timeout_ms,
                                    &streamhouse__v1__metadata_response__descriptor, &answer, err);
    if (status != SH_OK)
        return status;

    const Streamhouse__V1__MetadataResponse *message = (const Streamhouse__V1__MetadataResponse *)answer;
    ShClusterInfo *info = calloc(1, sizeof *info);
    if (info == NULL)
        status = sh_fail(err, SH_NO_MEMORY, "no memory for the cluster's description");
    else if (topic != NULL && (message->n_topics == 0 || message->topics[0]->error != NULL))
        status = sh_fail(err, SH_NOT_FOUND, "topic \"%.249s\" does not exist", topic);
    else
        status = copy_cluster(info, message, err);
    if (status == SH_OK)
        *out = info;
    else
        sh_cluster_info_free(info);
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

void sh_cluster_info_free(ShClusterInfo *info)
{
    if (info == NULL)
        return;
    for (size_t i = 0; i < info->agent_count; i++) {
        free(info->agents[i].agent_id);
        free(info->agents[i].address);
        free(info->agents[i].zone);
    }
    for (size_t i = 0; i < info->topic_count; i++) {
        ShTopicInfo *topic = &info->topics[i];
        for (size_t p = 0; p < topic->partition_count; p++) {
            free(topic->partitions[p].owner);
            free(topic->partitions[p].address);
        }
        free(topic->partitions);
        free(topic->name);
        free(topic->durability);
    }
    free(info->agents);
    free(info->topics);
    free(info->cluster_id);
    free(info);
}

ShStatus sh_client_list_offset(ShClient *client, const char *topic, int32_t partition, int64_t timestamp_ms,
                               int timeout_ms, int64_t *out, ShError *err)
{
    ShTopicShape shape;
    ShStatus status = sh_client_topic_shape(client, topic, timeout_ms, &shape, err);
    if (status != SH_OK)
        return status;

    ShRefusal why = {0};
    int64_t deadline_ms = sh_client_now_ms() + timeout_ms;
    for (int attempt = 0, wait_ms = 0; attempt < LIST_ATTEMPTS_MAX; attempt++) {
        int64_t left_ms = deadline_ms - sh_client_now_ms() - wait_ms;
        if (left_ms <= 0)
            break;
        pause_ms(wait_ms);
        ShPartitionOwner owner = {0};
        if (!sh_client_owner(client, topic, partition, &owner))
            sh_client_address(client, owner.address);
        status = list_once(client, owner.address, topic, partition, timestamp_ms, (int)left_ms, out, &why);
        if (status == SH_OK || !may_list_again(status))
            break;
        wait_ms = wait_ms == 0 ? LIST_PAUSE_MS : wait_ms * 2;
        if (why.has_owner && sh_client_learn_owner(client, topic, partition, &why.owner))
            wait_ms = 0;
        else
            (void)sh_client_reload(client, topic, (int)left_ms, NULL);
        if (wait_ms > 0 && wait_ms < why.error.retry_after_ms)
            wait_ms = why.error.retry_after_ms;
    }
    if (status != SH_OK && err != NULL)
        *err = why.error;
    return status;
}

static ShStatus copy_cluster(ShClusterInfo *out, const Streamhouse__V1__MetadataResponse *in, ShError *err)
{
    out->agents = calloc(in->n_agents + 1, sizeof *out->agents);
    out->topics = calloc(in->n_topics + 1, sizeof *out->topics);
    bool good = out->agents != NULL && out->topics != NULL && copy_text(&out->cluster_id, in->cluster_id);
    for (size_t i = 0; i < in->n_agents && good; i++) {
        ShAgentInfo *agent = &out->agents[out->agent_count++];
        good = copy_text(&agent->agent_id, in->agents[i]->agent_id) &&
               copy_text(&agent->address, in->agents[i]->address) &&
               copy_text(&agent->zone, in->agents[i]->zone);
    }
    for (size_t i = 0; i < in->n_topics && good; i++)
        good = copy_topic(&out->topics[out->topic_count++], in->topics[i]);
    return good ? SH_OK : sh_fail(err, SH_NO_MEMORY, "no memory for the cluster's description");
}

static bool copy_topic(ShTopicInfo *out, const Streamhouse__V1__TopicMetadata *in)
{
    out->partitions = calloc(in->n_partitions + 1, sizeof *out->partitions);
    if (in->topic_id.len == sizeof out->topic_id.bytes)
        memcpy(out->topic_id.bytes, in->topic_id.data, sizeof out->topic_id.bytes);
    bool good = out->partitions != NULL && copy_text(&out->name, in->name) &&
                copy_text(&out->durability, in->durability);
    for (size_t i = 0; i < in->n_partitions && good; i++) {
        const Streamhouse__V1__Owner *owner = in->partitions[i]->owner;
        ShPartitionInfo *partition = &out->partitions[out->partition_count++];
        partition->partition = in->partitions[i]->partition;
        partition->epoch = owner != NULL ? owner->epoch : 0;
        good = copy_text(&partition->owner, owner != NULL ? owner->agent_id : "") &&
               copy_text(&partition->address, owner != NULL ? owner->address : "");
    }
    return good;
}

static bool copy_text(char **out, const char *text)
{
    *out = strdup(text);
    return *out != NULL;
}

static ShStatus list_once(ShClient *client, const char *address, const char *topic, int32_t partition,
                          int64_t timestamp_ms, int timeout_ms, int64_t *out, ShRefusal *why)
{
    Streamhouse__V1__ListOffsetsPartition part = STREAMHOUSE__V1__LIST_OFFSETS_PARTITION__INIT;
    Streamhouse__V1__ListOffsetsPartition *parts[] = {&part};
    Streamhouse__V1__ListOffsetsRequest request = STREAMHOUSE__V1__LIST_OFFSETS_REQUEST__INIT;
    part.topic = (char *)(uintptr_t)topic;
    part.partition = partition;
    part.timestamp_ms = timestamp_ms;
    request.partitions = parts;
    request.n_partitions = 1;
    ProtobufCMessage *answer = NULL;
    ShStatus status = sh_client_ask_agent(client, address, SH_METHOD_LIST_OFFSETS, &request.base, timeout_ms,
                                          &streamhouse__v1__list_offsets_response__descriptor, &answer, why);
    if (status != SH_OK)
        return status;

    const Streamhouse__V1__ListOffsetsResponse *message =
        (const Streamhouse__V1__ListOffsetsResponse *)answer;
    if (message->n_results != 1)
        status = sh_fail(&why->error, SH_CORRUPT, "%s answered for %zu partitions instead of one", address,
                         message->n_results);
    else if (message->results[0]->error != NULL)
        status = take_refusal(message->results[0]->error, why);
    else
        *out = message->results[0]->offset;
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

static ShStatus take_refusal(const Streamhouse__V1__PartitionError *error, ShRefusal *why)
{
    *why = (ShRefusal){0};
    ShStatus status = sh_message_status(error->code, error->reason, strlen(error->reason));
    if (status == SH_OK)
        status = SH_INTERNAL;
    (void)sh_fail(&why->error, status, "%s", error->message);
    if (error->retry_after_ms > 0)
        (void)sh_fail_retry_after(&why->error, status, error->retry_after_ms);
    why->has_owner = error->owner != NULL && error->owner->address[0] != '\0' &&
                     strlen(error->owner->address) < sizeof why->owner.address;
    if (why->has_owner) {
        strcpy(why->owner.address, error->owner->address);
        why->owner.epoch = error->owner->epoch;
    }
    return status;
}

static bool may_list_again(ShStatus status)
{
    return status == SH_NOT_OWNER || status == SH_FENCED || status == SH_UNAVAILABLE ||
           status == SH_EXHAUSTED;
}

static void pause_ms(int milliseconds)
{
    struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}
