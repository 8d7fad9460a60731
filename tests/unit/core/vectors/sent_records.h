/*
 * sent_records.h - the records that the generator gives to librdkafka, and that the tests expect to read
 * back.
 */
#ifndef TESTS_UNIT_CORE_VECTORS_SENT_RECORDS_H
#define TESTS_UNIT_CORE_VECTORS_SENT_RECORDS_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SENT_RECORD_COUNT 10
#define SENT_HEADER_COUNT 2

typedef struct SentRecord {
    int64_t timestamp_ms;
    const char *key; /* NULL: null */
    size_t key_length;
    const char *value; /* NULL: null */
    size_t value_length;
    int header_count; /* 0, or SENT_HEADER_COUNT: "trace" with `trace`, "none" with null */
    char trace[16];
    char key_text[16];
    char value_text[200];
} SentRecord;

/* The record of that index: null, empty and plain keys and values, a timestamp that goes back, headers. */
static inline void sent_record(int index, SentRecord *record)
{
    memset(record, 0, sizeof *record);
    record->timestamp_ms = 1700000000000 + (index == 4 ? -3000 : 70 * index);
    if (index % 4 != 0) {
        if (index != 5)
            snprintf(record->key_text, sizeof record->key_text, "key-%d", index);
        record->key = record->key_text;
        record->key_length = strlen(record->key);
    }
    if (index % 5 != 3) {
        for (int i = 0; i < 12 && index != 6; i++)
            snprintf(record->value_text + strlen(record->value_text),
                     sizeof record->value_text - strlen(record->value_text), "value %d, ", index);
        record->value = record->value_text;
        record->value_length = strlen(record->value);
    }
    if (index % 3 == 1) {
        record->header_count = SENT_HEADER_COUNT;
        snprintf(record->trace, sizeof record->trace, "abc%d", index);
    }
}

#endif
