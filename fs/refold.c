/* SPDX-License-Identifier: MIT */
/*
 * Notes of places, a list of inodes that have some, and one thread that takes up those that were
 * quiet long enough. Each window is worked on under the flush lock of the inode (fs/recut.h), which
 * others get between two windows.
 */
#include "fs/refold.h"

#include "fs/flush.h"
#include "fs/recount.h"
#include "fs/recut.h"
#include "fs/session.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"

#include <errno.h>

#define LOOK_MS 2000u

struct fold_refolder {
    struct fold_session *session;
    struct fold_lock lock;
    pthread_cond_t wake;
    struct fold_inode **list; /* guarded by lock; each referenced */
    size_t count, cap;
    bool stop;
    atomic_bool stopping;
    _Atomic uint64_t bytes;
    pthread_t thread;
};

/* Flush lock held. Without room the inode's flags in the catalog still say what is to be done. */
static void enlist(struct fold_refolder *r, struct fold_inode *inode)
{
    fold_itable_ref(r->session->inodes, inode);
    fold_lock_take(&r->lock);
    bool room =
        r->count < fold_knobs.refold_listed && FOLD_GROW(r->list, r->cap, r->count + 1, 64) == 0;
    if (room)
        r->list[r->count++] = inode;
    fold_lock_drop(&r->lock);
    inode->data->frags->listed = room;
    if (!room)
        fold_itable_put(r->session->inodes, inode);
}

/* Widens a place already noted nearby, or the first one when there are too many; else adds one. */
static void add_place(struct fold_frags *f, uint64_t lo, uint64_t hi)
{
    struct fold_frag *near = f->count >= fold_knobs.refold_places ? &f->at[0] : NULL;
    for (unsigned i = 0; i < f->count; i++)
        if (lo <= f->at[i].hi + fold_knobs.refold_near &&
            hi + fold_knobs.refold_near >= f->at[i].lo)
            near = &f->at[i];
    if (near == NULL) {
        f->at[f->count++] = (struct fold_frag){lo, hi};
        return;
    }
    near->lo = FOLD_MIN(near->lo, lo);
    near->hi = FOLD_MAX(near->hi, hi);
}

/* Remembers in the catalog that the file waits for refolding, so that an unmount in between does
 * not lose that. */
static void set_flag(struct fold_inode *inode, bool on)
{
    fold_lock_take(&inode->lock);
    bool is = (inode->attr.flags & FOLD_INODE_FRAGMENTED) != 0;
    if (is != on) {
        inode->attr.flags ^= FOLD_INODE_FRAGMENTED;
        inode->attr_dirty = true;
    }
    fold_lock_drop(&inode->lock);
}

void fold_refold_recount(struct fold_refolder *r, struct fold_inode *inode)
{
    struct fold_data *d = inode->data;
    if (r == NULL)
        return;
    if (d->frags == NULL)
        d->frags = calloc(1, sizeof *d->frags);
    if (d->frags == NULL)
        return; /* counted when it is opened next time */
    atomic_store(&d->frags->noted_ms, fold_clock_ms());
    if (!d->frags->listed)
        enlist(r, inode);
}

void fold_refold_note(struct fold_refolder *r, struct fold_inode *inode, uint64_t lo, uint64_t hi)
{
    struct fold_data *d = inode->data;
    if (d->frags == NULL)
        d->frags = calloc(1, sizeof *d->frags);
    if (d->frags == NULL)
        return; /* the file stays as it is */
    atomic_store(&d->frags->noted_ms, fold_clock_ms());
    add_place(d->frags, lo, hi);
    set_flag(inode, true);
    if (!d->frags->listed)
        enlist(r, inode);
}

void fold_refold_resume(struct fold_refolder *r, struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    uint32_t flags = inode->attr.flags;
    uint64_t size = inode->disk_size;
    fold_lock_drop(&inode->lock);
    if ((flags & (FOLD_INODE_FRAGMENTED | FOLD_INODE_RECOUNT)) == 0 || r == NULL)
        return;
    /* Whoever has the lock may keep it for long, and this is for the next opening, too. */
    if (!fold_turn_try(inode))
        return;
    if (inode->data->frags == NULL && (flags & FOLD_INODE_FRAGMENTED) != 0)
        fold_refold_note(r, inode, 0, size);
    else if (inode->data->frags == NULL)
        fold_refold_recount(r, inode);
    fold_turn_drop(r->session, inode);
}

void fold_refold_unnote(struct fold_inode *inode, uint64_t at)
{
    struct fold_frags *f = inode->data->frags;
    for (unsigned i = 0; f != NULL && i < f->count; i++) {
        if (f->at[i].lo == at && f->at[i].hi == at) {
            f->at[i] = f->at[--f->count];
            return;
        }
    }
}

/* Takes up the next place of the inode if the last one is done. False if there is none. */
static bool next_place(struct fold_frags *f, struct fold_recut *w)
{
    if (!w->done)
        return true;
    if (f->count == 0)
        return false;
    *w = (struct fold_recut){.place = f->at[--f->count]};
    w->at = w->place.lo;
    return true;
}

static int step(struct fold_session *s, struct fold_inode *inode, uint64_t size,
                struct fold_recut *w)
{
    uint64_t before = w->bytes;
    int rc = fold_recut_step(s, inode, size, w);
    atomic_fetch_add(&s->refolder->bytes, w->bytes - before);
    return rc;
}

/* Whether refolding is to end: the volume is being closed, or whoever asked for it has gone. */
static bool ends(const struct fold_refolder *r, const struct fold_refold_stop *stop)
{
    return atomic_load(&r->stopping) || (stop != NULL && stop->cancelled(stop->arg));
}

/* Nothing more is done now: what is left stays noted. Flush lock held. */
static void leave_off(struct fold_refolder *r, struct fold_inode *inode, const struct fold_recut *w)
{
    struct fold_frags *f = inode->data->frags;
    if (!w->done)
        add_place(f, w->at, FOLD_MAX(w->at, w->place.hi));
    if (f->count == 0)
        set_flag(inode, false);
    else if (!f->listed)
        enlist(r, inode);
}

int fold_refold_inode(struct fold_session *s, struct fold_inode *inode,
                      const struct fold_refold_stop *stop)
{
    struct fold_data *d = inode->data;
    struct fold_recut w = {.done = true};
    int rc = fold_flush_inode(s, inode);
    if (rc == 0)
        rc = fold_recount_inode(s, inode, &s->refolder->stopping);
    if (rc == -ECANCELED)
        return 0; /* the mark stays */
    for (bool more = true; more;) {
        fold_turn_wait(inode);
        fold_lock_take(&inode->lock);
        uint64_t size = inode->disk_size;
        bool ghost = inode->ghost;
        fold_lock_drop(&inode->lock);
        if (ghost) {
            d->frags->count = 0;
            w.done = true;
        }
        bool hidden = d->hidden_from != UINT64_MAX;
        more = rc == 0 && !hidden && !ends(s->refolder, stop) && next_place(d->frags, &w);
        if (more)
            rc = step(s, inode, size, &w);
        else if (rc == 0)
            leave_off(s->refolder, inode, &w);
        fold_turn_drop(s, inode); /* others get their turn between two windows */
    }
    return rc;
}

/* Takes out the inodes that were quiet long enough (all if `quiet_ms` is 0). */
static size_t take_due(struct fold_refolder *r, uint64_t quiet_ms, struct fold_inode ***list)
{
    uint64_t now = fold_clock_ms();
    fold_lock_take(&r->lock);
    struct fold_inode **due = malloc((r->count + 1) * sizeof *due);
    size_t n = 0, kept = 0;
    for (size_t i = 0; due != NULL && i < r->count; i++) {
        struct fold_inode *inode = r->list[i];
        if (now - atomic_load(&inode->data->frags->noted_ms) >= quiet_ms)
            due[n++] = inode;
        else
            r->list[kept++] = inode;
    }
    if (due != NULL)
        r->count = kept;
    fold_lock_drop(&r->lock);
    *list = due;
    return n;
}

static int run_due(struct fold_refolder *r, uint64_t quiet_ms, const struct fold_refold_stop *stop)
{
    struct fold_inode **list;
    int first = 0;
    size_t n = take_due(r, quiet_ms, &list);
    for (size_t i = 0; i < n; i++) {
        fold_turn_wait(list[i]);
        bool leave = fold_flush_rewritten(list[i]) || ends(r, stop);
        list[i]->data->frags->listed = false;
        if (leave)
            enlist(r, list[i]);
        fold_turn_drop(r->session, list[i]);
        int rc = leave ? 0 : fold_refold_inode(r->session, list[i], stop);
        if (rc != 0) {
            fold_warn("inode %llu is not refolded: %s", (unsigned long long)list[i]->ino,
                      fold_err_text(rc));
            first = first != 0 ? first : rc;
        }
        fold_itable_put(r->session->inodes, list[i]);
    }
    free(list);
    return first;
}

int fold_refolder_run(struct fold_refolder *r, const struct fold_refold_stop *stop)
{
    return run_due(r, 0, stop);
}

uint64_t fold_refolder_bytes(const struct fold_refolder *r)
{
    return atomic_load(&r->bytes);
}

static void *refolder_main(void *arg)
{
    struct fold_refolder *r = arg;
    pthread_setname_np(pthread_self(), "fold-refold");
    fold_lock_take(&r->lock);
    while (!r->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += LOOK_MS / 1000;
        (void)fold_lock_wait(&r->lock, &r->wake, &until);
        if (r->stop || r->count == 0)
            continue;
        fold_lock_drop(&r->lock);
        (void)run_due(r, fold_knobs.refold_quiet_ms, NULL);
        fold_lock_take(&r->lock);
    }
    fold_lock_drop(&r->lock);
    return NULL;
}

int fold_refolder_create(struct fold_session *s, struct fold_refolder **out)
{
    struct fold_refolder *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->session = s;
    fold_lock_init(&r->lock, FOLD_RANK_LEAF, "refolder");
    fold_cond_init(&r->wake);
    *out = r; /* the thread may look for it there */
    int rc = pthread_create(&r->thread, NULL, refolder_main, r);
    if (rc != 0) {
        *out = NULL;
        free(r);
        return -rc;
    }
    return 0;
}

void fold_refolder_stop(struct fold_refolder *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->stopping, true);
    fold_lock_take(&r->lock);
    bool first = !r->stop;
    r->stop = true;
    pthread_cond_broadcast(&r->wake);
    fold_lock_drop(&r->lock);
    if (first)
        pthread_join(r->thread, NULL);
}

void fold_refolder_destroy(struct fold_refolder *r)
{
    if (r == NULL)
        return;
    fold_refolder_stop(r);
    for (size_t i = 0; i < r->count; i++)
        fold_itable_put(r->session->inodes, r->list[i]);
    free(r->list);
    pthread_cond_destroy(&r->wake);
    fold_lock_fini(&r->lock);
    free(r);
}
