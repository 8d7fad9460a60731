/*
 * print.h - records as `consume` shows them.
 */
#ifndef SH_CLI_PRINT_H
#define SH_CLI_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "client/streamhouse.h"

/* Print one record; false when it cannot be written. */
typedef bool (*ShPrintFn)(FILE *out, const ShMessage *message);

/* partition:offset, key and value, separated by tabs. */
bool sh_print_text(FILE *out, const ShMessage *message);
/* One JSON object a line; see sh_format_json_bytes for bytes that are no text. */
bool sh_print_json(FILE *out, const ShMessage *message);
/* The value's bytes and a newline, no more and no less. */
bool sh_print_value(FILE *out, const ShMessage *message);

/* Add "offset", "timestamp", "key", "value" and "headers" to an object; false when memory is short. */
bool sh_print_add_record(json_t *object, const ShRecord *record);

/* By the name of --output; NULL when there is no such one. */
ShPrintFn sh_print_find(const char *name);

#endif
