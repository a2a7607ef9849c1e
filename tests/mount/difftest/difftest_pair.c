/* SPDX-License-Identifier: MIT */
/*
 * What both sides have in common: paths to operate on, comparing outcomes and attributes, reporting
 * differences.
 *
 * Times: where an operation changed mtime or ctime of something on the reference it must have
 * changed it on the other side, and not changed it where the reference did not. A time set
 * explicitly (always years in the past here) must be equal to the nanosecond.
 */
#include "tests/mount/difftest/difftest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANCIENT 1500000000

static const char *leaf_name(struct world *w)
{
    static char longest[256];
    static const char *const names[] = {"a",
                                        "b",
                                        "c",
                                        "d",
                                        "e",
                                        "f",
                                        "name with space",
                                        "\xff\xfe\n",
                                        ".hidden",
                                        "\xc3\xbc\xe2\x82\xac"};
    if (longest[0] == 0) {
        memset(longest, 'L', 255);
    }
    uint64_t pick = dt_below(w, sizeof names / sizeof names[0] + 1);
    return pick == sizeof names / sizeof names[0] ? longest : names[pick];
}

void dt_describe(struct world *w, const char *fmt, ...)
{
    char *line = w->history[w->op % DT_HISTORY];
    int used = snprintf(line, sizeof w->history[0], "%s", w->as_user ? "(user) " : "");
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + used, sizeof w->history[0] - (size_t)used, fmt, args);
    va_end(args);
    if (w->trace) {
        fprintf(stderr, "%llu %s\n", (unsigned long long)w->op, line);
    }
}

void dt_differ(struct world *w, const char *fmt, ...)
{
    if (!w->failed) {
        uint64_t from = w->op < DT_HISTORY ? 0 : w->op - DT_HISTORY + 1;
        for (uint64_t i = from; i <= w->op; i++) {
            fprintf(stderr, "  %llu: %s\n", (unsigned long long)i, w->history[i % DT_HISTORY]);
        }
        fprintf(stderr, "DIFFERENCE at --seed %llu --ops %llu (side 0 is under test)\n",
                (unsigned long long)w->seed, (unsigned long long)w->op + 1);
    }
    w->failed = true;
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "  ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
}

void dt_path(struct world *w, char out[1024])
{
    const char *known = NULL;
    char full[PATH_MAX];
    struct stat st;
    for (int turn = 0; turn < 6; turn++) { /* mostly something that exists */
        known = w->known[dt_below(w, DT_KNOWN)];
        if (known && (lstat(dt_full(w, 1, known, full), &st) == 0 || dt_chance(w, 5))) {
            break;
        }
    }
    if (known && dt_chance(w, 75)) {
        snprintf(out, 1024, "%s", known);
        if (!dt_chance(w, 20) || strlen(out) > 600) {
            return;
        }
        size_t used = strlen(out);
        snprintf(out + used, 1024 - used, "/%s", leaf_name(w));
        return;
    }
    size_t used = 0;
    out[0] = 0;
    for (uint64_t depth = dt_below(w, 3) + 1; depth > 0; depth--) {
        used += (size_t)snprintf(out + used, 1024 - used, "%s%s", used ? "/" : "", leaf_name(w));
    }
}

void dt_remember(struct world *w, const char *path)
{
    char **slot = &w->known[dt_below(w, DT_KNOWN)];
    free(*slot);
    *slot = strdup(path);
}

const char *dt_full(const struct world *w, int side, const char *path, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/%s", w->root[side], path);
    return out;
}

bool dt_outcome(struct world *w, const long ret[DT_SIDES], const int err[DT_SIDES])
{
    bool fine = ret[0] == ret[1] && (ret[0] >= 0 || err[0] == err[1]);
    if (!fine) {
        dt_differ(w, "outcome: %ld (%s), reference: %ld (%s)", ret[0],
                  ret[0] < 0 ? strerror(err[0]) : "ok", ret[1],
                  ret[1] < 0 ? strerror(err[1]) : "ok");
    }
    return fine && ret[0] >= 0;
}

static bool time_equal(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

void dt_compare_stat(struct world *w, const char *what, const struct stat *a, const struct stat *b)
{
    if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid ||
        a->st_nlink != b->st_nlink) {
        dt_differ(w, "%s: mode %o uid %u gid %u nlink %lu, reference: %o %u %u %lu", what,
                  a->st_mode, a->st_uid, a->st_gid, (unsigned long)a->st_nlink, b->st_mode,
                  b->st_uid, b->st_gid, (unsigned long)b->st_nlink);
    }
    if (!S_ISDIR(a->st_mode) && a->st_size != b->st_size) {
        dt_differ(w, "%s: size %lld, reference: %lld", what, (long long)a->st_size,
                  (long long)b->st_size);
    }
    if ((S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode)) && a->st_rdev != b->st_rdev) {
        dt_differ(w, "%s: rdev %lx, reference: %lx", what, (unsigned long)a->st_rdev,
                  (unsigned long)b->st_rdev);
    }
    if (b->st_mtim.tv_sec < ANCIENT && !time_equal(&a->st_mtim, &b->st_mtim)) {
        dt_differ(w, "%s: mtime %lld.%09ld, reference: %lld.%09ld", what,
                  (long long)a->st_mtim.tv_sec, a->st_mtim.tv_nsec, (long long)b->st_mtim.tv_sec,
                  b->st_mtim.tv_nsec);
    }
    if (b->st_mtim.tv_sec >= ANCIENT && a->st_mtim.tv_sec < ANCIENT) {
        dt_differ(w, "%s: mtime still old, reference: new", what);
    }
    if (S_ISREG(a->st_mode) && a->st_blocks > (a->st_size >> 9) + 2 * b->st_blocks + 16) {
        dt_differ(w, "%s: %lld blocks for %lld bytes, reference: %lld blocks", what,
                  (long long)a->st_blocks, (long long)a->st_size, (long long)b->st_blocks);
    }
}

static bool watch_stat(const struct world *w, const struct watch *watch, int side, struct stat *st)
{
    char full[PATH_MAX];
    if (watch->path[0]) {
        return lstat(dt_full(w, side, watch->path, full), st) == 0;
    }
    return fstat(w->handles[watch->slot].fd[side], st) == 0;
}

void dt_watch_path(struct world *w, const char *path)
{
    for (int turn = 0; turn < 2 && w->watch_count < DT_WATCHES; turn++) {
        struct watch *watch = &w->watches[w->watch_count++];
        snprintf(watch->path, sizeof watch->path, "%s", path);
        if (turn == 1) {
            char *slash = strrchr(watch->path, '/');
            snprintf(slash ? slash : watch->path, slash ? 1 : 2, "%s", slash ? "" : ".");
        }
        for (int side = 0; side < DT_SIDES; side++) {
            watch->there[side] = watch_stat(w, watch, side, &watch->st[side]);
        }
    }
}

void dt_watch_handle(struct world *w, int slot)
{
    if (w->watch_count < DT_WATCHES) {
        struct watch *watch = &w->watches[w->watch_count++];
        watch->path[0] = 0;
        watch->slot = slot;
        for (int side = 0; side < DT_SIDES; side++) {
            watch->there[side] = watch_stat(w, watch, side, &watch->st[side]);
        }
    }
}

static void watch_times(struct world *w, const struct watch *watch, const char *what,
                        const struct stat now[DT_SIDES])
{
    bool changed[DT_SIDES][2];
    for (int side = 0; side < DT_SIDES; side++) {
        if (!watch->there[side] || watch->st[side].st_ino != now[side].st_ino) {
            return;
        }
        changed[side][0] = !time_equal(&watch->st[side].st_mtim, &now[side].st_mtim);
        changed[side][1] = !time_equal(&watch->st[side].st_ctim, &now[side].st_ctim);
    }
    for (int which = 0; which < 2; which++) {
        if (w->times && changed[0][which] != changed[1][which]) {
            dt_differ(w, "%s: %s %s, reference: %s", what, which ? "ctime" : "mtime",
                      changed[0][which] ? "changed" : "kept",
                      changed[1][which] ? "changed" : "kept");
        }
    }
}

void dt_watch_check(struct world *w)
{
    for (unsigned i = 0; i < w->watch_count && !w->failed; i++) {
        const struct watch *watch = &w->watches[i];
        struct stat now[DT_SIDES];
        bool there[DT_SIDES];
        if (!watch->path[0] && w->handles[watch->slot].fd[0] < 0) {
            continue;
        }
        for (int side = 0; side < DT_SIDES; side++) {
            there[side] = watch_stat(w, watch, side, &now[side]);
        }
        const char *what = watch->path[0] ? watch->path : "handle";
        if (there[0] != there[1]) {
            dt_differ(w, "%s: %s, reference: %s", what, there[0] ? "exists" : "missing",
                      there[1] ? "exists" : "missing");
        } else if (there[0]) {
            dt_compare_stat(w, what, &now[0], &now[1]);
            watch_times(w, watch, what, now);
        }
    }
    w->watch_count = 0;
}
