#include "postgres.h"

#include "miscadmin.h"

#include "extension/schema_budget.h"

static bool is_interrupted(void *arg)
{
    (void)arg;
    return InterruptPending && (QueryCancelPending || ProcDiePending);
}

ShSchemaBudget sh_schema_call_budget(void)
{
    ShSchemaBudget budget;
    sh_budget_init(&budget, SH_BUDGET_CALL_STEPS, SH_BUDGET_SCHEMA_BYTES);
    budget.stop = is_interrupted;
    return budget;
}
