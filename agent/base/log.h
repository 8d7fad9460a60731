/*
 * log.h - the agent's log: one event name and key=value pairs a line, on stderr.
 *
 *   2026-01-31T12:00:00.123Z INFO wal_opened dir=/data/wal files=3
 *
 * Values with blanks or quotes are quoted; with log_format json each line is a JSON object. A message is one
 * write(2). Nobody waits for who reads stderr: what a full pipe does not take is dropped and counted, and
 * "log_dropped lines=3" stands before what it takes next. The same event at WARN or ERROR is printed at most
 * ten times in ten seconds, then counted, and the count is printed with the next one that gets through.
 */
#ifndef SH_AGENT_BASE_LOG_H
#define SH_AGENT_BASE_LOG_H

#include "agent/base/config.h"
#include "core/status.h"

/* Set once at start, before threads. Without it: INFO, text. */
void sh_log_setup(ShLogLevel level, ShLogFormat format);

/* Write an event. `fmt` gives the pairs in printf form, "dir=%s files=%d"; a value that may hold blanks
 * stands in the format as "reason=\"%s\"" and is escaped by the logger; " " gives none. Conversions are those
 * of printf without `n` and `L`; `*` stands only in "%.*s". Never pass a secret. Any thread; does not fail.
 */
void sh_log_write(ShLogLevel level, const char *event, const char *fmt, ...) SH_PRINTF(3, 4);

#define sh_log_debug(event, ...) sh_log_write(SH_LOG_DEBUG, (event), __VA_ARGS__)
#define sh_log_info(event, ...)  sh_log_write(SH_LOG_INFO, (event), __VA_ARGS__)
#define sh_log_warn(event, ...)  sh_log_write(SH_LOG_WARN, (event), __VA_ARGS__)
#define sh_log_error(event, ...) sh_log_write(SH_LOG_ERROR, (event), __VA_ARGS__)

#endif
