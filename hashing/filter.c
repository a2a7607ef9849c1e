/* SPDX-License-Identifier: MIT */
/*
 * The filter over all stored fingerprints, as an exact open-addressing table of 64-bit key hashes (a multiset).
 * One lock guards everything.
 */
#include "hashing/filter.h"

#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/lock.h"

#include <fcntl.h>

#define HEADER_BYTES 40
#define MAGIC        0x31544c4644464cull

struct body {
    struct fold_lock lock;
    uint64_t *slots; /* 0 is empty; guarded by lock, as all below */
    uint64_t mask;
    uint64_t keys;
};

struct fold_filter {
    struct body *b;
};

static uint64_t key_of(const struct fold_fp *fp)
{
    uint64_t h = fp->w[0] + (fp->w[1] << 32 | fp->w[1] >> 32) * 0x9e3779b97f4a7c15ull;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
    h ^= h >> 32;
    return h == 0 ? 1 : h;
}

int fold_filter_create(uint64_t keys, struct fold_filter **out)
{
    uint64_t slots = 8192;
    while (slots < keys * 2)
        slots *= 2;
    struct fold_filter *f = calloc(1, sizeof *f);
    struct body *b = calloc(1, sizeof *b);
    uint64_t *mem = calloc(slots, 8);
    if (f == NULL || b == NULL || mem == NULL) {
        free(f);
        free(b);
        free(mem);
        return -ENOMEM;
    }
    fold_lock_init(&b->lock, FOLD_RANK_FILTER, "filter");
    b->slots = mem;
    b->mask = slots - 1;
    f->b = b;
    *out = f;
    return 0;
}

void fold_filter_destroy(struct fold_filter *f)
{
    if (f == NULL)
        return;
    fold_lock_fini(&f->b->lock);
    free(f->b->slots);
    free(f->b);
    free(f);
}

static void put(uint64_t *slots, uint64_t mask, uint64_t key)
{
    uint64_t i = key & mask;
    while (slots[i] != 0)
        i = (i + 1) & mask;
    slots[i] = key;
}

void fold_filter_probe(const struct fold_filter *f, const struct fold_fp *fps, size_t n, uint64_t *maybe)
{
    struct body *b = f->b;
    fold_lock_take(&b->lock);
    for (size_t k = 0; k < n; k++) {
        uint64_t key = key_of(&fps[k]);
        uint64_t i = key & b->mask;
        while (b->slots[i] != 0 && b->slots[i] != key)
            i = (i + 1) & b->mask;
        uint64_t bit = 1ull << (k % 64);
        maybe[k / 64] = b->slots[i] == key ? maybe[k / 64] | bit : maybe[k / 64] & ~bit;
    }
    fold_lock_drop(&b->lock);
}

static int grow(struct body *b)
{
    uint64_t *mem = calloc((b->mask + 1) * 2, 8);
    if (mem == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i <= b->mask; i++)
        if (b->slots[i] != 0)
            put(mem, b->mask * 2 + 1, b->slots[i]);
    free(b->slots);
    b->slots = mem;
    b->mask = b->mask * 2 + 1;
    return 0;
}

int fold_filter_insert(struct fold_filter *f, const struct fold_fp *fp)
{
    struct body *b = f->b;
    fold_lock_take(&b->lock);
    int rc = b->keys * 3 > b->mask * 2 ? grow(b) : 0;
    if (rc == 0) {
        put(b->slots, b->mask, key_of(fp));
        b->keys++;
    }
    fold_lock_drop(&b->lock);
    return rc;
}

bool fold_filter_delete(struct fold_filter *f, const struct fold_fp *fp)
{
    struct body *b = f->b;
    uint64_t key = key_of(fp);
    fold_lock_take(&b->lock);
    uint64_t i = key & b->mask;
    while (b->slots[i] != 0 && b->slots[i] != key)
        i = (i + 1) & b->mask;
    bool found = b->slots[i] == key;
    if (found) {
        b->keys--;
        b->slots[i] = 0;
        for (uint64_t j = (i + 1) & b->mask; b->slots[j] != 0; j = (j + 1) & b->mask) {
            uint64_t moved = b->slots[j];
            b->slots[j] = 0;
            put(b->slots, b->mask, moved);
        }
    }
    fold_lock_drop(&b->lock);
    return found;
}

void fold_filter_info(const struct fold_filter *f, struct fold_filter_info *out)
{
    fold_lock_take(&f->b->lock);
    *out = (struct fold_filter_info){f->b->keys, f->b->mask + 1, (f->b->mask + 1) * 8};
    fold_lock_drop(&f->b->lock);
}

static uint64_t sum(const uint8_t *p, size_t len)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3ull;
    return h;
}

int fold_filter_save(const struct fold_filter *f, int dirfd, const char *name, uint64_t stamp)
{
    struct body *b = f->b;
    fold_lock_take(&b->lock);
    size_t len = HEADER_BYTES + b->keys * 8;
    uint8_t *buf = malloc(len);
    int rc = buf == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        struct fold_wr w = fold_wr_init(buf + HEADER_BYTES, len - HEADER_BYTES);
        for (uint64_t i = 0; i <= b->mask; i++)
            if (b->slots[i] != 0)
                fold_wr_u64(&w, b->slots[i]);
        w = fold_wr_init(buf, HEADER_BYTES);
        fold_wr_u64(&w, MAGIC);
        fold_wr_u64(&w, stamp);
        fold_wr_u64(&w, b->keys);
        fold_wr_u64(&w, sum(buf + HEADER_BYTES, len - HEADER_BYTES));
        fold_wr_u64(&w, sum(buf, HEADER_BYTES - 8));
    }
    fold_lock_drop(&b->lock);
    if (rc == 0)
        rc = fold_io_replace(dirfd, name, buf, len, 0600);
    free(buf);
    return rc;
}

int fold_filter_load(int dirfd, const char *name, uint64_t stamp, struct fold_filter **out)
{
    FOLD_AUTO(free) void *data = NULL;
    size_t len = 0;
    int rc = fold_io_slurp(dirfd, name, (size_t)1 << 40, &data, &len);
    if (rc < 0)
        return rc;
    struct fold_rd r = fold_rd_init(data, len);
    uint64_t magic = fold_rd_u64(&r);
    uint64_t had = fold_rd_u64(&r);
    uint64_t keys = fold_rd_u64(&r);
    uint64_t body = fold_rd_u64(&r);
    uint64_t head = fold_rd_u64(&r);
    const uint8_t *p = data;
    if (r.bad || magic != MAGIC || head != sum(p, HEADER_BYTES - 8) || keys != fold_rd_left(&r) / 8 ||
        body != sum(p + HEADER_BYTES, len - HEADER_BYTES))
        return -EBADMSG;
    if (had != stamp)
        return -ESTALE;
    struct fold_filter *f;
    rc = fold_filter_create(keys, &f);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; i < keys; i++)
        put(f->b->slots, f->b->mask, fold_rd_u64(&r) | 0);
    f->b->keys = keys;
    *out = f;
    return 0;
}
