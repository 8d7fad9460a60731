/*
 * budget.h - how much work, and how much memory, one call may take.
 *
 * Schemas and data are foreign, and some cost far more than their size tells. So every loop of this folder
 * spends steps, of 20 to 100 ns each; what is about to take memory says how much. When a budget is spent the
 * call ends with an error that says so: that is no verdict about what was to be told.
 *
 * Steps may be spent over many calls: a request has one budget for all of its records, and each of these a
 * share of it. One thread at a time.
 */
#ifndef SH_SCHEMA_BUDGET_H
#define SH_SCHEMA_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

#define SH_BUDGET_CALL_STEPS   INT64_C(12000000)   /* of what is parsed or compared: a second or two */
#define SH_BUDGET_SCHEMA_BYTES ((size_t)256 << 20) /* that one parsed schema may take */
#define SH_BUDGET_RECORD_STEPS INT64_C(2000000)    /* of one record, beside a step for each of its bytes */
#define SH_BUDGET_RECORD_BYTES ((size_t)64 << 20)  /* that one record may take once it is parsed */

typedef struct ShSchemaBudget {
    int64_t steps_left;
    int64_t floor; /* what the share that is being spent has to leave */
    int64_t mark;  /* below it, it is looked closer */
    size_t bytes_held;
    size_t bytes_max;
    ShStatus ended; /* SH_OK: go on; SH_EXHAUSTED, SH_TOO_LARGE (memory), SH_CANCELLED (by `stop`) */
    /* Asked from time to time, some milliseconds of work apart; true ends the work. NULL: nobody is. */
    bool (*stop)(void *arg);
    void *arg;
} ShSchemaBudget;

void sh_budget_init(ShSchemaBudget *budget, int64_t steps, size_t bytes_max);

/* Have `stop` asked from now on. */
void sh_budget_ask(ShSchemaBudget *budget, bool (*stop)(void *arg), void *arg);

/* For sh_budget_spend. */
bool sh_budget_look(ShSchemaBudget *budget);

/* Spend steps. False: no more is to be done. */
static inline bool sh_budget_spend(ShSchemaBudget *budget, size_t steps)
{
    budget->steps_left -= (int64_t)steps;
    return __builtin_expect(budget->steps_left >= budget->mark, 1) || sh_budget_look(budget);
}

static inline bool sh_budget_has_ended(const ShSchemaBudget *budget)
{
    return budget->ended != SH_OK;
}

/* Say that so many bytes are about to be taken. False: they are too many. */
bool sh_budget_hold(ShSchemaBudget *budget, size_t bytes);
/* Give back what was held. */
void sh_budget_release(ShSchemaBudget *budget, size_t bytes);
/* No more is to be done, for this reason, unless there is one already. */
void sh_budget_end(ShSchemaBudget *budget, ShStatus why);

/* What follows may spend so many steps at most, and its memory is counted anew. */
void sh_budget_begin_share(ShSchemaBudget *budget, int64_t steps);
/* Go on with what is left. A share that was too small ends, and is SH_TOO_LARGE; SH_EXHAUSTED or SH_CANCELLED
 * when the whole has ended; else SH_OK. */
ShStatus sh_budget_end_share(ShSchemaBudget *budget);

/* Why the budget has ended, in words; returns it. */
ShStatus sh_budget_fail(const ShSchemaBudget *budget, ShError *err) SH_MUST_CHECK;

#endif
