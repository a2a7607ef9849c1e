/* SPDX-License-Identifier: MIT */
/*
 * The lock of a store: flock(2) on its file `lock`, exclusive for a writer, shared for those who
 * only read. It ends with the process, however that ends.
 */
#ifndef FOLD_META_STORELOCK_H
#define FOLD_META_STORELOCK_H

#include "meta/base/attr.h"

#include <stdbool.h>

/* Takes the lock on its open file. -FOLD_E_LOCKED if somebody else has it, -errno. */
int fold_storelock_take(int lockfd, bool shared) FOLD_MUST;

/* Whether the lock of the store `storefd` could be had now: 0, -FOLD_E_LOCKED, -errno. Whoever
 * takes it at the same moment is kept waiting for it, not turned away. */
int fold_storelock_look(int storefd, bool shared) FOLD_MUST;

#endif
