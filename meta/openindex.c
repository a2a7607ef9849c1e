/* SPDX-License-Identifier: MIT */
/*
 * Hash tables with linear probing, one per shard; the shard comes from w[1], the slot from w[0]. A
 * slot with seg 0 is empty. Removal shifts the following entries back, so there are no tombstones.
 * Tables grow at three quarters load and shrink to nothing when the last entry goes.
 */
#include "meta/openindex.h"

#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"

#include <stdatomic.h>

#define SHARDS 64u

struct slot {
    uint64_t w[2];
    struct fold_loc loc;
};

struct shard {
    struct fold_rwlock lock;
    size_t slots; /* a power of two or 0; guarded by lock */
    size_t used;  /* guarded by lock */
    struct slot *slot;
    char pad[FOLD_CACHELINE];
};

struct fold_openindex {
    _Atomic uint64_t count;
    struct shard shard[SHARDS];
};

static struct shard *shard_of(struct fold_openindex *t, const uint64_t w[2])
{
    return &t->shard[w[1] % SHARDS];
}

int fold_openindex_create(struct fold_openindex **out)
{
    struct fold_openindex *t = calloc(1, sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < SHARDS; i++)
        fold_rwlock_init(&t->shard[i].lock, FOLD_RANK_CACHE, "open index");
    *out = t;
    return 0;
}

void fold_openindex_destroy(struct fold_openindex *t)
{
    if (t == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        free(t->shard[i].slot);
        fold_rwlock_fini(&t->shard[i].lock);
    }
    free(t);
}

/* The first slot that holds the key, or the empty one where it would go. The table must not be
 * empty or full. */
static size_t locate(const struct slot *slot, size_t slots, const uint64_t w[2])
{
    size_t i = w[0] & (slots - 1);
    while (slot[i].loc.seg != 0 && (slot[i].w[0] != w[0] || slot[i].w[1] != w[1]))
        i = (i + 1) & (slots - 1);
    return i;
}

bool fold_openindex_find(struct fold_openindex *t, const struct fold_fp *fp, struct fold_loc *loc)
{
    struct shard *sh = shard_of(t, fp->w);
    bool found = false;
    fold_rwlock_read(&sh->lock);
    if (sh->used > 0) {
        const struct slot *s = &sh->slot[locate(sh->slot, sh->slots, fp->w)];
        found = s->loc.seg != 0;
        if (found)
            *loc = s->loc;
    }
    fold_rwlock_drop(&sh->lock);
    return found;
}

/* Puts an entry into the first empty slot from i on. */
static void put_locked(struct shard *sh, size_t i, const struct slot *entry)
{
    while (sh->slot[i].loc.seg != 0)
        i = (i + 1) & (sh->slots - 1);
    sh->slot[i] = *entry;
    sh->used++;
}

/* An empty slot, behind which runs of used ones begin; 0 in an empty table. */
static size_t run_start(const struct slot *slot, size_t slots)
{
    size_t i = 0;
    while (i < slots && slot[i].loc.seg != 0)
        i++;
    return i < slots ? i : 0;
}

static int grow_locked(struct shard *sh)
{
    if ((sh->used + 1) * 4 <= sh->slots * 3)
        return 0;
    size_t slots = sh->slots == 0 ? fold_knobs.openindex_slots : sh->slots * 2;
    struct slot *slot = calloc(slots, sizeof *slot);
    if (slot == NULL)
        return -ENOMEM;
    struct slot *old = sh->slot;
    size_t count = sh->slots, from = run_start(old, count);
    sh->slot = slot;
    sh->slots = slots;
    sh->used = 0;
    for (size_t k = 0; k < count; k++) {
        const struct slot *entry = &old[(from + k) & (count - 1)];
        if (entry->loc.seg != 0)
            put_locked(sh, entry->w[0] & (slots - 1), entry);
    }
    free(old);
    return 0;
}

int fold_openindex_insert(struct fold_openindex *t, const struct fold_fp *fp, struct fold_loc loc,
                          bool replace)
{
    struct shard *sh = shard_of(t, fp->w);
    fold_rwlock_write(&sh->lock);
    int rc = grow_locked(sh);
    if (rc == 0) {
        struct slot entry = {{fp->w[0], fp->w[1]}, loc};
        size_t first = locate(sh->slot, sh->slots, fp->w);
        if (replace && sh->slot[first].loc.seg != 0) {
            entry.loc = sh->slot[first].loc;
            sh->slot[first].loc = loc;
        }
        put_locked(sh, first, &entry);
        atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
    }
    fold_rwlock_drop(&sh->lock);
    return rc;
}

/* Empties slot i and moves later entries of the run into the gap where their home allows it. */
static void remove_locked(struct shard *sh, size_t i)
{
    size_t mask = sh->slots - 1;
    for (size_t j = (i + 1) & mask; sh->slot[j].loc.seg != 0; j = (j + 1) & mask) {
        size_t home = sh->slot[j].w[0] & mask;
        if (((j - home) & mask) >= ((j - i) & mask)) {
            sh->slot[i] = sh->slot[j];
            i = j;
        }
    }
    sh->slot[i].loc.seg = 0;
    if (--sh->used == 0) {
        free(sh->slot);
        sh->slot = NULL;
        sh->slots = 0;
    }
}

void fold_openindex_remove(struct fold_openindex *t, const uint64_t w[2], uint32_t seg)
{
    struct shard *sh = shard_of(t, w);
    fold_rwlock_write(&sh->lock);
    size_t i = sh->used > 0 ? locate(sh->slot, sh->slots, w) : 0;
    while (sh->used > 0 && sh->slot[i].loc.seg != 0) {
        const struct slot *s = &sh->slot[i];
        if (s->w[0] == w[0] && s->w[1] == w[1] && s->loc.seg == seg) {
            remove_locked(sh, i);
            atomic_fetch_sub_explicit(&t->count, 1, memory_order_relaxed);
            break;
        }
        i = (i + 1) & (sh->slots - 1);
    }
    fold_rwlock_drop(&sh->lock);
}

uint64_t fold_openindex_count(struct fold_openindex *t)
{
    return atomic_load_explicit(&t->count, memory_order_relaxed);
}

/* Copies what is found in one shard, each fingerprint once; *out is malloc'd. */
static int copy_shard(struct shard *sh, struct slot **out, size_t *n)
{
    int rc = 0;
    fold_rwlock_read(&sh->lock);
    *n = 0;
    *out = NULL;
    if (sh->used > 0) {
        *out = malloc(sh->used * sizeof **out);
        if (*out == NULL)
            rc = -ENOMEM;
        for (size_t i = 0; rc == 0 && i < sh->slots; i++)
            if (sh->slot[i].loc.seg != 0 && locate(sh->slot, sh->slots, sh->slot[i].w) == i)
                (*out)[(*n)++] = sh->slot[i];
    }
    fold_rwlock_drop(&sh->lock);
    return rc;
}

int fold_openindex_each(struct fold_openindex *t, fold_openindex_fn fn, void *arg)
{
    int rc = 0;
    for (unsigned i = 0; i < SHARDS && rc >= 0; i++) {
        struct slot *copy;
        size_t n;
        rc = copy_shard(&t->shard[i], &copy, &n);
        for (size_t k = 0; k < n && rc >= 0; k++) {
            struct fold_fp fp = {{copy[k].w[0], copy[k].w[1], 0, 0}};
            rc = fn(arg, &fp, copy[k].loc);
        }
        free(copy);
    }
    return FOLD_MIN(rc, 0);
}
