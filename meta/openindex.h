/* SPDX-License-Identifier: MIT */
/*
 * The fingerprints of segments that the index does not know yet: open ones and freshly sealed ones.
 * In memory, rebuilt by scanning. Entries are known by the first 16 bytes of the fingerprint.
 * Thread-safe.
 */
#ifndef FOLD_META_OPENINDEX_H
#define FOLD_META_OPENINDEX_H

#include "meta/types.h"

struct fold_openindex;

/* -ENOMEM. */
int fold_openindex_create(struct fold_openindex **out) FOLD_MUST;
void fold_openindex_destroy(struct fold_openindex *t);

/* True and *loc set if the fingerprint is there. */
bool fold_openindex_find(struct fold_openindex *t, const struct fold_fp *fp, struct fold_loc *loc);

/* Enters fp -> loc, unless the fingerprint is there already (the first location stays). `replace`
 * overwrites. -ENOMEM. */
int fold_openindex_insert(struct fold_openindex *t, const struct fold_fp *fp, struct fold_loc loc,
                          bool replace) FOLD_MUST;

/* Removes fp if its location lies in `seg`. */
void fold_openindex_remove(struct fold_openindex *t, const uint64_t w[2], uint32_t seg);

uint64_t fold_openindex_count(struct fold_openindex *t);

/* Calls `fn` for a copy of the entries, shard by shard; a negative return stops and is returned.
 * -ENOMEM. */
typedef int (*fold_openindex_fn)(void *arg, const struct fold_fp *fp, struct fold_loc loc);
int fold_openindex_each(struct fold_openindex *t, fold_openindex_fn fn, void *arg) FOLD_MUST;

#endif
