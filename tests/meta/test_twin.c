/* SPDX-License-Identifier: MIT */
/*
 * A directory is replaced by its twin: whole, or not at all, wherever the process dies or a call
 * fails, on hosts that can exchange names and on those that cannot.
 */
#include "meta/twin.h"
#include "meta/base/io.h"
#include "tests/meta/catalog_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

enum ending { DIES, FAILS };

/* What the host cannot do, and the call at which it ends. */
struct plan {
    bool no_exchange;
    bool no_links;
    enum ending ending;
    int at;
};

static int end_there(void *arg, enum fold_io_op op, int fd, const char *name)
{
    struct plan *p = arg;
    (void)fd;
    (void)name;
    if (p->at-- == 0) {
        if (p->ending == DIES)
            _exit(7);
        return -EIO;
    }
    if (op == FOLD_IO_EXCHANGE && p->no_exchange)
        return -EINVAL;
    return op == FOLD_IO_LINK && p->no_links ? -EPERM : 0;
}

static bool wanted(const char *name)
{
    return strcmp(name, "kept") == 0;
}

static void write_file(int dirfd, const char *name, const char *text)
{
    assert_int_equal(fold_io_replace(dirfd, name, text, strlen(text), 0600), 0);
}

static void make_old(int parent)
{
    assert_int_equal(fold_io_mkdir(parent, "d", 0700), 0);
    FOLD_AUTO(close) int d = openat(parent, "d", O_RDONLY | O_DIRECTORY);
    write_file(d, "kept", "bytes");
    write_file(d, "dropped", "more");
    assert_int_equal(fold_io_mkdir(d, "deep", 0700), 0);
    FOLD_AUTO(close) int deep = openat(d, "deep", O_RDONLY | O_DIRECTORY);
    write_file(deep, "inside", "much more");
}

static int replace(int parent)
{
    struct fold_twin_name twin;
    size_t count;
    int rc = fold_twin_create(parent, "d", wanted, &twin, &count);
    if (rc < 0)
        return rc;
    FOLD_AUTO(close) int d = fold_io_open(parent, twin.text, O_RDONLY | O_DIRECTORY, 0);
    if (d < 0)
        return d;
    rc = fold_io_replace(d, "made", "new", 3, 0600);
    return rc < 0 ? rc : fold_twin_swap(parent, "d");
}

static int count_names(int dirfd)
{
    DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY));
    assert_non_null(dir);
    int n = 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* Is it the new one? It must be that or the old one, and nothing beside it. */
static bool is_new(int parent)
{
    assert_int_equal(count_names(parent), 1);
    FOLD_AUTO(close) int d = openat(parent, "d", O_RDONLY | O_DIRECTORY);
    assert_true(d >= 0);
    FOLD_AUTO(free) void *bytes = NULL;
    size_t len;
    assert_int_equal(fold_io_slurp(d, "kept", 100, &bytes, &len), 0);
    assert_int_equal(len, 5);
    assert_memory_equal(bytes, "bytes", 5);
    bool made = faccessat(d, "made", F_OK, 0) == 0;
    assert_int_equal(count_names(d), made ? 2 : 3);
    assert_int_equal(faccessat(d, "deep/inside", F_OK, 0) == 0, !made);
    return made;
}

/* Runs in a child what may die; its exit code: 0, 7 for death, 8 for an error. */
static int run(int parent, struct plan p, int (*fn)(int))
{
    pid_t pid = fork();
    if (pid == 0) {
        fold_log_set_level((enum fold_log_level) - 1);
        fold_io_set_fault(end_there, &p);
        int rc = fn(parent);
        _exit(rc == 0 ? 0 : 8);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int clean(int parent)
{
    return fold_twin_clean(parent, "d");
}

/* One replacement that ends at call `p.at`, then a cleaning that ends at call `second`. */
static int try_once(struct plan p, int second, bool *cleaned)
{
    char path[64];
    rig_temp(path);
    FOLD_AUTO(close) int parent = open(path, O_RDONLY | O_DIRECTORY);
    make_old(parent);
    int how = run(parent, p, replace);
    struct plan q = p;
    q.at = second;
    *cleaned = run(parent, q, clean) == 0;
    fold_log_set_level((enum fold_log_level) - 1);
    assert_int_equal(fold_twin_clean(parent, "d"), 0);
    bool made = is_new(parent);
    if (how == 0)
        assert_true(made);
    rig_remove_tree(path);
    return how;
}

static void try_all(struct plan p)
{
    int how = -1;
    for (int first = 0; how != 0; first++) {
        bool cleaned = false;
        for (int second = 0; !cleaned; second++) {
            p.at = first;
            how = try_once(p, second, &cleaned);
            assert_true(second < 100);
        }
        assert_true(first < 200);
    }
}

static void dies_anywhere(void **state)
{
    (void)state;
    try_all((struct plan){.ending = DIES});
    try_all((struct plan){.ending = DIES, .no_exchange = true});
}

static void fails_anywhere(void **state)
{
    (void)state;
    try_all((struct plan){.ending = FAILS});
    try_all((struct plan){.ending = FAILS, .no_exchange = true, .no_links = true});
}

static void nothing_to_replace(void **state)
{
    (void)state;
    char path[64];
    struct fold_twin_name twin;
    size_t count;
    rig_temp(path);
    FOLD_AUTO(close) int parent = open(path, O_RDONLY | O_DIRECTORY);
    assert_int_equal(fold_twin_clean(parent, "d"), 0);
    assert_int_equal(fold_twin_create(parent, "d", wanted, &twin, &count), -ENOENT);
    assert_int_equal(count_names(parent), 0);
    rig_remove_tree(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dies_anywhere),
        cmocka_unit_test(fails_anywhere),
        cmocka_unit_test(nothing_to_replace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
