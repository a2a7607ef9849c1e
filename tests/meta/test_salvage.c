/* SPDX-License-Identifier: MIT */
/*
 * Stores whose catalog database cannot be opened any more: told by a check, made anew by one with
 * repair, clean afterwards, and in use again; and what the journal knows is not lost by it.
 */
#include "meta/salvage.h"
#include "tests/meta/check_rig.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum damage { FLIP, CUT, EMPTY, NO_MANIFEST, TABLE, TABLES, DAMAGES };

static int each_file(const char *folder, const char *start, const char *end,
                     void (*fn)(const char *path, enum damage how), enum damage how, int most)
{
    char path[400];
    int done = 0;
    (void)snprintf(path, sizeof path, "%s/%s", base, folder);
    DIR *d = opendir(path);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL && done < most;) {
        size_t n = strlen(e->d_name), m = strlen(end);
        if (strncmp(e->d_name, start, strlen(start)) != 0 || n < m ||
            strcmp(e->d_name + n - m, end) != 0)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s/%s", base, folder, e->d_name);
        fn(path, how);
        done++;
    }
    closedir(d);
    return done;
}

static void harm(const char *path, enum damage how)
{
    struct stat st;
    if (how >= NO_MANIFEST) {
        assert_int_equal(unlink(path), 0);
        return;
    }
    int fd = open(path, O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    if (how == FLIP)
        assert_int_equal(pwrite(fd, "\x55", 1, st.st_size / 2), 1);
    else
        assert_int_equal(ftruncate(fd, how == CUT ? 30 : 0), 0);
    close(fd);
}

static void inflict(enum damage how)
{
    if (how < TABLE)
        assert_int_equal(each_file("catalog", "MANIFEST-", "", harm, how, 100), 1);
    else
        assert_true(each_file("catalog", "", ".sst", harm, how, how == TABLE ? 1 : 100) > 0);
}

static bool opens(void)
{
    struct fold_volume_options opt = {.read_only = true};
    struct fold_volume *v;
    if (fold_volume_open(base, &opt, &v) < 0)
        return false;
    assert_int_equal(fold_volume_close(v, false), 0);
    return true;
}

static void in_use_again(void)
{
    struct fold_volume *v = open_volume();
    fold_ino ino = fold_catalog_new_ino(v->catalog);
    add_file(v, 1, "later", ino, true);
    struct fold_attr root;
    assert_int_equal(fold_inode_load(v->catalog, 1, &root), 0);
    root.size++;
    struct fold_txn *t = fold_txn_begin(v->catalog);
    fold_inode_store(t, &root);
    commit(t);
    assert_int_equal(fold_volume_close(v, true), 0);
    v = open_volume();
    struct fold_attr a;
    assert_int_equal(fold_inode_load(v->catalog, ino, &a), 0);
    assert_int_equal(a.size, PER * CHUNK);
    assert_int_equal(fold_volume_close(v, true), 0);
    expect_clean(true);
}

/* Nothing of the tree is lost with a MANIFEST: the tables have it all. */
static void expect_tree(void)
{
    struct fold_volume *v = open_volume();
    struct fold_dentry d;
    for (fold_ino ino = 1; ino <= 5; ino++) {
        struct fold_attr a;
        assert_int_equal(fold_inode_load(v->catalog, ino, &a), 0);
    }
    assert_int_equal(fold_dentry_load(v->catalog, 2, "f", 1, &d), 0);
    assert_int_equal(d.ino, 3);
    assert_int_equal(fold_volume_close(v, true), 0);
}

static void databases_are_made_anew(void **state)
{
    (void)state;
    fold_log_set_level((enum fold_log_level) - 1);
    for (enum damage how = FLIP; how < DAMAGES; how++) {
        (void)setup(NULL);
        inflict(how);
        assert_false(opens());
        struct fold_check_result r = check(false, false);
        assert_true(has(&r, "volume.open"));
        assert_int_equal(r.repaired, 0);
        fold_check_free(&r);
        r = check(true, true);
        if (r.errors != r.repaired)
            show(&r);
        assert_true(has(&r, "catalog.database"));
        assert_int_equal(r.errors, r.repaired);
        fold_check_free(&r);
        expect_clean(true);
        if (how < TABLE)
            expect_tree();
        in_use_again();
        (void)teardown(NULL);
    }
}

/* Calls into the host, our own and some of the database's, before the process dies; < 0: never. */
static int calls_left = -1;

static void count_call(void)
{
    if (calls_left >= 0 && calls_left-- == 0)
        _exit(7);
}

static int count_own(void *arg, enum fold_io_op op, int fd, const char *name)
{
    (void)arg;
    (void)op;
    (void)fd;
    (void)name;
    count_call();
    return 0;
}

/* These stand before the C library's for the database. */
#define SEEN __attribute__((visibility("default")))

SEEN int rename(const char *from, const char *to)
{
    count_call();
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

SEEN int unlink(const char *path)
{
    count_call();
    return unlinkat(AT_FDCWD, path, 0);
}

SEEN int fdatasync(int fd)
{
    count_call();
    return (int)syscall(SYS_fdatasync, fd);
}

SEEN int fsync(int fd)
{
    count_call();
    return (int)syscall(SYS_fsync, fd);
}

/* Does the salvage live through `calls` calls? */
static bool survives(int calls)
{
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(base, O_RDONLY | O_DIRECTORY);
        fold_io_set_fault(count_own, NULL);
        calls_left = calls;
        _exit(fold_salvage_catalog(fd) == 0 ? 0 : 8);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 8);
    return WEXITSTATUS(status) == 0;
}

/* Whoever comes after one that died finds all there was. */
static void dying_halfway_loses_nothing(void **state)
{
    (void)state;
    fold_log_set_level((enum fold_log_level) - 1);
    bool done = false;
    for (int calls = 0; !done; calls++) {
        (void)setup(NULL);
        inflict(FLIP);
        done = survives(calls);
        struct fold_check_result r = check(true, true);
        assert_int_equal(r.errors, r.repaired);
        fold_check_free(&r);
        expect_clean(true);
        expect_tree();
        (void)teardown(NULL);
        assert_true(calls < 500);
    }
}

/* Commits that are in the journal only survive the loss of everything else. */
static void the_journal_counts(void **state)
{
    (void)state;
    fold_log_set_level((enum fold_log_level) - 1);
    for (enum damage how = FLIP; how < DAMAGES; how++) {
        (void)setup(NULL);
        struct fold_volume *v = open_volume();
        for (int i = 0; i < 3; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "j%d", i);
            add_file(v, 1, name, fold_catalog_new_ino(v->catalog), true);
        }
        assert_int_equal(fold_catalog_sync(v->catalog, fold_catalog_lsn(v->catalog)), 0);
        assert_int_equal(fold_volume_close(v, false), 0);
        inflict(how);
        struct fold_check_result r = check(true, true);
        if (r.errors != r.repaired)
            show(&r);
        assert_int_equal(r.errors, r.repaired);
        fold_check_free(&r);
        v = open_volume();
        for (fold_ino ino = 6; ino <= 8; ino++) {
            struct fold_attr a;
            assert_int_equal(fold_inode_load(v->catalog, ino, &a), 0);
            assert_int_equal(a.size, PER * CHUNK);
            assert_int_equal(a.nlink, 1);
        }
        assert_int_equal(fold_volume_close(v, true), 0);
        expect_clean(true);
        (void)teardown(NULL);
    }
}

/* The index is derived data: whatever happens to its database, mounting makes it anew. */
static void the_index_heals_itself(void **state)
{
    (void)state;
    fold_log_set_level((enum fold_log_level) - 1);
    for (enum damage how = FLIP; how < NO_MANIFEST; how++) {
        (void)setup(NULL);
        assert_int_equal(each_file("index", "MANIFEST-", "", harm, how, 100), 1);
        struct fold_volume *v = open_volume();
        assert_int_equal(fold_volume_close(v, true), 0);
        expect_clean(true);
        (void)teardown(NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(databases_are_made_anew),
        cmocka_unit_test(dying_halfway_loses_nothing),
        cmocka_unit_test(the_journal_counts),
        cmocka_unit_test(the_index_heals_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
