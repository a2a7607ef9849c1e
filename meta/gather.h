/* SPDX-License-Identifier: MIT */
/*
 * Many entries of one table of the catalog in one pass: for callers that know beforehand what they
 * will need, such as readers of directories. Thread-safe.
 */
#ifndef FOLD_META_GATHER_H
#define FOLD_META_GATHER_H

#include "meta/catalog.h"
#include "meta/recipe.h"

/*
 * Calls `fn` for those of the inodes that exist, from one snapshot taken during the call. `inos` is
 * in rising order. Damaged entries are passed over: loading them alone tells what is wrong.
 */
int fold_gather_inodes(struct fold_catalog *c, const fold_ino *inos, size_t n,
                       void (*fn)(void *arg, const struct fold_attr *attr), void *arg) FOLD_MUST;

/* The same for the first recipe pages of the inodes; `fn` owns the extents. */
int fold_gather_pages(struct fold_catalog *c, const fold_ino *inos, size_t n,
                      void (*fn)(void *arg, fold_ino ino, struct fold_page *page),
                      void *arg) FOLD_MUST;

#endif
