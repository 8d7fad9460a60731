#include "agent/rpc/worker.h"

#include <grpc/support/time.h>
#include <stdio.h>

#include "agent/base/clock.h"
#include "agent/rpc/call.h"

/* Events that one may bring in its train before the worker looks for others. */
#define TRAIN_MAX 16
/* How often the worker looks whether the time of a call is over. */
#define TIME_CHECK_US 1000000

static _Thread_local ShWorker *this_worker;

static void *run_worker(void *arg);
static gpr_timespec next_check(const ShWorker *worker);
static void check_time(ShWorker *worker);
static void run_train(ShWorker *worker, ShTag *tag, bool ok);
static void on_inbox(void *owner, bool ok);
static void on_phase(void *owner, bool ok);
static void run_posted_here(ShWorker *worker);

void sh_worker_init(ShWorker *worker, struct ShRpc *rpc)
{
    *worker = (ShWorker){.rpc = rpc};
    worker->queue = grpc_completion_queue_create_for_next(NULL);
    worker->inbox_tag = (ShTag){.run = on_inbox, .owner = worker};
    worker->phase_tag = (ShTag){.run = on_phase, .owner = worker};
    worker->posted_here_end = &worker->posted_here;
    pthread_mutex_init(&worker->listeners_mutex, NULL);
    TAILQ_INIT(&worker->listeners);
    TAILQ_INIT(&worker->timed);
}

ShStatus sh_worker_start(ShWorker *worker, size_t index, ShError *err)
{
    char name[16];
    snprintf(name, sizeof name, "rpc-%zu", index);
    return sh_thread_start(&worker->thread, name, run_worker, worker, err);
}

void sh_worker_stop(ShWorker *worker, bool started)
{
    grpc_completion_queue_shutdown(worker->queue);
    if (started)
        pthread_join(worker->thread, NULL);
    else
        run_worker(worker);
    grpc_completion_queue_destroy(worker->queue);
    pthread_mutex_destroy(&worker->listeners_mutex);
    sh_check_tools_free(&worker->tools);
}

void sh_worker_post(ShWake *wake)
{
    ShWorker *worker = wake->call->worker;
    if (worker == this_worker) {
        wake->next = NULL;
        *worker->posted_here_end = wake;
        worker->posted_here_end = &wake->next;
        return;
    }

    /* The inbox is emptied only by the event that is posted here, so whoever finds it empty still has a live
     * call to post that event through. A batch without operations is gRPC's way to put a tag into a queue. */
    grpc_call *call = wake->call->call;
    ShWake *newest = atomic_load_explicit(&worker->inbox, memory_order_relaxed);
    do {
        wake->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&worker->inbox, &newest, wake, memory_order_release,
                                                    memory_order_relaxed));
    if (newest == NULL)
        grpc_call_start_batch(call, NULL, 0, &worker->inbox_tag, NULL);
}

void sh_worker_announce(ShWorker *worker)
{
    pthread_mutex_lock(&worker->listeners_mutex);
    ShCall *first = TAILQ_FIRST(&worker->listeners);
    if (first != NULL)
        grpc_call_start_batch(first->call, NULL, 0, &worker->phase_tag, NULL);
    pthread_mutex_unlock(&worker->listeners_mutex);
}

static void *run_worker(void *arg)
{
    ShWorker *worker = arg;
    this_worker = worker;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(worker->queue, next_check(worker), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            break;
        if (event.type == GRPC_OP_COMPLETE)
            run_train(worker, event.tag, event.success != 0);
        if (!TAILQ_EMPTY(&worker->timed))
            check_time(worker);
    }
    this_worker = NULL;
    return NULL;
}

static gpr_timespec next_check(const ShWorker *worker)
{
    if (TAILQ_EMPTY(&worker->timed))
        return gpr_inf_future(GPR_CLOCK_REALTIME);
    return gpr_time_from_micros(TIME_CHECK_US, GPR_TIMESPAN);
}

static void check_time(ShWorker *worker)
{
    int64_t now_us = sh_clock_now_us();
    if (now_us - worker->time_checked_us < TIME_CHECK_US)
        return;
    worker->time_checked_us = now_us;
    ShCall *call = TAILQ_FIRST(&worker->timed);
    while (call != NULL) {
        ShCall *next = TAILQ_NEXT(call, timed_link);
        sh_call_check_time(call, now_us);
        call = next;
    }
    run_posted_here(worker);
}

/* Run an event and what it completes at once: the read of a message that is already there, a write that only
 * waits for more to join it. Through the queue each would cost locks and perhaps the other thread's sleep,
 * and be torn from what came with it: a client's requests of one packet so share a group commit, and their
 * answers a packet. */
static void run_train(ShWorker *worker, ShTag *tag, bool ok)
{
    void *next = tag;
    int succeeded = ok;
    for (int length = 1; length < TRAIN_MAX; length++) {
        grpc_completion_queue_thread_local_cache_init(worker->queue);
        tag = next;
        tag->run(tag->owner, succeeded != 0);
        run_posted_here(worker);
        if (grpc_completion_queue_thread_local_cache_flush(worker->queue, &next, &succeeded) == 0)
            return;
    }
    tag = next;
    tag->run(tag->owner, succeeded != 0);
    run_posted_here(worker);
}

/* Run what the engine's threads have posted, in the order in which they did. */
static void on_inbox(void *owner, bool ok)
{
    (void)ok;
    ShWorker *worker = owner;
    ShWake *newest = atomic_exchange_explicit(&worker->inbox, NULL, memory_order_acquire);
    ShWake *oldest = NULL;
    while (newest != NULL) {
        ShWake *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        ShWake *wake = oldest;
        oldest = wake->next;
        wake->run(wake);
    }
}

static void on_phase(void *owner, bool ok)
{
    (void)ok;
    ShWorker *worker = owner;
    ShCall *call = TAILQ_FIRST(&worker->listeners);
    while (call != NULL) {
        ShCall *next = TAILQ_NEXT(call, listeners_link);
        call->method->notified(call);
        call = next;
    }
}

/* Wakes that came on this thread itself, from engine calls that were done at once. */
static void run_posted_here(ShWorker *worker)
{
    while (worker->posted_here != NULL) {
        ShWake *wake = worker->posted_here;
        worker->posted_here = wake->next;
        if (worker->posted_here == NULL)
            worker->posted_here_end = &worker->posted_here;
        wake->run(wake);
    }
}
