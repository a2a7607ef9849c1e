/* SPDX-License-Identifier: MIT */
/*
 * Taking the fingerprints of records that are about to go out of the index.
 */
#ifndef FOLD_META_UNINDEX_H
#define FOLD_META_UNINDEX_H

#include "meta/compact.h"
#include "meta/punch.h"

/*
 * Fingerprints of those condemned segments, and of the records that `punch` takes away, leave the
 * index, or lead to where their record was copied; opt->dropped hears of those that leave. The
 * summaries of all these segments go with them: until they are back, opening the volume reads the
 * segments anew. Atomic and durable. -ENOMEM, -ENOSPC, -EIO, ...
 */
int fold_unindex_run(struct fold_store *store, const struct fold_condemned *list, size_t count,
                     struct fold_punch *punch, const struct fold_collect_options *opt) FOLD_MUST;

#endif
