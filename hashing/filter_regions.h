/* SPDX-License-Identifier: MIT */
/*
 * The filter's regions and their growth. Regions grow one frame at a time, the fullest first, so
 * that the bits spent per key hardly vary; one that reaches twice its least size divides in two.
 * Both need nothing but what the lines hold.
 *
 * Probes run at any time; everything else is for one thread at a time. A probe that overlaps with a
 * change is repeated: `sequence` is odd while a change is going on.
 */
#ifndef FOLD_HASHING_FILTER_REGIONS_H
#define FOLD_HASHING_FILTER_REGIONS_H

#include "hashing/filter_field.h"
#include "hashing/filter_view.h"
#include "hashing/frame_pool.h"

/* Entries per 100 slots at which the filter grows. */
#define FOLD_FILTER_LOAD 96

struct fold_region {
    struct fold_field field;
    struct fold_filter_range range;
    uint32_t entries;
    uint32_t removed; /* since the region was last rewritten */
    uint32_t homeless_count;
    uint32_t *homeless; /* positions that found no place, and no memory to grow */
};

struct fold_regions {
    struct fold_frame_pool pool;
    struct fold_region *regions;
    size_t count;
    size_t capacity;
    uint32_t roots;
    uint32_t depth;   /* the largest of all regions */
    uint64_t entries; /* in lines */
    uint64_t slots;
    uint64_t grow_at;              /* number of entries at which to grow */
    uint64_t retries;              /* insertions while some positions were homeless */
    size_t limit;                  /* frames beyond which no region grows; 0 is none */
    uint64_t homeless;             /* atomic; nonzero: probes answer "maybe" */
    uint64_t sequence;             /* atomic */
    struct fold_filter_view *view; /* atomic; the newest, with all older ones behind it */
};

/* Regions for about `keys` keys, empty. -ENOMEM. */
int fold_regions_init(struct fold_regions *s, uint64_t keys) FOLD_MUST;

/* Frees everything. The structure must be initialised, if only by the function below. */
void fold_regions_fini(struct fold_regions *s);

/* For loading: no regions yet. They follow by fold_regions_append, in the order of the directory.
 */
void fold_regions_init_bare(struct fold_regions *s, uint32_t roots);

/* Appends a region with empty lines. -ENOMEM. */
int fold_regions_append(struct fold_regions *s, const struct fold_filter_range *range,
                        uint32_t lines) FOLD_MUST;

/* Shows all appended regions to probes. -ENOMEM; -EBADMSG if they do not cover the directory. */
int fold_regions_publish(struct fold_regions *s) FOLD_MUST;

/* Answers n keys as fold_probe_c does. False if writers were at work all the time: `maybe` is
 * undefined then. */
bool fold_regions_probe(const struct fold_regions *s, const uint64_t *keys, size_t n,
                        uint64_t *maybe);

/* Fetches the line that an insertion of the key will begin with. */
void fold_regions_prefetch(const struct fold_regions *s, uint64_t key);

/* Adds one occurrence of a key. -ENOMEM: it could not even be noted down; probes answer "maybe"
 * from now on. */
int fold_regions_insert(struct fold_regions *s, uint64_t key) FOLD_MUST;

/* Removes one occurrence. False if none was found. */
bool fold_regions_remove(struct fold_regions *s, uint64_t key);

/* The region at place *dir of the directory, 0 for the first; moves *dir on to the next region.
 * NULL after the last. */
const struct fold_region *fold_regions_next(const struct fold_regions *s, uint64_t *dir);

/* Memory in use: frames and tables. */
uint64_t fold_regions_bytes(const struct fold_regions *s);

#endif
