/*
 * s3_keys_fetch.h - where temporary keys come from: an STS that takes a token for them, a container's
 * credentials URI, or the instance's metadata service (version 2).
 *
 * Sources: AWS STS API reference, AssumeRoleWithWebIdentity; AWS SDKs and tools reference, "Container
 * credential provider" and "IMDS credential provider".
 */
#ifndef SH_AGENT_STORE_S3_KEYS_FETCH_H
#define SH_AGENT_STORE_S3_KEYS_FETCH_H

#include "agent/store/s3_http.h"
#include "agent/store/s3_keys.h"

/* All strings are owned and never NULL. */
typedef struct ShS3KeySource {
    ShS3CredentialsFrom from;
    char *role_arn;
    char *session_name; /* what STS writes down as who used the role */
    char *token_file;   /* read anew each time: it is replaced before it ends */
    char *endpoint;     /* of STS or the metadata service; or the container's URI */
} ShS3KeySource;

ShStatus sh_s3_key_source_init(const ShConfig *config, ShS3KeySource *out, ShError *err) SH_MUST_CHECK;
void sh_s3_key_source_clear(ShS3KeySource *source);

/* Ask once. SH_UNAVAILABLE (retriable) when nobody answers as expected, SH_DENIED when the request is refused
 * or the token cannot be read; the message names the setting to look at. */
ShStatus sh_s3_keys_fetch(ShS3Http *http, const ShS3KeySource *source, ShS3Keys *out,
                          ShError *err) SH_MUST_CHECK;

#endif
