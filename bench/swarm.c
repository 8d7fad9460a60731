#include "bench/swarm.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/http2.h"
#include "bench/json_line.h"

#define EVENTS_AT_ONCE 256
#define IN_FLIGHT_MAX  64

typedef struct Member {
    ShBenchSwarm *swarm;
    ShBenchHttp2 http2;
    const ShBuf *message;
    bool stands;
    bool waits_to_send;
    int64_t to_send;
    /* When the messages under way were sent: answers of one stream, whose records go to one partition, come
     * in order. */
    int64_t sent_us[IN_FLIGHT_MAX];
    unsigned oldest;
    unsigned under_way;
} Member;

struct ShBenchSwarm {
    int epoll;
    Member *members;
    int count;
    int standing;
    void (*check)(const uint8_t *answer, size_t length);
    unsigned in_flight;
    int64_t now_us; /* of the round of events */
    int64_t answered;
    int64_t *samples;
};

static void die(const char *what)
{
    fprintf(stderr, "bench: swarm: %s\n", what);
    exit(1);
}

static void *allocate(size_t count, size_t bytes);
static void round_of_events(ShBenchSwarm *swarm);
static void take_answer(void *context, const uint8_t *answer, size_t length);
static void send_on(Member *member);
static void watch(Member *member, int operation, bool sends);

ShBenchSwarm *sh_bench_swarm_open(const char *address, const char *method, int connections,
                                  ShBuf *const *messages, int message_count,
                                  void (*check)(const uint8_t *answer, size_t length), double *seconds)
{
    ShBenchSwarm *swarm = allocate(1, sizeof *swarm);
    swarm->members = allocate((size_t)connections, sizeof *swarm->members);
    swarm->count = connections;
    swarm->check = check;
    swarm->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (swarm->epoll < 0)
        die(strerror(errno));
    int64_t begun_us = sh_bench_now_us();
    for (int i = 0; i < connections; i++) {
        Member *member = &swarm->members[i];
        member->swarm = swarm;
        member->message = messages[i % message_count];
        member->http2.take_answer = take_answer;
        member->http2.context = member;
        sh_bench_http2_start(&member->http2, address, method);
        watch(member, EPOLL_CTL_ADD, true);
    }
    while (swarm->standing < connections)
        round_of_events(swarm);
    *seconds = (double)(sh_bench_now_us() - begun_us) / 1e6;
    return swarm;
}

void sh_bench_swarm_close(ShBenchSwarm *swarm)
{
    for (int i = 0; i < swarm->count; i++)
        sh_bench_http2_close(&swarm->members[i].http2);
    close(swarm->epoll);
    free(swarm->members);
    free(swarm);
}

void sh_bench_swarm_run(ShBenchSwarm *swarm, int in_flight, int64_t messages, ShBenchSwarmed *out)
{
    if (in_flight > IN_FLIGHT_MAX)
        die("too many messages in flight");
    int64_t each = (messages + swarm->count - 1) / swarm->count;
    messages = each * swarm->count;
    swarm->samples = allocate((size_t)messages, sizeof *swarm->samples);
    swarm->in_flight = (unsigned)in_flight;
    swarm->answered = 0;
    int64_t begun_us = swarm->now_us = sh_bench_now_us();
    for (int i = 0; i < swarm->count; i++) {
        swarm->members[i].to_send = each;
        send_on(&swarm->members[i]);
    }
    while (swarm->answered < messages)
        round_of_events(swarm);
    *out = (ShBenchSwarmed){
        .seconds = (double)(sh_bench_now_us() - begun_us) / 1e6,
        .messages = messages,
        .p50_ms = (double)sh_bench_percentile(swarm->samples, messages, 50) / 1e3,
        .p99_ms = (double)sh_bench_percentile(swarm->samples, messages, 99) / 1e3,
    };
    free(swarm->samples);
}

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL)
        die("out of memory");
    return memory;
}

static void round_of_events(ShBenchSwarm *swarm)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(swarm->epoll, events, EVENTS_AT_ONCE, -1);
    if (count < 0 && errno != EINTR)
        die(strerror(errno));
    swarm->now_us = sh_bench_now_us();
    for (int i = 0; i < count; i++) {
        Member *member = events[i].data.ptr;
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            sh_bench_http2_receive(&member->http2);
        if (!member->stands && member->http2.stands) {
            member->stands = true;
            swarm->standing++;
        }
        send_on(member);
    }
}

static void take_answer(void *context, const uint8_t *answer, size_t length)
{
    Member *member = context;
    ShBenchSwarm *swarm = member->swarm;
    if (member->under_way == 0)
        die("an answer to no request");
    if (swarm->check != NULL)
        swarm->check(answer, length);
    swarm->samples[swarm->answered++] = swarm->now_us - member->sent_us[member->oldest];
    member->oldest = (member->oldest + 1) % IN_FLIGHT_MAX;
    member->under_way--;
}

/* Fill the window, and send it with whatever else there is to send. */
static void send_on(Member *member)
{
    ShBenchSwarm *swarm = member->swarm;
    while (member->stands && member->to_send > 0 && member->under_way < swarm->in_flight &&
           sh_bench_http2_put(&member->http2, member->message->data, member->message->length)) {
        member->sent_us[(member->oldest + member->under_way++) % IN_FLIGHT_MAX] = swarm->now_us;
        member->to_send--;
    }
    bool sent = sh_bench_http2_flush(&member->http2);
    if (sent == member->waits_to_send)
        watch(member, EPOLL_CTL_MOD, !sent);
}

static void watch(Member *member, int operation, bool sends)
{
    struct epoll_event event = {.events = EPOLLIN | (sends ? (uint32_t)EPOLLOUT : 0), .data.ptr = member};
    member->waits_to_send = sends;
    if (epoll_ctl(member->swarm->epoll, operation, member->http2.fd, &event) != 0)
        die(strerror(errno));
}
