/* SPDX-License-Identifier: MIT */
/*
 * Which records of a set of segments are live: one bit per 64 bytes of segment, set where a live
 * record starts. Marking is lock-free and may come from any thread.
 */
#ifndef FOLD_META_LIVEMAP_H
#define FOLD_META_LIVEMAP_H

#include "meta/types.h"

struct fold_livemap;

/* Memory per segment of `bytes` length. */
static inline size_t fold_livemap_cost(uint32_t bytes)
{
    return bytes / 512 + 64;
}

/* Covers the n segments named in `segs` (any order), each `bytes` long at most. -ENOMEM. */
int fold_livemap_create(const uint32_t *segs, size_t n, uint32_t bytes,
                        struct fold_livemap **out) FOLD_MUST;
void fold_livemap_destroy(struct fold_livemap *m);

/* Marks the record at `loc`; of a segment not covered: nothing happens. */
void fold_livemap_mark(struct fold_livemap *m, struct fold_loc loc);

/* True if the segment is covered and the record is marked. */
bool fold_livemap_test(const struct fold_livemap *m, struct fold_loc loc);

#endif
