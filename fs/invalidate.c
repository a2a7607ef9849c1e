/* SPDX-License-Identifier: MIT */
/*
 * Changes are numbered, and the inode remembers up to which of them the kernel was told. The number
 * is moved on after the kernel was told, so a second request that finds the change already made
 * does not reply before that either.
 */
#include "fs/invalidate.h"

#include "fs/reply.h"
#include "fs/session.h"
#include "meta/base/log.h"

#include <errno.h>
#include <inttypes.h>

/* What the kernel answers if it does not know the inode, or if the connection has ended. */
static bool is_harmless(int rc)
{
    return rc == 0 || rc == -ENOENT || rc == -ENOTCONN || rc == -ENODEV;
}

void fold_invalidate_attr(struct fold_session *s, struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    uint32_t changes = inode->changes;
    bool told = inode->told == changes;
    fold_lock_drop(&inode->lock);
    if (FOLD_LIKELY(told))
        return;
    int rc = s->fuse != NULL ? fuse_lowlevel_notify_inval_inode(s->fuse, inode->ino, -1, 0) : 0;
    if (!is_harmless(rc))
        fold_warn("inode %" PRIu64 ": the kernel was not told of changed attributes: %s",
                  inode->ino, strerror(-rc));
    fold_lock_take(&inode->lock);
    if ((int32_t)(changes - inode->told) > 0)
        inode->told = changes;
    fold_lock_drop(&inode->lock);
}
