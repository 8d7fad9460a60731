#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/histogram.h"
#include "cli/parse.h"
#include "cli/progress.h"

#define POLL_MS        200
#define SILENCE_MAX_MS 5000 /* a topic that gives nothing for so long has no more records */

typedef struct Bench {
    const char *topic;
    int64_t records_max;
    int64_t records;
    int64_t bytes;       /* of keys and values */
    ShHistogram wait_us; /* for each batch of records */
} Bench;

static int parse_options(Bench *bench, int argc, char **argv);
static ShStatus assign_all(const Bench *bench, ShClient *client, ShConsumer *consumer, ShError *err);
static ShStatus consume_all(Bench *bench, ShConsumer *consumer, double *seconds, ShError *err);
static int report(const Bench *bench, double seconds);

int sh_cli_bench_consume(ShCli *cli, int argc, char **argv)
{
    static Bench bench = {.records_max = 1000000}; /* too large for the stack */
    int code = parse_options(&bench, argc, argv);
    if (code != SH_EXIT_OK)
        return code;

    ShError error;
    ShConsumer *consumer = NULL;
    ShConsumerOptions options;
    sh_consumer_options_init(&options);
    double seconds = 0;
    ShStatus status = sh_consumer_new(cli->client, &options, &consumer, &error);
    if (status == SH_OK)
        status = assign_all(&bench, cli->client, consumer, &error);
    if (status == SH_OK)
        status = consume_all(&bench, consumer, &seconds, &error);
    code = status == SH_OK ? report(&bench, seconds) : sh_cli_fail("%s", error.message);
    sh_consumer_close(consumer);
    return code;
}

static int parse_options(Bench *bench, int argc, char **argv)
{
    static const struct option options[] = {{"records", required_argument, NULL, 'n'}, {0}};
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (option != 'n')
            return sh_cli_bad_option(argc, argv, option);
        if (!sh_parse_number(optarg, 1, INT64_MAX, &bench->records_max))
            return sh_cli_misuse("--records %s is not a number of records", optarg);
    }
    bench->topic = sh_cli_topic_argument(argc, argv);
    return bench->topic != NULL ? SH_EXIT_OK : SH_EXIT_USAGE;
}

static ShStatus assign_all(const Bench *bench, ShClient *client, ShConsumer *consumer, ShError *err)
{
    int32_t count = 0;
    ShStatus status = sh_client_partition_count(client, bench->topic, SH_CLI_TIMEOUT_MS, &count, err);
    for (int32_t p = 0; p < count && status == SH_OK; p++)
        status = sh_consumer_assign(consumer, bench->topic, p, (ShStart){SH_START_EARLIEST, 0}, err);
    return status;
}

/* `*seconds` ends with the last record, not with the silence after it. */
static ShStatus consume_all(Bench *bench, ShConsumer *consumer, double *seconds, ShError *err)
{
    ShProgress progress;
    sh_progress_start(&progress);
    sh_cli_catch_signals();
    int64_t started_us = sh_cli_now_us();
    int64_t last_us = started_us;
    ShStatus status = SH_OK;
    while (status == SH_OK && bench->records < bench->records_max && !sh_cli_interrupted &&
           sh_cli_now_us() - last_us < SILENCE_MAX_MS * 1000) {
        const ShMessage *messages = NULL;
        size_t count = 0;
        int64_t asked_us = sh_cli_now_us();
        status = sh_consumer_poll(consumer, POLL_MS, &messages, &count, err);
        if (count == 0)
            continue;
        last_us = sh_cli_now_us();
        sh_histogram_add(&bench->wait_us, last_us - asked_us);
        bench->records += (int64_t)count;
        for (size_t i = 0; i < count; i++)
            bench->bytes += (int64_t)(messages[i].record.key_length + messages[i].record.value_length);
        sh_progress_update(&progress, bench->records, bench->bytes);
    }
    sh_progress_end(&progress);
    *seconds = (double)(last_us - started_us) / 1e6;
    return status;
}

static int report(const Bench *bench, double seconds)
{
    if (bench->records == 0)
        return sh_cli_fail("topic \"%s\" has no records", bench->topic);
    double records = (double)bench->records;
    printf("{\"bench\":\"consume\",\"topic\":\"%s\",\"records\":%" PRId64 ",\"bytes\":%" PRId64
           ",\"seconds\":%.3f,\"records_per_s\":%.0f,\"mb_per_s\":%.2f,"
           "\"batch_wait_ms\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}}\n",
           bench->topic, bench->records, bench->bytes, seconds, records / seconds,
           (double)bench->bytes / seconds / 1e6, (double)sh_histogram_percentile(&bench->wait_us, 50) / 1000,
           (double)sh_histogram_percentile(&bench->wait_us, 99) / 1000, (double)bench->wait_us.max / 1000);
    return SH_EXIT_OK;
}
