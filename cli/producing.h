/*
 * producing.h - the options that `produce` and `bench produce` share.
 */
#ifndef SH_CLI_PRODUCING_H
#define SH_CLI_PRODUCING_H

#include <getopt.h>

#include "client/streamhouse.h"

enum {
    SH_OPT_COMPRESSION = 1000,
    SH_OPT_LINGER,
    SH_OPT_BATCH_SIZE,
    SH_OPT_RETRY,
    SH_OPT_TIMEOUT,
    SH_OPT_IN_FLIGHT,
    SH_OPT_IDEMPOTENCE
};

/* To stand at the end of a command's table of options. */
#define SH_PRODUCING_OPTIONS                                                                                 \
    {"compression", required_argument, NULL, SH_OPT_COMPRESSION},                                            \
        {"linger", required_argument, NULL, SH_OPT_LINGER},                                                  \
        {"batch-size", required_argument, NULL, SH_OPT_BATCH_SIZE},                                          \
        {"retry", required_argument, NULL, SH_OPT_RETRY},                                                    \
        {"timeout", required_argument, NULL, SH_OPT_TIMEOUT},                                                \
        {"in-flight", required_argument, NULL, SH_OPT_IN_FLIGHT},                                            \
        {"idempotence", required_argument, NULL, SH_OPT_IDEMPOTENCE},                                        \
    {                                                                                                        \
        0                                                                                                    \
    }

/* Take one of them, as getopt_long returned it. Returns -1 when it is taken, an exit code after having said
 * what is wrong, or -2 when it is none of these. */
int sh_cli_take_producing(ShProducerOptions *options, int option, const char *value);

#endif
