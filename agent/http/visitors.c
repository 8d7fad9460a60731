#include "agent/http/visitors.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "agent/base/address.h"
#include "agent/base/clock.h"
#include "agent/base/log.h"

#define SWEEP_INTERVAL_MS 500
#define SEND_BYTES        65536 /* that the kernel keeps for each; by itself it would keep megabytes */

/* What the visitors from one place have together, of those that are not ended. */
typedef struct Origin {
    LIST_ENTRY(Origin) link;
    uint8_t key[SH_ADDRESS_KEY_BYTES];
    size_t refs; /* visitors, ended or not */
    size_t count;
    size_t body_bytes;
    size_t answer_bytes;
} Origin;

typedef struct Visitor {
    TAILQ_ENTRY(Visitor) link;
    Origin *origin;
    int fd;
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
    LIST_HEAD(OriginList, Origin) origins;
    size_t count; /* of those that are not ended */
};

static void *run(void *arg);
static void welcome(ShVisitors *visitors, struct MHD_Connection *connection, void **context);
static bool join_origin(ShVisitors *visitors, Visitor *visitor, const union MHD_ConnectionInfo *from);
static void leave_origin(Visitor *visitor);
static void make_room(ShVisitors *visitors, const Visitor *newcomer);
static Visitor *who_goes(const ShVisitors *visitors);
static void end(ShVisitors *visitors, Visitor *visitor, const char *reason);
static void set_body(Visitor *visitor, size_t bytes);
static void set_answer(Visitor *visitor, size_t bytes);
static Visitor *largest_answer(const ShVisitors *visitors, const Visitor *own, int64_t until_ms);
static bool gives_answer_up(const Visitor *visitor, const Visitor *own, int64_t until_ms);
static Visitor *visitor_of(struct MHD_Connection *connection);

ShStatus sh_visitors_start(size_t places, int64_t request_ms, ShVisitors **out, ShError *err)
{
    ShVisitors *visitors = calloc(1, sizeof *visitors);
    if (visitors == NULL)
        return sh_fail(err, SH_NO_MEMORY, "no memory for a server of HTTP");
    visitors->places = places;
    visitors->request_ms = request_ms;
    TAILQ_INIT(&visitors->list);
    LIST_INIT(&visitors->origins);
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
    leave_origin(visitor);
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
    set_body(visitor, 0);
    set_answer(visitor, 0);
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
    set_body(visitor, bytes);
    pthread_mutex_unlock(&visitors->lock);
}

void sh_visitors_hold_answer(ShVisitors *visitors, struct MHD_Connection *connection, size_t bytes)
{
    Visitor *visitor = visitor_of(connection);
    if (visitor == NULL)
        return;
    pthread_mutex_lock(&visitors->lock);
    set_answer(visitor, bytes);
    visitor->answered_ms = sh_clock_now_ms();
    pthread_mutex_unlock(&visitors->lock);
}

bool sh_visitors_end_largest_answers(ShVisitors *visitors, struct MHD_Connection *connection, size_t bytes,
                                     int64_t age_ms)
{
    const Visitor *own = visitor_of(connection);
    Visitor *largest;
    size_t freed_bytes = 0;
    if (own == NULL)
        return false;
    pthread_mutex_lock(&visitors->lock);
    int64_t until_ms = sh_clock_now_ms() - age_ms;
    while (freed_bytes < bytes && (largest = largest_answer(visitors, own, until_ms)) != NULL) {
        freed_bytes += largest->answer_bytes;
        end(visitors, largest, "makes room for other answers");
    }
    pthread_mutex_unlock(&visitors->lock);
    return freed_bytes >= bytes;
}

bool sh_visitors_end_slowest_body(ShVisitors *visitors, struct MHD_Connection *connection, int64_t age_ms)
{
    const Visitor *own = visitor_of(connection);
    Visitor *slowest = NULL;
    if (own == NULL)
        return false;
    pthread_mutex_lock(&visitors->lock);
    int64_t until_ms = sh_clock_now_ms() - age_ms;
    size_t others = own->origin->body_bytes - own->body_bytes;
    Visitor *visitor;
    TAILQ_FOREACH(visitor, &visitors->list, link)
    {
        if (visitor->since_ms > until_ms)
            break;
        if (visitor == own || visitor->busy || visitor->ended || visitor->body_bytes == 0)
            continue;
        size_t bytes = visitor->origin->body_bytes;
        if (slowest == NULL ? bytes >= others : bytes > slowest->origin->body_bytes)
            slowest = visitor;
    }
    if (slowest != NULL)
        end(visitors, slowest, "makes room for other bodies");
    pthread_mutex_unlock(&visitors->lock);
    return slowest != NULL;
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
    pthread_mutex_lock(&visitors->lock);
    if (join_origin(visitors, visitor, from)) {
        TAILQ_INSERT_TAIL(&visitors->list, visitor, link);
        visitors->count++;
        visitor->origin->count++;
        make_room(visitors, visitor);
    } else {
        free(visitor);
        *context = NULL;
    }
    pthread_mutex_unlock(&visitors->lock);
}

/* With the lock held. False: there is no memory for it. */
static bool join_origin(ShVisitors *visitors, Visitor *visitor, const union MHD_ConnectionInfo *from)
{
    uint8_t key[SH_ADDRESS_KEY_BYTES] = {0};
    if (from != NULL && from->client_addr != NULL)
        sh_address_key(from->client_addr, key);
    Origin *origin;
    LIST_FOREACH(origin, &visitors->origins, link)
    {
        if (memcmp(origin->key, key, sizeof key) == 0)
            break;
    }
    if (origin == NULL && (origin = calloc(1, sizeof *origin)) != NULL) {
        memcpy(origin->key, key, sizeof key);
        LIST_INSERT_HEAD(&visitors->origins, origin, link);
    }
    visitor->origin = origin;
    if (origin != NULL)
        origin->refs++;
    return origin != NULL;
}

/* With the lock held. */
static void leave_origin(Visitor *visitor)
{
    Origin *origin = visitor->origin;
    set_body(visitor, 0);
    set_answer(visitor, 0);
    origin->count -= !visitor->ended;
    if (--origin->refs > 0)
        return;
    LIST_REMOVE(origin, link);
    free(origin);
}

/* With the lock held. The newcomer is among them. */
static void make_room(ShVisitors *visitors, const Visitor *newcomer)
{
    if (newcomer->origin->count <= visitors->places / 2 && visitors->count <= visitors->places / 4 * 3)
        return;
    Visitor *visitor = who_goes(visitors);
    end(visitors, visitor,
        visitor == newcomer                   ? "others of its address are waited for"
        : visitor->origin == newcomer->origin ? "makes room for others of its address"
                                              : "makes room for others");
}

/* With the lock held. Of the address that has most, which an address with more than half always is: whoever
 * is at it for the longest and not busy; if all are, the one for the longest, whose work is done in vain. */
static Visitor *who_goes(const ShVisitors *visitors)
{
    size_t most = 0;
    Visitor *busy = NULL;
    const Origin *origin;
    Visitor *visitor;
    LIST_FOREACH(origin, &visitors->origins, link)
    {
        most = origin->count > most ? origin->count : most;
    }
    TAILQ_FOREACH(visitor, &visitors->list, link)
    {
        if (visitor->ended || visitor->origin->count < most)
            continue;
        if (!visitor->busy)
            return visitor;
        busy = busy == NULL ? visitor : busy;
    }
    return busy;
}

/* With the lock held. The server sees the connection closed by its client. */
static void end(ShVisitors *visitors, Visitor *visitor, const char *reason)
{
    (void)shutdown(visitor->fd, SHUT_RDWR);
    set_body(visitor, 0);
    set_answer(visitor, 0);
    visitor->ended = true;
    visitor->origin->count--;
    visitors->count--;
    sh_log_warn("http_connection_ended", "reason=\"%s\" connections=%zu", reason, visitors->count);
}

/* With the lock held, as the next. What ended ones have is free a moment later. */
static void set_body(Visitor *visitor, size_t bytes)
{
    if (visitor->ended)
        return;
    visitor->origin->body_bytes -= visitor->body_bytes;
    visitor->origin->body_bytes += bytes;
    visitor->body_bytes = bytes;
}

static void set_answer(Visitor *visitor, size_t bytes)
{
    if (visitor->ended)
        return;
    visitor->origin->answer_bytes -= visitor->answer_bytes;
    visitor->origin->answer_bytes += bytes;
    visitor->answer_bytes = bytes;
}

/* With the lock held. Of those that give theirs up for that of `own`, the largest of the address that has
 * most. NULL: there is none. */
static Visitor *largest_answer(const ShVisitors *visitors, const Visitor *own, int64_t until_ms)
{
    Visitor *largest = NULL;
    Visitor *visitor;
    TAILQ_FOREACH(visitor, &visitors->list, link)
    {
        if (!gives_answer_up(visitor, own, until_ms))
            continue;
        if (largest == NULL || visitor->origin->answer_bytes > largest->origin->answer_bytes ||
            (visitor->origin == largest->origin && visitor->answer_bytes > largest->answer_bytes))
            largest = visitor;
    }
    return largest;
}

/* Does an answer go for that of `own`? At once, if it is larger and of the same address,
 * or of one that has more; if it was made before `until_ms`, also if the address has no less than that of
 * `own` has in other answers. */
static bool gives_answer_up(const Visitor *visitor, const Visitor *own, int64_t until_ms)
{
    const Origin *origin = visitor->origin;
    if (visitor == own || visitor->answer_bytes == 0)
        return false;
    if (origin == own->origin ? visitor->answer_bytes > own->answer_bytes
                              : origin->answer_bytes > own->origin->answer_bytes)
        return true;
    return visitor->answered_ms <= until_ms &&
           origin->answer_bytes >= own->origin->answer_bytes - own->answer_bytes;
}

static Visitor *visitor_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection,
                                                                   MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}
