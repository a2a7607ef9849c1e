/* SPDX-License-Identifier: MIT */
/*
 * The table is cut into shards by inode number. Each shard has a hash of objects, the kernel's
 * lookup counts, and three lists that together hold every object: in use (referenced), unsaved
 * (unreferenced, but dirty), clean (least recently used first; the only ones that may be evicted).
 *
 * Locks: one per shard, rank ITABLE. What an object's owner may change only with a reference
 * (attr_dirty, data) is stable while there is none, so the shard's lock is enough to look at it
 * then.
 *
 * An object read from the catalog is entered only if the shard evicted nothing meanwhile: otherwise
 * what was read may be older than what an evicted object had written.
 */
#include "fs/itable.h"

#include "fs/data.h"
#include "fs/lookups.h"
#include "meta/base/log.h"
#include "meta/gather.h"
#include "meta/inode.h"

#include <errno.h>

#define SHARDS      32
#define MIN_BUCKETS 64

enum list_id { IN_USE, UNSAVED, CLEAN, LISTS };

struct list {
    struct fold_inode *first, *last;
    size_t count;
};

struct shard {
    struct fold_lock lock;
    struct fold_inode **buckets; /* guarded by lock, as all below */
    size_t bucket_count;         /* a power of two */
    size_t objects;
    struct list lists[LISTS];
    uint64_t evictions;
    struct fold_lookups lookups;
} __attribute__((aligned(FOLD_CACHELINE)));

struct fold_itable {
    struct fold_catalog *catalog;
    struct fold_session *session;
    size_t cached; /* clean objects per shard */
    struct shard shards[SHARDS];
};

static uint64_t mix(fold_ino ino)
{
    uint64_t h = ino * UINT64_C(0x9e3779b97f4a7c15);
    return h ^ (h >> 32);
}

static struct shard *shard_of(struct fold_itable *t, fold_ino ino)
{
    return &t->shards[mix(ino) % SHARDS];
}

static struct fold_inode **bucket_of(struct shard *sh, fold_ino ino)
{
    return &sh->buckets[(mix(ino) / SHARDS) & (sh->bucket_count - 1)];
}

static void list_remove(struct shard *sh, struct fold_inode *inode)
{
    struct list *l = &sh->lists[inode->list];
    if (inode->lru_prev != NULL)
        inode->lru_prev->lru_next = inode->lru_next;
    else
        l->first = inode->lru_next;
    if (inode->lru_next != NULL)
        inode->lru_next->lru_prev = inode->lru_prev;
    else
        l->last = inode->lru_prev;
    l->count--;
}

static void list_append(struct shard *sh, struct fold_inode *inode, enum list_id id)
{
    struct list *l = &sh->lists[id];
    inode->list = (uint8_t)id;
    inode->lru_prev = l->last;
    inode->lru_next = NULL;
    if (l->last != NULL)
        l->last->lru_next = inode;
    else
        l->first = inode;
    l->last = inode;
    l->count++;
}

static struct fold_inode *find_locked(struct shard *sh, fold_ino ino)
{
    struct fold_inode *inode = *bucket_of(sh, ino);
    while (inode != NULL && inode->ino != ino)
        inode = inode->hash_next;
    return inode;
}

static void ref_locked(struct shard *sh, struct fold_inode *inode)
{
    if (inode->refs++ == 0) {
        list_remove(sh, inode);
        list_append(sh, inode, IN_USE);
    }
    inode->gets++;
}

/* Doubles the buckets; without memory the chains simply get longer. */
static void grow_locked(struct shard *sh)
{
    size_t old_count = sh->bucket_count;
    struct fold_inode **old = sh->buckets;
    struct fold_inode **new = calloc(old_count * 2, sizeof(struct fold_inode *));
    if (new == NULL)
        return;
    sh->buckets = new;
    sh->bucket_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct fold_inode *inode = old[i];
            old[i] = inode->hash_next;
            struct fold_inode **b = bucket_of(sh, inode->ino);
            inode->hash_next = *b;
            *b = inode;
        }
    }
    free(old);
}

/* Enters an object with one reference. */
static void insert_locked(struct shard *sh, struct fold_inode *inode)
{
    if (sh->objects >= sh->bucket_count)
        grow_locked(sh);
    struct fold_inode **b = bucket_of(sh, inode->ino);
    inode->hash_next = *b;
    *b = inode;
    inode->refs = 1;
    inode->gets = 1;
    list_append(sh, inode, IN_USE);
    sh->objects++;
}

static void remove_locked(struct shard *sh, struct fold_inode *inode)
{
    struct fold_inode **p = bucket_of(sh, inode->ino);
    while (*p != inode)
        p = &(*p)->hash_next;
    *p = inode->hash_next;
    list_remove(sh, inode);
    sh->objects--;
    sh->evictions++;
}

static struct fold_inode *object_create(const struct fold_attr *attr)
{
    struct fold_inode *inode = calloc(1, sizeof *inode);
    if (inode == NULL)
        return NULL;
    inode->ino = attr->ino;
    inode->type = attr->mode & S_IFMT;
    inode->attr = *attr;
    inode->disk_size = attr->size;
    inode->shown_size = UINT64_MAX;
    fold_lock_init(&inode->names, FOLD_RANK_DIR, "inode.names");
    fold_lock_init(&inode->lock, FOLD_RANK_ATTR, "inode.lock");
    return inode;
}

static void object_destroy(struct fold_itable *t, struct fold_inode *inode)
{
    if (inode->data != NULL)
        fold_data_destroy(t->session, inode->data);
    fold_lock_fini(&inode->names);
    fold_lock_fini(&inode->lock);
    free(inode);
}

int fold_itable_create(struct fold_catalog *catalog, size_t cached, struct fold_itable **out)
{
    struct fold_itable *t = aligned_alloc(FOLD_CACHELINE, sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    memset(t, 0, sizeof *t);
    t->catalog = catalog;
    t->cached = cached / SHARDS;
    bool ok = true;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *sh = &t->shards[i];
        fold_lock_init(&sh->lock, FOLD_RANK_ITABLE, "itable.shard");
        sh->bucket_count = MIN_BUCKETS;
        sh->buckets = calloc(MIN_BUCKETS, sizeof(struct fold_inode *));
        ok = ok && sh->buckets != NULL;
    }
    if (!ok) {
        fold_itable_destroy(t);
        return -ENOMEM;
    }
    *out = t;
    return 0;
}

void fold_itable_set_session(struct fold_itable *t, struct fold_session *s)
{
    t->session = s;
}

void fold_itable_destroy(struct fold_itable *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *sh = &t->shards[i];
        for (size_t b = 0; sh->buckets != NULL && b < sh->bucket_count; b++) {
            while (sh->buckets[b] != NULL) {
                struct fold_inode *inode = sh->buckets[b];
                sh->buckets[b] = inode->hash_next;
                object_destroy(t, inode);
            }
        }
        free(sh->buckets);
        fold_lookups_fini(&sh->lookups);
        fold_lock_fini(&sh->lock);
    }
    free(t);
}

int fold_itable_find(struct fold_itable *t, fold_ino ino, struct fold_inode **out)
{
    struct shard *sh = shard_of(t, ino);
    fold_lock_take(&sh->lock);
    struct fold_inode *inode = find_locked(sh, ino);
    if (inode != NULL)
        ref_locked(sh, inode);
    fold_lock_drop(&sh->lock);
    if (inode == NULL)
        return -ENOENT;
    *out = inode;
    return 0;
}

/* One attempt to enter what was read from the catalog. False if it may be outdated. */
static bool enter(struct shard *sh, struct fold_inode *fresh, uint64_t evictions,
                  struct fold_inode **out)
{
    fold_lock_take(&sh->lock);
    struct fold_inode *inode = find_locked(sh, fresh->ino);
    if (inode != NULL) {
        ref_locked(sh, inode);
    } else if (sh->evictions == evictions) {
        insert_locked(sh, fresh);
        inode = fresh;
    }
    fold_lock_drop(&sh->lock);
    *out = inode;
    return inode != NULL;
}

int fold_itable_get(struct fold_itable *t, fold_ino ino, struct fold_inode **out)
{
    struct shard *sh = shard_of(t, ino);
    for (;;) {
        fold_lock_take(&sh->lock);
        struct fold_inode *inode = find_locked(sh, ino);
        if (inode != NULL)
            ref_locked(sh, inode);
        uint64_t evictions = sh->evictions;
        fold_lock_drop(&sh->lock);
        if (inode != NULL) {
            *out = inode;
            return 0;
        }
        struct fold_attr attr;
        int rc = fold_inode_load(t->catalog, ino, &attr);
        if (rc < 0)
            return rc == -ENOENT ? -ESTALE : rc;
        struct fold_inode *fresh = object_create(&attr);
        if (fresh == NULL)
            return -ENOMEM;
        bool entered = enter(sh, fresh, evictions, &inode);
        if (inode != fresh)
            object_destroy(t, fresh);
        if (entered) {
            *out = inode;
            return 0;
        }
    }
}

struct preload {
    struct fold_itable *table;
    uint64_t evictions[SHARDS]; /* before the catalog was read */
};

static void preload_one(void *arg, const struct fold_attr *attr)
{
    struct preload *p = arg;
    struct shard *sh = shard_of(p->table, attr->ino);
    struct fold_inode *fresh = object_create(attr);
    if (fresh == NULL)
        return;
    fold_lock_take(&sh->lock);
    bool wanted =
        sh->evictions == p->evictions[sh - p->table->shards] && find_locked(sh, attr->ino) == NULL;
    if (wanted) {
        insert_locked(sh, fresh);
        fresh->refs = 0;
        list_remove(sh, fresh);
        list_append(sh, fresh, CLEAN);
    }
    fold_lock_drop(&sh->lock);
    if (!wanted)
        object_destroy(p->table, fresh);
}

/* Evicts what is more than the shard should keep. */
static void trim(struct fold_itable *t, struct shard *sh)
{
    struct fold_inode *victims = NULL;
    fold_lock_take(&sh->lock);
    while (sh->lists[CLEAN].count > t->cached) {
        struct fold_inode *oldest = sh->lists[CLEAN].first;
        remove_locked(sh, oldest);
        oldest->hash_next = victims;
        victims = oldest;
    }
    fold_lock_drop(&sh->lock);
    while (victims != NULL) {
        struct fold_inode *next = victims->hash_next;
        object_destroy(t, victims);
        victims = next;
    }
}

void fold_itable_preload(struct fold_itable *t, const fold_ino *inos, size_t n)
{
    fold_ino missing[FOLD_PRELOAD_MAX];
    size_t count = 0;
    struct preload p = {.table = t};
    for (size_t i = 0; i < SHARDS; i++) {
        fold_lock_take(&t->shards[i].lock);
        p.evictions[i] = t->shards[i].evictions;
        fold_lock_drop(&t->shards[i].lock);
    }
    for (size_t i = 0; i < FOLD_MIN(n, FOLD_PRELOAD_MAX); i++) {
        struct shard *sh = shard_of(t, inos[i]);
        fold_lock_take(&sh->lock);
        if (find_locked(sh, inos[i]) == NULL)
            missing[count++] = inos[i];
        fold_lock_drop(&sh->lock);
    }
    if (fold_gather_inodes(t->catalog, missing, count, preload_one, &p) < 0)
        return;
    /* Only now: an eviction in between would make the rest of its shard look outdated. */
    for (size_t i = 0; count > 0 && i < SHARDS; i++)
        trim(t, &t->shards[i]);
}

int fold_itable_add(struct fold_itable *t, const struct fold_attr *attr, struct fold_inode **out)
{
    struct fold_inode *inode = object_create(attr);
    if (inode == NULL)
        return -ENOMEM;
    struct shard *sh = shard_of(t, attr->ino);
    fold_lock_take(&sh->lock);
    insert_locked(sh, inode);
    fold_lock_drop(&sh->lock);
    *out = inode;
    return 0;
}

void fold_itable_ref(struct fold_itable *t, struct fold_inode *inode)
{
    struct shard *sh = shard_of(t, inode->ino);
    fold_lock_take(&sh->lock);
    ref_locked(sh, inode);
    fold_lock_drop(&sh->lock);
}

/* The last reference goes: puts the object where it belongs now and returns what is to be destroyed
 * (or NULL). */
static struct fold_inode *retire_locked(struct fold_itable *t, struct shard *sh,
                                        struct fold_inode *inode, bool unsaved)
{
    inode->refs = 0;
    if (inode->forgettable) {
        remove_locked(sh, inode);
        return inode;
    }
    list_remove(sh, inode);
    list_append(sh, inode, unsaved || inode->attr_dirty ? UNSAVED : CLEAN);
    if (sh->lists[CLEAN].count <= t->cached)
        return NULL;
    struct fold_inode *oldest = sh->lists[CLEAN].first;
    remove_locked(sh, oldest);
    return oldest;
}

void fold_itable_put(struct fold_itable *t, struct fold_inode *inode)
{
    if (inode == NULL)
        return;
    struct shard *sh = shard_of(t, inode->ino);
    struct fold_inode *victim = NULL;
    bool asked = false, unsaved = false;
    uint32_t gets = 0;
    fold_lock_take(&sh->lock);
    for (;;) {
        if (inode->refs > 1) {
            inode->refs--;
            break;
        }
        if (inode->data == NULL || inode->forgettable || (asked && gets == inode->gets)) {
            victim = retire_locked(t, sh, inode, unsaved);
            break;
        }
        /* The content's lock comes before ours: ask without it, and again if somebody was here
         * meanwhile. */
        gets = inode->gets;
        fold_lock_drop(&sh->lock);
        unsaved = fold_data_dirty(inode);
        asked = true;
        fold_lock_take(&sh->lock);
    }
    fold_lock_drop(&sh->lock);
    if (victim != NULL)
        object_destroy(t, victim);
}

int fold_itable_lookup(struct fold_itable *t, fold_ino ino)
{
    struct shard *sh = shard_of(t, ino);
    bool first = false;
    fold_lock_take(&sh->lock);
    int rc = fold_lookups_add(&sh->lookups, ino, &first);
    if (rc == 0 && first) {
        struct fold_inode *inode = find_locked(sh, ino);
        if (inode != NULL && inode->forgettable && !inode->kernel_holds) {
            inode->kernel_holds = true;
            ref_locked(sh, inode);
        }
    }
    fold_lock_drop(&sh->lock);
    return rc;
}

void fold_itable_forget(struct fold_itable *t, fold_ino ino, uint64_t n)
{
    struct shard *sh = shard_of(t, ino);
    struct fold_inode *ghost = NULL;
    fold_lock_take(&sh->lock);
    if (fold_lookups_drop(&sh->lookups, ino, n)) {
        ghost = find_locked(sh, ino);
        if (ghost != NULL && ghost->kernel_holds)
            ghost->kernel_holds = false;
        else
            ghost = NULL;
    }
    fold_lock_drop(&sh->lock);
    fold_itable_put(t, ghost);
}

void fold_itable_ghost_locked(struct fold_itable *t, struct fold_inode *inode)
{
    inode->ghost = true;
    inode->attr_dirty = false; /* there is nothing left to store it in */
    struct shard *sh = shard_of(t, inode->ino);
    fold_lock_take(&sh->lock);
    inode->forgettable = true;
    if (!inode->kernel_holds && fold_lookups_has(&sh->lookups, inode->ino)) {
        inode->kernel_holds = true;
        ref_locked(sh, inode);
    }
    fold_lock_drop(&sh->lock);
}

/* References all objects of the shard that may be dirty. *found is malloc'd; -ENOMEM. */
static int collect(struct shard *sh, struct fold_inode ***found, size_t *count)
{
    fold_lock_take(&sh->lock);
    size_t cap = sh->lists[IN_USE].count + sh->lists[UNSAVED].count;
    struct fold_inode **all = malloc((cap + 1) * sizeof(struct fold_inode *));
    size_t n = 0;
    if (all != NULL) {
        while (sh->lists[UNSAVED].first != NULL) {
            all[n++] = sh->lists[UNSAVED].first;
            ref_locked(sh, sh->lists[UNSAVED].first);
        }
        /* Those just moved stand at the end of this list: stop before them. */
        struct fold_inode *inode = sh->lists[IN_USE].first;
        for (size_t left = cap - n; left > 0; left--) {
            ref_locked(sh, inode);
            all[n++] = inode;
            inode = inode->lru_next;
        }
    }
    fold_lock_drop(&sh->lock);
    *found = all;
    *count = n;
    return all != NULL ? 0 : -ENOMEM;
}

void fold_itable_each_dirty(struct fold_itable *t, void (*fn)(void *arg, struct fold_inode *inode),
                            void *arg)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct fold_inode **found = NULL;
        size_t count = 0;
        if (collect(&t->shards[i], &found, &count) < 0) {
            fold_warn("not enough memory to look for unsaved inodes; trying again later");
            continue;
        }
        for (size_t k = 0; k < count; k++) {
            fold_lock_take(&found[k]->lock);
            bool dirty = found[k]->attr_dirty;
            fold_lock_drop(&found[k]->lock);
            if (dirty)
                fn(arg, found[k]);
            fold_itable_put(t, found[k]);
        }
        free(found);
    }
}
