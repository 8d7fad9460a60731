/* The directory: who may open it, what it remembers, and how it says no. */
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/agent/wal/wal_fixture.h"

static void expect_open(Fixture *fixture, ShStatus status, const char *words)
{
    ShError err = {0};
    assert_int_equal(sh_wal_open(&fixture->options, &fixture->wal, &fixture->identity, &err), status);
    if (strstr(err.message, fixture->options.dir) == NULL || strstr(err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\" of %s", err.message, words, fixture->options.dir);
}

static void test_a_missing_directory(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    rmdir(fixture.dir);
    expect_open(&fixture, SH_NOT_FOUND, "does not exist");
    fixture_free(&fixture);
}

static void test_a_file_in_place_of_the_directory(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    char path[160];
    fixture_path(&fixture, "plain", path);
    write_whole(path, (const uint8_t *)"x", 1);
    fixture.options.dir = path;
    expect_open(&fixture, SH_INVALID, "is not a directory");
    fixture_free(&fixture);
}

/* In a child without root's rights, which no mode would stop. */
static void test_an_unwritable_directory(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    assert_int_equal(chmod(fixture.dir, 0555), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        ShError err = {0};
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(2);
        ShStatus status = sh_wal_open(&fixture.options, &fixture.wal, &fixture.identity, &err);
        _exit(status == SH_DENIED && strstr(err.message, "not writable") != NULL ? 0 : 1);
    }
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFEXITED(ended));
    assert_int_equal(WEXITSTATUS(ended), 0);
    fixture_free(&fixture);
}

/* What somebody else has put there is neither written through nor waited for. */
static void test_links_are_not_followed(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    char victim[] = "/tmp/test_wal_victim_XXXXXX";
    int fd = mkstemp(victim);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "precious", 8), 8);
    char lock[160], identity[160], temporary[160];
    fixture_path(&fixture, "lock", lock);
    fixture_path(&fixture, "identity", identity);
    fixture_path(&fixture, "identity.tmp", temporary);

    assert_int_equal(symlink(victim, lock), 0);
    expect_open(&fixture, SH_INVALID, "has a lock that cannot be used");
    unlink(lock);
    assert_int_equal(mkfifo(identity, 0600), 0);
    expect_open(&fixture, SH_INVALID, "identity file that cannot be read: it is a link, or no regular file");
    unlink(identity);

    /* A temporary file is made anew, whatever stands in its place: a symbolic link, or a hard one. */
    assert_int_equal(symlink(victim, temporary), 0);
    fixture_open(&fixture);
    fixture_close(&fixture);
    assert_int_equal(link(victim, temporary), 0);
    fixture_open(&fixture);
    fixture_close(&fixture);
    char found[16] = "";
    assert_int_equal(pread(fd, found, sizeof found - 1, 0), 8);
    assert_string_equal(found, "precious");
    close(fd);
    unlink(victim);
    fixture_free(&fixture);
}

static void test_a_directory_in_use_names_the_process(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    int ready[2], leave[2];
    assert_int_equal(pipe(ready) + pipe(leave), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char byte = sh_wal_open(&fixture.options, &fixture.wal, &fixture.identity, NULL) == SH_OK;
        if (write(ready[1], &byte, 1) != 1 || read(leave[0], &byte, 1) != 1)
            _exit(1);
        _exit(0);
    }
    char byte = 0;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    char words[64];
    snprintf(words, sizeof words, "in use by process %ld:", (long)child);
    expect_open(&fixture, SH_EXISTS, words);
    assert_int_equal(write(leave[1], &byte, 1), 1);
    int ended;
    assert_int_equal(waitpid(child, &ended, 0), child);

    /* The lock dies with its process, kill -9 or not. */
    fixture_open(&fixture);
    assert_int_equal(fixture.identity.incarnation_no, 2);
    fixture_free(&fixture);
}

static void test_a_new_wal_and_its_next_incarnations(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_INTERVAL);
    fixture_start(&fixture);
    ShUuid uuid = fixture.identity.wal_uuid;
    assert_false(sh_uuid_is_zero(&uuid));
    assert_int_equal(fixture.identity.incarnation_no, 1);
    assert_true(fixture.identity.clean);
    assert_string_equal(fixture.identity.boot_id, "");
    sh_wal_note_calls(fixture.wal, 41);
    sh_wal_note_calls(fixture.wal, 12);
    fixture_close(&fixture);

    /* These die before their recovery is complete: what the first one acknowledged is judged by its policy
     * still. */
    fixture.options.sync = SH_WAL_SYNC_ALWAYS;
    for (int64_t no = 2; no < 6; no++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            ShStatus status = sh_wal_open(&fixture.options, &fixture.wal, &fixture.identity, NULL);
            _exit(status == SH_OK && fixture.identity.incarnation_no == no ? 0 : 1);
        }
        int ended;
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_int_equal(ended, 0);
    }

    fixture_start(&fixture);
    char boot_id[37];
    assert_ok(sh_boot_id(boot_id, err));
    assert_int_equal(fixture.identity.incarnation_no, 6);
    assert_int_equal(fixture.identity.calls_seen, 41);
    assert_false(fixture.identity.clean);
    assert_string_equal(fixture.identity.boot_id, boot_id);
    assert_int_equal(fixture.identity.previous_sync, SH_WAL_SYNC_INTERVAL);
    assert_true(sh_uuid_equal(&fixture.identity.wal_uuid, &uuid));
    fixture_close(&fixture);

    fixture_open(&fixture);
    assert_int_equal(fixture.identity.previous_sync, SH_WAL_SYNC_ALWAYS);
    fixture_free(&fixture);
}

static void test_a_damaged_identity_is_refused(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_open(&fixture);
    fixture_close(&fixture);
    char path[160];
    size_t length;
    fixture_path(&fixture, "identity", path);
    uint8_t *bytes = read_whole(path, &length);
    for (size_t i = 0; i < length; i++) {
        bytes[i] ^= 1;
        write_whole(path, bytes, length);
        expect_open(&fixture, SH_CORRUPT, "is damaged");
        bytes[i] ^= 1;
        write_whole(path, bytes, i);
        expect_open(&fixture, SH_CORRUPT, "is damaged");
    }
    write_whole(path, bytes, length);
    fixture_open(&fixture);
    free(bytes);
    fixture_free(&fixture);
}

static void test_log_files_without_identity_are_refused(void **state)
{
    (void)state;
    Fixture fixture;
    fixture_init(&fixture, SH_WAL_SYNC_ALWAYS);
    fixture_start(&fixture);
    fixture_append(&fixture, 0, 1, 100);
    fixture_wait(&fixture, &fixture.written, 1);
    fixture_close(&fixture);
    char path[160];
    fixture_path(&fixture, "identity", path);
    assert_int_equal(unlink(path), 0);
    expect_open(&fixture, SH_CORRUPT, "no identity file");
    fixture_free(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_missing_directory),
        cmocka_unit_test(test_a_file_in_place_of_the_directory),
        cmocka_unit_test(test_an_unwritable_directory),
        cmocka_unit_test(test_links_are_not_followed),
        cmocka_unit_test(test_a_directory_in_use_names_the_process),
        cmocka_unit_test(test_a_new_wal_and_its_next_incarnations),
        cmocka_unit_test(test_a_damaged_identity_is_refused),
        cmocka_unit_test(test_log_files_without_identity_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
