/*
 * config_rows.h - what the files with the rows of the table of settings share. Only they and config_table.c
 * include it.
 *
 * Rows stand in the order of config.h and of the reference. Ranges are what was thought through, not what
 * would not crash.
 */
#ifndef SH_AGENT_BASE_CONFIG_ROWS_H
#define SH_AGENT_BASE_CONFIG_ROWS_H

#include "agent/base/config_table.h"

#define KB     1024LL
#define MB     (1024 * KB)
#define GB     (1024 * MB)
#define TB     (1024 * GB)
#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

#define AT(field) offsetof(ShConfig, field)

typedef struct ShSettingRows {
    const ShSetting *rows;
    size_t count;
} ShSettingRows;

extern const ShSettingRows sh_agent_settings;
extern const ShSettingRows sh_store_settings;
extern const ShSettingRows sh_work_settings;

#endif
