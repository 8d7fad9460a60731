/* kill -9 of a process that appends, and a power cut: what it had acknowledged, and not released, is
 * recovered; also when they strike in the midst of recycling a file. */
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/unit/agent/wal/wal_fixture.h"

#define FS_IOC_GOINGDOWN _IOR('X', 125, uint32_t) /* ext4: shut the file system down as it is */

#define POINTS 4
static const char *const points[POINTS] = {"wal.recycle.aside=crash", "wal.recycle.header=crash",
                                           "wal.recycle.rename=crash", "wal.recycle.sync=crash"};
static const ShWalSync policies[] = {SH_WAL_SYNC_ALWAYS, SH_WAL_SYNC_INTERVAL, SH_WAL_SYNC_NEVER};

static void shut_down(const char *dir);

/* What a child tells its parent, and which batches it keeps. */
typedef struct Child {
    Fixture *fixture;
    int pipe_fd;
    int64_t kept;        /* that many of the last acknowledged batches stay held; 0: all */
    const char *crashes; /* at this fault point; NULL: it lives until it is killed */
    const char *stalls;  /* a fault that slows it down meanwhile */
} Child;

/* In the child: tell the parent each acknowledged id, in order, and release those that are not kept. */
static void report(void *arg, ShWalEntry *entries, ShStatus status, const ShError *err)
{
    (void)err;
    const Child *child = arg;
    uint64_t *file_of = child->fixture->file_of;
    int64_t ids[512];
    size_t count = 0;
    for (; entries != NULL && status == SH_OK; entries = entries->next) {
        int64_t id = ((Item *)entries)->id;
        file_of[id % 4096] = entries->file_no;
        ids[count++] = id;
        if (count < 512 && entries->next != NULL)
            continue;
        if (write(child->pipe_fd, ids, count * sizeof ids[0]) < 0)
            _exit(1);
        for (size_t i = 0; i < count && child->kept > 0; i++) {
            if (ids[i] >= child->kept)
                sh_wal_release(child->fixture->wal, file_of[(ids[i] - child->kept) % 4096], 1);
        }
        count = 0;
    }
}

static void run_child(Child *child)
{
    child->fixture->options.on_written = report;
    child->fixture->options.arg = child;
    fixture_start(child->fixture);
    assert_ok(sh_fault_arm(child->crashes != NULL ? child->crashes : child->stalls, err));
    for (int64_t id = 0; id < 4096; id++) {
        if (fixture_try_append(child->fixture, id, 100 + (size_t)(id % 50) * 40, NULL) != SH_OK)
            _exit(1);
    }
    for (;;)
        pause();
}

/* Let a child append until it has acknowledged `count` batches or crashed, then cut its file system off, if
 * asked to, and kill it; returns how many it had acknowledged. */
static int64_t run_until(Child *settings, int64_t count, bool cut_power)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        settings->pipe_fd = ends[1];
        run_child(settings);
    }
    close(ends[1]);
    int64_t acknowledged = 0, id;
    while (read(ends[0], &id, sizeof id) == sizeof id) {
        assert_int_equal(id, acknowledged++);
        if (acknowledged != count)
            continue;
        if (cut_power)
            shut_down(settings->fixture->dir);
        kill(child, SIGKILL);
    }
    close(ends[0]);
    if (acknowledged < count && cut_power)
        shut_down(settings->fixture->dir);
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);
    if (settings->crashes != NULL)
        assert_true(WIFEXITED(ended) && WEXITSTATUS(ended) == 137);
    else
        assert_true(WIFSIGNALED(ended) || cut_power); /* without its disk it may have given up */
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

/* A file system of its own, which drops everything not synced when it is shut down, as a machine without
 * power does. */
static void mount_disk(const Fixture *fixture, bool anew)
{
    char command[500];
    snprintf(command, sizeof command, "mount -o loop %s.img %s", fixture->dir, fixture->dir);
    if (anew)
        snprintf(command, sizeof command,
                 "truncate -s 64M %s.img && mkfs.ext4 -q %s.img && mount -o loop %s.img %s", fixture->dir,
                 fixture->dir, fixture->dir, fixture->dir);
    if (system(command) != 0)
        fail_msg("this test needs the right to mount a loop device: run it as root");
}

static void unmount_disk(const Fixture *fixture)
{
    assert_int_equal(umount(fixture->dir), 0);
}

static void remove_disk(Fixture *fixture)
{
    char image[80];
    fixture_close(fixture);
    unmount_disk(fixture);
    snprintf(image, sizeof image, "%s.img", fixture->dir);
    unlink(image);
}

/* Expect a run of ids without a gap that holds all from `held_from` to the last acknowledged. */
static void expect_recovered(Fixture *fixture, int64_t held_from, int64_t acknowledged)
{
    fixture_open(fixture);
    assert_int_equal(fixture->identity.incarnation_no, 2);
    assert_false(fixture->identity.clean);
    fixture_recover(fixture);
    int64_t first = fixture->recovered[0];
    assert_true(first <= held_from && first + fixture->recovered_count >= acknowledged);
    for (int64_t i = 0; i < fixture->recovered_count; i++)
        assert_int_equal(fixture->recovered[i], first + i);
    assert_int_equal(fixture_spare_count(fixture), 0);
}

static void test_kill_loses_nothing_acknowledged(void **state)
{
    (void)state;
    for (int round = 0; round < 9; round++) {
        Fixture fixture;
        fixture_init(&fixture, policies[round % 3]);
        Child child = {.fixture = &fixture};
        int64_t acknowledged = run_until(&child, 100 + 400 * round, false);
        expect_recovered(&fixture, 0, acknowledged);
        fixture_free(&fixture);
    }
}

static void test_a_crash_while_a_file_is_recycled_loses_nothing(void **state)
{
    (void)state;
    for (size_t round = 0; round < 3 * POINTS; round++) {
        Fixture fixture;
        fixture_init(&fixture, policies[round % 3]);
        Child child = {.fixture = &fixture, .kept = 400, .crashes = points[round / 3]};
        int64_t acknowledged = run_until(&child, INT64_MAX, false);
        assert_true(acknowledged > child.kept);
        expect_recovered(&fixture, acknowledged - child.kept, acknowledged);
        fixture_free(&fixture);
    }
}

static void test_a_power_cut_loses_nothing_acknowledged(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    mount_disk(&fixture, true);
    Child child = {.fixture = &fixture};
    int64_t acknowledged = run_until(&child, 1500, true);
    unmount_disk(&fixture);
    mount_disk(&fixture, false);
    expect_recovered(&fixture, 0, acknowledged);
    remove_disk(&fixture);
    fixture_free(&fixture);
}

/* Slow syncs, and files large enough for the writer to be groups ahead of them when the power goes. */
static void test_a_power_cut_with_groups_in_flight_loses_nothing_acknowledged(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        Fixture fixture;
        fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
        fixture.options.file_bytes = 8 * 1024 * 1024;
        mount_disk(&fixture, true);
        Child child = {.fixture = &fixture, .stalls = "wal.fdatasync=stall:10"};
        int64_t acknowledged = run_until(&child, 1 + 1000 * round, true);
        unmount_disk(&fixture);
        mount_disk(&fixture, false);
        expect_recovered(&fixture, 0, acknowledged);
        remove_disk(&fixture);
        fixture_free(&fixture);
    }
}

/* At any time, and in the midst of each step; most files are recycled ones by then. */
static void test_a_power_cut_while_files_are_recycled_loses_nothing(void **state)
{
    (void)state;
    for (size_t round = 0; round < POINTS + 3; round++) {
        Fixture fixture;
        fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
        mount_disk(&fixture, true);
        Child child = {.fixture = &fixture, .kept = 400, .crashes = round < POINTS ? points[round] : NULL};
        int64_t count = round < POINTS ? INT64_MAX : 2500 + 500 * (int64_t)(round - POINTS);
        int64_t acknowledged = run_until(&child, count, true);
        unmount_disk(&fixture);
        mount_disk(&fixture, false);
        expect_recovered(&fixture, acknowledged - child.kept, acknowledged);
        remove_disk(&fixture);
        fixture_free(&fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_loses_nothing_acknowledged),
        cmocka_unit_test(test_a_crash_while_a_file_is_recycled_loses_nothing),
        cmocka_unit_test(test_a_power_cut_loses_nothing_acknowledged),
        cmocka_unit_test(test_a_power_cut_with_groups_in_flight_loses_nothing_acknowledged),
        cmocka_unit_test(test_a_power_cut_while_files_are_recycled_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
