/*
 * dir_list.h - walks a directory store's tree in the order of its keys. Used by dir_store.c.
 */
#ifndef SH_AGENT_STORE_DIR_LIST_H
#define SH_AGENT_STORE_DIR_LIST_H

#include <dirent.h>

#include "agent/store/store.h"

/* sh_store_list over the regular files below `root_fd`, which stays open and is not moved. */
ShStatus sh_dir_list(int root_fd, const char *prefix, ShStoreListFn fn, void *arg,
                     ShError *err) SH_MUST_CHECK;

#endif
