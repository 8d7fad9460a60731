/*
 * text_check.h - the strings of a message, before any of them is used as one of C.
 *
 * A string of protobuf may hold a NUL, at which one of C ends: a name would be cut, and mean another topic.
 * No name or text of the contract has use for it, so a message with a NUL in a string is refused, and so is
 * one with a string that is not UTF-8, as proto3 asks. One rule for every field of type string of every
 * message that is parsed by its descriptor, those inside it included. Produce's own reader (wire.h) hands out
 * lengths, and no string of C.
 */
#ifndef SH_AGENT_RPC_TEXT_CHECK_H
#define SH_AGENT_RPC_TEXT_CHECK_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* SH_INVALID, naming the field, for a NUL or bytes that are not UTF-8 in a string, and for malformed bytes.
 */
ShStatus sh_text_check(const uint8_t *data, size_t length, const ProtobufCMessageDescriptor *type,
                       ShError *err) SH_MUST_CHECK;

#endif
