/* SPDX-License-Identifier: MIT */
/*
 * A block scan at FOLD_ZERO_RUN / 2 meets every run of FOLD_ZERO_RUN bytes; what it meets is then
 * measured to the byte. Runs at slice edges are carried over to the next slice.
 */
#include "fs/zeroscan.h"

#include "asm/kernels.h"
#include "meta/base/grow.h"

#include <errno.h>

void fold_zeroscan_init(struct fold_zeroscan *z, const struct fold_slice *slices, size_t n)
{
    *z = (struct fold_zeroscan){.slices = slices, .n = n, .scanned = n > 0 ? slices[0].off : 0};
    z->open.start = z->open.end = z->scanned;
}

void fold_zeroscan_fini(struct fold_zeroscan *z)
{
    free(z->runs);
}

/* Keeps the open run if it is long, or if it is all there is. */
static int close_run(struct fold_zeroscan *z, uint64_t now)
{
    struct fold_zero_run r = z->open;
    z->open.start = z->open.end = now;
    const struct fold_slice *last = &z->slices[z->n - 1];
    bool all = r.start == z->slices[0].off && r.end == last->off + last->len && r.end > r.start;
    if (r.end - r.start < FOLD_ZERO_RUN && !all)
        return 0;
    if (FOLD_GROW(z->runs, z->cap, z->count + 1, 16) < 0)
        return -ENOMEM;
    z->runs[z->count++] = r;
    return 0;
}

static size_t trailing_zeros(const uint8_t *p, size_t len)
{
    size_t n = 0;
    while (n < len && p[len - 1 - n] == 0)
        n++;
    return n;
}

static int scan_slice(struct fold_zeroscan *z, const struct fold_slice *s)
{
    const struct fold_kernels *k = fold_kernels();
    size_t p = k->zero_run(s->data, s->len);
    z->open.end = s->off + p;
    z->scanned = s->off + s->len;
    if (p == s->len)
        return 0;
    int rc = close_run(z, s->off + p);
    while (rc == 0 && p < s->len) {
        size_t n = k->data_run(s->data + p, s->len - p, FOLD_ZERO_RUN / 2);
        size_t block = p + n;
        if (block == s->len) {
            size_t t = trailing_zeros(s->data + p, s->len - p);
            z->open = (struct fold_zero_run){z->scanned - t, z->scanned};
            break;
        }
        size_t start = block - trailing_zeros(s->data + p, n);
        size_t end = block + k->zero_run(s->data + block, s->len - block);
        z->open = (struct fold_zero_run){s->off + start, s->off + end};
        if (end < s->len)
            rc = close_run(z, s->off + end);
        p = end;
    }
    return rc;
}

bool fold_zeroscan_find(struct fold_zeroscan *z, uint64_t pos, uint64_t limit,
                        struct fold_zero_run *out, int *rc)
{
    while (*rc == 0 && z->next < z->n && (z->scanned < limit || z->open.start < z->open.end)) {
        *rc = scan_slice(z, &z->slices[z->next++]);
        if (*rc == 0 && z->next == z->n)
            *rc = close_run(z, z->scanned);
    }
    if (*rc != 0)
        return false;
    while (z->used < z->count && z->runs[z->used].end <= pos)
        z->used++;
    if (z->used == z->count || z->runs[z->used].start >= limit)
        return false;
    *out = z->runs[z->used];
    return true;
}
