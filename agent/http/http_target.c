#include "agent/http/http_target.h"

#include <string.h>
#include <strings.h>

static const char *after_scheme(const char *target);

bool sh_http_target_split(const char *target, ShHttpTarget *out)
{
    *out = (ShHttpTarget){.path = target};
    const char *host = after_scheme(target);
    if (host == NULL)
        return true;
    size_t length = strcspn(host, "/?#@");
    const char *rest = host + length;
    if (length == 0 || length >= sizeof out->host || *host == ':' || *rest == '#' || *rest == '@')
        return false;
    memcpy(out->host, host, length);
    out->path = *rest == '/' ? rest : "/";
    return true;
}

/* NULL: it is no URL. */
static const char *after_scheme(const char *target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        if (strncasecmp(target, schemes[i], strlen(schemes[i])) == 0)
            return target + strlen(schemes[i]);
    }
    return NULL;
}
