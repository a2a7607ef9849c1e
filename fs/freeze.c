/* SPDX-License-Identifier: MIT */
/*
 * Between the end of a flush and the taking of the map lock a writer may have come: then everything
 * is flushed again. Flush locks are held throughout, so nobody else's flush gets in between.
 */
#include "fs/freeze.h"

#include "fs/data.h"
#include "fs/flush.h"

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
    for (;;) {
        rc = fold_flush_locked(s, first);
        if (rc == 0 && d2 != d1)
            rc = fold_flush_locked(s, second);
        if (rc != 0)
            break;
        fold_rwlock_write(&d1->map);
        if (d2 != d1)
            fold_rwlock_write(&d2->map);
        if (d1->dirty.bytes + d2->dirty.bytes == 0)
            return 0;
        if (d2 != d1) /* a writer was faster */
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
