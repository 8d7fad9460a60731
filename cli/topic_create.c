#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/parse.h"

int sh_cli_topic_create(ShCli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"partitions", required_argument, NULL, 'p'},
                                            {"retention", required_argument, NULL, 'r'},
                                            {"segment-size", required_argument, NULL, 's'},
                                            {"durability", required_argument, NULL, 'd'},
                                            {0}};
    ShTopicOptions topic = {0};
    char retention[64];
    int64_t number = 0;
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            if (!sh_parse_number(optarg, 1, INT32_MAX, &number))
                return sh_cli_misuse("--partitions %s is not a whole number from 1", optarg);
            topic.partitions = (int32_t)number;
            break;
        case 'r':
            if (!sh_parse_retention(optarg, retention, sizeof retention))
                return sh_cli_misuse("--retention %.40s is not a duration such as 7d or '7 days'", optarg);
            topic.retention = retention;
            break;
        case 's':
            if (!sh_parse_bytes(optarg, &number))
                return sh_cli_misuse("--segment-size %s is not a size such as 64MB", optarg);
            topic.segment_size = optarg;
            break;
        case 'd':
            if (strcmp(optarg, "wal") != 0 && strcmp(optarg, "object") != 0)
                return sh_cli_misuse("--durability is wal or object, not %s", optarg);
            topic.durability = optarg;
            break;
        default:
            return sh_cli_bad_option(argc, argv, option);
        }
    }
    topic.name = sh_cli_topic_argument(argc, argv);
    if (topic.name == NULL)
        return SH_EXIT_USAGE;

    ShError error;
    if (sh_client_create_topic(cli->client, &topic, SH_CLI_TIMEOUT_MS, &error) != SH_OK)
        return sh_cli_fail("cannot create topic \"%s\": %s", topic.name, error.message);
    printf("Created topic %s.\n", topic.name);
    return SH_EXIT_OK;
}
