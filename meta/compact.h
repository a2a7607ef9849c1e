/* SPDX-License-Identifier: MIT */
/*
 * Copying the live records of condemned segments forward.
 */
#ifndef FOLD_META_COMPACT_H
#define FOLD_META_COMPACT_H

#include "meta/collect.h"
#include "meta/livemap.h"
#include "meta/segfmt.h"

/* A segment that is to go. */
struct fold_condemned {
    uint32_t seg;
    uint32_t count;                 /* entries */
    struct fold_seg_entry *entries; /* its table, by offset; malloc'd */
    uint32_t live_count;
    uint64_t live_bytes;
    uint64_t stored_bytes;
    uint64_t file_bytes;
};

/*
 * Copies what is live in `live`, makes it durable and adds forwarding tables. Segments that cannot
 * be copied whole (a damaged record) leave the list, which is shortened; they are no longer
 * condemned. -ECANCELED, -ENOSPC, -EIO.
 */
int fold_compact_run(struct fold_store *store, struct fold_condemned *list, size_t *count,
                     const struct fold_livemap *live, const struct fold_collect_options *opt,
                     struct fold_collect_result *result) FOLD_MUST;

#endif
