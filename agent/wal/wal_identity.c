#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/wal/wal_internal.h"
#include "core/crc32c.h"

/*
 * The file `identity` is text, one field a line in this order, the last line a CRC-32C of what is before it:
 *
 *   streamhouse wal 1
 *   wal_uuid=2f0a...
 *   incarnation=7
 *   calls=1234
 *   clean=no
 *   damaged=no
 *   boot_id=5d1c...
 *   sync=always
 *   crc32c=89abcdef
 */
#define FIRST_LINE "streamhouse wal 1\n"

static size_t format_fields(const ShWalIdentityFile *identity, char *out);
static bool take_field(const char **text, const char *name, char *value, size_t capacity);
static bool parse_number(const char *text, int64_t *out);
static bool parse_sync(const char *name, ShWalSync *out);

size_t sh_wal_identity_format(const ShWalIdentityFile *identity, char out[SH_WAL_IDENTITY_BYTES_MAX])
{
    size_t length = format_fields(identity, out);
    int more = snprintf(out + length, SH_WAL_IDENTITY_BYTES_MAX - length, "crc32c=%08" PRIx32 "\n",
                        sh_crc32c(out, length));
    return length + (size_t)more;
}

ShStatus sh_wal_identity_parse(const char *text, size_t length, ShWalIdentityFile *out, ShError *err)
{
    char copy[SH_WAL_IDENTITY_BYTES_MAX];
    if (length >= sizeof copy || memchr(text, '\0', length) != NULL)
        return sh_fail(err, SH_CORRUPT, "it is no identity file");
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (strncmp(copy, FIRST_LINE, strlen(FIRST_LINE)) != 0)
        return sh_fail(err, SH_CORRUPT, "it does not begin with the line \"streamhouse wal 1\"");

    ShWalIdentityFile identity = {0};
    char uuid[SH_UUID_TEXT_BYTES], incarnation[24], calls[24], clean[4], damaged[4], sync[16];
    const char *next = copy + strlen(FIRST_LINE);
    bool valid = take_field(&next, "wal_uuid=", uuid, sizeof uuid) &&
                 take_field(&next, "incarnation=", incarnation, sizeof incarnation) &&
                 take_field(&next, "calls=", calls, sizeof calls) &&
                 take_field(&next, "clean=", clean, sizeof clean) &&
                 take_field(&next, "damaged=", damaged, sizeof damaged) &&
                 take_field(&next, "boot_id=", identity.boot_id, sizeof identity.boot_id) &&
                 take_field(&next, "sync=", sync, sizeof sync);
    valid = valid && sh_uuid_parse(uuid, &identity.wal_uuid, NULL) == SH_OK &&
            parse_number(incarnation, &identity.incarnation_no) && parse_number(calls, &identity.calls) &&
            parse_sync(sync, &identity.sync);
    if (!valid)
        return sh_fail(err, SH_CORRUPT, "a field is missing or damaged");
    identity.clean = strcmp(clean, "yes") == 0;
    identity.damaged = strcmp(damaged, "yes") == 0;

    /* The text of the parsed fields must be the text that was read: one comparison sees any stray byte. */
    char again[SH_WAL_IDENTITY_BYTES_MAX];
    if (sh_wal_identity_format(&identity, again) != length || memcmp(again, text, length) != 0)
        return sh_fail(err, SH_CORRUPT, "it does not match its checksum");
    *out = identity;
    return SH_OK;
}

static size_t format_fields(const ShWalIdentityFile *identity, char *out)
{
    char uuid[SH_UUID_TEXT_BYTES];
    sh_uuid_format(&identity->wal_uuid, uuid);
    return (size_t)snprintf(out, SH_WAL_IDENTITY_BYTES_MAX,
                            FIRST_LINE "wal_uuid=%s\nincarnation=%" PRId64 "\ncalls=%" PRId64
                                       "\nclean=%s\ndamaged=%s\nboot_id=%s\nsync=%s\n",
                            uuid, identity->incarnation_no, identity->calls, identity->clean ? "yes" : "no",
                            identity->damaged ? "yes" : "no", identity->boot_id,
                            sh_wal_sync_name(identity->sync));
}

/* Take one "name=value\n" off the text; false when it is not there or the value does not fit. */
static bool take_field(const char **text, const char *name, char *value, size_t capacity)
{
    size_t name_length = strlen(name);
    if (strncmp(*text, name, name_length) != 0)
        return false;
    const char *start = *text + name_length;
    size_t length = strcspn(start, "\n");
    if (start[length] != '\n' || length >= capacity)
        return false;
    memcpy(value, start, length);
    value[length] = '\0';
    *text = start + length + 1;
    return true;
}

static bool parse_number(const char *text, int64_t *out)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    *out = strtoll(text, &end, 10);
    return *end == '\0';
}

static bool parse_sync(const char *name, ShWalSync *out)
{
    static const ShWalSync all[] = {SH_WAL_SYNC_ALWAYS, SH_WAL_SYNC_INTERVAL, SH_WAL_SYNC_NEVER};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(name, sh_wal_sync_name(all[i])) == 0) {
            *out = all[i];
            return true;
        }
    }
    return false;
}
