/*
 * reflection.c - grpc.reflection.v1 and v1alpha (the same messages), so that stock tools work without a proto
 * file.
 *
 * Each request of the stream is answered before the next is read. Field numbers are those of
 * reflection.proto.
 */
#include <string.h>

#include "agent/rpc/descriptors.h"
#include "agent/rpc/error.h"
#include "agent/rpc/message.h"
#include "agent/rpc/server.h"
#include "agent/rpc/wire.h"

enum {
    REQUEST_FILE_BY_NAME = 3,
    REQUEST_FILE_BY_SYMBOL,
    REQUEST_EXTENSION,
    REQUEST_EXTENSIONS,
    REQUEST_SERVICES
};
enum {
    RESPONSE_REQUEST = 2,
    RESPONSE_FILES = 4,
    RESPONSE_SERVICES = 6,
    RESPONSE_ERROR = 7,
};
/* Nobody asks for a longer name. It comes back with the answer. */
#define REQUEST_BYTES_MAX 4096

enum { FILES_FILE = 1, SERVICES_SERVICE = 1, SERVICE_NAME = 1, ERROR_CODE = 1, ERROR_MESSAGE = 2 };

typedef struct Reflection {
    ShCall call;
    ShDescriptorFile files[SH_DESCRIPTOR_FILES_MAX];
    size_t file_count;
} Reflection;

static void start(ShCall *call, grpc_byte_buffer *none);
static void on_read(ShCall *call, grpc_byte_buffer *message);
static void on_written(ShCall *call);
static void forget(ShCall *call);
static ShStatus read_request(const ShBuf *bytes, ShWireField *asked, ShError *err);
static grpc_byte_buffer *answer(const Reflection *self, const ShBuf *request, const ShWireField *asked);
static void put_services(const Reflection *self, ShOut *out);
static void put_files(const Reflection *self, ShOut *out, const ShDescriptorFile *file);
static size_t collect(const Reflection *self, const ShDescriptorFile *file,
                      bool wanted[SH_DESCRIPTOR_FILES_MAX]);
static void put_error(ShOut *out, grpc_status_code code, const char *text);

const ShMethod sh_method_reflection_v1 = {
    .path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    .name = "ReflectionV1",
    .call_bytes = sizeof(Reflection),
    .reads_stream = true,
    .writes_stream = true,
    .start = start,
    .read = on_read,
    .written = on_written,
    .cancelled = forget,
};

const ShMethod sh_method_reflection_v1alpha = {
    .path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    .name = "ReflectionV1Alpha",
    .call_bytes = sizeof(Reflection),
    .reads_stream = true,
    .writes_stream = true,
    .start = start,
    .read = on_read,
    .written = on_written,
    .cancelled = forget,
};

static void start(ShCall *call, grpc_byte_buffer *none)
{
    (void)none;
    Reflection *self = (Reflection *)call;
    self->file_count = sh_descriptor_files(self->files);
    sh_call_read(call);
}

static void on_read(ShCall *call, grpc_byte_buffer *message)
{
    if (message == NULL) {
        sh_call_end(call, GRPC_STATUS_OK, "");
        return;
    }
    ShError err = {0};
    ShWireField asked = {0};
    bool is_long = grpc_byte_buffer_length(message) > REQUEST_BYTES_MAX;
    ShBuf *bytes = is_long ? NULL : sh_message_join(message);
    if (is_long)
        sh_call_end(call, GRPC_STATUS_INVALID_ARGUMENT, "the request is longer than any name");
    else if (bytes == NULL)
        sh_call_end(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory for the request");
    else if (read_request(bytes, &asked, &err) != SH_OK)
        sh_call_fail(call, &err);
    else
        sh_call_write(call, answer((Reflection *)call, bytes, &asked), false);
    sh_buf_unref(bytes);
}

static void on_written(ShCall *call)
{
    sh_call_read(call);
}

static void forget(ShCall *call)
{
    (void)call; /* a reflection stream holds nothing beside its call */
}

/* The one field that says what is asked for. */
static ShStatus read_request(const ShBuf *bytes, ShWireField *asked, ShError *err)
{
    ShWireReader reader = sh_wire_reader(bytes->data, bytes->length);
    ShWireField field;
    bool more;
    for (;;) {
        ShStatus status = sh_wire_next(&reader, &field, &more, err);
        if (status != SH_OK || !more)
            return status;
        if (field.number < REQUEST_FILE_BY_NAME || field.number > REQUEST_SERVICES)
            continue;
        status = sh_wire_expect(&field, SH_WIRE_BYTES, err);
        if (status != SH_OK)
            return status;
        *asked = field;
    }
}

static grpc_byte_buffer *answer(const Reflection *self, const ShBuf *request, const ShWireField *asked)
{
    ShOut out;
    sh_out_init(&out, 0);
    sh_out_bytes(&out, RESPONSE_REQUEST, request->data, request->length);
    const ShDescriptorFile *file = NULL;
    switch (asked->number) {
    case REQUEST_SERVICES:
        put_services(self, &out);
        break;
    case REQUEST_FILE_BY_NAME:
    case REQUEST_FILE_BY_SYMBOL:
        if (asked->number == REQUEST_FILE_BY_NAME)
            file = sh_descriptor_file_named(self->files, self->file_count, asked->bytes);
        else
            file = sh_descriptor_file_declaring(self->files, self->file_count, asked->bytes);
        if (file != NULL)
            put_files(self, &out, file);
        else
            put_error(&out, GRPC_STATUS_NOT_FOUND, "no served file has this name or symbol");
        break;
    case REQUEST_EXTENSION:
    case REQUEST_EXTENSIONS:
        put_error(&out, GRPC_STATUS_NOT_FOUND, "the served files have no extensions");
        break;
    default:
        put_error(&out, GRPC_STATUS_INVALID_ARGUMENT, "the request asks for nothing");
    }
    return sh_out_finish(&out);
}

static void put_services(const Reflection *self, ShOut *out)
{
    ShOut list;
    sh_out_init(&list, 0);
    for (size_t i = 0; i < self->file_count; i++) {
        const ShDescriptorFile *file = &self->files[i];
        ShWireReader reader = sh_wire_reader(file->bytes.data, file->bytes.length);
        ShWireBytes name;
        while (sh_descriptor_next_service(&reader, &name)) {
            size_t full_length = file->package.length + 1 + name.length;
            sh_out_open(&list, SERVICES_SERVICE, sh_out_bytes_size(SERVICE_NAME, full_length));
            sh_out_open(&list, SERVICE_NAME, full_length);
            sh_out_raw(&list, file->package.data, file->package.length);
            sh_out_raw(&list, ".", 1);
            sh_out_raw(&list, name.data, name.length);
        }
    }
    sh_out_take_message(out, RESPONSE_SERVICES, &list);
}

/* A file and all that it imports. */
static void put_files(const Reflection *self, ShOut *out, const ShDescriptorFile *file)
{
    bool wanted[SH_DESCRIPTOR_FILES_MAX] = {false};
    size_t bytes = collect(self, file, wanted);
    sh_out_open(out, RESPONSE_FILES, bytes);
    for (size_t i = 0; i < self->file_count; i++) {
        if (!wanted[i])
            continue;
        /* They are part of the program: an answer that is not taken holds nothing of them. */
        ShSlice constant = {.data = self->files[i].bytes.data, .length = self->files[i].bytes.length};
        sh_out_open(out, FILES_FILE, constant.length);
        sh_out_take_slice(out, &constant);
    }
}

/* Mark the file and what it imports, through any number of steps; returns their size as fields. In the set
 * what is imported stands before what imports it, so one walk from the file to the front finds all. */
static size_t collect(const Reflection *self, const ShDescriptorFile *file,
                      bool wanted[SH_DESCRIPTOR_FILES_MAX])
{
    size_t bytes = 0;
    wanted[file - self->files] = true;
    for (size_t i = self->file_count; i-- > 0;) {
        if (!wanted[i])
            continue;
        bytes += sh_out_bytes_size(FILES_FILE, self->files[i].bytes.length);
        ShWireReader reader = sh_wire_reader(self->files[i].bytes.data, self->files[i].bytes.length);
        ShWireBytes name;
        while (sh_descriptor_next_dependency(&reader, &name)) {
            const ShDescriptorFile *imported = sh_descriptor_file_named(self->files, self->file_count, name);
            if (imported != NULL)
                wanted[imported - self->files] = true;
        }
    }
    return bytes;
}

static void put_error(ShOut *out, grpc_status_code code, const char *text)
{
    size_t bytes = sh_out_varint_size(ERROR_CODE, (uint64_t)code) +
                   sh_out_bytes_size(ERROR_MESSAGE, strlen(text));
    sh_out_open(out, RESPONSE_ERROR, bytes);
    sh_out_varint(out, ERROR_CODE, (uint64_t)code);
    sh_out_bytes(out, ERROR_MESSAGE, text, strlen(text));
}
