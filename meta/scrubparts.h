/* SPDX-License-Identifier: MIT */
/*
 * Between the two halves of a scrub: reading segments (scrub) and naming the files that damage
 * touches (scrub_files).
 */
#ifndef FOLD_META_SCRUBPARTS_H
#define FOLD_META_SCRUBPARTS_H

#include "meta/scrub.h"

/* Fills in the files of all damage in `r`, which is sorted by location. -ENOMEM, -EIO. */
int fold_scrub_name_files(struct fold_store *store, struct fold_catalog *catalog,
                          struct fold_scrub_result *r) FOLD_MUST;

#endif
