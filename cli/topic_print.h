/*
 * topic_print.h - what `topic list` and `topic describe` share.
 */
#ifndef SH_CLI_TOPIC_PRINT_H
#define SH_CLI_TOPIC_PRINT_H

#include <jansson.h>
#include <stdbool.h>

#include "client/streamhouse.h"

/* The value of --output: text or json. False when it is neither. */
bool sh_topic_parse_output(const char *text, bool *json);

/* Read the options of a command that has --output alone; returns SH_EXIT_OK, or SH_EXIT_USAGE after having
 * said what is wrong. */
int sh_topic_output_option(int argc, char **argv, bool *json);

/* A topic with its partitions as a JSON object; NULL when memory is short. */
json_t *sh_topic_json(const ShTopicDescription *topic);

#endif
