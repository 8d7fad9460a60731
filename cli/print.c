#include "cli/print.h"

#include <inttypes.h>
#include <string.h>

#include "cli/format.h"

static json_t *headers_json(const ShRecord *record);

bool sh_print_text(FILE *out, const ShMessage *message)
{
    const ShRecord *record = &message->record;
    fprintf(out, "%" PRId32 ":%" PRId64 "\t", message->partition, record->offset);
    if (record->key != NULL)
        fwrite(record->key, 1, record->key_length, out);
    fputc('\t', out);
    return sh_print_value(out, message);
}

bool sh_print_json(FILE *out, const ShMessage *message)
{
    const ShRecord *record = &message->record;
    json_t *object = json_pack("{s:s, s:i}", "topic", message->topic, "partition", (int)message->partition);
    bool good = object != NULL && sh_print_add_record(object, record) &&
                json_dumpf(object, out, JSON_COMPACT) == 0 && fputc('\n', out) != EOF;
    json_decref(object);
    return good;
}

bool sh_print_add_record(json_t *object, const ShRecord *record)
{
    return json_object_set_new(object, "offset", json_integer(record->offset)) == 0 &&
           json_object_set_new(object, "timestamp", json_integer(record->timestamp_ms)) == 0 &&
           sh_format_json_bytes(object, "key", record->key, record->key_length) &&
           sh_format_json_bytes(object, "value", record->value, record->value_length) &&
           json_object_set_new(object, "headers", headers_json(record)) == 0;
}

bool sh_print_value(FILE *out, const ShMessage *message)
{
    if (message->record.value != NULL)
        fwrite(message->record.value, 1, message->record.value_length, out);
    return fputc('\n', out) != EOF && !ferror(out);
}

ShPrintFn sh_print_find(const char *name)
{
    if (strcmp(name, "text") == 0)
        return sh_print_text;
    if (strcmp(name, "json") == 0)
        return sh_print_json;
    return strcmp(name, "value") == 0 ? sh_print_value : NULL;
}

static json_t *headers_json(const ShRecord *record)
{
    json_t *list = json_array();
    size_t cursor = 0;
    ShHeader header;
    while (list != NULL && sh_record_next_header(record, &cursor, &header)) {
        json_t *item = json_object();
        bool good = item != NULL &&
                    sh_format_json_bytes(item, "key", (const uint8_t *)header.key, header.key_length) &&
                    sh_format_json_bytes(item, "value", header.value, header.value_length);
        if (!good || json_array_append(list, item) != 0) {
            json_decref(list);
            list = NULL;
        }
        json_decref(item);
    }
    return list;
}
