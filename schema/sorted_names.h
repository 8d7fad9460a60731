/* sorted_names.h - lists of names, sorted by strcmp. */
#ifndef SH_SCHEMA_SORTED_NAMES_H
#define SH_SCHEMA_SORTED_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* For qsort, of elements that are const char *. */
int sh_names_compare(const void *a, const void *b);
/* Is it one of these names, which are sorted? */
bool sh_names_hold(const char *const *names, size_t count, const char *name);

#endif
