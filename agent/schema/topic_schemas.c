#include "agent/schema/topic_schemas.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE SIZE_MAX

struct ShSchemaTable {
    atomic_int refs;
    ShTopicSchemas *topics; /* ordered by id */
    size_t topic_count;
};

static bool add_subject(ShPartSchemas *part, const ShPgTopicSchema *row);
static void free_part(ShPartSchemas *part);
static int compare_topics(const void *a, const void *b);
static size_t find_id(const ShSubjectIds *subject, int32_t id);
static const ShSubjectIds *find_subject(const ShPartSchemas *part, const char *record_name);
static void take_seen(const ShUuid *topic_id, const ShPartSchemas *part, ShPgSchemaSeen *out, size_t room,
                      size_t *count);
static void wish_newest(const ShPartSchemas *part, ShSchemaStore *store);

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
        is_whole = add_subject(row->is_key ? &topic->key : &topic->value, row);
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
        free_part(&table->topics[i].key);
        free_part(&table->topics[i].value);
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

bool sh_part_schemas_has(const ShPartSchemas *part, const char *record_name, int32_t id)
{
    if (part->strategy != SH_SUBJECT_TOPIC && record_name == SH_ANY_RECORD) {
        for (size_t i = 0; i < part->subject_count; i++)
            if (find_id(&part->subjects[i], id) != NOWHERE)
                return true;
        return false;
    }
    const ShSubjectIds *subject = find_subject(part, record_name);
    size_t place = subject == NULL ? NOWHERE : find_id(subject, id);
    if (place == NOWHERE)
        return false;
    if (!atomic_load_explicit(&subject->seen[place], memory_order_relaxed))
        atomic_store_explicit(&subject->seen[place], true, memory_order_relaxed);
    return true;
}

bool sh_part_schemas_needs_text(const ShPartSchemas *part)
{
    return part->validation == SH_VALIDATION_FULL ||
           (part->validation == SH_VALIDATION_ID && part->strategy != SH_SUBJECT_TOPIC);
}

size_t sh_schema_table_take_seen(ShSchemaTable *table, ShPgSchemaSeen *out, size_t room)
{
    size_t count = 0;
    for (size_t i = 0; i < table->topic_count; i++) {
        const ShTopicSchemas *topic = &table->topics[i];
        take_seen(&topic->topic_id, &topic->key, out, room, &count);
        take_seen(&topic->topic_id, &topic->value, out, room, &count);
    }
    return count;
}

void sh_schema_table_wish(const ShSchemaTable *table, ShSchemaStore *store)
{
    for (size_t i = 0; i < table->topic_count; i++) {
        wish_newest(&table->topics[i].key, store);
        wish_newest(&table->topics[i].value, store);
    }
}

/* A part's rows come one after the other. */
static bool add_subject(ShPartSchemas *part, const ShPgTopicSchema *row)
{
    part->validation = row->validation;
    part->strategy = row->strategy;
    if (row->id_count == 0 || (row->strategy != SH_SUBJECT_TOPIC && row->record_name == NULL))
        return true;
    ShSubjectIds *subjects = realloc(part->subjects, (part->subject_count + 1) * sizeof subjects[0]);
    if (subjects == NULL)
        return false;
    part->subjects = subjects;
    ShSubjectIds *subject = &subjects[part->subject_count++];
    *subject = (ShSubjectIds){.ids = calloc(row->id_count, sizeof subject->ids[0]),
                              .seen = calloc(row->id_count, sizeof subject->seen[0]),
                              .id_count = row->id_count};
    if (row->strategy != SH_SUBJECT_TOPIC)
        subject->record_name = strdup(row->record_name);
    if (subject->ids == NULL || subject->seen == NULL ||
        (row->strategy != SH_SUBJECT_TOPIC && subject->record_name == NULL))
        return false;
    memcpy(subject->ids, row->ids, row->id_count * sizeof row->ids[0]);
    return true;
}

static void free_part(ShPartSchemas *part)
{
    for (size_t i = 0; i < part->subject_count; i++) {
        free(part->subjects[i].record_name);
        free(part->subjects[i].ids);
        free(part->subjects[i].seen);
    }
    free(part->subjects);
}

static int compare_topics(const void *a, const void *b)
{
    const ShTopicSchemas *left = a;
    const ShTopicSchemas *right = b;
    return memcmp(left->topic_id.bytes, right->topic_id.bytes, sizeof left->topic_id.bytes);
}

static size_t find_id(const ShSubjectIds *subject, int32_t id)
{
    size_t low = 0;
    size_t high = subject->id_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (subject->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < subject->id_count && subject->ids[low] == id ? low : NOWHERE;
}

static const ShSubjectIds *find_subject(const ShPartSchemas *part, const char *record_name)
{
    if (part->strategy == SH_SUBJECT_TOPIC)
        return part->subject_count == 0 ? NULL : part->subjects;
    size_t low = 0;
    size_t high = part->subject_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(part->subjects[middle].record_name, record_name);
        if (order == 0)
            return &part->subjects[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void take_seen(const ShUuid *topic_id, const ShPartSchemas *part, ShPgSchemaSeen *out, size_t room,
                      size_t *count)
{
    for (size_t i = 0; i < part->subject_count; i++) {
        const ShSubjectIds *subject = &part->subjects[i];
        for (size_t k = 0; k < subject->id_count && *count < room; k++)
            if (atomic_load_explicit(&subject->seen[k], memory_order_relaxed) &&
                atomic_exchange(&subject->seen[k], false))
                out[(*count)++] = (ShPgSchemaSeen){.id = subject->ids[k], .topic_id = *topic_id};
    }
}

static void wish_newest(const ShPartSchemas *part, ShSchemaStore *store)
{
    if (!sh_part_schemas_needs_text(part))
        return;
    for (size_t i = 0; i < part->subject_count; i++)
        sh_schema_store_wish(store, part->subjects[i].ids[part->subjects[i].id_count - 1]);
}
