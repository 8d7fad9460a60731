#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define DEFAULT_SERVER "127.0.0.1:50051"

static const char help[] =
    "Usage: streamhouse [--server HOST:PORT[,HOST:PORT...]] COMMAND [ARGUMENTS]\n"
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
    "                [--batch-size 128kB] [--in-flight N] [--idempotence on|off]\n"
    "  bench consume TOPIC [--records N]\n"
    "\n"
    "Write-ahead logs, on the host of their agent\n"
    "  wal inspect DIRECTORY [--output text|json]\n"
    "  wal verify DIRECTORY [--output text|json]\n"
    "  wal export DIRECTORY [--topic-id UUID] [--partition N] [--epoch N] [--output json|batches]\n"
    "\n"
    "The server is $STREAMHOUSE_SERVER, or " DEFAULT_SERVER ". Exit status: 0 done, 1 failed, 2 misused.\n";

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

static int take_global_options(int *argc, char **argv, const char **server);
static int dispatch(const char *server, int argc, char **argv);
static int run_command(const char *server, ShCommandFn run, int argc, char **argv);

int main(int argc, char **argv)
{
    const char *server = getenv("STREAMHOUSE_SERVER");
    if (server == NULL || server[0] == '\0')
        server = DEFAULT_SERVER;
    int code = take_global_options(&argc, argv, &server);
    if (code >= 0)
        return code;
    return dispatch(server, argc - 1, argv + 1);
}

/* Take --server, --help and --version out of the arguments, wherever they stand. Returns an
 * exit code, or -1. */
static int take_global_options(int *argc, char **argv, const char **server)
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
            *server = argv[i] + 9;
        } else if (strcmp(argv[i], "--server") == 0) {
            if (i + 1 == *argc)
                return sh_cli_misuse("option --server needs a value");
            *server = argv[++i];
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
    return -1;
}

static int dispatch(const char *server, int argc, char **argv)
{
    if (argc == 0)
        return sh_cli_misuse("a command is missing");
    bool group_known = false;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (commands[i].group == NULL && strcmp(argv[0], commands[i].name) == 0)
            return run_command(commands[i].offline ? NULL : server, commands[i].run, argc, argv);
        if (commands[i].group == NULL || strcmp(argv[0], commands[i].group) != 0)
            continue;
        group_known = true;
        if (argc > 1 && strcmp(argv[1], commands[i].name) == 0)
            return run_command(commands[i].offline ? NULL : server, commands[i].run, argc - 1, argv + 1);
    }
    if (group_known && argc > 1)
        return sh_cli_misuse("unknown command \"%s %s\"", argv[0], argv[1]);
    if (group_known)
        return sh_cli_misuse("\"%s\" needs a command after it", argv[0]);
    return sh_cli_misuse("unknown command \"%s\"", argv[0]);
}

/* `server` is NULL for a command that needs none. */
static int run_command(const char *server, ShCommandFn run, int argc, char **argv)
{
    ShCli cli = {0};
    ShError error;
    if (server != NULL && sh_client_new(server, &cli.client, &error) != SH_OK)
        return sh_cli_misuse("--server: %s", error.message);
    const char *zone = getenv("STREAMHOUSE_ZONE");
    if (zone != NULL && sh_client_set_zone(cli.client, zone, &error) != SH_OK) {
        sh_client_free(cli.client);
        return sh_cli_misuse("STREAMHOUSE_ZONE: %s", error.message);
    }
    opterr = 0;
    optind = 1;
    int code = run(&cli, argc, argv);
    sh_client_free(cli.client);
    if (fflush(stdout) != 0 || ferror(stdout))
        code = sh_cli_fail("cannot write to the standard output");
    return code;
}
