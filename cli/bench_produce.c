#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/histogram.h"
#include "cli/parse.h"
#include "cli/producing.h"
#include "cli/progress.h"

#define FLUSH_STEP_MS         200
#define SAMPLE_EVERY          16   /* every so many records the latency is taken */
#define PAYLOAD_VARIETY_BYTES 4096 /* records start at different places of random bytes this much longer */

typedef struct Bench {
    const char *topic;
    int64_t records;
    int64_t record_bytes;
    ShProducerOptions producer;
    ShHistogram latency_us; /* the producer's thread fills it; read once the producer is closed */
    int64_t acknowledged;
    int64_t failed;
} Bench;

static int parse_options(Bench *bench, int argc, char **argv);
static uint8_t *make_payload(int64_t bytes);
static ShStatus produce_all(Bench *bench, ShProducer *producer, const uint8_t *payload, ShError *err);
static void on_delivery(const ShDelivery *delivery, void *context);
static int report(const Bench *bench, double seconds);

int sh_cli_bench_produce(ShCli *cli, int argc, char **argv)
{
    Bench *bench = calloc(1, sizeof *bench);
    if (bench == NULL)
        return sh_cli_fail("no memory");
    bench->records = 1000000;
    bench->record_bytes = 100;
    sh_producer_options_init(&bench->producer);
    bench->producer.on_delivery = on_delivery;
    bench->producer.on_delivery_context = bench;
    ShProducer *producer = NULL;
    uint8_t *payload = NULL;
    ShError error;
    int code = parse_options(bench, argc, argv);
    if (code != SH_EXIT_OK)
        goto done;
    payload = make_payload(bench->record_bytes);
    if (payload == NULL) {
        code = sh_cli_fail("no memory for a record of %" PRId64 " bytes", bench->record_bytes);
        goto done;
    }
    ShStatus status = sh_producer_new(cli->client, &bench->producer, &producer, &error);
    int64_t started_us = sh_cli_now_us();
    sh_cli_catch_signals();
    if (status == SH_OK)
        status = produce_all(bench, producer, payload, &error);
    double seconds = (double)(sh_cli_now_us() - started_us) / 1e6;
    sh_producer_close(producer);
    code = status == SH_OK ? report(bench, seconds) : sh_cli_fail("%s", error.message);
done:
    free(payload);
    free(bench);
    return code;
}

static int parse_options(Bench *bench, int argc, char **argv)
{
    static const struct option options[] = {{"records", required_argument, NULL, 'n'},
                                            {"record-size", required_argument, NULL, 's'},
                                            SH_PRODUCING_OPTIONS};
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 'n':
            if (!sh_parse_number(optarg, 1, INT64_MAX, &bench->records))
                return sh_cli_misuse("--records %s is not a number of records", optarg);
            break;
        case 's':
            if (!sh_parse_bytes(optarg, &bench->record_bytes) || bench->record_bytes > 1 << 20)
                return sh_cli_misuse("--record-size %s is not a size such as 100 or 1kB, up to 1MB", optarg);
            break;
        default: {
            int code = sh_cli_take_producing(&bench->producer, option, optarg);
            if (code != -1)
                return code == -2 ? sh_cli_bad_option(argc, argv, option) : code;
        }
        }
    }
    bench->topic = sh_cli_topic_argument(argc, argv);
    return bench->topic != NULL ? SH_EXIT_OK : SH_EXIT_USAGE;
}

/* Random letters: neither zeroes, which compress to nothing, nor noise, which does not compress at all. */
static uint8_t *make_payload(int64_t bytes)
{
    size_t length = (size_t)bytes + PAYLOAD_VARIETY_BYTES;
    uint8_t *payload = malloc(length);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; payload != NULL && i < length; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        payload[i] = (uint8_t)('a' + x % 26);
    }
    return payload;
}

static ShStatus produce_all(Bench *bench, ShProducer *producer, const uint8_t *payload, ShError *err)
{
    ShProgress progress;
    sh_progress_start(&progress);
    ShStatus status = SH_OK;
    int64_t sent = 0;
    for (; sent < bench->records && !sh_cli_interrupted && status == SH_OK; sent++) {
        ShRecord record = {.value = payload + (sent * 61) % PAYLOAD_VARIETY_BYTES,
                           .value_length = (size_t)bench->record_bytes};
        status = sh_producer_produce(producer, bench->topic, SH_PARTITION_ANY, &record, NULL, 0,
                                     (void *)(uintptr_t)(sent % SAMPLE_EVERY == 0 ? sh_cli_now_us() : 0),
                                     err);
        if (sent % 1024 == 0)
            sh_progress_update(&progress, sent, sent * bench->record_bytes);
    }
    while (status == SH_OK && sh_producer_flush(producer, FLUSH_STEP_MS, NULL) == SH_TIMEOUT)
        sh_progress_update(&progress, sent, sent * bench->record_bytes);
    sh_progress_end(&progress);
    return status;
}

static void on_delivery(const ShDelivery *delivery, void *context)
{
    Bench *bench = context;
    if (delivery->error == NULL) {
        bench->acknowledged++;
        if (delivery->opaque != NULL)
            sh_histogram_add(&bench->latency_us, sh_cli_now_us() - (int64_t)(uintptr_t)delivery->opaque);
    } else if (bench->failed++ == 0) {
        (void)sh_cli_fail("%s", delivery->error->message);
    }
}

static int report(const Bench *bench, double seconds)
{
    const ShHistogram *latency = &bench->latency_us;
    double records = (double)bench->acknowledged;
    printf("{\"bench\":\"produce\",\"topic\":\"%s\",\"records\":%" PRId64 ",\"record_bytes\":%" PRId64
           ",\"failed\":%" PRId64 ",\"seconds\":%.3f,\"records_per_s\":%.0f,\"mb_per_s\":%.2f,"
           "\"latency_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}}\n",
           bench->topic, bench->acknowledged, bench->record_bytes, bench->failed, seconds, records / seconds,
           records * (double)bench->record_bytes / seconds / 1e6,
           (double)sh_histogram_percentile(latency, 50) / 1000,
           (double)sh_histogram_percentile(latency, 99) / 1000, (double)latency->max / 1000);
    return bench->failed == 0 ? SH_EXIT_OK : SH_EXIT_FAILED;
}
