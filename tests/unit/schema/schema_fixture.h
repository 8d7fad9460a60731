/*
 * schema_fixture.h - what the tests of the three languages share. LANGUAGE, defined before it is included, is
 * the one that is tested.
 */
#ifndef SH_TEST_SCHEMA_FIXTURE_H
#define SH_TEST_SCHEMA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schema/schema.h"

/* A rule of compatibility: what was written with `writer` is read with `reader`. */
typedef struct RuleCase {
    const char *writer;
    const char *reader;
    const char *kind; /* of the one finding; NULL: they fit */
    const char *path;
    const char *source;
} RuleCase;

static inline ShSchema *parse_with(const char *text, const ShSchemaReference *references, size_t count)
{
    ShSchema *schema = NULL;
    ShError err = {0};
    if (sh_schema_parse(LANGUAGE, text, strlen(text), references, count, NULL, &schema, &err) != SH_OK)
        fail_msg("%s: %s", text, err.message);
    return schema;
}

static inline ShSchema *parse(const char *text)
{
    return parse_with(text, NULL, 0);
}

/* The text is no schema, and the message has the words. */
static inline void refused(const char *text, ShStatus expected, const char *words)
{
    ShSchema *schema = NULL;
    ShError err = {0};
    ShStatus status = sh_schema_parse(LANGUAGE, text, strlen(text), NULL, 0, NULL, &schema, &err);
    if (status != expected || strstr(err.message, words) == NULL)
        fail_msg("%.60s: %s: \"%s\" does not say \"%s\"", text, sh_status_name(status), err.message, words);
    assert_null(schema);
}

/* All rules hold, and every schema reads what it wrote itself. */
static inline void check_rules(const RuleCase *cases, size_t count)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const RuleCase *it = &cases[i];
        ShSchema *writer = parse(it->writer);
        ShSchema *reader = parse(it->reader);
        ShSchemaFindings found;
        assert_int_equal(sh_schema_compare(reader, writer, NULL, &found, NULL), SH_OK);
        bool right = it->kind == NULL ? found.count == 0
                                      : found.count == 1 && strcmp(found.items[0].kind, it->kind) == 0 &&
                                            strcmp(found.items[0].path, it->path) == 0 &&
                                            strlen(found.items[0].message) > 20;
        if (!right)
            print_error("%s -> %s: %zu findings, %s %s; expected %s %s: %s\n", it->writer, it->reader,
                        found.count, found.count > 0 ? found.items[0].kind : "-",
                        found.count > 0 ? found.items[0].path : "-", it->kind == NULL ? "none" : it->kind,
                        it->path == NULL ? "" : it->path, it->source);
        wrong += !right;
        sh_schema_findings_free(&found);
        assert_int_equal(sh_schema_compare(reader, reader, NULL, &found, NULL), SH_OK);
        if (found.count > 0)
            print_error("%s does not read itself: %s\n", it->reader, found.items[0].message);
        wrong += found.count > 0;
        sh_schema_findings_free(&found);
        sh_schema_free(writer);
        sh_schema_free(reader);
    }
    assert_int_equal(wrong, 0);
}

#endif
