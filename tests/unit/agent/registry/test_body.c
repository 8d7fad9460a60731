/* Bodies of requests: what they may cost while they are read, and what is kept of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "agent/registry/body.h"

#define MB ((size_t)1 << 20)

/* --- what jansson has, now and at most */

static size_t taken_bytes;
static size_t peak_bytes;

static void *take(size_t size)
{
    void *memory = malloc(size);
    assert_non_null(memory);
    taken_bytes += malloc_usable_size(memory);
    peak_bytes = taken_bytes > peak_bytes ? taken_bytes : peak_bytes;
    return memory;
}

static void give_back(void *memory)
{
    if (memory == NULL)
        return;
    taken_bytes -= malloc_usable_size(memory);
    free(memory);
}

/* --- bodies */

typedef struct Text {
    char *chars;
    size_t length;
} Text;

static int open_text(void **state)
{
    *state = calloc(1, sizeof(Text));
    assert_non_null(*state);
    ((Text *)*state)->chars = malloc(SH_REGISTRY_BODY_BYTES_MAX + 64);
    assert_non_null(((Text *)*state)->chars);
    taken_bytes = peak_bytes = 0;
    return 0;
}

static int close_text(void **state)
{
    free(((Text *)*state)->chars);
    free(*state);
    return 0;
}

static void add(Text *text, const char *more)
{
    size_t length = strlen(more);
    assert_in_range(text->length + length, 0, SH_REGISTRY_BODY_BYTES_MAX);
    memcpy(text->chars + text->length, more, length);
    text->length += length;
}

static void add_many(Text *text, const char *more, size_t bytes)
{
    for (size_t end = text->length + bytes; text->length < end;)
        add(text, more);
}

/* An answer's text is jansson's until it is the answer's, which frees it. */
static void free_answer(ShRegistryAnswer *answer)
{
    taken_bytes -= malloc_usable_size(answer->body);
    sh_registry_answer_free(answer);
}

static unsigned read_schema(const Text *text, ShRegistrySchemaBody *out)
{
    ShRegistryAnswer answer = {0};
    *out = (ShRegistrySchemaBody){0};
    bool good = sh_registry_body_schema(text->chars, text->length, out, &answer);
    assert_true(good == (answer.status == 0));
    unsigned status = answer.status;
    free_answer(&answer);
    return status;
}

static void fill(Text *text, const char *piece, size_t bytes)
{
    text->length = 0;
    add(text, "{\"schema\":\"\\\"string\\\"\",\"x\":[");
    add_many(text, piece, bytes);
    add(text, "0]}");
}

/* However foreign members are made up, reading them takes no more than the longest body of a schema may:
 * what would is refused before anything is taken, and as much of it as is read takes less. */
static void test_what_costs_more_than_schemas_do_is_refused(void **state)
{
    static const char *const costly[] = {"{},", "[],", "\"\",", "0,", "{\"a\":0},", "[[[]]],"};
    for (size_t i = 0; i < sizeof costly / sizeof *costly; i++) {
        Text *text = *state;
        ShRegistrySchemaBody body;
        char *setting = NULL;
        ShRegistryAnswer answer = {0};
        peak_bytes = 0;
        fill(text, costly[i], 8 * MB);
        assert_int_equal(read_schema(text, &body), 413);
        assert_false(sh_registry_body_setting(text->chars, text->length, "mode", "mode", &setting, &answer));
        assert_int_equal(answer.status, 413);
        assert_non_null(strstr(answer.body, "members"));
        free_answer(&answer);
        assert_in_range(peak_bytes, 0, 10000);
        for (size_t bytes = 4 * MB; read_schema(text, &body) != 0; bytes = bytes / 4 * 3)
            fill(text, costly[i], bytes);
        assert_in_range(peak_bytes, MB, SH_REGISTRY_BODY_MEMORY_MAX);
        sh_registry_body_schema_free(&body);
        assert_int_equal(taken_bytes, 0);
    }
}

/* The bound is on what is made of a body; what stands in a text is text. */
static void test_the_largest_schemas_are_read(void **state)
{
    Text *text = *state;
    ShRegistrySchemaBody body;
    add(text, "{\"schema\":\"");
    add_many(text, "{\\\"a\\\":[{},[],\\\"\\\\\\\\\\\"]},", 8 * MB);
    add(text, "\",\"references\":[");
    add_many(text, "{\"name\":\"name\",\"subject\":\"subject\",\"version\":1},", 1000 * 47);
    add(text, "{}],\"metadata\":null}");
    assert_int_equal(read_schema(text, &body), 0);
    assert_int_equal(strncmp(body.schema, "{\"a\":[{},[],\"\\\\\"]},", 18), 0);
    assert_string_equal(body.type, "AVRO");
    assert_int_equal(strncmp(body.references, "[{\"name\":\"name\",", 16), 0);
    sh_registry_body_schema_free(&body);
    assert_int_equal(taken_bytes, 0);
}

static void test_only_what_is_asked_with_is_kept(void **state)
{
    Text *text = *state;
    ShRegistrySchemaBody body;
    add(text, "{\"schema\":\"\\\"int\\\"\",\"schemaType\":\"JSON\",\"id\":7,\"version\":-1,\"x\":[");
    add_many(text, "{},", 30000);
    add(text, "0],\"references\":[{\"name\":\"n\"}]}");
    assert_int_equal(read_schema(text, &body), 0);
    assert_string_equal(body.schema, "\"int\"");
    assert_string_equal(body.type, "JSON");
    assert_string_equal(body.id, "7");
    assert_null(body.version);
    assert_string_equal(body.references, "[{\"name\":\"n\"}]");
    assert_in_range(peak_bytes, 500000, 4 * MB);
    assert_in_range(taken_bytes, 1, 2000);
    sh_registry_body_schema_free(&body);
    assert_int_equal(taken_bytes, 0);
}

/* Fractions are written out longer than they came: what is kept would be more than what was counted. */
static void test_references_do_not_grow(void **state)
{
    Text *text = *state;
    ShRegistrySchemaBody body;
    add(text, "{\"schema\":\"\\\"int\\\"\",\"references\":[");
    add_many(text, "0.1,", 4000);
    add(text, "0]}");
    assert_int_equal(read_schema(text, &body), 422);
    assert_int_equal(taken_bytes, 0);
}

static void test_what_a_number_may_be(void **state)
{
    static const struct {
        const char *text;
        unsigned status;
    } cases[] = {{"{\"schema\":\"\",\"id\":2147483647}", 0},
                 {"{\"schema\":\"\",\"id\":2147483648}", 400},
                 {"{\"schema\":\"\",\"id\":99999999999999999999}", 400},
                 {"{\"schema\":\"\",\"id\":1.5}", 400},
                 {"{\"schema\":\"\",\"id\":\"1\"}", 400},
                 {"{\"schema\":7}", 400},
                 {"{\"schema\":\"\",\"schema\":\"\"}", 400},
                 {"[]", 400},
                 {"{\"schema\":\"", 400},
                 {"", 422},
                 {"{\"ruleSet\":{\"a\":1}}", 422}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Text *text = *state;
        ShRegistrySchemaBody body;
        text->length = 0;
        add(text, cases[i].text);
        assert_int_equal(read_schema(text, &body), cases[i].status);
        sh_registry_body_schema_free(&body);
        assert_int_equal(taken_bytes, 0);
    }
}

int main(void)
{
#define each(test) cmocka_unit_test_setup_teardown(test, open_text, close_text)
    const struct CMUnitTest tests[] = {
        each(test_what_costs_more_than_schemas_do_is_refused),
        each(test_the_largest_schemas_are_read),
        each(test_only_what_is_asked_with_is_kept),
        each(test_references_do_not_grow),
        each(test_what_a_number_may_be),
    };
    json_set_alloc_funcs(take, give_back);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
