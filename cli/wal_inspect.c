#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/topic_print.h"
#include "cli/wal.h"

static int inspect(const char *dir, bool json, ShError *err);
static const char *state_of(const ShWalSurveyFile *file);
static void print_all(const ShWalSurvey *survey, const ShWalContent *content);
static void print_file(const ShWalSurveyFile *file);
static void print_account(const ShWalAccount *account);
static json_t *all_json(const ShWalSurvey *survey, const ShWalContent *content);
static json_t *file_json(const ShWalSurveyFile *file);
static json_t *account_json(const ShWalAccount *account);
static json_t *holes_json(const ShWalContent *content);

int sh_cli_wal_inspect(ShCli *cli, int argc, char **argv)
{
    (void)cli;
    bool json = false;
    if (sh_topic_output_option(argc, argv, &json) != SH_EXIT_OK)
        return SH_EXIT_USAGE;
    const char *dir = sh_wal_directory_argument(argc, argv);
    if (dir == NULL)
        return SH_EXIT_USAGE;
    ShError error = {0};
    int code = inspect(dir, json, &error);
    return code == SH_EXIT_OK ? code : sh_cli_fail("%s", error.message);
}

/* Damage is what this command is there to show, no failure of it. */
static int inspect(const char *dir, bool json, ShError *err)
{
    ShWalSurvey *survey = NULL;
    ShWalContent content = {0};
    ShStatus status = sh_wal_open(dir, &survey, err);
    if (status == SH_OK)
        status = sh_wal_content_read(survey, &content, err);
    if (status == SH_OK && !json)
        print_all(survey, &content);
    if (status == SH_OK && json) {
        json_t *object = all_json(survey, &content);
        if (object == NULL || json_dumpf(object, stdout, JSON_INDENT(2)) != 0 || fputc('\n', stdout) == EOF)
            status = sh_fail(err, SH_IO, "cannot write to the standard output");
        json_decref(object);
    }
    sh_wal_content_free(&content);
    sh_wal_survey_free(survey);
    return status == SH_OK ? SH_EXIT_OK : SH_EXIT_FAILED;
}

static const char *state_of(const ShWalSurveyFile *file)
{
    if (file->damaged)
        return "damaged";
    if (file->dropped)
        return "dropped";
    if (file->dead)
        return "dead";
    if (file->scan.ended)
        return "whole";
    return file->scan.torn_bytes > 0 ? "torn" : "open";
}

static void print_all(const ShWalSurvey *survey, const ShWalContent *content)
{
    const ShWalSurveyIdentity *identity = &survey->identity;
    char uuid[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&identity->wal_uuid, uuid);
    printf("WAL:         %s\n"
           "Incarnation: %" PRId64 "\n"
           "Policy:      %s\n"
           "Boot id:     %s\n"
           "Clean:       %s\n"
           "Damaged:     %s\n",
           uuid, identity->incarnation_no, sh_wal_sync_name(identity->sync),
           identity->boot_id[0] != '\0' ? identity->boot_id : "(never started)",
           identity->clean ? "yes" : "no", identity->damaged ? "yes" : "no");
    if (survey->count > 0)
        printf("\n%-20s  %10s  %9s  %-8s\n", "FILE", "SIZE", "BATCHES", "STATE");
    for (size_t i = 0; i < survey->count; i++)
        print_file(&survey->files[i]);
    for (size_t i = 0; i < content->hole_count; i++)
        printf("%016" PRIx64 ".wal is unreadable from position %" PRId64 " to %" PRId64 "\n",
               content->holes[i].file_no, content->holes[i].from, content->holes[i].to);

    size_t count = 0;
    const ShWalAccount *const *accounts = sh_wal_ledger_list(content->ledger, &count);
    if (count > 0)
        printf("\n%-36s  %9s  %15s  %15s  %15s  %12s  %10s\n", "TOPIC", "PARTITION", "EPOCH", "FIRST", "END",
               "RECORDS", "SIZE");
    for (size_t i = 0; i < count; i++)
        print_account(accounts[i]);
}

static void print_file(const ShWalSurveyFile *file)
{
    char size[SH_FORMAT_BYTES], batches[SH_FORMAT_BYTES];
    printf("%016" PRIx64 ".wal  %10s  %9s  %s", file->no, sh_format_size(file->size_bytes, size),
           sh_format_count(file->scan.batches, batches), state_of(file));
    if (file->header_damaged)
        printf(": its header");
    else if (file->damaged)
        printf(" at position %" PRId64 ", last good batch at %" PRId64, file->scan.end,
               file->scan.last_frame);
    else if (file->dead || file->scan.torn_bytes > 0)
        printf(" at position %" PRId64, file->end);
    putchar('\n');
}

static void print_account(const ShWalAccount *account)
{
    char uuid[SH_UUID_TEXT_BYTES], records[SH_FORMAT_BYTES], size[SH_FORMAT_BYTES];
    sh_uuid_format(&account->topic_id, uuid);
    printf("%s  %9d  %15" PRId64 "  %15" PRId64 "  %15" PRId64 "  %12s  %10s\n", uuid,
           (int)account->partition, account->epoch, account->ranges[0].first,
           account->ranges[account->range_count - 1].end, sh_format_count(account->records, records),
           sh_format_size(account->bytes, size));
    for (size_t i = 1; i < account->range_count; i++)
        printf("    missing: offsets %" PRId64 " to %" PRId64 "\n", account->ranges[i - 1].end,
               account->ranges[i].first - 1);
}

static json_t *all_json(const ShWalSurvey *survey, const ShWalContent *content)
{
    const ShWalSurveyIdentity *identity = &survey->identity;
    char uuid[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&identity->wal_uuid, uuid);
    json_t *files = json_array(), *accounts = json_array();
    bool good = files != NULL && accounts != NULL;
    for (size_t i = 0; i < survey->count && good; i++)
        good = json_array_append_new(files, file_json(&survey->files[i])) == 0;
    size_t count = 0;
    const ShWalAccount *const *list = sh_wal_ledger_list(content->ledger, &count);
    for (size_t i = 0; i < count && good; i++)
        good = json_array_append_new(accounts, account_json(list[i])) == 0;
    if (!good || list == NULL) {
        json_decref(files);
        json_decref(accounts);
        return NULL;
    }
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:b, s:b, s:o, s:o, s:o}", "directory", survey->dir, "wal",
                     uuid, "incarnation", (json_int_t)identity->incarnation_no, "policy",
                     sh_wal_sync_name(identity->sync), "boot_id", identity->boot_id, "clean",
                     (int)identity->clean, "damaged", (int)identity->damaged, "files", files, "holes",
                     holes_json(content), "partitions", accounts);
}

static json_t *file_json(const ShWalSurveyFile *file)
{
    char name[24];
    snprintf(name, sizeof name, "%016" PRIx64 ".wal", file->no);
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I}", "name", name, "bytes",
                     (json_int_t)file->size_bytes, "batches", (json_int_t)file->scan.batches, "batch_bytes",
                     (json_int_t)file->scan.batch_bytes, "state", state_of(file), "end",
                     (json_int_t)(file->damaged ? file->scan.end : file->end), "last_batch",
                     (json_int_t)file->scan.last_frame, "torn_bytes",
                     (json_int_t)(file->damaged ? 0 : file->scan.torn_bytes));
}

static json_t *account_json(const ShWalAccount *account)
{
    char uuid[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&account->topic_id, uuid);
    json_t *ranges = json_array();
    bool good = ranges != NULL;
    for (size_t i = 0; i < account->range_count && good; i++)
        good = json_array_append_new(ranges,
                                     json_pack("{s:I, s:I}", "first", (json_int_t)account->ranges[i].first,
                                               "end", (json_int_t)account->ranges[i].end)) == 0;
    if (!good) {
        json_decref(ranges);
        return NULL;
    }
    return json_pack("{s:s, s:i, s:I, s:o, s:I, s:I, s:I}", "topic_id", uuid, "partition",
                     (int)account->partition, "epoch", (json_int_t)account->epoch, "ranges", ranges,
                     "records", (json_int_t)account->records, "batches", (json_int_t)account->batches,
                     "bytes", (json_int_t)account->bytes);
}

static json_t *holes_json(const ShWalContent *content)
{
    json_t *list = json_array();
    for (size_t i = 0; i < content->hole_count && list != NULL; i++) {
        char name[24];
        snprintf(name, sizeof name, "%016" PRIx64 ".wal", content->holes[i].file_no);
        json_t *hole = json_pack("{s:s, s:I, s:I}", "file", name, "from", (json_int_t)content->holes[i].from,
                                 "to", (json_int_t)content->holes[i].to);
        if (json_array_append_new(list, hole) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}
