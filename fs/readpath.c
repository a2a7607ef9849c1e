/* SPDX-License-Identifier: MIT */
/*
 * Three layers, newest first: dirty, flushing, recipe (up to the cut-off of a pending truncate).
 * The walk takes from the newest layer that covers the cursor and goes on to where that piece ends
 * or a newer layer begins.
 */
#include "fs/readpath.h"

#include "fs/direct.h"
#include "fs/chunkcache.h"
#include "fs/pagecache.h"
#include "fs/session.h"
#include "meta/base/err.h"
#include "meta/base/gate.h"
#include "meta/base/grow.h"
#include "meta/base/guard.h"
#include "meta/base/log.h"
#include "meta/codec.h"
#include "meta/reader.h"

#include <errno.h>

#define ZEROS (64u << 10)
static const uint8_t zeros[ZEROS];

/* One piece found under the lock, to be turned into memory after it: `data` for slices, else an
 * extent (kind 0: a hole). */
struct fold_part {
    const uint8_t *data;
    struct fold_extent extent;
};

enum pin_kind { PIN_BUF, PIN_VIEW, PIN_CHUNK };

struct fold_pin {
    enum pin_kind kind;
    union {
        struct fold_buf *buf;
        struct fold_view view;
        struct fold_cached_chunk *chunk;
    };
};

static void unpin(struct fold_session *s, struct fold_pin *p)
{
    switch (p->kind) {
    case PIN_BUF:
        fold_buf_put(p->buf);
        break;
    case PIN_VIEW:
        fold_store_unview(s->volume->store, &p->view);
        break;
    case PIN_CHUNK:
        fold_cached_put(&p->chunk->cached);
        break;
    }
}

void fold_read_fini(struct fold_session *s, struct fold_read *r)
{
    for (size_t i = 0; i < r->pin_count; i++)
        unpin(s, &r->pins[i]);
    if (r->inside)
        fold_gate_leave(s->gate, r->gate_token);
    free(r->pins);
    free(r->parts);
    free(r->iov);
    *r = (struct fold_read){0};
}

static int add_bytes(struct fold_read *r, const void *data, size_t len)
{
    r->len += len;
    if (r->count > 0) {
        struct iovec *last = &r->iov[r->count - 1];
        if ((const uint8_t *)last->iov_base + last->iov_len == data) {
            last->iov_len += len;
            return 0;
        }
    }
    if (FOLD_GROW(r->iov, r->cap, r->count + 1, 32) < 0)
        return -ENOMEM;
    r->iov[r->count++] = (struct iovec){(void *)(uintptr_t)data, len};
    return 0;
}

static int add_zeros(struct fold_read *r, uint64_t len)
{
    int rc = 0;
    while (rc == 0 && len > 0) {
        size_t part = FOLD_MIN(len, (uint64_t)ZEROS);
        rc = add_bytes(r, zeros, part);
        len -= part;
    }
    return rc;
}

static int add_part(struct fold_read *r, const uint8_t *data, const struct fold_extent *e)
{
    if (e->len == 0)
        return 0;
    if (FOLD_GROW(r->parts, r->part_cap, r->part_count + 1, 32) < 0)
        return -ENOMEM;
    r->parts[r->part_count++] = (struct fold_part){.data = data, .extent = *e};
    return 0;
}

static int add_hole(struct fold_read *r, uint64_t off, uint64_t end)
{
    int rc = 0;
    while (rc == 0 && off < end) {
        struct fold_extent hole = {.off = off, .len = (uint32_t)FOLD_MIN(end - off, 1ull << 30)};
        rc = add_part(r, NULL, &hole);
        off += hole.len;
    }
    return rc;
}

/* Takes over the pin, also on failure. */
static int add_pin(struct fold_session *s, struct fold_read *r, struct fold_pin pin)
{
    if (FOLD_GROW(r->pins, r->pin_cap, r->pin_count + 1, 32) < 0) {
        unpin(s, &pin);
        return -ENOMEM;
    }
    r->pins[r->pin_count++] = pin;
    return 0;
}

static int add_chunk(struct fold_session *s, struct fold_read *r, struct fold_cached_chunk *chunk,
                     const struct fold_extent *e)
{
    int rc = add_pin(s, r, (struct fold_pin){.kind = PIN_CHUNK, .chunk = chunk});
    if (rc != 0)
        return rc;
    if ((uint64_t)e->skip + e->len > chunk->len)
        return -FOLD_E_BAD_RECIPE;
    return add_bytes(r, chunk->bytes + e->skip, e->len);
}

/* Whole chunks of a stream are decoded next to each other into memory that stays in the processor's
 * cache; the common cache would only push out what it holds for others. Takes over the pin of the
 * view. */
static int add_compressed(struct fold_session *s, struct fold_read *r, struct fold_view *view,
                          const struct fold_extent *e)
{
    struct fold_cached_chunk *chunk;
    uint8_t *dst = NULL;
    if (e->len == view->raw_len && r->len <= r->scratch_len && e->len <= r->scratch_len - r->len)
        dst = r->scratch + r->len;
    int rc = dst != NULL ? fold_store_decode(s->volume->store, view, dst)
                         : fold_chunkcache_decode(s->chunks, e->loc, view, &chunk);
    fold_store_unview(s->volume->store, view);
    if (rc != 0)
        return rc;
    return dst != NULL ? add_bytes(r, dst, e->len) : add_chunk(s, r, chunk, e);
}

int fold_read_extent(struct fold_session *s, const struct fold_extent *e, struct fold_read *r)
{
    if (e->kind != FOLD_EXTENT_DATA)
        return add_zeros(r, e->len);
    r->last = *e;
    struct fold_cached_chunk *chunk = fold_chunkcache_peek(s->chunks, e->loc);
    if (chunk != NULL)
        return add_chunk(s, r, chunk, e);
    struct fold_view view;
    int rc = fold_store_view(s->volume->store, e->loc, &view);
    if (rc != 0)
        return rc;
    if ((uint64_t)e->skip + e->len > view.raw_len) {
        fold_store_unview(s->volume->store, &view);
        return -FOLD_E_BAD_RECIPE;
    }
    if (view.codec == FOLD_CODEC_NONE) {
        const uint8_t *data = view.payload + e->skip;
        rc = add_pin(s, r, (struct fold_pin){.kind = PIN_VIEW, .view = view});
        return rc != 0 ? rc : add_bytes(r, data, e->len);
    }
    return add_compressed(s, r, &view, e);
}

static int add_slice(struct fold_session *s, struct fold_read *r, const struct fold_slice *sl,
                     uint64_t off, uint64_t end)
{
    fold_buf_ref(sl->buf);
    int rc = add_pin(s, r, (struct fold_pin){.kind = PIN_BUF, .buf = sl->buf});
    struct fold_extent range = {.off = off, .len = (uint32_t)(end - off)};
    return rc != 0 ? rc : add_part(r, sl->data + (off - sl->off), &range);
}

/* [off, end) of the recipe alone. */
static int add_recipe(struct fold_session *s, fold_ino ino, uint64_t off, uint64_t end,
                      struct fold_read *r)
{
    while (off < end) {
        uint64_t page_no = off / FOLD_PAGE_BYTES;
        uint64_t page_end = FOLD_MIN(end, (page_no + 1) * (uint64_t)FOLD_PAGE_BYTES);
        struct fold_cached_page *page;
        int rc = fold_pagecache_get(s->pages, ino, page_no, &page);
        if (rc != 0)
            return rc;
        for (uint32_t i = fold_page_find(&page->page, off); rc == 0 && off < page_end; i++) {
            struct fold_extent part;
            if (i >= page->page.count ||
                !fold_extent_slice(&page->page.extents[i], off, page_end - off, &part)) {
                rc = add_hole(r, off, page_end);
                off = page_end;
                break;
            }
            rc = add_hole(r, off, part.off);
            if (rc == 0)
                rc = add_part(r, NULL, &part);
            off = part.off + part.len;
        }
        fold_cached_put(&page->cached);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* [off, end) below the flushing layer: the recipe up to the cut-off, zeros behind it. */
static int add_base(struct fold_session *s, const struct fold_inode *inode, uint64_t off,
                    uint64_t end, struct fold_read *r)
{
    uint64_t edge = FOLD_MAX(off, FOLD_MIN(end, inode->data->hidden_from));
    int rc = add_recipe(s, inode->ino, off, edge, r);
    return rc != 0 ? rc : add_hole(r, edge, end);
}

static int add_below(struct fold_session *s, const struct fold_inode *inode, uint64_t off,
                     uint64_t end, struct fold_read *r)
{
    int rc = 0;
    struct fold_slice_pos pos;
    const struct fold_slice *sl = fold_slices_seek(&inode->data->flushing, off, &pos);
    while (rc == 0 && off < end) {
        uint64_t gap_end = sl != NULL ? FOLD_MIN(end, FOLD_MAX(sl->off, off)) : end;
        if (gap_end > off) {
            rc = add_base(s, inode, off, gap_end, r);
            off = gap_end;
            continue;
        }
        uint64_t stop = FOLD_MIN(end, sl->off + sl->len);
        rc = add_slice(s, r, sl, off, stop);
        off = stop;
        sl = fold_slices_next(&inode->data->flushing, &pos);
    }
    return rc;
}

static int collect_mapped(struct fold_session *s, const struct fold_inode *inode, uint64_t off,
                          uint64_t end, struct fold_read *r)
{
    int rc = 0;
    struct fold_slice_pos pos;
    const struct fold_slice *sl = fold_slices_seek(&inode->data->dirty, off, &pos);
    while (rc == 0 && off < end) {
        uint64_t gap_end = sl != NULL ? FOLD_MIN(end, FOLD_MAX(sl->off, off)) : end;
        if (gap_end > off) {
            rc = add_below(s, inode, off, gap_end, r);
            off = gap_end;
            continue;
        }
        uint64_t stop = FOLD_MIN(end, sl->off + sl->len);
        rc = add_slice(s, r, sl, off, stop);
        off = stop;
        sl = fold_slices_next(&inode->data->dirty, &pos);
    }
    return rc;
}

/* Begins at a page, and each byte will lie as far behind that as it lies behind the begin of the
 * request: the kernel then copies page to page. */
static void take_scratch(struct fold_read *r)
{
    size_t len = 0, page = (size_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < r->part_count; i++)
        len += r->parts[i].extent.len;
    uint8_t *mem = fold_codec_scratch(FOLD_SCRATCH_READ, len + page);
    if (mem == NULL)
        return;
    size_t lead = -(uintptr_t)mem & (page - 1);
    r->scratch = mem + lead;
    r->scratch_len = len;
}

/* Turns the parts into memory. */
static int resolve(struct fold_session *s, struct fold_read *r)
{
    int rc = 0;
    if (r->stream)
        take_scratch(r);
    for (size_t i = 0; rc == 0 && i < r->part_count; i++) {
        const struct fold_part *p = &r->parts[i];
        rc = p->data != NULL ? add_bytes(r, p->data, p->extent.len)
                             : fold_read_extent(s, &p->extent, r);
    }
    return rc;
}

int fold_read_recipe(struct fold_session *s, struct fold_inode *inode, uint64_t off, uint64_t len,
                     struct fold_read *r)
{
    int rc = add_recipe(s, inode->ino, off, off + len, r);
    return rc != 0 ? rc : resolve(s, r);
}

int fold_read_collect(struct fold_session *s, struct fold_inode *inode, uint64_t off, size_t len,
                      struct fold_read *r)
{
    struct fold_data *d;
    int rc = fold_data_get(inode, &d);
    if (rc != 0)
        return rc;
    r->gate_token = fold_gate_enter(s->gate);
    r->inside = true;
    fold_rwlock_read(&d->map);
    if (r->fills)
        fold_direct_filling_locked(d, off, len);
    fold_lock_take(&inode->lock);
    uint64_t size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    if (off < size)
        rc = collect_mapped(s, inode, off, off + FOLD_MIN((uint64_t)len, size - off), r);
    r->more = off < size && size - off > len;
    fold_rwlock_drop(&d->map);
    /* Chunks may have to come from the disk: not under the lock. */
    fold_reader_for(inode->ino);
    if (rc == 0)
        rc = resolve(s, r);
    fold_reader_for(0);
    /* What is wrong with a chunk was logged where it was found, with all that is known. */
    if (rc != 0 && rc != -FOLD_E_BAD_RECORD && rc != -FOLD_E_LOST_CHUNK && rc != -EIO)
        fold_error("inode %llu, offset %llu: cannot be read: %s", (unsigned long long)inode->ino,
                   (unsigned long long)off, fold_err_text(rc));
    return rc;
}

/* Apart from its loop, because a guard may jump back into the function that set it. */
static __attribute__((noinline)) int copy_guarded(void *dst, const void *src, size_t len)
{
    int rc;
    FOLD_GUARDED(rc, memcpy(dst, src, len));
    return rc;
}

int fold_read_copy(const struct fold_read *r, void *dst)
{
    uint8_t *p = dst;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->count; i++) {
        rc = copy_guarded(p, r->iov[i].iov_base, r->iov[i].iov_len);
        p += r->iov[i].iov_len;
    }
    return rc;
}

/* A stretch of a segment to be read soon. */
struct stretch {
    struct fold_loc loc;
    uint32_t bytes;
};

#define STRETCHES 128u

/* Adds an extent: neighbours in the segment are asked for together; a stored chunk is not longer
 * than its raw bytes. */
static size_t add_stretch(struct stretch *list, size_t n, const struct fold_extent *e)
{
    struct stretch *last = n > 0 ? &list[n - 1] : NULL;
    if (last != NULL && last->loc.seg == e->loc.seg && e->loc.off >= last->loc.off &&
        e->loc.off - last->loc.off <= last->bytes + 65536) {
        last->bytes = e->loc.off - last->loc.off + e->skip + e->len;
        return n;
    }
    if (n < STRETCHES)
        list[n++] = (struct stretch){e->loc, e->skip + e->len};
    return n;
}

void fold_read_prefetch(struct fold_session *s, struct fold_inode *inode, uint64_t off,
                        uint64_t len)
{
    struct fold_data *d = inode->data;
    struct stretch list[STRETCHES];
    size_t n = 0;
    fold_rwlock_read(&d->map);
    fold_lock_take(&inode->lock);
    uint64_t end = FOLD_MIN(off + len, inode->attr.size);
    fold_lock_drop(&inode->lock);
    end = FOLD_MIN(end, d->hidden_from);
    while (off < end) {
        uint64_t page_no = off / FOLD_PAGE_BYTES;
        struct fold_cached_page *page;
        if (fold_pagecache_get(s->pages, inode->ino, page_no, &page) != 0)
            break;
        for (uint32_t i = fold_page_find(&page->page, off); i < page->page.count; i++) {
            const struct fold_extent *e = &page->page.extents[i];
            if (e->off < end && e->kind == FOLD_EXTENT_DATA)
                n = add_stretch(list, n, e);
        }
        fold_cached_put(&page->cached);
        off = (page_no + 1) * (uint64_t)FOLD_PAGE_BYTES;
    }
    fold_rwlock_drop(&d->map);
    for (size_t i = 0; i < n; i++)
        fold_store_prefetch(s->volume->store, list[i].loc, list[i].bytes);
}
