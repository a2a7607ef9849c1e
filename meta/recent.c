/* SPDX-License-Identifier: MIT */
/*
 * A hash table over an arena, both of fixed size and emptied together. A value that is replaced
 * stays in the arena, unless the new one fits into its place. The lock is held while the database
 * takes a hand-over, which is microseconds an entry; in return nobody ever meets an entry in
 * neither place.
 *
 * A batch is taken apart once, when room is made for it, which is outside of the lock; what was
 * found waits for the batch to be added.
 */
#include "meta/recent.h"

#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/batch.h"

#include <assert.h>
#include <errno.h>
#include <xxhash.h>

#define ENTRIES     1024u
#define BUCKETS     2048u
#define ARENA_BYTES (256u << 10)
#define NONE        UINT32_MAX

/* A batch with more is not collected. */
#define BATCH_CHANGES (ENTRIES / 4)
#define BATCH_BYTES   (ARENA_BYTES / 4)

struct entry {
    uint64_t hash;
    uint32_t next;     /* in the chain of its bucket */
    uint32_t key, val; /* offsets in the arena */
    uint32_t val_len, val_cap;
    uint16_t key_len;
    bool gone; /* deleted */
};

/* A batch taken apart. */
struct coming {
    const struct fold_kv_batch *batch;
    bool collected; /* few changes of the plain kinds; else the rest is not valid */
    uint32_t count;
    uint32_t bytes; /* at least what its keys and values take */
    struct fold_batch_change changes[BATCH_CHANGES];
};

struct fold_recent {
    struct fold_kv *kv;
    struct coming coming;  /* from make_room to add; of the holder of the commit lock */
    struct fold_lock lock; /* guards all below */
    uint32_t count, used;
    uint32_t buckets[BUCKETS];
    struct entry entries[ENTRIES];
    uint8_t arena[ARENA_BYTES];
};

static void clear_locked(struct fold_recent *r) FOLD_REQUIRES(r->lock)
{
    r->count = r->used = 0;
    memset(r->buckets, 0xff, sizeof r->buckets); /* NONE */
}

int fold_recent_create(struct fold_kv *kv, struct fold_recent **out) FOLD_NO_ANALYSIS
{
    struct fold_recent *r = malloc(sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->kv = kv;
    fold_lock_init(&r->lock, FOLD_RANK_CACHE, "recent commits");
    clear_locked(r);
    *out = r;
    return 0;
}

void fold_recent_destroy(struct fold_recent *r)
{
    if (r == NULL)
        return;
    fold_lock_fini(&r->lock);
    free(r);
}

static struct entry *find_locked(struct fold_recent *r, const void *key, size_t key_len,
                                 uint64_t hash) FOLD_REQUIRES(r->lock)
{
    for (uint32_t i = r->buckets[hash % BUCKETS]; i != NONE; i = r->entries[i].next) {
        struct entry *e = &r->entries[i];
        if (e->hash == hash && e->key_len == key_len &&
            memcmp(r->arena + e->key, key, key_len) == 0)
            return e;
    }
    return NULL;
}

/* Copies a value out: 0, -ENOENT or -ENOMEM. */
static int copy_locked(struct fold_recent *r, const struct entry *e, struct fold_found *out)
    FOLD_REQUIRES(r->lock)
{
    if (e->gone)
        return -ENOENT;
    uint8_t *to = out->small;
    if (e->val_len > sizeof out->small) {
        out->copy = malloc(e->val_len);
        if (out->copy == NULL)
            return -ENOMEM;
        to = out->copy;
    }
    memcpy(to, r->arena + e->val, e->val_len);
    out->data = to;
    out->len = e->val_len;
    return 0;
}

int fold_recent_get(struct fold_recent *r, const void *key, size_t key_len, struct fold_found *out)
{
    out->value = (struct fold_kv_value){NULL, 0, NULL};
    out->copy = NULL;
    uint64_t hash = XXH3_64bits(key, key_len);
    fold_lock_take(&r->lock);
    const struct entry *e = find_locked(r, key, key_len, hash);
    int rc = e != NULL ? copy_locked(r, e, out) : 0;
    fold_lock_drop(&r->lock);
    if (e != NULL)
        return rc;
    rc = fold_kv_get(r->kv, key, key_len, &out->value);
    if (rc == 0) {
        out->data = out->value.data;
        out->len = out->value.len;
    }
    return rc;
}

void fold_found_fini(struct fold_found *f)
{
    free(f->copy);
    f->copy = NULL;
    fold_kv_value_fini(&f->value);
}

struct sorting {
    const uint8_t *key;
    uint32_t key_len;
    uint32_t index;
};

static int by_key(const void *a, const void *b)
{
    const struct sorting *x = a, *y = b;
    return fold_bytes_compare(x->key, x->key_len, y->key, y->key_len);
}

static int hand_over_locked(struct fold_recent *r) FOLD_REQUIRES(r->lock)
{
    if (r->count == 0)
        return 0;
    struct sorting sorted[ENTRIES];
    for (uint32_t i = 0; i < r->count; i++)
        sorted[i] = (struct sorting){r->arena + r->entries[i].key, r->entries[i].key_len, i};
    qsort(sorted, r->count, sizeof sorted[0], by_key);
    struct fold_kv_batch *b = fold_kv_batch_create();
    for (uint32_t i = 0; i < r->count; i++) {
        const struct entry *e = &r->entries[sorted[i].index];
        if (e->gone)
            fold_kv_batch_delete(b, sorted[i].key, e->key_len);
        else
            fold_kv_batch_put(b, sorted[i].key, e->key_len, r->arena + e->val, e->val_len);
    }
    int rc = fold_kv_write(r->kv, b);
    fold_kv_batch_destroy(b);
    if (rc == 0)
        clear_locked(r);
    return rc;
}

int fold_recent_hand_over(struct fold_recent *r)
{
    fold_lock_take(&r->lock);
    int rc = hand_over_locked(r);
    fold_lock_drop(&r->lock);
    return rc;
}

int fold_recent_iter_open(struct fold_recent *r, const void *from, size_t from_len, const void *to,
                          size_t to_len, bool scan, struct fold_kv_iter **out)
{
    int rc = fold_recent_hand_over(r);
    return rc < 0 ? rc : fold_kv_iter_open(r->kv, from, from_len, to, to_len, scan, out);
}

/* Whether the batch may be collected at all; its changes, if so. */
static bool take_apart(struct coming *c, struct fold_kv_batch *b)
{
    size_t len;
    const void *data = fold_kv_batch_data(b, &len);
    struct fold_batch at;
    int rc = fold_batch_open(&at, data, len);
    if (rc < 0 || fold_rd_left(&at.rd) > BATCH_BYTES || at.left > BATCH_CHANGES)
        return false;
    c->count = 0;
    c->bytes = (uint32_t)fold_rd_left(&at.rd);
    struct fold_batch_change *change = c->changes;
    while ((rc = fold_batch_next(&at, change)) > 0) {
        if (change->kind == FOLD_BATCH_DELETE_RANGE || change->key_len > UINT16_MAX)
            return false;
        change = &c->changes[++c->count];
    }
    return rc == 0;
}

static bool room_locked(const struct fold_recent *r) FOLD_REQUIRES(r->lock)
{
    return r->count + r->coming.count <= FOLD_MIN(ENTRIES, fold_knobs.recent_entries) &&
           r->used + r->coming.bytes <= ARENA_BYTES;
}

int fold_recent_make_room(struct fold_recent *r, struct fold_kv_batch *b)
{
    r->coming.batch = b;
    r->coming.collected = take_apart(&r->coming, b);
    fold_lock_take(&r->lock);
    int rc = r->coming.collected && room_locked(r) ? 0 : hand_over_locked(r);
    fold_lock_drop(&r->lock);
    return rc;
}

static uint32_t store_locked(struct fold_recent *r, const uint8_t *bytes, size_t len)
    FOLD_REQUIRES(r->lock)
{
    assert(len <= ARENA_BYTES - r->used);
    uint32_t at = r->used;
    if (len > 0)
        memcpy(r->arena + at, bytes, len);
    r->used += (uint32_t)len;
    return at;
}

static void enter_locked(struct fold_recent *r, const struct fold_batch_change *c)
    FOLD_REQUIRES(r->lock)
{
    uint64_t hash = XXH3_64bits(c->key, c->key_len);
    struct entry *e = find_locked(r, c->key, c->key_len, hash);
    if (e == NULL) {
        assert(r->count < ENTRIES);
        uint32_t *bucket = &r->buckets[hash % BUCKETS];
        e = &r->entries[r->count];
        *e = (struct entry){.hash = hash, .next = *bucket, .key_len = (uint16_t)c->key_len};
        e->key = store_locked(r, c->key, c->key_len);
        *bucket = r->count++;
    }
    e->gone = c->kind == FOLD_BATCH_DELETE;
    if (c->val_len > e->val_cap) {
        e->val = store_locked(r, c->val, c->val_len);
        e->val_cap = c->val_len;
    } else if (c->val_len > 0) {
        memcpy(r->arena + e->val, c->val, c->val_len);
    }
    e->val_len = c->val_len;
}

int fold_recent_add(struct fold_recent *r, struct fold_kv_batch *b)
{
    struct coming *c = &r->coming;
    assert(c->batch == b);
    c->batch = NULL;
    fold_lock_take(&r->lock);
    int rc = 0;
    if (!c->collected) {
        /* What came before must not come after it. */
        rc = hand_over_locked(r);
        if (rc == 0)
            rc = fold_kv_write(r->kv, b);
    } else {
        for (uint32_t i = 0; i < c->count; i++)
            enter_locked(r, &c->changes[i]);
    }
    fold_lock_drop(&r->lock);
    return rc;
}
