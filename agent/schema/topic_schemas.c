#include "agent/schema/topic_schemas.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WIRE_HEADER_BYTES 5 /* 0, then the schema's id, big-endian */

struct ShSchemaTable {
    atomic_int refs;
    ShTopicSchemas *topics; /* ordered by id */
    size_t topic_count;
};

static bool add_ids(ShPartSchemas *part, const ShPgTopicSchema *row);
static int compare_topics(const void *a, const void *b);
static ShStatus check_supported(const ShPartSchemas *part, const char *name, ShError *err);
static ShStatus check_bytes(const ShPartSchemas *part, const char *name, const uint8_t *bytes, size_t length,
                            int32_t *last_id, int32_t *unknown_id, ShError *err);
static bool has_id(const ShPartSchemas *part, int32_t id);

ShSchemaTable *sh_schema_table_new(const ShPgTopicSchemas *schemas)
{
    ShSchemaTable *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    atomic_init(&table->refs, 1);
    table->topics = calloc(schemas->row_count + 1, sizeof table->topics[0]);
    bool is_whole = table->topics != NULL;
    for (size_t i = 0; i < schemas->row_count && is_whole; i++) {
        const ShPgTopicSchema *row = &schemas->rows[i];
        if (i == 0 || !sh_uuid_equal(&row->topic_id, &schemas->rows[i - 1].topic_id))
            table->topics[table->topic_count++].topic_id = row->topic_id;
        ShTopicSchemas *topic = &table->topics[table->topic_count - 1];
        is_whole = add_ids(row->is_key ? &topic->key : &topic->value, row);
    }
    if (!is_whole) {
        sh_schema_table_unref(table);
        return NULL;
    }
    qsort(table->topics, table->topic_count, sizeof table->topics[0], compare_topics);
    return table;
}

void sh_schema_table_ref(ShSchemaTable *table)
{
    atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
}

void sh_schema_table_unref(ShSchemaTable *table)
{
    if (table == NULL || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < table->topic_count; i++) {
        free(table->topics[i].key.ids);
        free(table->topics[i].value.ids);
    }
    free(table->topics);
    free(table);
}

const ShTopicSchemas *sh_schema_table_find(const ShSchemaTable *table, const ShUuid *topic_id)
{
    if (table->topic_count == 0)
        return NULL;
    const ShTopicSchemas wanted = {.topic_id = *topic_id};
    return bsearch(&wanted, table->topics, table->topic_count, sizeof wanted, compare_topics);
}

ShStatus sh_topic_schemas_check(const ShTopicSchemas *schemas, const uint8_t *batch, size_t batch_bytes,
                                size_t decompressed_bytes_max, size_t first_index, ShScratch *scratch,
                                int32_t *unknown_id, ShError *err)
{
    ShBatchReader reader;
    *unknown_id = 0;
    ShStatus status = check_supported(&schemas->key, "key", err);
    if (status == SH_OK)
        status = check_supported(&schemas->value, "value", err);
    if (status == SH_OK)
        status = sh_batch_reader_init(&reader, batch, batch_bytes, decompressed_bytes_max, scratch, err);
    int32_t last_key_id = 0;
    int32_t last_value_id = 0;
    for (size_t index = first_index; status == SH_OK; index++) {
        ShRecord record;
        bool more;
        status = sh_batch_reader_next(&reader, &record, &more, err);
        if (status != SH_OK || !more)
            return status;
        status = check_bytes(&schemas->key, "key", record.key, record.key_length, &last_key_id, unknown_id,
                             err);
        if (status == SH_OK)
            status = check_bytes(&schemas->value, "value", record.value, record.value_length, &last_value_id,
                                 unknown_id, err);
        if (status != SH_OK)
            return sh_fail_prefix(err, status, "record %zu", index);
    }
    return status;
}

/* The part's rows come one after the other; only under the strategy `topic` are their ids all that may come.
 */
static bool add_ids(ShPartSchemas *part, const ShPgTopicSchema *row)
{
    part->validation = row->validation;
    part->strategy = row->strategy;
    if (row->strategy != SH_SUBJECT_TOPIC || row->id_count == 0)
        return true;
    part->ids = calloc(row->id_count, sizeof part->ids[0]);
    if (part->ids == NULL)
        return false;
    memcpy(part->ids, row->ids, row->id_count * sizeof part->ids[0]);
    part->id_count = row->id_count;
    return true;
}

static int compare_topics(const void *a, const void *b)
{
    const ShTopicSchemas *left = a;
    const ShTopicSchemas *right = b;
    return memcmp(left->topic_id.bytes, right->topic_id.bytes, sizeof left->topic_id.bytes);
}

static ShStatus check_supported(const ShPartSchemas *part, const char *name, ShError *err)
{
    if (part->validation == SH_VALIDATION_FULL)
        return sh_fail(
            err, SH_UNSUPPORTED,
            "the topic asks for %s_validation \"full\", which this agent cannot do: set it to \"id\" "
            "or \"none\"",
            name);
    if (part->validation != SH_VALIDATION_NONE && part->strategy != SH_SUBJECT_TOPIC)
        return sh_fail(err, SH_UNSUPPORTED,
                       "the topic's %s_subject_strategy is not \"topic\", the only one that this agent can "
                       "validate by",
                       name);
    return SH_OK;
}

/* What is null fits: a record without a key, a tombstone. */
static ShStatus check_bytes(const ShPartSchemas *part, const char *name, const uint8_t *bytes, size_t length,
                            int32_t *last_id, int32_t *unknown_id, ShError *err)
{
    if (part->validation == SH_VALIDATION_NONE || bytes == NULL)
        return SH_OK;
    if (length < WIRE_HEADER_BYTES || bytes[0] != 0)
        return sh_fail(err, SH_INVALID,
                       "the %s does not begin with a schema's id (a byte 0, then the id in four bytes, "
                       "big-endian), which the topic's %s_validation asks for",
                       name, name);
    uint32_t id = (uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 8 | bytes[4];
    if (id != 0 && id == (uint32_t)*last_id)
        return SH_OK;
    if (id > INT32_MAX || !has_id(part, (int32_t)id)) {
        *unknown_id = id > INT32_MAX ? 0 : (int32_t)id;
        return sh_fail(err, SH_INVALID,
                       "the %s names schema %u, which is not registered under the topic's subject for %ss",
                       name, (unsigned)id, name);
    }
    *last_id = (int32_t)id;
    return SH_OK;
}

static bool has_id(const ShPartSchemas *part, int32_t id)
{
    size_t low = 0;
    size_t high = part->id_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (part->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < part->id_count && part->ids[low] == id;
}
