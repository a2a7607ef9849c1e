/* SPDX-License-Identifier: MIT */
/*
 * Between the parts of a scrub: reading segments (scrub), remembering where it was (scrub_place),
 * and naming the files that damage touches (scrub_files).
 */
#ifndef FOLD_META_SCRUBPARTS_H
#define FOLD_META_SCRUBPARTS_H

#include "meta/scrub.h"

/* Fills in the files of all damage in `r`, which is sorted by location. -ENOMEM, -EIO. */
int fold_scrub_name_files(struct fold_store *store, struct fold_catalog *catalog,
                          struct fold_scrub_result *r) FOLD_MUST;

/* Where a scrub is, and what it must not forget: the damage it found before. */
struct fold_scrub_place {
    uint32_t seg;  /* it goes on here; 0: nothing was begun */
    uint32_t *bad; /* segments before it that are read again, since they are damaged; rising */
    size_t count, cap;
};

/* The place kept in the store directory; *p is to be freed by fini. -ENOENT if there is none,
 * -FOLD_E_BAD_SEGMENT, -ENOMEM, -errno: it is empty then. */
int fold_scrub_place_load(int storefd, struct fold_scrub_place *p) FOLD_MUST;

/* Keeps the place, or with segment 0 forgets it. -ENOMEM, -errno. */
int fold_scrub_place_save(int storefd, const struct fold_scrub_place *p) FOLD_MUST;

/* True if the segment is listed as damaged. */
bool fold_scrub_place_bad(const struct fold_scrub_place *p, uint32_t seg);

/* Lists the segment, or takes it off the list. False if there is no room for it. */
bool fold_scrub_place_mark(struct fold_scrub_place *p, uint32_t seg, bool bad);

void fold_scrub_place_fini(struct fold_scrub_place *p);

#endif
