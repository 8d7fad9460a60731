/*
 * refresh.h - asking for the cluster's metadata again, in the background of a loop.
 *
 * At most one question is under way; they come no faster than a delay that doubles while nobody answers.
 */
#ifndef SH_CLIENT_REFRESH_H
#define SH_CLIENT_REFRESH_H

#include "client/client.h"
#include "client/pace.h"
#include "client/transport.h"

typedef struct ShRefresh {
    ShClient *client;
    ShLoop *loop;
    bool wanted;
    ShClientCall *call; /* under way, or NULL */
    ShBuf *request;     /* until it is written */
    char address[SH_CLIENT_ADDRESS_BYTES];
    ShPace pace;
} ShRefresh;

/* Start a question when one is wanted and its time has come. Returns when to be called again, INT64_MAX: when
 * one is wanted. The loop is woken by the answer itself. */
int64_t sh_refresh_run(ShRefresh *refresh, int64_t now_ms);

#endif
