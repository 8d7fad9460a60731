#include "agent/rpc/room.h"

#include <grpc/grpc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/rpc/call.h"

/* A client that has not taken its answer for so long stalls. */
#define STALLED_US 2000000
/* Who has waited for so long comes before those that would have less. */
#define PATIENCE_US 5000000
#define HASH_FACTOR UINT64_C(0x9E3779B97F4A7C15)
/* Addresses that have nothing are kept if there are no more: they come again with the next answer. */
#define KEPT_ADDRESSES 64
/* Cancelled under one lock; where it is not enough the next one to come cancels more. */
#define CANCELS_MAX 16

TAILQ_HEAD(Shares, ShRoomShare);

/* Those of one address. */
typedef struct ShRoomAddress {
    uint64_t key[2];
    int64_t bytes;
    int64_t had_us; /* when it last had anything while a share of it waited */
    int pins;       /* somebody works with it */
    struct Shares holders;
    struct Shares waiters; /* in the order of their coming */
    LIST_ENTRY(ShRoomAddress) link;
} ShRoomAddress;

/* What is to be done when the lock is given up. */
typedef struct Outcome {
    ShWake *wakes;
    int64_t cancelled_bytes;
    size_t cancelled_count;
    grpc_call *cancelled[CANCELS_MAX]; /* so many of them */
} Outcome;

static void begin(Outcome *outcome);
static ShRoomAddress *address_of(ShRoom *room, const ShCall *call);
static void forget_if_empty(ShRoom *room, ShRoomAddress *address);
static void forget(ShRoom *room, ShRoomAddress *address);
static void give(ShRoom *room, ShRoomShare *share, ShRoomAddress *address, int64_t since_us);
static void take_away(ShRoom *room, ShRoomShare *share);
static bool may_have(const ShRoom *room, const ShRoomAddress *address, int64_t bytes);
static bool is_first(const ShRoom *room, const ShRoomAddress *address, int64_t bytes);
static ShRoomShare *next_waiter(const ShRoom *room, bool is_held_back);
static bool held_back(const ShRoom *room, const ShRoomShare *waiter);
static bool is_overdue(const ShRoomShare *waiter, int64_t now_us);
static bool goes_before(const ShRoomShare *waiter, const ShRoomShare *other, int64_t now_us);
static void serve_waiters(ShRoom *room, Outcome *outcome);
static bool make_room(ShRoom *room, ShRoomAddress *newcomer, int64_t bytes, Outcome *outcome);
static ShRoomShare *victim(const ShRoom *room, const ShRoomAddress *newcomer, int64_t bytes);
static void cancel(ShRoom *room, ShRoomShare *share, Outcome *outcome);
static void finish(ShRoom *room, Outcome *outcome);

#define FOR_EACH_ADDRESS(address, room)                                                                      \
    for (size_t hash_ = 0; hash_ < sizeof(room)->addresses / sizeof(room)->addresses[0]; hash_++)            \
    LIST_FOREACH(address, &(room)->addresses[hash_], link)

void sh_room_init(ShRoom *room, const char *name, int64_t bytes_max, bool waits)
{
    char labels[64];
    *room = (ShRoom){.name = name, .bytes_max = bytes_max, .waits = waits};
    pthread_mutex_init(&room->mutex, NULL);
    snprintf(labels, sizeof labels, "room=\"%s\"", name);
    room->cancelled = sh_metric_counter("streamhouse_rpc_calls_cancelled_total", labels,
                                        "gRPC calls that were cancelled because they held memory that "
                                        "others needed.");
}

void sh_room_destroy(ShRoom *room)
{
    for (size_t i = 0; i < sizeof room->addresses / sizeof room->addresses[0]; i++) {
        ShRoomAddress *address;
        while ((address = LIST_FIRST(&room->addresses[i])) != NULL)
            forget(room, address);
    }
    pthread_mutex_destroy(&room->mutex);
}

bool sh_room_take(ShRoom *room, ShRoomShare *share, ShCall *call, int64_t bytes, bool is_answered)
{
    Outcome outcome;
    begin(&outcome);
    pthread_mutex_lock(&room->mutex);
    bool had = share->address != NULL && share->bytes >= bytes;
    take_away(room, share);
    share->call = call;
    share->bytes = bytes;
    ShRoomAddress *address = address_of(room, call);
    bool taken = address != NULL &&
                 (had || (is_first(room, address, bytes) && may_have(room, address, bytes)));
    if (!taken && !room->waits && address != NULL)
        taken = make_room(room, address, bytes, &outcome);
    if (taken)
        give(room, share, address, is_answered ? sh_clock_now_us() : INT64_MAX);
    else
        forget_if_empty(room, address);
    serve_waiters(room, &outcome);
    finish(room, &outcome);
    share->in_use = taken;
    return taken;
}

void sh_room_wait(ShRoom *room, ShRoomShare *share, ShCall *call, int64_t bytes, ShWake *wake)
{
    Outcome outcome;
    begin(&outcome);
    share->in_use = true;
    pthread_mutex_lock(&room->mutex);
    ShRoomAddress *address = address_of(room, call);
    share->call = call;
    share->bytes = bytes;
    share->wake = wake;
    share->waits_since_us = sh_clock_now_us();
    share->address = address;
    if (address != NULL) {
        TAILQ_INSERT_TAIL(&address->waiters, share, link);
        room->waiting++;
    }
    serve_waiters(room, &outcome);
    finish(room, &outcome);
}

bool sh_room_stop_waiting(ShRoom *room, ShRoomShare *share)
{
    pthread_mutex_lock(&room->mutex);
    bool waited = share->wake != NULL;
    ShRoomAddress *address = share->address;
    if (waited && address != NULL) {
        TAILQ_REMOVE(&address->waiters, share, link);
        room->waiting--;
        forget_if_empty(room, address);
    }
    if (waited) {
        share->wake = NULL;
        share->address = NULL;
    }
    pthread_mutex_unlock(&room->mutex);
    share->in_use = !waited;
    return waited;
}

void sh_room_press(ShRoom *room)
{
    Outcome outcome;
    begin(&outcome);
    pthread_mutex_lock(&room->mutex);
    serve_waiters(room, &outcome);
    ShRoomShare *waiter;
    while (outcome.cancelled_count < CANCELS_MAX &&
           ((waiter = next_waiter(room, false)) != NULL || (waiter = next_waiter(room, true)) != NULL)) {
        ShRoomShare *other = victim(room, waiter->address, waiter->bytes);
        if (other == NULL)
            break;
        cancel(room, other, &outcome);
        serve_waiters(room, &outcome);
    }
    finish(room, &outcome);
}

bool sh_room_has_cancelled(ShRoom *room, const ShRoomShare *share)
{
    pthread_mutex_lock(&room->mutex);
    bool is_cancelled = share->is_cancelled;
    pthread_mutex_unlock(&room->mutex);
    return is_cancelled;
}

void sh_room_release(ShRoom *room, ShRoomShare *share)
{
    Outcome outcome;
    begin(&outcome);
    if (!share->in_use)
        return;
    share->in_use = false;
    pthread_mutex_lock(&room->mutex);
    take_away(room, share);
    serve_waiters(room, &outcome);
    finish(room, &outcome);
}

/* Every answer pays for it: the array is left alone. */
static void begin(Outcome *outcome)
{
    outcome->wakes = NULL;
    outcome->cancelled_bytes = 0;
    outcome->cancelled_count = 0;
}

/* NULL when memory is short. */
static ShRoomAddress *address_of(ShRoom *room, const ShCall *call)
{
    uint64_t key[2] = {0};
    if (call->connection != NULL)
        memcpy(key, call->connection->host->key, sizeof key);
    size_t place = (key[0] * HASH_FACTOR + key[1] * HASH_FACTOR) >> (64 - SH_ROOM_HASH_BITS);
    ShRoomAddress *address;
    LIST_FOREACH(address, &room->addresses[place], link)
    if (address->key[0] == key[0] && address->key[1] == key[1])
        return address;
    address = calloc(1, sizeof *address);
    if (address == NULL)
        return NULL;
    memcpy(address->key, key, sizeof key);
    TAILQ_INIT(&address->holders);
    TAILQ_INIT(&address->waiters);
    LIST_INSERT_HEAD(&room->addresses[place], address, link);
    room->address_count++;
    return address;
}

static void forget_if_empty(ShRoom *room, ShRoomAddress *address)
{
    if (room->address_count <= KEPT_ADDRESSES || address == NULL || address->pins > 0 ||
        !TAILQ_EMPTY(&address->holders) || !TAILQ_EMPTY(&address->waiters))
        return;
    forget(room, address);
}

static void forget(ShRoom *room, ShRoomAddress *address)
{
    LIST_REMOVE(address, link);
    room->address_count--;
    free(address);
}

static void give(ShRoom *room, ShRoomShare *share, ShRoomAddress *address, int64_t since_us)
{
    share->address = address;
    share->since_us = since_us;
    TAILQ_INSERT_TAIL(&address->holders, share, link);
    address->bytes += share->bytes;
    room->bytes += share->bytes;
}

static void take_away(ShRoom *room, ShRoomShare *share)
{
    ShRoomAddress *address = share->address;
    if (address == NULL)
        return;
    TAILQ_REMOVE(&address->holders, share, link);
    address->bytes -= share->bytes;
    room->bytes -= share->bytes;
    if (!TAILQ_EMPTY(&address->waiters))
        address->had_us = sh_clock_now_us();
    share->address = NULL;
    forget_if_empty(room, address);
}

static bool may_have(const ShRoom *room, const ShRoomAddress *address, int64_t bytes)
{
    return sh_connection_may_take(address->bytes, room->bytes, bytes, room->bytes_max);
}

/* Is nobody's turn before it? Those who would have least of all come first. */
static bool is_first(const ShRoom *room, const ShRoomAddress *address, int64_t bytes)
{
    if (room->waiting == 0)
        return true;
    const ShRoomShare *waiter = next_waiter(room, false);
    return waiter == NULL || (!is_overdue(waiter, sh_clock_now_us()) &&
                              address->bytes + bytes < waiter->address->bytes + waiter->bytes);
}

/* Whose turn it is, of those that only their own address holds back, or of the others. */
static ShRoomShare *next_waiter(const ShRoom *room, bool is_held_back)
{
    ShRoomShare *next = NULL;
    const ShRoomAddress *address;
    int64_t now_us = sh_clock_now_us();
    FOR_EACH_ADDRESS(address, room)
    {
        ShRoomShare *first = TAILQ_FIRST(&address->waiters);
        if (first != NULL && held_back(room, first) == is_held_back &&
            (next == NULL || goes_before(first, next, now_us)))
            next = first;
    }
    return next;
}

/* An address that has nothing would be given it. */
static bool held_back(const ShRoom *room, const ShRoomShare *waiter)
{
    return !may_have(room, waiter->address, waiter->bytes) &&
           sh_connection_may_take(0, room->bytes, waiter->bytes, room->bytes_max);
}

/* It was the turn of others for long enough. */
static bool is_overdue(const ShRoomShare *waiter, int64_t now_us)
{
    return waiter->address->bytes == 0 && now_us - waiter->waits_since_us >= PATIENCE_US &&
           now_us - waiter->address->had_us >= PATIENCE_US;
}

static bool goes_before(const ShRoomShare *waiter, const ShRoomShare *other, int64_t now_us)
{
    bool is_late = is_overdue(waiter, now_us);
    if (is_late != is_overdue(other, now_us))
        return is_late;
    if (is_late)
        return waiter->waits_since_us < other->waits_since_us;
    return waiter->address->bytes + waiter->bytes < other->address->bytes + other->bytes;
}

static void serve_waiters(ShRoom *room, Outcome *outcome)
{
    ShRoomShare *waiter;
    while (room->waiting > 0 && (waiter = next_waiter(room, false)) != NULL &&
           may_have(room, waiter->address, waiter->bytes)) {
        TAILQ_REMOVE(&waiter->address->waiters, waiter, link);
        room->waiting--;
        give(room, waiter, waiter->address, INT64_MAX);
        waiter->wake->next = outcome->wakes;
        outcome->wakes = waiter->wake;
        waiter->wake = NULL;
    }
}

/* For a newcomer who does not wait. */
static bool make_room(ShRoom *room, ShRoomAddress *newcomer, int64_t bytes, Outcome *outcome)
{
    newcomer->pins++;
    while (!may_have(room, newcomer, bytes) && outcome->cancelled_count < CANCELS_MAX) {
        ShRoomShare *other = victim(room, newcomer, bytes);
        if (other == NULL)
            break;
        cancel(room, other, outcome);
    }
    newcomer->pins--;
    return may_have(room, newcomer, bytes);
}

/* The call that has to go for the newcomer: the largest of the address that has most, of those that stall;
 * where none waits, also of those that do not, if the address has more than the newcomer's would. */
static ShRoomShare *victim(const ShRoom *room, const ShRoomAddress *newcomer, int64_t bytes)
{
    int64_t stalled_us = sh_clock_now_us() - STALLED_US;
    int64_t own = newcomer->bytes + bytes;
    ShRoomShare *largest = NULL;
    ShRoomAddress *address;
    FOR_EACH_ADDRESS(address, room)
    {
        if (largest != NULL && address->bytes <= largest->address->bytes)
            continue;
        bool outweighs = !room->waits && address != newcomer && address->bytes > own;
        ShRoomShare *found = NULL;
        ShRoomShare *share;
        TAILQ_FOREACH(share, &address->holders, link)
        if ((outweighs || share->since_us <= stalled_us) && (found == NULL || share->bytes > found->bytes))
            found = share;
        if (found != NULL)
            largest = found;
    }
    return largest;
}

/* What it has is free already for others: gRPC gives it up soon. */
static void cancel(ShRoom *room, ShRoomShare *share, Outcome *outcome)
{
    share->is_cancelled = true;
    grpc_call_ref(share->call->call);
    outcome->cancelled[outcome->cancelled_count++] = share->call->call;
    outcome->cancelled_bytes += share->bytes;
    take_away(room, share);
}

/* Give up the lock and do what could not be done under it. */
static void finish(ShRoom *room, Outcome *outcome)
{
    pthread_mutex_unlock(&room->mutex);
    while (outcome->wakes != NULL) {
        ShWake *wake = outcome->wakes;
        outcome->wakes = wake->next;
        sh_worker_post(wake);
    }
    for (size_t i = 0; i < outcome->cancelled_count; i++) {
        grpc_call_cancel_with_status(outcome->cancelled[i], GRPC_STATUS_RESOURCE_EXHAUSTED,
                                     "others need the memory of this answer, which was not taken; "
                                     "come again later",
                                     NULL);
        grpc_call_unref(outcome->cancelled[i]);
    }
    if (outcome->cancelled_count == 0)
        return;
    sh_metric_add(room->cancelled, (int64_t)outcome->cancelled_count);
    sh_log_warn("rpc_calls_cancelled", "room=\"%s\" calls=%zu bytes=%lld", room->name,
                outcome->cancelled_count, (long long)outcome->cancelled_bytes);
}
