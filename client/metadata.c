#include "client/metadata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS_MAX 100000 /* of a topic; above it the answer is taken for damaged */

static ShStatus update_agents(ShMetadata *metadata, const Streamhouse__V1__MetadataResponse *answer,
                              ShError *err);
static ShStatus update_topic(ShMetadata *metadata, const Streamhouse__V1__TopicMetadata *topic, ShError *err);
static bool is_sane(const Streamhouse__V1__TopicMetadata *topic);
static ShStatus make_room(ShTopicEntry *entry, int32_t partition_count, ShError *err);
static ShTopicEntry **find_link(ShMetadata *metadata, const char *topic);
static void forget_topic(ShTopicEntry **link);

void sh_metadata_free(ShMetadata *metadata)
{
    while (metadata->topics != NULL)
        forget_topic(&metadata->topics);
    free(metadata->agents);
    *metadata = (ShMetadata){0};
}

ShStatus sh_metadata_update(ShMetadata *metadata, const Streamhouse__V1__MetadataResponse *answer,
                            ShError *err)
{
    ShStatus status = update_agents(metadata, answer, err);
    for (size_t i = 0; i < answer->n_topics && status == SH_OK; i++)
        status = update_topic(metadata, answer->topics[i], err);
    return status;
}

const ShTopicEntry *sh_metadata_find(const ShMetadata *metadata, const char *topic)
{
    const ShTopicEntry *entry = metadata->topics;
    while (entry != NULL && strcmp(entry->name, topic) != 0)
        entry = entry->next;
    return entry;
}

bool sh_metadata_owner(const ShMetadata *metadata, const char *topic, int32_t partition,
                       ShPartitionOwner *out)
{
    const ShTopicEntry *entry = sh_metadata_find(metadata, topic);
    if (entry == NULL || partition < 0 || partition >= entry->partition_count)
        return false;
    *out = entry->owners[partition];
    if (out->address[0] == '\0' && entry->any_agent && metadata->agent_count > 0)
        strcpy(out->address, metadata->agents[(size_t)partition % metadata->near_count]);
    return out->address[0] != '\0';
}

bool sh_metadata_learn_owner(ShMetadata *metadata, const char *topic, int32_t partition,
                             const ShPartitionOwner *owner)
{
    ShTopicEntry **link = find_link(metadata, topic);
    if (*link == NULL || partition < 0 || partition >= (*link)->partition_count)
        return false;
    ShPartitionOwner *known = &(*link)->owners[partition];
    if (owner->epoch < known->epoch)
        return false;
    *known = *owner;
    return true;
}

static ShStatus update_agents(ShMetadata *metadata, const Streamhouse__V1__MetadataResponse *answer,
                              ShError *err)
{
    char(*agents)[SH_CLIENT_ADDRESS_BYTES] = calloc(answer->n_agents + 1, sizeof *agents);
    if (agents == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %zu agents' addresses", answer->n_agents);
    size_t count = 0;
    size_t near_count = 0;
    for (int near = 1; near >= 0; near--) {
        for (size_t i = 0; i < answer->n_agents; i++) {
            const char *address = answer->agents[i]->address;
            bool is_near = metadata->zone[0] != '\0' && strcmp(answer->agents[i]->zone, metadata->zone) == 0;
            if (is_near == (near == 1) && address[0] != '\0' && strlen(address) < sizeof agents[0])
                strcpy(agents[count++], address);
        }
        if (near == 1)
            near_count = count;
    }
    free(metadata->agents);
    metadata->agents = agents;
    metadata->agent_count = count;
    metadata->near_count = near_count > 0 ? near_count : count;
    return SH_OK;
}

static ShStatus update_topic(ShMetadata *metadata, const Streamhouse__V1__TopicMetadata *topic, ShError *err)
{
    ShTopicEntry **link = find_link(metadata, topic->name);
    if (topic->error != NULL) {
        if (*link != NULL)
            forget_topic(link);
        return SH_OK;
    }
    if (!is_sane(topic))
        return sh_fail(err, SH_CORRUPT, "the server's answer about topic \"%.100s\" is damaged", topic->name);

    bool is_another = *link != NULL && memcmp((*link)->topic_id.bytes, topic->topic_id.data, 16) != 0;
    if (is_another)
        forget_topic(link);
    if (is_another || *link == NULL) {
        ShTopicEntry *entry = calloc(1, sizeof *entry);
        if (entry == NULL)
            return sh_fail(err, SH_NO_MEMORY, "no memory for topic \"%s\"", topic->name);
        strcpy(entry->name, topic->name);
        memcpy(entry->topic_id.bytes, topic->topic_id.data, sizeof entry->topic_id.bytes);
        entry->next = metadata->topics;
        metadata->topics = entry;
        link = &metadata->topics;
    }

    ShTopicEntry *entry = *link;
    ShStatus status = make_room(entry, (int32_t)topic->n_partitions, err);
    if (status != SH_OK)
        return status;
    entry->any_agent = strcmp(topic->durability, "object") == 0;
    for (size_t i = 0; i < topic->n_partitions; i++) {
        const Streamhouse__V1__PartitionMetadata *partition = topic->partitions[i];
        if (partition->owner == NULL || partition->owner->epoch < entry->owners[partition->partition].epoch)
            continue;
        ShPartitionOwner *owner = &entry->owners[partition->partition];
        owner->epoch = partition->owner->epoch;
        snprintf(owner->address, sizeof owner->address, "%s", partition->owner->address);
    }
    return SH_OK;
}

static bool is_sane(const Streamhouse__V1__TopicMetadata *topic)
{
    if (strlen(topic->name) >= SH_CLIENT_TOPIC_BYTES || topic->topic_id.len != sizeof(ShUuid) ||
        topic->n_partitions == 0 || topic->n_partitions > PARTITIONS_MAX)
        return false;
    for (size_t i = 0; i < topic->n_partitions; i++) {
        const Streamhouse__V1__PartitionMetadata *partition = topic->partitions[i];
        if (partition->partition < 0 || (size_t)partition->partition >= topic->n_partitions)
            return false;
        if (partition->owner != NULL && strlen(partition->owner->address) >= SH_CLIENT_ADDRESS_BYTES)
            return false;
    }
    return true;
}

static ShStatus make_room(ShTopicEntry *entry, int32_t partition_count, ShError *err)
{
    if (partition_count <= entry->partition_count)
        return SH_OK;
    ShPartitionOwner *owners = calloc((size_t)partition_count, sizeof *owners);
    if (owners == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %d partitions of \"%s\"", partition_count,
                       entry->name);
    if (entry->partition_count > 0)
        memcpy(owners, entry->owners, (size_t)entry->partition_count * sizeof *owners);
    free(entry->owners);
    entry->owners = owners;
    entry->partition_count = partition_count;
    return SH_OK;
}

/* Where the list points to the topic, or its end. */
static ShTopicEntry **find_link(ShMetadata *metadata, const char *topic)
{
    ShTopicEntry **link = &metadata->topics;
    while (*link != NULL && strcmp((*link)->name, topic) != 0)
        link = &(*link)->next;
    return link;
}

static void forget_topic(ShTopicEntry **link)
{
    ShTopicEntry *entry = *link;
    *link = entry->next;
    free(entry->owners);
    free(entry);
}
