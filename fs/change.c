/* SPDX-License-Identifier: MIT */
/*
 * Changes of names and attributes. Locks are taken in inode number order, each once, so two changes
 * that meet never wait for each other in a ring. The inode locks are held across the commit: what
 * readers see and what the catalog holds change together. Ghosts take part in memory only.
 */
#include "fs/change.h"

#include "fs/ballast.h"
#include "fs/collector.h"
#include "fs/pagecache.h"
#include "fs/session.h"
#include "meta/inode.h"
#include "meta/recipe.h"
#include "meta/xattr.h"

#include <assert.h>
#include <errno.h>

struct timespec fold_change_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now;
}

/* Copies what is not NULL, sorted by inode number, each once. Returns how many. */
static unsigned sort(struct fold_inode *const *in, unsigned n, struct fold_inode **out)
{
    unsigned count = 0;
    assert(n <= FOLD_CHANGE_INODES);
    for (unsigned i = 0; i < n; i++) {
        if (in[i] == NULL)
            continue;
        unsigned at = count;
        while (at > 0 && out[at - 1]->ino > in[i]->ino)
            at--;
        if (at > 0 && out[at - 1] == in[i])
            continue;
        memmove(&out[at + 1], &out[at], (count - at) * sizeof(out[0]));
        out[at] = in[i];
        count++;
    }
    return count;
}

void fold_names_lock(struct fold_inode *const *dirs, unsigned n) FOLD_NO_ANALYSIS
{
    struct fold_inode *sorted[FOLD_CHANGE_INODES + 1];
    unsigned count = sort(dirs, n, sorted);
    for (unsigned i = 0; i < count; i++)
        fold_lock_take(&sorted[i]->names);
}

void fold_names_unlock(struct fold_inode *const *dirs, unsigned n) FOLD_NO_ANALYSIS
{
    struct fold_inode *sorted[FOLD_CHANGE_INODES + 1];
    unsigned count = sort(dirs, n, sorted);
    while (count > 0)
        fold_lock_drop(&sorted[--count]->names);
}

static void unlock(struct fold_change *c) FOLD_NO_ANALYSIS
{
    for (unsigned i = c->count; i > 0; i--)
        fold_lock_drop(&c->items[i - 1].inode->lock);
}

void fold_change_begin(struct fold_change *c, struct fold_session *s,
                       struct fold_inode *const *inodes, unsigned n) FOLD_NO_ANALYSIS
{
    struct fold_inode *sorted[FOLD_CHANGE_INODES + 1];
    memset(c, 0, sizeof *c);
    c->s = s;
    c->count = sort(inodes, n, sorted);
    for (unsigned i = 0; i < c->count; i++) {
        fold_lock_take(&sorted[i]->lock);
        c->items[i].inode = sorted[i];
        c->items[i].attr = sorted[i]->attr;
    }
    c->now = fold_change_now();
    c->txn = fold_txn_begin(fold_session_catalog(s));
}

static struct fold_change_item *item_of(struct fold_change *c, const struct fold_inode *inode)
{
    unsigned i = 0;
    while (i < c->count && c->items[i].inode != inode)
        i++;
    assert(i < c->count);
    return &c->items[i];
}

struct fold_attr *fold_change_attr(struct fold_change *c, const struct fold_inode *inode)
{
    return &item_of(c, inode)->attr;
}

void fold_change_dir(struct fold_change *c, struct fold_inode *dir, int entries, int subdirs)
{
    struct fold_attr *attr = fold_change_attr(c, dir);
    attr->size += (uint64_t)(int64_t)entries;
    attr->nlink += (uint32_t)subdirs;
    attr->mtime = attr->ctime = c->now;
    dir->names_version++;
}

/* Adds `n` inodes of this type to the totals. */
static void count(struct fold_change *c, uint32_t mode, int64_t n)
{
    if (S_ISREG(mode))
        c->files += n;
    else if (S_ISDIR(mode))
        c->directories += n;
    else
        c->others += n;
}

void fold_change_born(struct fold_change *c, const struct fold_inode *inode)
{
    count(c, fold_change_attr(c, inode)->mode, 1);
}

/* Takes everything the catalog holds about the inode out of it. */
static int drop(struct fold_change *c, struct fold_change_item *item)
{
    struct fold_attr *attr = &item->attr;
    if ((attr->flags & FOLD_INODE_XATTRS) != 0) {
        int rc = fold_xattr_remove_all(c->txn, attr->ino);
        if (rc < 0)
            return rc;
        attr->flags &= ~(FOLD_INODE_XATTRS | FOLD_INODE_ACCESS_ACL | FOLD_INODE_DEFAULT_ACL);
    }
    if (S_ISREG(attr->mode) && attr->mapped > 0) {
        if (fold_pagecache_first_is_all(c->s->pages, attr->ino, attr->mapped))
            fold_recipe_drop_first(c->txn, attr->ino);
        else
            fold_recipe_drop(c->txn, attr->ino, 0, UINT64_MAX);
        fold_pagecache_drop(c->s->pages, attr->ino, 0);
    }
    if (S_ISLNK(attr->mode))
        fold_symlink_remove(c->txn, attr->ino);
    fold_inode_remove(c->txn, attr->ino);
    c->logical_bytes -= (int64_t)attr->mapped;
    item->gone = true;
    return 0;
}

int fold_change_unname(struct fold_change *c, struct fold_inode *inode)
{
    struct fold_change_item *item = item_of(c, inode);
    struct fold_attr *attr = &item->attr;
    attr->ctime = c->now;
    attr->nlink = S_ISDIR(attr->mode) || attr->nlink == 0 ? 0 : attr->nlink - 1;
    if (attr->nlink > 0)
        return 0;
    inode->unnamed = false;
    count(c, attr->mode, -1);
    if (inode->opens == 0)
        return drop(c, item);
    fold_orphan_add(c->txn, attr->ino);
    return 0;
}

int fold_change_remove(struct fold_change *c, struct fold_inode *inode)
{
    fold_orphan_remove(c->txn, inode->ino);
    return drop(c, item_of(c, inode));
}

/* Puts the attributes into the transaction. False if the transaction is empty. */
static bool store(struct fold_change *c) FOLD_NO_ANALYSIS
{
    bool any = false;
    for (unsigned i = 0; i < c->count; i++) {
        struct fold_change_item *item = &c->items[i];
        any = any || !item->inode->ghost;
        if (item->gone || item->inode->ghost)
            continue;
        struct fold_attr disk = item->attr;
        disk.size = S_ISREG(disk.mode) ? item->inode->disk_size : disk.size;
        fold_inode_store(c->txn, &disk);
    }
    return any;
}

int fold_change_commit(struct fold_change *c) FOLD_NO_ANALYSIS
{
    if (store(c)) {
        fold_lsn lsn;
        fold_ballast_yield(c->s->ballast);
        fold_txn_count(c->txn, c->files, c->directories, c->others, c->logical_bytes);
        int rc = fold_txn_commit(c->txn, &lsn);
        if (rc < 0) {
            unlock(c);
            return rc;
        }
        if (c->logical_bytes < 0)
            fold_collector_released(c->s->collector, (uint64_t)-c->logical_bytes);
    } else {
        fold_txn_abort(c->txn);
    }
    for (unsigned i = 0; i < c->count; i++) {
        struct fold_change_item *item = &c->items[i];
        item->inode->attr = item->attr;
        if (item->inode->data == NULL)
            item->inode->attr_dirty = false;
        if (item->gone)
            fold_itable_ghost_locked(c->s->inodes, item->inode);
    }
    unlock(c);
    return 0;
}

int fold_change_abort(struct fold_change *c, int code) FOLD_NO_ANALYSIS
{
    fold_txn_abort(c->txn);
    unlock(c);
    return code;
}
