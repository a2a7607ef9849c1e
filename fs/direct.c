/* SPDX-License-Identifier: MIT */
/*
 * Guarded writes are few (the kernel lets one direct write at a time into a file), so they are a
 * list beside the dirty slices, under the same lock.
 */
#include "fs/direct.h"

#include "fs/data.h"

#include <assert.h>

/* What readers of attributes are shown. Map lock held exclusively. */
static void show_locked(struct fold_inode *inode)
{
    uint64_t shown = UINT64_MAX;
    for (const struct fold_direct *w = inode->data->direct; w != NULL; w = w->next)
        shown = FOLD_MIN(shown, w->shown);
    fold_lock_take(&inode->lock);
    inode->shown_size = shown;
    fold_lock_drop(&inode->lock);
}

void fold_direct_enter_locked(struct fold_inode *inode, struct fold_direct *w)
{
    struct fold_data *d = inode->data;
    assert(w->end - w->off <= FOLD_DIRECT_MOST);
    fold_lock_take(&inode->lock);
    uint64_t size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    w->shown = w->end > size ? size : UINT64_MAX;
    w->next = d->direct;
    d->direct = w;
    show_locked(inode);
}

void fold_direct_leave(struct fold_inode *inode, struct fold_direct *w)
{
    struct fold_data *d = inode->data;
    fold_rwlock_write(&d->map);
    struct fold_direct **at = &d->direct;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    show_locked(inode);
    fold_rwlock_drop(&d->map);
}

void fold_direct_resized_locked(struct fold_inode *inode)
{
    for (struct fold_direct *w = inode->data->direct; w != NULL; w = w->next)
        w->shown = UINT64_MAX;
    show_locked(inode);
}

/* Which bit of `fresh` stands for the page that begins at `page`. */
static unsigned bit_of(const struct fold_direct *w, uint64_t page)
{
    return (unsigned)(page / FOLD_DIRECT_PAGE - w->off / FOLD_DIRECT_PAGE);
}

static bool is_fresh(const struct fold_direct *w, uint64_t page)
{
    unsigned bit = bit_of(w, page);
    return (atomic_load_explicit(&w->fresh[bit / 64], memory_order_relaxed) >> (bit % 64) & 1) != 0;
}

void fold_direct_filling_locked(struct fold_data *d, uint64_t off, uint64_t len)
{
    if (!atomic_load_explicit(&d->filled, memory_order_relaxed))
        atomic_store(&d->filled, true);
    uint64_t first = (off + FOLD_DIRECT_PAGE - 1) / FOLD_DIRECT_PAGE * FOLD_DIRECT_PAGE;
    for (struct fold_direct *w = d->direct; FOLD_UNLIKELY(w != NULL); w = w->next) {
        uint64_t page = FOLD_MAX(first, w->off - w->off % FOLD_DIRECT_PAGE);
        for (; page < w->end && page - off + FOLD_DIRECT_PAGE <= len; page += FOLD_DIRECT_PAGE) {
            unsigned bit = bit_of(w, page);
            atomic_fetch_or(&w->fresh[bit / 64], UINT64_C(1) << (bit % 64));
        }
    }
}

/* Is the byte at `at` left out, or up to where is what follows alike? Never beyond its page. */
static bool left_out(const struct fold_data *d, uint64_t at, uint64_t *until)
{
    uint64_t page = at - at % FOLD_DIRECT_PAGE;
    bool out = false;
    *until = page + FOLD_DIRECT_PAGE;
    for (const struct fold_direct *w = d->direct; w != NULL; w = w->next) {
        if (at >= w->end || *until <= w->off || is_fresh(w, page))
            continue;
        bool inside = at >= w->off;
        out = out || inside;
        *until = FOLD_MIN(*until, inside ? w->end : w->off);
    }
    return out;
}

bool fold_direct_piece_locked(const struct fold_data *d, uint64_t *off, uint64_t end,
                              uint64_t *piece_end)
{
    uint64_t until;
    if (FOLD_LIKELY(d->direct == NULL)) {
        *piece_end = end;
        return *off < end;
    }
    while (*off < end && left_out(d, *off, &until))
        *off = FOLD_MIN(until, end);
    if (*off >= end)
        return false;
    *piece_end = *off;
    while (*piece_end < end && !left_out(d, *piece_end, &until))
        *piece_end = FOLD_MIN(until, end);
    return true;
}
