/* SPDX-License-Identifier: MIT */
/*
 * A pool of threads of its own. Why this is live: a call waits for requests of the kernel's that
 * themselves wait for locks, memory, the disk or the worker pool, but never for a call; those find
 * an entry, because half of each queue is kept for them; and no worker makes a call. So however
 * many wait, the first in line comes through.
 */
#include "fs/callback.h"

#include "fs/loop.h"
#include "fs/reply.h"
#include "fs/session.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/workers.h"

#include <errno.h>

struct fold_callbacks {
    struct fold_lock lock;
    struct fold_workers *threads; /* guarded by lock; NULL when stopped */
    _Atomic uint64_t background;  /* waiting requests that may be background requests */
};

int fold_callbacks_create(struct fold_callbacks **out)
{
    struct fold_callbacks *all = calloc(1, sizeof *all);
    if (all == NULL)
        return -ENOMEM;
    int rc =
        fold_workers_create((unsigned)fold_knobs.callback_threads, "fold-callback", &all->threads);
    if (rc != 0) {
        fold_callbacks_destroy(all);
        return rc;
    }
    *out = all;
    return 0;
}

void fold_callbacks_stop(struct fold_callbacks *all)
{
    if (all == NULL)
        return;
    fold_lock_take(&all->lock);
    struct fold_workers *threads = all->threads;
    all->threads = NULL;
    fold_lock_drop(&all->lock);
    fold_workers_destroy(threads);
}

void fold_callbacks_destroy(struct fold_callbacks *all)
{
    if (all == NULL)
        return;
    fold_callbacks_stop(all);
    fold_lock_fini(&all->lock);
    free(all);
}

static bool begin(struct fold_session *s, struct fold_callback *c)
{
    struct fold_callbacks *all = s->callbacks;
    if (c->background && atomic_fetch_add(&all->background, 1) >= fold_knobs.callback_background) {
        atomic_fetch_sub(&all->background, 1);
        return false;
    }
    if (fold_loop_wait_begin(atomic_load(&s->loop), c->unique, &c->queue))
        return true;
    if (c->background)
        atomic_fetch_sub(&all->background, 1);
    return false;
}

static void end(struct fold_session *s, const struct fold_callback *c)
{
    fold_loop_wait_end(atomic_load(&s->loop), c->queue);
    if (c->background)
        atomic_fetch_sub(&s->callbacks->background, 1);
}

static void call(void *arg)
{
    struct fold_callback *c = arg;
    struct fold_session *s = c->session;
    /* It fails only where the kernel has nothing of the file, or has gone. */
    (void)fuse_lowlevel_notify_inval_inode(s->fuse, c->inode->ino, (off_t)c->off, (off_t)c->len);
    end(s, c);
    if (c->quick || fold_workers_submit(s->workers, c->fn, c->arg) != 0)
        c->fn(c->arg); /* or short of memory: this thread may wait for what a worker waits for */
}

bool fold_callback_begin(struct fold_session *s, struct fold_callback *c)
{
    struct fold_callbacks *all = s->callbacks;
    c->session = s;
    if (!begin(s, c))
        return false;
    fold_lock_take(&all->lock);
    bool queued = all->threads != NULL && fold_workers_submit(all->threads, call, c) == 0;
    fold_lock_drop(&all->lock);
    if (!queued)
        end(s, c);
    return queued;
}
