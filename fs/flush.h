/* SPDX-License-Identifier: MIT */
/*
 * From dirty to stored: flushes of one inode, or of all there are. When that happens by itself is
 * the flusher's business (fs/flusher.h).
 */
#ifndef FOLD_FS_FLUSH_H
#define FOLD_FS_FLUSH_H

#include "fs/itable.h"

struct fold_session;
struct fold_turn;

/*
 * Stores all dirty data of the inode and commits recipe, size and times. On success nothing of the
 * file is dirty that was written before the call, and it survives the process (not yet the power
 * cut). For inodes without data only dirty attributes are committed. Takes the inode's locks; the
 * caller holds none. While a collection may make room for it, it waits on -ENOSPC, some seconds at
 * most. -ENOMEM, -FOLD_E_NOT_STORED: what was not stored is dirty as before. Any other error
 * (-ENOSPC, -EIO, ...): it is given up, the file ends where its stored content does, and the error
 * is also kept for the handles.
 */
int fold_flush_inode(struct fold_session *s, struct fold_inode *inode) FOLD_MUST;

/* fold_flush_inode; FOLD_TURN_WAITS if the request `turn` (may be NULL) was left waiting for the
 * flush lock (fs/turn.h). */
int fold_flush_in_turn(struct fold_session *s, struct fold_inode *inode,
                       struct fold_turn *turn) FOLD_MUST;

/* fold_flush_inode for an inode with data whose flush lock is held; takes the map and inode locks.
 */
int fold_flush_locked(struct fold_session *s, struct fold_inode *inode) FOLD_MUST;

/* The same with the map lock held exclusively as well: nobody can write meanwhile, so nothing at
 * all is dirty on success. Keep it for little data. It does not wait: -ENOSPC leaves everything
 * dirty while a collection may make room. */
int fold_flush_frozen(struct fold_session *s, struct fold_inode *inode) FOLD_MUST;

/* Stores what a streaming writer has completed so far; a chunk still growing at the end is left
 * dirty. */
void fold_flush_stream(struct fold_session *s, struct fold_inode *inode);

/* fold_flush_inode, then durable on stable storage. FOLD_TURN_WAITS as below. */
int fold_flush_fsync(struct fold_session *s, struct fold_inode *inode,
                     struct fold_turn *turn) FOLD_MUST;

/*
 * The same as fold_flush_all for the periodic commit and for whoever else has not asked for
 * durability: files that were cut off a moment ago and are still open are left for the next time,
 * since whoever rewrites a file should not have its empty middle made durable. *spared says whether
 * that was so last time (then no file is left out) and afterwards whether it was this time.
 */
int fold_flush_due(struct fold_session *s, bool *spared) FOLD_MUST;

/* Is the file being rewritten: was it cut off a moment ago, and is it open? Who flushes it for no
 * reason of the writer's would store its empty middle. */
bool fold_flush_rewritten(struct fold_inode *inode);

/* Everything of the volume, durable on return (foldfs sync, unmount). */
int fold_flush_all(struct fold_session *s) FOLD_MUST;

/* Whether fold_flush_all has kept its word, when nobody writes any more: -FOLD_E_NOT_STORED if a
 * file is still dirty, and the log names it. */
int fold_flush_check(struct fold_session *s) FOLD_MUST;

/* Marks the inode as having dirty attributes (times, size), to be committed in the background.
 * Inode lock held. */
static inline void fold_flush_attr_dirty_locked(struct fold_session *s, struct fold_inode *inode)
    FOLD_REQUIRES(inode->lock)
{
    (void)s;
    inode->attr_dirty = true;
}

#endif
