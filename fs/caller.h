/* SPDX-License-Identifier: MIT */
/*
 * Who sent a request: what the kernel does not check for us.
 */
#ifndef FOLD_FS_CALLER_H
#define FOLD_FS_CALLER_H

#include "fs/reply.h"

/*
 * May the caller keep the set-gid bit of a file of group `gid`: is that its filesystem group or one
 * of its supplementary groups, or has it CAP_FSETID? Reads /proc; where that is of no help only
 * root may.
 */
bool fold_caller_keeps_sgid(fuse_req_t req, gid_t gid);

/*
 * Call before the caller's write, truncation or the like. Drops the file's capabilities, and, if
 * the kernel wants set-id bits dropped (`kill_priv`), a set-gid bit without group execution, which
 * only members of the group may keep. The change of content itself drops the other bits.
 */
void fold_caller_modifies(fuse_req_t req, struct fold_inode *inode, bool kill_priv);

#endif
