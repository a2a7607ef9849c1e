/* SPDX-License-Identifier: MIT */
/*
 * What probes see of the filter: the directory and the addresses of all frames. One writer; the
 * words may be read at any time. A view never shrinks; a larger one takes its place, and the old
 * one stays readable until the filter is gone.
 */
#ifndef FOLD_HASHING_FILTER_VIEW_H
#define FOLD_HASHING_FILTER_VIEW_H

#include "hashing/filter_field.h"

struct fold_filter_view {
    struct fold_probe_table table;
    uint64_t *dir;
    uint64_t *frames;
    size_t capacity; /* regions that `frames` has room for */
    struct fold_filter_view *older;
};

/* The part of the key space that a region holds. */
struct fold_filter_range {
    uint32_t root;
    uint32_t prefix; /* the `depth` bits below the root */
    uint32_t depth;
};

/* An empty view for regions of at most `depth`. NULL without memory. */
struct fold_filter_view *fold_filter_view_create(uint32_t roots, uint32_t depth, size_t capacity);
void fold_filter_view_destroy(struct fold_filter_view *v);

/* Enters region number r. */
void fold_filter_view_set(struct fold_filter_view *v, size_t r,
                          const struct fold_filter_range *range, const struct fold_field *field);

/* Region number of a key and the key's position there. */
size_t fold_filter_view_find(const struct fold_filter_view *v, uint64_t key, uint32_t *x);

/* Memory of this view and all older ones. */
uint64_t fold_filter_view_bytes(const struct fold_filter_view *v);

#endif
