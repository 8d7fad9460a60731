#include "agent/http/visitors.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"

#define SWEEP_INTERVAL_MS 500
#define SEND_BYTES        65536 /* that the kernel keeps for each; by itself it would keep megabytes */

typedef struct Visitor {
    TAILQ_ENTRY(Visitor) link;
    int fd;
    uint8_t address[16];
    int64_t since_ms; /* of its begin, or of the end of its last request */
    int64_t answered_ms;
    size_t body_bytes;
    size_t answer_bytes;
    bool busy;
    bool ended;
} Visitor;

struct ShVisitors {
    size_t places;
    int64_t request_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* by lock */
    bool stopping;
    TAILQ_HEAD(VisitorList, Visitor) list; /* by since_ms */
    size_t count;                          /* of those that are not ended */
};

static void *run(void *arg);
static void welcome(ShVisitors *visitors, struct MHD_Connection *connection, void **context);
static void make_room(ShVisitors *visitors, const Visitor *newcomer);
static void end(ShVisitors *visitors, Visitor *visitor, const char *reason);
static Visitor *visitor_of(struct MHD_Connection *connection);
static void copy_address(const struct sockaddr *from, uint8_t address[16]);

ShStatus sh_visitors_start(size_t places, int64_t request_ms, ShVisitors **out, ShError *err)
{
    ShVisitors *visitors = calloc(1, sizeof *visitors);
    if (visitors == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a server of HTTP");
    visitors->places = places;
    visitors->request_ms = request_ms;
    TAILQ_INIT(&visitors->list);
    pthread_mutex_init(&visitors->lock, NULL);
    ShStatus status = sh_cond_init(&visitors->changed, err);
    if (status == SH_OK)
        status = sh_thread_start(&visitors->thread, "http-visitors", run, visitors, err);
    if (status != SH_OK)
        free(visitors);
    else
        *out = visitors;
    return status;
}

void sh_visitors_stop(ShVisitors *visitors)
{
    if (visitors == NULL)
        return;
    pthread_mutex_lock(&visitors->lock);
    visitors->stopping = true;
    pthread_cond_signal(&visitors->changed);
    pthread_mutex_unlock(&visitors->lock);
    pthread_join(visitors->thread, NULL);
    pthread_cond_destroy(&visitors->changed);
    pthread_mutex_destroy(&visitors->lock);
    free(visitors);
}

void sh_visitors_notify(void *arg, struct MHD_Connection *connection, void **context,
                        enum MHD_ConnectionNotificationCode code)
{
    ShVisitors *visitors = arg;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        welcome(visitors, connection, context);
        return;
    }
    Visitor *visitor = *context;
    if (visitor == NULL)
        return;
    /* The socket is closed after this call: nobody ends it then. */
    pthread_mutex_lock(&visitors->lock);
    TAILQ_REMOVE(&visitors->list, visitor, link);
    visitors->count -= !visitor->ended;
    pthread_mutex_unlock(&visitors->lock);
    free(visitor);
    *context = NULL;
}

void sh_visitors_request_ended(ShVisitors *visitors, struct MHD_Connection *connection)
{
    Visitor *visitor = visitor_of(connection);
    if (visitor == NULL)
        return;
    pthread_mutex_lock(&visitors->lock);
    visitor->since_ms = sh_clock_now_ms();
    visitor->body_bytes = 0;
    visitor->answer_bytes = 0;
    visitor->busy = false;
    TAILQ_REMOVE(&visitors->list, visitor, link);
    TAILQ_INSERT_TAIL(&visitors->list, visitor, link);
    pthread_mutex_unlock(&visitors->lock);
}

void sh_visitors_set_busy(ShVisitors *visitors, struct MHD_Connection *connection, bool busy)
{
    Visitor *visitor = visitor_of(connection);
    if (visitor == NULL)
        return;
    pthread_mutex_lock(&visitors->lock);
    visitor->busy = busy;
    if (!busy) {
        visitor->since_ms = sh_clock_now_ms();
        TAILQ_REMOVE(&visitors->list, visitor, link);
        TAILQ_INSERT_TAIL(&visitors->list, visitor, link);
    }
    pthread_mutex_unlock(&visitors->lock);
}

void sh_visitors_hold(ShVisitors *visitors, struct MHD_Connection *connection, size_t bytes)
{
    Visitor *visitor = visitor_of(connection);
    if (visitor == NULL)
        return;
    pthread_mutex_lock(&visitors->lock);
    visitor->body_bytes = bytes;
    pthread_mutex_unlock(&visitors->lock);
}

void sh_visitors_hold_answer(ShVisitors *visitors, struct MHD_Connection *connection, size_t bytes)
{
    Visitor *visitor = visitor_of(connection);
    if (visitor == NULL)
        return;
    pthread_mutex_lock(&visitors->lock);
    visitor->answer_bytes = bytes;
    visitor->answered_ms = sh_clock_now_ms();
    pthread_mutex_unlock(&visitors->lock);
}

bool sh_visitors_end_largest_answer(ShVisitors *visitors, struct MHD_Connection *connection, int64_t age_ms)
{
    const Visitor *own = visitor_of(connection);
    Visitor *largest = NULL;
    pthread_mutex_lock(&visitors->lock);
    size_t own_bytes = own != NULL ? own->answer_bytes : 0;
    int64_t until_ms = sh_clock_now_ms() - age_ms;
    Visitor *visitor;
    TAILQ_FOREACH(visitor, &visitors->list, link)
    {
        if (visitor == own || visitor->ended ||
            visitor->answer_bytes <= (largest != NULL ? largest->answer_bytes : 0))
            continue;
        if (visitor->answer_bytes > own_bytes || visitor->answered_ms <= until_ms)
            largest = visitor;
    }
    if (largest != NULL)
        end(visitors, largest, "makes room for other answers");
    pthread_mutex_unlock(&visitors->lock);
    return largest != NULL;
}

bool sh_visitors_end_slowest_body(ShVisitors *visitors, struct MHD_Connection *connection, int64_t age_ms)
{
    const Visitor *own = visitor_of(connection);
    bool ended = false;
    pthread_mutex_lock(&visitors->lock);
    int64_t until_ms = sh_clock_now_ms() - age_ms;
    Visitor *visitor;
    TAILQ_FOREACH(visitor, &visitors->list, link)
    {
        if (visitor->since_ms > until_ms)
            break;
        if (visitor == own || visitor->busy || visitor->ended || visitor->body_bytes == 0)
            continue;
        end(visitors, visitor, "makes room for other bodies");
        ended = true;
        break;
    }
    pthread_mutex_unlock(&visitors->lock);
    return ended;
}

static void *run(void *arg)
{
    ShVisitors *visitors = arg;
    pthread_mutex_lock(&visitors->lock);
    while (!visitors->stopping) {
        int64_t until_ms = sh_clock_now_ms() - visitors->request_ms;
        Visitor *visitor;
        TAILQ_FOREACH(visitor, &visitors->list, link)
        {
            if (visitor->since_ms > until_ms)
                break;
            if (!visitor->busy && !visitor->ended)
                end(visitors, visitor, "its request takes too long");
        }
        sh_cond_wait_ms(&visitors->changed, &visitors->lock, SWEEP_INTERVAL_MS);
    }
    pthread_mutex_unlock(&visitors->lock);
    return NULL;
}

/* Without memory for it, a connection has no deadline but that of libmicrohttpd. */
static void welcome(ShVisitors *visitors, struct MHD_Connection *connection, void **context)
{
    const union MHD_ConnectionInfo *fd = MHD_get_connection_info(connection,
                                                                 MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *from = MHD_get_connection_info(connection,
                                                                   MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    Visitor *visitor = fd != NULL ? calloc(1, sizeof *visitor) : NULL;
    *context = visitor;
    if (visitor == NULL)
        return;
    visitor->fd = fd->connect_fd;
    (void)setsockopt(visitor->fd, SOL_SOCKET, SO_SNDBUF, &(int){SEND_BYTES}, sizeof(int));
    visitor->since_ms = sh_clock_now_ms();
    if (from != NULL && from->client_addr != NULL)
        copy_address(from->client_addr, visitor->address);
    pthread_mutex_lock(&visitors->lock);
    make_room(visitors, visitor);
    TAILQ_INSERT_TAIL(&visitors->list, visitor, link);
    visitors->count++;
    pthread_mutex_unlock(&visitors->lock);
}

/* With the lock held. */
static void make_room(ShVisitors *visitors, const Visitor *newcomer)
{
    size_t of_address = 0;
    Visitor *oldest_of_address = NULL;
    Visitor *oldest = NULL;
    Visitor *visitor;
    TAILQ_FOREACH(visitor, &visitors->list, link)
    {
        if (visitor->ended)
            continue;
        bool same = memcmp(visitor->address, newcomer->address, sizeof visitor->address) == 0;
        of_address += same;
        if (same && oldest_of_address == NULL && !visitor->busy)
            oldest_of_address = visitor;
        if (oldest == NULL && !visitor->busy)
            oldest = visitor;
    }
    if (of_address >= visitors->places / 2 && oldest_of_address != NULL)
        end(visitors, oldest_of_address, "makes room for others of its address");
    else if (visitors->count >= visitors->places / 4 * 3 && oldest != NULL)
        end(visitors, oldest, "makes room for others");
}

/* With the lock held. The server sees the connection closed by its client. */
static void end(ShVisitors *visitors, Visitor *visitor, const char *reason)
{
    (void)shutdown(visitor->fd, SHUT_RDWR);
    visitor->ended = true;
    visitors->count--;
    sh_log_warn("http_connection_ended", "reason=\"%s\" connections=%zu", reason, visitors->count);
}

static Visitor *visitor_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection,
                                                                   MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void copy_address(const struct sockaddr *from, uint8_t address[16])
{
    if (from->sa_family == AF_INET6)
        memcpy(address, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    else if (from->sa_family == AF_INET)
        memcpy(address + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
}
