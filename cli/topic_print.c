#include "cli/topic_print.h"

#include <getopt.h>
#include <string.h>

#include "cli/cli.h"

bool sh_topic_parse_output(const char *text, bool *json)
{
    *json = strcmp(text, "json") == 0;
    return *json || strcmp(text, "text") == 0;
}

int sh_topic_output_option(int argc, char **argv, bool *json)
{
    static const struct option options[] = {{"output", required_argument, NULL, 'o'}, {0}};
    int option;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (option != 'o')
            return sh_cli_bad_option(argc, argv, option);
        if (!sh_topic_parse_output(optarg, json))
            return sh_cli_misuse("--output is text or json, not %s", optarg);
    }
    return SH_EXIT_OK;
}

json_t *sh_topic_json(const ShTopicDescription *topic)
{
    char id[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&topic->topic_id, id);
    json_t *partitions = json_array();
    for (size_t i = 0; i < topic->partition_count; i++) {
        const ShPartitionDescription *from = &topic->partitions[i];
        json_t *to = json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I}", "partition", (int)from->partition,
                               "owner", from->owner, "epoch", (json_int_t)from->epoch, "log_start",
                               (json_int_t)from->log_start, "published_end", (json_int_t)from->published_end,
                               "records", (json_int_t)from->records, "bytes", (json_int_t)from->bytes);
        if (json_array_append_new(partitions, to) != 0) {
            json_decref(partitions);
            return NULL;
        }
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "topic", topic->name, "topic_id", id,
                     "durability", topic->durability, "retention", topic->retention, "segment_bytes",
                     (json_int_t)topic->segment_bytes, "records", (json_int_t)topic->records, "bytes",
                     (json_int_t)topic->bytes, "partitions", partitions);
}
