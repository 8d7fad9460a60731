#include "agent/store/s3_client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_bucket_name(const char *bucket);
static ShStatus split_endpoint(const char *endpoint, const char **scheme, const char **host,
                               size_t *host_length, ShError *err);
static char *format(const char *fmt, ...) SH_PRINTF(1, 2);

ShStatus sh_s3_address_parse(const ShConfig *config, ShS3Address *out, ShError *err)
{
    ShStatus status;
    ShS3Address address = {0};
    const char *scheme = NULL;
    const char *host = NULL;
    size_t host_length = 0;
    const char *prefix = config->s3_prefix;
    size_t prefix_length = strlen(prefix);

    if (!is_bucket_name(config->s3_bucket))
        return sh_fail(err, SH_INVALID,
                       "s3_bucket \"%s\" is no bucket name: 3 to 63 of a-z, 0-9, '.' and '-'",
                       config->s3_bucket);
    if (prefix[0] == '/' || prefix_length > 256)
        return sh_fail(err, SH_INVALID, "s3_prefix must not begin with a '/' or be longer than 256 bytes");

    char *aws_endpoint = format("https://s3.%s.amazonaws.com", config->s3_region);
    if (aws_endpoint == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the bucket's address");
    status = split_endpoint(config->s3_endpoint[0] != '\0' ? config->s3_endpoint : aws_endpoint, &scheme,
                            &host, &host_length, err);
    if (status != SH_OK)
        goto done;

    const bool path_style = config->s3_path_style;
    const char *slash = prefix_length > 0 && prefix[prefix_length - 1] != '/' ? "/" : "";
    address.https = strcmp(scheme, "https") == 0;
    address.host = format("%s%s%.*s", path_style ? "" : config->s3_bucket, path_style ? "" : ".",
                          (int)host_length, host);
    address.origin = address.host != NULL ? format("%s://%s", scheme, address.host) : NULL;
    address.bucket_path = format("%s%s", path_style ? "/" : "", path_style ? config->s3_bucket : "");
    address.key_prefix = format("%s%s", prefix, slash);
    address.bucket = strdup(config->s3_bucket);
    if (address.origin == NULL || address.bucket_path == NULL || address.key_prefix == NULL ||
        address.bucket == NULL) {
        status = sh_fail(err, SH_NO_MEMORY, "no memory for the bucket's address");
        goto done;
    }
    *out = address;
    address = (ShS3Address){0};

done:
    sh_s3_address_free(&address);
    free(aws_endpoint);
    return status;
}

void sh_s3_address_free(ShS3Address *address)
{
    free(address->origin);
    free(address->host);
    free(address->bucket_path);
    free(address->bucket);
    free(address->key_prefix);
    *address = (ShS3Address){0};
}

/* The name becomes part of a host's name and of a path, so it is checked before anything is built from it. */
static bool is_bucket_name(const char *bucket)
{
    size_t length = strlen(bucket);
    return length >= 3 && length <= 63 &&
           strspn(bucket, "abcdefghijklmnopqrstuvwxyz0123456789.-") == length &&
           strstr(bucket, "..") == NULL && bucket[0] != '.' && bucket[0] != '-';
}

static ShStatus split_endpoint(const char *endpoint, const char **scheme, const char **host,
                               size_t *host_length, ShError *err)
{
    if (strncmp(endpoint, "http://", 7) == 0) {
        *scheme = "http";
        *host = endpoint + 7;
    } else if (strncmp(endpoint, "https://", 8) == 0) {
        *scheme = "https";
        *host = endpoint + 8;
    } else {
        return sh_fail(err, SH_INVALID, "s3_endpoint must begin with http:// or https://");
    }
    *host_length = strcspn(*host, "/?#@ ");
    const char *rest = *host + *host_length;
    if (*host_length == 0 || (rest[0] != '\0' && strcmp(rest, "/") != 0))
        return sh_fail(
            err, SH_INVALID,
            "s3_endpoint must be scheme, host and port alone, such as https://s3.example.com:9000");
    return SH_OK;
}

/* NULL when memory is short. */
static char *format(const char *fmt, ...)
{
    char *text;
    va_list args;
    va_start(args, fmt);
    int length = vasprintf(&text, fmt, args);
    va_end(args);
    return length >= 0 ? text : NULL;
}
