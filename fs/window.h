/* SPDX-License-Identifier: MIT */
/*
 * One window of a flush: the next bytes of an inode's flushing list, as many as are stored and
 * committed together.
 */
#ifndef FOLD_FS_WINDOW_H
#define FOLD_FS_WINDOW_H

#include "fs/data.h"

struct fold_session;

/* How data is stored. */
enum {
    FOLD_FLUSH_HOLD_TAIL = 1, /* a chunk that still grows at the end of the data stays dirty */
    FOLD_FLUSH_MAP_HELD = 2,  /* the caller holds the map lock exclusively, all the time */
    FOLD_FLUSH_KEEP = 4,      /* what cannot be stored is not given up: it may be possible soon */
};

/*
 * Stores the next window of inode->data->flushing and commits its extents with the size and times
 * of the inode; what is committed leaves the list. `how`: FOLD_FLUSH_* together. *done: the window
 * reached the end of the list, so that nothing is left but what FOLD_FLUSH_HOLD_TAIL held. Each
 * window that is not the last leaves the list shorter.
 *
 * The flush lock is held; takes the map lock exclusively for the commit, and passes the gate. The
 * inode may be a ghost: then nothing is stored. -ENOSPC, -EIO, -ENOMEM, or what the catalog says:
 * nothing of the window is in the catalog, and the list is as before.
 */
int fold_window_store(struct fold_session *s, struct fold_inode *inode, unsigned how,
                      bool *done) FOLD_MUST;

#endif
