/* SPDX-License-Identifier: MIT */
/*
 * The locality cache: the fingerprint lists of segments where duplicates were found lately.
 * Duplicates come in the order in which they were first written, so one index hit answers thousands
 * of lookups. A hint: losing it costs time only. Bounded by a byte budget. Thread-safe.
 */
#ifndef FOLD_META_LOCALITY_H
#define FOLD_META_LOCALITY_H

#include "meta/segfmt.h"

struct fold_locality;

/* -ENOMEM. */
int fold_locality_create(uint64_t budget_bytes, struct fold_locality **out) FOLD_MUST;
void fold_locality_destroy(struct fold_locality *l);

/*
 * Looks n fingerprints up; skips those whose locs[i].seg is not 0, sets locs[i] where one is found.
 * Returns the number found.
 */
size_t fold_locality_find(struct fold_locality *l, const struct fold_fp *const *fps, size_t n,
                          struct fold_loc *locs);

/* Notes an index hit in `seg`; true if its list is worth loading now (it is not there, and this was
 * not a lone hit). */
bool fold_locality_wants(struct fold_locality *l, uint32_t seg);

/* Takes the list of a segment in (copied), dropping the least recently hit ones. */
void fold_locality_load(struct fold_locality *l, uint32_t seg, const struct fold_seg_entry *entries,
                        uint32_t count);

/* Forgets a segment. */
void fold_locality_drop(struct fold_locality *l, uint32_t seg);

/* Bytes held. */
uint64_t fold_locality_bytes(struct fold_locality *l);

#endif
