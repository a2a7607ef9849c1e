/* SPDX-License-Identifier: MIT */
/*
 * Opens and last closes, and what they mean for inodes without a name: while one is open the
 * catalog lists it as an orphan, so that neither a crash nor a forced unmount leaks it.
 */
#include "fs/orphan.h"

#include "fs/change.h"
#include "fs/creation.h"
#include "fs/session.h"
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/inode.h"

#include <inttypes.h>

int fold_inode_open(struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    bool ghost = inode->ghost;
    if (!ghost)
        inode->opens++;
    fold_lock_drop(&inode->lock);
    return ghost ? -ESTALE : 0;
}

static void cannot_remove(fold_ino ino, int rc)
{
    fold_warn("inode %" PRIu64
              " has no name and could not be removed now: %s; the next mount tries again",
              ino, fold_err_text(rc));
}

/* Removes an inode that has neither name nor opener; in memory it goes even if the catalog refuses.
 */
static int remove_orphan(struct fold_session *s, struct fold_inode *inode)
{
    struct fold_change c;
    fold_change_begin(&c, s, &inode, 1);
    if (inode->ghost || inode->opens > 0 || inode->attr.nlink > 0)
        return fold_change_abort(&c, 0);
    int rc = fold_change_remove(&c, inode);
    rc = rc < 0 ? fold_change_abort(&c, rc) : fold_change_commit(&c);
    if (rc < 0) {
        fold_lock_take(&inode->lock);
        fold_itable_ghost_locked(s->inodes, inode);
        fold_lock_drop(&inode->lock);
    }
    return rc;
}

void fold_inode_close(struct fold_session *s, struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    bool last = --inode->opens == 0 && inode->attr.nlink == 0 && !inode->ghost;
    fold_lock_drop(&inode->lock);
    if (last)
        fold_inode_abandon(s, inode);
}

void fold_inode_abandon(struct fold_session *s, struct fold_inode *inode)
{
    int rc = remove_orphan(s, inode);
    if (rc < 0)
        cannot_remove(inode->ino, rc);
}

static int clean_one(void *arg, fold_ino ino)
{
    struct fold_session *s = arg;
    struct fold_inode *inode = NULL;
    int rc = fold_itable_get(s->inodes, ino, &inode);
    if (rc == -ESTALE) {
        struct fold_txn *txn = fold_txn_begin(fold_session_catalog(s));
        fold_lsn lsn;
        fold_orphan_remove(txn, ino);
        rc = fold_txn_commit(txn, &lsn);
    } else if (rc == 0) {
        rc = remove_orphan(s, inode);
        fold_itable_put(s->inodes, inode);
    }
    if (rc < 0)
        cannot_remove(ino, rc);
    return 0;
}

void fold_orphans_clean(struct fold_session *s)
{
    int rc = fold_orphan_each(fold_session_catalog(s), clean_one, s);
    if (rc < 0)
        fold_warn("not all inodes without a name could be looked at: %s", fold_err_text(rc));
}
