#include "cli/wal.h"

#include <getopt.h>
#include <stdlib.h>

#include "cli/cli.h"

static ShStatus count_batch(void *arg, const ShWalSurveyFile *file, int64_t position, const ShWalFrame *frame,
                            const uint8_t *batch, ShError *err);
static ShStatus note_hole(void *arg, const ShWalSurveyFile *file, int64_t from, int64_t to, ShError *err);

ShStatus sh_wal_open(const char *dir, ShWalSurvey **out, ShError *err)
{
    ShStatus status = sh_wal_survey_open(dir, out, err);
    if (status == SH_NOT_FOUND || status == SH_INVALID)
        return sh_fail(err, status, "%s is no write-ahead log: name the directory that is an agent's wal_dir",
                       dir);
    return status;
}

ShStatus sh_wal_content_read(const ShWalSurvey *survey, ShWalContent *out, ShError *err)
{
    ShWalContent content = {.ledger = sh_wal_ledger_new()};
    if (content.ledger == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory to count what the WAL holds");
    ShWalReading reading = {count_batch, note_hole, &content};
    ShStatus status = SH_OK;
    for (size_t i = 0; i < survey->count && status == SH_OK; i++) {
        status = sh_wal_survey_read(survey, &survey->files[i], &reading, err);
        if (status == SH_NOT_FOUND)
            status = SH_OK;
    }
    if (status == SH_OK)
        *out = content;
    else
        sh_wal_content_free(&content);
    return status;
}

void sh_wal_content_free(ShWalContent *content)
{
    sh_wal_ledger_free(content->ledger);
    free(content->holes);
    *content = (ShWalContent){0};
}

const char *sh_wal_directory_argument(int argc, char **argv)
{
    if (argc - optind == 1 && argv[optind][0] != '\0')
        return argv[optind];
    if (argc - optind > 1)
        (void)sh_cli_misuse("unexpected argument \"%s\" after the directory", argv[optind + 1]);
    else
        (void)sh_cli_misuse("the directory of a write-ahead log is missing");
    return NULL;
}

static ShStatus count_batch(void *arg, const ShWalSurveyFile *file, int64_t position, const ShWalFrame *frame,
                            const uint8_t *batch, ShError *err)
{
    (void)file;
    (void)position;
    const ShWalContent *content = arg;
    return sh_wal_ledger_add(content->ledger, &frame->topic_id, frame->partition, frame->epoch, batch,
                             frame->batch_length, err);
}

static ShStatus note_hole(void *arg, const ShWalSurveyFile *file, int64_t from, int64_t to, ShError *err)
{
    ShWalContent *content = arg;
    ShWalHole *holes = reallocarray(content->holes, content->hole_count + 1, sizeof *holes);
    if (holes == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the holes of the WAL");
    content->holes = holes;
    holes[content->hole_count++] = (ShWalHole){file->no, from, to};
    return SH_OK;
}
