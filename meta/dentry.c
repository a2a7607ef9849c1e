/* SPDX-License-Identifier: MIT */
/*
 * Directory entries in buckets by name hash.
 *
 * Bucket value: entries in rising slot order, each varint slot, u8 type, varint inode, u8 name
 * length, name. The hash is XXH3 with the volume's seed, cut to 52 bits; the cookie is hash << 11 |
 * slot. A slot is given to an entry for its life and a bucket has 2048 of them, far more than names
 * can be made to collide without knowing the seed. A bucket changed by a transaction is kept there,
 * so that a second change of it in the same transaction builds on the first.
 */
#include "meta/dentry.h"

#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/buckets.h"
#include "meta/commit.h"

#include <xxhash.h>

#define SLOT_BITS 11
#define SLOTS     (1u << SLOT_BITS)
#define HASH_BITS 52
#define ENTRY_MAX (2 + 1 + 10 + 1 + FOLD_NAME_MAX)

struct entry {
    const uint8_t *begin; /* its bytes in the bucket */
    const uint8_t *end;
    const char *name;
    fold_ino ino;
    uint32_t slot;
    uint8_t type;
    uint8_t len;
};

struct fold_dentry_iter {
    struct fold_kv_iter *kv;
    struct fold_buckets *buckets;
    uint64_t mark; /* of the buckets, before the iterator was opened */
    fold_ino dir;
    uint64_t after; /* cookies up to here are skipped */
    uint64_t hash;  /* of the bucket in `rest` */
    struct fold_rd rest;
    int64_t last_slot;
    char name[FOLD_NAME_MAX + 1];
};

static fold_dentry_hash hash_hook; /* fixed while threads run */

void fold_dentry_set_hash(fold_dentry_hash hook)
{
    hash_hook = hook;
}

static uint64_t name_hash(const struct fold_catalog *c, const char *name, size_t len)
{
    uint64_t h =
        hash_hook != NULL ? hash_hook(name, len) : XXH3_64bits_withSeed(name, len, c->seed);
    h >>= 64 - HASH_BITS;
    return h != 0 ? h : 1; /* cookies 0, 1 and 2 belong to the start, "." and ".." */
}

static int bad_bucket(fold_ino dir, uint64_t hash)
{
    fold_error("catalog: directory %llu bucket %llx: %s", (unsigned long long)dir,
               (unsigned long long)hash, fold_err_text(FOLD_E_BAD_CATALOG));
    return -FOLD_E_BAD_CATALOG;
}

/* Next entry of a bucket: 1, 0 at the end, -1 if the bytes make no sense. `last`: slot of the one
 * before, or -1. */
static int read_entry(struct fold_rd *r, int64_t last, struct entry *out)
{
    if (fold_rd_done(r))
        return 0;
    struct entry e = {.begin = r->p};
    uint64_t slot = fold_rd_varint(r);
    e.type = fold_rd_u8(r);
    e.ino = fold_rd_varint(r);
    e.len = fold_rd_u8(r);
    const uint8_t *name = fold_rd_bytes(r, e.len);
    if (name == NULL || e.len == 0 || e.ino == 0 || slot >= SLOTS || (int64_t)slot <= last)
        return -1;
    e.name = (const char *)name;
    e.end = r->p;
    e.slot = (uint32_t)slot;
    *out = e;
    return 1;
}

int fold_bucket_each(const void *data, size_t len, fold_bucket_fn fn, void *arg)
{
    struct fold_rd r = fold_rd_init(data, len);
    struct entry e = {0};
    int64_t last = -1;
    int rc;
    while ((rc = read_entry(&r, last, &e)) > 0) {
        struct fold_dentry d = {.ino = e.ino, .type = e.type};
        last = e.slot;
        rc = fn(arg, e.name, e.len, &d);
        if (rc < 0)
            return rc;
    }
    return rc == 0 && last >= 0 ? 0 : -FOLD_E_BAD_CATALOG;
}

uint64_t fold_dentry_hash_of(const struct fold_catalog *c, const char *name, size_t len)
{
    return name_hash(c, name, len);
}

/* Finds `name` in a bucket: 1, 0, -1 as above. If absent, *free_slot is the lowest free one and *at
 * where it belongs. */
static int find_entry(const void *data, size_t data_len, const char *name, size_t len,
                      struct entry *out, uint32_t *free_slot, size_t *at)
{
    struct fold_rd r = fold_rd_init(data, data_len);
    const uint8_t *base = r.p;
    int64_t last = -1;
    bool gap = false;
    struct entry e;
    int rc;
    *free_slot = 0;
    *at = 0;
    while ((rc = read_entry(&r, last, &e)) > 0) {
        if (e.len == len && memcmp(e.name, name, len) == 0) {
            *out = e;
            return 1;
        }
        if (!gap && e.slot == *free_slot) {
            *free_slot = e.slot + 1;
            *at = (size_t)(e.end - base);
        } else {
            gap = true;
        }
        last = e.slot;
    }
    return rc;
}

/* The bytes of a bucket, remembered or from the database. */
struct bucket {
    const uint8_t *data;
    size_t len; /* 0: there is none */
    struct fold_found found;
    uint8_t kept[FOLD_BUCKET_KEPT];
};

static void fold_auto_bucket(struct bucket *b)
{
    fold_found_fini(&b->found);
}

static int load_bucket(struct fold_catalog *c, fold_ino dir, uint64_t hash, struct bucket *b)
{
    b->found.value = (struct fold_kv_value){NULL, 0, NULL};
    b->found.copy = NULL;
    b->data = b->kept;
    b->len = 0;
    if (fold_buckets_get(c->buckets, dir, hash, b->kept, &b->len) ||
        fold_buckets_absent(c->buckets, dir, hash))
        return 0;
    struct fold_key key;
    fold_key_pair(&key, FOLD_TABLE_DENTRY, dir, hash);
    uint64_t mark = fold_buckets_mark(c->buckets);
    int rc = fold_recent_get(c->recent, key.bytes, key.len, &b->found);
    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (rc == 0) {
        b->data = b->found.data;
        b->len = b->found.len;
    }
    fold_buckets_fill(c->buckets, dir, hash, b->data, b->len, mark);
    return 0;
}

int fold_dentry_load(struct fold_catalog *c, fold_ino dir, const char *name, size_t len,
                     struct fold_dentry *out)
{
    uint64_t hash = name_hash(c, name, len);
    FOLD_AUTO(bucket) struct bucket b;
    int rc = load_bucket(c, dir, hash, &b);
    if (rc < 0)
        return rc;
    struct entry e;
    uint32_t slot;
    size_t at;
    int found = find_entry(b.data, b.len, name, len, &e, &slot, &at);
    if (found <= 0)
        return found < 0 ? bad_bucket(dir, hash) : -ENOENT;
    *out = (struct fold_dentry){.ino = e.ino, .cookie = hash << SLOT_BITS | e.slot, .type = e.type};
    return 0;
}

/* The bucket as the transaction sees it, entered in its list. */
static int txn_bucket(struct fold_txn *t, fold_ino dir, uint64_t hash, struct fold_txn_bucket **out)
{
    for (struct fold_txn_bucket *b = t->buckets; b != NULL; b = b->next)
        if (b->dir == dir && b->hash == hash) {
            *out = b;
            return 0;
        }
    FOLD_AUTO(bucket) struct bucket stored;
    int rc = load_bucket(t->catalog, dir, hash, &stored);
    if (rc < 0)
        return rc;
    struct fold_txn_bucket *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    b->data = malloc(stored.len + 1);
    if (b->data == NULL) {
        free(b);
        return -ENOMEM;
    }
    memcpy(b->data, stored.data, stored.len);
    b->len = stored.len;
    b->dir = dir;
    b->hash = hash;
    b->next = t->buckets;
    t->buckets = b;
    *out = b;
    return 0;
}

/* Replaces bytes [at, at+cut) of the bucket by `fresh` and puts the result into the batch. */
static int splice(struct fold_txn *t, struct fold_txn_bucket *b, size_t at, size_t cut,
                  const void *fresh, size_t fresh_len)
{
    size_t len = b->len - cut + fresh_len;
    uint8_t *data = malloc(len + 1);
    if (data == NULL)
        return -ENOMEM;
    if (at > 0)
        memcpy(data, b->data, at);
    memcpy(data + at, fresh, fresh_len);
    if (b->len > at + cut)
        memcpy(data + at + fresh_len, b->data + at + cut, b->len - at - cut);
    free(b->data);
    b->data = data;
    b->len = len;
    struct fold_key key;
    fold_key_pair(&key, FOLD_TABLE_DENTRY, b->dir, b->hash);
    if (len > 0)
        fold_kv_batch_put(t->batch, key.bytes, key.len, data, len);
    else
        fold_kv_batch_delete(t->batch, key.bytes, key.len);
    return 0;
}

static int put_entry(struct fold_txn *t, fold_ino dir, const char *name, size_t len, fold_ino ino,
                     uint8_t type, bool replace)
{
    if (len == 0 || len > FOLD_NAME_MAX)
        return len == 0 ? -ENOENT : -ENAMETOOLONG;
    uint64_t hash = name_hash(t->catalog, name, len);
    struct fold_txn_bucket *b;
    int rc = txn_bucket(t, dir, hash, &b);
    if (rc < 0)
        return rc;
    fold_buckets_note(t->catalog->buckets, dir, hash);
    struct entry e;
    uint32_t slot;
    size_t at;
    size_t cut = 0;
    int found = find_entry(b->data, b->len, name, len, &e, &slot, &at);
    if (found < 0)
        return bad_bucket(dir, hash);
    if (found > 0 && !replace)
        return -EEXIST;
    if (found > 0) {
        slot = e.slot;
        at = (size_t)(e.begin - b->data);
        cut = (size_t)(e.end - e.begin);
    } else if (slot >= SLOTS) {
        return -ENOSPC;
    }
    uint8_t bytes[ENTRY_MAX];
    struct fold_wr w = fold_wr_init(bytes, sizeof bytes);
    fold_wr_varint(&w, slot);
    fold_wr_u8(&w, type);
    fold_wr_varint(&w, ino);
    fold_wr_u8(&w, (uint8_t)len);
    fold_wr_bytes(&w, name, len);
    return splice(t, b, at, cut, bytes, fold_wr_len(&w));
}

void fold_dentry_born(struct fold_catalog *c, fold_ino dir)
{
    fold_buckets_born(c->buckets, dir);
}

int fold_dentry_store(struct fold_txn *t, fold_ino dir, const char *name, size_t len, fold_ino ino,
                      uint8_t type)
{
    return put_entry(t, dir, name, len, ino, type, true);
}

int fold_dentry_add(struct fold_txn *t, fold_ino dir, const char *name, size_t len, fold_ino ino,
                    uint8_t type)
{
    return put_entry(t, dir, name, len, ino, type, false);
}

int fold_dentry_remove(struct fold_txn *t, fold_ino dir, const char *name, size_t len)
{
    uint64_t hash = name_hash(t->catalog, name, len);
    struct fold_txn_bucket *b;
    int rc = txn_bucket(t, dir, hash, &b);
    if (rc < 0)
        return rc;
    struct entry e;
    uint32_t slot;
    size_t at;
    int found = find_entry(b->data, b->len, name, len, &e, &slot, &at);
    if (found <= 0)
        return found < 0 ? bad_bucket(dir, hash) : -ENOENT;
    return splice(t, b, (size_t)(e.begin - b->data), (size_t)(e.end - e.begin), "", 0);
}

int fold_dentry_iter_open(struct fold_catalog *c, fold_ino dir, uint64_t after_cookie,
                          struct fold_dentry_iter **out)
{
    struct fold_dentry_iter *it = calloc(1, sizeof *it);
    if (it == NULL)
        return -ENOMEM;
    it->buckets = c->buckets;
    it->mark = fold_buckets_mark(c->buckets);
    it->dir = dir;
    it->after = after_cookie;
    it->rest = fold_rd_init("", 0);
    struct fold_key from, to;
    fold_key_pair(&from, FOLD_TABLE_DENTRY, dir, after_cookie >> SLOT_BITS);
    fold_key_ino(&to, FOLD_TABLE_DENTRY, dir + 1);
    int rc =
        fold_recent_iter_open(c->recent, from.bytes, from.len, to.bytes, to.len, false, &it->kv);
    if (rc < 0) {
        free(it);
        return rc;
    }
    *out = it;
    return 0;
}

int fold_dentry_iter_next(struct fold_dentry_iter *it, struct fold_dentry *out, const char **name,
                          size_t *len)
{
    for (;;) {
        struct entry e;
        int rc = read_entry(&it->rest, it->last_slot, &e);
        if (rc < 0)
            return bad_bucket(it->dir, it->hash);
        if (rc == 0) {
            struct fold_kv_entry kv;
            fold_ino dir;
            rc = fold_kv_iter_next(it->kv, &kv);
            if (rc <= 0)
                return rc;
            if (!fold_key_read_pair(kv.key, kv.key_len, FOLD_TABLE_DENTRY, &dir, &it->hash))
                return bad_bucket(it->dir, 0);
            it->rest = fold_rd_init(kv.val, kv.val_len);
            it->last_slot = -1;
            fold_buckets_fill(it->buckets, it->dir, it->hash, kv.val, kv.val_len, it->mark);
            continue;
        }
        it->last_slot = e.slot;
        uint64_t cookie = it->hash << SLOT_BITS | e.slot;
        if (cookie <= it->after)
            continue;
        memcpy(it->name, e.name, e.len);
        it->name[e.len] = '\0';
        *out = (struct fold_dentry){.ino = e.ino, .cookie = cookie, .type = e.type};
        *name = it->name;
        *len = e.len;
        return 1;
    }
}

void fold_dentry_iter_close(struct fold_dentry_iter *it)
{
    if (it == NULL)
        return;
    fold_kv_iter_close(it->kv);
    free(it);
}
