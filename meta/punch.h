/* SPDX-License-Identifier: MIT */
/*
 * Taking runs of dead records out of segments that are worth keeping. One collection at a time; the
 * order of calls is plan, grace period, settle, (index entries removed,) carry out. Between plan
 * and withdraw lookups do not find what is to go.
 */
#ifndef FOLD_META_PUNCH_H
#define FOLD_META_PUNCH_H

#include "meta/collect.h"
#include "meta/gaps.h"
#include "meta/livemap.h"

/* Shorter runs stay: they would give little back and leave the file in many pieces. */
#define FOLD_PUNCH_MIN_BYTES (64u << 10)

struct fold_punch_item {
    uint32_t seg;
    struct fold_gaps *planned; /* what lookups do not find */
    struct fold_gaps *gaps;    /* what goes, with what went before; NULL until settled */
    uint64_t freed_bytes;
};

struct fold_punch {
    struct fold_store *store;
    const struct fold_livemap *live;
    struct fold_punch_item *items;
    size_t count;
};

/* Finds long enough runs without a live record in those n segments and hides them from lookups. No
 * host support: none are found. Segments that cannot be read are left out. -ENOMEM. */
int fold_punch_plan(struct fold_punch *p, struct fold_store *store, const struct fold_livemap *live,
                    const uint32_t *segs, size_t n) FOLD_MUST;

/* After a grace period: leaves out what became live meanwhile. -ENOMEM. */
int fold_punch_settle(struct fold_punch *p) FOLD_MUST;

/* The records that go from item `i`: malloc'd, the caller frees them. -ENOMEM, -EIO, ... */
int fold_punch_entries(const struct fold_punch *p, size_t i, struct fold_seg_entry **out,
                       uint32_t *count) FOLD_MUST;

/*
 * Saves the lists of gaps, waits until nobody holds an older one, punches, and gives the index its
 * summaries back, which the caller had removed. An item that cannot be carried out keeps its
 * records; the next opening of the volume indexes them again. `step` of `opt` is called with 7
 * once lists are saved and with 8 once holes are punched.
 */
int fold_punch_run(struct fold_punch *p, struct fold_gate *gate,
                   const struct fold_collect_options *opt,
                   struct fold_collect_result *result) FOLD_MUST;

/* Lookups find again what is left. Then, after a grace period, fini. */
void fold_punch_withdraw(struct fold_punch *p);
void fold_punch_fini(struct fold_punch *p);

#endif
