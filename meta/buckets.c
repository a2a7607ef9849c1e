/* SPDX-License-Identifier: MIT */
/*
 * A table where each bucket has one place. A place remembers the number of the last change that
 * went through it, whatever bucket that was of; who has read the database before that change knows
 * too little to fill it. Directories just made have a Bloom filter of their names' hashes each; a
 * younger directory takes the place of an older one.
 */
#include "meta/buckets.h"

#include "meta/base/lock.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

#define PLACES 4096u
#define LOCKS  64u
#define FREE   0xffu
#define YOUNG  128u
#define BITS   4096u
#define PROBES 4u

struct place {
    fold_ino dir;
    uint64_t hash;
    uint64_t changed;
    uint8_t len; /* FREE: nothing is known */
    uint8_t data[FOLD_BUCKET_KEPT];
};

struct young {
    fold_ino dir; /* 0: none */
    uint64_t bits[BITS / 64];
};

struct fold_buckets {
    _Atomic uint64_t changes;
    struct fold_lock locks[LOCKS]; /* each guards every 64th place */
    struct place places[PLACES];
    struct young young[YOUNG]; /* guarded like the places */
};

static_assert(FOLD_BUCKET_KEPT < FREE, "a length must not look like a free place");

int fold_buckets_create(struct fold_buckets **out)
{
    struct fold_buckets *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < LOCKS; i++)
        fold_lock_init(&b->locks[i], FOLD_RANK_LEAF, "directory buckets");
    for (unsigned i = 0; i < PLACES; i++)
        b->places[i].len = FREE;
    *out = b;
    return 0;
}

void fold_buckets_destroy(struct fold_buckets *b)
{
    if (b == NULL)
        return;
    for (unsigned i = 0; i < LOCKS; i++)
        fold_lock_fini(&b->locks[i]);
    free(b);
}

static unsigned index_of(fold_ino dir, uint64_t hash)
{
    uint64_t h = (hash ^ (dir * UINT64_C(0x9e3779b97f4a7c15))) * UINT64_C(0xc2b2ae3d27d4eb4f);
    return (unsigned)(h >> 52) % PLACES;
}

bool fold_buckets_get(struct fold_buckets *b, fold_ino dir, uint64_t hash,
                      uint8_t data[FOLD_BUCKET_KEPT], size_t *len)
{
    unsigned i = index_of(dir, hash);
    const struct place *p = &b->places[i];
    fold_lock_take(&b->locks[i % LOCKS]);
    bool known = p->len != FREE && p->dir == dir && p->hash == hash;
    if (known) {
        *len = p->len;
        memcpy(data, p->data, p->len);
    }
    fold_lock_drop(&b->locks[i % LOCKS]);
    return known;
}

uint64_t fold_buckets_mark(const struct fold_buckets *b)
{
    return atomic_load(&b->changes);
}

static void put(struct place *p, fold_ino dir, uint64_t hash, const void *data, size_t len)
{
    p->dir = dir;
    p->hash = hash;
    p->len = len <= FOLD_BUCKET_KEPT ? (uint8_t)len : FREE;
    if (p->len != FREE && len > 0)
        memcpy(p->data, data, len);
}

void fold_buckets_fill(struct fold_buckets *b, fold_ino dir, uint64_t hash, const void *data,
                       size_t len, uint64_t mark)
{
    if (len > FOLD_BUCKET_KEPT)
        return;
    unsigned i = index_of(dir, hash);
    fold_lock_take(&b->locks[i % LOCKS]);
    if (b->places[i].changed <= mark)
        put(&b->places[i], dir, hash, data, len);
    fold_lock_drop(&b->locks[i % LOCKS]);
}

void fold_buckets_change(struct fold_buckets *b, fold_ino dir, uint64_t hash, const void *data,
                         size_t len)
{
    unsigned i = index_of(dir, hash);
    fold_lock_take(&b->locks[i % LOCKS]);
    put(&b->places[i], dir, hash, data, len);
    b->places[i].changed = atomic_fetch_add(&b->changes, 1) + 1;
    fold_lock_drop(&b->locks[i % LOCKS]);
}

void fold_buckets_born(struct fold_buckets *b, fold_ino dir)
{
    unsigned i = dir % YOUNG;
    fold_lock_take(&b->locks[i % LOCKS]);
    b->young[i] = (struct young){.dir = dir};
    fold_lock_drop(&b->locks[i % LOCKS]);
}

/* The hash has 24 good bits at least; multiplying spreads them over twelve for each probe. */
static unsigned probe(uint64_t hash, unsigned k)
{
    return (unsigned)(hash * UINT64_C(0x9e3779b97f4a7c15) >> (16 + 12 * k)) % BITS;
}

void fold_buckets_note(struct fold_buckets *b, fold_ino dir, uint64_t hash)
{
    unsigned i = dir % YOUNG;
    struct young *y = &b->young[i];
    fold_lock_take(&b->locks[i % LOCKS]);
    for (unsigned k = 0; y->dir == dir && k < PROBES; k++)
        y->bits[probe(hash, k) / 64] |= UINT64_C(1) << (probe(hash, k) % 64);
    fold_lock_drop(&b->locks[i % LOCKS]);
}

bool fold_buckets_absent(struct fold_buckets *b, fold_ino dir, uint64_t hash)
{
    unsigned i = dir % YOUNG;
    const struct young *y = &b->young[i];
    fold_lock_take(&b->locks[i % LOCKS]);
    bool absent = false;
    for (unsigned k = 0; y->dir == dir && k < PROBES; k++)
        absent = absent || (y->bits[probe(hash, k) / 64] >> (probe(hash, k) % 64) & 1) == 0;
    fold_lock_drop(&b->locks[i % LOCKS]);
    return absent;
}
