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
 * noatime, strictatime) say. True if it moved. Takes the inode lock; the catalog follows in the
 * background.
 */
bool fold_inode_touch_atime(struct fold_session *s, struct fold_inode *inode);

/*
 * It was opened to be read, perhaps out of the kernel's cache: that counts as a read.
 * fold_invalidate_attr is left to do.
 */
void fold_inode_opened_to_read(struct fold_session *s, struct fold_inode *inode);

#endif
