/* SPDX-License-Identifier: MIT */
/*
 * The fingerprint index: first 16 bytes of a fingerprint -> location, for all sealed segments, and
 * one summary per segment so that a volume opens without touching segment files. Derived data: it
 * can always be rebuilt from the segments. Changed only by sorted bulk loads, each atomic and
 * durable. Lookups are thread-safe and run beside a load; loads need one caller at a time.
 */
#ifndef FOLD_META_INDEX_H
#define FOLD_META_INDEX_H

#include "meta/segfmt.h"

struct fold_index;

/* One change: fingerprint -> location, or the removal of the fingerprint if loc.seg is 0. */
struct fold_index_entry {
    uint64_t w[2];
    struct fold_loc loc;
};

/* A load: entries in any order, of equal keys the highest location wins; summaries of segments
 * whose entries are all in; segments to forget. */
struct fold_index_load {
    struct fold_index_entry *entries; /* sorted in place */
    size_t count;
    const struct fold_seg_summary *added;
    size_t added_count;
    const uint32_t *gone;
    size_t gone_count;
    bool complete; /* with this load no stored record is without an entry of its fingerprint */
};

/* Creates index/ below `storefd`. */
int fold_index_format(int storefd) FOLD_MUST;

/*
 * Opens index/. If the database is damaged and may be written it is replaced by an empty one (the
 * caller then finds no summaries and loads all segments again). -FOLD_E_CATALOG_IO,
 * -FOLD_E_BAD_CATALOG, -ENOSPC.
 */
int fold_index_open(int storefd, uint64_t cache_bytes, bool read_only,
                    struct fold_index **out) FOLD_MUST;
void fold_index_close(struct fold_index *ix);

/* 0 and *loc set, -ENOENT, or a database error. */
int fold_index_get(struct fold_index *ix, const struct fold_fp *fp, struct fold_loc *loc) FOLD_MUST;

/* Applies a load; on failure nothing of it is visible. */
int fold_index_apply(struct fold_index *ix, struct fold_index_load *load) FOLD_MUST;

/* Calls `fn` for each summary or each fingerprint (first 16 bytes); a negative return stops and is
 * returned. */
typedef int (*fold_index_summary_fn)(void *arg, const struct fold_seg_summary *sum);
typedef int (*fold_index_fp_fn)(void *arg, const struct fold_fp *fp, struct fold_loc loc);
int fold_index_summaries(struct fold_index *ix, fold_index_summary_fn fn, void *arg) FOLD_MUST;
int fold_index_each(struct fold_index *ix, fold_index_fp_fn fn, void *arg) FOLD_MUST;

/* True once a load said so. An index that was replaced by an empty one is incomplete again. */
int fold_index_complete(struct fold_index *ix, bool *complete) FOLD_MUST;

/* Gives the space of removed entries back. Blocks for long; lookups go on. */
void fold_index_compact(struct fold_index *ix, bool (*cancelled)(void *arg), void *arg);

/* Number of loads applied in the life of the index. */
uint64_t fold_index_generation(const struct fold_index *ix);

/* Loads that were not merged yet: each costs every lookup a little. */
unsigned fold_index_backlog(struct fold_index *ix);

/* Bytes on the host. */
uint64_t fold_index_bytes(struct fold_index *ix);

#endif
