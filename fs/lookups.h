/* SPDX-License-Identifier: MIT */
/*
 * How often the kernel has looked each inode up: a compact map from inode number to count. Not
 * thread-safe. At most 24 bytes per inode known, and the memory is given back as the kernel
 * forgets.
 */
#ifndef FOLD_FS_LOOKUPS_H
#define FOLD_FS_LOOKUPS_H

#include "meta/types.h"

/* All zeros is an empty map. */
struct fold_lookups {
    fold_ino *inos;   /* 0: free slot */
    uint32_t *counts; /* UINT32_MAX: too many to know, never forgotten */
    size_t cap;
    size_t used;
};

void fold_lookups_fini(struct fold_lookups *l);

/* Counts one more; *first is set if there was none before. -ENOMEM: nothing changed. */
int fold_lookups_add(struct fold_lookups *l, fold_ino ino, bool *first) FOLD_MUST;

/* Counts n less. True if none is left now (and there were some before). */
bool fold_lookups_drop(struct fold_lookups *l, fold_ino ino, uint64_t n);

bool fold_lookups_has(const struct fold_lookups *l, fold_ino ino);

#endif
