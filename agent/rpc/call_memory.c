#include "agent/rpc/call.h"

#include <stddef.h>
#include <stdlib.h>

#include "agent/rpc/error.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"
#include "agent/rpc/text_check.h"
#include "agent/rpc/wire.h"

#define CHUNK_BYTES 4096

/* Memory of a call: the newest chunk has room, perhaps. */
typedef struct ShCallChunk {
    struct ShCallChunk *next;
    size_t used;
    size_t bytes;
    max_align_t data[];
} ShCallChunk;

static bool reserve_chunk(ShCall *call, int64_t bytes);
static void *alloc_in_call(void *call, size_t bytes);
static void free_in_call(void *call, void *memory);

void *sh_call_alloc(ShCall *call, size_t bytes)
{
    ShCallChunk *chunk = call->chunks;
    if (bytes > SIZE_MAX / 2)
        return NULL;
    bytes = (bytes + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (chunk == NULL || chunk->bytes - chunk->used < bytes) {
        size_t capacity = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        chunk = reserve_chunk(call, (int64_t)capacity) ? malloc(sizeof *chunk + capacity) : NULL;
        if (chunk == NULL)
            return NULL;
        *chunk = (ShCallChunk){.next = call->chunks, .bytes = capacity};
        call->chunks = chunk;
    }
    void *memory = (char *)chunk->data + chunk->used;
    chunk->used += bytes;
    return memory;
}

void sh_call_free_memory(ShCall *call)
{
    while (call->chunks != NULL) {
        ShCallChunk *chunk = call->chunks;
        call->chunks = chunk->next;
        free(chunk);
    }
    if (call->chunk_bytes > 0)
        sh_call_count_memory(call, -call->chunk_bytes);
    call->chunk_bytes = 0;
    sh_room_release(&call->worker->rpc->calls_room, &call->memory);
}

void sh_call_count_memory(ShCall *call, int64_t bytes)
{
    call->held_bytes += bytes;
    sh_engine_hold_memory(sh_call_engine(call), bytes);
}

ProtobufCMessage *sh_call_parse(ShCall *call, grpc_byte_buffer *request,
                                const ProtobufCMessageDescriptor *type, uint32_t repeated_field, ShError *err)
{
    ProtobufCMessage *parsed = NULL;
    ShBuf *bytes = NULL;
    size_t entries = 0;
    if (request == NULL) {
        sh_fail(err, SH_INVALID, "the request message is missing");
        goto done;
    }
    if (grpc_byte_buffer_length(request) > SH_RPC_SMALL_REQUEST_BYTES_MAX) {
        sh_fail(err, SH_INVALID, "the request has more than %d bytes", SH_RPC_SMALL_REQUEST_BYTES_MAX);
        goto done;
    }
    bytes = sh_message_join(request);
    if (bytes == NULL) {
        sh_fail(err, SH_NO_MEMORY, "no memory for the request");
        goto done;
    }
    if (sh_text_check(bytes->data, bytes->length, type, err) != SH_OK)
        goto done;
    if (sh_wire_count(bytes->data, bytes->length, repeated_field, &entries, err) != SH_OK)
        goto done;
    if (entries > SH_RPC_ENTRIES_MAX) {
        sh_fail(err, SH_INVALID, "the request names %zu topics or partitions; at most %d are allowed",
                entries, SH_RPC_ENTRIES_MAX);
        goto done;
    }
    ProtobufCAllocator allocator = {.alloc = alloc_in_call, .free = free_in_call, .allocator_data = call};
    parsed = protobuf_c_message_unpack(type, &allocator, bytes->length, bytes->data);
    if (parsed == NULL && call->lacks_memory)
        (void)sh_fail_for_room(err, "there is no memory for the request beside those of other calls");
    else if (parsed == NULL)
        sh_fail(err, SH_INVALID, "malformed protobuf message: it is no %s", type->name);
done:
    sh_buf_unref(bytes);
    return parsed;
}

/* A call's first chunk is small, and counted with the call. */
static bool reserve_chunk(ShCall *call, int64_t bytes)
{
    int64_t all = call->chunk_bytes + bytes;
    ShRoom *room = &call->worker->rpc->calls_room;
    call->lacks_memory = all > CHUNK_BYTES && !sh_room_take(room, &call->memory, call, all, false);
    if (call->lacks_memory)
        return false;
    call->chunk_bytes = all;
    sh_call_count_memory(call, bytes);
    return true;
}

static void *alloc_in_call(void *call, size_t bytes)
{
    return sh_call_alloc(call, bytes);
}

static void free_in_call(void *call, void *memory)
{
    (void)call;
    (void)memory;
}
