#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define DEFAULT_SERVER "127.0.0.1:50051"

/* Where the agents are, and where we are. */
typedef struct Global {
    const char *server;
    const char *zone; /* NULL: not told */
    const char *zone_given_by;
} Global;

static const char help[] =
    "Usage: streamhouse [--server HOST:PORT[,HOST:PORT...]] [--zone ZONE] COMMAND [ARGUMENTS]\n"
    "\n"
    "Topics\n"
    "  topic create NAME [--partitions N] [--retention 7d] [--segment-size 64MB] [--durability wal|object]\n"
    "  topic list [--filter 'order*'] [--output text|json]\n"
    "  topic describe NAME [--output text|json]\n"
    "  topic delete NAME --confirm\n"
    "\n"
    "Records\n"
    "  produce TOPIC [--file FILE] [--key-json FIELD | --key-separator C] [--partition N]\n"
    "          [--compression none|gzip|snappy|lz4|zstd] [--linger 5ms] [--batch-size 128kB] [--rate N]\n"
    "          [--retry always|safe] [--timeout 120s] [--in-flight N] [--idempotence on|off]\n"
    "          [--acks-file FILE]\n"
    "      Every line of the file, or of stdin, becomes a record.\n"
    "  consume TOPIC [--partition N] [--from earliest|latest|OFFSET|@MILLISECONDS|TIME] [--follow] [--max "
    "N]\n"
    "          [--output text|json|value]\n"
    "      Prints the records and stops at the end, unless it is told to follow.\n"
    "\n"
    "Measuring\n"
    "  bench produce TOPIC [--records N] [--record-size BYTES] [--compression C] [--linger 5ms]\n"
    "                [--batch-size 128kB] [--retry always|safe] [--timeout 120s] [--in-flight N]\n"
    "                [--idempotence on|off]\n"
    "  bench consume TOPIC [--records N]\n"
    "\n"
    "Write-ahead logs, on the host of their agent\n"
    "  wal inspect DIRECTORY [--output text|json]\n"
    "  wal verify DIRECTORY [--output text|json]\n"
    "  wal export DIRECTORY [--topic-id UUID] [--partition N] [--epoch N] [--output json|batches]\n"
    "\n"
    "The server is $STREAMHOUSE_SERVER, or " DEFAULT_SERVER "; the zone of this host, whose agents are\n"
    "preferred, $STREAMHOUSE_ZONE. Exit status: 0 done, 1 failed, 2 misused.\n";

static const struct {
    const char *group; /* NULL: a command of one word */
    const char *name;
    ShCommandFn run;
    bool offline; /* needs no agent */
} commands[] = {
    {"topic", "create", sh_cli_topic_create, false},
    {"topic", "list", sh_cli_topic_list, false},
    {"topic", "describe", sh_cli_topic_describe, false},
    {"topic", "delete", sh_cli_topic_delete, false},
    {NULL, "produce", sh_cli_produce, false},
    {NULL, "consume", sh_cli_consume, false},
    {"bench", "produce", sh_cli_bench_produce, false},
    {"bench", "consume", sh_cli_bench_consume, false},
    {"wal", "inspect", sh_cli_wal_inspect, true},
    {"wal", "verify", sh_cli_wal_verify, true},
    {"wal", "export", sh_cli_wal_export, true},
};

static int take_global_options(int *argc, char **argv, Global *global);
static int dispatch(const Global *global, int argc, char **argv);
static int run_command(const Global *global, ShCommandFn run, bool offline, int argc, char **argv);

int main(int argc, char **argv)
{
    Global global = {getenv("STREAMHOUSE_SERVER"), getenv("STREAMHOUSE_ZONE"), "STREAMHOUSE_ZONE"};
    if (global.server == NULL || global.server[0] == '\0')
        global.server = DEFAULT_SERVER;
    int code = take_global_options(&argc, argv, &global);
    if (code >= 0)
        return code;
    return dispatch(&global, argc - 1, argv + 1);
}

/* Take --server, --zone, --help and --version out of the arguments, wherever they stand. Returns an exit
 * code, or -1. */
static int take_global_options(int *argc, char **argv, Global *global)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return SH_EXIT_OK;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("streamhouse %s\n", SH_CLIENT_VERSION);
            return SH_EXIT_OK;
        }
        if (strncmp(argv[i], "--server=", 9) == 0) {
            global->server = argv[i] + 9;
        } else if (strncmp(argv[i], "--zone=", 7) == 0) {
            global->zone = argv[i] + 7;
            global->zone_given_by = "--zone";
        } else if (strcmp(argv[i], "--server") == 0 || strcmp(argv[i], "--zone") == 0) {
            if (i + 1 == *argc)
                return sh_cli_misuse("option %s needs a value", argv[i]);
            bool is_zone = strcmp(argv[i], "--zone") == 0;
            *(is_zone ? &global->zone : &global->server) = argv[++i];
            if (is_zone)
                global->zone_given_by = "--zone";
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return -1;
}

static int dispatch(const Global *global, int argc, char **argv)
{
    if (argc == 0)
        return sh_cli_misuse("a command is missing");
    bool group_known = false;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (commands[i].group == NULL && strcmp(argv[0], commands[i].name) == 0)
            return run_command(global, commands[i].run, commands[i].offline, argc, argv);
        if (commands[i].group == NULL || strcmp(argv[0], commands[i].group) != 0)
            continue;
        group_known = true;
        if (argc > 1 && strcmp(argv[1], commands[i].name) == 0)
            return run_command(global, commands[i].run, commands[i].offline, argc - 1, argv + 1);
    }
    if (group_known && argc > 1)
        return sh_cli_misuse("unknown command \"%s %s\"", argv[0], argv[1]);
    if (group_known)
        return sh_cli_misuse("\"%s\" needs a command after it", argv[0]);
    return sh_cli_misuse("unknown command \"%s\"", argv[0]);
}

/* Without a client when the command is offline. */
static int run_command(const Global *global, ShCommandFn run, bool offline, int argc, char **argv)
{
    ShCli cli = {0};
    ShError error;
    if (!offline && sh_client_new(global->server, &cli.client, &error) != SH_OK)
        return sh_cli_misuse("--server: %s", error.message);
    if (!offline && global->zone != NULL && sh_client_set_zone(cli.client, global->zone, &error) != SH_OK) {
        sh_client_free(cli.client);
        return sh_cli_misuse("%s: %s", global->zone_given_by, error.message);
    }
    opterr = 0;
    optind = 1;
    int code = run(&cli, argc, argv);
    sh_client_free(cli.client);
    if (fflush(stdout) != 0 || ferror(stdout))
        code = sh_cli_fail("cannot write to the standard output");
    return code;
}
