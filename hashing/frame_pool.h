/* SPDX-License-Identifier: MIT */
/*
 * Frames: the equal pieces of memory that a filter's lines live in, cut from huge pages. Memory
 * given back stays readable until the pool is gone, because a reader may still look at a frame that
 * was just replaced. Not thread-safe.
 */
#ifndef FOLD_HASHING_FRAME_POOL_H
#define FOLD_HASHING_FRAME_POOL_H

#include "asm/probe.h"
#include "meta/base/attr.h"

#define FOLD_FRAME_WORDS ((size_t)FOLD_PROBE_FRAME_LINES * FOLD_PROBE_WORDS)
#define FOLD_FRAME_BYTES (FOLD_FRAME_WORDS * 8)

struct fold_frame_pool {
    void **slabs;
    size_t slab_count;
    uint64_t **spare; /* frames to hand out; room for all frames of all slabs */
    size_t spare_count;
};

void fold_frame_pool_init(struct fold_frame_pool *p);
void fold_frame_pool_fini(struct fold_frame_pool *p);

/* Hands out n frames with undefined contents, all or none. -ENOMEM. */
int fold_frame_pool_take(struct fold_frame_pool *p, uint64_t **frames, size_t n) FOLD_MUST;

/* Takes n frames back. */
void fold_frame_pool_give(struct fold_frame_pool *p, uint64_t *const *frames, size_t n);

/* Frames handed out and not given back. */
size_t fold_frame_pool_used(const struct fold_frame_pool *p);

#endif
