/* SPDX-License-Identifier: MIT */
/*
 * Entries that the index lost: earlier versions dropped the entry of a chunk of which another
 * record stayed. The chunk could still be read, but the same content was stored again.
 */
#ifndef FOLD_META_REINDEX_H
#define FOLD_META_REINDEX_H

#include "meta/collect.h"

/*
 * Gives every record of a sealed segment that has no entry of its fingerprint one; opt->added hears
 * of each. Done once in the life of an index, which notes that it is complete; later calls do
 * nothing. *count is set to the number of entries added. One collection at a time calls it.
 * -ECANCELED, -ENOMEM, -ENOSPC, -EIO, ...: the next call begins anew.
 */
int fold_reindex_run(struct fold_store *store, const struct fold_collect_options *opt,
                     uint64_t *count) FOLD_MUST;

#endif
