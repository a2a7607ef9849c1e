/* SPDX-License-Identifier: MIT */
/*
 * Writing. A write goes into the dirty list and is answered where it arrives, with two exceptions:
 * a synchronous one is stored on the worker pool first, and a direct one beside pages in the
 * kernel's cache waits until the kernel has dropped them (fs/direct.h).
 */
#include "fs/ops.h"

#include "fs/budget.h"
#include "fs/callback.h"
#include "fs/caller.h"
#include "fs/data.h"
#include "fs/direct.h"
#include "fs/flush.h"
#include "fs/flusher.h"
#include "fs/handle.h"
#include "fs/invalidate.h"
#include "fs/loop.h"
#include "fs/session.h"
#include "fs/space.h"
#include "meta/base/knob.h"
#include "meta/base/workers.h"

#include <errno.h>
#include <fcntl.h>

/* A write that is not answered at once. */
struct task {
    struct fold_turn turn;
    fuse_req_t req;
    struct fold_session *session;
    struct fold_handle *handle; /* open until the reply */
    struct fold_inode *inode;   /* of a guarded write: with a reference; else NULL */
    size_t count;
    bool sync;
    bool late; /* the guard outlives the reply */
    struct fold_direct guard;
    struct fold_callback callback;
};

static void begin_waiting(struct task *t, uint64_t unique);

/* After the reply. */
static void end_task(struct task *t)
{
    if (t->late) {
        begin_waiting(t, 0);
        return;
    }
    fold_itable_put(t->session->inodes, t->inode);
    free(t);
}

static void sync_task(void *arg)
{
    struct task *t = arg;
    struct fold_handle *h = t->handle;
    int rc = fold_flush_fsync(t->session, h->inode, &t->turn);
    if (rc == FOLD_TURN_WAITS)
        return;
    /* Somebody else may have tried to store these very bytes, in vain. */
    rc = fold_handle_error(h, rc);
    if (rc != 0)
        fold_reply(t->req, rc);
    else
        fuse_reply_write(t->req, t->count);
    end_task(t);
}

/* The bytes are where they belong; what is left is to store them, if that is wanted, and to reply.
 */
static void answer(struct task *t)
{
    if (!t->sync) {
        fold_budget_reply_write(t->session->budget, t->req, t->count);
        end_task(t);
    } else if (fold_workers_submit(t->session->workers, sync_task, t) != 0) {
        sync_task(t);
    }
}

/* The kernel has nothing old of the range any more. */
static void stop_guarding(void *arg)
{
    struct task *t = arg;
    fold_direct_leave(t->inode, &t->guard);
    if (t->late) {
        t->late = false;
        end_task(t);
    } else {
        answer(t);
    }
}

/*
 * Waits for the kernel. Where too many requests do already, the write is answered first: then a
 * mapping may show the old bytes for a moment longer, but nothing that was written is lost.
 */
static void begin_waiting(struct task *t, uint64_t unique)
{
    t->callback = (struct fold_callback){.fn = stop_guarding,
                                         .arg = t,
                                         .quick = true,
                                         .inode = t->inode,
                                         .off = t->guard.off,
                                         .len = t->guard.end - t->guard.off,
                                         .unique = unique};
    if (fold_callback_begin(t->session, &t->callback))
        return;
    if (t->late) { /* short of memory */
        stop_guarding(t);
        return;
    }
    t->late = true;
    answer(t);
}

static struct task *new_task(fuse_req_t req, struct fold_handle *h, size_t count, bool sync)
{
    struct task *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->turn = (struct fold_turn){.fn = sync_task, .arg = t};
    t->req = req;
    t->session = fold_req_session(req);
    t->handle = h;
    t->count = count;
    t->sync = sync;
    return t;
}

/* Puts the bytes into the dirty list. *guarded: the write has to wait for the kernel. */
static int take(struct task **guarded, fuse_req_t req, struct fold_handle *h, struct fold_write *w,
                bool sync, uint64_t *dirty)
{
    struct fold_session *s = fold_req_session(req);
    int rc = fold_data_write(s, h->inode, w, dirty);
    if (FOLD_LIKELY(rc != FOLD_WRITE_GUARD))
        return rc;
    struct task *t = w->len <= FOLD_DIRECT_MOST ? new_task(req, h, w->len, sync) : NULL;
    if (t == NULL)
        return -ENOMEM;
    t->guard.off = w->off;
    t->guard.end = w->off + w->len;
    w->guard = &t->guard;
    rc = fold_data_write(s, h->inode, w, dirty);
    if (rc != 0) {
        free(t);
        return rc;
    }
    t->inode = h->inode;
    fold_itable_ref(s->inodes, t->inode);
    *guarded = t;
    return 0;
}

void fold_op_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t off,
                       struct fuse_file_info *fi)
{
    (void)ino;
    struct fold_session *s = fold_req_session(req);
    struct fold_handle *h = fold_handle_of(fi);
    const struct fuse_buf *b = &in->buf[0];
    uint64_t dirty = 0, unique = fold_raw_request.unique;
    struct fold_write w = {.off = (uint64_t)off,
                           .kill_priv = fold_raw_request.kill_priv,
                           .mapped = fi->writepage,
                           .direct = fold_raw_request.direct};
    /* A page written back from a mapping is made durable by the request that follows, if at all. */
    bool sync = ((h->flags | fi->flags) & O_DSYNC) != 0 && !w.mapped;
    struct task *t = NULL;
    int rc =
        in->count == 1 && (b->flags & FUSE_BUF_IS_FD) == 0 && b->size <= UINT32_MAX ? 0 : -EINVAL;
    if (rc == 0)
        rc = fold_space_admit(s, b->size);
    if (rc == 0) {
        fold_caller_modifies(req, h->inode, w.kill_priv);
        w.data = b->mem;
        w.len = (uint32_t)b->size;
        w.buf = b->size >= fold_knobs.steal_bytes ? fold_loop_buffer(b->mem, b->size) : NULL;
        rc = take(&t, req, h, &w, sync, &dirty);
        fold_invalidate_attr(s, h->inode);
    }
    if (rc != 0) {
        fold_reply(req, rc);
        return;
    }
    fold_flusher_note(s->flusher, h->inode, dirty);
    if (t != NULL) {
        begin_waiting(t, unique);
    } else if (!sync) {
        fold_budget_reply_write(s->budget, req, b->size);
    } else {
        t = new_task(req, h, b->size, true);
        if (t == NULL)
            fold_reply(req, -ENOMEM);
        else
            answer(t);
    }
}
