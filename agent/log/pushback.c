#include "agent/log/pushback.h"

#include <stdio.h>

#include "agent/log/engine_internal.h"

#define RETRY_MIN_MS 100
#define RETRY_MAX_MS                                                                                         \
    5000 /* room may appear before the store is tried again: uploads under way may succeed                   \
          */
#define READ_RETRY_MS 500

static ShStatus refuse(ShError *err, int retry_after_ms, const char *bound);

ShStatus sh_pushback_object(ShEngine *engine, ShError *err)
{
    int retry_after_ms;
    if (!sh_store_is_away(engine->store, &retry_after_ms))
        return SH_OK;
    /* When it is time to try again, an upload under way does; without one this call must, or nobody would. */
    if (retry_after_ms == 0 && sh_pipeline_is_empty(&engine->pipeline))
        return SH_OK;
    return refuse(err, retry_after_ms, "this topic's records are acknowledged by the store");
}

ShStatus sh_pushback_explain(ShEngine *engine, ShError *err)
{
    int retry_after_ms;
    if (err->status != SH_EXHAUSTED || !sh_store_is_away(engine->store, &retry_after_ms))
        return err->status;
    char bound[SH_ERROR_MESSAGE_BYTES];
    snprintf(bound, sizeof bound, "%.300s", err->message);
    return refuse(err, retry_after_ms, bound);
}

void sh_pushback_read(ShError *err)
{
    if (!err->retriable)
        return;
    if (err->status == SH_TIMEOUT)
        err->status = SH_UNAVAILABLE;
    if (err->retry_after_ms == 0)
        (void)sh_fail_retry_after(err, err->status, READ_RETRY_MS);
}

ShStatus sh_pushback_store(ShStatus status, ShError *err)
{
    switch (status) {
    case SH_DENIED:
    case SH_INVALID:
    case SH_UNSUPPORTED:
    case SH_TOO_LARGE:
        break;
    default:
        return status;
    }
    if (err != NULL) {
        err->status = SH_UNAVAILABLE;
        err->retriable = true;
    }
    return SH_UNAVAILABLE;
}

static ShStatus refuse(ShError *err, int retry_after_ms, const char *bound)
{
    ShStatus status = sh_fail(err, SH_UNAVAILABLE, "the store does not answer: %s", bound);
    retry_after_ms = retry_after_ms < RETRY_MAX_MS ? retry_after_ms : RETRY_MAX_MS;
    return sh_fail_retry_after(err, status, retry_after_ms > RETRY_MIN_MS ? retry_after_ms : RETRY_MIN_MS);
}
