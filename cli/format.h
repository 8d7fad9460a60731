/*
 * format.h - numbers as people read them, and bytes as JSON carries them. Pure.
 */
#ifndef SH_CLI_FORMAT_H
#define SH_CLI_FORMAT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SH_FORMAT_BYTES 32 /* room for what the functions below write */

/* 1245678 as "1,245,678". Returns `out`. */
const char *sh_format_count(int64_t value, char out[SH_FORMAT_BYTES]);
/* 1288490188 as "1.2 GB", in powers of 1024. Returns `out`. */
const char *sh_format_size(int64_t bytes, char out[SH_FORMAT_BYTES]);

/* Put bytes into an object as `name`: as a string where they are UTF-8, else as base64 with "NAME_encoding":
 * "base64" beside it; NULL data as null. False when memory is short. */
bool sh_format_json_bytes(json_t *object, const char *name, const uint8_t *data, size_t length);

#endif
