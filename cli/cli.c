#include "cli/cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

volatile sig_atomic_t sh_cli_interrupted;

static void on_signal(int number);
static void say(const char *fmt, va_list args, const char *end);

int sh_cli_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(fmt, args, "");
    va_end(args);
    return SH_EXIT_FAILED;
}

int sh_cli_misuse(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(fmt, args, "; see streamhouse --help");
    va_end(args);
    return SH_EXIT_USAGE;
}

int sh_cli_bad_option(int argc, char **argv, int result)
{
    const char *option = optind > 0 && optind <= argc ? argv[optind - 1] : "";
    if (result == ':')
        return sh_cli_misuse("option %s needs a value", option);
    return sh_cli_misuse("unknown option %s", option);
}

const char *sh_cli_topic_argument(int argc, char **argv)
{
    if (argc - optind == 1 && argv[optind][0] != '\0')
        return argv[optind];
    if (argc - optind > 1)
        (void)sh_cli_misuse("unexpected argument \"%s\" after the topic's name", argv[optind + 1]);
    else
        (void)sh_cli_misuse("the name of a topic is missing");
    return NULL;
}

void sh_cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* A second signal ends the program at once. */
static void on_signal(int number)
{
    sh_cli_interrupted = 1;
    signal(number, SIG_DFL);
}

static void say(const char *fmt, va_list args, const char *end)
{
    char text[2 * SH_ERROR_MESSAGE_BYTES];
    vsnprintf(text, sizeof text, fmt, args);
    for (char *p = text; *p != '\0'; p++) {
        if (*p == '\n' || *p == '\r')
            *p = ' ';
    }
    fprintf(stderr, "streamhouse: %s%s\n", text, end);
}
