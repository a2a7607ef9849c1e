/* SPDX-License-Identifier: MIT */
/*
 * One list of inodes with dirty data, each holding a reference, and one timer thread. Urgent inodes
 * go to the worker pool; the timer flushes and syncs everything more often than the commit
 * interval, so that nothing gets older than that.
 */
#include "fs/flusher.h"

#include "fs/budget.h"
#include "fs/data.h"
#include "fs/flush.h"
#include "fs/session.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/base/workers.h"

#include <errno.h>

struct fold_flusher {
    struct fold_session *session;
    struct fold_lock lock;
    pthread_cond_t wake;
    struct fold_inode **list; /* guarded by lock */
    size_t count, cap;        /* guarded by lock */
    bool stop;                /* guarded by lock */
    bool hurry;               /* guarded by lock: flush all now */
    uint64_t period_ms;
    pthread_t thread;
};

struct stream_task {
    struct fold_session *session;
    struct fold_inode *inode;
};

static void *timer_main(void *arg)
{
    struct fold_flusher *f = arg;
    bool spared = false; /* the last flush left files out */
    pthread_setname_np(pthread_self(), "fold-commit");
    fold_lock_take(&f->lock);
    while (!f->stop) {
        struct timespec until = fold_clock_after(spared ? f->period_ms / 3 : f->period_ms);
        while (!f->stop && !f->hurry && fold_lock_wait(&f->lock, &f->wake, &until) == 0)
            ;
        f->hurry = false;
        if (f->stop)
            break;
        fold_lock_drop(&f->lock);
        int rc = fold_flush_due(f->session, &spared);
        if (rc != 0)
            fold_error("background commit: %s", fold_err_text(rc));
        fold_lock_take(&f->lock);
    }
    fold_lock_drop(&f->lock);
    return NULL;
}

int fold_flusher_create(struct fold_session *s, unsigned commit_seconds, struct fold_flusher **out)
{
    struct fold_flusher *f = calloc(1, sizeof *f);
    if (f == NULL)
        return -ENOMEM;
    f->session = s;
    f->period_ms = commit_seconds * 600u; /* leaves time for a second try and the flush itself */
    fold_lock_init(&f->lock, FOLD_RANK_QUEUE, "flusher");
    fold_cond_init(&f->wake);
    *out = f; /* the thread may look for it there */
    int rc = pthread_create(&f->thread, NULL, timer_main, f);
    if (rc != 0) {
        *out = NULL;
        free(f);
        return -rc;
    }
    return 0;
}

void fold_flusher_stop(struct fold_flusher *f)
{
    if (f == NULL)
        return;
    fold_lock_take(&f->lock);
    bool first = !f->stop;
    f->stop = true;
    pthread_cond_broadcast(&f->wake);
    fold_lock_drop(&f->lock);
    if (first)
        pthread_join(f->thread, NULL);
}

void fold_flusher_destroy(struct fold_flusher *f)
{
    if (f == NULL)
        return;
    fold_flusher_stop(f);
    for (size_t i = 0; i < f->count; i++)
        fold_itable_put(f->session->inodes, f->list[i]);
    free(f->list);
    pthread_cond_destroy(&f->wake);
    fold_lock_fini(&f->lock);
    free(f);
}

static void stream_run(void *arg)
{
    struct stream_task *t = arg;
    struct fold_session *s = t->session;
    struct fold_inode *inode = t->inode;
    free(t);
    fold_flush_stream(s, inode);
    fold_itable_put(s->inodes, inode);
}

static void stream_submit(struct fold_flusher *f, struct fold_inode *inode)
{
    struct fold_data *d = inode->data;
    if (atomic_exchange(&d->streaming, true))
        return;
    struct stream_task *t = malloc(sizeof *t);
    if (t != NULL) {
        *t = (struct stream_task){f->session, inode};
        fold_itable_ref(f->session->inodes, inode);
        if (fold_workers_submit(f->session->workers, stream_run, t) == 0)
            return;
        fold_itable_put(f->session->inodes, inode);
        free(t);
    }
    atomic_store(&d->streaming, false); /* the timer will come by */
}

/* Takes over a reference. False if memory is short. */
static bool enlist(struct fold_flusher *f, struct fold_inode *inode)
{
    fold_lock_take(&f->lock);
    bool room = FOLD_GROW(f->list, f->cap, f->count + 1, 64) == 0;
    if (room)
        f->list[f->count++] = inode;
    fold_lock_drop(&f->lock);
    return room;
}

void fold_flusher_note(struct fold_flusher *f, struct fold_inode *inode, uint64_t bytes)
{
    struct fold_data *d = inode->data;
    if (!atomic_exchange(&d->queued, true)) {
        fold_itable_ref(f->session->inodes, inode);
        if (!enlist(f, inode)) { /* what has dirty attributes the timer finds in the inode table */
            fold_lock_take(&inode->lock);
            fold_flush_attr_dirty_locked(f->session, inode);
            fold_lock_drop(&inode->lock);
            atomic_store(&d->queued, false);
            fold_itable_put(f->session->inodes, inode);
        }
    }
    bool pressed = fold_budget_pressed(f->session->budget);
    if (bytes >= fold_knobs.stream_bytes || (pressed && bytes >= fold_knobs.stream_bytes / 8)) {
        stream_submit(f, inode);
    } else if (pressed) {
        fold_lock_take(&f->lock);
        f->hurry = true;
        pthread_cond_signal(&f->wake);
        fold_lock_drop(&f->lock);
    }
}

size_t fold_flusher_take(struct fold_flusher *f, struct fold_inode ***list)
{
    fold_lock_take(&f->lock);
    *list = f->list;
    size_t n = f->count;
    f->list = NULL;
    f->count = f->cap = 0;
    fold_lock_drop(&f->lock);
    for (size_t i = 0; i < n; i++)
        atomic_store(&(*list)[i]->data->queued, false);
    return n;
}
