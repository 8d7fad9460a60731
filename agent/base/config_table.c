#include "agent/base/config_table.h"

#include <string.h>

#include "agent/base/config_rows.h"

/* In the order of the reference. */
static const ShSettingRows *const parts[] = {&sh_agent_settings, &sh_store_settings, &sh_work_settings};

const ShSetting *sh_setting_at(size_t index)
{
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (index < parts[i]->count)
            return &parts[i]->rows[index];
        index -= parts[i]->count;
    }
    return NULL;
}

size_t sh_setting_index(const ShSetting *setting)
{
    size_t index = 0;
    while (sh_setting_at(index) != setting)
        index++;
    return index;
}

const ShSetting *sh_setting_find(const char *name)
{
    const ShSetting *setting;
    for (size_t i = 0; (setting = sh_setting_at(i)) != NULL; i++) {
        if (strcmp(setting->name, name) == 0)
            return setting;
    }
    return NULL;
}
