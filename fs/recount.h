/* SPDX-License-Identifier: MIT */
/*
 * Counting what a file has stored. Where a long file is cut off in the middle, neither what goes
 * nor what stays is looked at: the file keeps an upper bound of its stored bytes and a mark
 * (FOLD_INODE_RECOUNT), until it is counted here, in the background.
 */
#ifndef FOLD_FS_RECOUNT_H
#define FOLD_FS_RECOUNT_H

#include "fs/data.h"

/* Counts the file if it is marked. `stop`: asked now and then, ends it with -ECANCELED; the mark
 * stays then. Writers go on meanwhile. No lock may be held. */
int fold_recount_inode(struct fold_session *s, struct fold_inode *inode,
                       const atomic_bool *stop) FOLD_MUST;

#endif
