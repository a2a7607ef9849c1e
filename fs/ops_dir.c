/* SPDX-License-Identifier: MIT */
/*
 * Reading directories. An open directory keeps an iterator between calls; it is thrown away when
 * the reader seeks, and when entries came or went, since the kernel remembers for long what
 * readdirplus tells it. Offsets are the entries' cookies, with 1 and 2 for "." and "..".
 *
 * Entries are read some at a time; who lists a directory with attributes will mostly use the files,
 * so their inodes and first recipe pages are loaded together.
 */
#include "fs/ops.h"

#include "fs/change.h"
#include "fs/creation.h"
#include "fs/handle.h"
#include "fs/pagecache.h"
#include "fs/session.h"
#include "fs/stamp.h"
#include "meta/base/knob.h"
#include "meta/base/workers.h"
#include "meta/dentry.h"
#include "meta/inode.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#define TIMEOUT_SECONDS 3600.0

/* Entries read ahead of the reader, and room for their names. */
#define AHEAD       FOLD_PRELOAD_MAX
#define AHEAD_NAMES 8192u

struct ahead {
    unsigned next, count; /* entries [next, count) were not given out yet */
    struct fold_dentry dentries[AHEAD];
    uint16_t names[AHEAD]; /* where each name begins in `text` */
    char text[AHEAD_NAMES];
};

enum { AT_START = 0, AFTER_DOT = 1, AFTER_DOTS = 2 };

struct dirhandle {
    struct fold_open_dir open; /* first */
    struct fold_inode *inode;  /* referenced */
    bool counted;              /* in the inode's opens: it was not removed before it was opened */
    bool silent;               /* O_NOATIME */
    struct fold_lock lock;     /* rank HANDLE; guards the members below */
    struct fold_dentry_iter *iter;
    uint64_t version;    /* of the directory, when iter was opened */
    uint64_t position;   /* cookie of the last entry given out */
    struct ahead *ahead; /* read from iter; made on first use */
};

/* One reply being filled. */
struct listing {
    fuse_req_t req;
    struct fold_session *s;
    struct dirhandle *dh;
    char *buf;
    size_t size, used;
    bool plus;
};

static void close_iter(struct dirhandle *dh)
{
    fold_dentry_iter_close(dh->iter);
    dh->iter = NULL;
    if (dh->ahead != NULL)
        dh->ahead->next = dh->ahead->count = 0;
}

static void close_handle(struct fold_session *s, struct fold_open_dir *open)
{
    struct dirhandle *dh = (struct dirhandle *)open;
    fold_handles_remove_dir(s->handles, open);
    close_iter(dh);
    if (dh->counted)
        fold_inode_close(s, dh->inode);
    fold_itable_put(s->inodes, dh->inode);
    fold_lock_fini(&dh->lock);
    free(dh->ahead);
    free(dh);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode = NULL;
    struct dirhandle *dh = NULL;
    int rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc == 0 && !S_ISDIR(inode->type))
        rc = -ENOTDIR;
    if (rc == 0 && (dh = calloc(1, sizeof *dh)) == NULL)
        rc = -ENOMEM;
    if (rc < 0) {
        fold_itable_put(s->inodes, inode);
        fold_reply(req, rc);
        return;
    }
    dh->inode = inode;
    dh->counted = fold_inode_open(inode) == 0;
    dh->silent = (fi->flags & O_NOATIME) != 0;
    fold_lock_init(&dh->lock, FOLD_RANK_HANDLE, "dirhandle");
    fi->fh = (uintptr_t)dh;
    dh->open.close = close_handle;
    fold_handles_add_dir(s->handles, &dh->open);
    if (fuse_reply_open(req, fi) < 0)
        close_handle(s, &dh->open); /* the caller was interrupted: no release will come */
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fold_session *s = fold_req_session(req);
    struct dirhandle *dh = (struct dirhandle *)(uintptr_t)fi->fh;
    (void)ino;
    close_handle(s, &dh->open);
    fold_reply(req, 0);
}

/* Brings the iterator to `off` over the entries as they are now. Handle lock held. */
static int position_locked(struct fold_session *s, struct dirhandle *dh, uint64_t off)
    FOLD_REQUIRES(dh->lock)
{
    int rc = 0;
    fold_lock_take(&dh->inode->names);
    uint64_t version = dh->inode->names_version;
    if (dh->iter != NULL && (off != dh->position || version != dh->version))
        close_iter(dh);
    if (dh->iter == NULL) {
        uint64_t after = FOLD_MAX(off, (uint64_t)AFTER_DOTS);
        rc = fold_dentry_iter_open(fold_session_catalog(s), dh->inode->ino, after, &dh->iter);
        if (rc < 0)
            dh->iter = NULL;
    }
    fold_lock_drop(&dh->inode->names);
    dh->version = version;
    dh->position = off;
    return rc;
}

/* What readdirplus tells of an inode; e->ino stays 0 if nothing can be told. The caller counts the
 * lookup. */
static void fill_plus(struct fold_session *s, fold_ino ino, struct fuse_entry_param *e)
{
    struct fold_inode *inode = NULL;
    int rc = fold_itable_find(s->inodes, ino, &inode);
    if (rc == 0) {
        rc = fold_reply_entry_fill(s, inode, e);
        fold_itable_put(s->inodes, inode);
        if (rc < 0)
            e->ino = 0;
        return;
    }
    struct fold_attr attr;
    if (fold_inode_load(fold_session_catalog(s), ino, &attr) < 0 ||
        fold_itable_lookup(s->inodes, ino) < 0)
        return;
    e->ino = ino;
    e->generation = 1;
    e->entry_timeout = e->attr_timeout = TIMEOUT_SECONDS;
    fold_reply_fill(&attr, attr.mapped, &e->attr);
}

/* Appends one entry. False if it does not fit. */
static bool add(struct listing *l, const char *name, const struct fold_dentry *d)
{
    struct fuse_entry_param e = {.attr = {.st_ino = d->ino, .st_mode = DTTOIF(d->type)}};
    size_t left = l->size - l->used;
    char *at = l->buf + l->used;
    size_t need;
    if (!l->plus) {
        need = fuse_add_direntry(l->req, at, left, name, &e.attr, (off_t)d->cookie);
    } else {
        need = fuse_add_direntry_plus(l->req, NULL, 0, name, NULL, 0);
        if (need > left)
            return false;
        if (d->cookie > AFTER_DOTS)
            fill_plus(l->s, d->ino, &e);
        (void)fuse_add_direntry_plus(l->req, at, left, name, &e, (off_t)d->cookie);
    }
    if (need > left)
        return false;
    l->used += need;
    return true;
}

/* "." and "..", as far as they were not given yet. False if the reply is full. Handle lock held. */
static bool add_dots_locked(struct listing *l) FOLD_REQUIRES(l->dh->lock)
{
    struct dirhandle *dh = l->dh;
    fold_lock_take(&dh->inode->lock);
    fold_ino parent = dh->inode->attr.parent;
    fold_lock_drop(&dh->inode->lock);
    struct fold_dentry dot = {dh->inode->ino, AFTER_DOT, DT_DIR};
    struct fold_dentry dots = {dh->inode->ino == FOLD_INO_ROOT ? FOLD_INO_ROOT : parent, AFTER_DOTS,
                               DT_DIR};
    if (dh->position == AT_START) {
        if (!add(l, ".", &dot))
            return false;
        dh->position = AFTER_DOT;
    }
    if (dh->position == AFTER_DOT) {
        if (!add(l, "..", &dots))
            return false;
        dh->position = AFTER_DOTS;
    }
    return true;
}

static int by_number(const void *a, const void *b)
{
    const fold_ino *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Has the inodes and the recipes of files that were read ahead loaded. */
static void preload(struct fold_session *s, const struct ahead *a)
{
    fold_ino inos[AHEAD], files[AHEAD];
    size_t n = 0, file_count = 0;
    for (unsigned i = 0; i < a->count; i++) {
        inos[n++] = a->dentries[i].ino;
        if (a->dentries[i].type == DT_REG)
            files[file_count++] = a->dentries[i].ino;
    }
    qsort(inos, n, sizeof inos[0], by_number);
    qsort(files, file_count, sizeof files[0], by_number);
    fold_itable_preload(s->inodes, inos, n);
    fold_pagecache_preload(s->pages, files, file_count);
}

/* Reads the next entries; none at the end of the directory. Handle lock held, iterator in place. */
static int read_ahead_locked(struct listing *l) FOLD_REQUIRES(l->dh->lock)
{
    struct dirhandle *dh = l->dh;
    if (dh->ahead == NULL && (dh->ahead = malloc(sizeof *dh->ahead)) == NULL)
        return -ENOMEM;
    struct ahead *a = dh->ahead;
    size_t used = 0;
    int rc = 1;
    a->next = a->count = 0;
    while (rc > 0 && a->count < AHEAD && used + FOLD_NAME_MAX + 1 <= AHEAD_NAMES) {
        const char *name;
        size_t len;
        rc = fold_dentry_iter_next(dh->iter, &a->dentries[a->count], &name, &len);
        if (rc <= 0)
            break;
        memcpy(a->text + used, name, len + 1);
        a->names[a->count++] = (uint16_t)used;
        used += len + 1;
    }
    if (l->plus && a->count > 1)
        preload(l->s, a);
    /* An error behind the last entry comes again when these have been given out. */
    return a->count > 0 ? 0 : rc;
}

/* Handle lock held, iterator in place. */
static int fill_locked(struct listing *l) FOLD_REQUIRES(l->dh->lock)
{
    struct dirhandle *dh = l->dh;
    if (!add_dots_locked(l))
        return 0;
    for (;;) {
        if (dh->ahead == NULL || dh->ahead->next == dh->ahead->count) {
            int rc = read_ahead_locked(l);
            if (rc < 0 || dh->ahead->count == 0)
                return rc;
        }
        struct ahead *a = dh->ahead;
        const struct fold_dentry *d = &a->dentries[a->next];
        if (!add(l, a->text + a->names[a->next], d))
            return 0;
        a->next++;
        dh->position = d->cookie;
    }
}

static void list(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
    struct fold_session *s = fold_req_session(req);
    struct dirhandle *dh = (struct dirhandle *)(uintptr_t)fi->fh;
    struct listing l = {.req = req,
                        .s = s,
                        .dh = dh,
                        .size = FOLD_MIN(size, fold_knobs.dir_reply_bytes),
                        .plus = plus};
    FOLD_AUTO(free) char *buf = malloc(l.size);
    if (buf == NULL || off < 0) {
        fold_reply(req, buf == NULL ? -ENOMEM : -EINVAL);
        return;
    }
    l.buf = buf;
    fold_lock_take(&l.dh->lock);
    int rc = position_locked(s, l.dh, (uint64_t)off);
    if (rc == 0)
        rc = fill_locked(&l);
    fold_lock_drop(&l.dh->lock);
    if (off == 0 && !dh->silent)
        fold_inode_touch_atime(s, dh->inode);
    /* What was listed before an error is given out first: its lookups are counted. */
    if (rc < 0 && l.used == 0)
        fold_reply(req, rc);
    else
        (void)fuse_reply_buf(req, l.buf, l.used);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    (void)ino;
    list(req, size, off, fi, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
    (void)ino;
    list(req, size, off, fi, true);
}

struct sync_task {
    fuse_req_t req;
    fold_lsn lsn;
};

static void sync_dir(void *arg)
{
    struct sync_task *task = arg;
    struct fold_session *s = fold_req_session(task->req);
    fold_reply(task->req, fold_catalog_sync(fold_session_catalog(s), task->lsn));
    free(task);
}

/* Everything that changed a directory is committed already; only the disk may have to be waited
 * for. */
static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    struct fold_session *s = fold_req_session(req);
    fold_lsn lsn = fold_catalog_lsn(fold_session_catalog(s));
    (void)ino;
    (void)datasync;
    (void)fi;
    if (s->opt.read_only || fold_catalog_durable(fold_session_catalog(s)) >= lsn) {
        fold_reply(req, 0);
        return;
    }
    struct sync_task *task = malloc(sizeof *task);
    if (task != NULL) {
        *task = (struct sync_task){.req = req, .lsn = lsn};
        if (fold_workers_submit(s->workers, sync_dir, task) == 0)
            return;
        free(task);
    }
    fold_reply(req, fold_catalog_sync(fold_session_catalog(s), lsn));
}

void fold_ops_dir(struct fuse_lowlevel_ops *ops)
{
    ops->opendir = op_opendir;
    ops->readdir = op_readdir;
    ops->readdirplus = op_readdirplus;
    ops->releasedir = op_releasedir;
    ops->fsyncdir = op_fsyncdir;
}
