#include "tests/unit/agent/store/contract.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/base/fault.h"

typedef struct Fixture {
    char parent[64];
    char path[96];
    ShConfig config;
    ShStore *store;
} Fixture;

static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->parent, sizeof f->parent, "/tmp/streamhouse-store-XXXXXX");
    assert_non_null(mkdtemp(f->parent));
    snprintf(f->path, sizeof f->path, "%s/store", f->parent);
    f->config.store = SH_STORE_DIRECTORY;
    f->config.store_dir = f->path;
    ShError err = {0};
    contract_assert_status(sh_store_open(&f->config, &f->store, &err), SH_OK, &err);
    *state = f;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    ShError err;
    sh_store_close(f->store);
    assert_int_equal(sh_fault_arm(NULL, &err), SH_OK);
    nftw(f->parent, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void test_keeps_the_contract(void **state)
{
    Fixture *f = *state;
    contract_all(f->store, 3 * 1024 * 1024);
    assert_non_null(strstr(sh_store_describe(f->store), f->path));
}

static void test_leaves_no_temporary_file(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    contract_assert_status(contract_put_text(f->store, "a/b", "x", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(f->store, "a/b", "y", &err), SH_EXISTS, &err);
    char temp[128];
    snprintf(temp, sizeof temp, "%s/.tmp", f->path);
    assert_int_equal(rmdir(temp), 0); /* succeeds on an empty directory only */
}

/* The put was made and its answer lost, and the next one of the same object learns so. */
static void test_lost_answer_is_settled(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    assert_int_equal(sh_fault_arm("store.put.reply=error:1", &err), SH_OK);
    contract_assert_status(contract_put_text(f->store, "a/b", "x", &err), SH_UNAVAILABLE, &err);
    contract_assert_status(contract_put_text(f->store, "a/b", "x", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(f->store, "a/b", "y", &err), SH_EXISTS, &err);
}

/* What a crash in the middle of a put leaves is no object; it goes when it is old. */
static void test_ignores_torn_files_and_removes_old_ones(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    char torn[160];
    char old[160];
    snprintf(torn, sizeof torn, "%s/.tmp/torn", f->path);
    snprintf(old, sizeof old, "%s/.tmp/old", f->path);
    close(open(torn, O_CREAT | O_WRONLY, 0600));
    close(open(old, O_CREAT | O_WRONLY, 0600));
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, old, long_ago, 0), 0);

    ContractList all = {0};
    contract_assert_status(sh_store_list(f->store, "", contract_collect, &all, &err), SH_OK, &err);
    assert_int_equal(all.count, 0);

    sh_store_close(f->store);
    f->store = NULL;
    contract_assert_status(sh_store_open(&f->config, &f->store, &err), SH_OK, &err);
    assert_int_equal(access(torn, F_OK), 0);
    assert_int_not_equal(access(old, F_OK), 0);
}

static void test_does_not_follow_symbolic_links(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    char link_path[160];
    snprintf(link_path, sizeof link_path, "%s/link", f->path);
    assert_int_equal(symlink("/etc/passwd", link_path), 0);

    ShBuf *got = NULL;
    assert_int_not_equal(sh_store_get(f->store, "link", 0, 10, &got, &err), SH_OK);
    assert_null(got);
    ContractList all = {0};
    contract_assert_status(sh_store_list(f->store, "", contract_collect, &all, &err), SH_OK, &err);
    assert_int_equal(all.count, 0);
}

static void test_directory_is_no_object(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    ShBuf *got = NULL;
    contract_assert_status(contract_put_text(f->store, "d/x", "1", &err), SH_OK, &err);
    contract_assert_status(sh_store_get(f->store, "d", 0, 1, &got, &err), SH_NOT_FOUND, &err);
    contract_assert_status(sh_store_get(f->store, "d/x/y", 0, 1, &got, &err), SH_NOT_FOUND, &err);
}

static void test_missing_parent_is_named(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    char path[160];
    snprintf(path, sizeof path, "%s/no/such/store", f->parent);
    ShConfig config = {.store = SH_STORE_DIRECTORY, .store_dir = path};
    ShStore *store = NULL;
    contract_assert_status(sh_store_open(&config, &store, &err), SH_NOT_FOUND, &err);
    assert_null(store);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "store_dir"));
}

static void test_file_in_the_way(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    char path[160];
    snprintf(path, sizeof path, "%s/file", f->parent);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    ShConfig config = {.store = SH_STORE_DIRECTORY, .store_dir = path};
    ShStore *store = NULL;
    contract_assert_status(sh_store_open(&config, &store, &err), SH_IO, &err);
    assert_non_null(strstr(err.message, "store_dir"));
}

static void test_fault_points(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    ShBuf *got = NULL;
    contract_assert_status(sh_fault_arm("store.put=error:1", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(f->store, "f/a", "x", &err), SH_UNAVAILABLE, &err);
    assert_true(err.retriable);
    contract_assert_status(contract_put_text(f->store, "f/a", "x", &err), SH_OK, &err);

    contract_assert_status(sh_fault_arm("store.put.reply=error:1", &err), SH_OK, &err);
    contract_assert_status(contract_put_text(f->store, "f/b", "x", &err), SH_UNAVAILABLE, &err);
    contract_assert_content(f->store, "f/b", 0, 10, "x", 1);

    contract_assert_status(sh_fault_arm("store.get=error:1", &err), SH_OK, &err);
    contract_assert_status(sh_store_get(f->store, "f/a", 0, 1, &got, &err), SH_UNAVAILABLE, &err);

    contract_assert_status(sh_fault_arm("store.delete=error:1", &err), SH_OK, &err);
    contract_assert_status(sh_store_delete(f->store, "f/a", &err), SH_UNAVAILABLE, &err);
    contract_assert_content(f->store, "f/a", 0, 10, "x", 1);
}

/* Writes that take half of what they are given, over and over, also in the middle of a piece. */
static void test_short_writes_lose_nothing(void **state)
{
    Fixture *f = *state;
    ShError err = {0};
    contract_assert_status(sh_fault_arm("store.write.short=error:5", &err), SH_OK, &err);
    contract_put_and_read(f->store);
    contract_assert_status(sh_fault_arm("store.write.short=error:3000", &err), SH_OK, &err);
    contract_large_object(f->store, 1024 * 1024 + 1);
}

/* Nothing is stored, nothing is left behind, and the same key is free for the next attempt. */
static void assert_put_fails(Fixture *f, const char *fault, ShStatus want)
{
    ShError err = {0};
    uint64_t bytes;
    char temp[128];
    contract_assert_status(sh_fault_arm(fault, &err), SH_OK, &err);
    contract_assert_status(contract_put_text(f->store, "w/a", "content", &err), want, &err);
    contract_assert_status(sh_store_size(f->store, "w/a", &bytes, &err), SH_NOT_FOUND, &err);
    snprintf(temp, sizeof temp, "%s/.tmp", f->path);
    assert_int_equal(rmdir(temp), 0); /* succeeds on an empty directory only */
    assert_int_equal(mkdir(temp, 0700), 0);
    sh_store_close(f->store);
    f->store = NULL;
    contract_assert_status(sh_store_open(&f->config, &f->store, &err), SH_OK, &err);
    contract_assert_status(contract_put_text(f->store, "w/a", "content", &err), SH_OK, &err);
    contract_assert_content(f->store, "w/a", 0, 100, "content", 7);
    contract_assert_status(sh_store_delete(f->store, "w/a", &err), SH_OK, &err);
}

static void test_a_failed_write_stores_nothing(void **state)
{
    assert_put_fails(*state, "store.write=error:1", SH_EXHAUSTED);
    assert_put_fails(*state, "store.write.short=error:1,store.write=error:1", SH_EXHAUSTED);
    assert_put_fails(*state, "store.fsync=error:1", SH_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keeps_the_contract, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_leaves_no_temporary_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_answer_is_settled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ignores_torn_files_and_removes_old_ones, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_does_not_follow_symbolic_links, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory_is_no_object, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_parent_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_file_in_the_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_fault_points, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_short_writes_lose_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_failed_write_stores_nothing, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("directory store", tests, NULL, NULL);
}
