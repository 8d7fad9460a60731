#include "agent/rpc/target.h"

#define TOPIC_BYTES_MAX 249

enum { FIELD_TOPIC = 1, FIELD_TOPIC_ID, FIELD_PARTITION };

ShStatus sh_target_parse(ShWireBytes topic, ShWireBytes topic_id, int32_t partition, ShTarget *target,
                         ShError *err)
{
    *target = (ShTarget){.partition = partition};
    if (!sh_target_is_topic_name(topic.data, topic.length))
        return sh_fail(err, SH_INVALID, SH_TOPIC_NAME_RULE);
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

bool sh_target_is_topic_name(const uint8_t *name, size_t length)
{
    if (length > TOPIC_BYTES_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        uint8_t c = name[i];
        bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
        if (!allowed)
            return false;
    }
    return true;
}

size_t sh_target_bytes(const ShTarget *target)
{
    size_t bytes = 0;
    if (target->topic_length > 0)
        bytes += sh_out_bytes_size(FIELD_TOPIC, target->topic_length);
    if (!sh_uuid_is_zero(&target->topic_id))
        bytes += sh_out_bytes_size(FIELD_TOPIC_ID, sizeof target->topic_id.bytes);
    if (target->partition != 0)
        bytes += sh_out_varint_size(FIELD_PARTITION, (uint64_t)target->partition);
    return bytes;
}

void sh_target_put(ShOut *out, const ShTarget *target)
{
    if (target->topic_length > 0)
        sh_out_bytes(out, FIELD_TOPIC, target->topic, target->topic_length);
    if (!sh_uuid_is_zero(&target->topic_id))
        sh_out_bytes(out, FIELD_TOPIC_ID, target->topic_id.bytes, sizeof target->topic_id.bytes);
    if (target->partition != 0)
        sh_out_varint(out, FIELD_PARTITION, (uint64_t)target->partition);
}
