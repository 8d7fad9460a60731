#include "agent/http/framing.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "agent/http/http_target.h"

typedef struct Counts {
    int names_with_blanks;
    int hosts;
    int lengths;
    int encodings;
    int encodings_other_than_chunked;
} Counts;

static enum MHD_Result count(void *arg, enum MHD_ValueKind kind, const char *name, const char *value);

const char *sh_framing_fault(struct MHD_Connection *connection, const char *target, const char *version)
{
    ShHttpTarget parts;
    Counts counts = {0};
    bool is_old = strcmp(version, MHD_HTTP_VERSION_1_0) == 0;
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, count, &counts);
    if (!sh_http_target_split(target, &parts))
        return "the URL has no host, or more than a host and a port before its path";
    if (counts.names_with_blanks > 0)
        return "the name of a header has a blank in or behind it";
    if (counts.hosts > 1)
        return "the request has more than one Host";
    if (counts.hosts == 0 && !is_old)
        return "the request has no Host";
    if (counts.encodings > 0 && is_old)
        return "the request is of HTTP/1.0, which has no Transfer-Encoding";
    if (counts.encodings > 0 && counts.lengths > 0)
        return "the request has both a Content-Length and a Transfer-Encoding";
    if (counts.lengths > 1)
        return "the request has more than one Content-Length";
    if (counts.encodings > 1 || counts.encodings_other_than_chunked > 0)
        return "the request has a Transfer-Encoding other than chunked";
    return NULL;
}

static enum MHD_Result count(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    Counts *counts = arg;
    counts->names_with_blanks += strpbrk(name, " \t") != NULL;
    if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
        counts->hosts++;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        counts->lengths++;
    } else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        counts->encodings++;
        counts->encodings_other_than_chunked += value == NULL || strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}
