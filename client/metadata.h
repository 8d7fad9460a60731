/*
 * metadata.h - what a client knows of topics and of who owns their partitions. Pure: the client's lock guards
 * it.
 *
 * A partition's owner is only ever replaced by one of the same or a higher epoch, unless the topic is another
 * one under the same name.
 */
#ifndef SH_CLIENT_METADATA_H
#define SH_CLIENT_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/messages.h"
#include "core/bytes.h"
#include "core/status.h"
#include "proto/streamhouse.pb-c.h"

#define SH_CLIENT_ZONE_BYTES 64 /* 63 characters, as an agent's setting, and the NUL */

typedef struct ShTopicEntry {
    struct ShTopicEntry *next;
    char name[SH_CLIENT_TOPIC_BYTES];
    ShUuid topic_id;
    bool any_agent; /* an `object` topic: every agent takes its records */
    int32_t partition_count;
    ShPartitionOwner *owners; /* one per partition */
} ShTopicEntry;

/* Zero-initialise it. */
typedef struct ShMetadata {
    ShTopicEntry *topics;
    char zone[SH_CLIENT_ZONE_BYTES];         /* the client's own; "": none */
    char (*agents)[SH_CLIENT_ADDRESS_BYTES]; /* those of the zone first */
    size_t agent_count;
    size_t near_count; /* agents of the zone; all of them when none is */
} ShMetadata;

void sh_metadata_free(ShMetadata *metadata);

/* Take in an answer. Topics that it does not name stay as they are; those it calls missing are forgotten. */
ShStatus sh_metadata_update(ShMetadata *metadata, const Streamhouse__V1__MetadataResponse *answer,
                            ShError *err) SH_MUST_CHECK;

/* NULL when the topic is not known. Borrowed until the next update. */
const ShTopicEntry *sh_metadata_find(const ShMetadata *metadata, const char *topic);

/* Whom to send a partition's records to, and ask for them; false when nobody is known. */
bool sh_metadata_owner(const ShMetadata *metadata, const char *topic, int32_t partition,
                       ShPartitionOwner *out);

/* A server named an owner. False when it is of a lower epoch than the one that is known. */
bool sh_metadata_learn_owner(ShMetadata *metadata, const char *topic, int32_t partition,
                             const ShPartitionOwner *owner);

#endif
