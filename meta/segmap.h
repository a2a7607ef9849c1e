/* SPDX-License-Identifier: MIT */
/*
 * Read-only mappings of segment files, kept up to a bounded number of segments; a pin keeps a
 * mapping from being dropped. Thread-safe.
 */
#ifndef FOLD_META_SEGMAP_H
#define FOLD_META_SEGMAP_H

#include "meta/segset.h"

struct fold_segmap;
struct fold_shadow;

/* Open: the caller may read `base[0..len)` until unpin. The end may lie beyond the file's: read
 * guarded. */
struct fold_map {
    const uint8_t *base;
    size_t len;
    uint32_t seg;
};

/* Maps files below `dirfd`, or those of `overlay` if that is not NULL (both borrowed), about
 * `max_maps` at once plus what is pinned. -ENOMEM. */
int fold_segmap_create(int dirfd, const struct fold_shadow *overlay, unsigned max_maps,
                       struct fold_segmap **out) FOLD_MUST;

/* All pins must be gone. NULL is fine. */
void fold_segmap_destroy(struct fold_segmap *m);

/* The directory of the segment files; borrowed. */
int fold_segmap_dirfd(const struct fold_segmap *m);

/* Pins the mapping of a segment, mapped now if it is not. -errno of open and mmap. */
int fold_segmap_pin(struct fold_segmap *m, const struct fold_seg *seg,
                    struct fold_map **out) FOLD_MUST;

/* One more pin for the holder of one. */
void fold_segmap_again(struct fold_segmap *m, struct fold_map *map);
void fold_segmap_unpin(struct fold_segmap *m, struct fold_map *map);

/* Forgets a segment whose file goes away; pinned readers keep the bytes. */
void fold_segmap_drop(struct fold_segmap *m, uint32_t seg);

#endif
