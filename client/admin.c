#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "proto/streamhouse.pb-c.h"

static char *mutable(const char *text);
static ShStatus copy_description(ShTopicDescription *out, const Streamhouse__V1__TopicDescription *in,
                                 ShError *err);
static ShStatus copy_text(char **out, const char *text, ShError *err);
static void copy_id(ShUuid *out, ProtobufCBinaryData in);

ShStatus sh_client_create_topic(ShClient *client, const ShTopicOptions *options, int timeout_ms, ShError *err)
{
    Streamhouse__V1__CreateTopicRequest request = STREAMHOUSE__V1__CREATE_TOPIC_REQUEST__INIT;
    request.name = mutable(options->name);
    request.partitions = options->partitions;
    request.durability = mutable(options->durability);
    request.retention = mutable(options->retention);
    request.segment_size = mutable(options->segment_size);
    ProtobufCMessage *answer = NULL;
    ShStatus status = sh_client_ask(client, SH_METHOD_CREATE_TOPIC, &request.base, timeout_ms,
                                    &streamhouse__v1__create_topic_response__descriptor, &answer, err);
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

ShStatus sh_client_delete_topic(ShClient *client, const char *name, int timeout_ms, ShError *err)
{
    Streamhouse__V1__DeleteTopicRequest request = STREAMHOUSE__V1__DELETE_TOPIC_REQUEST__INIT;
    request.name = mutable(name);
    ProtobufCMessage *answer = NULL;
    ShStatus status = sh_client_ask(client, SH_METHOD_DELETE_TOPIC, &request.base, timeout_ms,
                                    &streamhouse__v1__delete_topic_response__descriptor, &answer, err);
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

ShStatus sh_client_describe_topics(ShClient *client, const char *topic, int timeout_ms,
                                   ShTopicDescriptions **out, ShError *err)
{
    char *names[] = {mutable(topic)};
    Streamhouse__V1__DescribeTopicsRequest request = STREAMHOUSE__V1__DESCRIBE_TOPICS_REQUEST__INIT;
    request.topics = names;
    request.n_topics = topic != NULL ? 1 : 0;
    ProtobufCMessage *answer = NULL;
    ShStatus status = sh_client_ask(client, SH_METHOD_DESCRIBE_TOPICS, &request.base, timeout_ms,
                                    &streamhouse__v1__describe_topics_response__descriptor, &answer, err);
    if (status != SH_OK)
        return status;

    const Streamhouse__V1__DescribeTopicsResponse *message =
        (const Streamhouse__V1__DescribeTopicsResponse *)answer;
    ShTopicDescriptions *list = calloc(1, sizeof *list);
    ShTopicDescription *topics = calloc(message->n_topics + 1, sizeof *topics);
    if (list == NULL || topics == NULL) {
        free(topics);
        status = sh_fail(err, SH_NO_MEMORY, "no memory for %zu topics", message->n_topics);
        goto done;
    }
    list->topics = topics;
    for (size_t i = 0; i < message->n_topics && status == SH_OK; i++)
        status = copy_description(&list->topics[list->topic_count++], message->topics[i], err);
    if (status == SH_OK && topic != NULL && list->topic_count == 0)
        status = sh_fail(err, SH_NOT_FOUND, "topic \"%.249s\" does not exist", topic);
    if (status == SH_OK) {
        *out = list;
        list = NULL;
    }
done:
    sh_topic_descriptions_free(list);
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

void sh_topic_descriptions_free(ShTopicDescriptions *descriptions)
{
    if (descriptions == NULL)
        return;
    for (size_t i = 0; i < descriptions->topic_count; i++) {
        ShTopicDescription *topic = &descriptions->topics[i];
        for (size_t p = 0; p < topic->partition_count; p++)
            free(topic->partitions[p].owner);
        free(topic->partitions);
        free(topic->name);
        free(topic->durability);
        free(topic->retention);
    }
    free(descriptions->topics);
    free(descriptions);
}

/* protobuf-c has no const strings, and takes "" for an absent one. */
static char *mutable(const char *text)
{
    return (char *)(uintptr_t)(text != NULL ? text : "");
}

static ShStatus copy_description(ShTopicDescription *out, const Streamhouse__V1__TopicDescription *in,
                                 ShError *err)
{
    ShStatus status = copy_text(&out->name, in->name, err);
    if (status == SH_OK)
        status = copy_text(&out->durability, in->durability, err);
    if (status == SH_OK)
        status = copy_text(&out->retention, in->retention, err);
    out->partitions = calloc(in->n_partitions + 1, sizeof *out->partitions);
    if (out->partitions == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu partitions", in->n_partitions);

    copy_id(&out->topic_id, in->topic_id);
    out->segment_bytes = in->segment_bytes;
    out->records = in->records;
    out->bytes = in->bytes;
    for (size_t i = 0; i < in->n_partitions && status == SH_OK; i++) {
        const Streamhouse__V1__PartitionDescription *from = in->partitions[i];
        ShPartitionDescription *to = &out->partitions[out->partition_count++];
        *to = (ShPartitionDescription){.partition = from->partition,
                                       .epoch = from->epoch,
                                       .log_start = from->log_start,
                                       .published_end = from->published_end,
                                       .records = from->records,
                                       .bytes = from->bytes};
        status = copy_text(&to->owner, from->owner, err);
    }
    return status;
}

static ShStatus copy_text(char **out, const char *text, ShError *err)
{
    *out = strdup(text);
    return *out != NULL ? SH_OK : sh_fail(err, SH_NO_MEMORY, "no memory for a name");
}

static void copy_id(ShUuid *out, ProtobufCBinaryData in)
{
    *out = (ShUuid){0};
    if (in.len == sizeof out->bytes)
        memcpy(out->bytes, in.data, sizeof out->bytes);
}
