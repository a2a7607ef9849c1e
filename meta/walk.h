/* SPDX-License-Identifier: MIT */
/*
 * All recipes of the volume, from one snapshot, by several threads at once.
 */
#ifndef FOLD_META_WALK_H
#define FOLD_META_WALK_H

#include "meta/recipe.h"

struct fold_workers;

/* Called for each stored page, by several threads at once, in no order; negative stops all. The
 * page is the callee's until it returns. */
typedef int (*fold_walk_fn)(void *arg, fold_ino ino, uint64_t page_no, const struct fold_page *p);

/*
 * Walks on the caller's thread and on at most `walkers` - 1 idle threads of `workers` (NULL: none).
 * *cpu_ns: processor time that took, of all threads. The first error, which is the callee's or
 * -FOLD_E_BAD_RECIPE, -FOLD_E_BAD_CATALOG, -FOLD_E_CATALOG_IO, -ENOMEM.
 */
int fold_walk_run(struct fold_catalog *c, struct fold_workers *workers, unsigned walkers,
                  fold_walk_fn fn, void *arg, uint64_t *cpu_ns) FOLD_MUST;

#endif
