#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/topic_print.h"

static void print_table(const ShTopicDescriptions *list, const char *filter);
static int print_json(const ShTopicDescriptions *list, const char *filter);
static bool matches(const ShTopicDescription *topic, const char *filter);

int sh_cli_topic_list(ShCli *cli, int argc, char **argv)
{
    static const struct option options[] = {
        {"filter", required_argument, NULL, 'f'}, {"output", required_argument, NULL, 'o'}, {0}};
    const char *filter = NULL;
    bool json = false;
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (option == 'f')
            filter = optarg;
        else if (option != 'o')
            return sh_cli_bad_option(argc, argv, option);
        else if (!sh_topic_parse_output(optarg, &json))
            return sh_cli_misuse("--output is text or json, not %s", optarg);
    }
    if (optind < argc)
        return sh_cli_misuse("unexpected argument \"%s\"; a pattern is given with --filter", argv[optind]);

    ShError error;
    ShTopicDescriptions *list = NULL;
    if (sh_client_describe_topics(cli->client, NULL, SH_CLI_TIMEOUT_MS, &list, &error) != SH_OK)
        return sh_cli_fail("cannot list the topics: %s", error.message);
    int code = SH_EXIT_OK;
    if (json)
        code = print_json(list, filter);
    else
        print_table(list, filter);
    sh_topic_descriptions_free(list);
    return code;
}

static void print_table(const ShTopicDescriptions *list, const char *filter)
{
    int width = (int)strlen("TOPIC");
    for (size_t i = 0; i < list->topic_count; i++) {
        int length = (int)strlen(list->topics[i].name);
        if (matches(&list->topics[i], filter) && length > width)
            width = length;
    }
    printf("%-*s  %10s  %-10s  %15s  %12s\n", width, "TOPIC", "PARTITIONS", "DURABILITY", "RECORDS", "SIZE");
    for (size_t i = 0; i < list->topic_count; i++) {
        const ShTopicDescription *topic = &list->topics[i];
        char count[SH_FORMAT_BYTES], size[SH_FORMAT_BYTES];
        if (matches(topic, filter))
            printf("%-*s  %10zu  %-10s  %15s  %12s\n", width, topic->name, topic->partition_count,
                   topic->durability, sh_format_count(topic->records, count),
                   sh_format_size(topic->bytes, size));
    }
}

static int print_json(const ShTopicDescriptions *list, const char *filter)
{
    json_t *array = json_array();
    bool good = array != NULL;
    for (size_t i = 0; i < list->topic_count && good; i++) {
        if (matches(&list->topics[i], filter))
            good = json_array_append_new(array, sh_topic_json(&list->topics[i])) == 0;
    }
    good = good && json_dumpf(array, stdout, JSON_INDENT(2)) == 0 && fputc('\n', stdout) != EOF;
    json_decref(array);
    return good ? SH_EXIT_OK : sh_cli_fail("cannot write to the standard output");
}

static bool matches(const ShTopicDescription *topic, const char *filter)
{
    return filter == NULL || fnmatch(filter, topic->name, 0) == 0;
}
