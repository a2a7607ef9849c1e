/* SPDX-License-Identifier: MIT */
/*
 * Raw bytes of chunks that are stored compressed, in a bounded cache. Thread-safe.
 */
#ifndef FOLD_FS_CHUNKCACHE_H
#define FOLD_FS_CHUNKCACHE_H

#include "fs/cache.h"
#include "meta/store.h"

struct fold_chunkcache;

struct fold_cached_chunk {
    struct fold_cached cached; /* first */
    uint32_t len;
    uint8_t bytes[];
};

int fold_chunkcache_create(size_t limit_bytes, struct fold_store *store,
                           struct fold_chunkcache **out) FOLD_MUST;
void fold_chunkcache_destroy(struct fold_chunkcache *c);

/* The decoded chunk at `loc` if it is cached, else NULL. Drop with fold_cached_put(&chunk->cached).
 */
struct fold_cached_chunk *fold_chunkcache_peek(struct fold_chunkcache *c, struct fold_loc loc);

/* Decodes the viewed chunk and caches it. -FOLD_E_BAD_RECORD, -EIO, -ENOMEM. */
int fold_chunkcache_decode(struct fold_chunkcache *c, struct fold_loc loc,
                           const struct fold_view *view, struct fold_cached_chunk **out) FOLD_MUST;

#endif
