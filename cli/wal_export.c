#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/parse.h"
#include "cli/print.h"
#include "cli/wal.h"

#define DECOMPRESSED_BYTES_MAX ((size_t)1 << 30)

/* What is asked for, and the state of writing it. */
typedef struct Export {
    bool has_topic, has_partition, has_epoch;
    ShUuid topic_id;
    int64_t partition;
    int64_t epoch;
    bool raw;
    ShScratch scratch;
    const char *dir;
    size_t holes;
} Export;

static int take_options(int argc, char **argv, Export *export);
static int export_all(const ShWalSurvey *survey, Export *export);
static ShStatus write_batch(void *arg, const ShWalSurveyFile *file, int64_t position, const ShWalFrame *frame,
                            const uint8_t *batch, ShError *err);
static ShStatus write_records(Export *export, const ShWalFrame *frame, const uint8_t *batch, ShError *err);
static ShStatus write_record(const ShWalFrame *frame, const ShRecord *record, ShError *err);
static ShStatus say_hole(void *arg, const ShWalSurveyFile *file, int64_t from, int64_t to, ShError *err);

int sh_cli_wal_export(ShCli *cli, int argc, char **argv)
{
    (void)cli;
    Export export = {0};
    int code = take_options(argc, argv, &export);
    if (code != SH_EXIT_OK)
        return code;
    export.dir = sh_wal_directory_argument(argc, argv);
    if (export.dir == NULL)
        return SH_EXIT_USAGE;

    ShError error = {0};
    ShWalSurvey *survey = NULL;
    if (sh_wal_open(export.dir, &survey, &error) != SH_OK)
        return sh_cli_fail("%s", error.message);
    code = export_all(survey, &export);
    sh_wal_survey_free(survey);
    return code;
}

static int take_options(int argc, char **argv, Export *export)
{
    static const struct option options[] = {{"topic-id", required_argument, NULL, 't'},
                                            {"partition", required_argument, NULL, 'p'},
                                            {"epoch", required_argument, NULL, 'e'},
                                            {"output", required_argument, NULL, 'o'},
                                            {0}};
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 't':
            if (sh_uuid_parse(optarg, &export->topic_id, NULL) != SH_OK)
                return sh_cli_misuse("--topic-id %s is no UUID; topic describe --output json tells it",
                                     optarg);
            export->has_topic = true;
            break;
        case 'p':
            if (!sh_parse_number(optarg, 0, INT32_MAX, &export->partition))
                return sh_cli_misuse("--partition %s is not a whole number from 0", optarg);
            export->has_partition = true;
            break;
        case 'e':
            if (!sh_parse_number(optarg, 0, INT64_MAX, &export->epoch))
                return sh_cli_misuse("--epoch %s is not a whole number from 0", optarg);
            export->has_epoch = true;
            break;
        case 'o':
            export->raw = strcmp(optarg, "batches") == 0;
            if (!export->raw && strcmp(optarg, "json") != 0)
                return sh_cli_misuse("--output is json or batches, not %s", optarg);
            break;
        default:
            return sh_cli_bad_option(argc, argv, option);
        }
    }
    return SH_EXIT_OK;
}

static int export_all(const ShWalSurvey *survey, Export *export)
{
    ShError error = {0};
    ShStatus status = SH_OK;
    ShWalReading reading = {write_batch, say_hole, export};
    for (size_t i = 0; i < survey->count && status == SH_OK; i++) {
        status = sh_wal_survey_read(survey, &survey->files[i], &reading, &error);
        if (status == SH_NOT_FOUND)
            status = SH_OK; /* a running agent has released it */
    }
    sh_scratch_free(&export->scratch);
    if (status != SH_OK)
        return sh_cli_fail("%s", error.message);
    return export->holes > 0 ? SH_EXIT_FAILED : SH_EXIT_OK;
}

static ShStatus write_batch(void *arg, const ShWalSurveyFile *file, int64_t position, const ShWalFrame *frame,
                            const uint8_t *batch, ShError *err)
{
    (void)file;
    (void)position;
    Export *export = arg;
    if ((export->has_topic && !sh_uuid_equal(&export->topic_id, &frame->topic_id)) ||
        (export->has_partition && export->partition != frame->partition) ||
        (export->has_epoch && export->epoch != frame->epoch))
        return SH_OK;
    if (!export->raw)
        return write_records(export, frame, batch, err);
    if (fwrite(batch, 1, frame->batch_length, stdout) != frame->batch_length)
        return sh_fail(err, SH_IO, "cannot write to the standard output");
    return SH_OK;
}

static ShStatus write_records(Export *export, const ShWalFrame *frame, const uint8_t *batch, ShError *err)
{
    ShBatchReader reader;
    ShRecord record;
    bool more = true;
    ShStatus status = sh_batch_reader_init(&reader, batch, frame->batch_length, DECOMPRESSED_BYTES_MAX,
                                           &export->scratch, err);
    while (status == SH_OK) {
        status = sh_batch_reader_next(&reader, &record, &more, err);
        if (status != SH_OK || !more)
            break;
        status = write_record(frame, &record, err);
    }
    return status;
}

static ShStatus write_record(const ShWalFrame *frame, const ShRecord *record, ShError *err)
{
    char topic_id[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&frame->topic_id, topic_id);
    json_t *object = json_pack("{s:s, s:i, s:I}", "topic_id", topic_id, "partition", (int)frame->partition,
                               "epoch", (json_int_t)frame->epoch);
    bool good = object != NULL && sh_print_add_record(object, record) &&
                json_dumpf(object, stdout, JSON_COMPACT) == 0 && fputc('\n', stdout) != EOF;
    json_decref(object);
    return good ? SH_OK : sh_fail(err, SH_IO, "cannot write to the standard output");
}

static ShStatus say_hole(void *arg, const ShWalSurveyFile *file, int64_t from, int64_t to, ShError *err)
{
    (void)err;
    Export *export = arg;
    export->holes++;
    (void)sh_cli_fail("WAL file %s/%016" PRIx64 ".wal is damaged from position %" PRId64 " to %" PRId64
                      "; what stands there is left out",
                      export->dir, file->no, from, to);
    return SH_OK;
}
