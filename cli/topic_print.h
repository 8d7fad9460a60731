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

/* A topic with its partitions as a JSON object; NULL when memory is short. */
json_t *sh_topic_json(const ShTopicDescription *topic);

#endif
