#include "client/transport.h"

#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "client/grpc_internal.h"
#include "core/buf_pool.h"

#define MESSAGE_BYTES_MAX (128 * 1024 * 1024)
/* Buffers that are kept for the messages to come: some answers of a fetch. */
#define IDLE_MESSAGE_BYTES_MAX (8 * 1024 * 1024)
/* The pieces of a message under way; see keep_freed_memory. */
#define PIECES_BYTES     (2 * 1024 * 1024)
#define RECONNECT_MIN_MS 100
#define RECONNECT_MAX_MS 1000
#define CONNECT_MS       5000 /* an attempt's time: a busy server's greeting may take a while */

typedef struct Channel {
    struct Channel *next;
    char address[SH_CLIENT_ADDRESS_BYTES];
    grpc_channel *channel;
} Channel;

struct ShTransport {
    ShBufPool *messages;
    pthread_mutex_t lock; /* guards channels */
    Channel *channels;
};

/* One call of sh_transport_ask. */
typedef struct Question {
    ShClientCall *call;
    ShSlice request;
    bool written;
    bool closed;
    ShBuf *answer;
    ShRefusal *why;
} Question;

static void keep_freed_memory(void);
static grpc_channel *open_channel(const char *address);
static void ask_on_writable(void *context);
static void ask_on_message(void *context, ShBuf *message);
static void ask_on_closed(void *context, const ShRefusal *why);

ShTransport *sh_transport_new(void)
{
    ShTransport *transport = calloc(1, sizeof *transport);
    if (transport == NULL || (transport->messages = sh_buf_pool_new(IDLE_MESSAGE_BYTES_MAX)) == NULL) {
        free(transport);
        return NULL;
    }
    keep_freed_memory();
    grpc_init();
    pthread_mutex_init(&transport->lock, NULL);
    return transport;
}

void sh_transport_free(ShTransport *transport)
{
    if (transport == NULL)
        return;
    while (transport->channels != NULL) {
        Channel *channel = transport->channels;
        transport->channels = channel->next;
        grpc_channel_destroy(channel->channel);
        free(channel);
    }
    sh_buf_pool_free(transport->messages);
    pthread_mutex_destroy(&transport->lock);
    grpc_shutdown();
    free(transport);
}

ShBuf *sh_transport_buf(ShTransport *transport, size_t bytes)
{
    return sh_buf_pool_take(transport->messages, bytes);
}

grpc_channel *sh_transport_channel(ShTransport *transport, const char *address)
{
    if (strlen(address) >= SH_CLIENT_ADDRESS_BYTES)
        return NULL;

    grpc_channel *found = NULL;
    pthread_mutex_lock(&transport->lock);
    for (Channel *channel = transport->channels; channel != NULL && found == NULL; channel = channel->next) {
        if (strcmp(channel->address, address) == 0)
            found = channel->channel;
    }
    Channel *made = found == NULL ? calloc(1, sizeof *made) : NULL;
    if (made != NULL) {
        strcpy(made->address, address);
        found = made->channel = open_channel(address);
        made->next = transport->channels;
        transport->channels = made;
    }
    pthread_mutex_unlock(&transport->lock);
    return found;
}

ShStatus sh_transport_ask(ShTransport *transport, const char *address, const char *method, ShSlice request,
                          int timeout_ms, ShBuf **answer, ShRefusal *why)
{
    *why = (ShRefusal){0};
    ShLoop *loop = sh_loop_new(transport);
    if (loop == NULL)
        return sh_fail(&why->error, SH_NO_MEMORY, "no memory for a call to %s", address);

    Question question = {.request = request, .why = why};
    ShClientCallEvents events = {ask_on_writable, ask_on_message, ask_on_closed, &question};
    question.call = sh_client_call_start(loop, address, method, timeout_ms, &events);
    if (question.call == NULL) {
        sh_loop_free(loop);
        return sh_fail(&why->error, SH_INVALID, "cannot call \"%s\": not a usable address", address);
    }
    sh_client_call_read(question.call);
    while (!question.closed)
        sh_loop_run(loop, sh_client_now_ms() + 1000);
    sh_loop_free(loop);

    if (why->error.status == SH_OK && question.answer == NULL)
        (void)sh_fail(&why->error, SH_UNAVAILABLE, "%s ended the call without an answer", address);
    if (why->error.status != SH_OK) {
        sh_buf_unref(question.answer);
        return why->error.status;
    }
    *answer = question.answer;
    return SH_OK;
}

int64_t sh_client_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* gRPC takes memory for the pieces of each message anew. glibc gives what is freed at an arena's end back to
 * the system from 128 KiB on, and each page would have to be mapped and cleared again for the next message.
 * It learns from the largest block that was freed how much a program frees and takes: show it one. */
static void keep_freed_memory(void)
{
    sh_buf_unref(sh_buf_new(PIECES_BYTES));
}

static grpc_channel *open_channel(const char *address)
{
    /* Retries are the client's own, who knows what may be repeated; a local pool keeps clients' connections
     * apart. */
    grpc_arg values[] = {
        {.type = GRPC_ARG_INTEGER, .key = "grpc.enable_retries", .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = "grpc.enable_http_proxy", .value.integer = 0},
        {.type = GRPC_ARG_INTEGER, .key = "grpc.use_local_subchannel_pool", .value.integer = 1},
        {.type = GRPC_ARG_INTEGER,
         .key = "grpc.max_receive_message_length",
         .value.integer = MESSAGE_BYTES_MAX},
        {.type = GRPC_ARG_INTEGER,
         .key = "grpc.initial_reconnect_backoff_ms",
         .value.integer = RECONNECT_MIN_MS},
        /* Its name misleads: it bounds the attempt itself, not the pause after it. */
        {.type = GRPC_ARG_INTEGER, .key = "grpc.min_reconnect_backoff_ms", .value.integer = CONNECT_MS},
        {.type = GRPC_ARG_INTEGER, .key = "grpc.max_reconnect_backoff_ms", .value.integer = RECONNECT_MAX_MS},
    };
    grpc_channel_args args = {.num_args = sizeof values / sizeof values[0], .args = values};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(address, credentials, &args);
    grpc_channel_credentials_release(credentials);
    return channel;
}

static void ask_on_writable(void *context)
{
    Question *question = context;
    if (question->written) {
        sh_client_call_end_writes(question->call);
        return;
    }
    question->written = true;
    sh_client_call_write(question->call, &question->request, 1);
}

static void ask_on_message(void *context, ShBuf *message)
{
    Question *question = context;
    sh_buf_unref(question->answer);
    question->answer = sh_buf_ref(message);
}

static void ask_on_closed(void *context, const ShRefusal *why)
{
    Question *question = context;
    *question->why = *why;
    question->closed = true;
}
