#include "agent/base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log_format.h"

#define BURST           10    /* lines of one event ... */
#define BURST_WINDOW_MS 10000 /* ... in this time */
#define EVENTS_MAX      64
#define EVENT_BYTES     64

/* How often one event was printed lately. */
typedef struct EventRate {
    char event[EVENT_BYTES];
    int64_t window_start_ms;
    int printed;
    int64_t suppressed;
} EventRate;

static ShLogLevel log_level = SH_LOG_INFO;
static ShLogFormat log_format = SH_LOG_TEXT;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static EventRate rates[EVENTS_MAX]; /* under lock, as the count */
static int rate_count;

static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t dropped_lines; /* under it; since the last that was written */

static bool may_print(const char *event, int64_t *suppressed);
static EventRate *find_rate(const char *event, int64_t now_ms);
static void write_line(const ShLogLine *line);
static bool write_at_once(const ShLogLine *line);

void sh_log_setup(ShLogLevel level, ShLogFormat format)
{
    log_level = level;
    log_format = format;
}

void sh_log_write(ShLogLevel level, const char *event, const char *fmt, ...)
{
    if (level < log_level)
        return;
    int64_t suppressed = 0;
    if (level >= SH_LOG_WARN && !may_print(event, &suppressed))
        return;

    int saved_errno = errno;
    ShLogLine line;
    sh_log_line_begin(&line, log_format, sh_clock_wall_ms(), level, event);
    va_list args;
    va_start(args, fmt);
    sh_log_line_pairs(&line, fmt, args);
    va_end(args);
    if (suppressed > 0)
        sh_log_line_number(&line, "suppressed", suppressed);
    sh_log_line_end(&line);
    write_line(&line);
    errno = saved_errno;
}

/* Counts the event; `*suppressed` is how many were swallowed since the last one that got through. */
static bool may_print(const char *event, int64_t *suppressed)
{
    int64_t now_ms = sh_clock_now_ms();
    bool allowed = true;
    pthread_mutex_lock(&lock);
    EventRate *rate = find_rate(event, now_ms);
    if (rate != NULL) {
        if (now_ms - rate->window_start_ms >= BURST_WINDOW_MS) {
            rate->window_start_ms = now_ms;
            rate->printed = 0;
        }
        allowed = rate->printed < BURST;
        if (allowed) {
            rate->printed++;
            *suppressed = rate->suppressed;
            rate->suppressed = 0;
        } else {
            rate->suppressed++;
        }
    }
    pthread_mutex_unlock(&lock);
    return allowed;
}

/* The event's entry, made when it is new; NULL when the table is full: then the event is not limited. */
static EventRate *find_rate(const char *event, int64_t now_ms)
{
    for (int i = 0; i < rate_count; i++) {
        if (strncmp(rates[i].event, event, EVENT_BYTES - 1) == 0)
            return &rates[i];
    }
    if (rate_count == EVENTS_MAX)
        return NULL;
    EventRate *rate = &rates[rate_count++];
    *rate = (EventRate){.window_start_ms = now_ms};
    strncpy(rate->event, event, EVENT_BYTES - 1);
    return rate;
}

static void write_line(const ShLogLine *line)
{
    pthread_mutex_lock(&output_lock);
    if (dropped_lines > 0) {
        ShLogLine note;
        sh_log_line_begin(&note, log_format, sh_clock_wall_ms(), SH_LOG_WARN, "log_dropped");
        sh_log_line_number(&note, "lines", dropped_lines);
        sh_log_line_end(&note);
        if (write_at_once(&note))
            dropped_lines = 0;
    }
    if (dropped_lines > 0 || !write_at_once(line))
        dropped_lines++;
    pthread_mutex_unlock(&output_lock);
}

/* A pipe or a socket that poll says is ready takes PIPE_BUF bytes without waiting. False: it is not ready, or
 * takes nothing any more. */
static bool write_at_once(const ShLogLine *line)
{
    _Static_assert(sizeof line->text <= PIPE_BUF, "a line is taken whole");
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t done;
    do
        done = poll(&output, 1, 0);
    while (done < 0 && errno == EINTR);
    if (done <= 0)
        return false;
    do
        done = write(STDERR_FILENO, line->text, line->length);
    while (done < 0 && errno == EINTR);
    return done >= 0;
}
