/* SPDX-License-Identifier: MIT */
/*
 * Reads the window's bytes by the recipe, cuts them as if they had been written at once, and
 * commits only if the cuts differ from those the recipe has. What was cut before may have been
 * overwritten since, so each window begins at cuts that are there now. Holes are passed over: the
 * work is in proportion to the extents there are.
 */
#include "fs/recut.h"

#include "fs/edit.h"
#include "fs/ingest.h"
#include "fs/invalidate.h"
#include "fs/mapped.h"
#include "fs/pagecache.h"
#include "fs/readpath.h"
#include "fs/session.h"
#include "fs/space.h"
#include "fs/zeroscan.h"
#include "meta/base/gate.h"
#include "meta/base/knob.h"

#include <errno.h>

/* How many extents before a place cutting begins: the chunk before a fragment is whole, the one
 * before it surely is. */
#define LEAD 2u

/* The last extent with data that begins before `off`, if it lies in the same page of the recipe or
 * the one before; kind 0 if there is none. */
static int extent_before(struct fold_session *s, struct fold_inode *inode, uint64_t off,
                         struct fold_extent *out)
{
    uint64_t page_no = (off - 1) / FOLD_PAGE_BYTES;
    *out = (struct fold_extent){0};
    for (unsigned pages = 0; pages < 2; pages++, page_no--) {
        struct fold_cached_page *page;
        int rc = fold_pagecache_get(s->pages, inode->ino, page_no, &page);
        if (rc != 0)
            return rc;
        for (uint32_t i = page->page.count; i > 0 && out->kind == 0; i--)
            if (page->page.extents[i - 1].off < off)
                *out = page->page.extents[i - 1];
        fold_cached_put(&page->cached);
        if (out->kind != 0 || page_no == 0)
            break;
    }
    if (out->kind != FOLD_EXTENT_DATA)
        *out = (struct fold_extent){0};
    return 0;
}

/*
 * Where cutting begins for the place `lo`: at the extent LEAD extents before it, or a little way
 * into the hole before the data, if there is one that is a boundary for the chunker. Short gaps are
 * zeros inside of chunks.
 */
static int find_start(struct fold_session *s, struct fold_inode *inode, uint64_t lo,
                      uint64_t *start)
{
    *start = lo;
    if (s->cut.kind == FOLD_CUT_FIXED) {
        *start = lo - lo % s->cut.avg;
        return 0;
    }
    for (unsigned step = 0; step<LEAD && * start> 0; step++) {
        struct fold_extent e;
        int rc = extent_before(s, inode, *start, &e);
        if (rc != 0)
            return rc;
        uint64_t end = e.kind != 0 ? e.off + e.len : 0;
        if (end < *start && *start - end >= FOLD_ZERO_RUN) {
            *start -= FOLD_ZERO_RUN;
            break;
        }
        *start = e.kind != 0 ? e.off : 0;
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
    if (rc == 0 && e.mapped != 0) { /* zeros of two writes together are a hole */
        fold_lock_take(&inode->lock);
        fold_inode_changed_locked(inode);
        fold_lock_drop(&inode->lock);
        fold_invalidate_attr(s, inode);
    }
    return rc;
}

/* One window, as `sp` says; `sp->end` then is where it could be decided to. Flush lock held,
 * nothing hidden. */
static int recut_window(struct fold_session *s, struct fold_inode *inode, uint64_t hi,
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

/* Unwritten extents must not be turned into holes. */
static int has_unwritten(void *arg, uint64_t page_no, const struct fold_page *p)
{
    bool *found = arg;
    (void)page_no;
    for (uint32_t i = 0; i < p->count; i++)
        *found = *found || p->extents[i].kind == FOLD_EXTENT_UNWRITTEN;
    return 0;
}

/*
 * Where a window that begins at data ends: after refold_window bytes, or a little way into a hole
 * that is long enough to be one for the chunker too. A chunk never reaches across such a hole.
 */
static int find_end(struct fold_session *s, struct fold_inode *inode, uint64_t at, uint64_t size,
                    uint64_t *end)
{
    uint64_t most = size - at > fold_knobs.refold_window ? at + fold_knobs.refold_window : size;
    uint64_t hole = at, data = at;
    int rc = 0;
    *end = most;
    while (rc == 0 && data < most) {
        rc = fold_mapped_next(s, inode, data, size, false, &hole);
        if (rc == 0)
            rc = fold_mapped_next(s, inode, hole, size, true, &data);
        if (rc == 0 && data - hole >= FOLD_ZERO_RUN && hole < most) {
            *end = hole + FOLD_ZERO_RUN;
            break;
        }
    }
    return rc;
}

/* Sets the span of the next window, the first data from `at` on. A long hole in front is left out;
 * *end then is beyond the place if nothing more belongs to it. */
static int next_span(struct fold_session *s, struct fold_inode *inode, uint64_t size,
                     const struct fold_recut *w, struct span *sp)
{
    uint64_t at = FOLD_MIN(w->at, size), data = at;
    int rc = fold_mapped_next(s, inode, at, size, true, &data);
    *sp = (struct span){.start = at, .end = at};
    if (rc != 0 || data == size)
        return rc;
    bool after_hole = data - at >= FOLD_ZERO_RUN;
    if (after_hole && data > w->place.hi)
        return 0;
    at = after_hole ? data : at;
    rc = find_start(s, inode, at, &sp->start);
    return rc == 0 ? find_end(s, inode, at, size, &sp->end) : rc;
}

int fold_recut_step(struct fold_session *s, struct fold_inode *inode, uint64_t size,
                    struct fold_recut *w)
{
    struct span span, *sp = &span;
    bool unwritten = false;
    w->done = true;
    int rc = next_span(s, inode, size, w, sp);
    if (rc != 0 || sp->start >= sp->end || sp->start > w->place.hi + fold_knobs.refold_farthest)
        return rc;
    uint64_t at = FOLD_MAX(w->at, sp->start), end = sp->end;
    rc = fold_recipe_each(fold_session_catalog(s), inode->ino, sp->start / FOLD_PAGE_BYTES,
                          end / FOLD_PAGE_BYTES, has_unwritten, &unwritten);
    if (rc == 0 && !unwritten)
        rc = recut_window(s, inode, w->place.hi, size, sp);
    if (rc != 0)
        return rc;
    if (!unwritten)
        w->bytes += sp->end - FOLD_MIN(sp->end, sp->start);
    /* Nothing new: one chunk as long as a window, of which nothing can be decided. */
    w->done = sp->met || sp->end <= at;
    w->at = sp->end;
    return 0;
}
