/* Tables and stores of schemas for the tests of this folder. */
#ifndef SH_TESTS_AGENT_SCHEMA_FIXTURE_H
#define SH_TESTS_AGENT_SCHEMA_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/schema/record_check.h"

static const ShUuid fixture_topic = {{9}};

/* A row for values; ids end with 0. */
static inline ShPgTopicSchema fixture_row(ShValidation validation, ShSubjectStrategy strategy,
                                          const char *record_name, int32_t *ids)
{
    ShPgTopicSchema row = {.topic_id = fixture_topic,
                           .validation = validation,
                           .strategy = strategy,
                           .record_name = (char *)(uintptr_t)record_name,
                           .ids = ids};
    while (ids != NULL && ids[row.id_count] != 0)
        row.id_count++;
    return row;
}

static inline ShSchemaTable *fixture_table(ShPgTopicSchema *rows, size_t count)
{
    ShPgTopicSchemas schemas = {.changed = true, .version = 1, .rows = rows, .row_count = count};
    ShSchemaTable *table = sh_schema_table_new(&schemas);
    assert_non_null(table);
    return table;
}

static inline void fixture_put(ShSchemaStore *store, int32_t id, const char *type, const char *text)
{
    ShPgSchema schema = {.type = type, .text = text};
    sh_schema_store_put(store, id, &schema, NULL);
}

#endif
