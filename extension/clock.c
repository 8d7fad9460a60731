/* clock.c - the server's monotonic clock, for what counts time and must not care about a turned clock. */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "fmgr.h"
#include "portability/instr_time.h"
#include "storage/fd.h"
#include "utils/builtins.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LENGTH 36

PG_FUNCTION_INFO_V1(sh_monotonic_ms);
PG_FUNCTION_INFO_V1(sh_machine_boot);

Datum sh_monotonic_ms(PG_FUNCTION_ARGS)
{
    instr_time now;

    INSTR_TIME_SET_CURRENT(now);
    PG_RETURN_INT64((int64)INSTR_TIME_GET_MILLISEC(now));
}

/* Linux makes a new one at each start of the machine; NULL where there is none. */
Datum sh_machine_boot(PG_FUNCTION_ARGS)
{
    char id[BOOT_ID_LENGTH];
    int fd = OpenTransientFile(BOOT_ID_PATH, O_RDONLY);
    ssize_t got;

    if (fd < 0)
        PG_RETURN_NULL();
    got = read(fd, id, sizeof id);
    CloseTransientFile(fd);
    if (got != sizeof id)
        PG_RETURN_NULL();
    PG_RETURN_TEXT_P(cstring_to_text_with_len(id, sizeof id));
}
