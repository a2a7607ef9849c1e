/* SPDX-License-Identifier: MIT */
/*
 * Operations on names: directories, links, renames, special files, listing.
 */
#include "tests/mount/difftest/difftest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BOTH(expr) DT_BOTH(char full[PATH_MAX]; dt_full(w, side, path, full), expr)

static const mode_t modes[] = {0755, 0777, 0700, 0644, 0600, 02775, 01777, 04755, 06711, 0};

static mode_t any_mode(struct world *w)
{
    return dt_chance(w, 60) ? 0755 : modes[dt_below(w, sizeof modes / sizeof modes[0])];
}

void dt_op_mkdir(struct world *w)
{
    char path[1024];
    dt_path(w, path);
    mode_t mode = any_mode(w);
    dt_describe(w, "mkdir %s %o", path, mode);
    dt_watch_path(w, path);
    BOTH(mkdir(full, mode));
    if (fine) {
        dt_remember(w, path);
    }
}

void dt_op_rmdir(struct world *w)
{
    char path[1024];
    dt_path(w, path);
    dt_describe(w, "rmdir %s", path);
    dt_watch_path(w, path);
    BOTH(rmdir(full));
    (void)fine;
}

void dt_op_unlink(struct world *w)
{
    char path[1024];
    dt_path(w, path);
    dt_describe(w, "unlink %s", path);
    dt_watch_path(w, path);
    BOTH(unlink(full));
    (void)fine;
}

void dt_op_rename(struct world *w)
{
    char path[1024];
    char to[1024];
    dt_path(w, path);
    dt_path(w, to);
    static const unsigned kinds[] = {0,
                                     0,
                                     0,
                                     0,
                                     RENAME_NOREPLACE,
                                     RENAME_EXCHANGE,
                                     RENAME_EXCHANGE,
                                     RENAME_WHITEOUT,
                                     RENAME_WHITEOUT | RENAME_NOREPLACE,
                                     7};
    unsigned flags = kinds[dt_below(w, 10)];
    char target[PATH_MAX];
    struct stat st;
    /* ext4 stamps the directory when it takes a whiteout back because this is not empty. */
    if ((flags & RENAME_WHITEOUT) != 0 && flags != 7 &&
        lstat(dt_full(w, 1, to, target), &st) == 0 && S_ISDIR(st.st_mode))
        flags = 0;
    dt_describe(w, "rename %s -> %s flags %u", path, to, flags);
    dt_watch_path(w, path);
    dt_watch_path(w, to);
    BOTH(renameat2(AT_FDCWD, full, AT_FDCWD, dt_full(w, side, to, target), flags));
    if (fine) {
        dt_remember(w, to);
    }
}

/* A name, the first one perhaps, for an open file. */
static void link_handle(struct world *w, int slot)
{
    char path[1024];
    char from[64];
    dt_path(w, path);
    dt_describe(w, "link h%d -> %s", slot, path);
    dt_watch_handle(w, slot);
    dt_watch_path(w, path);
    BOTH((snprintf(from, sizeof from, "/proc/self/fd/%d", w->handles[slot].fd[side]),
          linkat(AT_FDCWD, from, AT_FDCWD, full, AT_SYMLINK_FOLLOW)));
    if (fine) {
        dt_remember(w, path);
    }
}

void dt_op_link(struct world *w)
{
    char path[1024];
    char to[1024];
    int slot = dt_chance(w, 40) ? dt_handle_pick(w) : -1;
    if (slot >= 0) {
        link_handle(w, slot);
        return;
    }
    dt_path(w, path);
    dt_path(w, to);
    dt_describe(w, "link %s -> %s", path, to);
    dt_watch_path(w, path);
    dt_watch_path(w, to);
    char target[PATH_MAX];
    BOTH(link(full, dt_full(w, side, to, target)));
    if (fine) {
        dt_remember(w, to);
    }
}

void dt_op_symlink(struct world *w)
{
    char path[1024];
    dt_path(w, path);
    static char target[4096];
    if (dt_chance(w, 10)) {
        size_t len = dt_chance(w, 50) ? 4095 : dt_below(w, 4095) + 1;
        memset(target, 's', len);
        target[len] = 0;
    } else {
        char to[1024];
        dt_path(w, to);
        snprintf(target, sizeof target, "%s%s", dt_chance(w, 20) ? "../" : "", to);
    }
    dt_describe(w, "symlink %s -> %.60s", path, target);
    dt_watch_path(w, path);
    BOTH(symlink(target, full));
    if (fine) {
        dt_remember(w, path);
    }
}

void dt_op_readlink(struct world *w)
{
    char path[1024];
    dt_path(w, path);
    size_t room = dt_chance(w, 20) ? 3 : 8192;
    dt_describe(w, "readlink %s", path);
    BOTH(readlink(full, (char *)w->buf[side], room));
    if (fine && memcmp(w->buf[0], w->buf[1], (size_t)ret[0]) != 0) {
        dt_differ(w, "symlink target differs");
    }
}

void dt_op_mknod(struct world *w)
{
    char path[1024];
    dt_path(w, path);
    static const mode_t types[] = {S_IFREG, S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
    mode_t mode = types[dt_below(w, 6)] | any_mode(w);
    dev_t dev = makedev((unsigned)dt_below(w, 4095), (unsigned)dt_below(w, 1u << 20));
    dt_describe(w, "mknod %s %o", path, mode);
    dt_watch_path(w, path);
    BOTH(mknod(full, mode, dev));
    if (fine) {
        dt_remember(w, path);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names with their types, sorted; a negative errno if the directory cannot be read. */
static long list_dir(const char *full, char **names, long room)
{
    DIR *dir = opendir(full);
    if (!dir) {
        return -errno;
    }
    long n = 0;
    for (struct dirent *e; n < room && (e = readdir(dir)) != NULL;) {
        if (asprintf(&names[n], "%s:%u", e->d_name, e->d_type) >= 0) {
            n++;
        }
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof names[0], by_name);
    return n;
}

void dt_op_readdir(struct world *w)
{
    enum { ROOM = 4096 };
    static char *names[DT_SIDES][ROOM];
    char path[1024] = ".";
    if (!dt_chance(w, 20)) {
        dt_path(w, path);
    }
    dt_describe(w, "readdir %s", path);
    long ret[DT_SIDES];
    int err[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        char full[PATH_MAX];
        ret[side] = list_dir(dt_full(w, side, path, full), names[side], ROOM);
        err[side] = ret[side] < 0 ? (int)-ret[side] : 0;
    }
    if (dt_outcome(w, ret, err)) {
        for (long i = 0; i < ret[0]; i++) {
            if (strcmp(names[0][i], names[1][i]) != 0) {
                dt_differ(w, "entry %s, reference: %s", names[0][i], names[1][i]);
                break;
            }
        }
    }
    for (int side = 0; side < DT_SIDES; side++) {
        for (long i = 0; i < ret[side]; i++) {
            free(names[side][i]);
        }
    }
}

void dt_op_remove_tree(struct world *w)
{
    char path[1024];
    if (dt_chance(w, 80)) {
        return;
    }
    dt_path(w, path);
    bool whole = dt_chance(w, 5);
    if (whole) {
        snprintf(path, sizeof path, ".");
    }
    dt_describe(w, "rm -r %s", path);
    BOTH(dt_tree_remove(full));
    (void)fine;
}
