#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/topic_print.h"

static void print_text(const ShTopicDescription *topic);
static int print_json(const ShTopicDescription *topic);

int sh_cli_topic_describe(ShCli *cli, int argc, char **argv)
{
    bool json = false;
    if (sh_topic_output_option(argc, argv, &json) != SH_EXIT_OK)
        return SH_EXIT_USAGE;
    const char *name = sh_cli_topic_argument(argc, argv);
    if (name == NULL)
        return SH_EXIT_USAGE;

    ShError error;
    ShTopicDescriptions *list = NULL;
    if (sh_client_describe_topics(cli->client, name, SH_CLI_TIMEOUT_MS, &list, &error) != SH_OK)
        return sh_cli_fail("cannot describe topic \"%s\": %s", name, error.message);
    int code = SH_EXIT_OK;
    if (json)
        code = print_json(&list->topics[0]);
    else
        print_text(&list->topics[0]);
    sh_topic_descriptions_free(list);
    return code;
}

static void print_text(const ShTopicDescription *topic)
{
    char text[SH_FORMAT_BYTES];
    printf("Topic: %s\n", topic->name);
    printf("Partitions: %zu\n", topic->partition_count);
    printf("Durability: %s\n", topic->durability);
    printf("Retention: %s\n", topic->retention[0] != '\0' ? topic->retention : "for ever");
    printf("Segment size: %s\n", sh_format_size(topic->segment_bytes, text));
    printf("Total size: %s\n", sh_format_size(topic->bytes, text));
    printf("Record count: %s\n\n", sh_format_count(topic->records, text));

    int width = (int)strlen("OWNER");
    for (size_t i = 0; i < topic->partition_count; i++) {
        int length = (int)strlen(topic->partitions[i].owner);
        width = length > width ? length : width;
    }
    printf("%9s  %-*s  %14s  %14s  %14s  %14s  %12s\n", "PARTITION", width, "OWNER", "EPOCH", "START", "END",
           "RECORDS", "SIZE");
    for (size_t i = 0; i < topic->partition_count; i++) {
        const ShPartitionDescription *partition = &topic->partitions[i];
        printf("%9" PRId32 "  %-*s  %14" PRId64 "  %14" PRId64 "  %14" PRId64, partition->partition, width,
               partition->owner[0] != '\0' ? partition->owner : "-", partition->epoch, partition->log_start,
               partition->published_end);
        printf("  %14s", sh_format_count(partition->records, text));
        printf("  %12s\n", sh_format_size(partition->bytes, text));
    }
}

static int print_json(const ShTopicDescription *topic)
{
    json_t *object = sh_topic_json(topic);
    bool good = object != NULL && json_dumpf(object, stdout, JSON_INDENT(2)) == 0 &&
                fputc('\n', stdout) != EOF;
    json_decref(object);
    return good ? SH_EXIT_OK : sh_cli_fail("cannot write to the standard output");
}
