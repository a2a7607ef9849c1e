/* SPDX-License-Identifier: MIT */
/*
 * Access times. The kernel keeps none for a FUSE filesystem, so whoever reads calls this.
 */
#ifndef FOLD_FS_STAMP_H
#define FOLD_FS_STAMP_H

#include "fs/itable.h"

struct fold_session;

/*
 * The inode's content was read just now: moves its access time as the mount options (relatime,
 * noatime, strictatime) say. Takes the inode lock; the catalog follows in the background.
 */
void fold_inode_touch_atime(struct fold_session *s, struct fold_inode *inode);

/*
 * Whether a read moves the access time now. If so it must reach us: what the kernel holds of the
 * content has to go at open. Takes the inode lock.
 */
bool fold_inode_atime_due(const struct fold_session *s, struct fold_inode *inode);

#endif
