/* SPDX-License-Identifier: MIT */
/*
 * Getting a catalog back whose database can be opened, but has blocks that cannot be read. Used by
 * the check only; the caller holds the store's lock for writing, and nothing has the catalog open.
 */
#ifndef FOLD_META_RESCUE_H
#define FOLD_META_RESCUE_H

#include "meta/base/attr.h"

#include <stdint.h>

/* Keys in a row that could not be read, told in words. */
struct fold_rescue_gap {
    char after[80];  /* the last one that could be read before; "the beginning" */
    char before[80]; /* the first one behind; "the end" */
    uint64_t found;  /* entries of it that other table files had: they may be old ones */
};

typedef void (*fold_rescue_fn)(void *arg, const struct fold_rescue_gap *gap);

/*
 * Copies everything that can be read into a new database, which takes the place of the old one in
 * one step. What a block that cannot be read hides is taken from the other table files. Pages of
 * recipes that are lost are replaced by ones that give an error when they are read, not by holes.
 * `fn` is called for each gap, once the new database is in place. What was lost shows as
 * inconsistencies: a check with repair must follow. 0; -FOLD_E_BAD_CATALOG, -FOLD_E_CATALOG_IO: it
 * cannot be opened even; -ENOSPC, -ENOMEM, -errno.
 */
int fold_rescue_catalog(int storefd, fold_rescue_fn fn, void *arg) FOLD_MUST;

#endif
