#include "agent/schema/record_check.h"

#define FETCH_RETRY_MS 100
/* What records of a request may take beside two steps for each of its bytes: most need less than a hundred
 * each, and a tenth of a second is many of them. */
#define REQUEST_STEPS INT64_C(16000000)

static void begin_subject(ShSubjectCheck *subject, const ShPartSchemas *part, const char *name);
static bool check_record(ShBatchWatch *watch, int32_t index, const ShRecord *record);
static bool check_thoroughly(ShRecordCheck *check, int32_t index, const ShRecord *record)
    __attribute__((noinline));
static bool refuse_value(ShRecordCheck *check, int32_t index, ShStatus status, const ShError *why)
    __attribute__((noinline));
static bool settle_record(ShRecordCheck *check, int32_t index, ShStatus status, const ShError *err);
static ShStatus check_bytes(ShRecordCheck *check, ShSubjectCheck *subject, uint64_t *expected_head,
                            const uint8_t *bytes, size_t length, ShError *err);
static ShStatus check_head(ShRecordCheck *check, ShSubjectCheck *subject, uint64_t *expected_head,
                           const uint8_t *bytes, size_t length, ShError *err);
static ShStatus check_id(ShRecordCheck *check, const ShSubjectCheck *subject, int32_t id, ShError *err);
static ShStatus settle(ShRecordCheck *check, ShSubjectCheck *subject, int32_t id, const uint8_t *payload,
                       size_t payload_bytes, ShError *err);
static ShStatus check_name(ShRecordCheck *check, const ShSubjectCheck *subject, const uint8_t *payload,
                           size_t payload_bytes, ShError *err);
static ShStatus check_payload(ShRecordCheck *check, const ShSubjectCheck *subject, const uint8_t *payload,
                              size_t payload_bytes, ShError *err);
static ShStatus explain(const ShSubjectCheck *subject, ShStatus status, const ShError *why, ShError *err);
static void forget(ShSubjectCheck *subject);

void sh_record_check_budget(ShSchemaBudget *budget, size_t request_bytes)
{
    sh_budget_init(budget, REQUEST_STEPS + 2 * (int64_t)request_bytes, SH_BUDGET_RECORD_BYTES);
}

void sh_record_check_begin(ShRecordCheck *check, ShSchemaTable *table, const ShTopicSchemas *topic,
                           ShSchemaStore *store, ShSchemaBudget *budget)
{
    *check = (ShRecordCheck){.watch = {.keys = topic->key.validation != SH_VALIDATION_NONE,
                                       .values = topic->value.validation != SH_VALIDATION_NONE,
                                       .key_head = SH_RECORD_HEAD_NONE,
                                       .value_head = SH_RECORD_HEAD_NONE,
                                       .other = check_record},
                             .table = table,
                             .store = store,
                             .budget = budget};
    begin_subject(&check->key, &topic->key, "key");
    begin_subject(&check->value, &topic->value, "value");
}

void sh_record_check_next_batch(ShRecordCheck *check, size_t record_count)
{
    check->first_index += record_count;
}

ShStatus sh_record_check_end(ShRecordCheck *check, ShError *err)
{
    forget(&check->key);
    forget(&check->value);
    sh_schema_table_unref(check->table);
    if (check->out_of_memory)
        return sh_fail(err, SH_NO_MEMORY, "no memory to tell which records do not fit");
    if (check->out_of_budget)
        return sh_fail(err, SH_TOO_LARGE,
                       "holding the request's records against their schemas takes more work than one request "
                       "may ask for: send fewer at once, or make the schema simpler");
    if (check->awaited_id == 0)
        return SH_OK;
    ShStatus status = sh_fail(err, SH_UNAVAILABLE,
                              "schema %d is not known here yet: PostgreSQL is asked about it",
                              (int)check->awaited_id);
    return sh_fail_retry_after(err, status, FETCH_RETRY_MS);
}

static void begin_subject(ShSubjectCheck *subject, const ShPartSchemas *part, const char *name)
{
    *subject = (ShSubjectCheck){.part = part,
                                .name = name,
                                .needs_text = sh_part_schemas_needs_text(part),
                                .settled_head = SH_RECORD_HEAD_NONE};
}

/* Nearly all records are of the schema that the one before was of, and fit it. */
static bool check_record(ShBatchWatch *watch, int32_t index, const ShRecord *record)
{
    ShRecordCheck *check = (ShRecordCheck *)watch;
    const ShSubjectCheck *value = &check->value;
    if (watch->keys || record->value == NULL || record->value_length < SH_RECORD_HEAD_BYTES ||
        sh_record_head(record->value) != value->settled_head)
        return check_thoroughly(check, index, record);
    ShError why; /* filled in by what fails */
    ShStatus status = sh_schema_validate(value->schema->schema, record->value + SH_RECORD_HEAD_BYTES,
                                         record->value_length - SH_RECORD_HEAD_BYTES, check->budget, &why);
    return status == SH_OK || refuse_value(check, index, status, &why);
}

static bool check_thoroughly(ShRecordCheck *check, int32_t index, const ShRecord *record)
{
    ShBatchWatch *watch = &check->watch;
    ShError err; /* filled in by what fails */
    ShStatus status = SH_OK;
    if (watch->keys && record->key != NULL)
        status = check_bytes(check, &check->key, &watch->key_head, record->key, record->key_length, &err);
    if (status == SH_OK && watch->values && record->value != NULL)
        status = check_bytes(check, &check->value, &watch->value_head, record->value, record->value_length,
                             &err);
    return settle_record(check, index, status, &err);
}

static bool refuse_value(ShRecordCheck *check, int32_t index, ShStatus status, const ShError *why)
{
    ShError err;
    status = explain(&check->value, status, why, &err);
    return settle_record(check, index, status, &err);
}

/* Is it stored? What is refused is told with its reason. */
static bool settle_record(ShRecordCheck *check, int32_t index, ShStatus status, const ShError *err)
{
    if (status == SH_EXHAUSTED || status == SH_CANCELLED)
        check->out_of_budget = true;
    if (status == SH_NO_MEMORY)
        check->out_of_memory = true;
    if (status == SH_INVALID &&
        !sh_record_errors_add(&check->errors, check->first_index + (size_t)index, err->message))
        check->out_of_memory = true;
    return status == SH_OK;
}

/* SH_OK, SH_INVALID, or SH_UNAVAILABLE: it cannot be told yet, or SH_EXHAUSTED: nor in this request. */
static inline ShStatus check_bytes(ShRecordCheck *check, ShSubjectCheck *subject, uint64_t *expected_head,
                                   const uint8_t *bytes, size_t length, ShError *err)
{
    if (length >= SH_RECORD_HEAD_BYTES && sh_record_head(bytes) == subject->settled_head)
        return check_payload(check, subject, bytes + SH_RECORD_HEAD_BYTES, length - SH_RECORD_HEAD_BYTES,
                             err);
    return check_head(check, subject, expected_head, bytes, length, err);
}

static ShStatus check_head(ShRecordCheck *check, ShSubjectCheck *subject, uint64_t *expected_head,
                           const uint8_t *bytes, size_t length, ShError *err)
{
    if (sh_record_has_head(bytes, length, *expected_head))
        return SH_OK;
    if (length < SH_RECORD_HEAD_BYTES || bytes[0] != 0)
        return sh_fail(err, SH_INVALID,
                       "the %s does not begin with a schema's id (a byte 0, then the id in four bytes, "
                       "big-endian), which the topic's %s_validation asks for",
                       subject->name, subject->name);
    uint32_t id = sh_get_u32(bytes + 1);
    if (id == 0 || id > INT32_MAX)
        return sh_fail(err, SH_INVALID, "the %s names schema %u, which cannot be an id", subject->name,
                       (unsigned)id);
    if (!sh_part_schemas_has(subject->part, SH_ANY_RECORD, (int32_t)id))
        return check_id(check, subject, (int32_t)id, err);
    bool is_id_enough = true;
    if (subject->needs_text) {
        const uint8_t *payload = bytes + SH_RECORD_HEAD_BYTES;
        size_t payload_bytes = length - SH_RECORD_HEAD_BYTES;
        ShStatus status = settle(check, subject, (int32_t)id, payload, payload_bytes, err);
        if (status != SH_OK) {
            forget(subject);
            return status;
        }
        bool name_varies = subject->part->strategy != SH_SUBJECT_TOPIC &&
                           sh_schema_type(subject->schema->schema) == SH_SCHEMA_PROTOBUF;
        if (subject->part->validation == SH_VALIDATION_FULL) {
            subject->settled_head = name_varies ? SH_RECORD_HEAD_NONE : sh_record_head(bytes);
            return check_payload(check, subject, payload, payload_bytes, err);
        }
        is_id_enough = !name_varies;
    }
    if (is_id_enough)
        *expected_head = sh_record_head(bytes);
    return SH_OK;
}

/* An id that the subject does not have, as far as this agent knows. */
static ShStatus check_id(ShRecordCheck *check, const ShSubjectCheck *subject, int32_t id, ShError *err)
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

/* Have the schema itself, and hold the name of its records against their subject. */
static ShStatus settle(ShRecordCheck *check, ShSubjectCheck *subject, int32_t id, const uint8_t *payload,
                       size_t payload_bytes, ShError *err)
{
    if (subject->schema == NULL || subject->schema->id != id) {
        forget(subject);
        subject->schema = sh_schema_store_find(check->store, id);
    }
    if (subject->schema == NULL) {
        check->awaited_id = id;
        return SH_UNAVAILABLE;
    }
    if (subject->schema->schema == NULL)
        return sh_fail(err, SH_INVALID, "the %s names schema %d, which cannot be used: %.200s", subject->name,
                       (int)id, subject->schema->problem);
    if (subject->part->strategy == SH_SUBJECT_TOPIC)
        return SH_OK;
    return check_name(check, subject, payload, payload_bytes, err);
}

/* A Protobuf schema may hold several messages: the payload tells which one it is. */
static ShStatus check_name(ShRecordCheck *check, const ShSubjectCheck *subject, const uint8_t *payload,
                           size_t payload_bytes, ShError *err)
{
    const ShStoredSchema *stored = subject->schema;
    const char *name = sh_schema_record_name(stored->schema, payload, payload_bytes);
    if (name == NULL)
        return sh_fail(err, SH_INVALID,
                       "the %s names schema %d, which has no record name, by which its subject is found",
                       subject->name, (int)stored->id);
    if (!sh_part_schemas_has(subject->part, name, stored->id))
        return check_id(check, subject, stored->id, err);
    return SH_OK;
}

static ShStatus check_payload(ShRecordCheck *check, const ShSubjectCheck *subject, const uint8_t *payload,
                              size_t payload_bytes, ShError *err)
{
    ShError why;
    ShStatus status = sh_schema_validate(subject->schema->schema, payload, payload_bytes, check->budget,
                                         &why);
    return status == SH_OK ? SH_OK : explain(subject, status, &why, err);
}

/* What could not be told for the work that it takes is refused as well, for that reason. */
static ShStatus explain(const ShSubjectCheck *subject, ShStatus status, const ShError *why, ShError *err)
{
    if (status == SH_INVALID)
        return sh_fail(err, SH_INVALID, "the %s does not fit schema %d: %.200s", subject->name,
                       (int)subject->schema->id, why->message);
    if (status == SH_TOO_LARGE)
        return sh_fail(err, SH_INVALID, "the %s cannot be held against schema %d: %.200s", subject->name,
                       (int)subject->schema->id, why->message);
    *err = *why;
    return status;
}

static void forget(ShSubjectCheck *subject)
{
    sh_schema_store_release(subject->schema);
    subject->schema = NULL;
    subject->settled_head = SH_RECORD_HEAD_NONE;
}
