/* SPDX-License-Identifier: MIT */
/*
 * Sixteen shards, each a chained hash table that doubles, and a circular list in order of use.
 */
#include "fs/cache.h"

#include "meta/base/lock.h"

#include <errno.h>

#define SHARDS 16u

struct shard {
    struct fold_lock lock;
    struct fold_cached **buckets; /* power of two of them */
    size_t mask;
    size_t count;
    size_t bytes;
    uint64_t state;         /* rises with each set and drop; never 0 */
    struct fold_cached lru; /* list head: next is the most recently used */
};

struct fold_cache {
    size_t shard_limit;
    struct shard shards[SHARDS];
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = (a * 0x9E3779B97F4A7C15ull) ^ (b + 0x7F4A7C15ull) * 0xC2B2AE3D27D4EB4Full;
    return h ^ (h >> 29);
}

static struct shard *shard_of(struct fold_cache *c, uint64_t hash)
{
    return &c->shards[(hash >> 48) % SHARDS];
}

int fold_cache_create(size_t limit_bytes, struct fold_cache **out)
{
    struct fold_cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->shard_limit = limit_bytes / SHARDS;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *sh = &c->shards[i];
        fold_lock_init(&sh->lock, FOLD_RANK_CACHE, "cache shard");
        sh->mask = 63;
        sh->state = 1;
        sh->buckets = calloc(sh->mask + 1, sizeof *sh->buckets);
        sh->lru.lru_next = sh->lru.lru_prev = &sh->lru;
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        if (c->shards[i].buckets == NULL) {
            fold_cache_destroy(c);
            return -ENOMEM;
        }
    }
    *out = c;
    return 0;
}

void fold_cached_put(struct fold_cached *v)
{
    if (v != NULL && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1)
        v->destroy(v);
}

static void lru_unlink(struct fold_cached *v)
{
    v->lru_prev->lru_next = v->lru_next;
    v->lru_next->lru_prev = v->lru_prev;
}

static void lru_front(struct shard *sh, struct fold_cached *v)
{
    v->lru_next = sh->lru.lru_next;
    v->lru_prev = &sh->lru;
    v->lru_next->lru_prev = v;
    sh->lru.lru_next = v;
}

static struct fold_cached **slot_of(struct shard *sh, uint64_t a, uint64_t b)
{
    struct fold_cached **p = &sh->buckets[mix(a, b) & sh->mask];
    while (*p != NULL && ((*p)->a != a || (*p)->b != b))
        p = &(*p)->hash_next;
    return p;
}

static struct fold_cached *take_out(struct shard *sh, struct fold_cached **slot)
{
    struct fold_cached *v = *slot;
    if (v == NULL)
        return NULL;
    *slot = v->hash_next;
    lru_unlink(v);
    sh->count--;
    sh->bytes -= v->bytes;
    return v;
}

void fold_cache_destroy(struct fold_cache *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *sh = &c->shards[i];
        while (sh->lru.lru_next != &sh->lru) {
            struct fold_cached *v = sh->lru.lru_next;
            lru_unlink(v);
            fold_cached_put(v);
        }
        free(sh->buckets);
        fold_lock_fini(&sh->lock);
    }
    free(c);
}

struct fold_cached *fold_cache_get(struct fold_cache *c, uint64_t a, uint64_t b)
{
    struct shard *sh = shard_of(c, mix(a, b));
    fold_lock_take(&sh->lock);
    struct fold_cached *v = *slot_of(sh, a, b);
    if (v != NULL) {
        fold_cached_ref(v);
        lru_unlink(v);
        lru_front(sh, v);
    }
    fold_lock_drop(&sh->lock);
    return v;
}

static void grow(struct shard *sh)
{
    size_t mask = sh->mask * 2 + 1;
    struct fold_cached **fresh = calloc(mask + 1, sizeof *fresh);
    if (fresh == NULL)
        return; /* longer chains are slower, not wrong */
    for (struct fold_cached *v = sh->lru.lru_next; v != &sh->lru; v = v->lru_next) {
        struct fold_cached **p = &fresh[mix(v->a, v->b) & mask];
        v->hash_next = *p;
        *p = v;
    }
    free(sh->buckets);
    sh->buckets = fresh;
    sh->mask = mask;
}

/* Enters what is not there. What is evicted for it is linked to `gone`. */
static struct fold_cached *insert(struct fold_cache *c, struct shard *sh, struct fold_cached *v,
                                  struct fold_cached *gone)
{
    if (sh->count > sh->mask)
        grow(sh);
    struct fold_cached **slot = slot_of(sh, v->a, v->b);
    v->hash_next = NULL;
    *slot = v;
    fold_cached_ref(v);
    lru_front(sh, v);
    sh->count++;
    sh->bytes += v->bytes;
    while (sh->bytes > c->shard_limit && sh->lru.lru_prev != v) {
        struct fold_cached *last = sh->lru.lru_prev;
        (void)take_out(sh, slot_of(sh, last->a, last->b));
        last->hash_next = gone;
        gone = last;
    }
    return gone;
}

static void put_all(struct fold_cached *gone)
{
    while (gone != NULL) {
        struct fold_cached *next = gone->hash_next;
        fold_cached_put(gone);
        gone = next;
    }
}

void fold_cache_set(struct fold_cache *c, struct fold_cached *v)
{
    struct shard *sh = shard_of(c, mix(v->a, v->b));
    fold_lock_take(&sh->lock);
    sh->state++;
    struct fold_cached *old = take_out(sh, slot_of(sh, v->a, v->b));
    if (old != NULL)
        old->hash_next = NULL;
    struct fold_cached *gone = insert(c, sh, v, old);
    fold_lock_drop(&sh->lock);
    put_all(gone);
}

uint64_t fold_cache_state(struct fold_cache *c, uint64_t a, uint64_t b)
{
    struct shard *sh = shard_of(c, mix(a, b));
    fold_lock_take(&sh->lock);
    uint64_t state = *slot_of(sh, a, b) == NULL ? sh->state : 0;
    fold_lock_drop(&sh->lock);
    return state;
}

void fold_cache_add(struct fold_cache *c, struct fold_cached *v, uint64_t state)
{
    struct shard *sh = shard_of(c, mix(v->a, v->b));
    struct fold_cached *gone = NULL;
    fold_lock_take(&sh->lock);
    if (sh->state == state && *slot_of(sh, v->a, v->b) == NULL)
        gone = insert(c, sh, v, NULL);
    fold_lock_drop(&sh->lock);
    put_all(gone);
}

void fold_cache_drop(struct fold_cache *c, uint64_t a, uint64_t b)
{
    struct shard *sh = shard_of(c, mix(a, b));
    fold_lock_take(&sh->lock);
    sh->state++;
    struct fold_cached *v = take_out(sh, slot_of(sh, a, b));
    fold_lock_drop(&sh->lock);
    fold_cached_put(v);
}

void fold_cache_drop_from(struct fold_cache *c, uint64_t a, uint64_t from)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *sh = &c->shards[i];
        struct fold_cached *gone = NULL, *next;
        fold_lock_take(&sh->lock);
        sh->state++;
        for (struct fold_cached *v = sh->lru.lru_next; v != &sh->lru; v = next) {
            next = v->lru_next;
            if (v->a != a || v->b < from)
                continue;
            (void)take_out(sh, slot_of(sh, v->a, v->b));
            v->hash_next = gone;
            gone = v;
        }
        fold_lock_drop(&sh->lock);
        put_all(gone);
    }
}
