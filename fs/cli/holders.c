/* SPDX-License-Identifier: MIT */
/*
 * A walk over /proc. The mountinfo of a process shows only what lies below its root, so one that
 * lives in a chroot may hold a copy that it does not show: its namespace is entered by a child of
 * ours, which then looks from the root of that namespace.
 */
#include "fs/cli/holders.h"

#include "fs/cli/mounts.h"
#include "fs/cli/patient.h"
#include "meta/base/grow.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* For one look into another mount namespace. */
#define ENTER_WAIT_S 5

struct walk {
    dev_t dev;
    int proc;         /* /proc, as it is in our namespace */
    uint64_t *spaces; /* mount namespaces that were looked into */
    size_t count, cap;
};

/* What the link `path` below /proc/PID leads to, without asking the filesystem it lies on. */
static bool on_device(const struct walk *w, const char *path)
{
    struct statx st;
    return statx(w->proc, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) == 0 &&
           makedev(st.stx_dev_major, st.stx_dev_minor) == w->dev;
}

static bool has_open_file(const struct walk *w, long pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%ld/fd", pid);
    int fd = openat(w->proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    bool found = false;
    for (struct dirent *e; dir != NULL && !found && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%ld/fd/%.20s", pid, e->d_name);
        found = on_device(w, path);
    }
    if (dir != NULL)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return found;
}

/* A line of maps: FROM-TO FLAGS OFFSET MAJOR:MINOR INODE PATH. */
static bool has_mapping(const struct walk *w, long pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%ld/maps", pid);
    int fd = openat(w->proc, path, O_RDONLY | O_CLOEXEC);
    FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (in != NULL && !found && getline(&line, &size, in) > 0) {
        unsigned high, low;
        found = sscanf(line, "%*s %*s %*s %x:%x", &high, &low) == 2 && makedev(high, low) == w->dev;
    }
    free(line);
    if (in != NULL)
        fclose(in);
    else if (fd >= 0)
        close(fd);
    return found;
}

struct look {
    const struct walk *walk;
    int space; /* the mount namespace */
};

/* In a child: 0 if the namespace has the filesystem mounted. */
static int look_inside(void *arg)
{
    const struct look *l = arg;
    char *point;
    if (setns(l->space, CLONE_NEWNS) != 0)
        return -errno;
    return fold_mounts_place(l->walk->proc, "self/mountinfo", l->walk->dev, &point);
}

/* True the first time a namespace other than ours is seen. */
static bool is_new(struct walk *w, uint64_t space)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->spaces[i] == space)
            return false;
    if (FOLD_GROW(w->spaces, w->cap, w->count + 1, 16) == 0)
        w->spaces[w->count++] = space;
    return true;
}

static bool in_namespace(struct walk *w, long pid)
{
    char path[64];
    char *point = NULL;
    struct stat st;
    (void)snprintf(path, sizeof path, "%ld/ns/mnt", pid);
    struct look l = {w, openat(w->proc, path, O_RDONLY | O_CLOEXEC)};
    if (l.space < 0)
        return false;
    bool found = false;
    if (fstat(l.space, &st) == 0 && is_new(w, st.st_ino)) {
        (void)snprintf(path, sizeof path, "%ld/mountinfo", pid);
        found = fold_mounts_place(w->proc, path, w->dev, &point) == 0;
        free(point);
        if (!found)
            found = fold_patient_call(look_inside, &l, ENTER_WAIT_S, NULL, NULL) == 0;
    }
    close(l.space);
    return found;
}

/* How the process holds the filesystem, or NULL. */
static const char *hold_of(struct walk *w, long pid)
{
    static const struct {
        const char *link, *how;
    } links[] = {{"root", "its root directory"},
                 {"cwd", "its working directory"},
                 {"exe", "the program it runs"}};
    char path[64];
    for (size_t i = 0; i < FOLD_ARRAY_LEN(links); i++) {
        (void)snprintf(path, sizeof path, "%ld/%s", pid, links[i].link);
        if (on_device(w, path))
            return links[i].how;
    }
    if (has_open_file(w, pid))
        return "an open file";
    if (has_mapping(w, pid))
        return "a mapped file";
    return in_namespace(w, pid) ? "its mount namespace" : NULL;
}

static void name_process(const struct walk *w, long pid, struct fold_holder *out)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%ld/comm", pid);
    FOLD_AUTO(close) int fd = openat(w->proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out->name, sizeof out->name - 1) : 0;
    out->name[n > 0 ? n : 0] = '\0';
    out->name[strcspn(out->name, "\n")] = '\0';
}

static int walk_processes(struct walk *w, struct fold_holder *out)
{
    int fd = fcntl(w->proc, F_DUPFD_CLOEXEC, 0);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    for (struct dirent *e; out->how == NULL && (e = readdir(dir)) != NULL;) {
        char *end;
        long pid = strtol(e->d_name, &end, 10);
        if (*end != '\0' || pid <= 0 || pid == getpid())
            continue;
        out->how = hold_of(w, pid);
        if (out->how != NULL) {
            out->pid = (pid_t)pid;
            name_process(w, pid, out);
        }
    }
    closedir(dir);
    return out->how != NULL ? 0 : -ENOENT;
}

int fold_holders_find(dev_t dev, struct fold_holder *out)
{
    struct walk w = {.dev = dev, .proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    struct stat own;
    *out = (struct fold_holder){.pid = 0};
    if (w.proc < 0)
        return -errno;
    int rc = fold_mounts_place(w.proc, "self/mountinfo", dev, &out->point);
    if (rc == 0)
        out->how = "another mount";
    if (rc == -ENOENT) {
        if (fstatat(w.proc, "self/ns/mnt", &own, 0) == 0)
            (void)is_new(&w, own.st_ino);
        rc = walk_processes(&w, out);
    }
    free(w.spaces);
    close(w.proc);
    return rc;
}

void fold_holder_describe(const struct fold_holder *h, char *text, size_t size)
{
    if (h->pid == 0)
        (void)snprintf(text, size, "another mount of it on '%s'", h->point);
    else
        (void)snprintf(text, size, "process %ld (%s) by %s", (long)h->pid, h->name, h->how);
}

void fold_holder_free(struct fold_holder *h)
{
    free(h->point);
    *h = (struct fold_holder){.pid = 0};
}
