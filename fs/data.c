/* SPDX-License-Identifier: MIT */
/*
 * Writing and truncating in memory. Small writes are copied to an arena that grows with what the
 * inode has dirty, so that neighbouring small writes end up as one slice; large ones bring their
 * own buffer.
 */
#include "fs/data.h"

#include "fs/budget.h"
#include "fs/direct.h"
#include "fs/flush.h"
#include "fs/flusher.h"
#include "fs/invalidate.h"
#include "fs/session.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/knob.h"

#include <errno.h>
#include <sys/stat.h>

/* What st_blocks is rounded to where it is not known exactly. */
#define BLOCK_BYTES 4096u

int fold_data_get(struct fold_inode *inode, struct fold_data **out)
{
    fold_lock_take(&inode->lock);
    struct fold_data *d = inode->data;
    if (d == NULL) {
        d = calloc(1, sizeof *d);
        if (d != NULL) {
            fold_lock_init(&d->flush, FOLD_RANK_FLUSH, "flush");
            fold_turns_init(&d->turns);
            fold_rwlock_init(&d->map, FOLD_RANK_INODE, "data map");
            d->hidden_from = UINT64_MAX;
            inode->data = d;
        }
    }
    fold_lock_drop(&inode->lock);
    *out = d;
    return d != NULL ? 0 : -ENOMEM;
}

void fold_data_destroy(struct fold_session *s, struct fold_data *d)
{
    (void)s;
    if (d == NULL)
        return;
    fold_slices_clear(&d->dirty);
    fold_slices_clear(&d->flushing);
    fold_buf_put(d->arena);
    free(d->frags);
    fold_rwlock_fini(&d->map);
    fold_turns_fini(&d->turns);
    fold_lock_fini(&d->flush);
    free(d);
}

void fold_data_fail(struct fold_data *d, int code)
{
    atomic_store(&d->error, code);
    atomic_fetch_add(&d->error_seq, 1);
}

int fold_data_error(struct fold_data *d, atomic_uint *seen)
{
    unsigned now = atomic_load(&d->error_seq);
    return atomic_exchange(seen, now) != now ? atomic_load(&d->error) : 0;
}

void fold_data_kill_priv_locked(struct fold_inode *inode)
{
    uint32_t mode = inode->attr.mode & ~(uint32_t)S_ISUID;
    if ((mode & S_IXGRP) != 0)
        mode &= ~(uint32_t)S_ISGID;
    if (mode != inode->attr.mode) {
        inode->attr.mode = mode;
        inode->attr_dirty = true;
        fold_inode_changed_locked(inode);
    }
}

static void now(struct timespec *ts)
{
    clock_gettime(CLOCK_REALTIME, ts);
}

/* Size, times and mode after a change of content. Map lock held exclusively. */
static void note_change(struct fold_inode *inode, uint64_t end, bool kill_priv)
{
    fold_lock_take(&inode->lock);
    if (end > inode->attr.size)
        inode->attr.size = end;
    now(&inode->attr.mtime);
    inode->attr.ctime = inode->attr.mtime;
    inode->attr_dirty = true;
    if (kill_priv)
        fold_data_kill_priv_locked(inode);
    fold_lock_drop(&inode->lock);
}

static int insert_locked(struct fold_data *d, uint64_t off, const uint8_t *data, uint32_t len,
                         struct fold_buf *buf)
{
    struct fold_slice s = {.off = off, .data = data, .buf = buf, .len = len};
    fold_buf_ref(buf);
    int rc = fold_slices_insert(&d->dirty, &s);
    if (rc != 0)
        fold_buf_put(buf);
    return rc;
}

bool fold_data_rewritten(struct fold_inode *inode)
{
    if (inode->data->hidden_from != 0)
        return false;
    fold_lock_take(&inode->lock);
    bool had = inode->disk_size > 0;
    fold_lock_drop(&inode->lock);
    return had;
}

/* Room for `len` bytes in the inode's arena. Map lock held exclusively. */
static uint8_t *arena_room(struct fold_session *s, struct fold_data *d, uint32_t len)
{
    struct fold_buf *a = d->arena;
    if (a == NULL || a->cap - a->used < len) {
        uint64_t want =
            FOLD_MAX(FOLD_MIN(d->dirty.bytes * 2, fold_knobs.arena_max), fold_knobs.arena_min);
        a = fold_buf_arena(s->budget, FOLD_MAX(want, (uint64_t)len));
        if (a == NULL)
            return NULL;
        fold_buf_put(d->arena);
        d->arena = a;
    }
    return a->mem + a->used;
}

/* What is written back from a mapping goes around direct writes that are newer. Map lock held
 * exclusively. */
static int insert_mapped_locked(struct fold_data *d, const struct fold_write *w,
                                const uint8_t *data, struct fold_buf *buf)
{
    uint64_t off = w->off, end = w->off + w->len, piece_end;
    int rc = 0;
    while (rc == 0 && fold_direct_piece_locked(d, &off, end, &piece_end)) {
        rc = insert_locked(d, off, data + (off - w->off), (uint32_t)(piece_end - off), buf);
        off = piece_end;
    }
    return rc;
}

/* Map lock held exclusively. */
static int write_locked(struct fold_session *s, struct fold_data *d, const struct fold_write *w)
{
    const uint8_t *data = w->data;
    struct fold_buf *buf = w->buf;
    if (buf == NULL) {
        uint8_t *room = arena_room(s, d, w->len);
        if (room == NULL)
            return -ENOMEM;
        memcpy(room, data, w->len);
        data = room;
        buf = d->arena;
        buf->used += w->len;
    }
    int rc = w->mapped ? insert_mapped_locked(d, w, data, buf)
                       : insert_locked(d, w->off, data, w->len, buf);
    if (w->buf != NULL && rc == 0)
        fold_buf_charge(buf, s->budget);
    return rc;
}

int fold_data_write(struct fold_session *s, struct fold_inode *inode, const struct fold_write *w,
                    uint64_t *dirty_bytes)
{
    if (w->off > FOLD_FILE_MAX || w->len > FOLD_FILE_MAX - w->off)
        return -EFBIG;
    struct fold_data *d;
    int rc = fold_data_get(inode, &d);
    if (rc != 0)
        return rc;
    fold_rwlock_write(&d->map);
    if (w->direct && w->guard == NULL && atomic_load(&d->filled))
        rc = FOLD_WRITE_GUARD;
    else
        rc = write_locked(s, d, w);
    if (rc == 0) {
        if (w->guard != NULL)
            fold_direct_enter_locked(inode, w->guard);
        note_change(inode, w->off + w->len, w->kill_priv);
        *dirty_bytes = fold_data_rewritten(inode) && d->dirty.bytes < fold_knobs.rewrite_bytes
                           ? 0
                           : d->dirty.bytes;
    }
    fold_rwlock_drop(&d->map);
    return rc;
}

int fold_data_truncate_locked(struct fold_inode *inode, uint64_t size, bool kill_priv)
{
    struct fold_data *d = inode->data;
    int rc = 0;
    fold_rwlock_write(&d->map);
    fold_lock_take(&inode->lock);
    uint64_t old = inode->attr.size;
    fold_lock_drop(&inode->lock);
    if (size <= old) { /* at the same size, too: what is allocated beyond it goes */
        rc = fold_slices_punch(&d->dirty, size, UINT64_MAX);
        if (rc == 0) /* a flush may have had to leave something there */
            rc = fold_slices_punch(&d->flushing, size, UINT64_MAX);
        if (rc == 0 && size < d->hidden_from)
            d->hidden_from = size;
        d->hidden_ms = fold_clock_ms();
        d->stored_end = FOLD_MIN(d->stored_end, size);
    }
    if (rc == 0) {
        note_change(inode, 0, kill_priv);
        fold_lock_take(&inode->lock);
        inode->attr.size = size;
        fold_lock_drop(&inode->lock);
        fold_direct_resized_locked(inode);
    }
    fold_rwlock_drop(&d->map);
    return rc;
}

int fold_data_truncate(struct fold_session *s, struct fold_inode *inode, uint64_t size,
                       bool kill_priv, struct fold_turn *turn)
{
    struct fold_data *d;
    int rc = size > FOLD_FILE_MAX ? -EFBIG : fold_data_get(inode, &d);
    if (rc != 0)
        return rc;
    if (!fold_turn_take(s, inode, turn))
        return FOLD_TURN_WAITS;
    rc = fold_data_truncate_locked(inode, size, kill_priv);
    fold_turn_drop(s, inode);
    if (rc == 0)
        fold_flusher_note(s->flusher, inode, 0);
    return rc;
}

uint64_t fold_data_pending(struct fold_inode *inode)
{
    struct fold_data *d = inode->data;
    fold_rwlock_read(&d->map);
    uint64_t bytes = d->dirty.bytes + d->flushing.bytes;
    fold_rwlock_drop(&d->map);
    return bytes;
}

bool fold_data_dirty(struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    bool dirty = inode->attr_dirty;
    struct fold_data *d = inode->data;
    fold_lock_drop(&inode->lock);
    if (d == NULL || dirty)
        return dirty;
    fold_rwlock_read(&d->map);
    dirty = d->dirty.bytes > 0 || d->flushing.bytes > 0 || d->hidden_from != UINT64_MAX;
    fold_rwlock_drop(&d->map);
    return dirty;
}

uint64_t fold_data_mapped(struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    uint64_t mapped = inode->attr.mapped;
    uint64_t size = inode->attr.size;
    struct fold_data *d = inode->data;
    fold_lock_drop(&inode->lock);
    if (d == NULL)
        return mapped;
    fold_rwlock_read(&d->map);
    uint64_t pending = d->dirty.bytes + d->flushing.bytes;
    uint64_t hidden_from = d->hidden_from;
    fold_rwlock_drop(&d->map);
    /* What the recipe still has beyond a cut-off no longer counts; what is dirty may replace what
     * is mapped. */
    uint64_t kept = FOLD_MIN(mapped, hidden_from);
    if (kept + pending == 0 && size > 0 && atomic_load(&d->mappable) > 0)
        return BLOCK_BYTES; /* tar takes a file without any block for a hole, unlooked */
    if (pending == 0)
        return kept;
    uint64_t most = (size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    return FOLD_MIN(kept + pending, FOLD_MAX(most, kept));
}
