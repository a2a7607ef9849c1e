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

/* True and *loc set if the fingerprint is there; of several locations the first one. */
bool fold_openindex_find(struct fold_openindex *t, const struct fold_fp *fp, struct fold_loc *loc);

/* Enters fp -> loc. A fingerprint that is there already keeps its other locations, so that it is
 * still found when one of them is removed; `replace` makes this one the first. -ENOMEM. */
int fold_openindex_insert(struct fold_openindex *t, const struct fold_fp *fp, struct fold_loc loc,
                          bool replace) FOLD_MUST;

/* Removes one location of fp that lies in `seg`, if there is one. */
void fold_openindex_remove(struct fold_openindex *t, const uint64_t w[2], uint32_t seg);

/* Number of locations. */
uint64_t fold_openindex_count(struct fold_openindex *t);

/* Calls `fn` once for each fingerprint, from a copy, shard by shard; a negative return stops and is
 * returned. -ENOMEM. */
typedef int (*fold_openindex_fn)(void *arg, const struct fold_fp *fp, struct fold_loc loc);
int fold_openindex_each(struct fold_openindex *t, fold_openindex_fn fn, void *arg) FOLD_MUST;

#endif
