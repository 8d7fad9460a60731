#include "agent/schema/record_check.h"

#define FETCH_RETRY_MS 100

/* One key or value, and what it is held against. */
typedef struct Subject {
    const ShPartSchemas *part;
    const char *name; /* "key" or "value" */
    const uint8_t *bytes;
    size_t length;
    uint64_t *head;
    const ShStoredSchema **schema;
} Subject;

static bool check_record(ShBatchWatch *watch, int32_t index, const ShRecord *record);
static ShStatus check_subject(ShRecordCheck *check, const Subject *subject, ShError *err);
static ShStatus check_id(ShRecordCheck *check, const Subject *subject, int32_t id, ShError *err);
static ShStatus check_text(ShRecordCheck *check, const Subject *subject, int32_t id, ShError *err);
static ShStatus check_name(ShRecordCheck *check, const Subject *subject, const uint8_t *payload,
                           size_t payload_bytes, ShError *err);

void sh_record_check_begin(ShRecordCheck *check, ShSchemaTable *table, const ShTopicSchemas *topic,
                           ShSchemaStore *store)
{
    *check = (ShRecordCheck){.watch = {.keys = topic->key.validation != SH_VALIDATION_NONE,
                                       .values = topic->value.validation != SH_VALIDATION_NONE,
                                       .key_head = SH_RECORD_HEAD_NONE,
                                       .value_head = SH_RECORD_HEAD_NONE,
                                       .other = check_record},
                             .table = table,
                             .topic = topic,
                             .store = store};
}

void sh_record_check_next_batch(ShRecordCheck *check, size_t record_count)
{
    check->first_index += record_count;
}

ShStatus sh_record_check_end(ShRecordCheck *check, ShError *err)
{
    sh_schema_store_release(check->key_schema);
    sh_schema_store_release(check->value_schema);
    sh_schema_table_unref(check->table);
    if (check->out_of_memory)
        return sh_fail(err, SH_NO_MEMORY, "no memory to tell which records do not fit");
    if (check->awaited_id == 0)
        return SH_OK;
    ShStatus status = sh_fail(err, SH_UNAVAILABLE,
                              "schema %d is not known here yet: PostgreSQL is asked about it",
                              (int)check->awaited_id);
    return sh_fail_retry_after(err, status, FETCH_RETRY_MS);
}

static bool check_record(ShBatchWatch *watch, int32_t index, const ShRecord *record)
{
    ShRecordCheck *check = (ShRecordCheck *)watch;
    ShError err = {0};
    const Subject key = {&check->topic->key, "key", record->key, record->key_length, &watch->key_head,
                         &check->key_schema};
    const Subject value = {&check->topic->value, "value",
                           record->value,        record->value_length,
                           &watch->value_head,   &check->value_schema};
    ShStatus status = check_subject(check, &key, &err);
    if (status == SH_OK)
        status = check_subject(check, &value, &err);
    if (status == SH_INVALID &&
        !sh_record_errors_add(&check->errors, check->first_index + (size_t)index, err.message))
        check->out_of_memory = true;
    return status == SH_OK;
}

/* SH_OK, SH_INVALID, or SH_UNAVAILABLE: it cannot be told yet. What is null fits: a record without a key, a
 * tombstone. */
static ShStatus check_subject(ShRecordCheck *check, const Subject *subject, ShError *err)
{
    const ShPartSchemas *part = subject->part;
    if (part->validation == SH_VALIDATION_NONE ||
        sh_record_has_head(subject->bytes, subject->length, *subject->head))
        return SH_OK;
    if (subject->length < SH_RECORD_HEAD_BYTES || subject->bytes[0] != 0)
        return sh_fail(err, SH_INVALID,
                       "the %s does not begin with a schema's id (a byte 0, then the id in four bytes, "
                       "big-endian), which the topic's %s_validation asks for",
                       subject->name, subject->name);
    uint32_t id = sh_get_u32(subject->bytes + 1);
    if (id == 0 || id > INT32_MAX)
        return sh_fail(err, SH_INVALID, "the %s names schema %u, which cannot be an id", subject->name,
                       (unsigned)id);
    if (sh_part_schemas_needs_text(part))
        return check_text(check, subject, (int32_t)id, err);
    if (!sh_part_schemas_has(part, NULL, (int32_t)id))
        return check_id(check, subject, (int32_t)id, err);
    *subject->head = sh_record_head(subject->bytes);
    return SH_OK;
}

/* An id that the subject does not have, as far as this agent knows. */
static ShStatus check_id(ShRecordCheck *check, const Subject *subject, int32_t id, ShError *err)
{
    if (!check->lacks(check->arg, id, check->as_of_ms)) {
        check->awaited_id = id;
        return SH_UNAVAILABLE;
    }
    return sh_fail(err, SH_INVALID,
                   "the %s names schema %d, which is not registered under the subject that the topic's "
                   "%ss go by",
                   subject->name, (int)id, subject->name);
}

/* With the schema itself at hand: its records' name tells the subject, and it reads the rest. Only what some
 * subject has is fetched. */
static ShStatus check_text(ShRecordCheck *check, const Subject *subject, int32_t id, ShError *err)
{
    const ShPartSchemas *part = subject->part;
    const uint8_t *payload = subject->bytes + SH_RECORD_HEAD_BYTES;
    size_t payload_bytes = subject->length - SH_RECORD_HEAD_BYTES;
    const ShStoredSchema *stored = *subject->schema;
    bool is_settled = stored != NULL && stored->id == id;
    if (!is_settled) {
        if (!sh_part_schemas_has(part, SH_ANY_RECORD, id))
            return check_id(check, subject, id, err);
        sh_schema_store_release(stored);
        stored = *subject->schema = sh_schema_store_find(check->store, id);
        if (stored == NULL) {
            check->awaited_id = id;
            return SH_UNAVAILABLE;
        }
    }
    if (stored->schema == NULL)
        return sh_fail(err, SH_INVALID, "the %s names schema %d, which cannot be used: %.200s", subject->name,
                       (int)id, stored->problem);
    bool name_varies = sh_schema_type(stored->schema) ==
                       SH_SCHEMA_PROTOBUF; /* the payload tells which message */
    if (part->strategy != SH_SUBJECT_TOPIC && (!is_settled || name_varies)) {
        ShStatus status = check_name(check, subject, payload, payload_bytes, err);
        if (status != SH_OK) {
            sh_schema_store_release(stored);
            *subject->schema = NULL;
            return status;
        }
    }
    if (part->validation == SH_VALIDATION_FULL) {
        ShError why = {0};
        if (sh_schema_validate(stored->schema, payload, payload_bytes, &why) != SH_OK)
            return sh_fail(err, SH_INVALID, "the %s does not fit schema %d: %.200s", subject->name, (int)id,
                           why.message);
    } else if (!name_varies) {
        *subject->head = sh_record_head(subject->bytes);
    }
    return SH_OK;
}

/* Is the schema registered under the subject that its record's name tells? */
static ShStatus check_name(ShRecordCheck *check, const Subject *subject, const uint8_t *payload,
                           size_t payload_bytes, ShError *err)
{
    const ShStoredSchema *stored = *subject->schema;
    const char *name = sh_schema_record_name(stored->schema, payload, payload_bytes);
    if (name == NULL)
        return sh_fail(err, SH_INVALID,
                       "the %s names schema %d, which has no record name, by which its subject is found",
                       subject->name, (int)stored->id);
    if (!sh_part_schemas_has(subject->part, name, stored->id))
        return check_id(check, subject, stored->id, err);
    return SH_OK;
}
