#include "client/refresh.h"

#include <string.h>

#define CALL_TIMEOUT_MS 5000

static void on_writable(void *context);
static void on_message(void *context, ShBuf *message);
static void on_closed(void *context, const ShRefusal *why);

int64_t sh_refresh_run(ShRefresh *refresh, int64_t now_ms)
{
    if (!refresh->wanted || refresh->call != NULL)
        return INT64_MAX;
    if (now_ms < refresh->pace.not_before_ms)
        return refresh->pace.not_before_ms;

    sh_pace_ask(&refresh->pace, now_ms);

    ShClientCallEvents events = {on_writable, on_message, on_closed, refresh};
    refresh->request = sh_client_metadata_request(refresh->client);
    sh_client_address(refresh->client, refresh->address);
    if (refresh->request != NULL)
        refresh->call = sh_client_call_start(refresh->loop, refresh->address, SH_METHOD_METADATA,
                                             CALL_TIMEOUT_MS, &events);
    if (refresh->call == NULL) {
        sh_buf_unref(refresh->request);
        refresh->request = NULL;
        return refresh->pace.not_before_ms;
    }
    sh_client_call_read(refresh->call);
    return INT64_MAX;
}

static void on_writable(void *context)
{
    ShRefresh *refresh = context;
    if (refresh->request == NULL) {
        sh_client_call_end_writes(refresh->call);
        return;
    }
    ShSlice whole = {refresh->request->data, refresh->request->length, refresh->request};
    sh_client_call_write(refresh->call, &whole, 1);
    sh_buf_unref(refresh->request);
    refresh->request = NULL;
}

static void on_message(void *context, ShBuf *message)
{
    ShRefresh *refresh = context;
    if (sh_client_take_metadata(refresh->client, message, NULL) == SH_OK) {
        refresh->wanted = false;
        sh_pace_answered(&refresh->pace);
    }
}

static void on_closed(void *context, const ShRefusal *why)
{
    ShRefresh *refresh = context;
    sh_buf_unref(refresh->request);
    refresh->request = NULL;
    refresh->call = NULL;
    if (why->error.status != SH_OK)
        sh_client_address_failed(refresh->client, refresh->address);
}
