/* SPDX-License-Identifier: MIT */
/*
 * Each window is worked on under the flush lock of the inode: the recipe then stands still, while
 * writers go on into the dirty list. Reads the window's bytes by the recipe, cuts them, and commits
 * only if the cuts differ from those the recipe has.
 */
#include "fs/refold.h"

#include "fs/edit.h"
#include "fs/flush.h"
#include "fs/ingest.h"
#include "fs/pagecache.h"
#include "fs/readpath.h"
#include "fs/recount.h"
#include "fs/session.h"
#include "fs/space.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/gate.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"

#include <errno.h>

#define LOOK_MS 2000u
/* How many extents before a place cutting begins: the chunk before a fragment is whole, the one
 * before it surely is. */
#define LEAD 2u

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

/* Start of the extent LEAD extents before `lo`, or where data begins after a hole; never beyond
 * `lo`. */
static int find_start(struct fold_session *s, struct fold_inode *inode, uint64_t lo,
                      uint64_t *start)
{
    *start = lo;
    if (s->cut.kind == FOLD_CUT_FIXED) {
        *start = lo - lo % s->cut.avg;
        return 0;
    }
    for (unsigned step = 0; step < LEAD; step++) {
        if (*start == 0)
            break;
        struct fold_cached_page *page;
        int rc = fold_pagecache_get(s->pages, inode->ino, (*start - 1) / FOLD_PAGE_BYTES, &page);
        if (rc != 0)
            return rc;
        uint32_t i = fold_page_find(&page->page, *start - 1);
        struct fold_extent e = {0};
        if (i < page->page.count)
            e = page->page.extents[i];
        fold_cached_put(&page->cached);
        if (e.kind != FOLD_EXTENT_DATA || e.off >= *start)
            break; /* a hole is a boundary */
        *start = e.off;
    }
    return 0;
}

/* True if the recipe has an extent that is exactly this chunk (`whole`), or one that starts a chunk
 * there. */
static int recipe_agrees(struct fold_session *s, const struct fold_inode *inode,
                         const struct fold_chunk *c, bool whole, bool *agrees)
{
    struct fold_cached_page *page;
    int rc = fold_pagecache_get(s->pages, inode->ino, c->off / FOLD_PAGE_BYTES, &page);
    if (rc != 0)
        return rc;
    uint32_t i = fold_page_find(&page->page, c->off);
    const struct fold_extent *e = i < page->page.count ? &page->page.extents[i] : NULL;
    *agrees = e != NULL && e->kind == FOLD_EXTENT_DATA && e->off == c->off && e->skip == 0;
    /* An extent is split where a page ends: the rest of the chunk is then in the next page. */
    uint64_t page_end = (c->off / FOLD_PAGE_BYTES + 1) * (uint64_t)FOLD_PAGE_BYTES;
    if (whole && *agrees)
        *agrees = e->len == FOLD_MIN((uint64_t)c->len, page_end - c->off) &&
                  ((e->flags ^ c->flags) & FOLD_EXTENT_TAIL) == 0;
    fold_cached_put(&page->cached);
    return 0;
}

struct span {
    uint64_t start, end; /* what the pieces cover */
    bool met;            /* the old cuts were met: nothing more to do for this place */
};

/* Leaves out what already is as it should be at the end; *same: nothing differs at all. */
static int compare_cuts(struct fold_session *s, struct fold_inode *inode, struct fold_ingest *g,
                        uint64_t hi, struct span *sp, bool *same)
{
    *same = true;
    for (size_t i = 0; i < g->count; i++) {
        bool agrees;
        if (g->pieces[i].off > hi) {
            int rc = recipe_agrees(s, inode, &g->pieces[i], false, &agrees);
            if (rc != 0)
                return rc;
            if (agrees) {
                sp->end = g->pieces[i].off;
                sp->met = true;
                g->count = i;
                return 0;
            }
        }
        int rc = recipe_agrees(s, inode, &g->pieces[i], true, &agrees);
        if (rc != 0)
            return rc;
        *same = *same && agrees;
    }
    return 0;
}

static int commit_span(struct fold_session *s, struct fold_inode *inode,
                       const struct fold_ingest *g, const struct span *sp)
{
    struct fold_data *d = inode->data;
    fold_rwlock_write(&d->map);
    struct fold_edit e;
    fold_edit_begin(&e, s, inode);
    fold_edit_punch(&e, sp->start, sp->end - sp->start);
    for (size_t i = 0; i < g->count; i++) {
        const struct fold_chunk *c = &g->pieces[i];
        struct fold_extent x = {.off = c->off,
                                .len = c->len,
                                .loc = c->loc,
                                .kind = FOLD_EXTENT_DATA,
                                .flags = c->flags};
        fold_edit_extent(&e, &x);
    }
    fold_lock_take(&inode->lock);
    uint64_t size = inode->disk_size;
    fold_lock_drop(&inode->lock);
    int rc = fold_edit_end(&e, size);
    fold_rwlock_drop(&d->map);
    return rc;
}

/* One window, as `sp` says; `sp->end` then is where it could be decided to. Flush lock held,
 * nothing hidden. */
static int refold_window(struct fold_session *s, struct fold_inode *inode, uint64_t hi,
                         uint64_t size, struct span *sp)
{
    uint64_t len = sp->end - sp->start;
    uint8_t *bytes = malloc(len);
    if (bytes == NULL)
        return -ENOMEM;
    unsigned token = fold_gate_enter(s->gate);
    struct fold_read r = {0};
    struct fold_ingest g = {0};
    int rc = fold_read_recipe(s, inode, sp->start, len, &r);
    if (rc == 0)
        rc = fold_read_copy(&r, bytes);
    fold_read_fini(s, &r);
    struct fold_slice one = {.off = sp->start, .data = bytes, .len = (uint32_t)len};
    bool last = sp->start + len == size;
    if (rc == 0)
        rc = fold_ingest_cut(&g, &s->cut, s->dedup, &one, 1, !last, &sp->end);
    bool same = true;
    if (rc == 0)
        rc = compare_cuts(s, inode, &g, hi, sp, &same);
    uint64_t claim = g.bytes - g.zero_bytes;
    if (rc == 0 && !same && (rc = fold_space_claim(s, claim)) == 0) {
        rc = fold_ingest_store(&g, s->dedup, s->workers);
        fold_space_unclaim(s, claim);
    }
    if (rc == 0 && !same)
        rc = commit_span(s, inode, &g, sp);
    fold_gate_leave(s->gate, token);
    fold_ingest_fini(&g);
    free(bytes);
    return rc;
}

/* Unwritten extents must not be turned into holes: a place ends before them. */
static int has_unwritten(void *arg, uint64_t page_no, const struct fold_page *p)
{
    bool *found = arg;
    (void)page_no;
    for (uint32_t i = 0; i < p->count; i++)
        *found = *found || p->extents[i].kind == FOLD_EXTENT_UNWRITTEN;
    return 0;
}

/* A place being refolded, window by window. */
struct work {
    struct fold_frag place;
    struct span span;
    uint64_t at; /* what lies before is done */
    bool begun;  /* the first window has been looked at */
    bool done;
};

/*
 * The next window of a place. Flush lock held, nothing hidden. What was cut before may have been
 * overwritten since, so each window begins at cuts that are there now.
 */
static int refold_step(struct fold_session *s, struct fold_inode *inode, uint64_t size,
                       struct work *w)
{
    struct span *sp = &w->span;
    uint64_t at = FOLD_MIN(w->at, size);
    bool unwritten = false;
    w->done = true;
    int rc = find_start(s, inode, at, &sp->start);
    sp->end = FOLD_MIN(at + fold_knobs.refold_window, size);
    if (rc == 0)
        rc = fold_recipe_each(fold_session_catalog(s), inode->ino, sp->start / FOLD_PAGE_BYTES,
                              sp->end / FOLD_PAGE_BYTES, has_unwritten, &unwritten);
    if (rc != 0 || unwritten || sp->start >= size ||
        at > w->place.hi + fold_knobs.refold_farthest || (w->begun && at >= size))
        return rc;
    rc = refold_window(s, inode, w->place.hi, size, sp);
    if (rc != 0)
        return rc;
    atomic_fetch_add(&s->refolder->bytes, sp->end - FOLD_MIN(sp->end, sp->start));
    /* Nothing new: one chunk as long as a window, of which nothing can be decided. */
    w->done = sp->met || sp->end <= at;
    w->at = sp->end;
    w->begun = true;
    return 0;
}

/* Takes up the next place of the inode if the last one is done. False if there is none. */
static bool next_place(struct fold_frags *f, struct work *w)
{
    if (!w->done)
        return true;
    if (f->count == 0)
        return false;
    *w = (struct work){.place = f->at[--f->count]};
    w->at = w->place.lo;
    return true;
}

int fold_refold_inode(struct fold_session *s, struct fold_inode *inode)
{
    struct fold_data *d = inode->data;
    struct work w = {.done = true};
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
        more = rc == 0 && !hidden && next_place(d->frags, &w);
        if (more)
            rc = refold_step(s, inode, size, &w);
        else if (rc == 0 && w.done && d->frags->count == 0)
            set_flag(inode, false);
        else if (rc == 0 && !w.done)
            add_place(d->frags, FOLD_MIN(w.at, w.place.hi), w.place.hi);
        fold_turn_drop(s, inode); /* others get their turn between two windows */
        more = more && !atomic_load(&s->refolder->stopping);
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

static int run_due(struct fold_refolder *r, uint64_t quiet_ms)
{
    struct fold_inode **list;
    int first = 0;
    size_t n = take_due(r, quiet_ms, &list);
    for (size_t i = 0; i < n; i++) {
        fold_turn_wait(list[i]);
        bool later = fold_flush_rewritten(list[i]);
        list[i]->data->frags->listed = false;
        if (later)
            enlist(r, list[i]);
        fold_turn_drop(r->session, list[i]);
        bool leave = later || atomic_load(&r->stopping);
        int rc = leave ? 0 : fold_refold_inode(r->session, list[i]);
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

int fold_refolder_run(struct fold_refolder *r)
{
    return run_due(r, 0);
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
        (void)run_due(r, fold_knobs.refold_quiet_ms);
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
