/*
 * message.h - gRPC messages as this project's buffers, and back.
 *
 * What comes in is copied once, from the network's slices into one ShBuf where it stays until it is uploaded.
 * What goes out refers to the engine's slices: payload is not copied, only the small fields between are
 * written.
 */
#ifndef SH_AGENT_RPC_MESSAGE_H
#define SH_AGENT_RPC_MESSAGE_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>

#include "core/bytes.h"

/* The whole message in one new buffer; NULL when memory is short. The message is left as it was. */
ShBuf *sh_message_join(grpc_byte_buffer *message);

/* A protobuf-c message, serialized; NULL when memory is short. */
grpc_byte_buffer *sh_message_pack(const ProtobufCMessage *message);

/* A message under construction. */
typedef struct ShOut {
    grpc_byte_buffer *buffer;
    grpc_slice chunk; /* takes the small fields */
    size_t chunk_used;
    size_t chunk_bytes;
} ShOut;

/* `small_bytes` is a guess at what will be written beside referenced slices. */
void sh_out_init(ShOut *out, size_t small_bytes);
/* The message, for the caller; `out` is done. */
grpc_byte_buffer *sh_out_finish(ShOut *out);

/* A field: its tag and value, copied. Zero and empty values are written too; leave them out where proto3
 * does. */
void sh_out_varint(ShOut *out, uint32_t field, uint64_t value);
void sh_out_bytes(ShOut *out, uint32_t field, const void *data, size_t length);
/* A field that is a message of protobuf-c. */
void sh_out_message(ShOut *out, uint32_t field, const ProtobufCMessage *message);
/* A field that is a message written beside; `inner` is done. */
void sh_out_take_message(ShOut *out, uint32_t field, ShOut *inner);
/* The tag and length of a field whose `length` bytes the caller writes next. */
void sh_out_open(ShOut *out, uint32_t field, size_t length);
/* Bytes without a tag, copied. */
void sh_out_raw(ShOut *out, const void *data, size_t length);
/* Bytes without a tag, not copied unless they are few: the slice's reference on its owner is taken over. */
void sh_out_take_slice(ShOut *out, ShSlice *slice);

/* The size of what the functions above write. */
size_t sh_out_varint_size(uint32_t field, uint64_t value);
size_t sh_out_bytes_size(uint32_t field, size_t length);

#endif
