#include "cli/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli/format.h"

#define FIRST_AFTER_MS 1000
#define EVERY_MS       500

void sh_progress_start(ShProgress *progress)
{
    int64_t now_ms = sh_cli_now_ms();
    *progress = (ShProgress){
        .enabled = isatty(STDERR_FILENO) != 0, .started_ms = now_ms, .next_ms = now_ms + FIRST_AFTER_MS};
}

void sh_progress_update(ShProgress *progress, int64_t records, int64_t bytes)
{
    if (!progress->enabled)
        return;
    int64_t now_ms = sh_cli_now_ms();
    if (now_ms < progress->next_ms)
        return;
    progress->next_ms = now_ms + EVERY_MS;
    progress->shown = true;
    char count[SH_FORMAT_BYTES], size[SH_FORMAT_BYTES], rate[SH_FORMAT_BYTES];
    fprintf(stderr, "\r\033[K%s records, %s, %s records/s", sh_format_count(records, count),
            sh_format_size(bytes, size),
            sh_format_count(records * 1000 / (now_ms - progress->started_ms), rate));
    fflush(stderr);
}

void sh_progress_end(ShProgress *progress)
{
    if (progress->shown)
        fprintf(stderr, "\r\033[K");
    progress->shown = false;
}

int64_t sh_cli_now_ms(void)
{
    return sh_cli_now_us() / 1000;
}

int64_t sh_cli_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}
