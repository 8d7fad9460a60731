#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/parse.h"
#include "cli/print.h"
#include "cli/progress.h"

#define POLL_MS 200

typedef struct Job {
    const char *topic;
    int32_t partition; /* SH_PARTITION_ANY: all */
    ShStart start;
    bool follow;
    int64_t records_max;
    ShPrintFn print;

    ShConsumer *consumer;
    int32_t first, last; /* the partitions that are read */
    int64_t *ends;       /* of each: where to stop, unless it follows */
    int64_t records;
    int64_t bytes;
} Job;

static int parse_options(Job *job, int argc, char **argv);
static ShStatus assign_all(Job *job, ShClient *client, ShError *err);
static int run_job(Job *job);
static bool is_done(const Job *job);
static bool print_messages(Job *job, const ShMessage *messages, size_t count);

int sh_cli_consume(ShCli *cli, int argc, char **argv)
{
    Job job = {.partition = SH_PARTITION_ANY,
               .start = {SH_START_EARLIEST, 0},
               .records_max = INT64_MAX,
               .print = sh_print_text};
    int code = parse_options(&job, argc, argv);
    if (code != SH_EXIT_OK)
        return code;

    ShError error;
    ShConsumerOptions options;
    sh_consumer_options_init(&options);
    ShStatus status = sh_consumer_new(cli->client, &options, &job.consumer, &error);
    if (status == SH_OK)
        status = assign_all(&job, cli->client, &error);
    code = status == SH_OK ? run_job(&job) : sh_cli_fail("%s", error.message);
    sh_consumer_close(job.consumer);
    free(job.ends);
    return code;
}

static int parse_options(Job *job, int argc, char **argv)
{
    static const struct option options[] = {
        {"partition", required_argument, NULL, 'p'}, {"from", required_argument, NULL, 'b'},
        {"follow", no_argument, NULL, 'f'},          {"max", required_argument, NULL, 'm'},
        {"output", required_argument, NULL, 'o'},    {0}};
    int64_t number = 0;
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            if (!sh_parse_number(optarg, 0, INT32_MAX, &number))
                return sh_cli_misuse("--partition %s is not a whole number from 0", optarg);
            job->partition = (int32_t)number;
            break;
        case 'b':
            if (!sh_parse_start(optarg, &job->start))
                return sh_cli_misuse(
                    "--from %s is not earliest, latest, an offset, @milliseconds or a time such as "
                    "2018-02-01T12:00:00Z",
                    optarg);
            break;
        case 'f':
            job->follow = true;
            break;
        case 'm':
            if (!sh_parse_number(optarg, 1, INT64_MAX, &job->records_max))
                return sh_cli_misuse("--max %s is not a number of records", optarg);
            break;
        case 'o':
            job->print = sh_print_find(optarg);
            if (job->print == NULL)
                return sh_cli_misuse("--output is text, json or value, not %s", optarg);
            break;
        default:
            return sh_cli_bad_option(argc, argv, option);
        }
    }
    job->topic = sh_cli_topic_argument(argc, argv);
    return job->topic != NULL ? SH_EXIT_OK : SH_EXIT_USAGE;
}

static ShStatus assign_all(Job *job, ShClient *client, ShError *err)
{
    int32_t count = 0;
    ShStatus status = sh_client_partition_count(client, job->topic, SH_CLI_TIMEOUT_MS, &count, err);
    if (status != SH_OK)
        return status;
    job->first = job->partition == SH_PARTITION_ANY ? 0 : job->partition;
    job->last = job->partition == SH_PARTITION_ANY ? count - 1 : job->partition;
    job->ends = calloc((size_t)(job->last - job->first) + 1, sizeof *job->ends);
    if (job->ends == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for %d partitions", count);

    for (int32_t p = job->first; p <= job->last && status == SH_OK; p++) {
        int64_t *end = &job->ends[p - job->first];
        *end = INT64_MAX;
        status = sh_consumer_assign(job->consumer, job->topic, p, job->start, err);
        if (status == SH_OK && !job->follow)
            status = sh_consumer_end_offset(job->consumer, job->topic, p, end, err);
    }
    return status;
}

static int run_job(Job *job)
{
    ShProgress progress;
    sh_progress_start(&progress);
    progress.enabled = progress.enabled && !job->follow;
    sh_cli_catch_signals();
    int code = SH_EXIT_OK;
    while (!sh_cli_interrupted && code == SH_EXIT_OK && !is_done(job)) {
        const ShMessage *messages = NULL;
        size_t count = 0;
        ShError error;
        if (sh_consumer_poll(job->consumer, POLL_MS, &messages, &count, &error) != SH_OK)
            code = sh_cli_fail("%s", error.message);
        else if (!print_messages(job, messages, count))
            code = sh_cli_fail("cannot write to the standard output");
        sh_progress_update(&progress, job->records, job->bytes);
    }
    sh_progress_end(&progress);
    return code;
}

static bool is_done(const Job *job)
{
    if (job->records >= job->records_max)
        return true;
    for (int32_t p = job->first; p <= job->last; p++) {
        int64_t position = 0;
        if (sh_consumer_position(job->consumer, job->topic, p, &position, NULL) != SH_OK ||
            position < job->ends[p - job->first])
            return false;
    }
    return true;
}

/* What was appended after the start is left out, unless it follows. */
static bool print_messages(Job *job, const ShMessage *messages, size_t count)
{
    for (size_t i = 0; i < count && job->records < job->records_max; i++) {
        const ShMessage *message = &messages[i];
        if (message->record.offset >= job->ends[message->partition - job->first])
            continue;
        if (!job->print(stdout, message))
            return false;
        job->records++;
        job->bytes += (int64_t)message->record.value_length;
    }
    return !job->follow || count == 0 || fflush(stdout) == 0;
}
