/*
 * The official test suite of JSON Schema, drafts 4, 6 and 7 (Debian's package json-schema-test-suite): every
 * required test of validation, its remote documents given as references. Later drafts: test_json.c.
 */
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "schema/schema.h"

#define SUITE       "/usr/share/json-schema-test-suite"
#define REMOTES_MAX 100

/* What is left out, by file and a part of the group's description. */
static const struct {
    const char *file;
    const char *group;
    const char *why;
} left_out[] = {
    {"definitions.json", "", "refers to the draft's own schema, which nobody registers"},
    {"ref.json", "remote ref, containing refs itself", "refers to the draft's own schema"},
};

static char *remote_names[REMOTES_MAX];
static char *remote_texts[REMOTES_MAX];
static ShSchemaReference remotes[REMOTES_MAX];
static size_t remote_count;

static void add_remotes(const char *folder, const char *name)
{
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char path[1024];
        char below[512];
        struct stat status;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        snprintf(below, sizeof below, "%s/%s", name, entry->d_name);
        if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
            add_remotes(path, below);
            continue;
        }
        json_t *document = json_load_file(path, JSON_DECODE_ANY, NULL);
        if (document == NULL || remote_count == REMOTES_MAX) {
            json_decref(document);
            continue;
        }
        remote_names[remote_count] = strdup(below);
        remote_texts[remote_count] = json_dumps(document, JSON_ENCODE_ANY);
        remotes[remote_count] = (ShSchemaReference){.name = remote_names[remote_count],
                                                    .text = remote_texts[remote_count],
                                                    .text_bytes = strlen(remote_texts[remote_count])};
        remote_count++;
        json_decref(document);
    }
    closedir(listing);
}

static bool is_left_out(const char *file, const char *group)
{
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        if ((*left_out[i].file == '\0' || strcmp(left_out[i].file, file) == 0) &&
            strstr(group, left_out[i].group) != NULL)
            return true;
    return false;
}

static size_t run_group(const json_t *group, const char *draft, const char *file, size_t *wrong)
{
    const char *what = json_string_value(json_object_get(group, "description"));
    json_t *json = json_deep_copy(json_object_get(group, "schema"));
    if (json_is_object(json) && json_object_get(json, "$schema") == NULL) {
        char uri[100];
        snprintf(uri, sizeof uri, "http://json-schema.org/%s/schema#", draft);
        json_object_set_new(json, "$schema", json_string(uri));
    }
    char *text = json_dumps(json, JSON_ENCODE_ANY);
    ShSchema *schema = NULL;
    ShError err = {0};
    if (sh_schema_parse(SH_SCHEMA_JSON, text, strlen(text), remotes, remote_count, NULL, &schema, &err) !=
        SH_OK) {
        print_error("%s/%s: %s: %s\n", draft, file, what, err.message);
        (*wrong)++;
    }
    const json_t *tests = json_object_get(group, "tests");
    size_t count = schema == NULL ? 0 : json_array_size(tests);
    for (size_t i = 0; i < count; i++) {
        const json_t *test = json_array_get(tests, i);
        char *data = json_dumps(json_object_get(test, "data"), JSON_ENCODE_ANY);
        ShStatus status = sh_schema_validate(schema, (const uint8_t *)data, strlen(data), NULL, &err);
        if ((status == SH_OK) != json_is_true(json_object_get(test, "valid"))) {
            print_error("%s/%s: %s: %s: %s\n", draft, file, what,
                        json_string_value(json_object_get(test, "description")),
                        status == SH_OK ? "accepted" : err.message);
            (*wrong)++;
        }
        free(data);
    }
    sh_schema_free(schema);
    free(text);
    json_decref(json);
    return count;
}

static void run_draft(const char *folder, const char *draft, size_t least)
{
    char path[512];
    size_t count = 0;
    size_t wrong = 0;
    snprintf(path, sizeof path, SUITE "/tests/%s", folder);
    DIR *listing = opendir(path);
    if (listing == NULL)
        fail_msg("%s is missing: install json-schema-test-suite", path);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char file[1024];
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 5, ".json") != 0)
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        json_t *groups = json_load_file(file, 0, NULL);
        for (size_t i = 0; i < json_array_size(groups); i++) {
            const json_t *group = json_array_get(groups, i);
            if (!is_left_out(entry->d_name, json_string_value(json_object_get(group, "description"))))
                count += run_group(group, draft, entry->d_name, &wrong);
        }
        json_decref(groups);
    }
    closedir(listing);
    print_message("%s: %zu tests\n", folder, count);
    assert_true(count >= least);
    assert_int_equal(wrong, 0);
}

static void test_draft_4(void **state)
{
    (void)state;
    run_draft("draft4", "draft-04", 300);
}
static void test_draft_6(void **state)
{
    (void)state;
    run_draft("draft6", "draft-06", 390);
}
static void test_draft_7(void **state)
{
    (void)state;
    run_draft("draft7", "draft-07", 400);
}
static int load_remotes(void **state)
{
    (void)state;
    add_remotes(SUITE "/remotes", "http://localhost:1234");
    return 0;
}

static int free_remotes(void **state)
{
    (void)state;
    for (size_t i = 0; i < remote_count; i++) {
        free(remote_names[i]);
        free(remote_texts[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_draft_4),
        cmocka_unit_test(test_draft_6),
        cmocka_unit_test(test_draft_7),
    };
    return cmocka_run_group_tests(tests, load_remotes, free_remotes);
}
