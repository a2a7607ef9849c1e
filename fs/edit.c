/* SPDX-License-Identifier: MIT */
/*
 * Pages are loaded when first touched, edited in memory, and stored together. After the commit they
 * go to the page cache, so that readers meet what the catalog has.
 */
#include "fs/edit.h"

#include "fs/ballast.h"
#include "fs/collector.h"
#include "fs/pagecache.h"
#include "fs/refold.h"
#include "fs/session.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/inode.h"

#include <assert.h>
#include <errno.h>

struct fold_edit_page {
    uint64_t page_no;
    uint64_t mapped_before;
    struct fold_page page;
};

static bool dropped(const struct fold_edit *c, uint64_t page_no)
{
    for (size_t i = 0; i < c->drop_count; i++)
        if (page_no >= c->drops[i][0] && page_no <= c->drops[i][1])
            return true;
    return false;
}

/* Fills `p` with the page as the catalog has it. */
static int load(struct fold_edit *c, struct fold_edit_page *p)
{
    struct fold_cached_page *cached;
    int rc = fold_pagecache_get(c->session->pages, c->inode->ino, p->page_no, &cached);
    if (rc != 0)
        return rc;
    uint32_t n = cached->page.count;
    p->page.extents = malloc((n + 8) * sizeof p->page.extents[0]);
    if (p->page.extents != NULL) {
        if (n > 0)
            memcpy(p->page.extents, cached->page.extents, n * sizeof p->page.extents[0]);
        p->page.count = n;
        p->page.cap = n + 8;
        p->mapped_before = fold_page_mapped(&p->page);
    } else {
        rc = -ENOMEM;
    }
    fold_cached_put(&cached->cached);
    return rc;
}

/* Where the page is among those touched, or where it belongs. Most edits go forward. */
static size_t place_of(const struct fold_edit *c, uint64_t page_no)
{
    size_t lo = 0, hi = c->count;
    if (hi == 0 || c->pages[hi - 1].page_no < page_no)
        return hi;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (c->pages[mid].page_no < page_no)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The page, loaded when first asked for; valid until the next call. NULL with the error noted. */
static struct fold_edit_page *touch(struct fold_edit *c, uint64_t page_no)
{
    size_t at = place_of(c, page_no);
    if (at < c->count && c->pages[at].page_no == page_no)
        return &c->pages[at];
    if (FOLD_GROW(c->pages, c->cap, c->count + 1, 8) < 0) {
        c->rc = -ENOMEM;
        return NULL;
    }
    struct fold_edit_page fresh = {.page_no = page_no};
    if (!dropped(c, page_no))
        c->rc = load(c, &fresh);
    if (c->rc != 0)
        return NULL;
    memmove(&c->pages[at + 1], &c->pages[at], (c->count - at) * sizeof c->pages[0]);
    c->pages[at] = fresh;
    c->count++;
    return &c->pages[at];
}

/* Cached copies of dropped pages must not be met again; a cached page that is not in the catalog is
 * empty anyway. */
static int forget_page(void *arg, uint64_t page_no, const struct fold_page *p)
{
    struct fold_edit *c = arg;
    c->mapped -= (int64_t)fold_page_mapped(p);
    c->released += fold_page_mapped(p);
    fold_pagecache_drop(c->session->pages, c->inode->ino, page_no);
    return 0;
}

static void note_drop(struct fold_edit *c, uint64_t first, uint64_t last)
{
    fold_recipe_drop(c->txn, c->inode->ino, first, last);
    c->drops[c->drop_count][0] = first;
    c->drops[c->drop_count++][1] = last;
}

/* Drops whole pages [first, last] of the recipe. */
static void drop_pages(struct fold_edit *c, uint64_t first, uint64_t last)
{
    c->rc = fold_recipe_each(fold_session_catalog(c->session), c->inode->ino, first, last,
                             forget_page, c);
    if (c->rc == 0)
        note_drop(c, first, last);
}

static int add_mapped(void *arg, uint64_t page_no, const struct fold_page *p)
{
    (void)page_no;
    *(uint64_t *)arg += fold_page_mapped(p);
    return 0;
}

/* Drops all pages from `first` on without looking at any: what stays is taken to be as much as it
 * can be, and counted later. */
static void drop_uncounted(struct fold_edit *c, uint64_t first)
{
    fold_lock_take(&c->inode->lock);
    uint64_t mapped = c->inode->attr.mapped;
    c->inode->attr.flags |= FOLD_INODE_RECOUNT;
    fold_lock_drop(&c->inode->lock);
    c->inode->data->cuts++;
    c->uncounted = true;
    uint64_t goes = mapped - FOLD_MIN(mapped, first * FOLD_PAGE_BYTES);
    c->mapped -= (int64_t)goes;
    c->released += goes;
    fold_pagecache_drop_from(c->session->pages, c->inode->ino, first);
    note_drop(c, first, UINT64_MAX);
}

/* Drops all pages from `first` on, looking only at those that stay, which are fewer. */
static void drop_rest(struct fold_edit *c, uint64_t first)
{
    uint64_t stays = 0;
    if (first > 0)
        c->rc = fold_recipe_each(fold_session_catalog(c->session), c->inode->ino, 0, first - 1,
                                 add_mapped, &stays);
    if (c->rc != 0)
        return;
    fold_lock_take(&c->inode->lock);
    uint64_t goes = c->inode->attr.mapped - FOLD_MIN(stays, c->inode->attr.mapped);
    fold_lock_drop(&c->inode->lock);
    c->mapped -= (int64_t)goes;
    c->released += goes;
    fold_pagecache_drop_from(c->session->pages, c->inode->ino, first);
    note_drop(c, first, UINT64_MAX);
}

static void cut_off(struct fold_edit *c, uint64_t from)
{
    uint64_t first = from / FOLD_PAGE_BYTES;
    uint64_t inside = from % FOLD_PAGE_BYTES;
    uint64_t gone = first + (inside != 0), pages = c->inode->disk_size / FOLD_PAGE_BYTES;
    if (gone > fold_knobs.edit_uncounted_pages && pages > gone + fold_knobs.edit_uncounted_pages)
        drop_uncounted(c, gone);
    else if (pages > fold_knobs.edit_many_pages && gone < pages / 2)
        drop_rest(c, gone);
    else
        drop_pages(c, gone, UINT64_MAX);
    if (c->rc != 0 || inside == 0)
        return;
    struct fold_edit_page *p = touch(c, first);
    if (p != NULL)
        c->rc = fold_page_punch(&p->page, from, FOLD_PAGE_BYTES - inside);
}

void fold_edit_begin(struct fold_edit *c, struct fold_session *s, struct fold_inode *inode)
{
    *c = (struct fold_edit){
        .session = s, .inode = inode, .txn = fold_txn_begin(fold_session_catalog(s))};
    if (c->txn == NULL)
        c->rc = -ENOMEM;
    else if (inode->data->hidden_from != UINT64_MAX)
        cut_off(c, inode->data->hidden_from);
}

void fold_edit_punch(struct fold_edit *c, uint64_t off, uint64_t len)
{
    uint64_t end = off + len;
    if (off < c->inode->disk_size)
        c->released += FOLD_MIN(end, c->inode->disk_size) - off;
    while (c->rc == 0 && off < end) {
        uint64_t page_no = off / FOLD_PAGE_BYTES;
        uint64_t whole = end / FOLD_PAGE_BYTES; /* pages before it are covered to their end */
        if (off % FOLD_PAGE_BYTES == 0 && whole > page_no &&
            whole - page_no > fold_knobs.edit_many_pages && c->drop_count < FOLD_EDIT_DROPS) {
            drop_pages(c, page_no, whole - 1);
            off = whole * FOLD_PAGE_BYTES;
            continue;
        }
        uint64_t stop = FOLD_MIN(end, (page_no + 1) * (uint64_t)FOLD_PAGE_BYTES);
        struct fold_edit_page *p = touch(c, page_no);
        if (p != NULL)
            c->rc = fold_page_punch(&p->page, off, stop - off);
        off = stop;
    }
}

void fold_edit_extent(struct fold_edit *c, const struct fold_extent *e)
{
    uint64_t off = e->off;
    uint64_t end = e->off + e->len;
    while (c->rc == 0 && off < end) {
        uint64_t page_no = off / FOLD_PAGE_BYTES;
        uint64_t stop = FOLD_MIN(end, (page_no + 1) * (uint64_t)FOLD_PAGE_BYTES);
        struct fold_extent part;
        struct fold_edit_page *p = touch(c, page_no);
        if (p != NULL && fold_extent_slice(e, off, stop - off, &part))
            c->rc = fold_page_insert(&p->page, &part);
        off = stop;
    }
}

static void finish(struct fold_edit *c, bool committed)
{
    /* Between forgetting a page and the commit it may have been loaded ahead. */
    for (size_t i = 0; committed && i < c->drop_count; i++)
        if (c->drops[i][0] == 0)
            fold_pagecache_drop(c->session->pages, c->inode->ino, 0);
    for (size_t i = 0; i < c->count; i++) {
        struct fold_edit_page *p = &c->pages[i];
        if (committed)
            fold_pagecache_set(c->session->pages, c->inode->ino, p->page_no, &p->page);
        fold_page_fini(&p->page);
    }
    free(c->pages);
}

int fold_edit_end(struct fold_edit *c, uint64_t disk_size)
{
    struct fold_inode *inode = c->inode;
    for (size_t i = 0; c->rc == 0 && i < c->count; i++) {
        const struct fold_edit_page *p = &c->pages[i];
        c->mapped += (int64_t)fold_page_mapped(&p->page) - (int64_t)p->mapped_before;
        c->rc = fold_recipe_store(c->txn, inode->ino, p->page_no, &p->page);
    }
    bool committed = false;
    fold_lock_take(&inode->lock);
    if (c->rc != 0 || inode->ghost) {
        if (c->txn != NULL)
            fold_txn_abort(c->txn);
    } else {
        struct fold_attr attr = inode->attr;
        uint64_t attr_size = attr.size;
        attr.size = disk_size;
        attr.mapped = (uint64_t)((int64_t)attr.mapped + c->mapped);
        fold_inode_store(c->txn, &attr);
        fold_txn_count(c->txn, 0, 0, 0, c->mapped);
        fold_lsn lsn;
        fold_ballast_yield(c->session->ballast);
        c->rc = fold_txn_commit(c->txn, &lsn);
        committed = c->rc == 0;
        if (committed) {
            inode->attr.mapped = attr.mapped;
            inode->disk_size = disk_size;
            inode->attr_dirty = disk_size != attr_size; /* an extension is still to be told */
            inode->data->hidden_from = UINT64_MAX;
        }
    }
    finish(c, committed);
    fold_lock_drop(&inode->lock);
    if (committed && c->uncounted)
        fold_refold_recount(c->session->refolder, inode);
    if (committed && c->released > 0)
        fold_collector_released(c->session->collector, c->released);
    return c->rc;
}
