/* SPDX-License-Identifier: MIT */
/*
 * Open files: create, open, read, flush, fsync, release; fs/ops_write.c has writing. Short work is
 * done on the loop's thread; what may wait for the disk or for much data goes to the worker pool,
 * which replies.
 */
#include "fs/ops.h"

#include "fs/caller.h"
#include "fs/creation.h"
#include "fs/data.h"
#include "fs/flush.h"
#include "fs/flusher.h"
#include "fs/handle.h"
#include "fs/invalidate.h"
#include "fs/loop.h"
#include "fs/pagecache.h"
#include "fs/readahead.h"
#include "fs/readpath.h"
#include "fs/session.h"
#include "fs/space.h"
#include "fs/stamp.h"
#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/workers.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* A request that a worker may finish. */
struct task {
    struct fold_turn turn;
    fuse_req_t req;
    struct fold_session *session;
    struct fold_handle *handle; /* open until the task has replied, or owned by it (release) */
};

/* NULL if memory is short: then the request has been answered. */
static struct task *new_task(void (*fn)(void *arg), fuse_req_t req, struct fold_handle *h)
{
    struct task *t = malloc(sizeof *t);
    if (t == NULL) {
        fold_reply(req, -ENOMEM);
        return NULL;
    }
    *t = (struct task){
        .turn = {.fn = fn, .arg = t}, .req = req, .session = fold_req_session(req), .handle = h};
    return t;
}

static void defer(void (*fn)(void *arg), fuse_req_t req, struct fold_handle *h)
{
    struct task *t = new_task(fn, req, h);
    if (t != NULL && fold_workers_submit(t->session->workers, fn, t) != 0)
        fn(t);
}

/* A handle for the request; the reference on the inode moves to it on success. */
static int open_handle(struct fold_session *s, struct fold_inode *inode, struct fuse_file_info *fi,
                       bool truncate, bool kill_priv, struct fold_turn *turn)
{
    struct fold_handle *h;
    int rc = fold_handle_open(s, inode, fi->flags, truncate, kill_priv, turn, &h);
    if (rc != 0)
        return rc;
    fi->fh = (uintptr_t)h;
    fi->direct_io = h->direct;
    /* The kernel's cache is never dropped at open: a page of a write that is on its way would be
     * read again, old, and stay. But then a read may not reach us: the open counts as one. */
    fi->keep_cache = true;
    bool reads_only = (fi->flags & (O_ACCMODE | O_NOATIME)) == O_RDONLY;
    if (reads_only && !h->direct)
        fold_inode_opened_to_read(s, inode);
    return 0;
}

/* The result of opening the inode, whose reference is given up if that failed. */
static void answer_open(fuse_req_t req, struct fold_inode *inode, const struct fuse_file_info *fi,
                        int rc)
{
    struct fold_session *s = fold_req_session(req);
    fold_invalidate_attr(s, inode);
    if (rc != 0) {
        fold_itable_put(s->inodes, inode);
        fold_reply(req, rc);
    } else if (fuse_reply_open(req, fi) == -ENOENT) {
        fold_handle_close(
            s, fold_handle_of(fi)); /* the caller was interrupted: no release will come */
    }
}

/* An O_TRUNC. */
struct opening {
    struct fold_turn turn;
    fuse_req_t req;
    struct fold_inode *inode;
    struct fuse_file_info fi;
    bool kill_priv;
};

static void open_emptied(void *arg)
{
    struct opening *o = arg;
    int rc = open_handle(fold_req_session(o->req), o->inode, &o->fi, true, o->kill_priv, &o->turn);
    if (rc == FOLD_TURN_WAITS)
        return;
    answer_open(o->req, o->inode, &o->fi, rc);
    free(o);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode;
    bool writes = (fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0;
    /* The kernel may have been told to remount read-write; the store still is as it was opened. */
    int rc = writes && s->opt.read_only ? -EROFS : fold_itable_get(s->inodes, ino, &inode);
    if (rc != 0) {
        fold_reply(req, rc);
        return;
    }
    bool kill_priv = fold_raw_request.kill_priv;
    if ((fi->flags & O_TRUNC) == 0) {
        answer_open(req, inode, fi, open_handle(s, inode, fi, false, kill_priv, NULL));
        return;
    }
    struct opening *o = malloc(sizeof *o);
    if (o == NULL) {
        answer_open(req, inode, fi, -ENOMEM);
        return;
    }
    *o = (struct opening){.turn = {.fn = open_emptied, .arg = o},
                          .req = req,
                          .inode = inode,
                          .fi = *fi,
                          .kill_priv = kill_priv};
    fold_caller_modifies(req, inode, kill_priv);
    open_emptied(o);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    struct fold_session *s = fold_req_session(req);
    struct fold_inode *inode;
    if (fold_raw_request.unnamed)
        name = NULL;
    int rc = fold_create(req, parent, name, S_IFREG | (mode & 07777), 0, NULL, &inode);
    bool fresh = rc == 0;
    if (rc == -EEXIST && (fi->flags & O_EXCL) == 0)
        rc = fold_lookup(s, parent, name, &inode);
    if (rc != 0) {
        fold_reply(req, rc);
        return;
    }
    if (!S_ISREG(inode->type))
        rc = -EEXIST;
    if (fresh) {
        /* What the catalog cannot have the first flush need not ask it for. */
        struct fold_page empty = {0};
        fold_pagecache_set(s->pages, inode->ino, 0, &empty);
    }
    if (rc == 0)
        rc = open_handle(s, inode, fi, !fresh && (fi->flags & O_TRUNC) != 0,
                         fold_raw_request.kill_priv, NULL);
    fold_invalidate_attr(s, inode);
    if (rc != 0) {
        if (name == NULL)
            fold_inode_abandon(s, inode);
        fold_itable_put(s->inodes, inode);
        fold_reply(req, rc);
        return;
    }
    struct fuse_entry_param e;
    rc = fold_reply_entry_fill(s, inode, &e);
    if (rc != 0) {
        fold_handle_close(s, fold_handle_of(fi));
        fold_reply(req, rc);
        return;
    }
    if (fuse_reply_create(req, &e, fi) == -ENOENT) {
        fold_itable_forget(s->inodes, e.ino, 1);
        fold_handle_close(s, fold_handle_of(fi));
    }
}

static void reply_copied(fuse_req_t req, const struct fold_read *r)
{
    char *copy = malloc(r->len);
    int rc = copy != NULL ? fold_read_copy(r, copy) : -ENOMEM;
    if (rc == 0)
        fuse_reply_buf(req, copy, r->len);
    else
        fold_reply(req, rc);
    free(copy);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    (void)ino;
    struct fold_session *s = fold_req_session(req);
    struct fold_handle *h = fold_handle_of(fi);
    struct fold_inode *inode = h->inode;
    uint64_t run = fold_readahead_note(&h->ahead, (uint64_t)off, (uint64_t)off + size);
    struct fold_read r = {.fills = !fold_raw_request.direct,
                          .stream = run > 0 && size >= fold_knobs.stream_read_bytes};
    int rc = fold_read_collect(s, inode, (uint64_t)off, size, &r);
    if ((fi->flags & O_NOATIME) == 0)
        fold_inode_touch_atime(s, inode);
    uint64_t from = 0, len = 0;
    bool ahead = rc == 0 && r.more && r.last.kind == FOLD_EXTENT_DATA &&
                 fold_readahead_range(&h->ahead, (uint64_t)off + size, run, &from, &len);
    if (ahead)
        fold_itable_ref(s->inodes, inode); /* the handle may be gone after the reply */
    if (rc != 0)
        fold_reply(req, rc);
    else if (r.count <= fold_knobs.read_pieces)
        fuse_reply_iov(req, r.iov, (int)r.count);
    else
        reply_copied(req, &r);
    fold_read_fini(s, &r);
    if (ahead)
        fold_readahead_start(s, inode, from, len);
}

static void flush_task(void *arg)
{
    struct task *t = arg;
    int rc = fold_flush_in_turn(t->session, t->handle->inode, &t->turn);
    if (rc == FOLD_TURN_WAITS)
        return;
    fold_reply(t->req, fold_handle_error(t->handle, rc));
    free(t);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    struct fold_handle *h = fold_handle_of(fi);
    if ((h->flags & O_ACCMODE) == O_RDONLY) {
        fold_reply(req, 0);
        return;
    }
    struct task *t = new_task(flush_task, req, h);
    if (t == NULL)
        return;
    if (fold_data_pending(h->inode) <= fold_knobs.small_flush_bytes ||
        fold_workers_submit(t->session->workers, flush_task, t) != 0)
        flush_task(t);
}

static void fsync_task(void *arg)
{
    struct task *t = arg;
    int rc = fold_flush_fsync(t->session, t->handle->inode, &t->turn);
    if (rc == FOLD_TURN_WAITS)
        return;
    rc = fold_handle_error(t->handle, rc);
    atomic_fetch_sub(&t->session->fsyncs, 1);
    fold_reply(t->req, rc);
    free(t);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    (void)datasync; /* size and recipe go together: there is nothing to leave out */
    struct fold_session *s = fold_req_session(req);
    struct fold_handle *h = fold_handle_of(fi);
    /* A lone fsync is fastest right here; others must not keep the loop's threads waiting. */
    struct task *t = new_task(fsync_task, req, h);
    if (t == NULL)
        return;
    if (atomic_fetch_add(&s->fsyncs, 1) == 0 || fold_workers_submit(s->workers, fsync_task, t) != 0)
        fsync_task(t);
}

static void release_task(void *arg)
{
    struct task *t = arg;
    /* An error goes to the log and to the other handles: the flush tells them. */
    if (fold_data_dirty(t->handle->inode)) {
        if (fold_flush_in_turn(t->session, t->handle->inode, &t->turn) == FOLD_TURN_WAITS)
            return;
    }
    fold_handle_close(t->session, t->handle);
    fold_reply(t->req, 0);
    free(t);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    struct fold_session *s = fold_req_session(req);
    struct fold_handle *h = fold_handle_of(fi);
    if ((h->flags & O_ACCMODE) != O_RDONLY && fold_data_dirty(h->inode)) {
        defer(release_task, req, h);
        return;
    }
    fold_handle_close(s, h);
    fold_reply(req, 0);
}

void fold_ops_file(struct fuse_lowlevel_ops *ops)
{
    ops->open = op_open;
    ops->create = op_create;
    ops->read = op_read;
    ops->write_buf = fold_op_write_buf;
    ops->flush = op_flush;
    ops->fsync = op_fsync;
    ops->release = op_release;
}
