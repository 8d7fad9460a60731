/*
 * config_table.h - the table of settings, from which loading, checking, printing and the reference all work.
 *
 * Only the config_*.c files include it, and their test.
 */
#ifndef SH_AGENT_BASE_CONFIG_TABLE_H
#define SH_AGENT_BASE_CONFIG_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "agent/base/config.h"

typedef enum ShSettingKind {
    SH_SETTING_TEXT,
    SH_SETTING_SECRET,   /* text that is never printed */
    SH_SETTING_CONNINFO, /* text that may hold a password */
    SH_SETTING_ADDRESS,  /* text, host:port */
    SH_SETTING_FLAG,     /* bool */
    SH_SETTING_NUMBER,   /* int64_t, as the next two */
    SH_SETTING_SIZE,     /* in bytes */
    SH_SETTING_DURATION, /* in milliseconds */
    SH_SETTING_CHOICE    /* an enum, by its position in `choices` */
} ShSettingKind;

typedef struct ShSetting {
    const char *section; /* a heading that starts here; else NULL */
    const char *name;
    ShSettingKind kind;
    size_t offset;             /* in ShConfig */
    const char *default_text;  /* as it would stand in the file */
    const char *default_words; /* when the default is computed: how; else NULL */
    int64_t min;               /* of numbers, sizes and durations; of text: characters */
    int64_t max;
    const char *const *choices; /* NULL-terminated */
    const char *help;           /* Markdown, one or two sentences */
} ShSetting;

/* The settings in the order of the reference; NULL beyond the last. */
const ShSetting *sh_setting_at(size_t index);
/* Where one of them stands. */
size_t sh_setting_index(const ShSetting *setting);

/* What must hold between settings, or of one beyond its range. */
typedef struct ShSettingRule {
    const char *text; /* Markdown, one line */
    /* SH_INVALID names the settings. */
    ShStatus (*check)(const ShConfig *config, ShError *err) SH_MUST_CHECK;
} ShSettingRule;

extern const ShSettingRule sh_setting_rules[];
extern const size_t sh_setting_rule_count;

/* The setting of this name; NULL when there is none. */
const ShSetting *sh_setting_find(const char *name);

/* The places of a setting's value. */
static inline char **sh_setting_text(const ShSetting *setting, ShConfig *config)
{
    return (char **)(void *)((char *)config + setting->offset);
}
static inline int64_t *sh_setting_number(const ShSetting *setting, ShConfig *config)
{
    return (int64_t *)(void *)((char *)config + setting->offset);
}

/* Parse `text` into the setting's place. SH_INVALID says "name: what is wrong"; a secret's text is never in
 * it. */
ShStatus sh_setting_set(const ShSetting *setting, const char *text, ShConfig *config,
                        ShError *err) SH_MUST_CHECK;

/* Whether its value holds, or may hold, what nobody else should read. */
bool sh_setting_is_secret(const ShSetting *setting, const ShConfig *config);

/* A value as it would stand in the file, "(hidden)" for secrets. */
void sh_setting_print(const ShSetting *setting, const ShConfig *config, FILE *to);

/* A number of the setting's kind with the largest unit that divides it: "64MB", "1500ms". */
void sh_setting_format_number(const ShSetting *setting, int64_t value, char text[32]);

/* Apply AWS_REGION, then a file's settings, then the environment's. */
ShStatus sh_config_read_aws_region(char **environ_list, ShConfig *config, ShError *err) SH_MUST_CHECK;
ShStatus sh_config_read_file(const char *path, ShConfig *config, ShError *err) SH_MUST_CHECK;
ShStatus sh_config_read_environment(char **environ_list, ShConfig *config, ShError *err) SH_MUST_CHECK;

/* The name of the setting that is most like `name`; NULL when none is close. */
const char *sh_setting_nearest(const char *name);

/* Find the setting; SH_INVALID with a suggestion of a similar name when there is none. `prefix` stands before
 * names in the message, which are in upper case if it is not empty. */
ShStatus sh_config_find(const char *name, const char *prefix, const ShSetting **out,
                        ShError *err) SH_MUST_CHECK;

/* The first rule that does not hold. */
ShStatus sh_config_check(const ShConfig *config, ShError *err) SH_MUST_CHECK;

#endif
