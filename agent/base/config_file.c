#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "agent/base/config_table.h"
#include "agent/base/log.h"

#define SETTINGS_MAX 128

typedef struct FileReader {
    yaml_parser_t parser;
    const char *path;
    ShConfig *config;
    size_t first_line[SETTINGS_MAX]; /* where each setting was given; 0: not yet */
    ShError *err;
} FileReader;

static FILE *open_regular(const char *path, struct stat *info, ShError *err);
static void warn_of_secrets(const FileReader *reader);
static ShStatus read_document(FileReader *reader);
static ShStatus read_mapping(FileReader *reader);
static ShStatus read_setting(FileReader *reader, const yaml_event_t *key);
static ShStatus next_event(FileReader *reader, yaml_event_t *event);
static ShStatus fail_at(FileReader *reader, const yaml_mark_t *mark, const char *reason);
static bool is_text(const yaml_event_t *event);

ShStatus sh_config_read_file(const char *path, ShConfig *config, ShError *err)
{
    struct stat info;
    FILE *file = open_regular(path, &info, err);
    if (file == NULL)
        return err->status;

    FileReader reader = {.path = path, .config = config, .err = err};
    ShStatus status;
    if (!yaml_parser_initialize(&reader.parser)) {
        status = sh_fail(err, SH_NO_MEMORY, "%s: memory is short", path);
    } else {
        yaml_parser_set_input_file(&reader.parser, file);
        status = read_document(&reader);
        yaml_parser_delete(&reader.parser);
    }
    fclose(file);
    if (status == SH_OK && (info.st_mode & S_IROTH) != 0)
        warn_of_secrets(&reader);
    return status;
}

/* Not a pipe, which would block until somebody writes, nor a device without an end. NULL: `err` says why. */
static FILE *open_regular(const char *path, struct stat *info, ShError *err)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    FILE *file = NULL;
    if (fd < 0 || fstat(fd, info) != 0)
        (void)sh_fail(err, SH_INVALID, "cannot open the settings file %s: %s", path, strerror(errno));
    else if (!S_ISREG(info->st_mode))
        (void)sh_fail(err, SH_INVALID, "the settings file %s is no regular file", path);
    else if ((file = fdopen(fd, "r")) == NULL)
        (void)sh_fail(err, SH_INVALID, "cannot open the settings file %s: %s", path, strerror(errno));
    if (file == NULL && fd >= 0)
        close(fd);
    return file;
}

/* Everybody on the host may read the file. */
static void warn_of_secrets(const FileReader *reader)
{
    const ShSetting *setting;
    for (size_t i = 0; (setting = sh_setting_at(i)) != NULL; i++) {
        if (reader->first_line[i] != 0 && sh_setting_is_secret(setting, reader->config))
            sh_log_warn("settings_readable",
                        "file=\"%s\" setting=%s reason=\"everybody on this host can read it: chmod o-r\"",
                        reader->path, setting->name);
    }
}

/* One document that is a mapping, or nothing at all. */
static ShStatus read_document(FileReader *reader)
{
    bool done = false;
    bool had_document = false;
    while (!done) {
        yaml_event_t event;
        ShStatus status = next_event(reader, &event);
        if (status != SH_OK)
            return status;
        switch (event.type) {
        case YAML_STREAM_END_EVENT:
            done = true;
            break;
        case YAML_MAPPING_START_EVENT:
            status = read_mapping(reader);
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (had_document)
                status = fail_at(reader, &event.start_mark, "a second document");
            had_document = true;
            break;
        case YAML_SCALAR_EVENT: /* an empty document is an empty scalar */
            if (event.data.scalar.length > 0)
                status = fail_at(reader, &event.start_mark, "expected \"name: value\"");
            break;
        case YAML_SEQUENCE_START_EVENT:
        case YAML_ALIAS_EVENT:
            status = fail_at(reader, &event.start_mark, "expected \"name: value\"");
            break;
        default:
            break;
        }
        yaml_event_delete(&event);
        if (status != SH_OK)
            return status;
    }
    return SH_OK;
}

static ShStatus read_mapping(FileReader *reader)
{
    for (;;) {
        yaml_event_t key;
        ShStatus status = next_event(reader, &key);
        if (status != SH_OK)
            return status;
        bool is_end = key.type == YAML_MAPPING_END_EVENT;
        if (!is_end)
            status = read_setting(reader, &key);
        yaml_event_delete(&key);
        if (is_end || status != SH_OK)
            return status;
    }
}

static ShStatus read_setting(FileReader *reader, const yaml_event_t *key)
{
    if (!is_text(key))
        return fail_at(reader, &key->start_mark, "a setting's name is expected");

    size_t line = key->start_mark.line + 1;
    const ShSetting *setting;
    ShStatus status = sh_config_find((const char *)key->data.scalar.value, "", &setting, reader->err);
    if (status != SH_OK)
        return sh_fail_prefix(reader->err, status, "%s:%zu", reader->path, line);
    size_t *first_line = &reader->first_line[sh_setting_index(setting)];
    if (*first_line != 0)
        return sh_fail(reader->err, SH_INVALID, "%s:%zu: %s was given in line %zu already", reader->path,
                       line, setting->name, *first_line);
    *first_line = line;

    yaml_event_t value;
    status = next_event(reader, &value);
    if (status != SH_OK)
        return status;
    if (!is_text(&value))
        status = sh_fail(reader->err, SH_INVALID,
                         "%s: a single value is expected, not a list, map, alias or NUL", setting->name);
    else
        status = sh_setting_set(setting, (const char *)value.data.scalar.value, reader->config, reader->err);
    if (status != SH_OK)
        status = sh_fail_prefix(reader->err, status, "%s:%zu", reader->path, line);
    yaml_event_delete(&value);
    return status;
}

static ShStatus next_event(FileReader *reader, yaml_event_t *event)
{
    if (yaml_parser_parse(&reader->parser, event))
        return SH_OK;
    const char *problem = reader->parser.problem;
    return fail_at(reader, &reader->parser.problem_mark, problem != NULL ? problem : "not YAML");
}

static ShStatus fail_at(FileReader *reader, const yaml_mark_t *mark, const char *reason)
{
    return sh_fail(reader->err, SH_INVALID, "%s:%zu: %s", reader->path, mark->line + 1, reason);
}

static bool is_text(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT &&
           strlen((const char *)event->data.scalar.value) == event->data.scalar.length;
}
