/* proto.c - Protobuf 2 and 3 as a language of schemas. */
#include <stdlib.h>
#include <string.h>

#include "schema/proto_internal.h"

static ShStatus parse(const char *text, size_t text_bytes, const ShSchemaReference *references,
                      size_t reference_count, ShSchemaBudget *budget, ShSchema **out, ShError *err);
static ShStatus check_nesting(const char *text, size_t text_bytes, const char *whose, ShError *err);
static const char *skip_quiet(const char *at, const char *end);
static bool looks_like_base64(const char *text, size_t text_bytes);
static size_t decode_base64(const char *text, size_t text_bytes, uint8_t *out);
static void free_schema(ShSchema *schema);
static ShStatus text_of(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                        ShError *err);
static const char *record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes);

const ShSchemaLanguage sh_schema_protobuf = {
    .parse = parse,
    .free = free_schema,
    .text = text_of,
    .compare = sh_proto_compare,
    .validate = sh_proto_validate,
    .record_name = record_name,
};

static ShStatus parse(const char *text, size_t text_bytes, const ShSchemaReference *references,
                      size_t reference_count, ShSchemaBudget *budget, ShSchema **out, ShError *err)
{
    for (size_t i = 0; i < reference_count; i++) {
        ShStatus nested = check_nesting(references[i].text, references[i].text_bytes, references[i].name,
                                        err);
        if (nested != SH_OK)
            return nested;
    }
    bool is_descriptor = looks_like_base64(text, text_bytes);
    ShStatus status = is_descriptor ? SH_OK : check_nesting(text, text_bytes, "the schema", err);
    if (status != SH_OK)
        return status;
    uint8_t *descriptor = is_descriptor ? malloc(text_bytes) : NULL;
    ShProtoSchema *schema = calloc(1, sizeof *schema);
    if (schema != NULL)
        schema->model.arena = sh_schema_arena_new(budget);
    if (schema == NULL || schema->model.arena == NULL || (is_descriptor && descriptor == NULL)) {
        free(schema);
        free(descriptor);
        return sh_fail(err, SH_NO_MEMORY, "no memory to parse a Protobuf schema");
    }
    schema->base = (ShSchema){.type = SH_SCHEMA_PROTOBUF, .language = &sh_schema_protobuf};
    if (is_descriptor) {
        size_t bytes = decode_base64(text, text_bytes, descriptor);
        status = sh_proto_shim_parse((const char *)descriptor, bytes, true, references, reference_count,
                                     budget, &schema->model, err);
    } else {
        status = sh_proto_shim_parse(text, text_bytes, false, references, reference_count, budget,
                                     &schema->model, err);
    }
    free(descriptor);
    sh_schema_arena_seal(schema->model.arena);
    if (status == SH_OK)
        *out = &schema->base;
    else
        free_schema(&schema->base);
    return status;
}

/* libprotobuf's parser recurses without bound. */
static ShStatus check_nesting(const char *text, size_t text_bytes, const char *whose, ShError *err)
{
    int depth = 0;
    for (const char *at = text, *end = text + text_bytes; at < end;) {
        const char *next = skip_quiet(at, end);
        if (next > at) {
            at = next;
            continue;
        }
        if (strchr("{[(<", *at) != NULL && *at != '\0')
            depth++;
        else if (strchr("}])>", *at) != NULL && *at != '\0')
            depth--;
        if (depth > SH_SCHEMA_NESTING_MAX)
            return sh_fail(err, SH_TOO_LARGE, "%s nests more than %d levels deep: make it flatter", whose,
                           SH_SCHEMA_NESTING_MAX);
        at++;
    }
    return SH_OK;
}

/* Behind the comment or string that begins at `at`; `at` when none does. */
static const char *skip_quiet(const char *at, const char *end)
{
    if (*at == '/' && at + 1 < end && at[1] == '/') {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        return line_end == NULL ? end : line_end;
    }
    if (*at == '/' && at + 1 < end && at[1] == '*') {
        const char *close = memmem(at + 2, (size_t)(end - at - 2), "*/", 2);
        return close == NULL ? end : close + 2;
    }
    if (*at != '"' && *at != '\'')
        return at;
    const char *close = at + 1;
    while (close < end && *close != *at && *close != '\n')
        close += *close == '\\' && close + 1 < end ? 2 : 1;
    return close < end ? close + 1 : end;
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* No .proto text does: its first statement has a blank or a sign in it. */
static bool looks_like_base64(const char *text, size_t text_bytes)
{
    while (text_bytes > 0 && text[text_bytes - 1] == '=')
        text_bytes--;
    for (size_t i = 0; i < text_bytes; i++)
        if (base64_digit(text[i]) < 0)
            return false;
    return text_bytes > 0;
}

static size_t decode_base64(const char *text, size_t text_bytes, uint8_t *out)
{
    uint32_t bits = 0;
    int held = 0;
    size_t length = 0;
    for (size_t i = 0; i < text_bytes && text[i] != '='; i++) {
        bits = (bits << 6) | (uint32_t)base64_digit(text[i]);
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[length++] = (uint8_t)(bits >> held);
        }
    }
    return length;
}

static void free_schema(ShSchema *schema)
{
    ShProtoSchema *proto = (ShProtoSchema *)schema;
    sh_schema_arena_free(proto->model.arena);
    free(proto);
}

static ShStatus text_of(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                        ShError *err)
{
    (void)budget; /* the texts were made when the schema was parsed */
    const ShProtoModel *model = &((const ShProtoSchema *)schema)->model;
    char *text = strdup(form == SH_SCHEMA_FORM_SERIALIZED ? model->serialized : model->text);
    if (text == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the text of a schema");
    *out = text;
    return SH_OK;
}

static const char *record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes)
{
    const ShProtoSchema *proto = (const ShProtoSchema *)schema;
    if (payload == NULL)
        return proto->model.messages[0]->full_name;
    ShProtoCursor cursor = {payload, payload + payload_bytes};
    const ShProtoMessage *message;
    return sh_proto_find_message(proto, &cursor, &message, NULL) == SH_OK ? message->full_name : NULL;
}
