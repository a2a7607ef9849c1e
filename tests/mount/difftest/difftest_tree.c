/* SPDX-License-Identifier: MIT */
/*
 * Comparing whole trees: names, attributes, contents, extended attributes. Also removes trees.
 */
#include "tests/mount/difftest/difftest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LIST_MAX 8192

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the names of a list as listxattr gives it; returns their number. */
static size_t sort_list(const char *list, ssize_t len, const char *names[64])
{
    size_t n = 0;
    for (ssize_t at = 0; at < len && n < 64; at += (ssize_t)strlen(list + at) + 1) {
        names[n++] = list + at;
    }
    qsort(names, n, sizeof names[0], by_text);
    return n;
}

static void compare_values(struct world *w, const char *path, const char *name)
{
    static uint8_t value[DT_SIDES][65536];
    ssize_t len[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        char full[PATH_MAX];
        len[side] = lgetxattr(dt_full(w, side, path, full), name, value[side], sizeof value[0]);
    }
    if (len[0] != len[1] || (len[0] > 0 && memcmp(value[0], value[1], (size_t)len[0]) != 0)) {
        dt_differ(w, "%s: xattr %s differs (%zd and %zd bytes)", path, name, len[0], len[1]);
    }
}

void dt_xattr_compare(struct world *w, const char *path)
{
    static char list[DT_SIDES][LIST_MAX];
    const char *names[DT_SIDES][64];
    long ret[DT_SIDES];
    int err[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        char full[PATH_MAX];
        ret[side] = llistxattr(dt_full(w, side, path, full), list[side], LIST_MAX);
        err[side] = errno;
    }
    if (w->failed || ((ret[0] < 0) != (ret[1] < 0))) {
        dt_outcome(w, ret, err);
        return;
    }
    if (ret[0] < 0) {
        return;
    }
    size_t n = sort_list(list[0], ret[0], names[0]);
    size_t m = sort_list(list[1], ret[1], names[1]);
    if (n != m) {
        dt_differ(w, "%s: %zu xattrs, reference: %zu", path, n, m);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[0][i], names[1][i]) != 0) {
            dt_differ(w, "%s: xattr %s, reference: %s", path, names[0][i], names[1][i]);
            return;
        }
        compare_values(w, path, names[0][i]);
    }
}

static void compare_content(struct world *w, const char *path, uint64_t size)
{
    int fd[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        char full[PATH_MAX];
        fd[side] = open(dt_full(w, side, path, full), O_RDONLY | O_CLOEXEC);
        if (fd[side] < 0) {
            dt_differ(w, "%s: cannot open: %s", path, strerror(errno));
        }
    }
    for (uint64_t at = 0; at < size && !w->failed; at += DT_IO_MAX) {
        ssize_t got[DT_SIDES];
        for (int side = 0; side < DT_SIDES; side++) {
            got[side] = pread(fd[side], w->buf[side], DT_IO_MAX, (off_t)at);
        }
        if (got[0] != got[1]) {
            dt_differ(w, "%s: read at %llu gives %zd, reference: %zd", path, (unsigned long long)at,
                      got[0], got[1]);
        } else if (got[0] > 0 && memcmp(w->buf[0], w->buf[1], (size_t)got[0]) != 0) {
            size_t i = 0;
            while (w->buf[0][i] == w->buf[1][i]) {
                i++;
            }
            dt_differ(w, "%s: content differs at %llu: %02x, reference: %02x", path,
                      (unsigned long long)at + i, w->buf[0][i], w->buf[1][i]);
        }
    }
    for (int side = 0; side < DT_SIDES; side++) {
        if (fd[side] >= 0) {
            close(fd[side]);
        }
    }
}

static long list_sorted(const char *full, char **names, long room)
{
    DIR *dir = opendir(full);
    if (!dir) {
        return -1;
    }
    long n = 0;
    for (struct dirent *e; n < room && (e = readdir(dir)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            names[n++] = strdup(e->d_name);
        }
    }
    closedir(dir);
    qsort(names, (size_t)n, sizeof names[0], by_text);
    return n;
}

/* Paths still to visit: an explicit stack, since trees can be deep. */
struct stack {
    char **paths;
    size_t count;
    size_t room;
};

static void push(struct stack *s, const char *dir, const char *name)
{
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 256;
        s->paths = realloc(s->paths, s->room * sizeof s->paths[0]);
        if (!s->paths) {
            abort();
        }
    }
    if (asprintf(&s->paths[s->count], "%s%s%s", dir, dir[0] ? "/" : "", name) >= 0) {
        s->count++;
    }
}

static void compare_directory(struct world *w, struct stack *s, const char *path)
{
    static char *names[DT_SIDES][LIST_MAX];
    long n[DT_SIDES];
    for (int side = 0; side < DT_SIDES; side++) {
        char full[PATH_MAX];
        n[side] = list_sorted(dt_full(w, side, path, full), names[side], LIST_MAX);
    }
    if (n[0] != n[1]) {
        dt_differ(w, "%s: %ld entries, reference: %ld", path, n[0], n[1]);
    }
    for (long i = 0; i < n[0] && i < n[1]; i++) {
        if (strcmp(names[0][i], names[1][i]) != 0) {
            dt_differ(w, "%s: entry %s, reference: %s", path, names[0][i], names[1][i]);
            break;
        }
        push(s, path, names[0][i]);
    }
    for (int side = 0; side < DT_SIDES; side++) {
        for (long i = 0; i < n[side]; i++) {
            free(names[side][i]);
        }
    }
}

void dt_tree_compare(struct world *w)
{
    struct stack s = {0};
    push(&s, "", "");
    while (s.count > 0) {
        char *path = s.paths[--s.count];
        struct stat st[DT_SIDES];
        bool there = !w->failed;
        for (int side = 0; side < DT_SIDES && there; side++) {
            char full[PATH_MAX];
            if (lstat(dt_full(w, side, path, full), &st[side]) != 0) {
                dt_differ(w, "%s: lstat: %s", path, strerror(errno));
                there = false;
            }
        }
        if (there) {
            dt_compare_stat(w, path, &st[0], &st[1]);
            dt_xattr_compare(w, path);
            if (S_ISDIR(st[0].st_mode) && S_ISDIR(st[1].st_mode)) {
                compare_directory(w, &s, path);
            } else if (S_ISREG(st[0].st_mode) && S_ISREG(st[1].st_mode)) {
                compare_content(w, path, (uint64_t)st[1].st_size);
            }
        }
        free(path);
    }
    free(s.paths);
}

int dt_tree_remove(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0) {
        return -1;
    }
    if (!S_ISDIR(st.st_mode)) {
        return unlink(path);
    }
    static char *names[LIST_MAX];
    struct stack s = {0};
    push(&s, "", path);
    size_t len = strlen(path);
    bool keep = len > 2 && strcmp(path + len - 2, "/.") == 0;
    while (s.count > 0) {
        char *top = s.paths[s.count - 1];
        long n = list_sorted(top, names, LIST_MAX);
        size_t below = s.count;
        for (long i = 0; i < n; i++) {
            char child[PATH_MAX * 2];
            snprintf(child, sizeof child, "%s/%s", top, names[i]);
            if (unlink(child) != 0 && errno == EISDIR) {
                push(&s, top, names[i]);
            }
            free(names[i]);
        }
        if (s.count == below) {
            int ret = s.count == 1 && keep ? 0 : rmdir(top);
            s.count--;
            free(top);
            if (ret != 0) {
                break;
            }
        }
    }
    while (s.count > 0) {
        free(s.paths[--s.count]);
    }
    free(s.paths);
    return 0;
}
