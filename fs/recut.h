/* SPDX-License-Identifier: MIT */
/*
 * Cutting a stored part of a file again, window by window. Which parts, and when, is the refolder's
 * business (fs/refold.h).
 */
#ifndef FOLD_FS_RECUT_H
#define FOLD_FS_RECUT_H

#include "fs/data.h"

struct fold_session;

/* A place that is being cut again. */
struct fold_recut {
    struct fold_frag place;
    uint64_t at;    /* what lies before is done; to begin with place.lo */
    uint64_t bytes; /* file bytes cut so far */
    bool done;
};

/*
 * The next window: refold_window bytes around w->at, up to where the new cuts meet the old ones;
 * w->done then says so. `size` is what the catalog has as the size of the file. The flush lock is
 * held, so the recipe stands still while writers go on into the dirty list, and no cut-off is
 * pending; takes the map lock for the commit, and passes the gate. On an error (-EIO, -ENOSPC,
 * -ENOMEM, ...) nothing has changed and the place is given up.
 */
int fold_recut_step(struct fold_session *s, struct fold_inode *inode, uint64_t size,
                    struct fold_recut *w) FOLD_MUST;

#endif
