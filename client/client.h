/*
 * client.h - the inside of a ShClient, for producer and consumer: whom to ask, and who owns what. Any thread.
 */
#ifndef SH_CLIENT_CLIENT_H
#define SH_CLIENT_CLIENT_H

#include <protobuf-c/protobuf-c.h>

#include "client/messages.h"
#include "client/streamhouse.h"
#include "client/transport.h"

ShTransport *sh_client_transport(ShClient *client);

/* Ask any agent, one after the other while they are unavailable, and unpack the answer, which the caller
 * frees with protobuf_c_message_free_unpacked. Blocks. */
ShStatus sh_client_ask(ShClient *client, const char *method, const ProtobufCMessage *request, int timeout_ms,
                       const ProtobufCMessageDescriptor *answer_type, ProtobufCMessage **answer,
                       ShError *err) SH_MUST_CHECK;

/* The same of one agent. */
ShStatus sh_client_ask_agent(ShClient *client, const char *address, const char *method,
                             const ProtobufCMessage *request, int timeout_ms,
                             const ProtobufCMessageDescriptor *answer_type, ProtobufCMessage **answer,
                             ShRefusal *why) SH_MUST_CHECK;

/* An agent to ask, and the news that it did not answer: another one is next. */
void sh_client_address(ShClient *client, char out[SH_CLIENT_ADDRESS_BYTES]);
void sh_client_address_failed(ShClient *client, const char *address);

/* What is needed to produce to a topic, asked from the server unless it is cached. */
typedef struct ShTopicShape {
    ShUuid topic_id;
    int32_t partition_count;
} ShTopicShape;
ShStatus sh_client_topic_shape(ShClient *client, const char *topic, int timeout_ms, ShTopicShape *out,
                               ShError *err) SH_MUST_CHECK;

/* Ask for a topic's metadata again; where that fails, what was known stays. Blocks. */
ShStatus sh_client_reload(ShClient *client, const char *topic, int timeout_ms, ShError *err);

/* The owner as far as it is known; see metadata.h. */
bool sh_client_owner(ShClient *client, const char *topic, int32_t partition, ShPartitionOwner *out);
bool sh_client_learn_owner(ShClient *client, const char *topic, int32_t partition,
                           const ShPartitionOwner *owner);

/* A packed MetadataRequest for all topics in the cache; NULL when memory is short. */
ShBuf *sh_client_metadata_request(ShClient *client);
/* Take a packed MetadataResponse into the cache. */
ShStatus sh_client_take_metadata(ShClient *client, const ShBuf *answer, ShError *err) SH_MUST_CHECK;

#endif
