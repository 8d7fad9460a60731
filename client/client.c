#include "client/client.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/metadata.h"

struct ShClient {
    ShTransport *transport;
    char (*seeds)[SH_CLIENT_ADDRESS_BYTES]; /* the addresses that were given */
    size_t seed_count;
    pthread_mutex_t lock; /* guards what follows */
    size_t turn;          /* whom to ask: counts through the seeds and the agents that are known */
    ShMetadata metadata;
};

static ShStatus parse_addresses(ShClient *client, const char *addresses, ShError *err);
static bool is_address(const char *text, size_t length);
static size_t candidate_count(const ShClient *client);
static ShBuf *pack(const ProtobufCMessage *message);

ShStatus sh_client_new(const char *addresses, ShClient **out, ShError *err)
{
    ShClient *client = calloc(1, sizeof *client);
    if (client == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a client");
    pthread_mutex_init(&client->lock, NULL);
    ShStatus status = parse_addresses(client, addresses, err);
    if (status == SH_OK) {
        client->transport = sh_transport_new();
        if (client->transport == NULL)
            status = sh_fail(err, SH_NO_MEMORY, "no memory for a client's connections");
    }
    if (status != SH_OK) {
        sh_client_free(client);
        return status;
    }
    *out = client;
    return SH_OK;
}

ShStatus sh_client_set_zone(ShClient *client, const char *zone, ShError *err)
{
    if (strlen(zone) >= sizeof client->metadata.zone)
        return sh_fail(err, SH_INVALID, "the zone \"%.80s\" is longer than %zu characters", zone,
                       sizeof client->metadata.zone - 1);
    pthread_mutex_lock(&client->lock);
    strcpy(client->metadata.zone, zone);
    pthread_mutex_unlock(&client->lock);
    return SH_OK;
}

void sh_client_free(ShClient *client)
{
    if (client == NULL)
        return;
    sh_transport_free(client->transport);
    sh_metadata_free(&client->metadata);
    pthread_mutex_destroy(&client->lock);
    free(client->seeds);
    free(client);
}

ShStatus sh_client_partition_count(ShClient *client, const char *topic, int timeout_ms, int32_t *out,
                                   ShError *err)
{
    ShTopicShape shape;
    ShStatus status = sh_client_topic_shape(client, topic, timeout_ms, &shape, err);
    if (status == SH_OK)
        *out = shape.partition_count;
    return status;
}

ShTransport *sh_client_transport(ShClient *client)
{
    return client->transport;
}

ShStatus sh_client_ask(ShClient *client, const char *method, const ProtobufCMessage *request, int timeout_ms,
                       const ProtobufCMessageDescriptor *answer_type, ProtobufCMessage **answer, ShError *err)
{
    pthread_mutex_lock(&client->lock);
    size_t tries = candidate_count(client);
    pthread_mutex_unlock(&client->lock);

    ShRefusal why = {0};
    ShStatus status = SH_UNAVAILABLE;
    int64_t deadline_ms = sh_client_now_ms() + timeout_ms;
    for (; tries > 0 && status == SH_UNAVAILABLE; tries--) {
        int64_t left_ms = deadline_ms - sh_client_now_ms();
        char address[SH_CLIENT_ADDRESS_BYTES];
        sh_client_address(client, address);
        status = sh_client_ask_agent(client, address, method, request, left_ms > 1 ? (int)left_ms : 1,
                                     answer_type, answer, &why);
        if (status == SH_UNAVAILABLE || status == SH_TIMEOUT)
            sh_client_address_failed(client, address);
    }
    if (err != NULL && status != SH_OK)
        *err = why.error;
    return status;
}

ShStatus sh_client_ask_agent(ShClient *client, const char *address, const char *method,
                             const ProtobufCMessage *request, int timeout_ms,
                             const ProtobufCMessageDescriptor *answer_type, ProtobufCMessage **answer,
                             ShRefusal *why)
{
    *why = (ShRefusal){0};
    ShBuf *packed = pack(request);
    ShBuf *received = NULL;
    if (packed == NULL)
        return sh_fail(&why->error, SH_NO_MEMORY, "no memory for a request to %s", address);

    ShSlice slice = {packed->data, packed->length, packed};
    ShStatus status = sh_transport_ask(client->transport, address, method, slice, timeout_ms, &received, why);
    if (status == SH_OK) {
        *answer = protobuf_c_message_unpack(answer_type, NULL, received->length, received->data);
        if (*answer == NULL)
            status = sh_fail(&why->error, SH_CORRUPT, "the answer of %s is damaged", address);
    }
    sh_buf_unref(received);
    sh_buf_unref(packed);
    return status;
}

void sh_client_address(ShClient *client, char out[SH_CLIENT_ADDRESS_BYTES])
{
    pthread_mutex_lock(&client->lock);
    size_t index = client->turn % candidate_count(client);
    strcpy(out, index < client->seed_count ? client->seeds[index]
                                           : client->metadata.agents[index - client->seed_count]);
    pthread_mutex_unlock(&client->lock);
}

void sh_client_address_failed(ShClient *client, const char *address)
{
    char current[SH_CLIENT_ADDRESS_BYTES];
    sh_client_address(client, current);
    pthread_mutex_lock(&client->lock);
    if (strcmp(current, address) == 0)
        client->turn++;
    pthread_mutex_unlock(&client->lock);
}

ShStatus sh_client_topic_shape(ShClient *client, const char *topic, int timeout_ms, ShTopicShape *out,
                               ShError *err)
{
    for (bool asked = false;; asked = true) {
        pthread_mutex_lock(&client->lock);
        const ShTopicEntry *entry = sh_metadata_find(&client->metadata, topic);
        if (entry != NULL)
            *out = (ShTopicShape){entry->topic_id, entry->partition_count};
        pthread_mutex_unlock(&client->lock);
        if (entry != NULL)
            return SH_OK;
        if (asked)
            return sh_fail(err, SH_NOT_FOUND, "topic \"%.249s\" does not exist; create it first", topic);

        ShStatus status = sh_client_reload(client, topic, timeout_ms, err);
        if (status != SH_OK)
            return status;
    }
}

ShStatus sh_client_reload(ShClient *client, const char *topic, int timeout_ms, ShError *err)
{
    if (strlen(topic) >= SH_CLIENT_TOPIC_BYTES)
        return sh_fail(err, SH_INVALID, "a topic's name has at most %d characters",
                       SH_CLIENT_TOPIC_BYTES - 1);

    char *names[] = {(char *)(uintptr_t)topic};
    Streamhouse__V1__MetadataRequest request = STREAMHOUSE__V1__METADATA_REQUEST__INIT;
    request.topics = names;
    request.n_topics = 1;
    ProtobufCMessage *answer = NULL;
    ShStatus status = sh_client_ask(client, SH_METHOD_METADATA, &request.base, timeout_ms,
                                    &streamhouse__v1__metadata_response__descriptor, &answer, err);
    if (status != SH_OK)
        return status;
    pthread_mutex_lock(&client->lock);
    status = sh_metadata_update(&client->metadata, (const Streamhouse__V1__MetadataResponse *)answer, err);
    pthread_mutex_unlock(&client->lock);
    protobuf_c_message_free_unpacked(answer, NULL);
    return status;
}

bool sh_client_owner(ShClient *client, const char *topic, int32_t partition, ShPartitionOwner *out)
{
    pthread_mutex_lock(&client->lock);
    bool known = sh_metadata_owner(&client->metadata, topic, partition, out);
    pthread_mutex_unlock(&client->lock);
    return known;
}

bool sh_client_learn_owner(ShClient *client, const char *topic, int32_t partition,
                           const ShPartitionOwner *owner)
{
    pthread_mutex_lock(&client->lock);
    bool taken = sh_metadata_learn_owner(&client->metadata, topic, partition, owner);
    pthread_mutex_unlock(&client->lock);
    return taken;
}

ShBuf *sh_client_metadata_request(ShClient *client)
{
    Streamhouse__V1__MetadataRequest request = STREAMHOUSE__V1__METADATA_REQUEST__INIT;
    ShBuf *packed = NULL;
    pthread_mutex_lock(&client->lock);
    for (const ShTopicEntry *entry = client->metadata.topics; entry != NULL; entry = entry->next)
        request.n_topics++;
    request.topics = calloc(request.n_topics + 1, sizeof *request.topics);
    if (request.topics != NULL) {
        size_t count = 0;
        for (ShTopicEntry *entry = client->metadata.topics; entry != NULL; entry = entry->next)
            request.topics[count++] = entry->name;
        packed = pack(&request.base);
    }
    pthread_mutex_unlock(&client->lock);
    free(request.topics);
    return packed;
}

ShStatus sh_client_take_metadata(ShClient *client, const ShBuf *answer, ShError *err)
{
    Streamhouse__V1__MetadataResponse *message = streamhouse__v1__metadata_response__unpack(
        NULL, answer->length, answer->data);
    if (message == NULL)
        return sh_fail(err, SH_CORRUPT, "the server's metadata is damaged");
    pthread_mutex_lock(&client->lock);
    ShStatus status = sh_metadata_update(&client->metadata, message, err);
    pthread_mutex_unlock(&client->lock);
    streamhouse__v1__metadata_response__free_unpacked(message, NULL);
    return status;
}

static ShStatus parse_addresses(ShClient *client, const char *addresses, ShError *err)
{
    size_t count = 1;
    for (const char *p = addresses; *p != '\0'; p++)
        count += *p == ',';
    client->seeds = calloc(count, sizeof *client->seeds);
    if (client->seeds == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the servers' addresses");

    for (const char *p = addresses; client->seed_count < count; p++) {
        size_t length = strcspn(p, ",");
        if (!is_address(p, length))
            return sh_fail(err, SH_INVALID, "\"%.200s\" is not a list of servers; write host:port,host:port",
                           addresses);
        memcpy(client->seeds[client->seed_count++], p, length);
        p += length;
    }
    return SH_OK;
}

/* host:port, the port a number from 1 to 65535. An IPv6 host stands in brackets. */
static bool is_address(const char *text, size_t length)
{
    if (length >= SH_CLIENT_ADDRESS_BYTES)
        return false;
    const char *colon = memrchr(text, ':', length);
    if (colon == NULL || colon == text || colon == text + length - 1 || text + length - colon > 6)
        return false;
    int port = 0;
    for (const char *p = colon + 1; p < text + length; p++) {
        if (*p < '0' || *p > '9')
            return false;
        port = port * 10 + (*p - '0');
    }
    bool plain = memchr(text, ':', (size_t)(colon - text)) == NULL;
    return port >= 1 && port <= 65535 && (plain || (text[0] == '[' && colon[-1] == ']'));
}

/* The lock is held. */
static size_t candidate_count(const ShClient *client)
{
    return client->seed_count + client->metadata.agent_count;
}

static ShBuf *pack(const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    ShBuf *packed = sh_buf_new(bytes > 0 ? bytes : 1);
    if (packed != NULL)
        packed->length = protobuf_c_message_pack(message, packed->data);
    return packed;
}
