/* SPDX-License-Identifier: MIT */
/*
 * Repairs of single files of a store that nobody has open. Used by the check only; the caller holds
 * the store's lock.
 */
#ifndef FOLD_META_REPAIR_H
#define FOLD_META_REPAIR_H

#include "meta/segfmt.h"

/* Empties index/: opening the volume for writing makes it anew from the segments. -errno. */
int fold_repair_drop_index(int storefd) FOLD_MUST;

/* Writes both copies of the header of a segment file again. `fd` is open for writing. */
int fold_repair_header(int fd, const struct fold_seg_ident *id) FOLD_MUST;

/*
 * Takes table and footer off a sealed segment whose data ends at `data_end`; opening the volume for
 * writing finds the records by themselves and seals it again. The index must be dropped as well.
 */
int fold_repair_unseal(int fd, uint32_t data_end) FOLD_MUST;

#endif
