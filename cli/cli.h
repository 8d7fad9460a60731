/*
 * cli.h - what the commands share: the connection, exit codes, one way to say that something failed.
 */
#ifndef SH_CLI_CLI_H
#define SH_CLI_CLI_H

#include <signal.h>
#include <stdbool.h>

#include "client/streamhouse.h"

#define SH_EXIT_OK     0
#define SH_EXIT_FAILED 1
#define SH_EXIT_USAGE  2

#define SH_CLI_TIMEOUT_MS 30000 /* of a call that a command waits for */

typedef struct ShCli {
    ShClient *client; /* NULL for commands that work on files */
} ShCli;

/* A command: argv[0] is its name, getopt is reset. Returns the exit code. */
typedef int (*ShCommandFn)(ShCli *cli, int argc, char **argv);

int sh_cli_topic_create(ShCli *cli, int argc, char **argv);
int sh_cli_topic_list(ShCli *cli, int argc, char **argv);
int sh_cli_topic_describe(ShCli *cli, int argc, char **argv);
int sh_cli_topic_delete(ShCli *cli, int argc, char **argv);
int sh_cli_produce(ShCli *cli, int argc, char **argv);
int sh_cli_consume(ShCli *cli, int argc, char **argv);
int sh_cli_bench_produce(ShCli *cli, int argc, char **argv);
int sh_cli_bench_consume(ShCli *cli, int argc, char **argv);
/* These need no connection: cli->client is NULL. */
int sh_cli_wal_inspect(ShCli *cli, int argc, char **argv);
int sh_cli_wal_verify(ShCli *cli, int argc, char **argv);
int sh_cli_wal_export(ShCli *cli, int argc, char **argv);

/* Print "streamhouse: ..." as one line on stderr; returns SH_EXIT_FAILED. */
int sh_cli_fail(const char *fmt, ...) SH_PRINTF(1, 2);
/* The same, with a pointer to --help; returns SH_EXIT_USAGE. */
int sh_cli_misuse(const char *fmt, ...) SH_PRINTF(1, 2);
/* getopt_long met an unknown option or a missing argument: say which. Returns SH_EXIT_USAGE. */
int sh_cli_bad_option(int argc, char **argv, int result);
/* The one argument that is not an option: a topic's name. NULL after having said what is wrong. */
const char *sh_cli_topic_argument(int argc, char **argv);

/* Set by SIGINT and SIGTERM once sh_cli_catch_signals was called: end in good order. */
extern volatile sig_atomic_t sh_cli_interrupted;
void sh_cli_catch_signals(void);

#endif
