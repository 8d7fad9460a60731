#include "schema/budget.h"

#define ASK_STEPS 20000 /* after so many, `stop` is asked again */

static void set_mark(ShSchemaBudget *budget);

void sh_budget_init(ShSchemaBudget *budget, int64_t steps, size_t bytes_max)
{
    *budget = (ShSchemaBudget){.steps_left = steps, .bytes_max = bytes_max, .ended = SH_OK};
    set_mark(budget);
}

void sh_budget_ask(ShSchemaBudget *budget, bool (*stop)(void *arg), void *arg)
{
    budget->stop = stop;
    budget->arg = arg;
    if (budget->ended == SH_OK)
        set_mark(budget);
}

bool sh_budget_look(ShSchemaBudget *budget)
{
    if (budget->steps_left < budget->floor)
        sh_budget_end(budget, SH_EXHAUSTED);
    else if (budget->ended == SH_OK && budget->stop != NULL && budget->stop(budget->arg))
        sh_budget_end(budget, SH_CANCELLED);
    else if (budget->ended == SH_OK)
        set_mark(budget);
    return budget->ended == SH_OK;
}

bool sh_budget_hold(ShSchemaBudget *budget, size_t bytes)
{
    if (bytes > budget->bytes_max || budget->bytes_held > budget->bytes_max - bytes)
        sh_budget_end(budget, SH_TOO_LARGE);
    else
        budget->bytes_held += bytes;
    return budget->ended == SH_OK;
}

void sh_budget_release(ShSchemaBudget *budget, size_t bytes)
{
    budget->bytes_held = bytes < budget->bytes_held ? budget->bytes_held - bytes : 0;
}

void sh_budget_end(ShSchemaBudget *budget, ShStatus why)
{
    if (budget->ended == SH_OK)
        budget->ended = why;
    budget->mark = INT64_MAX; /* whoever spends on is told so */
}

void sh_budget_begin_share(ShSchemaBudget *budget, int64_t steps)
{
    budget->floor = budget->steps_left > steps ? budget->steps_left - steps : 0;
    budget->bytes_held = 0;
    if (budget->ended == SH_OK)
        set_mark(budget);
}

ShStatus sh_budget_end_share(ShSchemaBudget *budget)
{
    bool was_share = budget->floor > 0;
    budget->floor = 0;
    if (budget->ended == SH_TOO_LARGE || (budget->ended == SH_EXHAUSTED && was_share)) {
        budget->ended = SH_OK;
        if (budget->steps_left < 0)
            budget->steps_left = 0; /* the last step of a share may be a large one */
        set_mark(budget);
        return SH_TOO_LARGE;
    }
    if (budget->ended == SH_OK)
        set_mark(budget);
    return budget->ended;
}

ShStatus sh_budget_fail(const ShSchemaBudget *budget, ShError *err)
{
    switch (budget->ended) {
    case SH_EXHAUSTED:
        return sh_fail(err, SH_EXHAUSTED,
                       "it takes more work than one call may: make the schemas simpler, or fewer");
    case SH_TOO_LARGE:
        return sh_fail(err, SH_TOO_LARGE,
                       "it takes more than %zu MB of memory: split it into references, or "
                       "make it simpler",
                       budget->bytes_max >> 20);
    case SH_CANCELLED:
        return sh_fail(err, SH_CANCELLED, "the work was interrupted");
    default:
        return sh_fail(err, SH_INTERNAL, "a budget has not ended");
    }
}

static void set_mark(ShSchemaBudget *budget)
{
    int64_t ask = budget->stop == NULL ? INT64_MIN : budget->steps_left - ASK_STEPS;
    budget->mark = ask > budget->floor ? ask : budget->floor;
}
