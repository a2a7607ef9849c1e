/* SPDX-License-Identifier: MIT */
/*
 * Mappings live in shards chosen by segment number: a small hash of chained nodes and a list of the
 * unpinned ones, least recently used first. A node's pins fall from one to zero only under its
 * shard's lock, so whoever finds an unpinned node there may free it. An open segment is mapped at
 * its full capacity once, so that fresh data can be read as the file grows.
 */
#include "meta/segmap.h"

#include "meta/base/io.h"
#include "meta/base/err.h"
#include "meta/base/lock.h"
#include "meta/shadow.h"

#include <assert.h>
#include <fcntl.h>

#define SHARDS  16u
#define BUCKETS 256u

struct node {
    struct fold_map map; /* first: a fold_map is its node */
    _Atomic uint32_t pins;
    bool dropped;      /* guarded by the shard: no longer in the hash */
    struct node *next; /* hash chain */
    struct node *older;
    struct node *newer; /* unpinned list */
};

struct shard {
    struct fold_lock lock;
    unsigned count;               /* nodes in the hash */
    struct node *bucket[BUCKETS]; /* guarded by lock */
    struct node *oldest;          /* guarded by lock */
    struct node *newest;          /* guarded by lock */
};

struct fold_segmap {
    int dirfd;
    const struct fold_shadow *overlay; /* or NULL */
    unsigned max_per_shard;
    struct shard shard[SHARDS];
};

static struct shard *shard_of(struct fold_segmap *m, uint32_t seg)
{
    return &m->shard[seg % SHARDS];
}

static struct node **bucket_of(struct shard *sh, uint32_t seg)
{
    return &sh->bucket[(seg / SHARDS) % BUCKETS];
}

static void idle_append(struct shard *sh, struct node *n)
{
    n->older = sh->newest;
    n->newer = NULL;
    if (sh->newest != NULL)
        sh->newest->newer = n;
    else
        sh->oldest = n;
    sh->newest = n;
}

static void idle_remove(struct shard *sh, struct node *n)
{
    if (n->older != NULL)
        n->older->newer = n->newer;
    else
        sh->oldest = n->newer;
    if (n->newer != NULL)
        n->newer->older = n->older;
    else
        sh->newest = n->older;
    n->older = n->newer = NULL;
}

static void hash_remove(struct shard *sh, struct node *n)
{
    struct node **at = bucket_of(sh, n->map.seg);
    while (*at != n)
        at = &(*at)->next;
    *at = n->next;
    n->dropped = true;
    sh->count--;
}

static void node_free(struct node *n)
{
    if (n == NULL)
        return;
    union {
        const uint8_t *in;
        void *out;
    } base = {.in = n->map.base};
    fold_io_unmap(base.out, n->map.len);
    free(n);
}

int fold_segmap_create(int dirfd, const struct fold_shadow *overlay, unsigned max_maps,
                       struct fold_segmap **out)
{
    struct fold_segmap *m = calloc(1, sizeof *m);
    if (m == NULL)
        return -ENOMEM;
    m->dirfd = dirfd;
    m->overlay = overlay;
    m->max_per_shard = FOLD_MAX(max_maps / SHARDS, 1u);
    for (unsigned i = 0; i < SHARDS; i++)
        fold_lock_init(&m->shard[i].lock, FOLD_RANK_SEGMAP, "segmap");
    *out = m;
    return 0;
}

void fold_segmap_destroy(struct fold_segmap *m)
{
    if (m == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *sh = &m->shard[i];
        while (sh->oldest != NULL) {
            struct node *n = sh->oldest;
            idle_remove(sh, n);
            hash_remove(sh, n);
            node_free(n);
        }
        assert(sh->count == 0);
        fold_lock_fini(&sh->lock);
    }
    free(m);
}

int fold_segmap_dirfd(const struct fold_segmap *m)
{
    return m->dirfd;
}

static int map_segment(const struct fold_segmap *m, const struct fold_seg *seg, struct node **out)
{
    char name[FOLD_SEG_NAME_BYTES];
    fold_seg_name(seg->ident.seg, name);
    FOLD_AUTO(close)
    int fd = m->overlay != NULL ? fold_shadow_open(m->overlay, name)
                                : fold_io_open(m->dirfd, name, O_RDONLY, 0);
    if (fd < 0)
        return fd;
    struct node *n = calloc(1, sizeof *n);
    if (n == NULL)
        return -ENOMEM;
    n->map.seg = seg->ident.seg;
    n->map.len = atomic_load_explicit(&seg->state, memory_order_acquire) == FOLD_SEG_OPEN
                     ? seg->ident.capacity
                     : atomic_load(&seg->file_bytes);
    void *base;
    int rc = fold_io_map(fd, n->map.len, &base);
    if (rc < 0) {
        free(n);
        return rc;
    }
    n->map.base = base;
    *out = n;
    return 0;
}

/* Takes the oldest unpinned node out if there are too many; the caller frees it after dropping the
 * lock. */
static struct node *shrink_locked(struct fold_segmap *m, struct shard *sh)
{
    struct node *n = sh->oldest;
    if (sh->count <= m->max_per_shard || n == NULL)
        return NULL;
    idle_remove(sh, n);
    hash_remove(sh, n);
    return n;
}

int fold_segmap_pin(struct fold_segmap *m, const struct fold_seg *seg, struct fold_map **out)
{
    struct shard *sh = shard_of(m, seg->ident.seg);
    struct node *victim = NULL;
    int rc = 0;
    fold_lock_take(&sh->lock);
    struct node *n = *bucket_of(sh, seg->ident.seg);
    while (n != NULL && n->map.seg != seg->ident.seg)
        n = n->next;
    if (n == NULL) {
        rc = map_segment(m, seg, &n);
        if (rc < 0)
            goto out;
        struct node **at = bucket_of(sh, seg->ident.seg);
        n->next = *at;
        *at = n;
        sh->count++;
        victim = shrink_locked(m, sh);
    } else if (atomic_load_explicit(&n->pins, memory_order_relaxed) == 0) {
        idle_remove(sh, n);
    }
    atomic_fetch_add_explicit(&n->pins, 1, memory_order_relaxed);
    *out = &n->map;
out:
    fold_lock_drop(&sh->lock);
    node_free(victim);
    return rc;
}

static struct node *node_of(struct fold_map *map)
{
    return (struct node *)map;
}

void fold_segmap_again(struct fold_segmap *m FOLD_UNUSED, struct fold_map *map)
{
    atomic_fetch_add_explicit(&node_of(map)->pins, 1, memory_order_relaxed);
}

void fold_segmap_unpin(struct fold_segmap *m, struct fold_map *map)
{
    struct node *n = node_of(map);
    uint32_t pins = atomic_load_explicit(&n->pins, memory_order_relaxed);
    while (pins > 1)
        if (atomic_compare_exchange_weak_explicit(&n->pins, &pins, pins - 1, memory_order_release,
                                                  memory_order_relaxed))
            return;
    struct shard *sh = shard_of(m, map->seg);
    struct node *victim = NULL;
    fold_lock_take(&sh->lock);
    if (atomic_fetch_sub_explicit(&n->pins, 1, memory_order_acq_rel) == 1) {
        if (n->dropped) {
            victim = n;
        } else {
            idle_append(sh, n);
            victim = shrink_locked(m, sh);
        }
    }
    fold_lock_drop(&sh->lock);
    node_free(victim);
}

void fold_segmap_drop(struct fold_segmap *m, uint32_t seg)
{
    struct shard *sh = shard_of(m, seg);
    struct node *victim = NULL;
    fold_lock_take(&sh->lock);
    struct node *n = *bucket_of(sh, seg);
    while (n != NULL && n->map.seg != seg)
        n = n->next;
    if (n != NULL) {
        hash_remove(sh, n);
        if (atomic_load(&n->pins) == 0) {
            idle_remove(sh, n);
            victim = n;
        }
    }
    fold_lock_drop(&sh->lock);
    node_free(victim);
}
