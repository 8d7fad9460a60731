/* The pool over a made-up PostgreSQL: what is answered from where, what is kept, and how much waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/base/clock.h"
#include "agent/base/log.h"
#include "agent/registry/pool.h"

#define QUEUED      256 /* that wait of one address, when there is no other */
#define MB          ((size_t)1 << 20)
#define DEADLINE_MS 20000

/* --- what the pool knows of PostgreSQL */

struct ShPg {
    int unused;
};

static struct {
    pthread_mutex_t lock;
    bool holds; /* a question is not answered until this is false, or it is cancelled */
    bool cancelled;
    bool is_away; /* questions fail, and there is no connection */
    bool is_late; /* questions fail, on a connection that stays */
    const char *sqlstate;
    int asked;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

ShStatus sh_pg_new(const char *conninfo, const char *application_name, int64_t timeout_ms, ShPg **out,
                   ShError *err)
{
    (void)conninfo, (void)application_name, (void)timeout_ms, (void)err;
    *out = calloc(1, sizeof **out);
    return SH_OK;
}

void sh_pg_free(ShPg *pg)
{
    free(pg);
}

void sh_pg_cancel(ShPg *pg)
{
    (void)pg;
    pthread_mutex_lock(&fake.lock);
    fake.cancelled = true;
    pthread_mutex_unlock(&fake.lock);
}

bool sh_pg_is_connected(const ShPg *pg)
{
    (void)pg;
    return !fake.is_away;
}

ShStatus sh_pg_schema_ask(ShPg *pg, ShPgSchemaQuestion question, const char *const *values,
                          ShPgSchemaAnswer *out, ShError *err)
{
    (void)pg, (void)values;
    pthread_mutex_lock(&fake.lock);
    fake.asked++;
    while (fake.holds && question != SH_PG_SCHEMA_BY_ID && !fake.cancelled) {
        pthread_mutex_unlock(&fake.lock);
        usleep(1000);
        pthread_mutex_lock(&fake.lock);
    }
    bool fails = fake.cancelled || fake.is_away || fake.is_late;
    const char *sqlstate = fake.sqlstate;
    pthread_mutex_unlock(&fake.lock);
    if (fails)
        return sh_fail(err, SH_UNAVAILABLE, "the test's PostgreSQL does not answer");
    snprintf(out->sqlstate, sizeof out->sqlstate, "%s", sqlstate != NULL ? sqlstate : "");
    out->text = strdup("{\"said\":1}");
    out->detail = strdup("");
    return SH_OK;
}

void sh_pg_schema_answer_free(ShPgSchemaAnswer *answer)
{
    free(answer->text);
    free(answer->detail);
}

/* --- the pool */

typedef struct Fixture {
    ShRegistryCache *cache;
    ShRegistryPool *pool;
    ShRegistryJob jobs[QUEUED + 8];
    size_t used;
} Fixture;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int answered;
static char order[1024]; /* an owner points where its job came in the order of answers */

static void job_done(ShRegistryJob *job)
{
    pthread_mutex_lock(&lock);
    job->owner = &order[answered++];
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
    sh_log_setup(SH_LOG_ERROR, SH_LOG_TEXT);
    fake.holds = fake.cancelled = fake.is_away = fake.is_late = false;
    fake.sqlstate = NULL;
    fake.asked = answered = 0;
    for (size_t i = 0; i < sizeof fixture->jobs / sizeof *fixture->jobs; i++)
        fixture->jobs[i].done = job_done;
    *state = fixture;
    return sh_registry_cache_new(10000, &fixture->cache, NULL) == SH_OK &&
                   sh_registry_pool_start("", "test", 1, fixture->cache, &fixture->pool, NULL) == SH_OK
               ? 0
               : -1;
}

static int set_up_four(void **state)
{
    if (set_up(state) != 0)
        return -1;
    Fixture *fixture = *state;
    sh_registry_pool_stop(fixture->pool);
    sh_registry_pool_free(fixture->pool);
    fake.cancelled = false;
    return sh_registry_pool_start("", "test", 4, fixture->cache, &fixture->pool, NULL) == SH_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    Fixture *fixture = *state;
    sh_registry_pool_stop(fixture->pool);
    sh_registry_pool_free(fixture->pool);
    sh_registry_cache_free(fixture->cache);
    for (size_t i = 0; i < sizeof fixture->jobs / sizeof *fixture->jobs; i++)
        sh_registry_answer_free(&fixture->jobs[i].answer);
    free(fixture);
    return 0;
}

/* Ask, and wait for the answer. */
static const ShRegistryAnswer *ask(Fixture *fixture, const ShRegistryCall *call, const char *known)
{
    ShRegistryJob *job = &fixture->jobs[fixture->used++];
    if (call != NULL)
        job->call = *call;
    if (known != NULL)
        sh_registry_answer_text(&job->answer, 0, known);
    assert_true(sh_registry_pool_ask(fixture->pool, job));
    wait_answered((int)fixture->used);
    return &job->answer;
}

static bool is_kept(Fixture *fixture, int32_t id)
{
    char *body = NULL;
    size_t length;
    ShRegistryFound found = sh_registry_cache_get(fixture->cache, id, SH_REGISTRY_FORM_OBJECT, &body,
                                                  &length);
    free(body);
    return found != SH_REGISTRY_FOUND_NOTHING;
}

/* While the one connection waits, so many questions wait for it; the next is refused at once, and when the
 * pool stops all are answered. */
static void test_a_full_queue_refuses(void **state)
{
    Fixture *fixture = *state;
    int taken = 0;
    pthread_mutex_lock(&fake.lock);
    fake.holds = true;
    pthread_mutex_unlock(&fake.lock);
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

static int count_asked(void)
{
    pthread_mutex_lock(&fake.lock);
    int count = fake.asked;
    pthread_mutex_unlock(&fake.lock);
    return count;
}

static void wait_asked(int count)
{
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (count_asked() < count) {
        assert_true(sh_clock_now_ms() < until_ms);
        usleep(1000);
    }
}

/* Queue so many of a kind, or what its queue takes. */
static size_t queue(Fixture *fixture, ShRegistryKind kind, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ShRegistryJob *job = &fixture->jobs[fixture->used++];
        job->call.kind = kind;
        if (!sh_registry_pool_ask(fixture->pool, job))
            return i;
    }
    return count;
}

static void hold_questions(bool holds)
{
    pthread_mutex_lock(&fake.lock);
    fake.holds = holds;
    pthread_mutex_unlock(&fake.lock);
}

static ShRegistryJob *job_from(Fixture *fixture, uint8_t origin, size_t bytes)
{
    ShRegistryJob *job = &fixture->jobs[fixture->used++];
    job->call.kind = SH_REGISTRY_WORK;
    job->call.question = SH_PG_SCHEMA_COMPATIBLE;
    job->origin[0] = origin;
    job->bytes = bytes;
    return job;
}

/* However many slow questions one address has, another has its place, and its turn before they are done. */
static void test_an_address_leaves_room_and_turns_to_others(void **state)
{
    Fixture *fixture = *state;
    hold_questions(true);
    while (sh_registry_pool_ask(fixture->pool, job_from(fixture, 1, 0)))
        assert_in_range(fixture->used, 0, QUEUED + 1);
    ShRegistryJob *other = job_from(fixture, 2, 0);
    ShRegistryJob *second = job_from(fixture, 2, 0);
    assert_true(sh_registry_pool_ask(fixture->pool, other));
    assert_true(sh_registry_pool_ask(fixture->pool, second));
    assert_false(sh_registry_pool_ask(fixture->pool, job_from(fixture, 1, 0)));
    hold_questions(false);
    wait_answered((int)fixture->used - 2); /* two were refused */
    assert_in_range((char *)other->owner - order, 0, 2);
    assert_in_range((char *)second->owner - order, 0, 4);
}

/* Nor do large bodies that wait leave none of the memory for those of others. */
static void test_an_address_leaves_memory_to_others(void **state)
{
    Fixture *fixture = *state;
    hold_questions(true);
    for (int i = 0; i < 3; i++)
        assert_true(sh_registry_pool_ask(fixture->pool, job_from(fixture, 1, 9 * MB)));
    wait_asked(1); /* what runs has its memory, too */
    assert_false(sh_registry_pool_ask(fixture->pool, job_from(fixture, 1, 9 * MB)));
    assert_true(sh_registry_pool_ask(fixture->pool, job_from(fixture, 1, 5 * MB)));
    assert_true(sh_registry_pool_ask(fixture->pool, job_from(fixture, 2, 9 * MB)));
    assert_false(sh_registry_pool_ask(fixture->pool, job_from(fixture, 1, MB)));
    assert_true(sh_registry_pool_ask(fixture->pool, job_from(fixture, 1, 8192)));
    hold_questions(false);
    wait_answered(6);
    ShRegistryJob *job = job_from(fixture, 1, 27 * MB);
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (!sh_registry_pool_ask(fixture->pool, job)) {
        assert_true(sh_clock_now_ms() < until_ms);
        usleep(1000);
    }
    wait_answered(7);
}

/* Lists of schemas that take for ever have two of four connections, they and registrations three, and however
 * many of them wait, what looks one thing up has its turn. */
static void test_what_is_slow_leaves_a_connection(void **state)
{
    Fixture *fixture = *state;
    ShRegistryJob others[4] = {
        {.done = job_done}, {.done = job_done}, {.done = job_done}, {.done = job_done}};
    others[0].call.question = others[3].call.question = SH_PG_SCHEMA_BY_ID;
    others[1].call.kind = others[2].call.kind = SH_REGISTRY_WORK;
    fake.holds = true;
    assert_in_range(queue(fixture, SH_REGISTRY_SCHEMAS, QUEUED + 4), QUEUED, QUEUED + 2);
    wait_asked(2);
    assert_true(sh_registry_pool_ask(fixture->pool, &others[0]));
    wait_answered(1);
    assert_int_equal(others[0].answer.status, 200);
    assert_int_equal(count_asked(), 3); /* two lists, and what was looked up */

    for (int i = 1; i < 4; i++)
        assert_true(sh_registry_pool_ask(fixture->pool, &others[i]));
    wait_answered(2);
    wait_asked(5);
    assert_int_equal(others[3].answer.status, 200);
    assert_int_equal(count_asked(), 5); /* of the two that are work, one */
    assert_int_equal(count_answered(), 2);
    sh_registry_pool_stop(fixture->pool);
    for (int i = 0; i < 4; i++)
        sh_registry_answer_free(&others[i].answer);
}

/* What was known before is the answer, where anything was; for a moment nobody waits for a connection again.
 */
static void test_what_was_known_is_told_while_postgresql_is_away(void **state)
{
    Fixture *fixture = *state;
    fake.is_away = true;
    assert_int_equal(ask(fixture, NULL, NULL)->status, 500);
    const ShRegistryAnswer *answer = ask(fixture, NULL, "{}");
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer->body, "{}");
    assert_int_equal(fake.asked, 1);
    fake.is_away = false;
    int64_t until_ms = sh_clock_now_ms() + DEADLINE_MS;
    while (ask(fixture, NULL, NULL)->status != 200 && sh_clock_now_ms() < until_ms)
        usleep(20000);
    assert_int_equal(fake.asked, 2);
}

/* A question that fails on a connection that stays is no reason to spare the next. */
static void test_a_failure_alone_is_no_pause(void **state)
{
    Fixture *fixture = *state;
    fake.is_late = true;
    assert_int_equal(ask(fixture, NULL, NULL)->status, 500);
    assert_int_equal(ask(fixture, NULL, NULL)->status, 500);
    assert_int_equal(fake.asked, 2);
}

/* What may be kept is kept until PostgreSQL says that it is gone, or something is deleted for good. */
static void test_what_is_kept_and_what_is_forgotten(void **state)
{
    Fixture *fixture = *state;
    const ShRegistryCall passing = {.id = 1, .form = SH_REGISTRY_FORM_OBJECT};
    const ShRegistryCall kept = {.id = 2, .form = SH_REGISTRY_FORM_OBJECT, .is_cacheable = true};
    const ShRegistryCall other = {.id = 3, .form = SH_REGISTRY_FORM_OBJECT, .is_cacheable = true};
    const ShRegistryCall deletes = {.id = 2, .form = SH_REGISTRY_FORM_OBJECT, .deletes_for_good = true};
    assert_int_equal(ask(fixture, &passing, NULL)->status, 200);
    assert_false(is_kept(fixture, 1));
    assert_string_equal(ask(fixture, &kept, NULL)->body, "{\"said\":1}");
    (void)ask(fixture, &other, NULL);
    assert_true(is_kept(fixture, 2) && is_kept(fixture, 3));

    fake.is_late = true; /* a failure says nothing about it */
    (void)ask(fixture, &kept, NULL);
    fake.is_late = false;
    assert_true(is_kept(fixture, 2));

    fake.sqlstate = "SH403";
    const ShRegistryCall refused = {.id = 3, .form = SH_REGISTRY_FORM_OBJECT};
    assert_int_equal(ask(fixture, &kept, NULL)->status, 404);
    assert_int_equal(ask(fixture, &refused, NULL)->status, 404);
    assert_false(is_kept(fixture, 2));
    assert_true(is_kept(fixture, 3));

    fake.sqlstate = NULL;
    (void)ask(fixture, &deletes, NULL);
    assert_false(is_kept(fixture, 3));
}

/* A large body is read by a thread of the pool: what is wrong with it is said whether or not PostgreSQL is
 * there, and what it says is asked. */
static void test_a_large_body_is_read_in_turn(void **state)
{
    static const struct {
        const char *body;
        int status;
    } cases[] = {{"{\"compatibility\":\"FULL\"}", 200}, {"{\"compatibility\":", 400}, {"[]", 400}};
    Fixture *fixture = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ShRegistryJob *job = &fixture->jobs[fixture->used];
        assert_true(sh_registry_call_route(&job->call, "PUT", "/config", &job->answer));
        assert_int_equal(sh_scratch_reserve(&job->body, strlen(cases[i].body), NULL), SH_OK);
        memcpy(job->body.data, cases[i].body, strlen(cases[i].body));
        job->body.length = strlen(cases[i].body);
        fake.is_away = cases[i].status != 200;
        assert_int_equal(ask(fixture, NULL, NULL)->status, cases[i].status);
        assert_null(job->body.data);
        sh_registry_call_free(&job->call);
    }
    assert_int_equal(fake.asked, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_full_queue_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_address_leaves_room_and_turns_to_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_address_leaves_memory_to_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_slow_leaves_a_connection, set_up_four, tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_known_is_told_while_postgresql_is_away, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_failure_alone_is_no_pause, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_large_body_is_read_in_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_kept_and_what_is_forgotten, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
