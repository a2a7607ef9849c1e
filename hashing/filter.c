/* SPDX-License-Identifier: MIT */
/*
 * The filter's public face: keys from fingerprints, the writer's lock, and batches. How keys are
 * kept is the business of hashing/filter_regions.c; the file format that of hashing/filter_file.c.
 */
#include "hashing/filter.h"

#include "hashing/filter_file.h"
#include "hashing/filter_regions.h"
#include "meta/base/lock.h"
#include "meta/base/knob.h"

#include <errno.h>

/* Keys probed between two looks at whether a writer interfered: enough to keep many lines on their
 * way from memory. */
#define BLOCK 256

/* Insertions ahead of which a line is fetched. */
#define AHEAD 8

/* What changes; behind a pointer so that a const filter can be locked. */
struct body {
    struct fold_lock lock;
    struct fold_regions regions; /* guarded by lock, but for probes */
    uint64_t keys;               /* guarded by lock */
};

struct fold_filter {
    struct body *b; /* fixed */
};

/* Fingerprints are random enough as they are; the mixing is for the odd caller whose are not. */
static uint64_t key_of(const struct fold_fp *fp)
{
    uint64_t h = (fp->w[0] ^ (fp->w[1] << 32 | fp->w[1] >> 32)) * 0x9e3779b97f4a7c15ull;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
    return h ^ h >> 32;
}

/* A filter without regions. */
static struct fold_filter *filter_new(void)
{
    struct fold_filter *f = calloc(1, sizeof *f);
    struct body *b = calloc(1, sizeof *b);
    if (f == NULL || b == NULL) {
        free(f);
        free(b);
        return NULL;
    }
    fold_lock_init(&b->lock, FOLD_RANK_FILTER, "filter");
    f->b = b;
    return f;
}

int fold_filter_create_exact(uint64_t keys, struct fold_filter **out)
{
    struct fold_filter *f = filter_new();
    if (f == NULL)
        return -ENOMEM;
    int rc = fold_regions_init(&f->b->regions, keys);
    if (rc < 0) {
        fold_regions_init_bare(&f->b->regions, 1);
        fold_filter_destroy(f);
        return rc;
    }
    *out = f;
    return 0;
}

int fold_filter_create(uint64_t keys, struct fold_filter **out)
{
    return fold_filter_create_exact(FOLD_MAX(keys, fold_knobs.filter_min_keys), out);
}

void fold_filter_destroy(struct fold_filter *f)
{
    if (f == NULL)
        return;
    fold_regions_fini(&f->b->regions);
    fold_lock_fini(&f->b->lock);
    free(f->b);
    free(f);
}

void fold_filter_probe(const struct fold_filter *f, const struct fold_fp *fps, size_t n,
                       uint64_t *maybe)
{
    struct body *b = f->b;
    uint64_t keys[BLOCK];
    for (size_t done = 0; done < n; done += BLOCK) {
        size_t count = FOLD_MIN(n - done, BLOCK);
        for (size_t i = 0; i < count; i++)
            keys[i] = key_of(&fps[done + i]);
        uint64_t *bits = maybe + done / 64;
        if (!fold_regions_probe(&b->regions, keys, count, bits)) {
            fold_lock_take(&b->lock);
            (void)fold_regions_probe(&b->regions, keys, count, bits);
            fold_lock_drop(&b->lock);
        }
        if (count % 64 != 0)
            bits[count / 64] &= (1ull << count % 64) - 1;
    }
}

int fold_filter_insert(struct fold_filter *f, const struct fold_fp *fp)
{
    return fold_filter_insert_batch(f, fp, 1);
}

int fold_filter_insert_batch(struct fold_filter *f, const struct fold_fp *fps, size_t n)
{
    struct body *b = f->b;
    int rc = 0;
    fold_lock_take(&b->lock);
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n)
            fold_regions_prefetch(&b->regions, key_of(&fps[i + AHEAD]));
        int one = fold_regions_insert(&b->regions, key_of(&fps[i]));
        if (one < 0)
            rc = one;
        else
            b->keys++;
    }
    fold_lock_drop(&b->lock);
    return rc;
}

bool fold_filter_delete(struct fold_filter *f, const struct fold_fp *fp)
{
    struct body *b = f->b;
    fold_lock_take(&b->lock);
    bool found = fold_regions_remove(&b->regions, key_of(fp));
    if (found && b->keys > 0)
        b->keys--;
    fold_lock_drop(&b->lock);
    return found;
}

void fold_filter_set_limit(struct fold_filter *f, uint64_t bytes)
{
    struct body *b = f->b;
    fold_lock_take(&b->lock);
    b->regions.limit = bytes == 0 ? 0 : FOLD_MAX(bytes / FOLD_FRAME_BYTES, 1);
    fold_lock_drop(&b->lock);
}

void fold_filter_info(const struct fold_filter *f, struct fold_filter_info *out)
{
    struct body *b = f->b;
    fold_lock_take(&b->lock);
    *out = (struct fold_filter_info){
        .keys = b->keys,
        .slots = b->regions.slots,
        .bytes = fold_regions_bytes(&b->regions),
        .doublings = b->regions.depth,
        .blind = b->regions.homeless != 0,
    };
    fold_lock_drop(&b->lock);
}

int fold_filter_save(const struct fold_filter *f, int dirfd, const char *name, uint64_t stamp)
{
    struct body *b = f->b;
    int fd = fold_filter_file_create(dirfd, name);
    if (fd < 0)
        return fd;
    fold_lock_take(&b->lock);
    struct fold_filter_head head = {.stamp = stamp, .keys = b->keys};
    int rc = b->regions.homeless != 0 ? -EAGAIN : fold_filter_file_write(fd, &b->regions, &head);
    fold_lock_drop(&b->lock);
    return fold_filter_file_finish(fd, dirfd, name, rc);
}

int fold_filter_load(int dirfd, const char *name, uint64_t stamp, struct fold_filter **out)
{
    struct fold_filter *f = filter_new();
    if (f == NULL)
        return -ENOMEM;
    struct fold_filter_head head = {.stamp = stamp};
    int rc = fold_filter_file_read(&f->b->regions, &head, dirfd, name);
    if (rc < 0) {
        fold_filter_destroy(f);
        return rc;
    }
    f->b->keys = head.keys;
    *out = f;
    return 0;
}
