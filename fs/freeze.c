/* SPDX-License-Identifier: MIT */
/*
 * Most of what is dirty is stored while writers go on: the first flush takes what there is, the
 * second what came meanwhile. What came during that one is stored with the map locks held, so a
 * writer that never rests cannot keep a file from freezing. Flush locks are held throughout, so
 * nobody else's flush gets in between.
 */
#include "fs/freeze.h"

#include "fs/data.h"
#include "fs/flush.h"
#include "meta/base/knob.h"

/* Flushes both with writers going on. */
static int flush_pair(struct fold_session *s, struct fold_inode *first, struct fold_inode *second)
{
    int rc = fold_flush_locked(s, first);
    return rc == 0 && second != first ? fold_flush_locked(s, second) : rc;
}

/* The same with nobody writing any more: both map locks are held. */
static int flush_pair_frozen(struct fold_session *s, struct fold_inode *first,
                             struct fold_inode *second)
{
    int rc = first->data->dirty.bytes > 0 ? fold_flush_frozen(s, first) : 0;
    if (rc == 0 && second->data->dirty.bytes > 0)
        rc = fold_flush_frozen(s, second);
    return rc;
}

int fold_inode_freeze2(struct fold_session *s, struct fold_inode *a, struct fold_inode *b)
{
    struct fold_inode *first = a->ino < b->ino ? a : b;
    struct fold_inode *second = a->ino < b->ino ? b : a;
    struct fold_data *d1, *d2;
    int rc = fold_data_get(first, &d1);
    if (rc == 0)
        rc = fold_data_get(second, &d2);
    if (rc != 0)
        return rc;
    fold_turn_wait(first);
    if (d2 != d1)
        fold_turn_wait(second);
    for (uint64_t i = 0; rc == 0 && i < fold_knobs.freeze_flushes; i++)
        rc = flush_pair(s, first, second);
    if (rc == 0) {
        fold_rwlock_write(&d1->map);
        if (d2 != d1)
            fold_rwlock_write(&d2->map);
        rc = flush_pair_frozen(s, first, second);
        if (rc == 0)
            return 0;
        if (d2 != d1)
            fold_rwlock_drop(&d2->map);
        fold_rwlock_drop(&d1->map);
    }
    if (d2 != d1)
        fold_turn_drop(s, second);
    fold_turn_drop(s, first);
    return rc;
}

void fold_inode_thaw2(struct fold_session *s, struct fold_inode *a, struct fold_inode *b)
{
    fold_rwlock_drop(&a->data->map);
    if (b != a)
        fold_rwlock_drop(&b->data->map);
    fold_turn_drop(s, a);
    if (b != a)
        fold_turn_drop(s, b);
}

int fold_inode_freeze(struct fold_session *s, struct fold_inode *inode)
{
    return fold_inode_freeze2(s, inode, inode);
}

void fold_inode_thaw(struct fold_session *s, struct fold_inode *inode)
{
    fold_inode_thaw2(s, inode, inode);
}
