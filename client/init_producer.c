#include "client/init_producer.h"

#include "proto/streamhouse.pb-c.h"

#define CALL_TIMEOUT_MS 5000

static void on_writable(void *context);
static void on_message(void *context, ShBuf *message);
static void on_closed(void *context, const ShRefusal *why);

int64_t sh_init_producer_run(ShInitProducer *init, int64_t now_ms)
{
    if (!init->wanted || init->call != NULL)
        return INT64_MAX;
    if (now_ms < init->pace.not_before_ms)
        return init->pace.not_before_ms;

    sh_pace_ask(&init->pace, now_ms);

    ShClientCallEvents events = {on_writable, on_message, on_closed, init};
    init->written = false;
    sh_client_address(init->client, init->address);
    init->call = sh_client_call_start(init->loop, init->address, SH_METHOD_INIT_PRODUCER, CALL_TIMEOUT_MS,
                                      &events);
    if (init->call == NULL)
        return init->pace.not_before_ms;
    sh_client_call_read(init->call);
    return INT64_MAX;
}

/* The request has no fields: its message is empty. */
static void on_writable(void *context)
{
    ShInitProducer *init = context;
    if (init->written) {
        sh_client_call_end_writes(init->call);
        return;
    }
    init->written = true;
    ShSlice whole = {(const uint8_t *)"", 0, NULL};
    sh_client_call_write(init->call, &whole, 1);
}

static void on_message(void *context, ShBuf *message)
{
    ShInitProducer *init = context;
    Streamhouse__V1__InitProducerResponse *answer = streamhouse__v1__init_producer_response__unpack(
        NULL, message->length, message->data);
    if (answer == NULL)
        return;
    init->wanted = false;
    sh_pace_answered(&init->pace);
    init->known(init->context, answer->producer_id, (int16_t)answer->producer_epoch);
    streamhouse__v1__init_producer_response__free_unpacked(answer, NULL);
}

static void on_closed(void *context, const ShRefusal *why)
{
    ShInitProducer *init = context;
    init->call = NULL;
    if (why->error.status == SH_UNSUPPORTED) {
        init->wanted = false;
        init->unsupported(init->context);
    } else if (why->error.status != SH_OK) {
        sh_client_address_failed(init->client, init->address);
    }
}
