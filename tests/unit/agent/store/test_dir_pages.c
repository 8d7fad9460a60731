#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/store/dir_pages.h"

#define OBJECT_BYTES (256 * 1024)

typedef struct Fixture {
    char path[64];
    int root_fd;
    ShDirPages pages;
} Fixture;

/* Below build/, which is on a disk: files of a tmpfs have no other place than the page cache. */
static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    snprintf(f->path, sizeof f->path, "build/dir-pages-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    f->root_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->root_fd >= 0);
    sh_dir_pages_init(&f->pages, 2 * OBJECT_BYTES);
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
    sh_dir_pages_destroy(&f->pages);
    close(f->root_fd);
    nftw(f->path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* An object as a put leaves it: written and synced. */
static void write_object(const Fixture *f, const char *key, size_t bytes)
{
    char *content = malloc(bytes);
    int fd = openat(f->root_fd, key, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_non_null(content);
    assert_true(fd >= 0);
    memset(content, 'x', bytes);
    assert_int_equal(write(fd, content, bytes), bytes);
    assert_int_equal(fsync(fd), 0);
    close(fd);
    free(content);
}

static void store_object(Fixture *f, const char *key, size_t bytes)
{
    write_object(f, key, bytes);
    sh_dir_pages_add(&f->pages, f->root_fd, key, bytes);
}

/* How many of the object's pages are in memory. */
static size_t count_pages(const Fixture *f, const char *key)
{
    struct stat st;
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    int fd = openat(f->root_fd, key, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    size_t bytes = (size_t)st.st_size;
    size_t count = (bytes + page_bytes - 1) / page_bytes;
    unsigned char *present = calloc(count, 1);
    void *mapped = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    assert_non_null(present);
    assert_true(mapped != MAP_FAILED);
    assert_int_equal(mincore(mapped, bytes, present), 0);
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += present[i] & 1;
    munmap(mapped, bytes);
    free(present);
    close(fd);
    return found;
}

static void test_keeps_the_newest_only(void **state)
{
    Fixture *f = *state;
    store_object(f, "a", OBJECT_BYTES);
    store_object(f, "b", OBJECT_BYTES);
    assert_true(count_pages(f, "a") > 0);
    assert_true(count_pages(f, "b") > 0);
    store_object(f, "c", OBJECT_BYTES);
    assert_int_equal(count_pages(f, "a"), 0);
    assert_true(count_pages(f, "b") > 0);
    assert_true(count_pages(f, "c") > 0);
    assert_int_equal(f->pages.kept_bytes, 2 * OBJECT_BYTES);
}

static void test_one_object_displaces_several_or_itself(void **state)
{
    Fixture *f = *state;
    store_object(f, "a", OBJECT_BYTES);
    store_object(f, "b", OBJECT_BYTES);
    store_object(f, "exactly", 2 * OBJECT_BYTES);
    assert_int_equal(count_pages(f, "a"), 0);
    assert_int_equal(count_pages(f, "b"), 0);
    assert_true(count_pages(f, "exactly") > 0);

    store_object(f, "larger", 2 * OBJECT_BYTES + 1);
    assert_int_equal(count_pages(f, "exactly"), 0);
    assert_int_equal(count_pages(f, "larger"), 0);
    assert_int_equal(f->pages.kept_bytes, 0);
    assert_null(f->pages.oldest);
    assert_null(f->pages.newest);

    store_object(f, "next", OBJECT_BYTES);
    assert_true(count_pages(f, "next") > 0);
}

/* Tiny and empty objects count too, or the list would grow without end. */
static void test_tiny_objects_are_bounded(void **state)
{
    Fixture *f = *state;
    write_object(f, "tiny", 1);
    for (int i = 0; i < 100; i++)
        sh_dir_pages_add(&f->pages, f->root_fd, "tiny", i % 2 == 0 ? 0 : 1);
    assert_in_range(f->pages.kept_bytes, OBJECT_BYTES, 2 * OBJECT_BYTES); /* far more than 100 bytes */
    store_object(f, "a", OBJECT_BYTES);
    store_object(f, "b", 2 * OBJECT_BYTES);
    assert_int_equal(count_pages(f, "a"), 0);
    assert_int_equal(f->pages.kept_bytes, 2 * OBJECT_BYTES);
}

static void test_deleted_objects_are_passed_over(void **state)
{
    Fixture *f = *state;
    store_object(f, "gone", OBJECT_BYTES);
    assert_int_equal(unlinkat(f->root_fd, "gone", 0), 0);
    store_object(f, "a", OBJECT_BYTES);
    store_object(f, "b", OBJECT_BYTES);
    store_object(f, "c", OBJECT_BYTES);
    assert_int_equal(count_pages(f, "a"), 0);
    assert_true(count_pages(f, "c") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keeps_the_newest_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_object_displaces_several_or_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tiny_objects_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deleted_objects_are_passed_over, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("directory store: pages", tests, NULL, NULL);
}
