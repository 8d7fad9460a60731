#include "schema/sorted_names.h"

#include <stdlib.h>
#include <string.h>

int sh_names_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool sh_names_hold(const char *const *names, size_t count, const char *name)
{
    return count > 0 && bsearch(&name, names, count, sizeof *names, sh_names_compare) != NULL;
}
