#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pg/pg_internal.h"

static const char *next_text(ShPgRow *row);

int64_t sh_pg_row_number(ShPgRow *row, int64_t if_null)
{
    const char *text = next_text(row);
    if (text == NULL)
        return if_null;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0)
        row->bad = true;
    return value;
}

bool sh_pg_row_bool(ShPgRow *row)
{
    const char *text = next_text(row);
    return text != NULL && strcmp(text, "t") == 0;
}

ShUuid sh_pg_row_uuid(ShPgRow *row)
{
    ShUuid uuid = {{0}};
    const char *text = next_text(row);
    if (text == NULL || sh_uuid_parse(text, &uuid, NULL) != SH_OK)
        row->bad = true;
    return uuid;
}

void sh_pg_row_text(ShPgRow *row, char *out, size_t out_bytes)
{
    const char *text = next_text(row);
    size_t length = text == NULL ? 0 : strlen(text);
    if (length >= out_bytes) {
        row->bad = true;
        length = 0;
    }
    if (length > 0)
        memcpy(out, text, length);
    out[length] = '\0';
}

int sh_pg_row_word(ShPgRow *row, const char *const *words)
{
    const char *text = next_text(row);
    for (int i = 0; text != NULL && words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0)
            return i;
    }
    row->bad = true;
    return 0;
}

ShStatus sh_pg_row_end(const ShPgRow *row, ShError *err)
{
    if (!row->bad)
        return SH_OK;
    return sh_fail(err, SH_INTERNAL, "PostgreSQL's answer has a row that cannot be understood, number %d",
                   row->row + 1);
}

ShStatus sh_pg_expect_rows(const PGresult *result, size_t count, ShError *err)
{
    if (PQntuples(result) == (int)count)
        return SH_OK;
    return sh_fail(err, SH_INTERNAL, "PostgreSQL's answer has %d rows instead of %zu", PQntuples(result),
                   count);
}

ShStatus sh_pg_read_head(const PGresult *result, int64_t *version, bool *whole, ShError *err)
{
    ShPgRow row = {.result = result, .bad = PQntuples(result) == 0};
    if (!row.bad) {
        *version = sh_pg_row_number(&row, 0);
        *whole = sh_pg_row_bool(&row);
    }
    return sh_pg_row_end(&row, err);
}

/* The next column's text; NULL for a null. */
static const char *next_text(ShPgRow *row)
{
    int column = row->column++;
    return PQgetisnull(row->result, row->row, column) ? NULL : PQgetvalue(row->result, row->row, column);
}
