/* The HTTP server over a real socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/metrics.h"
#include "agent/http/http.h"

typedef struct Agent {
    ShHttp *http;
    char address[SH_ADDRESS_TEXT_BYTES];
    uint16_t port;
    atomic_bool ready;
} Agent;

static bool is_ready(void *arg, char *reason, size_t reason_bytes)
{
    Agent *agent = arg;
    if (atomic_load(&agent->ready))
        return true;
    snprintf(reason, reason_bytes, "PostgreSQL is away");
    return false;
}

static int start(void **state)
{
    Agent *agent = calloc(1, sizeof *agent);
    ShError err;
    if (sh_http_start("127.0.0.1:0", is_ready, agent, &agent->http, agent->address, &err) != SH_OK)
        fail_msg("%s", err.message);
    ShAddress bound;
    assert_int_equal(sh_address_parse(agent->address, &bound, NULL), SH_OK);
    assert_string_equal(bound.host, "127.0.0.1");
    assert_true(bound.port > 0);
    agent->port = bound.port;
    *state = agent;
    return 0;
}

static int stop(void **state)
{
    Agent *agent = *state;
    sh_http_stop(agent->http);
    sh_http_stop(NULL);
    free(agent);
    return 0;
}

static int connect_to(const Agent *agent)
{
    struct sockaddr_in place = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(agent->port)};
    struct timeval deadline = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    assert_int_equal(connect(fd, (struct sockaddr *)&place, sizeof place), 0);
    return fd;
}

/* Send a request and return the whole answer, until the server closes. */
static void ask(const Agent *agent, const char *request, char *answer, size_t answer_bytes)
{
    int fd = connect_to(agent);
    assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    size_t length = 0;
    ssize_t got;
    while (length < answer_bytes - 1 && (got = recv(fd, answer + length, answer_bytes - 1 - length, 0)) > 0)
        length += (size_t)got;
    answer[length] = '\0';
    close(fd);
}

static void assert_answer(const Agent *agent, const char *request_line, const char *status, const char *part)
{
    char request[512];
    char answer[65536];
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", request_line);
    ask(agent, request, answer, sizeof answer);
    if (strncmp(answer + strlen("HTTP/1.1 "), status, strlen(status)) != 0 || strstr(answer, part) == NULL)
        fail_msg("%s: expected %s with \"%s\", got: %.500s", request_line, status, part, answer);
}

static void test_health_and_readiness(void **state)
{
    Agent *agent = *state;
    assert_answer(agent, "GET /health", "200", "\r\n\r\nok\n");
    assert_answer(agent, "GET /ready", "503", "\r\n\r\nPostgreSQL is away\n");
    atomic_store(&agent->ready, true);
    assert_answer(agent, "GET /ready", "200", "\r\n\r\nready\n");
    assert_answer(agent, "GET /ready?verbose=1", "200", "ready");
}

/* As if to a proxy: a server takes them, too. */
static void test_targets_that_are_urls(void **state)
{
    atomic_store(&((Agent *)*state)->ready, true);
    assert_answer(*state, "GET http://agent:8080/ready", "200", "\r\n\r\nready\n");
    assert_answer(*state, "GET HTTPS://agent/health?a=b", "200", "\r\n\r\nok\n");
    assert_answer(*state, "GET http://agent", "404", "no such path");
    assert_answer(*state, "GET http://agent/http://agent/health", "404", "no such path");
    assert_answer(*state, "GET http:///health", "400", "the URL has no host");
    assert_answer(*state, "GET http://somebody@agent/health", "400", "the URL has no host");
}

static void count_print(void *arg)
{
    sh_metric_add(arg, 1);
}

static void test_metrics_are_served(void **state)
{
    sh_metric_add(sh_metric_counter("t_served_total", NULL, "Served."), 5);
    assert_answer(*state, "GET /metrics", "200", "Content-Type: text/plain; version=0.0.4");
    assert_answer(*state, "GET /metrics", "200", "# TYPE t_served_total counter\nt_served_total 5\n");
}

static void test_what_is_not_there(void **state)
{
    Agent *agent = *state;
    assert_answer(agent, "GET /", "404", "/metrics");
    assert_answer(agent, "GET /healthy", "404", "no such path");
    assert_answer(agent, "GET /metrics/../health", "404", "no such path");
    assert_answer(agent, "DELETE /health", "405", "Allow: GET");
    char answer[4096];
    ask(agent, "POST /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        answer, sizeof answer);
    assert_non_null(strstr(answer, "405"));
    ask(agent, "HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "200"));
    assert_null(strstr(answer, "\r\n\r\nok"));
}

static void test_nonsense_does_not_stop_the_server(void **state)
{
    Agent *agent = *state;
    char answer[4096];
    char *huge = malloc(200000);
    memset(huge, 'a', 200000);
    memcpy(huge, "GET /", 5);
    huge[199999] = '\0';
    int fd = connect_to(agent);
    (void)!send(fd, huge, 200000, MSG_NOSIGNAL);
    close(fd);
    free(huge);
    ask(agent, "\x16\x03\x01 what\r\n\r\n", answer, sizeof answer);
    assert_answer(agent, "GET /health", "200", "ok");
}

/* Of which a proxy in front and this server could think differently: one answer, and what follows is not
 * read.
 */
static void test_ambiguous_requests_are_refused(void **state)
{
    static const struct {
        const char *headers;
        const char *word;
    } cases[] = {
        {"", "no Host"},
        {"Host: x\r\nhost: y\r\n", "more than one Host"},
        {"Host: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", "both a Content-Length and"},
        {"Host: x\r\nContent-Length: 5\r\nContent-Length: 50\r\n", "more than one Content-Length"},
        {"Host: x\r\nContent-Length : 5\r\n", "blank"},
        {"Host: x\r\nTransfer-Encoding: gzip, chunked\r\n", "other than chunked"},
        {"Host: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "other than chunked"},
    };
    char answer[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char requests[512];
        snprintf(requests, sizeof requests,
                 "POST /health HTTP/1.1\r\n%s\r\n0\r\n\r\n"
                 "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                 cases[i].headers);
        ask(*state, requests, answer, sizeof answer);
        if (strncmp(answer, "HTTP/1.1 400", 12) != 0 || strstr(answer, cases[i].word) == NULL ||
            strstr(answer, "200 OK") != NULL)
            fail_msg("%s: %s", cases[i].headers, answer);
    }
}

static void test_requests_of_1_0(void **state)
{
    char answer[4096];
    ask(*state, "GET /health HTTP/1.0\r\n\r\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "200 OK"));
    ask(*state,
        "GET /health HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        "GET /health HTTP/1.0\r\n\r\n",
        answer, sizeof answer);
    assert_non_null(strstr(answer, " 400 "));
    assert_non_null(strstr(answer, "no Transfer-Encoding"));
    assert_null(strstr(answer, "200 OK"));
}

/* Asked for all the time, the text is made a few times a second, and is never far from the truth. */
static void test_metrics_are_made_a_few_times_a_second(void **state)
{
    enum { ASKED = 200 };
    ShMetric *made = sh_metric_counter("t_made_total", NULL, "Made.");
    sh_metrics_on_print(count_print, made);
    int64_t begun_ms = sh_clock_now_ms();
    for (int i = 0; i < ASKED; i++)
        assert_answer(*state, "GET /metrics", "200", "t_made_total");
    int64_t took_ms = sh_clock_now_ms() - begun_ms;
    sh_metrics_forget_on_print(count_print, made);
    assert_in_range(sh_metric_value(made), 20, 20 + took_ms / 100 + 1);

    ShMetric *late = sh_metric_counter("t_late_total", NULL, "Late.");
    sh_metric_add(late, 1);
    usleep(100000);
    assert_answer(*state, "GET /metrics", "200", "t_late_total 1\n");
}

static void *ask_often(void *arg)
{
    char answer[65536];
    for (int i = 0; i < 20; i++)
        ask(arg, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", answer, sizeof answer);
    return NULL;
}

static void test_many_clients_at_once(void **state)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_often, *state), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_answer(*state, "GET /health", "200", "ok");
}

/* More connections than there are places, each with a byte of a request now and then: who asks is answered.
 */
static void test_trickling_clients_do_not_keep_others_out(void **state)
{
    enum { TRICKLING = 200 };
    Agent *agent = *state;
    int fds[TRICKLING];
    for (int i = 0; i < TRICKLING; i++) {
        fds[i] = connect_to(agent);
        (void)!send(fds[i], "GET /he", 7, MSG_NOSIGNAL);
    }
    for (int round = 0; round < 5; round++) {
        assert_answer(agent, "GET /health", "200", "ok");
        for (int i = 0; i < TRICKLING; i++)
            (void)!send(fds[i], "a", 1, MSG_NOSIGNAL);
    }
    for (int i = 0; i < TRICKLING; i++)
        close(fds[i]);
}

static void test_an_address_that_cannot_be_used_is_named(void **state)
{
    Agent *agent = *state;
    ShError err;
    ShHttp *http = NULL;
    char bound[SH_ADDRESS_TEXT_BYTES];
    assert_int_equal(sh_http_start(agent->address, is_ready, agent, &http, bound, &err), SH_UNAVAILABLE);
    assert_non_null(strstr(err.message, agent->address));
    assert_non_null(strstr(err.message, "another program has the port"));
    assert_int_equal(sh_http_start("nowhere", is_ready, agent, &http, bound, &err), SH_INVALID);
    assert_non_null(strstr(err.message, "http_address"));
    assert_int_equal(sh_http_start("host.invalid:80", is_ready, agent, &http, bound, &err), SH_UNAVAILABLE);
    assert_non_null(strstr(err.message, "host.invalid"));
    assert_int_equal(sh_http_start("203.0.113.1:80", is_ready, agent, &http, bound, &err), SH_UNAVAILABLE);
    assert_null(http);
}

int main(void)
{
#define each(test) cmocka_unit_test_setup_teardown(test, start, stop)
    const struct CMUnitTest tests[] = {
        each(test_health_and_readiness),
        each(test_targets_that_are_urls),
        each(test_metrics_are_served),
        each(test_what_is_not_there),
        each(test_nonsense_does_not_stop_the_server),
        each(test_ambiguous_requests_are_refused),
        each(test_requests_of_1_0),
        each(test_metrics_are_made_a_few_times_a_second),
        each(test_many_clients_at_once),
        each(test_trickling_clients_do_not_keep_others_out),
        each(test_an_address_that_cannot_be_used_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
