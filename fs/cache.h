/* SPDX-License-Identifier: MIT */
/*
 * A bounded cache of reference-counted values under a 128-bit key, in independent shards with
 * least-recently-used order. Evicting or replacing a value that somebody still holds only removes
 * it from the cache. Thread-safe.
 */
#ifndef FOLD_FS_CACHE_H
#define FOLD_FS_CACHE_H

#include "meta/base/attr.h"

#include <stdatomic.h>

struct fold_cache;

/* Embedded as the first member of what is cached. */
struct fold_cached {
    atomic_uint refs;
    uint64_t a, b; /* key */
    size_t bytes;  /* charged to the cache */
    void (*destroy)(struct fold_cached *v);
    struct fold_cached *hash_next, *lru_prev, *lru_next; /* private, guarded by the shard */
};

int fold_cache_create(size_t limit_bytes, struct fold_cache **out) FOLD_MUST;
void fold_cache_destroy(struct fold_cache *c);

/* The value with one more reference, or NULL. */
struct fold_cached *fold_cache_get(struct fold_cache *c, uint64_t a, uint64_t b);

/* Enters a value (refs, key, bytes and destroy set by the caller, who keeps his reference),
 * replacing an older one. */
void fold_cache_set(struct fold_cache *c, struct fold_cached *v);

/*
 * Entering what was read without holding off its writers: `state` is asked for before reading, 0 if
 * the key has a value; `add` enters the value unless something near it was set or dropped since, or
 * it has a value.
 */
uint64_t fold_cache_state(struct fold_cache *c, uint64_t a, uint64_t b);
void fold_cache_add(struct fold_cache *c, struct fold_cached *v, uint64_t state);

/* Forgets the value of a key. */
void fold_cache_drop(struct fold_cache *c, uint64_t a, uint64_t b);

/* Forgets all values with this `a` and a `b` of at least `from`. Looks at everything in the cache.
 */
void fold_cache_drop_from(struct fold_cache *c, uint64_t a, uint64_t from);

/* Drops a reference. NULL is fine. */
void fold_cached_put(struct fold_cached *v);

static inline void fold_cached_ref(struct fold_cached *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
}

#endif
