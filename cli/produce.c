#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/key.h"
#include "cli/parse.h"
#include "cli/producing.h"
#include "cli/progress.h"

#define FAILURES_SHOWN_MAX 5
#define FLUSH_STEP_MS      200

typedef struct Job {
    const char *topic;
    const char *file; /* NULL: stdin */
    const char *acks_file;
    int32_t partition;
    int64_t rate; /* records a second; 0: as fast as they go */
    ShKeyRule key;
    ShProducerOptions producer;

    /* While it runs. The delivery callback comes from the producer's thread. */
    FILE *acks;
    pthread_mutex_t lock; /* guards what follows */
    int64_t acknowledged;
    int64_t failed;
    bool acks_broken;
} Job;

static int parse_options(Job *job, int argc, char **argv);
static int run_job(ShCli *cli, Job *job, FILE *input);
static bool produce_lines(Job *job, ShProducer *producer, FILE *input, int64_t *lines, int64_t *bytes);
static void produce_line(Job *job, ShProducer *producer, const char *text, size_t length, int64_t number);
static void keep_rate(const Job *job, int64_t started_us, int64_t lines);
static void wait_for_answers(ShProducer *producer, ShProgress *progress, int64_t lines, int64_t bytes);
static void on_delivery(const ShDelivery *delivery, void *context);
static void fail_line(Job *job, int64_t number, const char *message);

int sh_cli_produce(ShCli *cli, int argc, char **argv)
{
    Job job = {.partition = SH_PARTITION_ANY, .lock = PTHREAD_MUTEX_INITIALIZER};
    sh_producer_options_init(&job.producer);
    job.producer.on_delivery = on_delivery;
    job.producer.on_delivery_context = &job;
    int code = parse_options(&job, argc, argv);
    if (code != SH_EXIT_OK)
        return code;

    FILE *input = job.file != NULL ? fopen(job.file, "r") : stdin;
    if (input == NULL)
        return sh_cli_fail("cannot read %s: %s", job.file, strerror(errno));
    job.acks = job.acks_file != NULL ? fopen(job.acks_file, "w") : NULL;
    if (job.acks_file != NULL && job.acks == NULL)
        code = sh_cli_fail("cannot write %s: %s", job.acks_file, strerror(errno));
    else
        code = run_job(cli, &job, input);

    if (job.acks != NULL && fclose(job.acks) != 0)
        code = sh_cli_fail("cannot write %s: %s", job.acks_file, strerror(errno));
    if (job.file != NULL)
        fclose(input);
    return code;
}

static int parse_options(Job *job, int argc, char **argv)
{
    static const struct option options[] = {{"file", required_argument, NULL, 'f'},
                                            {"key-json", required_argument, NULL, 'j'},
                                            {"key-separator", required_argument, NULL, 's'},
                                            {"partition", required_argument, NULL, 'p'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"acks-file", required_argument, NULL, 'a'},
                                            SH_PRODUCING_OPTIONS};
    int64_t number = 0;
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 'f':
            job->file = strcmp(optarg, "-") == 0 ? NULL : optarg;
            break;
        case 'a':
            job->acks_file = optarg;
            break;
        case 'j':
            job->key.json_field = optarg;
            break;
        case 's':
            if (strlen(optarg) != 1)
                return sh_cli_misuse("--key-separator is one character, not \"%s\"", optarg);
            job->key.separator = optarg[0];
            break;
        case 'p':
            if (!sh_parse_number(optarg, 0, INT32_MAX, &number))
                return sh_cli_misuse("--partition %s is not a whole number from 0", optarg);
            job->partition = (int32_t)number;
            break;
        case 'r':
            if (!sh_parse_number(optarg, 1, 1000000000, &job->rate))
                return sh_cli_misuse("--rate %s is not a number of records a second", optarg);
            break;
        default: {
            int code = sh_cli_take_producing(&job->producer, option, optarg);
            if (code != -1)
                return code == -2 ? sh_cli_bad_option(argc, argv, option) : code;
        }
        }
    }
    if (job->key.json_field != NULL && job->key.separator != '\0')
        return sh_cli_misuse("--key-json and --key-separator exclude each other");
    job->topic = sh_cli_topic_argument(argc, argv);
    return job->topic != NULL ? SH_EXIT_OK : SH_EXIT_USAGE;
}

static int run_job(ShCli *cli, Job *job, FILE *input)
{
    ShError error;
    int32_t partitions = 0;
    ShProducer *producer = NULL;
    if (sh_client_partition_count(cli->client, job->topic, SH_CLI_TIMEOUT_MS, &partitions, &error) != SH_OK)
        return sh_cli_fail("%s", error.message);
    if (job->partition >= partitions)
        return sh_cli_fail("topic \"%s\" has no partition %" PRId32 "; they go from 0 to %" PRId32,
                           job->topic, job->partition, partitions - 1);
    if (sh_producer_new(cli->client, &job->producer, &producer, &error) != SH_OK)
        return sh_cli_fail("%s", error.message);

    sh_cli_catch_signals();
    int64_t lines = 0;
    int64_t bytes = 0;
    int64_t started_ms = sh_cli_now_ms();
    bool read_all = produce_lines(job, producer, input, &lines, &bytes);
    sh_producer_close(producer);
    double seconds = (double)(sh_cli_now_ms() - started_ms) / 1000;

    char count[SH_FORMAT_BYTES], size[SH_FORMAT_BYTES];
    printf("Produced %s %s to %s in %.2f s (%s read).\n", sh_format_count(job->acknowledged, count),
           job->acknowledged == 1 ? "record" : "records", job->topic, seconds, sh_format_size(bytes, size));
    if (job->failed > 0)
        return sh_cli_fail("%" PRId64 " of %" PRId64 " records failed", job->failed, lines);
    if (job->acks_broken)
        return sh_cli_fail("cannot write %s", job->acks_file);
    if (!read_all)
        return sh_cli_fail("cannot read %s to its end: %s",
                           job->file != NULL ? job->file : "the standard input", strerror(errno));
    return sh_cli_interrupted ? SH_EXIT_FAILED : SH_EXIT_OK;
}

/* False when the input failed; an interruption ends it like its end. */
static bool produce_lines(Job *job, ShProducer *producer, FILE *input, int64_t *lines, int64_t *bytes)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = 0;
    ShProgress progress;
    int64_t started_us = sh_cli_now_us();
    sh_progress_start(&progress);
    while (!sh_cli_interrupted && (length = getline(&line, &capacity, input)) != -1) {
        size_t text_length = (size_t)length;
        if (text_length > 0 && line[text_length - 1] == '\n')
            text_length--;
        ++*lines;
        *bytes += (int64_t)text_length;
        produce_line(job, producer, line, text_length, *lines);
        sh_progress_update(&progress, *lines, *bytes);
        keep_rate(job, started_us, *lines);
    }
    bool good = ferror(input) == 0 || sh_cli_interrupted;
    free(line);
    wait_for_answers(producer, &progress, *lines, *bytes);
    sh_progress_end(&progress);
    return good;
}

static void produce_line(Job *job, ShProducer *producer, const char *text, size_t length, int64_t number)
{
    ShRecord record = {.value = (const uint8_t *)text, .value_length = length};
    ShKey key;
    ShError error;
    ShStatus status = sh_key_extract(&job->key, &record, &key, &error);
    if (status == SH_OK) {
        status = sh_producer_produce(producer, job->topic, job->partition, &record, NULL, 0,
                                     (void *)(uintptr_t)number, &error);
        sh_key_release(&key);
    }
    if (status != SH_OK)
        fail_line(job, number, error.message);
}

/* Wait until the next record's time has come; a signal ends the wait. */
static void keep_rate(const Job *job, int64_t started_us, int64_t lines)
{
    if (job->rate == 0)
        return;
    int64_t due_us = started_us + (int64_t)((double)lines * 1e6 / (double)job->rate);
    struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

/* The delivery time-out ends this too. A second signal ends the program. */
static void wait_for_answers(ShProducer *producer, ShProgress *progress, int64_t lines, int64_t bytes)
{
    while (sh_producer_flush(producer, FLUSH_STEP_MS, NULL) == SH_TIMEOUT)
        sh_progress_update(progress, lines, bytes);
}

static void on_delivery(const ShDelivery *delivery, void *context)
{
    Job *job = context;
    int64_t number = (int64_t)(uintptr_t)delivery->opaque;
    if (delivery->error != NULL) {
        fail_line(job, number, delivery->error->message);
        return;
    }
    bool broken = job->acks != NULL && (fprintf(job->acks, "%" PRId64 " %" PRId32 " %" PRId64 "\n", number,
                                                delivery->partition, delivery->offset) < 0 ||
                                        fflush(job->acks) != 0);
    pthread_mutex_lock(&job->lock);
    job->acknowledged++;
    job->acks_broken = job->acks_broken || broken;
    pthread_mutex_unlock(&job->lock);
}

static void fail_line(Job *job, int64_t number, const char *message)
{
    pthread_mutex_lock(&job->lock);
    int64_t failed = ++job->failed;
    pthread_mutex_unlock(&job->lock);
    if (failed <= FAILURES_SHOWN_MAX)
        (void)sh_cli_fail("line %" PRId64 ": %s", number, message);
}
