/*
 * target.h - how requests name partitions, checked.
 */
#ifndef SH_AGENT_RPC_TARGET_H
#define SH_AGENT_RPC_TARGET_H

#include "agent/log/engine.h"
#include "agent/rpc/message.h"
#include "agent/rpc/wire.h"

/* Fill `target` from a request's fields; the name is borrowed. SH_INVALID for neither name nor id, an id that
 * has not 16 bytes, a name that is no topic name, a negative partition: the target then has what of it can be
 * echoed. */
ShStatus sh_target_parse(ShWireBytes topic, ShWireBytes topic_id, int32_t partition, ShTarget *target,
                         ShError *err) SH_MUST_CHECK;

/* Of the characters and length that a topic's name may have; the empty name too, for addressing by id. */
bool sh_target_is_topic_name(const uint8_t *name, size_t length);

/* Each result of a response begins with the partition it is about: topic, topic_id and partition are its
 * fields 1 to SH_TARGET_FIELDS. Zero and empty ones are left out. */
#define SH_TARGET_FIELDS 3
size_t sh_target_bytes(const ShTarget *target);
void sh_target_put(ShOut *out, const ShTarget *target);

#define SH_TOPIC_NAME_RULE "a topic's name has at most 249 of the characters a-z A-Z 0-9 . _ -"

#endif
