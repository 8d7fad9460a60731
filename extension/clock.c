/* clock.c - the server's monotonic clock, for what counts time and must not care about a turned clock. */
#include "postgres.h"

#include "fmgr.h"
#include "portability/instr_time.h"

PG_FUNCTION_INFO_V1(sh_monotonic_ms);

Datum sh_monotonic_ms(PG_FUNCTION_ARGS)
{
    instr_time now;

    INSTR_TIME_SET_CURRENT(now);
    PG_RETURN_INT64((int64)INSTR_TIME_GET_MILLISEC(now));
}
