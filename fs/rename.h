/* SPDX-License-Identifier: MIT */
/*
 * Renaming: the one change that may concern two directories and two inodes.
 */
#ifndef FOLD_FS_RENAME_H
#define FOLD_FS_RENAME_H

#include "fs/reply.h"

struct fold_turn;

/*
 * As renameat2: flags 0, RENAME_EXCHANGE alone, or RENAME_NOREPLACE, RENAME_WHITEOUT or both
 * (-EINVAL for others); the caller's ids, for a whiteout, come from the request. Before a file
 * takes the place of another its unsaved data is stored, so that a crash leaves the whole old or
 * the whole new content under the name; if that takes long or has to wait, the request `turn` (may
 * be NULL) is left to be begun anew on another thread, nothing has changed, and FOLD_TURN_WAITS is
 * returned (fs/turn.h). Takes the inodes' locks; the caller holds none. -EEXIST,
 * -ENOENT, -ENOTEMPTY, -EISDIR, -ENOTDIR, -EINVAL (below itself), -EMLINK, ...
 */
int fold_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                const char *newname, unsigned flags, struct fold_turn *turn) FOLD_MUST;

#endif
