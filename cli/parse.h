/*
 * parse.h - values of options. Pure. Each function is false when the text is not such a value.
 */
#ifndef SH_CLI_PARSE_H
#define SH_CLI_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/streamhouse.h"

/* A whole number from `min` to `max`. */
bool sh_parse_number(const char *text, int64_t min, int64_t max, int64_t *out);

/* Bytes as PostgreSQL writes them: 100, 64kB, 64MB, 1GB (powers of 1024); KiB, MiB, GiB and B are understood
 * too. */
bool sh_parse_bytes(const char *text, int64_t *out);

/* A duration: 5ms, 2s, 10m, 1h, 7d. */
bool sh_parse_duration_ms(const char *text, int64_t *out);

/* A retention for the server: 7d, 12h, 30m, 2w become intervals in words, everything else is passed on. False
 * when it does not fit into `out`. */
bool sh_parse_retention(const char *text, char *out, size_t out_bytes);

/* Where to start: earliest, latest, an offset, @ and milliseconds since the Unix epoch, or a time such as
 * 2018-02-01T12:00:00Z, 2018-02-01 12:00:00.5+01:00 or 2018-02-01 (UTC unless it says otherwise). */
bool sh_parse_start(const char *text, ShStart *out);

#endif
