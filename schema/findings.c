#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/schema.h"

bool sh_schema_findings_add(ShSchemaFindings *findings, const char *kind, const char *path, const char *fmt,
                            ...)
{
    if (findings->count >= SH_SCHEMA_FINDINGS_MAX)
        return true;
    if ((findings->count & (findings->count + 1)) == 0) { /* full: the room is 1, 3, 7, ... */
        ShSchemaFinding *more = realloc(findings->items, (2 * findings->count + 1) * sizeof *findings->items);
        if (more == NULL)
            return false;
        findings->items = more;
    }
    va_list args;
    va_start(args, fmt);
    char *message = NULL;
    if (vasprintf(&message, fmt, args) < 0)
        message = NULL;
    va_end(args);
    char *where = strdup(path);
    if (message == NULL || where == NULL) {
        free(message);
        free(where);
        return false;
    }
    findings->items[findings->count++] = (ShSchemaFinding){.kind = kind, .path = where, .message = message};
    return true;
}

void sh_schema_findings_free(ShSchemaFindings *findings)
{
    if (findings == NULL)
        return;
    for (size_t i = 0; i < findings->count; i++) {
        free(findings->items[i].path);
        free(findings->items[i].message);
    }
    free(findings->items);
    *findings = (ShSchemaFindings){0};
}
