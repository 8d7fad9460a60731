#include <string.h>

#include "agent/rpc/error.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"
#include "agent/rpc/target.h"

typedef struct ListCall {
    ShCall call;
    ShWake wake;
    ShListOffsets list;
} ListCall;

static void start(ShCall *call, grpc_byte_buffer *message);
static ShStatus read_request(ListCall *self, grpc_byte_buffer *message, ShError *err);
static void on_listed(ShListOffsets *list);
static void on_wake(ShWake *wake);
static void answer(ListCall *self);
static bool all_failed_alike(const ShListOffsets *list);
static void fill_result(const ShListPart *part, ShPartitionError *error,
                        Streamhouse__V1__ListOffsetsResult *out);

const ShMethod sh_method_list_offsets = {
    .path = "/streamhouse.v1.StreamHouse/ListOffsets",
    .name = "ListOffsets",
    .call_bytes = sizeof(ListCall),
    .start = start,
};

static void start(ShCall *call, grpc_byte_buffer *message)
{
    ListCall *self = (ListCall *)call;
    ShError err = {0};
    if (read_request(self, message, &err) != SH_OK) {
        sh_call_fail(call, &err);
        return;
    }
    self->wake = (ShWake){.call = call, .run = on_wake};
    sh_call_hold(call);
    sh_engine_list_offsets(sh_call_engine(call), &self->list);
}

static ShStatus read_request(ListCall *self, grpc_byte_buffer *message, ShError *err)
{
    ShCall *call = &self->call;
    const Streamhouse__V1__ListOffsetsRequest *wire = (const Streamhouse__V1__ListOffsetsRequest *)
        sh_call_parse(call, message, &streamhouse__v1__list_offsets_request__descriptor, 1, err);
    if (wire == NULL)
        return SH_INVALID;
    if (wire->n_partitions == 0)
        return sh_fail(err, SH_INVALID, "the request names no partition");

    ShListPart *parts = sh_call_alloc(call, wire->n_partitions * sizeof *parts);
    for (size_t i = 0; i < wire->n_partitions; i++) {
        const Streamhouse__V1__ListOffsetsPartition *from = wire->partitions[i];
        ShWireBytes topic = {.data = (const uint8_t *)from->topic, .length = strlen(from->topic)};
        ShWireBytes topic_id = {.data = from->topic_id.data, .length = from->topic_id.len};
        parts[i] = (ShListPart){.timestamp_ms = from->timestamp_ms};
        ShStatus status = sh_target_parse(topic, topic_id, from->partition, &parts[i].target, err);
        if (status == SH_OK && from->timestamp_ms < SH_TIMESTAMP_EARLIEST)
            status = sh_fail(err, SH_INVALID, "timestamp_ms %lld is below -2", (long long)from->timestamp_ms);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "partition %zu of the request", i);
    }
    self->list = (ShListOffsets){
        .parts = parts, .part_count = wire->n_partitions, .done = on_listed, .arg = self};
    return SH_OK;
}

static void on_listed(ShListOffsets *list)
{
    ListCall *self = list->arg;
    sh_worker_post(&self->wake);
}

static void on_wake(ShWake *wake)
{
    ShCall *call = wake->call;
    answer((ListCall *)call);
    sh_call_release(call);
}

static void answer(ListCall *self)
{
    ShCall *call = &self->call;
    const ShListOffsets *list = &self->list;
    ShPartitionError *errors = sh_call_alloc(call, list->part_count * sizeof *errors);
    Streamhouse__V1__ListOffsetsResult *results = sh_call_alloc(call, list->part_count * sizeof *results);
    Streamhouse__V1__ListOffsetsResponse response = STREAMHOUSE__V1__LIST_OFFSETS_RESPONSE__INIT;
    response.results = sh_call_alloc(call, list->part_count * sizeof(Streamhouse__V1__ListOffsetsResult *));
    response.n_results = list->part_count;
    for (size_t i = 0; i < list->part_count; i++) {
        fill_result(&list->parts[i], &errors[i], &results[i]);
        response.results[i] = &results[i];
    }
    if (all_failed_alike(list))
        sh_call_fail_partition(call, &errors[0]);
    else
        sh_call_answer(call, sh_message_pack(&response.base));
}

static bool all_failed_alike(const ShListOffsets *list)
{
    grpc_status_code code = sh_rpc_code(list->parts[0].error.status, SH_FROM_STORE);
    for (size_t i = 1; i < list->part_count; i++) {
        if (sh_rpc_code(list->parts[i].error.status, SH_FROM_STORE) != code)
            return false;
    }
    return code != GRPC_STATUS_OK;
}

static void fill_result(const ShListPart *part, ShPartitionError *error,
                        Streamhouse__V1__ListOffsetsResult *out)
{
    streamhouse__v1__list_offsets_result__init(out);
    /* The name borrows from the request, where protobuf-c has ended it with a NUL. */
    if (part->target.topic_length > 0)
        out->topic = (char *)(uintptr_t)part->target.topic;
    if (!sh_uuid_is_zero(&part->target.topic_id)) {
        out->topic_id.data = (uint8_t *)(uintptr_t)part->target.topic_id.bytes;
        out->topic_id.len = sizeof part->target.topic_id.bytes;
    }
    out->partition = part->target.partition;
    if (part->error.status != SH_OK) {
        sh_partition_error_fill(error, &part->error, &part->redirect, SH_FROM_STORE);
        out->error = &error->error;
        return;
    }
    out->offset = part->offset;
    out->timestamp_ms = part->found_timestamp_ms;
}
