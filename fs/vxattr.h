/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes below user.foldfs. that are not stored but answered: what a file really
 * takes, and its checksum. Never listed; nobody can set or remove them.
 */
#ifndef FOLD_FS_VXATTR_H
#define FOLD_FS_VXATTR_H

#include "fs/reply.h"

#define FOLD_VXATTR_PREFIX "user.foldfs."

/*
 * Answers getxattr of a name with the prefix, from a worker: the value, -ENODATA for unknown names
 * and for anything but regular files, -EPERM where only root and the daemon's user may ask.
 */
void fold_vxattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);

#endif
