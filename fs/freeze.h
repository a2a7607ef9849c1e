/* SPDX-License-Identifier: MIT */
/*
 * Files standing still, for operations that read or edit a recipe themselves (punching, copying,
 * leading it to where chunks are now): everything written is stored, nothing is cut off any more,
 * and nobody reads or writes until the thaw. Keep it short: other requests for the file wait on
 * their threads.
 */
#ifndef FOLD_FS_FREEZE_H
#define FOLD_FS_FREEZE_H

#include "fs/itable.h"

struct fold_session;

/*
 * Takes the flush lock, stores all there is, and takes the map lock exclusively: `dirty` and
 * `flushing` are empty and nothing is hidden. The inode is referenced by the caller, who holds no
 * lock of rank FLUSH or later. Both locks are held on success, and none after a failure: the error
 * of the flush, or -ENOMEM.
 */
int fold_inode_freeze(struct fold_session *s, struct fold_inode *inode) FOLD_MUST FOLD_NO_ANALYSIS;

/* Drops both locks. */
void fold_inode_thaw(struct fold_session *s, struct fold_inode *inode) FOLD_NO_ANALYSIS;

/* The same for two inodes, which may be one; locks are taken in inode number order. */
int fold_inode_freeze2(struct fold_session *s, struct fold_inode *a,
                       struct fold_inode *b) FOLD_MUST FOLD_NO_ANALYSIS;
void fold_inode_thaw2(struct fold_session *s, struct fold_inode *a,
                      struct fold_inode *b) FOLD_NO_ANALYSIS;

#endif
