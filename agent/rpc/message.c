#include "agent/rpc/message.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <grpc/slice_buffer.h>
#include <stdlib.h>

#include "agent/rpc/wire.h"

/* Below this a copy costs less than a slice object and its place in a gathered write. */
#define REFERENCE_BYTES_MIN   1024
#define FIRST_CHUNK_BYTES_MIN 128
#define CHUNK_BYTES           8192

static uint8_t *reserve(ShOut *out, size_t bytes);
static void flush_chunk(ShOut *out);
static uint64_t tag_of(uint32_t field, ShWireType type);
/* gRPC gives a slice from thread to thread, which ThreadSanitizer cannot see in a library that lacks its
 * checks. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#else
#define __tsan_acquire(address) ((void)(address))
#define __tsan_release(address) ((void)(address))
#endif

static void release_owner(void *owner);

ShBuf *sh_message_join(grpc_byte_buffer *message)
{
    size_t length = grpc_byte_buffer_length(message);
    ShBuf *joined = sh_buf_new(length > 0 ? length : 1);
    if (joined == NULL)
        return NULL;

    grpc_byte_buffer_reader reader;
    if (grpc_byte_buffer_reader_init(&reader, message)) {
        grpc_slice *slice;
        while (grpc_byte_buffer_reader_peek(&reader, &slice)) {
            memcpy(joined->data + joined->length, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
            joined->length += GRPC_SLICE_LENGTH(*slice);
        }
        grpc_byte_buffer_reader_destroy(&reader);
    }
    return joined;
}

grpc_byte_buffer *sh_message_pack(const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *memory = malloc(bytes + 1);
    if (memory == NULL)
        return NULL;
    protobuf_c_message_pack(message, memory);
    grpc_slice slice = grpc_slice_new(memory, bytes, free);
    grpc_byte_buffer *packed = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return packed;
}

void sh_out_init(ShOut *out, size_t small_bytes)
{
    out->buffer = grpc_raw_byte_buffer_create(NULL, 0);
    out->chunk_bytes = small_bytes > FIRST_CHUNK_BYTES_MIN ? small_bytes : FIRST_CHUNK_BYTES_MIN;
    out->chunk = grpc_slice_malloc(out->chunk_bytes);
    out->chunk_used = 0;
}

grpc_byte_buffer *sh_out_finish(ShOut *out)
{
    flush_chunk(out);
    grpc_slice_unref(out->chunk);
    return out->buffer;
}

void sh_out_varint(ShOut *out, uint32_t field, uint64_t value)
{
    uint8_t *at = reserve(out, 2 * SH_WIRE_VARINT_BYTES_MAX);
    uint8_t *end = sh_wire_put_varint(at, tag_of(field, SH_WIRE_VARINT));
    end = sh_wire_put_varint(end, value);
    out->chunk_used += (size_t)(end - at);
}

void sh_out_bytes(ShOut *out, uint32_t field, const void *data, size_t length)
{
    sh_out_open(out, field, length);
    sh_out_raw(out, data, length);
}

void sh_out_message(ShOut *out, uint32_t field, const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    sh_out_open(out, field, bytes);
    protobuf_c_message_pack(message, reserve(out, bytes));
    out->chunk_used += bytes;
}

void sh_out_take_message(ShOut *out, uint32_t field, ShOut *inner)
{
    grpc_byte_buffer *message = sh_out_finish(inner);
    sh_out_open(out, field, grpc_byte_buffer_length(message));
    flush_chunk(out);
    grpc_slice_buffer_move_into(&message->data.raw.slice_buffer, &out->buffer->data.raw.slice_buffer);
    grpc_byte_buffer_destroy(message);
}

void sh_out_open(ShOut *out, uint32_t field, size_t length)
{
    uint8_t *at = reserve(out, 2 * SH_WIRE_VARINT_BYTES_MAX);
    uint8_t *end = sh_wire_put_varint(at, tag_of(field, SH_WIRE_BYTES));
    end = sh_wire_put_varint(end, length);
    out->chunk_used += (size_t)(end - at);
}

void sh_out_raw(ShOut *out, const void *data, size_t length)
{
    if (length == 0)
        return;
    memcpy(reserve(out, length), data, length);
    out->chunk_used += length;
}

void sh_out_take_slice(ShOut *out, ShSlice *slice)
{
    if (slice->length < REFERENCE_BYTES_MIN) {
        sh_out_raw(out, slice->data, slice->length);
        sh_buf_unref(slice->owner);
    } else {
        flush_chunk(out);
        __tsan_release(slice->owner);
        /* gRPC only reads what it sends; its slices have no const form. */
        grpc_slice reference = grpc_slice_new_with_user_data((void *)(uintptr_t)slice->data, slice->length,
                                                             release_owner, slice->owner);
        grpc_slice_buffer_add(&out->buffer->data.raw.slice_buffer, reference);
    }
    *slice = (ShSlice){0};
}

size_t sh_out_varint_size(uint32_t field, uint64_t value)
{
    return sh_wire_varint_size(tag_of(field, SH_WIRE_VARINT)) + sh_wire_varint_size(value);
}

size_t sh_out_bytes_size(uint32_t field, size_t length)
{
    return sh_wire_varint_size(tag_of(field, SH_WIRE_BYTES)) + sh_wire_varint_size(length) + length;
}

/* Room for so many bytes in the chunk, in one piece. */
static uint8_t *reserve(ShOut *out, size_t bytes)
{
    if (out->chunk_bytes - out->chunk_used < bytes) {
        flush_chunk(out);
        grpc_slice_unref(out->chunk);
        out->chunk_bytes = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        out->chunk = grpc_slice_malloc(out->chunk_bytes);
    }
    return GRPC_SLICE_START_PTR(out->chunk) + out->chunk_used;
}

/* Hand the written part of the chunk to the message; the rest of it goes on taking bytes. */
static void flush_chunk(ShOut *out)
{
    if (out->chunk_used == 0)
        return;
    grpc_slice written = grpc_slice_split_head(&out->chunk, out->chunk_used);
    grpc_slice_buffer_add(&out->buffer->data.raw.slice_buffer, written);
    out->chunk_bytes -= out->chunk_used;
    out->chunk_used = 0;
}

static uint64_t tag_of(uint32_t field, ShWireType type)
{
    return (uint64_t)field << 3 | (uint64_t)type;
}

static void release_owner(void *owner)
{
    __tsan_acquire(owner);
    sh_buf_unref(owner);
}
