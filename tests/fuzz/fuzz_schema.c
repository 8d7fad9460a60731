/*
 * fuzz_schema.c - schemas of all three languages from arbitrary bytes: parsed, written in all forms, compared
 * both ways, and held against data.
 *
 * The first byte names the language; the rest is parted at zero bytes into two schemas and a payload.
 */
// link: $(wildcard schema/*.c) build/fuzz/proto_shim.o
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "schema/avro_program.h"
#include "schema/schema.h"

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static ShSchema *parse(ShSchemaType type, const uint8_t **at, const uint8_t *end);
static void write_forms(const ShSchema *schema);
static void compare(const ShSchema *reader, const ShSchema *writer);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    ShSchemaType type = (ShSchemaType)(1 + data[0] % 3);
    const uint8_t *at = data + 1;
    const uint8_t *end = data + size;
    ShSchema *first = parse(type, &at, end);
    ShSchema *second = parse(type, &at, end);
    if (first != NULL) {
        write_forms(first);
        compare(first, first);
        ShError err;
        uint8_t *payload = malloc((size_t)(end - at) + 1);
        REQUIRE(payload != NULL);
        memcpy(payload, at, (size_t)(end - at));
        payload = realloc(payload, end > at ? (size_t)(end - at) : 1);
        (void)!sh_schema_validate(first, payload, (size_t)(end - at), NULL, &err);
        if (type == SH_SCHEMA_AVRO &&
            sh_avro_fits(((ShAvroSchema *)first)->program, payload, (size_t)(end - at)))
            REQUIRE(sh_avro_explain(((ShAvroSchema *)first)->root, payload, (size_t)(end - at), &err) ==
                    SH_OK);
        (void)sh_schema_record_name(first, payload, (size_t)(end - at));
        free(payload);
    }
    if (first != NULL && second != NULL) {
        compare(first, second);
        compare(second, first);
    }
    sh_schema_free(first);
    sh_schema_free(second);
    return 0;
}

static ShSchema *parse(ShSchemaType type, const uint8_t **at, const uint8_t *end)
{
    const uint8_t *text = *at;
    const uint8_t *stop = memchr(text, 0, (size_t)(end - text));
    size_t length = (size_t)((stop == NULL ? end : stop) - text);
    *at = stop == NULL ? end : stop + 1;
    ShSchema *schema = NULL;
    ShError err;
    ShStatus status = sh_schema_parse(type, (const char *)text, length, NULL, 0, NULL, &schema, &err);
    REQUIRE((status == SH_OK) == (schema != NULL));
    REQUIRE(status == SH_OK || err.message[0] != '\0');
    return schema;
}

/* A form is a schema, and its own form. */
static void write_forms(const ShSchema *schema)
{
    for (ShSchemaForm form = SH_SCHEMA_FORM_CANONICAL; form <= SH_SCHEMA_FORM_PARSING; form++) {
        ShError err;
        char *text = NULL;
        char *twice = NULL;
        ShSchema *again = NULL;
        if (sh_schema_text(schema, form, NULL, &text, &err) != SH_OK)
            continue;
        if (sh_schema_parse(sh_schema_type(schema), text, strlen(text), NULL, 0, NULL, &again, &err) ==
                SH_OK &&
            sh_schema_text(again, form, NULL, &twice, &err) == SH_OK)
            REQUIRE(strcmp(text, twice) == 0);
        sh_schema_free(again);
        free(text);
        free(twice);
    }
}

static void compare(const ShSchema *reader, const ShSchema *writer)
{
    ShSchemaFindings found;
    ShError err;
    if (sh_schema_compare(reader, writer, NULL, &found, &err) != SH_OK)
        return;
    for (size_t i = 0; i < found.count; i++)
        REQUIRE(found.items[i].kind != NULL && found.items[i].path != NULL &&
                found.items[i].message[0] != '\0');
    sh_schema_findings_free(&found);
}
