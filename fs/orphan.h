/* SPDX-License-Identifier: MIT */
/*
 * Inodes without a name that were still open when the previous mount ended without closing them.
 */
#ifndef FOLD_FS_ORPHAN_H
#define FOLD_FS_ORPHAN_H

#include "meta/base/attr.h"

struct fold_session;

/*
 * Removes all of them. Before requests are served; needs catalog and inode table only. One that
 * cannot be removed is said in the log and left for the next mount: it takes space, no more.
 */
void fold_orphans_clean(struct fold_session *s);

#endif
