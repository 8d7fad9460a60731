#include "agent/rpc/abseil.h"

#include <dlfcn.h>
#include <string.h>

/* absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle), which has no name in C, as Debian's library has
 * it. */
#define SET_MODE "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE"

enum { DEADLOCKS_IGNORE = 0 };

void sh_abseil_stop_lock_checks(void)
{
    void (*set_mode)(int);
    void *found = dlsym(RTLD_DEFAULT, SET_MODE);
    if (found == NULL)
        return;
    memcpy(&set_mode, &found, sizeof found); /* ISO C has no cast from an object's pointer to a function's */
    set_mode(DEADLOCKS_IGNORE);
}
