/* SPDX-License-Identifier: MIT */
/*
 * Bytes are cut and stored without any lock that readers need, and committed under the map lock.
 * What is being stored stays readable in the `flushing` list until its extents are in the catalog.
 * A run that continues a chunk cut short by an earlier end of data takes that chunk's bytes back in
 * front, so that appended data is cut as if it had come in one piece.
 */
#include "fs/window.h"

#include "fs/data.h"
#include "fs/edit.h"
#include "fs/ingest.h"
#include "fs/pagecache.h"
#include "fs/readpath.h"
#include "fs/refold.h"
#include "fs/session.h"
#include "fs/space.h"
#include "meta/base/err.h"
#include "meta/base/gate.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"

#include <errno.h>

/* Most chunks cut short that one run takes up again. */
#define TAILS_MAX 16u

/* Where a file is rewritten as many slices as in so many windows may be committed together. */
#define REWRITE_WINDOWS 4u

/* A piece of the file without gaps, as slices [first, first+n) of the window. */
struct run {
    size_t first, n;
    uint64_t off;        /* first dirty byte */
    bool beside_tail;    /* a chunk before it could be continued but was not */
    uint64_t start, end; /* what is cut: from the start of a continued chunk (before `off`) to what
                            was decided */
};

struct window {
    struct fold_slice *slices;
    size_t count, cap;
    struct run *runs;
    size_t run_count, run_cap;
    struct fold_buf **heads; /* bytes of continued chunks */
    size_t head_count, head_cap;
    struct fold_ingest ingest;
};

static void window_fini(struct window *w)
{
    fold_ingest_fini(&w->ingest);
    for (size_t i = 0; i < w->head_count; i++)
        fold_buf_put(w->heads[i]);
    free(w->heads);
    free(w->slices);
    free(w->runs);
}

static int add_slice(struct window *w, const struct fold_slice *s)
{
    if (FOLD_GROW(w->slices, w->cap, w->count + 1, 16) < 0)
        return -ENOMEM;
    w->slices[w->count++] = *s;
    return 0;
}

/* The chunk that ends at `off` only because data ended there; len 0 if there is none that may be
 * continued. */
static int open_chunk(struct fold_session *s, struct fold_inode *inode, uint64_t off,
                      const struct window *w, struct fold_extent *out)
{
    out->len = 0;
    if (off == 0 || off > inode->data->hidden_from)
        return 0;
    struct fold_cached_page *page;
    int rc = fold_pagecache_get(s->pages, inode->ino, (off - 1) / FOLD_PAGE_BYTES, &page);
    if (rc != 0)
        return rc;
    struct fold_extent e = {0};
    uint32_t i = fold_page_find(&page->page, off - 1);
    if (i < page->page.count)
        e = page->page.extents[i];
    fold_cached_put(&page->cached);
    if (e.kind != FOLD_EXTENT_DATA || (e.flags & FOLD_EXTENT_TAIL) == 0 || e.skip != 0 ||
        e.off + e.len != off)
        return 0;
    /* Newer bytes of the same window must not be covered by the old ones. */
    if (w->count > 0 && w->slices[w->count - 1].off + w->slices[w->count - 1].len > e.off)
        return 0;
    *out = e;
    return 0;
}

/* Adds the bytes of a stored extent to the window, as one more slice. */
static int add_stored(struct fold_session *s, struct window *w, const struct fold_extent *e)
{
    if (FOLD_GROW(w->heads, w->head_cap, w->head_count + 1, 16) < 0)
        return -ENOMEM;
    struct fold_buf *buf = fold_buf_arena(s->budget, e->len);
    if (buf == NULL)
        return -ENOMEM;
    w->heads[w->head_count++] = buf;
    struct fold_read r = {0};
    int rc = fold_read_extent(s, e, &r);
    if (rc == 0)
        rc = fold_read_copy(&r, buf->mem);
    fold_read_fini(s, &r);
    struct fold_slice slice = {.off = e->off, .data = buf->mem, .buf = buf, .len = e->len};
    return rc == 0 ? add_slice(w, &slice) : rc;
}

/*
 * Which stored chunks before `off` a run of `len` bytes continues: only as long as what is cut
 * again is not longer than what comes with it, so that many small appends cost a logarithm of
 * rewriting, not a square. *rest: one was left.
 */
static int chunks_before(struct fold_session *s, struct fold_inode *inode, uint64_t off,
                         uint64_t len, const struct window *w, struct fold_extent *tails,
                         unsigned *count, bool *rest)
{
    *count = 0;
    *rest = false;
    while (*count < fold_knobs.window_tails) {
        int rc = open_chunk(s, inode, off, w, &tails[*count]);
        if (rc != 0 || tails[*count].len == 0)
            return rc;
        if (tails[*count].len > len) {
            *rest = true;
            return 0;
        }
        len += tails[*count].len;
        off = tails[(*count)++].off;
    }
    return 0;
}

/* Starts a run at `off` with `len` bytes to come. */
static int begin_run(struct fold_session *s, struct fold_inode *inode, struct window *w,
                     uint64_t off, uint64_t len)
{
    if (FOLD_GROW(w->runs, w->run_cap, w->run_count + 1, 16) < 0)
        return -ENOMEM;
    struct run *r = &w->runs[w->run_count++];
    *r = (struct run){.first = w->count, .off = off, .start = off};
    struct fold_extent tails[TAILS_MAX];
    unsigned n;
    int rc = chunks_before(s, inode, off, len, w, tails, &n, &r->beside_tail);
    for (unsigned i = n; rc == 0 && i > 0; i--) {
        rc = add_stored(s, w, &tails[i - 1]);
        if (rc == 0) {
            r->start = FOLD_MIN(r->start, tails[i - 1].off);
            r->n++;
            continue;
        }
        fold_warn("inode %llu: a chunk cannot be continued: %s", (unsigned long long)inode->ino,
                  fold_err_text(rc));
        /* Without the old bytes the new ones are cut on their own. */
        w->count = r->first;
        r->n = 0;
        r->start = off;
        rc = rc == -ENOMEM ? rc : 0;
        break;
    }
    return rc;
}

/* Bytes that follow each other from `pos` on, as far as it matters. */
static uint64_t run_bytes(const struct fold_slices *m, struct fold_slice_pos pos,
                          const struct fold_slice *s, uint64_t enough)
{
    uint64_t sum = s->len, next = s->off + s->len;
    while (sum < enough && (s = fold_slices_next(m, &pos)) != NULL && s->off == next) {
        sum += s->len;
        next += s->len;
    }
    return sum;
}

/* Whether the window may end behind its last slice, inside of a run: where a chunk is as long as it
 * can be, at least one cut of the run is decided, so that each window leaves the list shorter. */
static bool may_end(const struct window *w, const struct fold_cut *cut)
{
    const struct run *r = &w->runs[w->run_count - 1];
    const struct fold_slice *last = &w->slices[w->count - 1];
    return last->off + last->len - r->start >= cut->max;
}

/*
 * Collects the window from the flushing list, which only the holder of the flush lock changes.
 * *more: data is left behind the window in the same run. *last: none is left at all.
 */
static int window_fill(struct fold_session *s, struct fold_inode *inode, struct window *w,
                       bool *more, bool *last)
{
    struct fold_slice_pos pos;
    uint64_t bytes = 0, next = UINT64_MAX, most = fold_knobs.window_bytes;
    size_t slices = fold_knobs.window_slices;
    *more = *last = false;
    if (fold_data_rewritten(
            inode)) { /* one commit, so that a crash leaves the old or the new file */
        most = FOLD_MAX(most, fold_knobs.rewrite_bytes);
        slices *= REWRITE_WINDOWS;
    }
    for (const struct fold_slice *sl = fold_slices_seek(&inode->data->flushing, 0, &pos);
         sl != NULL; sl = fold_slices_next(&inode->data->flushing, &pos)) {
        bool full = bytes >= most || w->count >= slices;
        if (full && (sl->off != next || may_end(w, &s->cut))) {
            *more = sl->off == next;
            return 0;
        }
        int rc = 0;
        if (sl->off != next)
            rc = begin_run(s, inode, w, sl->off,
                           run_bytes(&inode->data->flushing, pos, sl, s->cut.max));
        if (rc == 0)
            rc = add_slice(w, sl);
        if (rc != 0)
            return rc;
        w->runs[w->run_count - 1].n++;
        next = sl->off + sl->len;
        bytes += sl->len;
    }
    *last = true;
    return 0;
}

static int window_cut(struct fold_session *s, struct window *w, bool hold_last)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < w->run_count; i++) {
        struct run *r = &w->runs[i];
        rc = fold_ingest_cut(&w->ingest, &s->cut, s->dedup, &w->slices[r->first], r->n,
                             hold_last && i + 1 == w->run_count, &r->end);
    }
    return rc;
}

/*
 * The size the catalog may state: no byte that still has to be stored lies below it. What was
 * written since the flush began does not matter: up to the size that the file had then, the catalog
 * has what the file held before those writes, or will have it when this flush ends. Map lock held.
 */
static uint64_t safe_size(struct fold_inode *inode, uint64_t stored_end)
{
    struct fold_data *d = inode->data;
    struct fold_slice_pos pos;
    const struct fold_slice *s = fold_slices_seek(&d->flushing, stored_end, &pos);
    uint64_t lowest = d->aside_size;
    if (s != NULL) /* may have begun before, with what is stored by now */
        lowest = FOLD_MIN(lowest, FOLD_MAX(s->off, stored_end));
    fold_lock_take(&inode->lock);
    uint64_t size = inode->attr.size;
    uint64_t disk = FOLD_MIN(inode->disk_size, d->hidden_from);
    fold_lock_drop(&inode->lock);
    return FOLD_MIN(size, FOLD_MAX(disk, lowest));
}

/* Whether the chunk behind the end of the run may still change when more data comes. */
static bool ends_open(const struct window *w, const struct run *r)
{
    for (size_t i = w->ingest.count; i > 0; i--) {
        const struct fold_chunk *c = &w->ingest.pieces[i - 1];
        if (c->off < r->end)
            return c->off + c->len == r->end && (c->flags & FOLD_EXTENT_TAIL) != 0;
    }
    return false;
}

/* Notes where the runs meet chunks that were cut for other content. */
static void note_seams(struct fold_session *s, struct fold_inode *inode, const struct window *w,
                       uint64_t old_end, uint64_t size)
{
    struct fold_data *d = inode->data;
    for (size_t i = 0; i < w->run_count; i++) {
        const struct run *r = &w->runs[i];
        bool goes_on = r->start < r->off || r->off == d->settled;
        if (goes_on)
            fold_refold_unnote(inode, r->off);
        if (r->beside_tail || (!goes_on && r->off != 0 && r->off < old_end))
            fold_refold_note(s->refolder, inode, r->start, r->start);
        if (r->end < size && r->end < old_end)
            fold_refold_note(s->refolder, inode, r->end, r->end);
        if (!ends_open(w, r))
            d->settled = r->end;
    }
}

/* The map lock is held. */
static int commit_locked(struct fold_session *s, struct fold_inode *inode, const struct window *w,
                         uint64_t last_end)
{
    struct fold_data *d = inode->data;
    struct fold_edit c;
    fold_edit_begin(&c, s, inode);
    for (size_t i = 0; i < w->run_count; i++)
        fold_edit_punch(&c, w->runs[i].start, w->runs[i].end - w->runs[i].start);
    for (size_t i = 0; i < w->ingest.count; i++) {
        const struct fold_chunk *p = &w->ingest.pieces[i];
        struct fold_extent e = {.off = p->off,
                                .len = p->len,
                                .loc = p->loc,
                                .kind = FOLD_EXTENT_DATA,
                                .flags = p->flags};
        fold_edit_extent(&c, &e);
    }
    int rc = fold_edit_end(&c, safe_size(inode, last_end));
    for (size_t i = 0; rc == 0 && i < w->run_count; i++)
        rc = fold_slices_punch(&d->flushing, w->runs[i].start, w->runs[i].end - w->runs[i].start);
    return rc;
}

static int window_commit(struct fold_session *s, struct fold_inode *inode, const struct window *w,
                         bool map_held)
{
    struct fold_data *d = inode->data;
    uint64_t last_end = w->run_count > 0 ? w->runs[w->run_count - 1].end : 0;
    if (!map_held)
        fold_rwlock_write(&d->map);
    uint64_t old_end = FOLD_MAX(FOLD_MIN(inode->disk_size, d->hidden_from), d->stored_end);
    fold_lock_take(&inode->lock);
    uint64_t size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    note_seams(s, inode, w, old_end, size); /* first, so that the inode's mark is committed, too */
    int rc = commit_locked(s, inode, w, last_end);
    if (!map_held)
        fold_rwlock_drop(&d->map);
    if (rc == 0)
        d->stored_end = FOLD_MAX(d->stored_end, last_end);
    else
        d->settled = 0;
    return rc;
}

int fold_window_store(struct fold_session *s, struct fold_inode *inode, unsigned how, bool *done)
{
    struct window w = {0};
    bool more, last;
    unsigned token = fold_gate_enter(s->gate); /* locations found now are committed inside */
    int rc = window_fill(s, inode, &w, &more, &last);
    if (rc == 0)
        rc = window_cut(s, &w, more || (last && (how & FOLD_FLUSH_HOLD_TAIL) != 0));
    uint64_t bytes = w.ingest.bytes - w.ingest.zero_bytes;
    if (rc == 0 && (rc = fold_space_claim(s, bytes)) == 0) {
        rc = fold_ingest_store(&w.ingest, s->dedup, s->workers);
        fold_space_unclaim(s, bytes);
    }
    bool nothing = w.run_count == 1 && w.runs[0].end == w.runs[0].start;
    if (rc == 0 && !nothing)
        rc = window_commit(s, inode, &w, (how & FOLD_FLUSH_MAP_HELD) != 0);
    fold_gate_leave(s->gate, token);
    *done = last;
    window_fini(&w);
    return rc;
}
