/* SPDX-License-Identifier: MIT */
/*
 * Copies a database directory without its table files, which are linked symbolically through a
 * descriptor that the shadow holds open. Table files never change and a deleted link leaves its
 * target alone.
 */
#include "meta/shadow.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define COPY_MAX (256u << 20)

struct fold_shadow {
    int source; /* the database directory */
    int fd;     /* the copy */
    char path[4096];
};

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static int copy_one(void *arg, const char *name)
{
    struct fold_shadow *s = arg;
    if (has_suffix(name, ".sst")) {
        char target[512];
        (void)snprintf(target, sizeof target, "/proc/self/fd/%d/%s", s->source, name);
        return symlinkat(target, s->fd, name) < 0 ? -errno : 0;
    }
    if (strcmp(name, "CURRENT") != 0 && strncmp(name, "MANIFEST-", 9) != 0 &&
        strncmp(name, "OPTIONS-", 8) != 0)
        return 0;
    FOLD_AUTO(free) void *data = NULL;
    size_t len = 0;
    int rc = fold_io_slurp(s->source, name, COPY_MAX, &data, &len);
    if (rc < 0)
        return rc;
    FOLD_AUTO(close) int fd = fold_io_open(s->fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    return fd < 0 ? fd : fold_io_pwrite(fd, data, len, 0);
}

static int remove_one(void *arg, const char *name)
{
    struct fold_shadow *s = arg;
    return fold_io_unlink(s->fd, name);
}

int fold_shadow_create(int dirfd, const char *name, struct fold_shadow **out)
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
        rc = s->fd < 0 ? s->fd : fold_io_list(s->source, copy_one, s);
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

void fold_shadow_destroy(struct fold_shadow *s)
{
    if (s == NULL)
        return;
    if (s->fd >= 0) {
        if (fold_io_list(s->fd, remove_one, s) < 0)
            fold_warn("cannot clean up %s", s->path);
        (void)close(s->fd);
    }
    if (s->path[0] != '\0' && rmdir(s->path) < 0)
        fold_warn("cannot remove %s", s->path);
    if (s->source >= 0)
        (void)close(s->source);
    free(s);
}
