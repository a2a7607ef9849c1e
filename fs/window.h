/* SPDX-License-Identifier: MIT */
/*
 * One window of a flush: the next bytes of an inode's flushing list, as many as are stored and
 * committed together.
 */
#ifndef FOLD_FS_WINDOW_H
#define FOLD_FS_WINDOW_H

#include "fs/data.h"

struct fold_session;

/*
 * Stores the next window of inode->data->flushing and commits its extents with the size and times
 * of the inode; what is committed leaves the list. With `hold_tail` a chunk that still grows at the
 * end of the data stays there. *done: nothing is left that may be stored now.
 *
 * The flush lock is held; takes the map lock exclusively for the commit, and passes the gate. The
 * inode may be a ghost: then nothing is stored. -ENOSPC, -EIO, -ENOMEM, or what the catalog says:
 * the list is as before, and nothing of the window is in the catalog.
 */
int fold_window_store(struct fold_session *s, struct fold_inode *inode, bool hold_tail,
                      bool *done) FOLD_MUST;

#endif
