/* SPDX-License-Identifier: MIT */
/*
 * Getting a catalog back whose database cannot be opened. Used by the check only; the caller holds
 * the store's lock for writing.
 */
#ifndef FOLD_META_SALVAGE_H
#define FOLD_META_SALVAGE_H

#include "meta/base/attr.h"

/*
 * Rebuilds the database of the catalog from the table files that are there, and puts back what the
 * catalog needs to open (the seed of its name hash, its counters), such that the commits in the
 * journal are replayed. What was lost shows as inconsistencies: a check with repair must follow.
 * 0, -ENOSPC, -FOLD_E_BAD_CATALOG, -FOLD_E_CATALOG_IO, -errno.
 */
int fold_salvage_catalog(int storefd) FOLD_MUST;

/* Gives a database what every catalog has, durably, and the number of the last commit in it such
 * that the journal is replayed. For the rescue. */
struct fold_kv;
int fold_salvage_complete(int storefd, struct fold_kv *kv) FOLD_MUST;

#endif
