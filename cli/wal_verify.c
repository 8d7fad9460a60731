#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/topic_print.h"
#include "cli/wal.h"

static int report(const ShWalSurvey *survey, bool json);

int sh_cli_wal_verify(ShCli *cli, int argc, char **argv)
{
    (void)cli;
    bool json = false;
    if (sh_topic_output_option(argc, argv, &json) != SH_EXIT_OK)
        return SH_EXIT_USAGE;
    const char *dir = sh_wal_directory_argument(argc, argv);
    if (dir == NULL)
        return SH_EXIT_USAGE;

    ShError error = {0};
    ShWalSurvey *survey = NULL;
    if (sh_wal_open(dir, &survey, &error) != SH_OK)
        return sh_cli_fail("%s", error.message);
    int code = report(survey, json);
    if (sh_wal_survey_check(survey, &error) != SH_OK)
        code = sh_cli_fail("%s", error.message);
    sh_wal_survey_free(survey);
    return code;
}

static int report(const ShWalSurvey *survey, bool json)
{
    int64_t batches = 0, bytes = 0, torn = 0;
    size_t damaged = 0;
    for (size_t i = 0; i < survey->count; i++) {
        const ShWalSurveyFile *file = &survey->files[i];
        batches += file->scan.batches;
        bytes += file->size_bytes;
        damaged += file->damaged;
        torn += file->damaged || file->dead ? 0 : file->scan.torn_bytes;
    }
    if (json) {
        json_t *object = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "good", damaged == 0, "files",
                                   (json_int_t)survey->count, "damaged_files", (json_int_t)damaged, "batches",
                                   (json_int_t)batches, "bytes", (json_int_t)bytes, "torn_bytes",
                                   (json_int_t)torn);
        bool good = object != NULL && json_dumpf(object, stdout, JSON_COMPACT) == 0 &&
                    fputc('\n', stdout) != EOF;
        json_decref(object);
        return good ? SH_EXIT_OK : sh_cli_fail("cannot write to the standard output");
    }
    if (damaged > 0)
        return SH_EXIT_OK; /* the caller tells */
    char count[SH_FORMAT_BYTES], size[SH_FORMAT_BYTES];
    printf("%zu files of %s, %s batches: good", survey->count, sh_format_size(bytes, size),
           sh_format_count(batches, count));
    if (torn > 0)
        printf(" (behind them %s that a crash left unfinished, nothing of it acknowledged)",
               sh_format_size(torn, size));
    putchar('\n');
    return SH_EXIT_OK;
}
