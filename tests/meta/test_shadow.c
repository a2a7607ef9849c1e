/* SPDX-License-Identifier: MIT */
/*
 * Copies for reading: what is opened from one stays usable when its directory has gone.
 */
#include "meta/shadow.h"

#include "meta/base/io.h"
#include "meta/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

/* More than RocksDB opens by itself at once. */
#define TABLES 100

static char base[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(base, sizeof base, "/tmp/foldfs-shadow-XXXXXX");
    return mkdtemp(base) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

static int open_base(void)
{
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void make_tables(int fd)
{
    const struct fold_kv_options opt = {.create = true, .no_compaction = true};
    struct fold_kv *kv;
    assert_int_equal(fold_kv_open(fd, "db", &opt, &kv), 0);
    for (uint32_t i = 0; i < TABLES; i++) {
        struct fold_kv_batch *b = fold_kv_batch_create();
        fold_kv_batch_put(b, &i, sizeof i, &i, sizeof i);
        assert_int_equal(fold_kv_write(kv, b), 0);
        assert_int_equal(fold_kv_flush(kv, true), 0);
        fold_kv_batch_destroy(b);
    }
    fold_kv_close(kv);
}

static void a_database_outlives_the_copy(void **state)
{
    (void)state;
    const struct fold_kv_options opt = {.no_compaction = true, .keep_open = true};
    FOLD_AUTO(close) int fd = open_base();
    struct fold_shadow *s;
    struct fold_kv *kv;
    struct stat st;
    char path[4096];
    make_tables(fd);
    assert_int_equal(fold_shadow_create(fd, "db", fold_shadow_database, NULL, &s), 0);
    (void)snprintf(path, sizeof path, "%s", fold_shadow_path(s));
    assert_int_equal(fold_kv_open(-1, path, &opt, &kv), 0);
    fold_shadow_vanish(s);
    assert_int_equal(stat(path, &st), -1);
    for (uint32_t i = 0; i < TABLES; i++) {
        struct fold_kv_value v;
        assert_int_equal(fold_kv_get(kv, &i, sizeof i, &v), 0);
        assert_int_equal(v.len, sizeof i);
        fold_kv_value_fini(&v);
    }
    fold_kv_close(kv);
    fold_shadow_destroy(s);
    assert_int_equal(stat(path, &st), -1);
}

static enum fold_shadow_how copy_one(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "copied") == 0 ? FOLD_SHADOW_COPY : FOLD_SHADOW_LINK;
}

static void expect_content(const struct fold_shadow *s, const char *name, const char *want)
{
    char got[16] = "";
    FOLD_AUTO(close) int fd = fold_shadow_open(s, name);
    assert_true(fd >= 0);
    assert_true(pread(fd, got, sizeof got - 1, 0) >= 0);
    assert_string_equal(got, want);
}

static void put(int dirfd, const char *name, const char *text)
{
    FOLD_AUTO(close) int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* A file of the copy is the one that was changed in it; others are those of the store. */
static void files_are_opened_as_they_are_in_the_copy(void **state)
{
    (void)state;
    FOLD_AUTO(close) int fd = open_base();
    struct fold_shadow *s;
    assert_int_equal(mkdirat(fd, "files", 0700), 0);
    FOLD_AUTO(close) int dir = openat(fd, "files", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put(dir, "copied", "old");
    put(dir, "linked", "same");
    assert_int_equal(fold_shadow_create(fd, "files", copy_one, NULL, &s), 0);
    FOLD_AUTO(close)
    int over = open(fold_shadow_path(s), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put(over, "copied", "new");
    fold_shadow_vanish(s);
    for (int turn = 0; turn < 2; turn++) {
        expect_content(s, "copied", "new");
        expect_content(s, "linked", "same");
    }
    assert_int_equal(fold_shadow_open(s, "missing"), -ENOENT);
    fold_shadow_destroy(s);
    FOLD_AUTO(close) int old = openat(dir, "copied", O_RDONLY | O_CLOEXEC);
    char got[16] = "";
    assert_int_equal(read(old, got, sizeof got - 1), 3);
    assert_string_equal(got, "old");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_database_outlives_the_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_opened_as_they_are_in_the_copy, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
