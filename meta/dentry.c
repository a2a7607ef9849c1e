/* SPDX-License-Identifier: MIT */
/*
 * Directory entries in buckets by name hash.
 *
 * A slot is given to an entry for its life; the cookie is made of the bucket's number and the slot.
 * Seeded names (meta/namehash.h) have one bucket for each hash, with 2048 slots. Keyed names have
 * smaller ones, and levels: the entries of a hash whose bucket is full lie in a second bucket with
 * a higher number, and so on; each says whether the next level has entries, too. At the first level
 * cookies have at most 31 bits, and the second is reached when 128 names of one directory have the
 * same 24 bits, so practically never; but there is no limit.
 *
 * A bucket changed by a transaction is kept there, so that a second change of it in the same
 * transaction builds on the first.
 */
#include "meta/dentry.h"

#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/bucketfmt.h"
#include "meta/buckets.h"
#include "meta/commit.h"

struct fold_dentry_iter {
    struct fold_kv_iter *kv;
    struct fold_buckets *buckets;
    const struct fold_namehash *names;
    uint64_t mark; /* of the buckets, before the iterator was opened */
    fold_ino dir;
    uint64_t after;  /* cookies up to here are skipped */
    uint64_t number; /* of the bucket in `rest` */
    struct fold_bucket_rd rest;
    char name[FOLD_NAME_MAX + 1];
};

static int bad_bucket(fold_ino dir, uint64_t number)
{
    fold_error("catalog: directory %llu bucket %llx: %s", (unsigned long long)dir,
               (unsigned long long)number, fold_err_text(FOLD_E_BAD_CATALOG));
    return -FOLD_E_BAD_CATALOG;
}

static uint64_t next_level(const struct fold_namehash *h, uint64_t number)
{
    return number + (UINT64_C(1) << h->bits);
}

static uint64_t cookie_of(const struct fold_namehash *h, uint64_t number, uint32_t slot)
{
    return number << h->slot_bits | slot;
}

int fold_bucket_each(enum fold_name_form form, const void *data, size_t len, fold_bucket_fn fn,
                     void *arg)
{
    struct fold_bucket_rd r;
    struct fold_bucket_entry e;
    int rc;
    if (!fold_bucket_begin(&r, form, data, len))
        return -FOLD_E_BAD_CATALOG;
    while ((rc = fold_bucket_next(&r, &e)) > 0) {
        struct fold_dentry d = {.ino = e.ino, .type = e.type};
        rc = fn(arg, e.name, e.len, &d);
        if (rc < 0)
            return rc;
    }
    return rc == 0 && (r.last >= 0 || r.goes_on) ? 0 : -FOLD_E_BAD_CATALOG;
}

int fold_dentry_belongs(struct fold_catalog *c, fold_ino dir, const char *name, size_t len,
                        uint64_t number)
{
    struct fold_dentry d;
    uint64_t first;
    int rc = fold_namehash_bucket(&c->names, dir, name, len, &first);
    if (rc < 0 || number == first)
        return rc < 0 ? rc : 1;
    if ((number - first) % (UINT64_C(1) << c->names.bits) != 0 || number < first)
        return 0;
    rc = fold_dentry_load(c, dir, name, len, &d);
    if (rc == -ENOENT || rc == -FOLD_E_BAD_CATALOG)
        return 0;
    return rc < 0 ? rc : d.cookie >> c->names.slot_bits == number;
}

int fold_dentry_bucket_of(const struct fold_catalog *c, fold_ino dir, const char *name, size_t len,
                          uint64_t *out)
{
    return fold_namehash_bucket(&c->names, dir, name, len, out);
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
    const struct fold_namehash *h = &c->names;
    struct fold_bucket_found f = {.goes_on = true};
    uint64_t number;
    int rc = fold_namehash_bucket(h, dir, name, len, &number);
    for (; rc == 0 && f.goes_on; number = next_level(h, number)) {
        FOLD_AUTO(bucket) struct bucket b;
        rc = load_bucket(c, dir, number, &b);
        if (rc < 0)
            return rc;
        int found = fold_bucket_find(h->form, b.data, b.len, name, len, &f);
        if (found < 0)
            return bad_bucket(dir, number);
        if (found > 0) {
            *out = (struct fold_dentry){.ino = f.entry.ino,
                                        .cookie = cookie_of(h, number, f.entry.slot),
                                        .type = f.entry.type};
            return 0;
        }
    }
    return rc < 0 ? rc : -ENOENT;
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

/* Puts what the bucket is now into the batch; one that holds nothing is removed. */
static void put_bucket(struct fold_txn *t, struct fold_txn_bucket *b)
{
    struct fold_key key;
    size_t head = fold_bucket_head(t->catalog->names.form);
    if (b->len == head && (head == 0 || b->data[0] == 0))
        b->len = 0;
    fold_key_pair(&key, FOLD_TABLE_DENTRY, b->dir, b->hash);
    if (b->len > 0)
        fold_kv_batch_put(t->batch, key.bytes, key.len, b->data, b->len);
    else
        fold_kv_batch_delete(t->batch, key.bytes, key.len);
}

/* Replaces bytes [at, at+cut) of the bucket by `fresh`. */
static int splice(struct fold_txn *t, struct fold_txn_bucket *b, size_t at, size_t cut,
                  const void *fresh, size_t fresh_len)
{
    size_t kept = FOLD_MAX(b->len, at); /* of a new bucket the bytes before the first entry, too */
    size_t len = kept - cut + fresh_len;
    uint8_t *data = calloc(1, len + 1);
    if (data == NULL)
        return -ENOMEM;
    memcpy(data, b->data, FOLD_MIN(at, b->len));
    memcpy(data + at, fresh, fresh_len);
    if (b->len > at + cut)
        memcpy(data + at + fresh_len, b->data + at + cut, b->len - at - cut);
    free(b->data);
    b->data = data;
    b->len = len;
    put_bucket(t, b);
    return 0;
}

/* Where an entry is or may be put. */
struct spot {
    struct fold_txn_bucket *bucket; /* NULL: all buckets of the name are full */
    uint32_t slot;
    size_t at, cut; /* the bytes of the entry that is there */
};

/* Adds a level behind `last`, the last bucket of its hash, and finds a place there. */
static int add_level(struct fold_txn *t, struct fold_txn_bucket *last, struct spot *out)
{
    const struct fold_namehash *h = &t->catalog->names;
    struct fold_bucket_found f;
    if (h->form != FOLD_NAMES_KEYED)
        return -ENOSPC;
    uint64_t number = next_level(h, last->hash);
    int rc = txn_bucket(t, last->dir, number, &out->bucket);
    if (rc < 0)
        return rc;
    const struct fold_txn_bucket *b = out->bucket;
    if (fold_bucket_find(h->form, b->data, b->len, "", 0, &f) < 0 || f.full)
        return bad_bucket(last->dir, number);
    last->data[0] |= FOLD_BUCKET_GOES_ON;
    put_bucket(t, last);
    out->slot = f.slot;
    out->at = f.at;
    return 0;
}

/* Looks for `name` at all levels, *last is the last: 1 and its spot, or 0 and the first free one.
 */
static int find_spot(struct fold_txn *t, fold_ino dir, const char *name, size_t len,
                     struct spot *out, struct fold_txn_bucket **last)
{
    const struct fold_namehash *h = &t->catalog->names;
    struct fold_bucket_found f = {.goes_on = true};
    struct fold_txn_bucket *b;
    uint64_t number;
    int rc = fold_namehash_bucket(h, dir, name, len, &number);
    *out = (struct spot){.bucket = NULL};
    for (; rc == 0 && f.goes_on; number = next_level(h, number)) {
        rc = txn_bucket(t, dir, number, &b);
        if (rc < 0)
            break;
        int found = fold_bucket_find(h->form, b->data, b->len, name, len, &f);
        if (found < 0)
            return bad_bucket(dir, number);
        if (found > 0) {
            *out = (struct spot){b, f.entry.slot, (size_t)(f.entry.begin - b->data),
                                 (size_t)(f.entry.end - f.entry.begin)};
            return 1;
        }
        if (out->bucket == NULL && !f.full)
            *out = (struct spot){b, f.slot, f.at, 0};
        *last = b;
    }
    return rc;
}

static int put_entry(struct fold_txn *t, fold_ino dir, const char *name, size_t len, fold_ino ino,
                     uint8_t type, bool replace)
{
    struct fold_txn_bucket *last = NULL;
    struct spot spot;
    if (len == 0 || len > FOLD_NAME_MAX)
        return len == 0 ? -ENOENT : -ENAMETOOLONG;
    int rc = find_spot(t, dir, name, len, &spot, &last);
    if (rc > 0 && !replace)
        return -EEXIST;
    if (rc == 0 && spot.bucket == NULL)
        rc = add_level(t, last, &spot);
    if (rc < 0)
        return rc;
    fold_buckets_note(t->catalog->buckets, dir, spot.bucket->hash);
    uint8_t bytes[FOLD_BUCKET_ENTRY_MAX];
    struct fold_wr w = fold_wr_init(bytes, sizeof bytes);
    fold_wr_varint(&w, spot.slot);
    fold_wr_u8(&w, type);
    fold_wr_varint(&w, ino);
    fold_wr_u8(&w, (uint8_t)len);
    fold_wr_bytes(&w, name, len);
    return splice(t, spot.bucket, spot.at, spot.cut, bytes, fold_wr_len(&w));
}

/* The bucket holds nothing any more: the one of the level before need not lead there, and goes too
 * if it was there for that alone. */
static int drop_levels(struct fold_txn *t, const struct fold_txn_bucket *gone)
{
    uint64_t step = UINT64_C(1) << t->catalog->names.bits;
    while (gone->len == 0 && gone->hash >= step) {
        struct fold_txn_bucket *before;
        int rc = txn_bucket(t, gone->dir, gone->hash - step, &before);
        if (rc < 0)
            return rc;
        if (before->len == 0)
            return bad_bucket(before->dir, before->hash);
        before->data[0] &= (uint8_t)~FOLD_BUCKET_GOES_ON;
        put_bucket(t, before);
        gone = before;
    }
    return 0;
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
    struct fold_txn_bucket *last = NULL;
    struct spot spot;
    int rc = find_spot(t, dir, name, len, &spot, &last);
    if (rc <= 0)
        return rc < 0 ? rc : -ENOENT;
    rc = splice(t, spot.bucket, spot.at, spot.cut, "", 0);
    return rc < 0 ? rc : drop_levels(t, spot.bucket);
}

int fold_dentry_iter_open(struct fold_catalog *c, fold_ino dir, uint64_t after_cookie,
                          struct fold_dentry_iter **out)
{
    struct fold_dentry_iter *it = calloc(1, sizeof *it);
    if (it == NULL)
        return -ENOMEM;
    it->buckets = c->buckets;
    it->names = &c->names;
    it->mark = fold_buckets_mark(c->buckets);
    it->dir = dir;
    it->after = after_cookie;
    it->rest.rest = fold_rd_init("", 0);
    struct fold_key from, to;
    fold_key_pair(&from, FOLD_TABLE_DENTRY, dir, after_cookie >> c->names.slot_bits);
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

/* Goes to the next bucket: 1, 0 at the end. */
static int next_bucket(struct fold_dentry_iter *it)
{
    struct fold_kv_entry kv;
    fold_ino dir;
    int rc = fold_kv_iter_next(it->kv, &kv);
    if (rc <= 0)
        return rc;
    if (!fold_key_read_pair(kv.key, kv.key_len, FOLD_TABLE_DENTRY, &dir, &it->number))
        return bad_bucket(it->dir, 0);
    if (!fold_bucket_begin(&it->rest, it->names->form, kv.val, kv.val_len))
        return bad_bucket(it->dir, it->number);
    fold_buckets_fill(it->buckets, it->dir, it->number, kv.val, kv.val_len, it->mark);
    return 1;
}

int fold_dentry_iter_next(struct fold_dentry_iter *it, struct fold_dentry *out, const char **name,
                          size_t *len)
{
    for (;;) {
        struct fold_bucket_entry e;
        int rc = fold_bucket_next(&it->rest, &e);
        if (rc < 0)
            return bad_bucket(it->dir, it->number);
        if (rc == 0) {
            rc = next_bucket(it);
            if (rc <= 0)
                return rc;
            continue;
        }
        uint64_t cookie = cookie_of(it->names, it->number, e.slot);
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
