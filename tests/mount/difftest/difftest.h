/* SPDX-License-Identifier: MIT */
/*
 * The differential tester: every operation runs on two directory trees and must have the same
 * outcome on both. Side 0 is the tree under test, side 1 the reference. One thread; all state is in
 * struct world.
 */
#ifndef FOLD_TESTS_MOUNT_DIFFTEST_DIFFTEST_H
#define FOLD_TESTS_MOUNT_DIFFTEST_DIFFTEST_H

#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define DT_SIDES   2
#define DT_HANDLES 8
#define DT_KNOWN   256
#define DT_HISTORY 24
#define DT_WATCHES 6
#define DT_IO_MAX  (1u << 20)

struct handle {
    int fd[DT_SIDES]; /* -1 when free; both or none */
    int flags;
    bool direct;
    bool dir;
};

/* Attributes of something an operation may touch, before it. */
struct watch {
    char path[1024]; /* empty: a handle */
    int slot;
    bool there[DT_SIDES];
    struct stat st[DT_SIDES];
};

struct world {
    const char *root[DT_SIDES]; /* directories the trees live in */
    const char *hook;           /* shell command that remounts side 0 */
    uint64_t seed;
    uint64_t op;
    uint64_t random[2];
    struct handle handles[DT_HANDLES];
    char *known[DT_KNOWN]; /* paths that existed at some time */
    char history[DT_HISTORY][256];
    struct watch watches[DT_WATCHES];
    unsigned watch_count;
    uint8_t *buf[DT_SIDES]; /* DT_IO_MAX bytes each, page-aligned */
    uint8_t *content;       /* what to write */
    uint8_t *library;       /* bytes that content is drawn from, again and again */
    bool as_user;           /* the current operation runs unprivileged */
    bool trace;
    bool times;  /* compare whether mtime and ctime changed */
    bool failed; /* a difference was reported */
};

/* random.c */
uint64_t dt_random(struct world *w);
uint64_t dt_below(struct world *w, uint64_t n);
bool dt_chance(struct world *w, unsigned percent);
void dt_library_fill(struct world *w);
void dt_content(struct world *w, size_t len);
uint64_t dt_length(struct world *w, uint64_t max);

/* pair.c: paths, outcomes, attributes */
void dt_describe(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void dt_differ(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void dt_path(struct world *w, char out[1024]);
void dt_remember(struct world *w, const char *path);
const char *dt_full(const struct world *w, int side, const char *path, char out[PATH_MAX]);
bool dt_outcome(struct world *w, const long ret[DT_SIDES], const int err[DT_SIDES]);

/*
 * Runs `expr` on both sides, after `prepare` on each: declares `ret` and `err`, by side, and
 * `fine` as dt_outcome has it.
 */
#define DT_BOTH(prepare, expr)                                                                     \
    long ret[DT_SIDES];                                                                            \
    int err[DT_SIDES];                                                                             \
    for (int side = 0; side < DT_SIDES; side++) {                                                  \
        prepare;                                                                                   \
        errno = 0;                                                                                 \
        ret[side] = (expr);                                                                        \
        err[side] = errno;                                                                         \
    }                                                                                              \
    bool fine = dt_outcome(w, ret, err)

void dt_compare_stat(struct world *w, const char *what, const struct stat *a, const struct stat *b);
void dt_watch_path(struct world *w, const char *path);
void dt_watch_handle(struct world *w, int slot);
void dt_watch_check(struct world *w);

/* handles */
int dt_handle_pick(struct world *w);
void dt_handle_close(struct world *w, int slot);
void dt_handle_close_all(struct world *w);

/* operations: names.c, data.c, space.c, attrs.c */
void dt_op_open(struct world *w);
void dt_op_close(struct world *w);
void dt_op_mkdir(struct world *w);
void dt_op_rmdir(struct world *w);
void dt_op_unlink(struct world *w);
void dt_op_rename(struct world *w);
void dt_op_link(struct world *w);
void dt_op_symlink(struct world *w);
void dt_op_mknod(struct world *w);
void dt_op_readdir(struct world *w);
void dt_op_readlink(struct world *w);
void dt_op_remove_tree(struct world *w);
void dt_op_write(struct world *w);
void dt_op_burst(struct world *w);
void dt_op_read(struct world *w);
void dt_op_vector(struct world *w);
void dt_op_mmap(struct world *w);
void dt_op_sync(struct world *w);
void dt_op_copy_range(struct world *w);
void dt_op_truncate(struct world *w);
void dt_op_fallocate(struct world *w);
void dt_op_seek(struct world *w);
void dt_op_statfs(struct world *w);
void dt_op_chmod(struct world *w);
void dt_op_chown(struct world *w);
void dt_op_utimens(struct world *w);
void dt_op_xattr(struct world *w);
void dt_op_acl(struct world *w);
void dt_op_access(struct world *w);

/* tree.c */
void dt_tree_compare(struct world *w);
int dt_tree_remove(const char *path);

/* xattr.c */
void dt_xattr_compare(struct world *w, const char *path);

#endif
