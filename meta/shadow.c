/* SPDX-License-Identifier: MIT */
/*
 * Links go through a descriptor of the directory that the shadow holds open; a deleted link leaves
 * its target alone. Copies are held open as well.
 */
#include "meta/shadow.h"

#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/io.h"
#include "meta/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct copy {
    char name[256];
    int fd; /* for reading and writing */
};

struct fold_shadow {
    int source;          /* the directory in the store */
    int fd;              /* the copy, -1 once it has vanished */
    struct copy *copies; /* fixed after creation */
    size_t count, cap;
    char path[4096]; /* of the copy; empty once it has vanished */
};

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

enum fold_shadow_how fold_shadow_database(void *arg, const char *name)
{
    (void)arg;
    if (has_suffix(name, ".sst"))
        return FOLD_SHADOW_LINK;
    if (strcmp(name, "CURRENT") == 0 || strncmp(name, "MANIFEST-", 9) == 0 ||
        strncmp(name, "OPTIONS-", 8) == 0)
        return FOLD_SHADOW_COPY;
    return FOLD_SHADOW_SKIP;
}

static int link_file(const struct fold_shadow *s, const char *name)
{
    char target[512];
    (void)snprintf(target, sizeof target, "/proc/self/fd/%d/%s", s->source, name);
    return symlinkat(target, s->fd, name) < 0 ? -errno : 0;
}

static int copy_file(struct fold_shadow *s, const char *name)
{
    struct copy c = {.fd = -1};
    if (snprintf(c.name, sizeof c.name, "%s", name) >= (int)sizeof c.name)
        return -ENAMETOOLONG;
    int rc = FOLD_GROW(s->copies, s->cap, s->count + 1, 8);
    if (rc == 0)
        rc = fold_io_copy(s->source, name, s->fd, name);
    if (rc == 0)
        c.fd = fold_io_open(s->fd, name, O_RDWR, 0);
    if (rc < 0 || c.fd < 0)
        return rc < 0 ? rc : c.fd;
    s->copies[s->count++] = c;
    return 0;
}

struct filling {
    struct fold_shadow *shadow;
    fold_shadow_fn fn;
    void *arg;
};

static int take_one(void *arg, const char *name)
{
    const struct filling *f = arg;
    switch (f->fn(f->arg, name)) {
    case FOLD_SHADOW_LINK:
        return link_file(f->shadow, name);
    case FOLD_SHADOW_COPY:
        return copy_file(f->shadow, name);
    default:
        return 0;
    }
}

int fold_shadow_create(int dirfd, const char *name, fold_shadow_fn fn, void *arg,
                       struct fold_shadow **out)
{
    struct fold_shadow *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    s->fd = -1;
    s->source = fold_io_open(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
    int rc = s->source < 0 ? s->source : 0;
    const char *tmp = getenv("TMPDIR");
    if (rc == 0 && snprintf(s->path, sizeof s->path, "%s/foldfs-XXXXXX",
                            tmp != NULL && tmp[0] == '/' ? tmp : "/tmp") >= (int)sizeof s->path)
        rc = -ENAMETOOLONG;
    if (rc == 0 && mkdtemp(s->path) == NULL) {
        rc = -errno;
        s->path[0] = '\0';
    }
    if (rc == 0) {
        s->fd = fold_io_open(AT_FDCWD, s->path, O_RDONLY | O_DIRECTORY, 0);
        struct filling f = {s, fn, arg};
        rc = s->fd < 0 ? s->fd : fold_io_list(s->source, take_one, &f);
    }
    if (rc < 0) {
        fold_shadow_destroy(s);
        return rc;
    }
    *out = s;
    return 0;
}

const char *fold_shadow_path(const struct fold_shadow *s)
{
    return s->path;
}

int fold_shadow_open(const struct fold_shadow *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (strcmp(s->copies[i].name, name) != 0)
            continue;
        int fd = fcntl(s->copies[i].fd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -errno : fd;
    }
    return fold_io_open(s->source, name, O_RDONLY, 0);
}

void fold_shadow_vanish(struct fold_shadow *s)
{
    if (s == NULL)
        return;
    if (s->fd >= 0) {
        if (fold_io_empty(s->fd) < 0)
            fold_warn("cannot clean up %s", s->path);
        (void)close(s->fd);
        s->fd = -1;
    }
    if (s->path[0] != '\0' && rmdir(s->path) < 0)
        fold_warn("cannot remove %s", s->path);
    s->path[0] = '\0';
}

void fold_shadow_destroy(struct fold_shadow *s)
{
    if (s == NULL)
        return;
    fold_shadow_vanish(s);
    for (size_t i = 0; i < s->count; i++)
        (void)close(s->copies[i].fd);
    free(s->copies);
    if (s->source >= 0)
        (void)close(s->source);
    free(s);
}
