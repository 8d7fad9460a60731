#include "agent/base/metrics.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKET_COUNT    20
#define FIRST_BUCKET_US 100
#define REFRESHES_MAX   16

typedef enum MetricKind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM } MetricKind;

struct ShMetric {
    ShMetric *next;
    MetricKind kind;
    bool in_seconds; /* the value counts microseconds and is printed as seconds */
    char *name;
    char *labels; /* "" : none */
    char *help;
    atomic_int_least64_t value;                     /* of a histogram: the sum in microseconds */
    atomic_int_least64_t buckets[BUCKET_COUNT + 1]; /* observations per bucket; the last one takes the rest */
};

typedef struct Refresh {
    void (*call)(void *arg);
    void *arg;
} Refresh;

/* The list stands in the order of name and labels. It only grows, under its lock; values are atomic. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static ShMetric *metrics;

/* Held while the refreshes run, so that forgetting one waits for it. */
static pthread_mutex_t refresh_lock = PTHREAD_MUTEX_INITIALIZER;
static Refresh refreshes[REFRESHES_MAX];
static int refresh_count;

static ShMetric *find_or_create(MetricKind kind, bool in_seconds, const char *name, const char *labels,
                                const char *help);
static ShMetric *create(MetricKind kind, bool in_seconds, const char *name, const char *labels,
                        const char *help);
static char *copy_text(const char *text);
static void die(const char *reason, const char *name) __attribute__((noreturn));
static ShStatus print_heading(ShScratch *out, const ShMetric *metric, ShError *err);
static ShStatus print_sample(ShScratch *out, const ShMetric *metric, ShError *err);
static ShStatus print_histogram(ShScratch *out, const ShMetric *metric, ShError *err);
static ShStatus append(ShScratch *out, ShError *err, const char *fmt, ...) SH_PRINTF(3, 4);

ShMetric *sh_metric_counter(const char *name, const char *labels, const char *help)
{
    return find_or_create(KIND_COUNTER, false, name, labels, help);
}

ShMetric *sh_metric_counter_seconds(const char *name, const char *labels, const char *help)
{
    return find_or_create(KIND_COUNTER, true, name, labels, help);
}

ShMetric *sh_metric_gauge(const char *name, const char *labels, const char *help)
{
    return find_or_create(KIND_GAUGE, false, name, labels, help);
}

ShMetric *sh_metric_histogram(const char *name, const char *labels, const char *help)
{
    return find_or_create(KIND_HISTOGRAM, true, name, labels, help);
}

void sh_metric_add(ShMetric *counter, int64_t n)
{
    atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

void sh_metric_set(ShMetric *gauge, int64_t value)
{
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

void sh_metric_observe_us(ShMetric *histogram, int64_t us)
{
    int bucket = us <= FIRST_BUCKET_US ? 0 : 64 - __builtin_clzll((uint64_t)(us - 1) / FIRST_BUCKET_US);
    if (bucket > BUCKET_COUNT)
        bucket = BUCKET_COUNT;
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->value, us > 0 ? us : 0, memory_order_relaxed);
}

int64_t sh_metric_value(const ShMetric *metric)
{
    if (metric->kind != KIND_HISTOGRAM)
        return atomic_load_explicit(&metric->value, memory_order_relaxed);
    int64_t count = 0;
    for (int i = 0; i <= BUCKET_COUNT; i++)
        count += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
    return count;
}

void sh_metrics_on_print(void (*refresh)(void *arg), void *arg)
{
    pthread_mutex_lock(&refresh_lock);
    if (refresh_count == REFRESHES_MAX)
        die("too many refresh functions", "sh_metrics_on_print");
    refreshes[refresh_count++] = (Refresh){refresh, arg};
    pthread_mutex_unlock(&refresh_lock);
}

void sh_metrics_forget_on_print(void (*refresh)(void *arg), void *arg)
{
    pthread_mutex_lock(&refresh_lock);
    for (int i = 0; i < refresh_count; i++) {
        if (refreshes[i].call == refresh && refreshes[i].arg == arg) {
            refreshes[i] = refreshes[--refresh_count];
            break;
        }
    }
    pthread_mutex_unlock(&refresh_lock);
}

ShStatus sh_metrics_print(ShScratch *out, ShError *err)
{
    pthread_mutex_lock(&refresh_lock);
    for (int i = 0; i < refresh_count; i++)
        refreshes[i].call(refreshes[i].arg);
    pthread_mutex_unlock(&refresh_lock);

    ShStatus status = SH_OK;
    const char *heading = "";
    pthread_mutex_lock(&list_lock);
    for (const ShMetric *metric = metrics; metric != NULL && status == SH_OK; metric = metric->next) {
        if (strcmp(heading, metric->name) != 0) {
            heading = metric->name;
            status = print_heading(out, metric, err);
        }
        if (status == SH_OK)
            status = metric->kind == KIND_HISTOGRAM ? print_histogram(out, metric, err)
                                                    : print_sample(out, metric, err);
    }
    pthread_mutex_unlock(&list_lock);
    return status;
}

static ShMetric *find_or_create(MetricKind kind, bool in_seconds, const char *name, const char *labels,
                                const char *help)
{
    const char *wanted = labels != NULL ? labels : "";
    pthread_mutex_lock(&list_lock);
    ShMetric **place = &metrics;
    int order = 1;
    for (; *place != NULL; place = &(*place)->next) {
        order = strcmp((*place)->name, name);
        if (order == 0 && (*place)->kind != kind)
            die("a metric has two types", name);
        if (order == 0)
            order = strcmp((*place)->labels, wanted);
        if (order >= 0)
            break;
    }
    if (*place == NULL || order != 0) {
        ShMetric *metric = create(kind, in_seconds, name, wanted, help);
        metric->next = *place;
        *place = metric;
    }
    ShMetric *found = *place;
    pthread_mutex_unlock(&list_lock);
    return found;
}

static ShMetric *create(MetricKind kind, bool in_seconds, const char *name, const char *labels,
                        const char *help)
{
    ShMetric *metric = calloc(1, sizeof *metric);
    if (metric == NULL)
        die("memory is short", name);
    metric->kind = kind;
    metric->in_seconds = in_seconds;
    metric->name = copy_text(name);
    metric->labels = copy_text(labels);
    metric->help = copy_text(help);
    return metric;
}

static char *copy_text(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        die("memory is short", text);
    return copy;
}

static void die(const char *reason, const char *name)
{
    fprintf(stderr, "metrics: %s: %s\n", name, reason);
    abort();
}

static ShStatus print_heading(ShScratch *out, const ShMetric *metric, ShError *err)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    ShStatus status = append(out, err, "# HELP %s %s\n", metric->name, metric->help);
    if (status == SH_OK)
        status = append(out, err, "# TYPE %s %s\n", metric->name, kinds[metric->kind]);
    return status;
}

static ShStatus print_sample(ShScratch *out, const ShMetric *metric, ShError *err)
{
    int64_t value = sh_metric_value(metric);
    const char *open = metric->labels[0] != '\0' ? "{" : "";
    const char *close = metric->labels[0] != '\0' ? "}" : "";
    if (metric->in_seconds)
        return append(out, err, "%s%s%s%s %.6f\n", metric->name, open, metric->labels, close,
                      (double)value / 1e6);
    return append(out, err, "%s%s%s%s %lld\n", metric->name, open, metric->labels, close, (long long)value);
}

static ShStatus print_histogram(ShScratch *out, const ShMetric *metric, ShError *err)
{
    const char *comma = metric->labels[0] != '\0' ? "," : "";
    int64_t below = 0;
    int64_t bound_us = FIRST_BUCKET_US;
    for (int i = 0; i < BUCKET_COUNT; i++, bound_us *= 2) {
        below += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
        ShStatus status = append(out, err, "%s_bucket{%s%sle=\"%.10g\"} %lld\n", metric->name, metric->labels,
                                 comma, (double)bound_us / 1e6, (long long)below);
        if (status != SH_OK)
            return status;
    }
    below += atomic_load_explicit(&metric->buckets[BUCKET_COUNT], memory_order_relaxed);
    double sum = (double)atomic_load_explicit(&metric->value, memory_order_relaxed) / 1e6;
    const char *open = metric->labels[0] != '\0' ? "{" : "";
    const char *close = metric->labels[0] != '\0' ? "}" : "";
    ShStatus status = append(out, err, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", metric->name, metric->labels,
                             comma, (long long)below);
    if (status == SH_OK)
        status = append(out, err, "%s_sum%s%s%s %.6f\n", metric->name, open, metric->labels, close, sum);
    if (status == SH_OK)
        status = append(out, err, "%s_count%s%s%s %lld\n", metric->name, open, metric->labels, close,
                        (long long)below);
    return status;
}

static ShStatus append(ShScratch *out, ShError *err, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    int length = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof line)
        return sh_fail(err, SH_TOO_LARGE, "a metric's line is longer than %zu bytes", sizeof line);

    size_t needed = out->length + (size_t)length;
    if (needed > out->capacity) {
        ShStatus status = sh_scratch_reserve(out, 2 * needed, err);
        if (status != SH_OK)
            return status;
    }
    memcpy(out->data + out->length, line, (size_t)length);
    out->length = needed;
    return SH_OK;
}
