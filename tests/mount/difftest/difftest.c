/* SPDX-License-Identifier: MIT */
/*
 * difftest DIR_UNDER_TEST REFERENCE_DIR [--seed N] [--ops N] [--hook CMD] [--hook-every N]
 * [--compare-every N]
 *          [--trace] [--no-times] [--root-only]
 *
 * A random sequence of file operations, made twice, compared after every step; whole trees every
 * now and then. The same seed always makes the same sequence. The hook runs with no file open and
 * should remount the directory under test.
 */
#include "tests/mount/difftest/difftest.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct op {
    void (*run)(struct world *w);
    unsigned weight;
    bool root; /* only as root */
};

static const struct op ops[] = {
    {dt_op_open, 14, false},    {dt_op_close, 4, false},     {dt_op_mkdir, 6, false},
    {dt_op_rmdir, 2, false},    {dt_op_unlink, 4, false},    {dt_op_rename, 7, false},
    {dt_op_link, 3, false},     {dt_op_symlink, 3, false},   {dt_op_mknod, 2, false},
    {dt_op_readdir, 3, false},  {dt_op_readlink, 1, false},  {dt_op_remove_tree, 1, true},
    {dt_op_write, 18, false},   {dt_op_read, 14, false},     {dt_op_vector, 3, false},
    {dt_op_mmap, 6, false},     {dt_op_sync, 3, false},      {dt_op_copy_range, 6, false},
    {dt_op_truncate, 6, false}, {dt_op_fallocate, 7, false}, {dt_op_seek, 4, false},
    {dt_op_statfs, 1, false},   {dt_op_chmod, 3, false},     {dt_op_chown, 3, false},
    {dt_op_utimens, 3, false},  {dt_op_xattr, 6, false},     {dt_op_acl, 4, false},
    {dt_op_access, 2, false},   {dt_op_burst, 4, false},
};

struct settings {
    uint64_t ops;
    uint64_t hook_every;
    uint64_t compare_every;
    bool root_only;
};

static const struct op *pick_op(struct world *w)
{
    unsigned total = 0;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        total += ops[i].weight;
    }
    uint64_t at = dt_below(w, total);
    size_t i = 0;
    while (at >= ops[i].weight) {
        at -= ops[i++].weight;
    }
    return &ops[i];
}

static void become(bool user)
{
    static const gid_t groups[] = {1000, 100};
    int bad = 0;
    if (user) {
        bad |= setgroups(2, groups);
        bad |= setegid(1000);
        bad |= seteuid(1000);
    } else {
        bad |= seteuid(0);
        bad |= setegid(0);
        bad |= setgroups(0, NULL);
    }
    if (bad) {
        perror("difftest: changing the user");
        exit(2);
    }
}

static void one_op(struct world *w, bool root_only)
{
    const struct op *op = pick_op(w);
    w->as_user = !op->root && !root_only && dt_chance(w, 25);
    if (dt_chance(w, 1)) {
        static const mode_t masks[] = {022, 0, 077, 027};
        umask(masks[dt_below(w, 4)]);
    }
    if (w->as_user) {
        become(true);
    }
    dt_describe(w, "nothing");
    op->run(w);
    if (w->as_user) {
        become(false);
    }
    dt_watch_check(w);
}

/* Inode numbers must be the same after a remount: a sum over all that is known. */
static uint64_t inode_sum(const struct world *w)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < DT_KNOWN; i++) {
        struct stat st;
        char full[PATH_MAX];
        if (w->known[i] && lstat(dt_full(w, 0, w->known[i], full), &st) == 0) {
            sum = sum * 31 + st.st_ino;
        }
    }
    return sum;
}

static void run_hook(struct world *w)
{
    dt_describe(w, "hook");
    dt_handle_close_all(w);
    uint64_t before = inode_sum(w);
    int code = system(w->hook);
    if (code != 0) {
        dt_differ(w, "the hook failed: %d", code);
    }
    if (inode_sum(w) != before) {
        dt_differ(w, "inode numbers changed");
    }
    dt_tree_compare(w);
}

static int run(struct world *w, const struct settings *set)
{
    for (w->op = 0; w->op < set->ops && !w->failed; w->op++) {
        if (w->hook && w->op % set->hook_every == set->hook_every - 1) {
            run_hook(w);
        } else {
            one_op(w, set->root_only);
        }
        if (!w->failed && w->op % set->compare_every == set->compare_every - 1) {
            dt_tree_compare(w);
        }
    }
    if (!w->failed) {
        w->op--;
        dt_handle_close_all(w);
        dt_tree_compare(w);
    }
    return w->failed ? 1 : 0;
}

static void make_roots(struct world *w, char *const argv[])
{
    static char roots[DT_SIDES][PATH_MAX];
    for (int side = 0; side < DT_SIDES; side++) {
        snprintf(roots[side], PATH_MAX, "%s/difftest", argv[side]);
        if (mkdir(roots[side], 0777) != 0 || chmod(roots[side], 0777) != 0) {
            fprintf(stderr, "difftest: %s: %s\n", roots[side], strerror(errno));
            exit(2);
        }
        w->root[side] = roots[side];
        w->buf[side] = aligned_alloc(4096, DT_IO_MAX);
    }
    w->content = aligned_alloc(4096, DT_IO_MAX);
    w->library = aligned_alloc(4096, DT_IO_MAX);
    if (!w->buf[0] || !w->buf[1] || !w->content || !w->library) {
        exit(2);
    }
    memset(w->content, 0, DT_IO_MAX);
}

static void usage(void)
{
    fprintf(stderr,
            "usage: difftest DIR REFERENCE [--seed N] [--ops N] [--hook CMD] [--hook-every N]\n"
            "       [--compare-every N] [--trace] [--no-times] [--root-only]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", 1, NULL, 's'},       {"ops", 1, NULL, 'n'},           {"hook", 1, NULL, 'h'},
        {"hook-every", 1, NULL, 'e'}, {"compare-every", 1, NULL, 'c'}, {"trace", 0, NULL, 't'},
        {"no-times", 0, NULL, 'T'},   {"root-only", 0, NULL, 'r'},     {NULL, 0, NULL, 0}};
    static struct world w = {.times = true};
    struct settings set = {5000, 1000, 500, geteuid() != 0};
    w.seed = (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 's':
            w.seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            set.ops = strtoull(optarg, NULL, 0);
            break;
        case 'h':
            w.hook = optarg;
            break;
        case 'e':
            set.hook_every = strtoull(optarg, NULL, 0);
            break;
        case 'c':
            set.compare_every = strtoull(optarg, NULL, 0);
            break;
        case 't':
            w.trace = true;
            break;
        case 'T':
            w.times = false;
            break;
        case 'r':
            set.root_only = true;
            break;
        default:
            usage();
        }
    }
    if (argc - optind != 2 || set.hook_every == 0 || set.compare_every == 0) {
        usage();
    }
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    w.random[0] = w.seed * 0x9e3779b97f4a7c15u + 1;
    w.random[1] = w.seed ^ 0xd1b54a32d192ed03u;
    for (int i = 0; i < DT_HANDLES; i++) {
        w.handles[i].fd[0] = w.handles[i].fd[1] = -1;
    }
    make_roots(&w, argv + optind);
    dt_library_fill(&w);
    int code = run(&w, &set);
    printf("difftest: seed %llu, %llu operations: %s\n", (unsigned long long)w.seed,
           (unsigned long long)w.op + (code == 0), code ? "DIFFERENT" : "same");
    return code;
}
