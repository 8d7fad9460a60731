/*
 * log_format.h - the text of one log line: the format is cut into its pairs, each value is printed and
 * escaped.
 *
 * Only log.c and its tests include it.
 */
#ifndef SH_AGENT_BASE_LOG_FORMAT_H
#define SH_AGENT_BASE_LOG_FORMAT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/base/config.h"

#define SH_LOG_LINE_BYTES 4096

/* A line under construction; what does not fit is left out, whole pairs at a time. */
typedef struct ShLogLine {
    bool json;
    size_t length;
    char text[SH_LOG_LINE_BYTES];
} ShLogLine;

/* Start a line: time, level and event. */
void sh_log_line_begin(ShLogLine *line, ShLogFormat format, int64_t wall_ms, ShLogLevel level,
                       const char *event);
/* Add the pairs of a format as sh_log_write takes it. */
void sh_log_line_pairs(ShLogLine *line, const char *fmt, va_list args);
/* Add one pair whose value is a number. */
void sh_log_line_number(ShLogLine *line, const char *key, int64_t value);
/* Close the line with its newline. */
void sh_log_line_end(ShLogLine *line);

#endif
