/* SPDX-License-Identifier: MIT */
/*
 * Circular lists of open handles and directories under one leaf lock.
 */
#include "fs/handle.h"

#include "fs/creation.h"
#include "fs/data.h"
#include "fs/flusher.h"
#include "fs/invalidate.h"
#include "fs/refold.h"
#include "fs/session.h"

#include <errno.h>
#include <fcntl.h>

struct fold_handles {
    struct fold_lock lock;
    struct fold_handle head;   /* guarded by lock */
    struct fold_open_dir dirs; /* guarded by lock */
};

int fold_handles_create(struct fold_handles **out)
{
    struct fold_handles *all = calloc(1, sizeof *all);
    if (all == NULL)
        return -ENOMEM;
    fold_lock_init(&all->lock, FOLD_RANK_LEAF, "open handles");
    all->head.prev = all->head.next = &all->head;
    all->dirs.prev = all->dirs.next = &all->dirs;
    *out = all;
    return 0;
}

void fold_handles_destroy(struct fold_session *s, struct fold_handles *all)
{
    if (all == NULL)
        return;
    while (all->head.next != &all->head)
        fold_handle_close(s, all->head.next);
    while (all->dirs.next != &all->dirs)
        all->dirs.next->close(s, all->dirs.next);
    fold_lock_fini(&all->lock);
    free(all);
}

void fold_handles_add_dir(struct fold_handles *all, struct fold_open_dir *d)
{
    fold_lock_take(&all->lock);
    d->prev = all->dirs.prev;
    d->next = &all->dirs;
    d->prev->next = d;
    d->next->prev = d;
    fold_lock_drop(&all->lock);
}

void fold_handles_remove_dir(struct fold_handles *all, struct fold_open_dir *d)
{
    fold_lock_take(&all->lock);
    d->prev->next = d->next;
    d->next->prev = d->prev;
    fold_lock_drop(&all->lock);
}

/* Counts the handle, and with `truncate` empties the file, whose flush lock is held then. */
static int enter(struct fold_session *s, struct fold_inode *inode, bool truncate, bool kill_priv)
{
    int rc = fold_inode_open(inode);
    if (rc == 0 && truncate) {
        rc = fold_data_truncate_locked(inode, 0, kill_priv);
        if (rc != 0)
            fold_inode_close(s, inode);
    }
    return rc;
}

/*
 * Does a handle pass by the kernel's page cache? The mode is fixed at open.
 * - Who only writes does: a stream is not put into a page cache that nobody may read. What the
 *   cache has of the range is dropped before the reply (fs/direct.h).
 * - Who reads beside such a writer does as well, so that nothing has to be dropped.
 * - Everybody else uses the cache, and all of them do. Mapping a file through a direct handle drops
 *   the whole cache of it; while a buffered write is on its way that would let an old page come
 * back for good. So handles that can be mapped have the same mode as those that are open already.
 * The inode lock is held.
 */
static bool choose_direct_locked(const struct fold_session *s, const struct fold_data *d, int flags)
{
    if (!s->direct_io_ok)
        return false;
    /* Reads that the kernel answers by itself would leave no access time. */
    if (s->opt.atime == FOLD_ATIME_STRICT || (flags & O_ACCMODE) == O_WRONLY)
        return true;
    if (d->cached_handles > 0)
        return false;
    return d->direct_handles > 0;
}

static void enter_mode(struct fold_session *s, struct fold_handle *h)
{
    struct fold_data *d = h->inode->data;
    fold_lock_take(&h->inode->lock);
    if (d->direct_handles + d->cached_handles == 0)
        atomic_store(&d->filled, false); /* there is no mapping, and nobody reads */
    h->direct = choose_direct_locked(s, d, h->flags);
    if ((h->flags & O_ACCMODE) == O_RDWR) {
        atomic_fetch_add(&d->mappable, 1);
        /* A file that is all hole is said to have a block from now on. */
        if (h->inode->attr.mapped == 0 && h->inode->attr.size > 0)
            fold_inode_changed_locked(h->inode);
    }
    if (h->direct)
        d->direct_handles++;
    else
        d->cached_handles++;
    fold_lock_drop(&h->inode->lock);
}

static void leave_mode(struct fold_handle *h)
{
    struct fold_data *d = h->inode->data;
    fold_lock_take(&h->inode->lock);
    if (h->direct)
        d->direct_handles--;
    else
        d->cached_handles--;
    if ((h->flags & O_ACCMODE) == O_RDWR)
        atomic_fetch_sub(&d->mappable, 1);
    fold_lock_drop(&h->inode->lock);
}

int fold_handle_error(struct fold_handle *h, int rc)
{
    int earlier = fold_data_error(h->inode->data, &h->error_seen);
    return rc != 0 ? rc : earlier;
}

int fold_handle_open(struct fold_session *s, struct fold_inode *inode, int flags, bool truncate,
                     bool kill_priv, struct fold_turn *turn, struct fold_handle **out)
{
    struct fold_data *d;
    int rc = fold_data_get(inode, &d);
    if (rc != 0)
        return rc;
    if (truncate && !fold_turn_take(s, inode, turn))
        return FOLD_TURN_WAITS;
    struct fold_handle *h = calloc(1, sizeof *h);
    rc = h != NULL ? enter(s, inode, truncate, kill_priv) : -ENOMEM;
    if (truncate)
        fold_turn_drop(s, inode);
    if (rc != 0) {
        free(h);
        return rc;
    }
    if (truncate)
        fold_flusher_note(s->flusher, inode, 0);
    fold_refold_resume(s->refolder, inode);
    h->inode = inode;
    h->flags = flags;
    enter_mode(s, h);
    atomic_init(&h->error_seen, atomic_load(&d->error_seq));
    struct fold_handles *all = s->handles;
    fold_lock_take(&all->lock);
    h->prev = all->head.prev;
    h->next = &all->head;
    h->prev->next = h;
    h->next->prev = h;
    fold_lock_drop(&all->lock);
    *out = h;
    return 0;
}

void fold_handle_close(struct fold_session *s, struct fold_handle *h)
{
    fold_lock_take(&s->handles->lock);
    h->prev->next = h->next;
    h->next->prev = h->prev;
    fold_lock_drop(&s->handles->lock);
    leave_mode(h);
    fold_inode_close(s, h->inode);
    fold_itable_put(s->inodes, h->inode);
    free(h);
}
