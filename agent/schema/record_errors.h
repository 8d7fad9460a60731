/*
 * record_errors.h - which records of a request's part are refused, and why.
 */
#ifndef SH_AGENT_SCHEMA_RECORD_ERRORS_H
#define SH_AGENT_SCHEMA_RECORD_ERRORS_H

#include <stdint.h>

#include "core/status.h"

#define SH_RECORD_REASONS_MAX                                                                                \
    100 /* so many records are refused in words; the others have their place alone */
#define SH_RECORD_REASON_LENGTH 300

typedef struct ShRecordError {
    uint32_t index; /* in the part, from 0 */
    char *reason;   /* NULL: not told */
} ShRecordError;

/* In the order of the records. */
typedef struct ShRecordErrors {
    ShRecordError *items;
    size_t count;
    size_t capacity;
    ShError whole; /* the part's error, when none of it was stored */
} ShRecordErrors;

/* Add one to `*errors`, which is made when it is NULL. False when memory is short. */
bool sh_record_errors_add(ShRecordErrors **errors, size_t index, const char *reason);
/* NULL is fine. */
void sh_record_errors_free(ShRecordErrors *errors);

/* What refuses a part of `record_count` records as a whole: how many are wrong, and the first one's reason.
 */
ShStatus sh_record_errors_explain(const ShRecordErrors *errors, size_t record_count, ShError *err);

#endif
