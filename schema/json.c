/* json.c - JSON Schema as a language of schemas. */
#include <stdlib.h>

#include "schema/json_node.h"

#define MEMORY_A_STEP 64 /* of the parsed schema, while it is written */

static ShStatus text_of(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                        ShError *err);
static const char *record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes);

const ShSchemaLanguage sh_schema_json = {
    .parse = sh_json_parse,
    .free = sh_json_free,
    .text = text_of,
    .compare = sh_json_compare,
    .validate = sh_json_validate,
    .record_name = record_name,
};

/* The order of an object's members means nothing to JSON; the canonical form keeps it for those who read it.
 */
static ShStatus text_of(const ShSchema *schema, ShSchemaForm form, ShSchemaBudget *budget, char **out,
                        ShError *err)
{
    const ShJsonSchema *json = (const ShJsonSchema *)schema;
    if (!sh_budget_spend(budget, schema->bytes / MEMORY_A_STEP))
        return budget->ended;
    bool keeps_order = form == SH_SCHEMA_FORM_CANONICAL || form == SH_SCHEMA_FORM_SERIALIZED;
    char *text = json_dumps(json->documents[0],
                            JSON_COMPACT | JSON_ENCODE_ANY | (keeps_order ? 0 : JSON_SORT_KEYS));
    if (text == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the text of a schema");
    *out = text;
    return SH_OK;
}

static const char *record_name(const ShSchema *schema, const uint8_t *payload, size_t payload_bytes)
{
    (void)payload;
    (void)payload_bytes;
    return json_string_value(json_object_get(((const ShJsonSchema *)schema)->documents[0], "title"));
}
