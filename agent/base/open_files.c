#include "agent/base/open_files.h"

#include <sys/resource.h>

/* Where the limit is "unlimited", or cannot be told. */
#define DESCRIPTORS_MAX 1048576
#define DESCRIPTORS_MIN 256

void sh_open_files_raise(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == files.rlim_max)
        return;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) == 0 || files.rlim_max <= DESCRIPTORS_MAX)
        return;
    files.rlim_cur = DESCRIPTORS_MAX; /* the kernel's own bound is below "unlimited" */
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

int64_t sh_open_files_max(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > DESCRIPTORS_MAX)
        return DESCRIPTORS_MAX;
    return files.rlim_cur < DESCRIPTORS_MIN ? DESCRIPTORS_MIN : (int64_t)files.rlim_cur;
}

int64_t sh_open_files_of_rpc(void)
{
    return sh_open_files_max() / 2;
}

int64_t sh_open_files_of_registry(void)
{
    return sh_open_files_max() / 8;
}
