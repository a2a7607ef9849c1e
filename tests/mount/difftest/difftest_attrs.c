/* SPDX-License-Identifier: MIT */
/*
 * Operations on attributes: modes, owners, times, extended attributes, access control lists.
 */
#include "tests/mount/difftest/difftest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Runs `expr` on both sides: on `full` by path, or on descriptor `fd` where a slot is given. */
#define BOTH(expr)                                                                                 \
    DT_BOTH(char full[PATH_MAX]; int fd = slot >= 0 ? w->handles[slot].fd[side] : -1; (void)fd;    \
            dt_full(w, side, path, full), expr)

/* A handle (its slot is returned) or a path (-1). */
static int any_target(struct world *w, char path[1024])
{
    int slot = dt_chance(w, 30) ? dt_handle_pick(w) : -1;
    path[0] = 0;
    if (slot >= 0) {
        dt_watch_handle(w, slot);
    } else {
        dt_path(w, path);
        dt_watch_path(w, path);
    }
    return slot;
}

void dt_op_chmod(struct world *w)
{
    char path[1024];
    int slot = any_target(w, path);
    mode_t mode = (mode_t)dt_below(w, 07777 + 1) | (dt_chance(w, 70) ? 0700 : 0);
    dt_describe(w, "chmod h%d %s %o", slot, path, mode);
    BOTH(slot >= 0 ? fchmod(fd, mode) : chmod(full, mode));
    (void)fine;
}

void dt_op_chown(struct world *w)
{
    static const unsigned ids[] = {0, 1000, 1000, 100, 2000, (unsigned)-1};
    char path[1024];
    int slot = any_target(w, path);
    uid_t uid = ids[dt_below(w, 6)];
    gid_t gid = ids[dt_below(w, 6)];
    bool follow = dt_chance(w, 50);
    /* Where set-id bits are to go, the kernel's request for this is the one it sends before a write
     * by the same user: FUSE cannot refuse the one and grant the other. */
    if (slot >= 0 && uid == (uid_t)-1 && gid == (gid_t)-1)
        gid = ids[0];
    dt_describe(w, "%s h%d %s %d:%d", follow ? "chown" : "lchown", slot, path, (int)uid, (int)gid);
    BOTH(slot >= 0 ? fchown(fd, uid, gid)
         : follow  ? chown(full, uid, gid)
                   : lchown(full, uid, gid));
    (void)fine;
}

static struct timespec any_time(struct world *w)
{
    struct timespec t = {(time_t)dt_below(w, 1400000000), (long)dt_below(w, 1000000000)};
    uint64_t kind = dt_below(w, 10);
    if (kind == 0) {
        t.tv_nsec = UTIME_NOW;
    } else if (kind == 1) {
        t.tv_nsec = UTIME_OMIT;
    }
    return t;
}

void dt_op_utimens(struct world *w)
{
    char path[1024];
    int slot = any_target(w, path);
    struct timespec times[2] = {any_time(w), any_time(w)};
    int flags = dt_chance(w, 50) ? AT_SYMLINK_NOFOLLOW : 0;
    dt_describe(w, "utimens h%d %s %lld.%ld %lld.%ld", slot, path, (long long)times[0].tv_sec,
                times[0].tv_nsec, (long long)times[1].tv_sec, times[1].tv_nsec);
    bool nothing = times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT;
    const struct timespec *arg = dt_chance(w, 5) && !nothing ? NULL : times;
    BOTH(slot >= 0 ? futimens(fd, arg) : utimensat(AT_FDCWD, full, arg, flags));
    if (fine && arg && slot < 0 && flags && times[0].tv_nsec < 1000000000) {
        struct stat st;
        char full[PATH_MAX];
        if (lstat(dt_full(w, 0, path, full), &st) == 0 &&
            (st.st_atim.tv_sec != times[0].tv_sec || st.st_atim.tv_nsec != times[0].tv_nsec)) {
            dt_differ(w, "atime is %lld.%09ld", (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec);
        }
    }
}

void dt_op_xattr(struct world *w)
{
    static const char *const names[] = {"user.a",        "user.b",      "user.name with space",
                                        "user.\xc3\xa9", "trusted.one", "trusted.overlay.x",
                                        "security.test", "nospace.x",   "user."};
    char path[1024];
    int slot = any_target(w, path);
    const char *name = names[dt_below(w, sizeof names / sizeof names[0])];
    size_t len = (size_t)dt_below(w, dt_chance(w, 80) ? 40 : 250);
    int flags = (int)dt_below(w, 8);
    flags = flags > XATTR_REPLACE ? 0 : flags;
    unsigned kind = (unsigned)dt_below(w, 10);
    dt_describe(w, "%s h%d %s %s len %zu flags %d",
                kind < 6   ? "setxattr"
                : kind < 8 ? "removexattr"
                           : "getxattr",
                slot, path, name, len, flags);
    dt_content(w, len);
    if (kind < 6) {
        BOTH(slot >= 0 ? fsetxattr(fd, name, w->content, len, flags)
                       : lsetxattr(full, name, w->content, len, flags));
        (void)fine;
    } else if (kind < 8) {
        BOTH(slot >= 0 ? fremovexattr(fd, name) : lremovexattr(full, name));
        (void)fine;
    } else {
        BOTH(slot >= 0 ? fgetxattr(fd, name, w->buf[side], len)
                       : lgetxattr(full, name, w->buf[side], len));
        if (fine && len > 0 && memcmp(w->buf[0], w->buf[1], (size_t)ret[0]) != 0) {
            dt_differ(w, "xattr %s differs", name);
        }
    }
    if (slot < 0) {
        dt_xattr_compare(w, path);
    }
}

struct acl_entry {
    uint16_t tag;
    uint16_t perm;
    uint32_t id;
};

/* A list in the form of system.posix_acl_access; now and then an invalid one. Returns its length in
 * bytes. */
static size_t any_acl(struct world *w, uint8_t *out)
{
    struct acl_entry entries[16];
    size_t n = 0;
    uint32_t none = UINT32_MAX;
    unsigned users = (unsigned)dt_below(w, 3);
    unsigned groups = (unsigned)dt_below(w, 3);
    entries[n++] = (struct acl_entry){1, (uint16_t)dt_below(w, 8), none};
    for (unsigned i = 0; i < users; i++) {
        entries[n++] = (struct acl_entry){2, (uint16_t)dt_below(w, 8), 1000 + i * 500};
    }
    entries[n++] = (struct acl_entry){4, (uint16_t)dt_below(w, 8), none};
    for (unsigned i = 0; i < groups; i++) {
        entries[n++] = (struct acl_entry){8, (uint16_t)dt_below(w, 8), 100 + i * 900};
    }
    if (users + groups > 0 ? !dt_chance(w, 5) : dt_chance(w, 20)) {
        entries[n++] = (struct acl_entry){16, (uint16_t)dt_below(w, 8), none};
    }
    entries[n++] = (struct acl_entry){32, (uint16_t)dt_below(w, 8), none};
    uint32_t version = 2;
    memcpy(out, &version, 4);
    memcpy(out + 4, entries, n * sizeof entries[0]);
    return 4 + n * sizeof entries[0];
}

void dt_op_acl(struct world *w)
{
    char path[1024];
    int slot = -1;
    dt_path(w, path);
    dt_watch_path(w, path);
    const char *name = dt_chance(w, 50) ? "system.posix_acl_access" : "system.posix_acl_default";
    if (dt_chance(w, 20)) {
        dt_describe(w, "remove acl %s %s", name, path);
        BOTH(removexattr(full, name));
        (void)fine;
    } else {
        size_t len = any_acl(w, w->content);
        dt_describe(w, "set acl %s %s, %zu entries", name, path, (len - 4) / 8);
        BOTH(setxattr(full, name, w->content, len, 0));
        (void)fine;
    }
    dt_xattr_compare(w, path);
}

void dt_op_access(struct world *w)
{
    char path[1024];
    int slot = -1;
    dt_path(w, path);
    int mode = (int)dt_below(w, 8);
    dt_describe(w, "access %s %d", path, mode);
    BOTH(faccessat(AT_FDCWD, full, mode, AT_EACCESS));
    (void)fine;
}
