/* SPDX-License-Identifier: MIT */
/*
 * A flush moves the dirty list aside (`flushing`) and stores it window by window (fs/window.h),
 * while writers go on into a new dirty list. What could not be stored is given up: the file then
 * ends where its stored content does, and every handle is told.
 */
#include "fs/flush.h"

#include "fs/budget.h"
#include "fs/collector.h"
#include "fs/data.h"
#include "fs/flusher.h"
#include "fs/invalidate.h"
#include "fs/loop.h"
#include "fs/session.h"
#include "fs/waitroom.h"
#include "fs/window.h"
#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/inode.h"

#include <errno.h>

/*
 * Brings what was not stored back under what was written since. -ENOMEM: some of it is still in
 * `flushing`, where readers find it and the next flush tries again.
 */
static int restore_rest(struct fold_data *d)
{
    int rc = 0;
    struct fold_slice_pos pos;
    for (const struct fold_slice *newer = fold_slices_seek(&d->dirty, 0, &pos);
         rc == 0 && newer != NULL && d->flushing.bytes > 0;
         newer = fold_slices_next(&d->dirty, &pos))
        rc = fold_slices_punch(&d->flushing, newer->off, newer->len);
    for (const struct fold_slice *s = fold_slices_seek(&d->flushing, 0, &pos); rc == 0 && s != NULL;
         s = fold_slices_next(&d->flushing, &pos)) {
        fold_buf_ref(s->buf);
        rc = fold_slices_insert(&d->dirty, s);
        if (rc != 0)
            fold_buf_put(s->buf);
    }
    if (rc == 0)
        fold_slices_clear(&d->flushing);
    return rc;
}

/*
 * Gives up on data that cannot be stored: the error goes to every open handle, and the file ends
 * where its stored content does, so that nobody reads bytes that were never written. Map lock held.
 */
static void give_up_locked(struct fold_inode *inode, int code)
{
    struct fold_data *d = inode->data;
    fold_data_fail(d, code);
    fold_error("inode %llu: written data could not be stored: %s", (unsigned long long)inode->ino,
               fold_err_text(code));
    fold_slices_clear(&d->flushing);
    uint64_t end = 0;
    struct fold_slice_pos pos;
    for (const struct fold_slice *s = fold_slices_seek(&d->dirty, 0, &pos); s != NULL;
         s = fold_slices_next(&d->dirty, &pos))
        end = s->off + s->len;
    fold_lock_take(&inode->lock);
    inode->attr.size =
        FOLD_MIN(inode->attr.size, FOLD_MAX(end, FOLD_MIN(inode->disk_size, d->hidden_from)));
    fold_inode_changed_locked(inode);
    fold_lock_drop(&inode->lock);
}

static int flush_attr(struct fold_session *s, struct fold_inode *inode)
{
    int rc = 0;
    fold_lock_take(&inode->lock);
    if (inode->attr_dirty && !inode->ghost) {
        struct fold_attr attr = inode->attr;
        if (inode->data != NULL)
            attr.size = inode->disk_size;
        struct fold_txn *t = fold_txn_begin(fold_session_catalog(s));
        fold_lsn lsn;
        rc = t != NULL ? 0 : -ENOMEM;
        if (rc == 0) {
            fold_inode_store(t, &attr);
            rc = fold_txn_commit(t, &lsn);
        }
        if (rc == 0)
            inode->attr_dirty = false;
    }
    fold_lock_drop(&inode->lock);
    return rc;
}

/* Moves everything dirty to `flushing`, what an earlier flush had to leave there included. *hidden:
 * a cut-off waits to be carried out. -ENOMEM. */
static int set_aside_locked(struct fold_inode *inode, bool *hidden)
{
    struct fold_data *d = inode->data;
    int rc = d->flushing.bytes > 0 ? restore_rest(d) : 0;
    if (rc != 0)
        return rc;
    fold_slices_clear(&d->flushing);
    d->flushing = d->dirty;
    d->dirty = (struct fold_slices){0};
    fold_buf_put(d->arena);
    d->arena = NULL;
    fold_lock_take(&inode->lock);
    d->aside_size = inode->attr.size;
    fold_lock_drop(&inode->lock);
    *hidden = d->hidden_from != UINT64_MAX;
    return 0;
}

/*
 * What a flush claims when it reports success: nothing that was dirty before it is dirty any more,
 * but for a tail it was told to hold. Where that does not hold, the caller must not believe it.
 */
static int check_stored_locked(const struct fold_inode *inode, unsigned how)
{
    const struct fold_data *d = inode->data;
    bool held = (how & FOLD_FLUSH_HOLD_TAIL) != 0;
    if (held || (d->flushing.bytes == 0 && (inode->ghost || d->hidden_from == UINT64_MAX)))
        return 0;
    fold_error("inode %llu: %llu bytes were not stored by the flush that was to store them",
               (unsigned long long)inode->ino, (unsigned long long)d->flushing.bytes);
    return -FOLD_E_NOT_STORED;
}

/* After the last window: what is left becomes dirty again, unless it cannot be stored at all. */
static int finish(struct fold_session *s, struct fold_inode *inode, unsigned how, int rc)
{
    struct fold_data *d = inode->data;
    bool map_held = (how & FOLD_FLUSH_MAP_HELD) != 0;
    if (!map_held)
        fold_rwlock_write(&d->map);
    if (rc == 0)
        rc = check_stored_locked(inode, how);
    int restored = 0;
    if (rc == 0 || rc == -ENOMEM || rc == -FOLD_E_NOT_STORED || (how & FOLD_FLUSH_KEEP) != 0)
        restored = restore_rest(d);
    else
        give_up_locked(inode, rc);
    if (d->dirty.bytes + d->flushing.bytes > 0) {
        fold_lock_take(&inode->lock);
        fold_flush_attr_dirty_locked(s, inode); /* so that the timer finds the inode */
        fold_lock_drop(&inode->lock);
    }
    if (!map_held)
        fold_rwlock_drop(&d->map);
    return rc != 0 ? rc : restored;
}

/*
 * After -ENOSPC: true if storing may be tried again, since a collection made room. Where the thread
 * must not wait, FOLD_FLUSH_KEEP in *how says that it may succeed later.
 */
static bool wait_for_space(struct fold_session *s, const struct fold_data *d, unsigned *how,
                           uint64_t since_ms)
{
    uint64_t bytes = FOLD_MIN(d->flushing.bytes, fold_knobs.window_bytes);
    if ((*how & FOLD_FLUSH_MAP_HELD) == 0 && !fold_loop_thread())
        return fold_waitroom_linger(s->waitroom, bytes, since_ms);
    if (fold_collector_may_free(s->collector))
        *how |= FOLD_FLUSH_KEEP;
    return false;
}

/* Flush lock held, and the map lock if `how` says so. */
static int flush_data(struct fold_session *s, struct fold_inode *inode, unsigned how)
{
    struct fold_data *d = inode->data;
    bool map_held = (how & FOLD_FLUSH_MAP_HELD) != 0, hidden = false;
    if (!map_held)
        fold_rwlock_write(&d->map);
    int rc = set_aside_locked(inode, &hidden);
    if (!map_held)
        fold_rwlock_drop(&d->map);
    if (rc != 0)
        return rc;
    if (d->flushing.bytes == 0 && !hidden) {
        /* Size or times alone, with all data stored: the size may be stated too. */
        fold_lock_take(&inode->lock);
        bool pending = inode->attr_dirty;
        fold_lock_drop(&inode->lock);
        if (!pending)
            return 0;
    }
    uint64_t since_ms = fold_clock_ms();
    for (bool done = false; rc == 0 && !done;) {
        uint64_t before = d->flushing.bytes;
        rc = fold_window_store(s, inode, how, &done);
        if (rc == -ENOSPC && wait_for_space(s, d, &how, since_ms)) {
            rc = 0;
            done = false;
            continue;
        }
        if (rc == 0 && !done && d->flushing.bytes >= before)
            break; /* finish() finds what is left */
    }
    rc = finish(s, inode, how, rc);
    if (rc != 0)
        fold_invalidate_attr(s, inode);
    return rc;
}

int fold_flush_locked(struct fold_session *s, struct fold_inode *inode)
{
    return flush_data(s, inode, 0);
}

int fold_flush_frozen(struct fold_session *s, struct fold_inode *inode)
{
    return flush_data(s, inode, FOLD_FLUSH_MAP_HELD);
}

int fold_flush_in_turn(struct fold_session *s, struct fold_inode *inode, struct fold_turn *turn)
{
    fold_lock_take(&inode->lock);
    struct fold_data *d = inode->data;
    fold_lock_drop(&inode->lock);
    if (d == NULL)
        return flush_attr(s, inode);
    if (!fold_turn_take(s, inode, turn))
        return FOLD_TURN_WAITS;
    int rc = flush_data(s, inode, 0);
    bool again = rc == -ENOSPC && turn != NULL && fold_loop_thread() && fold_data_dirty(inode);
    fold_turn_drop(s, inode);
    if (!again)
        return rc;
    fold_turn_call(s, turn); /* on the pool, where it may wait for space */
    return FOLD_TURN_WAITS;
}

int fold_flush_inode(struct fold_session *s, struct fold_inode *inode)
{
    return fold_flush_in_turn(s, inode, NULL);
}

void fold_flush_stream(struct fold_session *s, struct fold_inode *inode)
{
    fold_turn_wait(inode);
    atomic_store(&inode->data->streaming, false);
    (void)flush_data(s, inode, FOLD_FLUSH_HOLD_TAIL); /* the handles are told */
    fold_turn_drop(s, inode);
}

int fold_flush_fsync(struct fold_session *s, struct fold_inode *inode, struct fold_turn *turn)
{
    int rc = fold_flush_in_turn(s, inode, turn);
    if (rc != 0)
        return rc;
    return fold_catalog_sync(fold_session_catalog(s), fold_catalog_lsn(fold_session_catalog(s)));
}

struct flush_all {
    struct fold_session *session;
    bool spare;  /* files that are being rewritten */
    bool spared; /* there was one */
    int rc;
};

bool fold_flush_rewritten(struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    struct fold_data *d = inode->opens > 0 ? inode->data : NULL;
    fold_lock_drop(&inode->lock);
    if (d == NULL)
        return false;
    fold_rwlock_read(&d->map);
    bool is =
        d->hidden_from != UINT64_MAX && fold_clock_ms() - d->hidden_ms < fold_knobs.rewrite_ms;
    fold_rwlock_drop(&d->map);
    return is;
}

static void flush_one(void *arg, struct fold_inode *inode)
{
    struct flush_all *all = arg;
    if (all->spare && fold_flush_rewritten(inode)) {
        all->spared = true;
        fold_flusher_note(all->session->flusher, inode, 0);
        return;
    }
    int rc = fold_flush_inode(all->session, inode);
    if (rc != 0)
        all->rc = rc;
}

static int flush_many(struct fold_session *s, bool spare, bool *spared)
{
    struct flush_all all = {.session = s, .spare = spare};
    struct fold_inode **list;
    size_t n = fold_flusher_take(s->flusher, &list);
    for (size_t i = 0; i < n; i++) {
        flush_one(&all, list[i]);
        fold_itable_put(s->inodes, list[i]);
    }
    free(list);
    fold_itable_each_dirty(s->inodes, flush_one, &all);
    int rc = fold_catalog_sync(fold_session_catalog(s), fold_catalog_lsn(fold_session_catalog(s)));
    *spared = all.spared;
    return rc != 0 ? rc : all.rc;
}

int fold_flush_due(struct fold_session *s, bool *spared)
{
    /* Not twice in a row, or a file rewritten all the time would never be stored; and not when
     * writers wait for the memory. */
    return flush_many(s, !*spared && !fold_budget_pressed(s->budget), spared);
}

int fold_flush_all(struct fold_session *s)
{
    bool spared;
    return flush_many(s, false, &spared);
}

static void note_dirty(void *arg, struct fold_inode *inode)
{
    int *rc = arg;
    fold_lock_take(&inode->lock);
    bool ghost = inode->ghost; /* not in the catalog any more: nothing of it is to be stored */
    fold_lock_drop(&inode->lock);
    if (ghost || !fold_data_dirty(inode))
        return;
    fold_error("inode %llu is still dirty after everything was stored",
               (unsigned long long)inode->ino);
    *rc = -FOLD_E_NOT_STORED;
}

int fold_flush_check(struct fold_session *s)
{
    int rc = 0;
    fold_itable_each_dirty(s->inodes, note_dirty, &rc);
    return rc;
}
