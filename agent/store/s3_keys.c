#include "agent/store/s3_keys.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/store/s3_keys_fetch.h"

#define RENEW_BEFORE_MAX_MS (15 * 60 * 1000)
#define RETRY_MIN_MS        200
#define RETRY_MAX_MS        30000
#define WAIT_MS             1000

struct ShS3Keyring {
    ShS3KeySource source;
    ShS3Http *http; /* NULL: the keys are those of the settings */
    pthread_mutex_t lock;
    pthread_cond_t renewed;
    /* Guarded by the lock, as all that follows. */
    ShS3Keys keys;
    bool has_keys;
    bool renewing;       /* some thread is at it, without the lock */
    int64_t renew_at_ms; /* by the wall clock, as the keys' end */
    ShError failure;     /* of the last renewal */
};

static bool are_good(const ShS3Keyring *keyring, int64_t now_ms);
static void renew(ShS3Keyring *keyring);
static int64_t retry_ms(const ShS3Keyring *keyring, int64_t now_ms);

ShStatus sh_s3_keyring_new(const ShConfig *config, ShS3Keyring **out, ShError *err)
{
    ShS3Keyring *keyring = calloc(1, sizeof *keyring);
    if (keyring == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for the keys of S3");
    pthread_mutex_init(&keyring->lock, NULL);
    ShStatus status = sh_cond_init(&keyring->renewed, err);
    if (status == SH_OK)
        status = sh_s3_key_source_init(config, &keyring->source, err);
    if (status == SH_OK && keyring->source.from == SH_S3_CREDENTIALS_KEYS) {
        ShS3Keys *keys = &keyring->keys;
        snprintf(keys->access_key, sizeof keys->access_key, "%s", config->s3_access_key);
        snprintf(keys->secret_key, sizeof keys->secret_key, "%s", config->s3_secret_key);
        snprintf(keys->session_token, sizeof keys->session_token, "%s", config->s3_session_token);
        keys->expires_ms = keyring->renew_at_ms = INT64_MAX;
        keyring->has_keys = true;
    } else if (status == SH_OK) {
        status = sh_s3_http_new(config->s3_ca_file, &keyring->http, err);
    }
    if (status != SH_OK) {
        sh_s3_keyring_free(keyring);
        return status;
    }
    *out = keyring;
    return SH_OK;
}

void sh_s3_keyring_free(ShS3Keyring *keyring)
{
    if (keyring == NULL)
        return;
    sh_s3_http_free(keyring->http);
    sh_s3_key_source_clear(&keyring->source);
    pthread_cond_destroy(&keyring->renewed);
    pthread_mutex_destroy(&keyring->lock);
    explicit_bzero(&keyring->keys, sizeof keyring->keys);
    free(keyring);
}

ShStatus sh_s3_keyring_get(ShS3Keyring *keyring, ShS3Keys *out, ShError *err)
{
    ShStatus status = SH_OK;
    pthread_mutex_lock(&keyring->lock);
    for (;;) {
        int64_t now_ms = sh_clock_wall_ms();
        bool good = are_good(keyring, now_ms);
        if (good && (keyring->renewing || now_ms < keyring->renew_at_ms))
            break;
        if (keyring->renewing) {
            sh_cond_wait_ms(&keyring->renewed, &keyring->lock, WAIT_MS);
            continue;
        }
        /* A clock that was set back would put the next try off for as long. */
        bool failed_just_now = keyring->failure.status != SH_OK && now_ms < keyring->renew_at_ms &&
                               keyring->renew_at_ms - now_ms <= RETRY_MAX_MS;
        if (!failed_just_now)
            renew(keyring);
        if (are_good(keyring, sh_clock_wall_ms()))
            break;
        if (keyring->failure.status != SH_OK) {
            status = keyring->failure.status;
            if (err != NULL)
                *err = keyring->failure;
            break;
        }
    }
    if (status == SH_OK)
        *out = keyring->keys;
    pthread_mutex_unlock(&keyring->lock);
    return status;
}

bool sh_s3_keyring_drop(ShS3Keyring *keyring, const char *access_key)
{
    if (keyring->http == NULL)
        return false;
    pthread_mutex_lock(&keyring->lock);
    if (keyring->has_keys && strcmp(keyring->keys.access_key, access_key) == 0) {
        keyring->has_keys = false;
        keyring->renew_at_ms = 0;
    }
    pthread_mutex_unlock(&keyring->lock);
    return true;
}

static bool are_good(const ShS3Keyring *keyring, int64_t now_ms)
{
    return keyring->has_keys && now_ms < keyring->keys.expires_ms;
}

/* With the lock held, which is left meanwhile. */
static void renew(ShS3Keyring *keyring)
{
    ShS3Keys keys = {0};
    ShError err = {0};
    keyring->renewing = true;
    pthread_mutex_unlock(&keyring->lock);
    ShStatus status = sh_s3_keys_fetch(keyring->http, &keyring->source, &keys, &err);
    int64_t now_ms = sh_clock_wall_ms();
    int64_t left_ms = keys.expires_ms - now_ms;
    if (status == SH_OK && left_ms <= 0)
        status = sh_fail(&err, SH_UNAVAILABLE, "the keys that came have ended already: is the clock right?");
    pthread_mutex_lock(&keyring->lock);
    keyring->renewing = false;
    keyring->failure = err;
    if (status == SH_OK) {
        keyring->keys = keys;
        keyring->has_keys = true;
        keyring->renew_at_ms = keys.expires_ms -
                               (left_ms / 4 < RENEW_BEFORE_MAX_MS ? left_ms / 4 : RENEW_BEFORE_MAX_MS);
        sh_log_info("s3_keys_renewed", "left_ms=%" PRId64, left_ms);
    } else {
        keyring->renew_at_ms = now_ms + retry_ms(keyring, now_ms);
        sh_log_warn("s3_keys_not_renewed", "left_ms=%" PRId64 " status=%s reason=\"%s\"",
                    are_good(keyring, now_ms) ? keyring->keys.expires_ms - now_ms : (int64_t)0,
                    sh_status_name(status), err.message);
    }
    explicit_bzero(&keys, sizeof keys);
    pthread_cond_broadcast(&keyring->renewed);
}

/* The sooner, the sooner the keys in use end. */
static int64_t retry_ms(const ShS3Keyring *keyring, int64_t now_ms)
{
    int64_t wait_ms = are_good(keyring, now_ms) ? (keyring->keys.expires_ms - now_ms) / 8 : 0;
    if (wait_ms < RETRY_MIN_MS)
        return RETRY_MIN_MS;
    return wait_ms < RETRY_MAX_MS ? wait_ms : RETRY_MAX_MS;
}
