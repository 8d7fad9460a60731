/*
 * bench_throttle.c - what the gate before S3 costs a request, on one core and on two, against a plain atomic
 * increment; and a scenario: S3 takes 50 PUTs a second, four uploaders want more. How much is refused?
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/store/store.h"
#include "agent/store/throttle.h"
#include "bench/json_line.h"
#include "tests/harness/throttling_server.h"

#define CALLS_COUNT 10000000ll
/* At this rate the tokens of one moment, a tenth of a second's, last for a run: each call gets one. */
#define BENCH_RATE   1000000000ll
#define NOW_US       1000000ll
#define SERVER_RATE  50
#define UPLOADERS    4
#define UNGUARDED_S  10
#define ADAPTING_S   45
#define ADAPTED_S    60
#define OBJECT_BYTES 1024

/* --- nanoseconds a call ------------------------------------------------------------------------------------
 */

static ShRateLimit limit;
static ShThrottle *throttle;
static atomic_int_fast64_t counter;
static atomic_int_fast64_t sink;

static void increment(int64_t calls)
{
    for (int64_t i = 0; i < calls; i++)
        atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
}

static void take_tokens(int64_t calls)
{
    int64_t waits = 0;
    for (int64_t i = 0; i < calls; i++)
        waits += sh_rate_limit_take(&limit, NOW_US * 1000);
    if (waits > 0)
        exit(1);
}

static void pass_gate(int64_t calls)
{
    for (int64_t i = 0; i < calls; i++) {
        ShThrottleTicket ticket;
        int64_t wait_us;
        if (sh_throttle_ask(throttle, SH_THROTTLE_PUT, NOW_US, &ticket, &wait_us) == SH_THROTTLE_ALLOWED)
            sh_throttle_report(throttle, SH_THROTTLE_PUT, &ticket, SH_THROTTLE_ANSWERED, 0, NOW_US);
        else
            exit(1);
    }
}

static void read_clock(int64_t calls)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < calls; i++)
        sum += sh_clock_now_us();
    atomic_fetch_add(&sink, sum);
}

typedef void (*Work)(int64_t calls);

static void *run_work(void *arg)
{
    (*(const Work *)arg)(CALLS_COUNT);
    return NULL;
}

static void start_gate(void)
{
    const ShConfig config = {.throttle_put_rate = BENCH_RATE};
    sh_rate_limit_init(&limit, BENCH_RATE);
    throttle = sh_throttle_new(&config);
    if (throttle == NULL)
        exit(1);
}

static void stop_gate(void)
{
    sh_throttle_free(throttle);
    sh_rate_limit_destroy(&limit);
}

/* Nanoseconds a call, of each thread; the best of some runs, as neighbours only ever add. */
static double measure(Work work, int threads)
{
    double best = 1e9;
    for (int run = 0; run < 5; run++) {
        pthread_t ids[2];
        start_gate();
        int64_t begun_us = sh_bench_now_us();
        for (int i = 0; i < threads; i++)
            if (pthread_create(&ids[i], NULL, run_work, &work) != 0)
                exit(1);
        for (int i = 0; i < threads; i++)
            pthread_join(ids[i], NULL);
        stop_gate();
        double ns = (double)(sh_bench_now_us() - begun_us) * 1e3 / (double)CALLS_COUNT;
        best = ns < best ? ns : best;
    }
    return best;
}

static void measure_calls(void)
{
    static const struct {
        const char *name;
        Work work;
    } works[] = {{"taking a token", take_tokens},
                 {"asking and reporting", pass_gate},
                 {"reading the clock", read_clock}};
    char figure[96];
    for (int threads = 1; threads <= 2; threads++) {
        double reference = measure(increment, threads);
        for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
            snprintf(figure, sizeof figure, "%s, %d thread%s", works[i].name, threads,
                     threads > 1 ? "s" : "");
            sh_bench_line_against("throttle", figure, measure(works[i].work, threads), "ns/call",
                                  "an atomic increment", reference);
        }
    }
}

/* --- S3 that takes 50 PUTs a second ------------------------------------------------------------------------
 */

static atomic_bool stopping;

/* An uploader that does not give up, as sh_upload_flight. */
static void *upload(void *arg)
{
    ShStore *store = arg;
    static char bytes[OBJECT_BYTES];
    const struct iovec piece = {.iov_base = bytes, .iov_len = sizeof bytes};
    while (!atomic_load(&stopping)) {
        ShError err;
        if (sh_store_put(store, "object", &piece, 1, sizeof bytes, &err) != SH_OK)
            nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return NULL;
}

static void tell_share(const ThrottlingServer *server, const char *when, int seconds, long taken_before,
                       long refused_before)
{
    char figure[96];
    double taken = (double)(atomic_load(&server->taken) - taken_before);
    double refused = (double)(atomic_load(&server->refused) - refused_before);
    snprintf(figure, sizeof figure, "refused PUTs, S3 takes %d/s, %s", SERVER_RATE, when);
    sh_bench_line("throttle", figure, 100 * refused / (taken + refused), "%");
    snprintf(figure, sizeof figure, "stored objects, S3 takes %d/s, %s", SERVER_RATE, when);
    sh_bench_line_against("throttle", figure, taken / seconds, "objects/s", "what S3 takes", SERVER_RATE);
}

static void run_scenario(ShConfig *config)
{
    ThrottlingServer server;
    ShStore *store = NULL;
    ShError err;
    pthread_t uploaders[UPLOADERS];
    if (!throttling_start(&server, SERVER_RATE)) {
        fprintf(stderr, "bench: no server\n");
        exit(1);
    }
    config->s3_endpoint = server.endpoint;
    if (sh_store_open(config, &store, &err) != SH_OK) {
        fprintf(stderr, "bench: %s\n", err.message);
        exit(1);
    }
    const char *words = config->throttle_enabled ? "adapting" : "without the gate";
    for (int i = 0; i < UPLOADERS; i++)
        if (pthread_create(&uploaders[i], NULL, upload, store) != 0)
            exit(1);
    int adapting_s = config->throttle_enabled ? ADAPTING_S : UNGUARDED_S;
    nanosleep(&(struct timespec){.tv_sec = adapting_s}, NULL);
    tell_share(&server, words, adapting_s, 0, 0);
    if (config->throttle_enabled) {
        long taken = atomic_load(&server.taken);
        long refused = atomic_load(&server.refused);
        nanosleep(&(struct timespec){.tv_sec = ADAPTED_S}, NULL);
        tell_share(&server, "adapted", ADAPTED_S, taken, refused);
    }
    atomic_store(&stopping, true);
    for (int i = 0; i < UPLOADERS; i++)
        pthread_join(uploaders[i], NULL);
    atomic_store(&stopping, false);
    sh_store_close(store);
    throttling_stop(&server);
}

int main(void)
{
    ShConfig *config = NULL;
    ShError err;
    char *variables[] = {"STREAMHOUSE_STORE=s3",           "STREAMHOUSE_S3_BUCKET=bucket",
                         "STREAMHOUSE_S3_ACCESS_KEY=key",  "STREAMHOUSE_S3_SECRET_KEY=secret",
                         "STREAMHOUSE_S3_PATH_STYLE=true", NULL};
    if (sh_config_load(NULL, variables, &config, &err) != SH_OK) {
        fprintf(stderr, "bench: %s\n", err.message);
        return 1;
    }
    sh_log_setup(SH_LOG_ERROR, SH_LOG_TEXT);
    measure_calls();
    config->throttle_enabled = false;
    run_scenario(config);
    config->throttle_enabled = true;
    run_scenario(config);
    return 0;
}
