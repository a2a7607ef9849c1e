/* SPDX-License-Identifier: MIT */
/* The I/O seam: short transfers are completed, faults come through, replacing a file is atomic; and
 * the guard. */
#include "blob_rig.h"

#include "meta/base/guard.h"

#include <signal.h>
#include <sys/wait.h>

/* An empty file in a directory of its own. */
static int open_new(struct rig *r)
{
    rig_dir(r);
    int fd = fold_io_open(r->fd, "f", O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void moves_all_bytes(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    int fd = open_new(&r);
    char a[] = "hello ";
    char b[] = "";
    char c[] = "world";
    struct iovec iov[] = {{b, 0}, {a, 6}, {b, 0}, {c, 5}, {b, 0}};
    assert_int_equal(fold_io_pwritev(fd, iov, 5, 3), 0);
    char got[11];
    assert_int_equal(fold_io_pread(fd, got, 11, 3), 0);
    assert_memory_equal(got, "hello world", 11);
    assert_int_equal(fold_io_pread(fd, got, 11, 4), -ENODATA);
    (void)close(fd);
    rig_fini(&r);
}

static int one_byte(void *arg FOLD_UNUSED, enum fold_io_op op, int fd FOLD_UNUSED,
                    const char *name FOLD_UNUSED)
{
    return op == FOLD_IO_WRITE ? 1 : 0;
}

static void completes_short_writes(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    int fd = open_new(&r);
    char a[] = "abc";
    char b[] = "defgh";
    struct iovec iov[] = {{a, 3}, {b, 5}};
    fold_io_set_fault(one_byte, NULL);
    assert_int_equal(fold_io_pwritev(fd, iov, 2, 0), 0);
    fold_io_set_fault(NULL, NULL);
    char got[8];
    assert_int_equal(fold_io_pread(fd, got, 8, 0), 0);
    assert_memory_equal(got, "abcdefgh", 8);
    (void)close(fd);
    rig_fini(&r);
}

static void check_content(const struct rig *r, const char *want)
{
    void *data;
    size_t len;
    assert_int_equal(fold_io_slurp(r->fd, "f", 100, &data, &len), 0);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(data, want, len);
    free(data);
}

static void replaces_whole_files(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    rig_dir(&r);
    assert_int_equal(fold_io_replace(r.fd, "f", "old", 3, 0600), 0);
    check_content(&r, "old");
    int k = 1;
    for (;; k++) {
        struct rig_fault fault = {.at = k, .rc = -EIO, .only = -1};
        fold_io_set_fault(rig_fault_hook, &fault);
        int rc = fold_io_replace(r.fd, "f", "newer", 5, 0600);
        fold_io_set_fault(NULL, NULL);
        if (rc == 0)
            break;
        assert_int_equal(rc, -EIO);
        void *data;
        size_t len;
        assert_int_equal(fold_io_slurp(r.fd, "f", 100, &data, &len), 0);
        assert_true((len == 3 && memcmp(data, "old", 3) == 0) ||
                    (len == 5 && memcmp(data, "newer", 5) == 0));
        free(data);
        assert_int_equal(faccessat(r.fd, "f.new", F_OK, 0), -1);
    }
    assert_true(k > 4);
    check_content(&r, "newer");
    void *data;
    size_t len;
    assert_int_equal(fold_io_slurp(r.fd, "f", 4, &data, &len), -EFBIG);
    assert_int_equal(fold_io_slurp(r.fd, "none", 4, &data, &len), -ENOENT);
    rig_fini(&r);
}

static int count_names(void *arg, const char *name)
{
    int *count = arg;
    assert_string_not_equal(name, ".");
    return ++*count == 3 ? -ECANCELED : 0;
}

static void lists_names(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    rig_dir(&r);
    int count = 0;
    assert_int_equal(fold_io_mkdir(r.fd, "a", 0700), 0);
    assert_int_equal(fold_io_replace(r.fd, "b", "", 0, 0600), 0);
    assert_int_equal(fold_io_list(r.fd, count_names, &count), 0);
    assert_int_equal(count, 2);
    assert_int_equal(fold_io_replace(r.fd, "c", "", 0, 0600), 0);
    count = 0;
    assert_int_equal(fold_io_list(r.fd, count_names, &count), -ECANCELED);
    rig_fini(&r);
}

static int touch(const uint8_t *map, uint8_t *out)
{
    int rc;
    FOLD_GUARDED(rc, *out = *(const volatile uint8_t *)map);
    return rc;
}

static void survives_faults_in_mappings(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    uint8_t byte = 0;
    rig_dir(&r);
    fold_guard_install();
    int fd = fold_io_open(r.fd, "f", O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fold_io_truncate(fd, 8192), 0);
    void *map;
    assert_int_equal(fold_io_map(fd, 8192, &map), 0);
    const uint8_t *p = map;
    assert_int_equal(touch(p + 4096, &byte), 0);
    assert_int_equal(fold_io_truncate(fd, 4096), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(touch(p + 4096, &byte), -EIO);
    assert_int_equal(touch(p, &byte), 0);
    pid_t child = fork();
    if (child == 0) {
        byte = *(const volatile uint8_t *)(p + 4096); /* outside a guard: the default action */
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fold_io_unmap(map, 8192);
    (void)close(fd);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moves_all_bytes),
        cmocka_unit_test(completes_short_writes),
        cmocka_unit_test(replaces_whole_files),
        cmocka_unit_test(lists_names),
        cmocka_unit_test(survives_faults_in_mappings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
