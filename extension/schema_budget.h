/*
 * schema_budget.h - the work that one call of SQL may take of schema/, and its interruption.
 *
 * schema/ cannot be left by a longjmp: it would leak, or be found half done. So a cancelled query, or a
 * backend that is to end, is told to it by the budget; it returns, and then the error is raised.
 */
#ifndef SH_EXTENSION_SCHEMA_BUDGET_H
#define SH_EXTENSION_SCHEMA_BUDGET_H

#include "postgres.h"

#include "schema/budget.h"

/* For one call of a function of SQL, whatever it parses and compares. */
ShSchemaBudget sh_schema_call_budget(void);

#endif
