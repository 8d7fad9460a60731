/*
 * schema.h - schemas of records: parsed, compared, and held against bytes.
 *
 * Three languages (Avro, JSON Schema, Protobuf), one interface. The registry in PostgreSQL parses and
 * compares, agents validate what is produced; both use this folder. It has no I/O and no global state.
 *
 * All input is foreign: every function bounds nesting, sizes and work, and answers SH_INVALID or SH_TOO_LARGE
 * with words that name the place and the remedy. Memory comes from malloc and belongs to the objects below.
 *
 * A ShSchema is constant once parsed: threads may share it.
 */
#ifndef SH_SCHEMA_SCHEMA_H
#define SH_SCHEMA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "schema/budget.h"

#define SH_SCHEMA_BYTES_MAX   (4u << 20)  /* text of one schema, or of one reference */
#define SH_SCHEMA_TEXTS_MAX   (16u << 20) /* text of a schema and of all its references */
#define SH_SCHEMA_NESTING_MAX 100         /* types within types, in one schema's text */
#define SH_SCHEMA_REFS_MAX    1000        /* references of one schema, those of references included */

typedef enum ShSchemaType { SH_SCHEMA_AVRO = 1, SH_SCHEMA_JSON = 2, SH_SCHEMA_PROTOBUF = 3 } ShSchemaType;

/* "AVRO", "JSON", "PROTOBUF". */
const char *sh_schema_type_name(ShSchemaType type);

/* A schema that another one names: by full name (Avro), by the URL in $ref (JSON), by import path (Protobuf).
 */
typedef struct ShSchemaReference {
    const char *name;
    const char *text;
    size_t text_bytes;
} ShSchemaReference;

typedef struct ShSchema ShSchema;

/* Parse a schema. `references` holds those it needs and those that they need, each after what it needs
 * itself; the bytes are not kept. `*out` is freed with sh_schema_free. SH_INVALID names line, path or name.
 *
 * `budget`, here and below, may be NULL: then the call has one of its own, of SH_BUDGET_CALL_STEPS and
 * SH_BUDGET_SCHEMA_BYTES. SH_EXHAUSTED: it is spent; SH_CANCELLED: its `stop` said so. */
ShStatus sh_schema_parse(ShSchemaType type, const char *text, size_t text_bytes,
                         const ShSchemaReference *references, size_t reference_count, ShSchemaBudget *budget,
                         ShSchema **out, ShError *err) SH_MUST_CHECK;
/* NULL is fine. */
void sh_schema_free(ShSchema *schema);

/* The memory that it takes, compiled patterns included, or somewhat more. */
size_t sh_schema_bytes(const ShSchema *schema);

ShSchemaType sh_schema_type(const ShSchema *schema);

/* --- its text, in one form for all that mean the same
 * --------------------------------------------------------- */

typedef enum ShSchemaForm {
    /* What the registry keeps and compares: the same attributes in the same order, white space aside. */
    SH_SCHEMA_FORM_CANONICAL = 1,
    /* What `normalize` asks for: the order of attributes and other things without meaning are made equal. */
    SH_SCHEMA_FORM_NORMALIZED = 2,
    /* Avro's parsing canonical form, of which fingerprints are taken; the others: as NORMALIZED. */
    SH_SCHEMA_FORM_PARSING = 3,
    /* Protobuf's FileDescriptorProto in base64, which clients may ask for and register; the others: as
       CANONICAL. */
    SH_SCHEMA_FORM_SERIALIZED = 4
} ShSchemaForm;

/* The schema's text in a form, ended by NUL, without the references' texts. Free it with free(). */
ShStatus sh_schema_text(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                        ShError *err) SH_MUST_CHECK;

/* --- compatibility
 * -------------------------------------------------------------------------------------------- */

/* One reason why two schemas do not fit. */
typedef struct ShSchemaFinding {
    const char *kind; /* the Confluent registry's word for it, such as "READER_FIELD_MISSING_DEFAULT_VALUE" */
    char *path;       /* where, as a JSON pointer or the like: "/fields/2/type" */
    char *message;    /* what breaks, and what would be compatible */
} ShSchemaFinding;

#define SH_SCHEMA_FINDINGS_MAX 1000 /* more are not kept */

typedef struct ShSchemaFindings {
    ShSchemaFinding *items;
    size_t count;
} ShSchemaFindings;

/* Can what was written with `writer` be read with `reader`? `*out` gets every reason why not: none means yes.
 * The two must be of one type, else there is one finding. Free with sh_schema_findings_free. */
ShStatus sh_schema_compare(const ShSchema *reader, const ShSchema *writer, ShSchemaBudget *budget,
                           ShSchemaFindings *out, ShError *err) SH_MUST_CHECK;
void sh_schema_findings_free(ShSchemaFindings *findings);

/* Add one; the format is of the message. For the comparisons of this folder. False when memory is short. */
bool sh_schema_findings_add(ShSchemaFindings *findings, const char *kind, const char *path, const char *fmt,
                            ...) SH_PRINTF(4, 5);

/* --- data
 * ----------------------------------------------------------------------------------------------------- */

/* Does a payload fit? `payload` is what follows the wire header's five bytes (0, schema id): Avro's binary
 * form; JSON text; Protobuf's message index list and then the message. SH_INVALID says where it does not, and
 * why.
 *
 * SH_TOO_LARGE: it cannot be told, since that takes more than a record's share of the budget; SH_EXHAUSTED,
 * SH_CANCELLED: since the budget has ended. Avro and Protobuf, whose work goes by the payload's bytes alone,
 * spend none. */
ShStatus sh_schema_validate(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes,
                            ShSchemaBudget *budget, ShError *err) SH_MUST_CHECK;

/* The name that the subject strategies `record` and `topic-record` use: an Avro type's full name, a JSON
 * schema's title, the full name of the Protobuf message that the payload's index list names (payload may be
 * NULL: the first message). Borrowed from the schema; NULL when it has none. */
const char *sh_schema_record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes);

#endif
