#include "agent/rpc/target.h"

#define TOPIC_BYTES_MAX 249

static bool is_topic_name(ShWireBytes topic);

ShStatus sh_target_parse(ShWireBytes topic, ShWireBytes topic_id, int32_t partition, ShTarget *target, ShError *err)
{
    *target = (ShTarget){ .partition = partition };
    if (!is_topic_name(topic))
        return sh_fail(err, SH_INVALID, "a topic's name has at most %d of the characters a-z A-Z 0-9 . _ -",
                       TOPIC_BYTES_MAX);
    target->topic = (const char *)topic.data;
    target->topic_length = topic.length;

    if (topic_id.length != 0 && topic_id.length != sizeof target->topic_id.bytes)
        return sh_fail(err, SH_INVALID, "topic_id has %zu bytes, not 16", topic_id.length);
    target->has_topic_id = topic_id.length != 0;
    if (target->has_topic_id)
        memcpy(target->topic_id.bytes, topic_id.data, sizeof target->topic_id.bytes);

    if (topic.length == 0 && !target->has_topic_id)
        return sh_fail(err, SH_INVALID, "neither topic nor topic_id is given");
    if (partition < 0)
        return sh_fail(err, SH_INVALID, "partition %d is negative", partition);
    return SH_OK;
}

/* Of the characters and length that a name may have; the empty name is for addressing by id. */
static bool is_topic_name(ShWireBytes topic)
{
    if (topic.length > TOPIC_BYTES_MAX)
        return false;
    for (size_t i = 0; i < topic.length; i++) {
        uint8_t c = topic.data[i];
        bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                       c == '_' || c == '-';
        if (!allowed)
            return false;
    }
    return true;
}
