#include <getopt.h>
#include <stdio.h>

#include "cli/cli.h"

int sh_cli_topic_delete(ShCli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"confirm", no_argument, NULL, 'c'}, {0}};
    bool confirmed = false;
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (option != 'c')
            return sh_cli_bad_option(argc, argv, option);
        confirmed = true;
    }
    const char *name = sh_cli_topic_argument(argc, argv);
    if (name == NULL)
        return SH_EXIT_USAGE;
    if (!confirmed)
        return sh_cli_misuse("deleting topic \"%s\" removes all its records; say --confirm", name);

    ShError error;
    if (sh_client_delete_topic(cli->client, name, SH_CLI_TIMEOUT_MS, &error) != SH_OK)
        return sh_cli_fail("cannot delete topic \"%s\": %s", name, error.message);
    printf("Deleted topic %s.\n", name);
    return SH_EXIT_OK;
}
