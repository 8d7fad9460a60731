/*
 * init_producer.h - asking for a producer id, in the background of a loop.
 *
 * At most one question is under way; they come no faster than a delay that doubles while nobody answers.
 */
#ifndef SH_CLIENT_INIT_PRODUCER_H
#define SH_CLIENT_INIT_PRODUCER_H

#include "client/client.h"
#include "client/pace.h"
#include "client/transport.h"

typedef struct ShInitProducer {
    ShClient *client;
    ShLoop *loop;
    void (*known)(void *context, int64_t producer_id, int16_t producer_epoch);
    void (*unsupported)(void *context); /* the server has no idempotent producers */
    void *context;
    bool wanted;
    ShClientCall *call; /* under way, or NULL */
    bool written;
    char address[SH_CLIENT_ADDRESS_BYTES];
    ShPace pace;
} ShInitProducer;

/* Start a question when one is wanted and its time has come. Returns when to be called again, INT64_MAX: when
 * one is wanted. The loop is woken by the answer itself. */
int64_t sh_init_producer_run(ShInitProducer *init, int64_t now_ms);

#endif
