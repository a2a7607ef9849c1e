/* SPDX-License-Identifier: MIT */
/*
 * What the kernel caches and must be told to forget, because it changed here without the kernel
 * having asked for it. All such notices to the kernel are sent by this file.
 */
#ifndef FOLD_FS_INVALIDATE_H
#define FOLD_FS_INVALIDATE_H

#include "fs/itable.h"

struct fold_session;

/*
 * Attributes that we change by ourselves: set-id bits that a change of content drops, the size of a
 * file whose data could not be stored, blocks that are counted late. (The kernel knows by itself
 * that times, blocks and size follow a write, and the reply to a change of attributes carries all
 * of them.) Notes such a change; fold_invalidate_attr is left to do. Inode lock held.
 */
static inline void fold_inode_changed_locked(struct fold_inode *inode) FOLD_REQUIRES(inode->lock)
{
    inode->changes++;
}

/*
 * Has the kernel forget the attributes of the inode if there was such a change. On return the
 * kernel has forgotten all that were noted before the call; a request that may have made one calls
 * this before its reply. It never waits for another request, so any handler may call it. No lock of
 * rank INODE or later is held.
 */
void fold_invalidate_attr(struct fold_session *s, struct fold_inode *inode);

#endif
