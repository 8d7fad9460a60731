/* kill -9 of a process that appends: what it had acknowledged is recovered. */
#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/agent/wal/wal_fixture.h"

/* In the child: tell the parent each acknowledged id, in order. */
static void report(void *arg, ShWalEntry *entries, ShStatus status, const ShError *err)
{
    (void)err;
    const int *pipe_fd = arg;
    int64_t ids[512];
    size_t count = 0;
    for (; entries != NULL && status == SH_OK; entries = entries->next) {
        ids[count++] = ((Item *)entries)->id;
        if (count == 512 || entries->next == NULL) {
            if (write(*pipe_fd, ids, count * sizeof ids[0]) < 0)
                _exit(1);
            count = 0;
        }
    }
}

static void run_child(Fixture *fixture, int pipe_fd)
{
    fixture->options.on_written = report;
    fixture->options.arg = &pipe_fd;
    fixture_start(fixture);
    for (int64_t id = 0; id < 4096; id++) {
        if (fixture_try_append(fixture, id, 100 + (size_t)(id % 50) * 40, NULL) != SH_OK)
            _exit(1);
    }
    for (;;)
        pause();
}

static void test_kill_loses_nothing_acknowledged(void **state)
{
    (void)state;
    static const ShWalSync policies[] = {SH_WAL_SYNC_ALWAYS, SH_WAL_SYNC_INTERVAL, SH_WAL_SYNC_NEVER};
    for (int round = 0; round < 9; round++) {
        Fixture fixture;
        fixture_init(&fixture, policies[round % 3]);
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(ends[0]);
            run_child(&fixture, ends[1]);
        }
        close(ends[1]);
        int64_t acknowledged = 0, id;
        while (read(ends[0], &id, sizeof id) == sizeof id) {
            assert_int_equal(id, acknowledged++);
            if (acknowledged == 100 + 400 * round)
                kill(child, SIGKILL);
        }
        close(ends[0]);
        int ended;
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_true(WIFSIGNALED(ended));

        fixture_open(&fixture);
        assert_int_equal(fixture.identity.incarnation_no, 2);
        assert_false(fixture.identity.clean);
        fixture_recover(&fixture);
        assert_true(fixture.recovered_count >= acknowledged);
        for (int64_t i = 0; i < fixture.recovered_count; i++)
            assert_int_equal(fixture.recovered[i], i);
        fixture_free(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_loses_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
