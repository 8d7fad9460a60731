/*
 * progress.h - one line on stderr that grows while long work goes on: only on a terminal, and not in the
 * first second.
 */
#ifndef SH_CLI_PROGRESS_H
#define SH_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ShProgress {
    bool enabled;
    bool shown;
    int64_t started_ms;
    int64_t next_ms; /* when it is written again */
} ShProgress;

void sh_progress_start(ShProgress *progress);
/* Cheap; writes at most twice a second. */
void sh_progress_update(ShProgress *progress, int64_t records, int64_t bytes);
/* Clear the line. */
void sh_progress_end(ShProgress *progress);

/* CLOCK_MONOTONIC, in milliseconds and microseconds. */
int64_t sh_cli_now_ms(void);
int64_t sh_cli_now_us(void);

#endif
