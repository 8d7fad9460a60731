#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "agent/base/config_table.h"

static void print_unit(const ShSetting *setting, FILE *to);
static void print_default(const ShSetting *setting, FILE *to);
static void print_range(const ShSetting *setting, FILE *to);

void sh_config_print(const ShConfig *config, FILE *to)
{
    const ShSetting *setting;
    for (size_t i = 0; (setting = sh_setting_at(i)) != NULL; i++) {
        fprintf(to, "%s: ", setting->name);
        sh_setting_print(setting, config, to);
        fputc('\n', to);
    }
}

void sh_config_print_reference(FILE *to)
{
    fputs("# Settings of the agent\n\n"
          "This page is printed from the tables in `agent/base/config_rows_*.c` and `config_check.c`; edit\n"
          "those.\n\n"
          "Settings come from their defaults, then from the file named by `--config` or\n"
          "`STREAMHOUSE_CONFIG`, then from the environment; the last one wins. The file is YAML, one\n"
          "`name: value` a line. A variable is `STREAMHOUSE_` and the name in upper case:\n"
          "`flush_interval: 2s` in the file, `STREAMHOUSE_FLUSH_INTERVAL=2s` in the environment. A name\n"
          "that does not exist is an error; a variable that resembles no setting is passed over with a\n"
          "warning (Kubernetes sets such for a service named streamhouse).\n\n"
          "Sizes take kB, MB, GB and TB (powers of 1024), a bare number is in bytes. Durations take ms, s,\n"
          "min and h, a bare number is in milliseconds. `streamhouse-agent --check-config` checks\n"
          "everything and prints what holds.\n",
          to);
    const ShSetting *setting;
    for (size_t i = 0; (setting = sh_setting_at(i)) != NULL; i++) {
        if (setting->section != NULL)
            fprintf(to, "\n## %s\n\n| setting | unit | default | range | meaning |\n|---|---|---|---|---|\n",
                    setting->section);
        fprintf(to, "| `%s` | ", setting->name);
        print_unit(setting, to);
        fputs(" | ", to);
        print_default(setting, to);
        fputs(" | ", to);
        print_range(setting, to);
        fprintf(to, " | %s |\n", setting->help);
    }
    fputs("\n## Rules between settings\n\nAn agent whose settings break one does not start:\n\n", to);
    for (size_t i = 0; i < sh_setting_rule_count; i++)
        fprintf(to, "- %s\n", sh_setting_rules[i].text);
    fputs("\nPostgreSQL's settings take part in others. An agent that finds one broken at its start warns\n"
          "(`server_unfit`):\n\n"
          "- `heartbeat_interval` is at most half of `streamhouse.lease_ticks` x\n"
          "  `streamhouse.tick_interval`\n"
          "- `garbage_interval`, or 10 s where that is less, is not above 3 x\n"
          "  `streamhouse.marker_interval`: so often the agent looks whether the marker in the store is due\n"
          "- live agents and their connections fit into `max_connections` and the limits of the database\n"
          "  and the role\n",
          to);
}

static void print_unit(const ShSetting *setting, FILE *to)
{
    static const char *const units[] = {
        [SH_SETTING_TEXT] = "text",          [SH_SETTING_SECRET] = "text, secret",
        [SH_SETTING_CONNINFO] = "text",      [SH_SETTING_ADDRESS] = "host:port",
        [SH_SETTING_FLAG] = "true or false", [SH_SETTING_NUMBER] = "number",
        [SH_SETTING_SIZE] = "size in bytes", [SH_SETTING_DURATION] = "duration in ms",
        [SH_SETTING_CHOICE] = "word",
    };
    fputs(units[setting->kind], to);
}

static void print_default(const ShSetting *setting, FILE *to)
{
    if (setting->default_words != NULL)
        fputs(setting->default_words, to);
    else if (setting->default_text[0] == '\0')
        fputs("empty", to);
    else
        fprintf(to, "`%s`", setting->default_text);
}

static void print_range(const ShSetting *setting, FILE *to)
{
    char min[32];
    char max[32];
    switch (setting->kind) {
    case SH_SETTING_NUMBER:
    case SH_SETTING_SIZE:
    case SH_SETTING_DURATION:
        sh_setting_format_number(setting, setting->min, min);
        sh_setting_format_number(setting, setting->max, max);
        fprintf(to, "%s to %s", min, max);
        break;
    case SH_SETTING_CHOICE:
        for (int i = 0; setting->choices[i] != NULL; i++)
            fprintf(to, "%s`%s`", i == 0 ? "" : ", ", setting->choices[i]);
        break;
    case SH_SETTING_FLAG:
        break;
    default:
        fprintf(to, "%s%lld characters", setting->min > 0 ? "1 to " : "up to ", (long long)setting->max);
    }
}
