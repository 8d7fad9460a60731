/*
 * s3_keys.h - the keys that requests are signed with: those of the settings, or temporary ones, which are
 * renewed well before they end.
 *
 * A renewal that fails leaves the keys in use until they end, is logged, and is tried again.
 */
#ifndef SH_AGENT_STORE_S3_KEYS_H
#define SH_AGENT_STORE_S3_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/base/config.h"

typedef struct ShS3Keys {
    char access_key[256];
    char secret_key[1025];
    char session_token[8192]; /* "" : none */
    int64_t expires_ms;       /* since the Unix epoch; INT64_MAX: never */
} ShS3Keys;

typedef struct ShS3Keyring ShS3Keyring;

/* Nothing is asked yet. */
ShStatus sh_s3_keyring_new(const ShConfig *config, ShS3Keyring **out, ShError *err) SH_MUST_CHECK;
void sh_s3_keyring_free(ShS3Keyring *keyring);

/* Keys that are good now. The call that finds them due fetches others, for some seconds at most; the others
 * go on with the old ones, or wait where these have ended. SH_UNAVAILABLE (retriable) when none can be
 * fetched, SH_DENIED when they are refused. Any thread. */
ShStatus sh_s3_keyring_get(ShS3Keyring *keyring, ShS3Keys *out, ShError *err) SH_MUST_CHECK;

/* S3 says that these keys are good no more. True: the next call fetches others. */
bool sh_s3_keyring_drop(ShS3Keyring *keyring, const char *access_key);

#endif
