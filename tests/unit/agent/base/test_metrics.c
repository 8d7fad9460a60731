#include "tests/unit/agent/base/base_test.h"

#include <pthread.h>

#include "agent/base/metrics.h"
#include "agent/base/process_metrics.h"

static ShScratch printed;

static const char *print(void)
{
    ShError err;
    printed.length = 0;
    if (sh_metrics_print(&printed, &err) != SH_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sh_scratch_reserve(&printed, printed.length + 1, NULL), SH_OK);
    printed.data[printed.length] = '\0';
    return (const char *)printed.data;
}

static size_t occurrences(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        count++;
    return count;
}

static void test_the_text_format(void **state)
{
    (void)state;
    ShMetric *get = sh_metric_counter("t_requests_total", "operation=\"get\"", "Requests.");
    ShMetric *between = sh_metric_gauge("t_queue_bytes", NULL, "Queue.");
    ShMetric *put = sh_metric_counter("t_requests_total", "operation=\"put\"", "Requests.");
    assert_ptr_equal(get, sh_metric_counter("t_requests_total", "operation=\"get\"", "Requests."));
    assert_ptr_not_equal(get, put);
    sh_metric_add(get, 2);
    sh_metric_add(put, 3);
    sh_metric_set(between, -7);
    const char *text = print();
    assert_contains(text, "# HELP t_requests_total Requests.\n# TYPE t_requests_total counter\n"
                          "t_requests_total{operation=\"get\"} 2\nt_requests_total{operation=\"put\"} 3\n");
    assert_contains(text, "# TYPE t_queue_bytes gauge\nt_queue_bytes -7\n");
    assert_int_equal(occurrences(text, "# TYPE t_requests_total "), 1);
}

static void test_histograms_are_cumulative_and_in_seconds(void **state)
{
    (void)state;
    ShMetric *plain = sh_metric_histogram("t_wait_duration_seconds", NULL, "Wait.");
    ShMetric *labelled = sh_metric_histogram("t_call_duration_seconds", "call=\"x\"", "Call.");
    sh_metric_observe_us(plain, 100);
    sh_metric_observe_us(plain, 101);
    sh_metric_observe_us(plain, 1000 * 1000 * 1000);
    sh_metric_observe_us(plain, -5);
    sh_metric_observe_us(labelled, 300);
    const char *text = print();
    assert_contains(text, "t_wait_duration_seconds_bucket{le=\"0.0001\"} 2\n");
    assert_contains(text, "t_wait_duration_seconds_bucket{le=\"0.0002\"} 3\n");
    assert_contains(text, "t_wait_duration_seconds_bucket{le=\"52.4288\"} 3\n");
    assert_contains(text, "t_wait_duration_seconds_bucket{le=\"+Inf\"} 4\n");
    assert_contains(text, "t_wait_duration_seconds_sum 1000.000201\nt_wait_duration_seconds_count 4\n");
    assert_contains(text, "t_call_duration_seconds_bucket{call=\"x\",le=\"0.0004\"} 1\n");
    assert_contains(text, "t_call_duration_seconds_count{call=\"x\"} 1\n");
    assert_int_equal(sh_metric_value(plain), 4);
}

static void test_a_bound_belongs_to_its_own_bucket(void **state)
{
    (void)state;
    ShMetric *histogram = sh_metric_histogram("t_border_duration_seconds", NULL, "Borders.");
    for (int64_t bound_us = 100; bound_us <= 100 << 19; bound_us *= 2) {
        sh_metric_observe_us(histogram, bound_us);
        sh_metric_observe_us(histogram, bound_us + 1);
    }
    sh_metric_observe_us(histogram, INT64_MAX);
    const char *text = print();
    int64_t bound_us = 100;
    for (int i = 0; i < 20; i++, bound_us *= 2) {
        char line[100];
        snprintf(line, sizeof line, "t_border_duration_seconds_bucket{le=\"%.10g\"} %d\n",
                 (double)bound_us / 1e6, 2 * i + 1);
        assert_contains(text, line);
    }
    assert_contains(text, "t_border_duration_seconds_bucket{le=\"+Inf\"} 41\n");
}

static void *hammer(void *arg)
{
    (void)arg;
    ShMetric *counter = sh_metric_counter("t_hammer_total", NULL, "Blows.");
    ShMetric *histogram = sh_metric_histogram("t_hammer_duration_seconds", NULL, "Blows.");
    for (int i = 0; i < 10000; i++) {
        sh_metric_add(counter, 1);
        sh_metric_observe_us(histogram, i);
    }
    return NULL;
}

static void test_updates_from_many_threads_add_up(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, NULL), 0);
    for (int i = 0; i < 20; i++)
        print();
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_contains(print(), "\nt_hammer_total 40000\n");
    assert_contains(print(), "t_hammer_duration_seconds_count 40000\n");
}

static void refresh(void *arg)
{
    sh_metric_set(arg, sh_metric_value(arg) + 1);
}

static void test_refreshes_run_before_each_print(void **state)
{
    (void)state;
    ShMetric *gauge = sh_metric_gauge("t_refreshed", NULL, "Refreshes.");
    sh_metrics_on_print(refresh, gauge);
    assert_contains(print(), "\nt_refreshed 1\n");
    assert_contains(print(), "\nt_refreshed 2\n");
    sh_metrics_forget_on_print(refresh, gauge);
    assert_contains(print(), "\nt_refreshed 2\n");
}

static void test_the_process_is_measured(void **state)
{
    (void)state;
    sh_process_metrics_start();
    const char *text = print();
    long long bytes = 0;
    double seconds = -1;
    assert_int_equal(sscanf(strstr(text, "\nstreamhouse_agent_memory_bytes") + 1, "%*s %lld", &bytes), 1);
    assert_true(bytes > 100000);
    assert_int_equal(sscanf(strstr(text, "\nstreamhouse_agent_cpu_seconds_total") + 1, "%*s %lf", &seconds),
                     1);
    assert_true(seconds >= 0);
    assert_contains(text, "# TYPE streamhouse_agent_start_time_seconds gauge\n");
    sh_scratch_free(&printed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_text_format),
        cmocka_unit_test(test_histograms_are_cumulative_and_in_seconds),
        cmocka_unit_test(test_a_bound_belongs_to_its_own_bucket),
        cmocka_unit_test(test_updates_from_many_threads_add_up),
        cmocka_unit_test(test_refreshes_run_before_each_print),
        cmocka_unit_test(test_the_process_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
