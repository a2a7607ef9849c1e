/* SPDX-License-Identifier: MIT */
/*
 * Decoded chunks in the common cache, keyed by location.
 */
#include "fs/chunkcache.h"

#include <errno.h>

struct fold_chunkcache {
    struct fold_cache *cache;
    struct fold_store *store;
};

int fold_chunkcache_create(size_t limit_bytes, struct fold_store *store,
                           struct fold_chunkcache **out)
{
    struct fold_chunkcache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->store = store;
    int rc = fold_cache_create(limit_bytes, &c->cache);
    if (rc != 0) {
        free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void fold_chunkcache_destroy(struct fold_chunkcache *c)
{
    if (c == NULL)
        return;
    fold_cache_destroy(c->cache);
    free(c);
}

static void destroy_chunk(struct fold_cached *v)
{
    free(v);
}

struct fold_cached_chunk *fold_chunkcache_peek(struct fold_chunkcache *c, struct fold_loc loc)
{
    return (struct fold_cached_chunk *)fold_cache_get(c->cache, loc.seg, loc.off);
}

int fold_chunkcache_decode(struct fold_chunkcache *c, struct fold_loc loc,
                           const struct fold_view *view, struct fold_cached_chunk **out)
{
    struct fold_cached_chunk *chunk = malloc(sizeof *chunk + view->raw_len);
    if (chunk == NULL)
        return -ENOMEM;
    int rc = fold_store_decode(c->store, view, chunk->bytes);
    if (rc != 0) {
        free(chunk);
        return rc;
    }
    atomic_init(&chunk->cached.refs, 1);
    chunk->cached.a = loc.seg;
    chunk->cached.b = loc.off;
    chunk->cached.bytes = sizeof *chunk + view->raw_len;
    chunk->cached.destroy = destroy_chunk;
    chunk->len = view->raw_len;
    fold_cache_set(c->cache, &chunk->cached);
    *out = chunk;
    return 0;
}
