/* SPDX-License-Identifier: MIT */
/*
 * Who takes over the index entry of a record that goes: another record with the same fingerprint
 * that stays. Several records share a fingerprint after an interrupted collection copied some,
 * after two writers stored the same chunk at once, and after a failed write; the index names only
 * one of them. Of one collection; not thread-safe.
 */
#ifndef FOLD_META_HEIRS_H
#define FOLD_META_HEIRS_H

#include "meta/livemap.h"
#include "meta/punch.h"

struct fold_heirs;

/* For about `count` fingerprints of records that go. -ENOMEM. */
int fold_heirs_create(size_t count, struct fold_heirs **out) FOLD_MUST;
void fold_heirs_destroy(struct fold_heirs *h);

/* A record with this fingerprint goes. */
void fold_heirs_leave(struct fold_heirs *h, const uint64_t w[2]);

/*
 * Looks through the tables of all sealed segments for records that stay: those of segments that are
 * not condemned, but for what `punch` takes away. A table that cannot be read is left out. -ENOMEM.
 */
int fold_heirs_find(struct fold_heirs *h, struct fold_store *store, const struct fold_punch *punch,
                    const struct fold_livemap *live) FOLD_MUST;

/* True and *loc set if a record with that fingerprint stays; a live one if there is one. */
bool fold_heirs_get(const struct fold_heirs *h, const uint64_t w[2], struct fold_loc *loc);

#endif
