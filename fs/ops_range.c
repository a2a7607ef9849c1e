/* SPDX-License-Identifier: MIT */
/*
 * Operations on ranges of recipes: fallocate, SEEK_DATA and SEEK_HOLE, copy_file_range. Each
 * flushes the file first and then edits or reads its recipe with everybody else held off; all run
 * on the worker pool, what takes long in slices (fs/longwork.h).
 */
#include "fs/ops.h"

#include "fs/callback.h"
#include "fs/caller.h"
#include "fs/data.h"
#include "fs/edit.h"
#include "fs/freeze.h"
#include "fs/growth.h"
#include "fs/handle.h"
#include "fs/invalidate.h"
#include "fs/longwork.h"
#include "fs/pagecache.h"
#include "fs/seek.h"
#include "fs/session.h"
#include "fs/space.h"
#include "meta/base/clock.h"
#include "fs/waitroom.h"
#include "meta/base/err.h"
#include "meta/base/gate.h"
#include "meta/base/knob.h"
#include "meta/base/workers.h"

#include <errno.h>
#include <linux/falloc.h>
#include <unistd.h>

static struct fold_inode *inode_of(const struct fuse_file_info *fi)
{
    return fold_handle_of(fi)->inode;
}

struct task {
    fuse_req_t req;
    struct fold_session *session;
    struct fold_inode *inode; /* of an open handle */
    struct fold_inode *from;
    uint64_t off, from_off, len;
    int mode; /* fallocate mode, or whence */
    bool kill_priv;
    bool emptied; /* fallocate has no more to punch */
    struct fold_long work;
    struct fold_seek_state seek;
    struct fold_callback callback;
    bool waited; /* for space */
};

static void run(const struct task *init, void (*fn)(void *arg))
{
    struct task *t = malloc(sizeof *t);
    if (t == NULL) {
        fold_reply(init->req, -ENOMEM);
        return;
    }
    *t = *init;
    if (fold_workers_submit(t->session->workers, fn, t) != 0)
        fn(t);
}

/* The same for one that may take long. */
static void start(const struct task *init, bool (*step)(void *arg))
{
    struct task *t = malloc(sizeof *t);
    if (t == NULL) {
        fold_reply(init->req, -ENOMEM);
        return;
    }
    *t = *init;
    t->work = (struct fold_long){.step = step, .arg = t, .req = t->req};
    fold_long_start(t->session, &t->work);
}

/* Times and mode of a file whose content is about to change; stored with the edit that follows. */
static void touch(struct fold_inode *inode, bool kill_priv)
{
    fold_lock_take(&inode->lock);
    clock_gettime(CLOCK_REALTIME, &inode->attr.mtime);
    inode->attr.ctime = inode->attr.mtime;
    inode->attr_dirty = true;
    if (kill_priv)
        fold_data_kill_priv_locked(inode);
    fold_lock_drop(&inode->lock);
}

/* Ends an edit of a frozen file that is at least `size` bytes long afterwards. */
static int end_edit(struct fold_edit *e, uint64_t size)
{
    struct fold_inode *inode = e->inode;
    fold_lock_take(&inode->lock);
    uint64_t disk_size = FOLD_MAX(size, inode->attr.size); /* frozen: everything is stored */
    fold_lock_drop(&inode->lock);
    int rc = fold_edit_end(e, disk_size);
    if (rc == 0) {
        fold_lock_take(&inode->lock);
        inode->attr.size = disk_size;
        fold_lock_drop(&inode->lock);
    }
    return rc;
}

/* Lets every hole of [off, end), inside one page, become allocated. */
static int allocate_page(struct fold_edit *e, uint64_t off, uint64_t end)
{
    struct fold_cached_page *page;
    int rc = fold_pagecache_get(e->session->pages, e->inode->ino, off / FOLD_PAGE_BYTES, &page);
    if (rc != 0)
        return rc;
    for (uint32_t i = fold_page_find(&page->page, off); off < end; i++) {
        const struct fold_extent *x = i < page->page.count ? &page->page.extents[i] : NULL;
        uint64_t stop = x != NULL ? FOLD_MIN(end, x->off) : end;
        if (stop > off) {
            struct fold_extent hole = {
                .off = off, .len = (uint32_t)(stop - off), .kind = FOLD_EXTENT_UNWRITTEN};
            fold_edit_extent(e, &hole);
        }
        off = x != NULL ? x->off + x->len : end;
    }
    fold_cached_put(&page->cached);
    return e->rc;
}

/* One step of it, which ends at a multiple of fold_knobs.range_step_bytes or at `end`; *off is
 * where it ended. */
static int allocate_step(struct fold_session *s, struct fold_inode *inode, uint64_t *off,
                         uint64_t end, bool keep_size)
{
    uint64_t step =
        FOLD_MIN(end, *off - *off % fold_knobs.range_step_bytes + fold_knobs.range_step_bytes);
    struct fold_edit e;
    fold_edit_begin(&e, s, inode);
    while (e.rc == 0 && *off < step) {
        uint64_t page_end = FOLD_MIN(step, *off - *off % FOLD_PAGE_BYTES + FOLD_PAGE_BYTES);
        e.rc = allocate_page(&e, *off, page_end);
        *off = page_end;
    }
    return end_edit(&e, keep_size ? 0 : step);
}

/* Empties [*off, end) up to fold_knobs.punch_step_bytes behind the first stored page; *off is where
 * that ended. */
static int punch_step(const struct task *t, uint64_t *off, uint64_t end)
{
    uint64_t found = 0, step = end;
    int rc = fold_recipe_next(fold_session_catalog(t->session), t->inode->ino,
                              *off / FOLD_PAGE_BYTES, &found);
    if (rc != 0 && rc != -ENOENT)
        return rc;
    if (rc == 0)
        step = FOLD_MIN(end, (found + 1) * (uint64_t)FOLD_PAGE_BYTES + fold_knobs.punch_step_bytes);
    struct fold_edit e;
    touch(t->inode, t->kill_priv);
    fold_edit_begin(&e, t->session, t->inode);
    fold_edit_punch(&e, *off, step - *off);
    *off = step;
    return end_edit(&e, 0);
}

/* The next step: of emptying, then of allocating. The file is frozen once for each: others get
 * their turn in between. */
static int fallocate_step(struct task *t, uint64_t end)
{
    bool empty = !t->emptied;
    int rc = fold_inode_freeze(t->session, t->inode);
    if (rc != 0)
        return rc;
    if (empty) {
        rc = punch_step(t, &t->off, end);
    } else {
        touch(t->inode, t->kill_priv);
        rc =
            allocate_step(t->session, t->inode, &t->off, end, (t->mode & FALLOC_FL_KEEP_SIZE) != 0);
    }
    fold_inode_thaw(t->session, t->inode);
    return rc;
}

static bool fallocate_work(void *arg)
{
    struct task *t = arg;
    uint64_t end = t->from_off + t->len; /* it began at `from_off` */
    int rc = 0;
    for (;;) {
        if (t->off >= end && !t->emptied && (t->mode & FALLOC_FL_PUNCH_HOLE) == 0) {
            t->emptied = true;
            t->off = t->from_off;
        }
        if (rc != 0 || t->off >= end)
            break;
        bool given_up = t->work.queued && fold_long_interrupted(&t->work);
        rc = given_up ? -EINTR : fallocate_step(t, end);
        if (rc == 0 && t->off < end && fold_long_due(&t->work))
            return false;
    }
    fold_invalidate_attr(t->session, t->inode);
    fold_reply(t->req, rc);
    free(t);
    return true;
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                         struct fuse_file_info *fi)
{
    (void)ino;
    static const int known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
    struct fold_session *s = fold_req_session(req);
    int rc = 0;
    if (off < 0 || len <= 0)
        rc = -EINVAL;
    else if ((mode & ~known) != 0)
        rc = -EOPNOTSUPP;
    else if (off > FOLD_FILE_MAX - len)
        rc = -EFBIG;
    else if ((mode & FALLOC_FL_PUNCH_HOLE) == 0)
        rc = fold_space_admit(s, (uint64_t)len);
    else
        rc = fold_space_admit_freeing(s, FOLD_SPACE_NAME_BYTES);
    if (rc != 0) {
        fold_reply(req, rc);
        return;
    }
    struct task t = {
        .req = req,
        .session = s,
        .inode = inode_of(fi),
        .off = (uint64_t)off,
        .from_off = (uint64_t)off,
        .len = (uint64_t)len,
        .mode = mode,
        .kill_priv = fuse_req_ctx(req)->uid != 0,
        .emptied = (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0,
    };
    fold_caller_modifies(req, t.inode, t.kill_priv);
    start(&t, fallocate_work);
}

static bool lseek_work(void *arg)
{
    struct task *t = arg;
    uint64_t found = 0;
    bool data = t->mode == SEEK_DATA;
    int rc = fold_seek(t->session, t->inode, t->off, data, &t->work, &t->seek, &found);
    bool given_up = rc == FOLD_SEEK_MORE && fold_long_interrupted(&t->work);
    if (rc == FOLD_SEEK_MORE && !given_up)
        return false;
    if (rc == FOLD_SEEK_ASK) {
        t->callback.off = t->seek.ask;
        t->callback.len = t->seek.stop - t->seek.ask;
        if (fold_callback_begin(t->session, &t->callback))
            return true;
    }
    if (rc > 0) /* nobody expects a seek to be interrupted */
        rc = fold_seek_all_data(t->inode, t->off, data, &found);
    if (rc != 0)
        fold_reply(t->req, rc);
    else
        fuse_reply_lseek(t->req, (off_t)found);
    free(t);
    return true;
}

static void lseek_start(void *arg)
{
    struct task *t = arg;
    fold_long_start(t->session, &t->work);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                     struct fuse_file_info *fi)
{
    (void)ino;
    if ((whence != SEEK_DATA && whence != SEEK_HOLE) || off < 0) {
        fold_reply(req, off < 0 ? -ENXIO : -EINVAL);
        return;
    }
    struct task *t = malloc(sizeof *t);
    if (t == NULL) {
        fold_reply(req, -ENOMEM);
        return;
    }
    *t = (struct task){.req = req,
                       .session = fold_req_session(req),
                       .inode = inode_of(fi),
                       .off = (uint64_t)off,
                       .mode = whence};
    t->callback = (struct fold_callback){
        .fn = lseek_start, .arg = t, .inode = t->inode, .unique = fold_raw_request.unique};
    t->work = (struct fold_long){.step = lseek_work, .arg = t, .req = req};
    lseek_start(t);
}

/* Copies the extents of one source page that lie in [from, end) to where `delta` moves them. */
static int share_page(struct fold_edit *e, const struct fold_inode *from, uint64_t off,
                      uint64_t end, uint64_t delta)
{
    struct fold_cached_page *page;
    int rc = fold_pagecache_get(e->session->pages, from->ino, off / FOLD_PAGE_BYTES, &page);
    if (rc != 0)
        return rc;
    for (uint32_t i = fold_page_find(&page->page, off); e->rc == 0 && i < page->page.count; i++) {
        struct fold_extent part;
        if (!fold_extent_slice(&page->page.extents[i], off, end - off, &part))
            break;
        if (part.kind != FOLD_EXTENT_DATA)
            continue;
        part.off += delta; /* modulo 2^64: may move backwards */
        fold_edit_extent(e, &part);
    }
    fold_cached_put(&page->cached);
    return e->rc;
}

/* Copies *len bytes, or less if that takes long: callers go on by themselves. */
static int share(struct task *t, uint64_t *len)
{
    uint64_t until_ms = fold_clock_ms() + fold_knobs.long_slice_ms;
    uint64_t delta = t->off - t->from_off;
    uint64_t at = t->from_off, end = t->from_off + *len;
    int rc = 0;
    while (rc == 0 && at < end && (at == t->from_off || fold_clock_ms() < until_ms)) {
        uint64_t step =
            FOLD_MIN(end, at - at % fold_knobs.range_step_bytes + fold_knobs.range_step_bytes);
        struct fold_edit e;
        fold_edit_begin(&e, t->session, t->inode);
        fold_edit_punch(&e, at + delta, step - at);
        while (e.rc == 0 && at < step) {
            uint64_t page_end = FOLD_MIN(step, at - at % FOLD_PAGE_BYTES + FOLD_PAGE_BYTES);
            e.rc = share_page(&e, t->from, at, page_end, delta);
            at = page_end;
        }
        rc = end_edit(&e, step + delta);
    }
    *len = at - t->from_off;
    return rc;
}

static void copy_task(void *arg);

static void copy_again(void *arg)
{
    struct task *t = arg;
    if (fold_workers_submit(t->session->workers, copy_task, t) != 0)
        copy_task(t);
}

/* Sharing costs no data, but an entry for each chunk. True: it waits for space, and is called
 * again. Nothing is locked. */
static bool wait_for_space(struct task *t, uint64_t bytes)
{
    struct fold_waitroom *room = t->session->waitroom;
    if (t->waited || !fold_waitroom_advises(room, bytes))
        return false;
    t->waited = true;
    return fold_waitroom_enter(room, bytes, copy_again, t);
}

static void copy_task(void *arg)
{
    struct task *t = arg;
    uint64_t len = 0;
    int rc = fold_inode_freeze2(t->session, t->from, t->inode);
    if (rc == 0) {
        unsigned token = fold_gate_enter(t->session->gate);
        fold_lock_take(&t->from->lock);
        uint64_t size = t->from->attr.size;
        fold_lock_drop(&t->from->lock);
        len = t->from_off < size ? FOLD_MIN(t->len, size - t->from_off) : 0;
        if (len > FOLD_FILE_MAX - t->off)
            rc = -EFBIG;
        else if (t->from == t->inode && t->from_off < t->off + len && t->off < t->from_off + len)
            rc = -EINVAL;
        if (rc == 0 && len > 0)
            rc = fold_space_admit(t->session, fold_growth_of_copy(len));
        if (rc == 0 && len > 0) {
            touch(t->inode, t->kill_priv);
            rc = share(t, &len);
        }
        fold_gate_leave(t->session->gate, token);
        fold_inode_thaw2(t->session, t->from, t->inode);
    }
    if (rc == -ENOSPC && wait_for_space(t, fold_growth_of_copy(len)))
        return;
    fold_invalidate_attr(t->session, t->inode);
    if (rc != 0)
        fold_reply(t->req, rc);
    else
        fuse_reply_write(t->req, len);
    free(t);
}

static void op_copy(fuse_req_t req, fuse_ino_t ino_in, off_t off_in, struct fuse_file_info *fi_in,
                    fuse_ino_t ino_out, off_t off_out, struct fuse_file_info *fi_out, size_t len,
                    int flags)
{
    (void)ino_in;
    (void)ino_out;
    if (flags != 0 || off_in < 0 || off_out < 0) {
        fold_reply(req, -EINVAL);
        return;
    }
    struct task t = {.req = req,
                     .session = fold_req_session(req),
                     .inode = inode_of(fi_out),
                     .from = inode_of(fi_in),
                     .off = (uint64_t)off_out,
                     .from_off = (uint64_t)off_in,
                     .len = FOLD_MIN((uint64_t)len, fold_knobs.copy_bytes),
                     .kill_priv = fuse_req_ctx(req)->uid != 0};
    fold_caller_modifies(req, t.inode, t.kill_priv);
    run(&t, copy_task);
}

void fold_ops_range(struct fuse_lowlevel_ops *ops)
{
    ops->fallocate = op_fallocate;
    ops->lseek = op_lseek;
    ops->copy_file_range = op_copy;
}
