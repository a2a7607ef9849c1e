/* SPDX-License-Identifier: MIT */
/*
 * Stores whose catalog database cannot be opened any more, or not read to its end: told by a check,
 * made anew by one with repair, clean afterwards, and in use again; and what the journal knows is
 * not lost by it.
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

#define MANY 600

/* Files enough to fill some blocks of a table with each kind of entry. */
static void add_many(void)
{
    struct fold_volume *v = open_volume();
    struct fold_page page = {0};
    struct fold_attr root;
    assert_int_equal(fold_recipe_load(v->catalog, 3, 0, &page), 0);
    struct fold_txn *t = fold_txn_begin(v->catalog);
    for (int i = 0; i < MANY; i++) {
        char name[64];
        fold_ino ino = fold_catalog_new_ino(v->catalog);
        (void)snprintf(name, sizeof name, "a-name-that-takes-some-space-%08d", i * 7919);
        add(t, 1, name,
            (struct fold_attr){.ino = ino,
                               .mode = S_IFREG | 0644,
                               .nlink = 1,
                               .size = PER * CHUNK,
                               .mtime = {ino * 1000003, (int)ino},
                               .mapped = PER * CHUNK});
        assert_int_equal(fold_recipe_store(t, ino, 0, &page), 0);
    }
    fold_txn_count(t, MANY, 0, 0, (int64_t)MANY * PER * CHUNK);
    assert_int_equal(fold_inode_load(v->catalog, 1, &root), 0);
    root.size += MANY;
    fold_inode_store(t, &root);
    commit(t);
    fold_page_fini(&page);
    assert_int_equal(fold_volume_close(v, true), 0);
}

static unsigned harmed_at; /* in 64ths of the file */

static void harm_block(const char *path, enum damage how)
{
    (void)how;
    struct stat st;
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    off_t at = st.st_size * (off_t)harmed_at / 64;
    if (st.st_size > 20000) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
}

/* Inodes that are there; none has a hole where it had content. */
static int whole_inodes(void)
{
    struct fold_volume *v = open_volume();
    int found = 0;
    for (fold_ino ino = 6; ino < 6 + MANY; ino++) {
        struct fold_attr a;
        struct fold_page page = {0};
        int rc = fold_inode_load(v->catalog, ino, &a);
        if (rc == -ENOENT)
            continue;
        assert_int_equal(rc, 0);
        found++;
        if (a.size == 0)
            continue;
        assert_int_equal(fold_recipe_load(v->catalog, ino, 0, &page), 0);
        assert_int_equal(fold_page_mapped(&page), a.size);
        fold_page_fini(&page);
    }
    assert_int_equal(fold_volume_close(v, true), 0);
    return found;
}

/* Nothing is wrong but that some files have lost content, which is told. */
static void expect_only_losses(void)
{
    struct fold_check_result r = check(false, true);
    for (size_t i = 0; i < r.count; i++)
        if (r.problems[i].severity != FOLD_SEVERITY_NOTE &&
            strcmp(r.problems[i].code, "file.damaged") != 0) {
            show(&r);
            fail();
        }
    fold_check_free(&r);
}

static void bad_blocks_cost_what_is_in_them(void **state)
{
    (void)state;
    int kept = 0, turns = 0;
    fold_log_set_level((enum fold_log_level) - 1);
    for (harmed_at = 1; harmed_at < 64; harmed_at += 3) {
        (void)setup(NULL);
        add_many();
        assert_int_equal(whole_inodes(), MANY);
        assert_true(each_file("catalog", "", ".sst", harm_block, FLIP, 100) > 0);
        struct fold_check_result r = check(false, false);
        bool told = r.errors > 0;
        assert_int_equal(r.repaired, 0);
        fold_check_free(&r);
        r = check(true, false);
        if (told && !has(&r, "catalog.lost"))
            show(&r);
        assert_true(!told || has(&r, "catalog.lost") || has(&r, "catalog.database"));
        fold_check_free(&r);
        expect_only_losses();
        kept += whole_inodes();
        turns++;
        (void)teardown(NULL);
    }
    assert_true(kept > turns * MANY / 2);
}

static char newest[400];

static void note_newest(const char *path, enum damage how)
{
    (void)how;
    if (strcmp(path, newest) > 0)
        (void)snprintf(newest, sizeof newest, "%s", path);
}

/* Changes the first and the last inode and its recipe. */
static void change_ends(void)
{
    struct fold_volume *v = open_volume();
    struct fold_page page = {0};
    struct fold_txn *t = fold_txn_begin(v->catalog);
    for (fold_ino ino = 6; ino < 6 + MANY; ino += MANY - 1) {
        struct fold_attr a;
        assert_int_equal(fold_inode_load(v->catalog, ino, &a), 0);
        a.mode ^= 0077;
        fold_inode_store(t, &a);
    }
    assert_int_equal(fold_recipe_load(v->catalog, 3, 0, &page), 0);
    assert_int_equal(fold_recipe_store(t, 6 + MANY - 1, 0, &page), 0);
    fold_page_fini(&page);
    commit(t);
    assert_int_equal(fold_volume_close(v, true), 0);
}

/* A table of one block, from the first inodes to the last recipes: what it hides is elsewhere. */
static void a_bad_block_takes_nothing_along(void **state)
{
    (void)state;
    int tables = 1;
    fold_log_set_level((enum fold_log_level) - 1);
    (void)setup(NULL);
    add_many();
    for (int i = 0; i < 6 && tables == 1; i++) { /* the database merges them now and then */
        change_ends();
        newest[0] = '\0';
        tables = each_file("catalog", "", ".sst", note_newest, FLIP, 100);
    }
    assert_true(tables > 1);
    int fd = open(newest, O_RDWR);
    assert_int_equal(pwrite(fd, "\xff\xff\xff", 3, 20), 3);
    close(fd);
    struct fold_check_result r = check(true, true);
    assert_true(has(&r, "catalog.lost"));
    fold_check_free(&r);
    assert_int_equal(whole_inodes(), MANY);
    expect_clean(true);
    (void)teardown(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(databases_are_made_anew),
        cmocka_unit_test(dying_halfway_loses_nothing),
        cmocka_unit_test(the_journal_counts),
        cmocka_unit_test(the_index_heals_itself),
        cmocka_unit_test(bad_blocks_cost_what_is_in_them),
        cmocka_unit_test(a_bad_block_takes_nothing_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
