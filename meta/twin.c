/* SPDX-License-Identifier: MIT */
/*
 * On a host that cannot exchange two names, the old directory steps aside (NAME.old) before the
 * twin takes its place. If that stops in between, the old one steps back: whether the twin was
 * whole need not be known, as what made it can be done again.
 */
#include "meta/twin.h"

#include "meta/base/io.h"
#include "meta/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define NEW ".new"
#define OLD ".old"

static struct fold_twin_name join(const char *name, const char *suffix)
{
    struct fold_twin_name n;
    (void)snprintf(n.text, sizeof n.text, "%.50s%s", name, suffix);
    return n;
}

/* Removes a directory and what is in it, if there is one. */
static int remove_tree(int dirfd, const char *name)
{
    FOLD_AUTO(close) int fd = fold_io_open(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int rc = fold_io_empty(fd);
    return rc < 0 ? rc : fold_io_rmdir(dirfd, name);
}

static int is_there(int storefd, const char *name)
{
    FOLD_AUTO(close) int fd = fold_io_open(storefd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOENT)
        return 0;
    return fd < 0 ? fd : 1;
}

int fold_twin_clean(int storefd, const char *name)
{
    struct fold_twin_name old = join(name, OLD), twin = join(name, NEW);
    int there = is_there(storefd, name);
    if (there < 0)
        return there;
    if (there == 0) {
        int rc = fold_io_rename(storefd, old.text, name);
        if (rc == 0)
            fold_warn("store: %s was on its way to be replaced; it is put back", name);
        if (rc == 0)
            rc = fold_io_fsync(storefd);
        if (rc < 0 && rc != -ENOENT)
            return rc;
    }
    int rc = remove_tree(storefd, twin.text);
    return rc < 0 ? rc : remove_tree(storefd, old.text);
}

struct filling {
    int from, to;
    fold_twin_fn wanted;
    size_t count;
};

static int take_one(void *arg, const char *name)
{
    struct filling *f = arg;
    if (!f->wanted(name))
        return 0;
    f->count++;
    int rc = fold_io_link(f->from, name, f->to, name);
    if (rc == -EPERM || rc == -EOPNOTSUPP || rc == -EMLINK || rc == -ENOSYS)
        rc = fold_io_copy(f->from, name, f->to, name);
    return rc;
}

int fold_twin_create(int storefd, const char *name, fold_twin_fn wanted,
                     struct fold_twin_name *twin, size_t *count)
{
    *twin = join(name, NEW);
    int rc = fold_twin_clean(storefd, name);
    if (rc < 0)
        return rc;
    FOLD_AUTO(close) int from = fold_io_open(storefd, name, O_RDONLY | O_DIRECTORY, 0);
    if (from < 0)
        return from;
    rc = fold_io_mkdir(storefd, twin->text, 0700);
    if (rc < 0)
        return rc;
    FOLD_AUTO(close) int to = fold_io_open(storefd, twin->text, O_RDONLY | O_DIRECTORY, 0);
    if (to < 0)
        return to;
    struct filling f = {from, to, wanted, 0};
    rc = fold_io_list(from, take_one, &f);
    *count = f.count;
    return rc < 0 ? rc : fold_io_fsync(to);
}

static int sync_one(void *arg, const char *name)
{
    const int *dirfd = arg;
    FOLD_AUTO(close) int fd = fold_io_open(*dirfd, name, O_RDONLY, 0);
    return fd < 0 ? fd : fold_io_fsync(fd);
}

static int sync_all(int storefd, const char *name)
{
    FOLD_AUTO(close) int fd = fold_io_open(storefd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return fd;
    int rc = fold_io_list(fd, sync_one, &fd);
    return rc < 0 ? rc : fold_io_fsync(fd);
}

static int step_aside(int storefd, const char *name, const char *twin)
{
    struct fold_twin_name old = join(name, OLD);
    int rc = fold_io_rename(storefd, name, old.text);
    if (rc == 0)
        rc = fold_io_fsync(storefd);
    return rc < 0 ? rc : fold_io_rename(storefd, twin, name);
}

int fold_twin_swap(int storefd, const char *name)
{
    struct fold_twin_name twin = join(name, NEW);
    int rc = sync_all(storefd, twin.text);
    if (rc < 0)
        return rc;
    rc = fold_io_exchange(storefd, twin.text, name);
    if (rc == -EINVAL || rc == -ENOSYS)
        rc = step_aside(storefd, name, twin.text);
    if (rc == 0)
        rc = fold_io_fsync(storefd);
    return rc < 0 ? rc : fold_twin_clean(storefd, name);
}
