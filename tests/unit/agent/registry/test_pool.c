/* The pool over a PostgreSQL that is not there, or does not answer: every question is answered, and only so
 * many wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/registry/pool.h"

#define QUEUED      256
#define DEADLINE_MS 20000

typedef struct Fixture {
    int listener; /* takes connections and says nothing */
    char conninfo[96];
    ShRegistryCache *cache;
    ShRegistryPool *pool;
    ShRegistryJob jobs[QUEUED + 8];
} Fixture;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int answered;

static void job_done(ShRegistryJob *job)
{
    (void)job;
    pthread_mutex_lock(&lock);
    answered++;
    pthread_mutex_unlock(&lock);
}

static int count_answered(void)
{
    pthread_mutex_lock(&lock);
    int count = answered;
    pthread_mutex_unlock(&lock);
    return count;
}

static void wait_answered(int count)
{
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (count_answered() < count) {
        assert_true(sh_clock_now_ms() < until_ms);
        usleep(1000);
    }
}

static int set_up(void **state)
{
    Fixture *fixture = calloc(1, sizeof *fixture);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    sh_log_setup(SH_LOG_ERROR, SH_LOG_TEXT);
    fixture->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fixture->listener, (struct sockaddr *)&address, length) != 0 ||
        listen(fixture->listener, 8) != 0 ||
        getsockname(fixture->listener, (struct sockaddr *)&address, &length) != 0)
        return -1;
    snprintf(fixture->conninfo, sizeof fixture->conninfo, "host=127.0.0.1 port=%d dbname=none",
             ntohs(address.sin_port));
    answered = 0;
    for (size_t i = 0; i < sizeof fixture->jobs / sizeof *fixture->jobs; i++)
        fixture->jobs[i].done = job_done;
    *state = fixture;
    return sh_registry_cache_new(10000, &fixture->cache, NULL) == SH_OK &&
                   sh_registry_pool_start(fixture->conninfo, "test", 1, fixture->cache, &fixture->pool,
                                          NULL) == SH_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;
    sh_registry_pool_stop(fixture->pool);
    sh_registry_pool_free(fixture->pool);
    sh_registry_cache_free(fixture->cache);
    for (size_t i = 0; i < sizeof fixture->jobs / sizeof *fixture->jobs; i++)
        sh_registry_answer_free(&fixture->jobs[i].answer);
    if (fixture->listener >= 0)
        close(fixture->listener);
    free(fixture);
    return 0;
}

/* While the one connection waits, so many questions wait for it; the next is refused at once, and when the
 * pool stops all are answered. */
static void test_a_full_queue_refuses(void **state)
{
    Fixture *fixture = *state;
    int taken = 0;
    while (taken < QUEUED + 8 && sh_registry_pool_ask(fixture->pool, &fixture->jobs[taken]))
        taken++;
    assert_in_range(taken, QUEUED, QUEUED + 1); /* one is asked by now, or is not */
    assert_int_equal(fixture->jobs[taken].answer.status, 503);
    assert_int_equal(fixture->jobs[taken].answer.retry_after_s, 1);
    sh_registry_pool_stop(fixture->pool);
    assert_int_equal(count_answered(), taken);
    for (int i = 0; i < taken; i++)
        assert_int_equal(fixture->jobs[i].answer.status, 500);
    assert_false(
        sh_registry_pool_ask(fixture->pool, &fixture->jobs[QUEUED + 7])); /* nor is one taken any more */
}

/* PostgreSQL is away: what was known before is the answer, where anything was; soon, all are asked again. */
static void test_what_was_known_is_told_while_postgresql_is_away(void **state)
{
    Fixture *fixture = *state;
    close(fixture->listener);
    fixture->listener = -1;
    sh_registry_answer_text(&fixture->jobs[1].answer, 0, "{}");
    for (int i = 0; i < 3; i++)
        assert_true(sh_registry_pool_ask(fixture->pool, &fixture->jobs[i]));
    wait_answered(3);
    assert_int_equal(fixture->jobs[0].answer.status, 500);
    assert_int_equal(fixture->jobs[1].answer.status, 200);
    assert_string_equal(fixture->jobs[1].answer.body, "{}");
    assert_int_equal(fixture->jobs[2].answer.status, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_queue_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_known_is_told_while_postgresql_is_away, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
