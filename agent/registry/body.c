#include "agent/registry/body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/json_load.h"

static json_t *load_object(const char *bytes, size_t length, ShRegistryAnswer *answer);
static json_t *load(const char *bytes, size_t length, ShRegistryAnswer *answer);
static bool refuse_extras(const json_t *root, const char *const *names, ShRegistryAnswer *answer);
static bool is_said(const json_t *value);
static bool read_text(const json_t *root, const char *name, const char *otherwise, const char **out,
                      ShRegistryAnswer *answer);
static bool read_number(const json_t *root, const char *name, json_int_t none, ShRegistryNumberText *storage,
                        const char **out, ShRegistryAnswer *answer);
static bool read_references(const json_t *root, size_t length, char **out, ShRegistryAnswer *answer);
static bool keep_texts(const json_t *root, json_t **out, ShRegistryAnswer *answer);

bool sh_registry_body_schema(const char *bytes, size_t length, ShRegistrySchemaBody *out,
                             ShRegistryAnswer *answer)
{
    /* To leave out a rule for encryption in silence would let a client write plain text. */
    static const char *const refused[] = {"metadata", "ruleSet", "schemaTagsToAdd", "schemaTagsToRemove",
                                          NULL};
    ShRegistrySchemaBody body = {.texts = NULL};
    json_t *root = load_object(bytes, length, answer);
    bool good = root != NULL && refuse_extras(root, refused, answer) &&
                read_text(root, "schema", "", &body.schema, answer) &&
                read_text(root, "schemaType", "AVRO", &body.type, answer) &&
                read_references(root, length, &body.references, answer) &&
                read_number(root, "id", -1, &out->numbers[0], &body.id, answer) &&
                read_number(root, "version", 0, &out->numbers[1], &body.version, answer) &&
                keep_texts(root, &body.texts, answer);
    json_decref(root);
    if (!good) {
        sh_registry_body_schema_free(&body);
        return false;
    }
    memcpy(body.numbers, out->numbers, sizeof body.numbers);
    *out = body;
    out->id = body.id == NULL ? NULL : out->numbers[0].text;
    out->version = body.version == NULL ? NULL : out->numbers[1].text;
    return true;
}

void sh_registry_body_schema_free(ShRegistrySchemaBody *body)
{
    json_decref(body->texts);
    free(body->references);
    *body = (ShRegistrySchemaBody){.texts = NULL};
}

bool sh_registry_body_setting(const char *bytes, size_t length, const char *name, const char *other_name,
                              char **out, ShRegistryAnswer *answer)
{
    static const char *const refused[] = {"alias",          "compatibilityGroup", "defaultMetadata",
                                          "defaultRuleSet", "overrideMetadata",   "overrideRuleSet",
                                          "normalize",      "validateFields",     NULL};
    json_t *root = load_object(bytes, length, answer);
    const char *text;
    bool good = root != NULL && refuse_extras(root, refused, answer) &&
                read_text(root, json_object_get(root, name) == NULL ? other_name : name, "", &text, answer);
    if (good && (*out = strdup(text)) == NULL) {
        sh_registry_answer_error(answer, 50001, "memory is short");
        good = false;
    }
    json_decref(root);
    return good;
}

static json_t *load_object(const char *bytes, size_t length, ShRegistryAnswer *answer)
{
    if (length == 0) {
        sh_registry_answer_error(answer, 422, "the request has no body; it takes a JSON object");
        return NULL;
    }
    json_t *root = load(bytes, length, answer);
    if (root == NULL || json_is_object(root))
        return root;
    sh_registry_answer_error(answer, 400, "the body is not a JSON object");
    json_decref(root);
    return NULL;
}

/* Members and elements take up to a hundred times what they are written with. */
static json_t *load(const char *bytes, size_t length, ShRegistryAnswer *answer)
{
    json_error_t error;
    ShSchemaBudget budget;
    sh_budget_init(&budget, SH_BUDGET_CALL_STEPS, SH_REGISTRY_BODY_MEMORY_MAX);
    json_t *root = sh_json_load(bytes, length, JSON_REJECT_DUPLICATES, &budget, &error);
    if (root == NULL && sh_budget_has_ended(&budget))
        sh_registry_answer_error(answer, 413,
                                 "the body has too many members and elements: to read it would take more "
                                 "than %zu MB of memory",
                                 SH_REGISTRY_BODY_MEMORY_MAX >> 20);
    else if (root == NULL)
        sh_registry_answer_error(answer, 400, "the body is not JSON: line %d, column %d: %s", error.line,
                                 error.column, error.text);
    return root;
}

static bool refuse_extras(const json_t *root, const char *const *names, ShRegistryAnswer *answer)
{
    for (size_t i = 0; names[i] != NULL; i++) {
        if (is_said(json_object_get(root, names[i]))) {
            sh_registry_answer_error(answer, 422, "\"%s\" is not supported; leave it out", names[i]);
            return false;
        }
    }
    return true;
}

/* Clients send members that are empty, too. */
static bool is_said(const json_t *value)
{
    return value != NULL && !json_is_null(value) && !json_is_false(value) &&
           !(json_is_object(value) && json_object_size(value) == 0) &&
           !(json_is_array(value) && json_array_size(value) == 0);
}

static bool read_text(const json_t *root, const char *name, const char *otherwise, const char **out,
                      ShRegistryAnswer *answer)
{
    const json_t *value = json_object_get(root, name);
    if (value != NULL && !json_is_null(value) && !json_is_string(value)) {
        sh_registry_answer_error(
            answer, 400, "\"%s\" is not a string%s", name,
            strcmp(name, "schema") == 0 ? ": a schema is the text of one, also when it is JSON" : "");
        return false;
    }
    *out = json_is_string(value) ? json_string_value(value) : otherwise;
    return true;
}

/* -1 says that there is none, as `none` does. */
static bool read_number(const json_t *root, const char *name, json_int_t none, ShRegistryNumberText *storage,
                        const char **out, ShRegistryAnswer *answer)
{
    const json_t *value = json_object_get(root, name);
    *out = NULL;
    if (value == NULL || json_is_null(value))
        return true;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < INT32_MIN || number > INT32_MAX) {
        sh_registry_answer_error(answer, 400, "\"%s\" is not a whole number of 32 bits", name);
        return false;
    }
    if (number == none || number == -1)
        return true;
    snprintf(storage->text, sizeof storage->text, "%d", (int)number);
    *out = storage->text;
    return true;
}

/* Only fractions, which no reference has, are longer than they came: they are refused, so that what is kept
 * is no more than the body of `length` bytes. */
static bool read_references(const json_t *root, size_t length, char **out, ShRegistryAnswer *answer)
{
    const int flags = JSON_COMPACT | JSON_ENCODE_ANY;
    const json_t *value = json_object_get(root, "references");
    bool is_none = value == NULL || json_is_null(value);
    size_t bytes = is_none ? 2 : json_dumpb(value, NULL, 0, flags);
    if (bytes > length) {
        sh_registry_answer_error(answer, 422, "\"references\" has numbers that are no versions");
        return false;
    }
    char *text = malloc(bytes + 1);
    if (text == NULL) {
        sh_registry_answer_error(answer, 50001, "memory is short");
        return false;
    }
    if (is_none)
        memcpy(text, "[]", bytes);
    else
        (void)json_dumpb(value, text, bytes, flags);
    text[bytes] = '\0';
    *out = text;
    return true;
}

static bool keep_texts(const json_t *root, json_t **out, ShRegistryAnswer *answer)
{
    json_t *texts = json_pack("{s:O*,s:O*}", "schema", json_object_get(root, "schema"), "schemaType",
                              json_object_get(root, "schemaType"));
    if (texts == NULL) {
        sh_registry_answer_error(answer, 50001, "memory is short");
        return false;
    }
    *out = texts;
    return true;
}
