/* From a request to a question: routes, bodies, content types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/registry/routes.h"

/* The error code in an answer. */
static int code_of(const ShRegistryAnswer *answer)
{
    json_t *body = json_loadb(answer->body, answer->body_bytes, 0, NULL);
    int code = (int)json_integer_value(json_object_get(body, "error_code"));
    json_decref(body);
    return code;
}

/* 0: there is a question; else the status or the code of the error that is the answer. */
static int prepare(ShRegistryCall *call, const char *method, const char *target, const char *body,
                   const char **allow)
{
    ShRegistryAnswer answer = {.status = 0};
    bool asks = sh_registry_call_route(call, method, target, &answer) &&
                sh_registry_call_prepare(call, body, strlen(body), &answer);
    int result = asks ? 0 : answer.status == 200 ? 200 : code_of(&answer);
    if (allow != NULL)
        *allow = answer.allow;
    sh_registry_answer_free(&answer);
    return result;
}

static void assert_values(const ShRegistryCall *call, size_t count, const char *const *values)
{
    for (size_t i = 0; i < count; i++) {
        if (values[i] == NULL)
            assert_null(call->values[i]);
        else
            assert_string_equal(call->values[i], values[i]);
    }
}

static void test_questions(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *target;
        const char *body;
        ShPgSchemaQuestion question;
        size_t count;
        const char *values[7];
    } cases[] = {
        {"GET",
         "/subjects?deleted=true&subjectPrefix=:*:a",
         "",
         SH_PG_SCHEMA_SUBJECTS,
         5,
         {"true", "false", "a", "0", "-1"}},
        {"HEAD", "/subjects/s/versions", "", SH_PG_SCHEMA_VERSIONS, 5, {"s", "false", "false", "0", "-1"}},
        {"GET",
         "/subjects/a%2Fb/versions/latest",
         "",
         SH_PG_SCHEMA_VERSION,
         4,
         {"a/b", "latest", "false", NULL}},
        {"GET", "/subjects/versions/versions/1/schema", "", SH_PG_SCHEMA_VERSION_TEXT, 2, {"versions", "1"}},
        {"POST",
         "/subjects/s/versions?normalize=true",
         "{\"schema\":\"x\"}",
         SH_PG_SCHEMA_REGISTER,
         7,
         {"s", "x", "AVRO", "[]", "true", NULL, NULL}},
        {"POST",
         "/subjects/s/versions",
         "{\"schema\":\"x\",\"schemaType\":\"JSON\",\"references\":[1],\"id\":5,\"version\":2,\"new\":1}",
         SH_PG_SCHEMA_REGISTER,
         7,
         {"s", "x", "JSON", "[1]", "false", "5", "2"}},
        {"POST",
         "/subjects/s/versions",
         "{\"schema\":\"x\",\"references\":null,\"id\":-1,\"version\":0,\"metadata\":null,\"ruleSet\":{}}",
         SH_PG_SCHEMA_REGISTER,
         7,
         {"s", "x", "AVRO", "[]", "false", NULL, NULL}},
        {"POST",
         "/subjects/s?deleted=true",
         "{}",
         SH_PG_SCHEMA_LOOKUP,
         7,
         {"s", "", "AVRO", "[]", "false", "true", NULL}},
        {"POST",
         "/compatibility/subjects/s/versions",
         "{}",
         SH_PG_SCHEMA_COMPATIBLE,
         7,
         {"s", "", "AVRO", "[]", "false", NULL, "false"}},
        {"POST",
         "/compatibility/subjects/s/versions/3?verbose=true",
         "{}",
         SH_PG_SCHEMA_COMPATIBLE,
         7,
         {"s", "", "AVRO", "[]", "false", "3", "true"}},
        {"GET", "/config", "", SH_PG_SCHEMA_GET_LEVEL, 2, {NULL, "true"}},
        {"GET", "/config/s", "", SH_PG_SCHEMA_GET_LEVEL, 2, {"s", "false"}},
        {"PUT", "/config/s", "{\"compatibilityLevel\":\"FULL\"}", SH_PG_SCHEMA_SET_LEVEL, 2, {"s", "FULL"}},
        {"PUT",
         "/mode?force=true",
         "{\"mode\":\"IMPORT\"}",
         SH_PG_SCHEMA_SET_MODE,
         3,
         {NULL, "IMPORT", "true"}},
        {"DELETE", "/mode/s", "", SH_PG_SCHEMA_RESET_MODE, 1, {"s"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShRegistryCall call;
        int result = prepare(&call, cases[i].method, cases[i].target, cases[i].body, NULL);
        if (result != 0 || call.question != cases[i].question)
            fail_msg("%s %s: answered with %d", cases[i].method, cases[i].target, result);
        assert_values(&call, cases[i].count, cases[i].values);
        sh_registry_call_free(&call);
    }
}

/* What waits for which of PostgreSQL's connections. */
static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *target;
        const char *body;
        ShRegistryKind kind;
    } cases[] = {
        {"GET", "/schemas/ids/1", "", SH_REGISTRY_LOOK_UP},
        {"HEAD", "/subjects/s/versions/latest", "", SH_REGISTRY_LOOK_UP},
        {"GET", "/config", "", SH_REGISTRY_LOOK_UP},
        {"GET", "/subjects", "", SH_REGISTRY_WORK},
        {"GET", "/schemas/ids/1/versions", "", SH_REGISTRY_WORK},
        {"POST", "/subjects/s/versions", "{\"schema\":\"x\"}", SH_REGISTRY_WORK},
        {"DELETE", "/subjects/s", "", SH_REGISTRY_WORK},
        {"GET", "/schemas", "", SH_REGISTRY_SCHEMAS},
        {"HEAD", "/schemas?limit=1", "", SH_REGISTRY_SCHEMAS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ShRegistryCall call;
        assert_int_equal(prepare(&call, cases[i].method, cases[i].target, cases[i].body, NULL), 0);
        assert_int_equal(call.kind, cases[i].kind);
        sh_registry_call_free(&call);
    }
}

static void test_answers_without_a_question(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *target;
        const char *body;
        int result;
        const char *allow;
    } cases[] = {
        {"GET", "/", "", 200, NULL},
        {"GET", "/schemas/types", "", 200, NULL},
        {"GET", "/nothing", "", 404, NULL},
        {"GET", "/subjects/s/versions/1/schema/x", "", 404, NULL},
        {"PUT", "/subjects", "", 405, "GET"},
        {"PATCH", "/config/s", "", 405, "GET, PUT, DELETE"},
        {"PUT", "/subjects/s", "", 405, "POST, DELETE"},
        {"GET", "/subjects/%", "", 400, NULL},
        {"GET", "/subjects?limit=x", "", 400, NULL},
        {"GET", "/schemas/ids/x", "", 404, NULL},
        {"POST", "/subjects/s/versions", "", 422, NULL},
        {"POST", "/subjects/s/versions", "nonsense", 400, NULL},
        {"POST", "/subjects/s/versions", "[]", 400, NULL},
        {"POST", "/subjects/s/versions", "{\"schema\":{}}", 400, NULL},
        {"POST", "/subjects/s/versions", "{\"schema\":\"x\",\"schema\":\"y\"}", 400, NULL},
        {"POST", "/subjects/s/versions", "{\"schemaType\":1}", 400, NULL},
        {"POST", "/subjects/s/versions", "{\"id\":2147483648}", 400, NULL},
        {"POST", "/subjects/s/versions", "{\"version\":1.5}", 400, NULL},
        {"POST", "/subjects/s/versions", "{\"metadata\":{\"tags\":{}}}", 422, NULL},
        {"PUT", "/config", "{\"compatibility\":1}", 400, NULL},
        {"PUT", "/config", "{\"normalize\":true}", 422, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShRegistryCall call;
        const char *allow;
        int result = prepare(&call, cases[i].method, cases[i].target, cases[i].body, &allow);
        if (result != cases[i].result)
            fail_msg("%s %s %s: %d", cases[i].method, cases[i].target, cases[i].body, result);
        if (cases[i].allow != NULL)
            assert_string_equal(allow, cases[i].allow);
        sh_registry_call_free(&call);
    }
}

static void test_what_may_be_cached(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        bool is_cacheable;
        ShRegistryForm form;
    } cases[] = {
        {"/schemas/ids/7", true, SH_REGISTRY_FORM_OBJECT},
        {"/schemas/ids/7?subject=s&format=serialized", true, SH_REGISTRY_FORM_OBJECT_SERIALIZED},
        {"/schemas/ids/7/schema", true, SH_REGISTRY_FORM_TEXT},
        {"/schemas/ids/7/schema?format=serialized", true, SH_REGISTRY_FORM_TEXT_SERIALIZED},
        {"/schemas/ids/7?fetchMaxId=true", false, SH_REGISTRY_FORM_OBJECT},
        {"/schemas/ids/7/versions", false, SH_REGISTRY_FORM_OBJECT},
        {"/subjects/s/versions/1", false, SH_REGISTRY_FORM_OBJECT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShRegistryCall call;
        assert_int_equal(prepare(&call, "GET", cases[i].target, "", NULL), 0);
        assert_int_equal(call.is_cacheable, cases[i].is_cacheable);
        if (cases[i].is_cacheable) {
            assert_int_equal(call.id, 7);
            assert_int_equal(call.form, cases[i].form);
        }
        sh_registry_call_free(&call);
    }
    ShRegistryCall call;
    assert_int_equal(prepare(&call, "DELETE", "/subjects/s?permanent=true", "", NULL), 0);
    assert_true(call.deletes_for_good);
    sh_registry_call_free(&call);
}

static void test_content_types(void **state)
{
    (void)state;
    static const char v1[] = "application/vnd.schemaregistry.v1+json";
    assert_false(sh_registry_takes_content_type(NULL));
    assert_true(sh_registry_takes_content_type("Application/JSON ; charset=utf-8"));
    assert_true(sh_registry_takes_content_type("application/octet-stream"));
    assert_false(sh_registry_takes_content_type("application/jsonp"));
    assert_false(sh_registry_takes_content_type("text/plain"));
    assert_string_equal(sh_registry_choose_content_type(NULL), v1);
    assert_string_equal(sh_registry_choose_content_type("*/*"), v1);
    assert_string_equal(sh_registry_choose_content_type("application/json"), "application/json");
    assert_string_equal(sh_registry_choose_content_type("application/json;q=0.9, application/*;q=0.2"),
                        "application/json");
    assert_string_equal(sh_registry_choose_content_type("text/html,application/*; q=0.1"), v1);
    assert_null(sh_registry_choose_content_type("application/json;q=0"));
    assert_null(sh_registry_choose_content_type("text/html"));
    assert_null(sh_registry_choose_content_type(","));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_answers_without_a_question),
        cmocka_unit_test(test_what_may_be_cached),
        cmocka_unit_test(test_content_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
