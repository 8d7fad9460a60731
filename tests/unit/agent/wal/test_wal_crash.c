/* kill -9 of a process that appends, and a power cut: what it had acknowledged is recovered. */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/agent/wal/wal_fixture.h"

#define FS_IOC_GOINGDOWN _IOR('X', 125, uint32_t) /* ext4: shut the file system down as it is */

static int64_t run_until(Fixture *fixture, int64_t count, bool cut_power);
static void run_child(Fixture *fixture, int pipe_fd);
static void shut_down(const char *dir);
static void expect_recovered(Fixture *fixture, int64_t acknowledged);

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

/* Let a child append until it has acknowledged `count` batches, then cut its file system off, if asked to,
 * and kill it; returns how many it had acknowledged. */
static int64_t run_until(Fixture *fixture, int64_t count, bool cut_power)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        run_child(fixture, ends[1]);
    }
    close(ends[1]);
    int64_t acknowledged = 0, id;
    while (read(ends[0], &id, sizeof id) == sizeof id) {
        assert_int_equal(id, acknowledged++);
        if (acknowledged != count)
            continue;
        if (cut_power)
            shut_down(fixture->dir);
        kill(child, SIGKILL);
    }
    close(ends[0]);
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFSIGNALED(ended));
    return acknowledged;
}

static void shut_down(const char *dir)
{
    uint32_t without_flush = 2;
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, FS_IOC_GOINGDOWN, &without_flush), 0);
    close(fd);
}

static void expect_recovered(Fixture *fixture, int64_t acknowledged)
{
    fixture_open(fixture);
    assert_int_equal(fixture->identity.incarnation_no, 2);
    assert_false(fixture->identity.clean);
    fixture_recover(fixture);
    assert_true(fixture->recovered_count >= acknowledged);
    for (int64_t i = 0; i < fixture->recovered_count; i++)
        assert_int_equal(fixture->recovered[i], i);
}

static void test_kill_loses_nothing_acknowledged(void **state)
{
    (void)state;
    static const ShWalSync policies[] = {SH_WAL_SYNC_ALWAYS, SH_WAL_SYNC_INTERVAL, SH_WAL_SYNC_NEVER};
    for (int round = 0; round < 9; round++) {
        Fixture fixture;
        fixture_init(&fixture, policies[round % 3]);
        int64_t acknowledged = run_until(&fixture, 100 + 400 * round, false);
        expect_recovered(&fixture, acknowledged);
        fixture_free(&fixture);
    }
}

/* On a file system of its own that drops everything not synced, as a machine without power does. */
static void test_a_power_cut_loses_nothing_acknowledged(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    char image[80], make[400], mount_again[400];
    snprintf(image, sizeof image, "%s.img", fixture.dir);
    snprintf(make, sizeof make, "truncate -s 64M %s && mkfs.ext4 -q %s && mount -o loop %s %s", image, image,
             image, fixture.dir);
    snprintf(mount_again, sizeof mount_again, "mount -o loop %s %s", image, fixture.dir);
    if (system(make) != 0)
        fail_msg("this test needs the right to mount a loop device: run it as root");
    int64_t acknowledged = run_until(&fixture, 1500, true);
    assert_int_equal(umount(fixture.dir), 0);
    assert_int_equal(system(mount_again), 0);
    expect_recovered(&fixture, acknowledged);
    fixture_close(&fixture);
    assert_int_equal(umount(fixture.dir), 0);
    unlink(image);
    fixture_free(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_loses_nothing_acknowledged),
        cmocka_unit_test(test_a_power_cut_loses_nothing_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
