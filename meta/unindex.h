/* SPDX-License-Identifier: MIT */
/*
 * Taking the fingerprints of records that are about to go out of the index.
 */
#ifndef FOLD_META_UNINDEX_H
#define FOLD_META_UNINDEX_H

#include "meta/compact.h"
#include "meta/punch.h"

/*
 * Entries of the records of those condemned segments, and of the records that `punch` takes away,
 * leave the index, or lead to where the record was copied, or to another record with the same
 * fingerprint that stays; opt->dropped hears of fingerprints of which no record stays. The
 * summaries of all these segments go with them: until they are back, opening the volume reads the
 * segments anew. Atomic and durable. -ENOMEM, -ENOSPC, -EIO, ...
 */
int fold_unindex_run(struct fold_store *store, const struct fold_condemned *list, size_t count,
                     struct fold_punch *punch, const struct fold_collect_options *opt) FOLD_MUST;

#endif
