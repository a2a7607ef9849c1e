/* SPDX-License-Identifier: MIT */
/*
 * Where the recipe of a file has data and where it has none.
 */
#ifndef FOLD_FS_MAPPED_H
#define FOLD_FS_MAPPED_H

#include "fs/data.h"

struct fold_session;

/*
 * First byte at or after `off` that the recipe has data for (`data`), or has none for; `size` if
 * there is none before `size`. What is allocated but unwritten has no data. Dirty bytes and a
 * pending cut-off are not looked at. The recipe stands still: the caller holds the flush lock.
 */
int fold_mapped_next(struct fold_session *s, struct fold_inode *inode, uint64_t off, uint64_t size,
                     bool data, uint64_t *out) FOLD_MUST;

#endif
