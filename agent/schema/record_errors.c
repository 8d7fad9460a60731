#include "agent/schema/record_errors.h"

#include <stdlib.h>
#include <string.h>

bool sh_record_errors_add(ShRecordErrors **errors, size_t index, const char *reason)
{
    if (*errors == NULL)
        *errors = calloc(1, sizeof **errors);
    ShRecordErrors *list = *errors;
    if (list == NULL)
        return false;
    if (list->count == list->capacity) {
        size_t capacity = 2 * list->capacity + 4;
        ShRecordError *items = realloc(list->items, capacity * sizeof items[0]);
        if (items == NULL)
            return false;
        list->items = items;
        list->capacity = capacity;
    }
    ShRecordError *error = &list->items[list->count];
    *error = (ShRecordError){.index = (uint32_t)index};
    if (list->count < SH_RECORD_REASONS_MAX) {
        error->reason = strndup(reason, SH_RECORD_REASON_LENGTH);
        if (error->reason == NULL)
            return false;
    }
    list->count++;
    return true;
}

void sh_record_errors_free(ShRecordErrors *errors)
{
    if (errors == NULL)
        return;
    for (size_t i = 0; i < errors->count; i++)
        free(errors->items[i].reason);
    free(errors->items);
    free(errors);
}

ShStatus sh_record_errors_explain(const ShRecordErrors *errors, size_t record_count, ShError *err)
{
    const ShRecordError *first = &errors->items[0];
    if (errors->count == 1)
        return sh_fail(err, SH_INVALID, "record %u of %zu: %s", (unsigned)first->index, record_count,
                       first->reason);
    return sh_fail(err, SH_INVALID, "%zu of %zu records do not fit, first of them record %u: %s",
                   errors->count, record_count, (unsigned)first->index, first->reason);
}
