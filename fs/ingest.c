/* SPDX-License-Identifier: MIT */
/*
 * The cutter wants contiguous bytes; dirty data is a list of slices. A chunk that ends inside its
 * slice is used in place; one that reaches into the next slice is copied to scratch memory first
 * (one chunk per slice, not per chunk). Each chunk is fingerprinted as soon as it is cut, while its
 * bytes are in the CPU's cache.
 */
#include "fs/ingest.h"

#include "asm/kernels.h"
#include "fs/zeroscan.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/base/workers.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>

struct fold_ingest_scratch {
    struct fold_ingest_scratch *next;
    size_t used, cap;
    uint8_t mem[];
};

/* A place in the run. */
struct cursor {
    const struct fold_slice *slices;
    size_t n;
    size_t i;      /* slice */
    uint32_t skip; /* bytes of it already behind us */
};

void fold_ingest_fini(struct fold_ingest *g)
{
    while (g->scratch != NULL) {
        struct fold_ingest_scratch *s = g->scratch;
        g->scratch = s->next;
        free(s);
    }
    free(g->pieces);
    *g = (struct fold_ingest){0};
}

static uint8_t *scratch_get(struct fold_ingest *g, size_t len)
{
    struct fold_ingest_scratch *s = g->scratch;
    if (s == NULL || s->cap - s->used < len) {
        size_t cap = FOLD_MAX(len, fold_knobs.scratch_bytes);
        s = malloc(sizeof *s + cap);
        if (s == NULL)
            return NULL;
        s->next = g->scratch;
        s->used = 0;
        s->cap = cap;
        g->scratch = s;
    }
    return s->mem + s->used;
}

static void advance(struct cursor *c, size_t len)
{
    while (len > 0) {
        size_t left = c->slices[c->i].len - c->skip;
        if (len < left) {
            c->skip += (uint32_t)len;
            return;
        }
        len -= left;
        c->i++;
        c->skip = 0;
    }
}

static void copy_out(struct cursor c, uint8_t *dst, size_t len)
{
    while (len > 0) {
        size_t part = FOLD_MIN(len, (size_t)(c.slices[c.i].len - c.skip));
        memcpy(dst, c.slices[c.i].data + c.skip, part);
        dst += part;
        len -= part;
        c.i++;
        c.skip = 0;
    }
}

static int emit(struct fold_ingest *g, const struct fold_dedup *dedup, const uint8_t *data,
                size_t len, uint64_t off, uint8_t flags)
{
    if (FOLD_GROW(g->pieces, g->cap, g->count + 1, 64) < 0)
        return -ENOMEM;
    struct fold_chunk *p = &g->pieces[g->count++];
    *p = (struct fold_chunk){.data = data, .len = (uint32_t)len, .flags = flags, .off = off};
    fold_dedup_fingerprint(dedup, p);
    return 0;
}

/* Length of the chunk at the start of data[0..len), or 0 if only more data can tell. */
static size_t cut_at(const struct fold_cut *cut, const uint8_t *data, size_t len, uint64_t off)
{
    if (cut->kind == FOLD_CUT_CDC)
        return fold_cut_next(cut, data, FOLD_MIN(len, (size_t)cut->max));
    size_t block = fold_cut_fixed(cut, off);
    return block <= len ? block : 0;
}

/* One chunk at `pos`, of at most `avail` bytes; *len is 0 if the data ends before the chunk does.
 */
static int next_chunk(struct fold_ingest *g, const struct fold_cut *cut, const struct cursor *c,
                      uint64_t pos, size_t avail, const uint8_t **data, size_t *len)
{
    const struct fold_slice *s = &c->slices[c->i];
    *data = s->data + c->skip;
    size_t here = FOLD_MIN((size_t)(s->len - c->skip), avail);
    *len = cut_at(cut, *data, here, pos);
    if (*len != 0 || here == avail)
        return 0;
    size_t want = FOLD_MIN(avail, (size_t)cut->max);
    uint8_t *copy = scratch_get(g, want);
    if (copy == NULL)
        return -ENOMEM;
    copy_out(*c, copy, want);
    *data = copy;
    *len = cut_at(cut, copy, want, pos);
    g->scratch->used += *len != 0 ? *len : want;
    return 0;
}

int fold_ingest_cut(struct fold_ingest *g, const struct fold_cut *cut,
                    const struct fold_dedup *dedup, const struct fold_slice *slices, size_t n,
                    bool hold_tail, uint64_t *end)
{
    assert(n > 0);
    struct cursor c = {.slices = slices, .n = n};
    struct fold_zeroscan zeros;
    fold_zeroscan_init(&zeros, slices, n);
    const uint64_t stop = slices[n - 1].off + slices[n - 1].len;
    uint64_t pos = slices[0].off;
    uint64_t held = stop;
    int rc = 0;
    while (rc == 0 && pos < stop) {
        struct fold_zero_run zero;
        bool hole = fold_zeroscan_find(&zeros, pos, pos + cut->max, &zero, &rc);
        if (rc != 0)
            break;
        if (hole && zero.start <= pos) {
            g->zero_bytes += zero.end - pos;
            advance(&c, zero.end - pos);
            pos = zero.end;
            continue;
        }
        uint64_t limit = hole ? zero.start : stop;
        size_t avail = limit - pos < SIZE_MAX ? (size_t)(limit - pos) : SIZE_MAX;
        const uint8_t *data;
        size_t len;
        rc = next_chunk(g, cut, &c, pos, avail, &data, &len);
        if (rc != 0)
            break;
        bool tail = len == 0 && limit == stop;
        if (tail && hold_tail) {
            held = pos;
            break;
        }
        if (len == 0)
            len = avail;
        rc = emit(g, dedup, data, len, pos, tail ? FOLD_EXTENT_TAIL : 0);
        advance(&c, len);
        pos += len;
    }
    fold_zeroscan_fini(&zeros);
    if (rc != 0)
        return rc;
    g->bytes += held - slices[0].off;
    *end = held;
    return 0;
}

/* The parallel part: groups of chunks, each small enough for one batch, several where there are
 * several threads. */
struct store_job {
    struct fold_chunk *chunks;
    size_t count;
    struct fold_dedup *dedup;
    size_t per_batch;
    atomic_int rc;
};

static void store_batch(void *arg, size_t i)
{
    struct store_job *job = arg;
    if (atomic_load_explicit(&job->rc, memory_order_relaxed) != 0)
        return;
    size_t first = i * job->per_batch;
    size_t n = FOLD_MIN(job->per_batch, job->count - first);
    int rc = fold_dedup_store(job->dedup, &job->chunks[first], n);
    int none = 0;
    if (rc != 0)
        atomic_compare_exchange_strong(&job->rc, &none, rc);
}

static int store_all(struct fold_chunk *chunks, size_t count, struct fold_dedup *dedup,
                     struct fold_workers *workers)
{
    struct store_job job = {
        .chunks = chunks, .count = count, .dedup = dedup, .per_batch = FOLD_DEDUP_BATCH / 2};
    atomic_init(&job.rc, 0);
    fold_workers_parallel(workers, (count + job.per_batch - 1) / job.per_batch, store_batch, &job);
    return atomic_load(&job.rc);
}

/* Marks in `again` the pieces whose fingerprint an earlier one has; returns their number. `slots`
 * has mask + 1 places. */
static size_t find_repeats(const struct fold_ingest *g, bool *again, uint32_t *slots, size_t mask)
{
    size_t repeats = 0;
    memset(slots, 0xff, (mask + 1) * sizeof *slots);
    for (size_t i = 0; i < g->count; i++) {
        size_t h = g->pieces[i].fp.w[1] & mask;
        while (slots[h] != UINT32_MAX && !fold_fp_equal(&g->pieces[slots[h]].fp, &g->pieces[i].fp))
            h = (h + 1) & mask;
        again[i] = slots[h] != UINT32_MAX;
        if (!again[i])
            slots[h] = (uint32_t)i;
        repeats += again[i];
    }
    return repeats;
}

/*
 * Chunks that occur more than once among the pieces must not be stored by several threads at the
 * same time, none of which sees the others': first the first ones, then the repeats, which find
 * them.
 */
static int store_with_repeats(struct fold_ingest *g, const bool *again, size_t repeats,
                              struct fold_dedup *dedup, struct fold_workers *workers)
{
    struct fold_chunk *sorted = malloc(g->count * sizeof *sorted);
    if (sorted == NULL)
        return -ENOMEM;
    size_t firsts = g->count - repeats, at[2] = {0, firsts};
    for (size_t i = 0; i < g->count; i++)
        sorted[at[again[i]]++] = g->pieces[i];
    int rc = store_all(sorted, firsts, dedup, workers);
    if (rc == 0)
        rc = store_all(sorted + firsts, repeats, dedup, workers);
    at[0] = 0;
    at[1] = firsts;
    for (size_t i = 0; i < g->count; i++)
        g->pieces[i] = sorted[at[again[i]]++];
    free(sorted);
    return rc;
}

int fold_ingest_store(struct fold_ingest *g, struct fold_dedup *dedup, struct fold_workers *workers)
{
    fold_dedup_note(dedup, g->bytes, g->zero_bytes);
    if (g->count <= FOLD_DEDUP_BATCH / 2)
        return g->count > 0 ? store_all(g->pieces, g->count, dedup, workers) : 0;
    size_t mask = 255;
    while (mask < g->count * 2)
        mask = mask * 2 + 1;
    bool *again = malloc(g->count * sizeof *again);
    uint32_t *slots = malloc((mask + 1) * sizeof *slots);
    int rc = again != NULL && slots != NULL ? 0 : -ENOMEM;
    size_t repeats = rc == 0 ? find_repeats(g, again, slots, mask) : 0;
    free(slots);
    if (rc == 0)
        rc = repeats == 0 ? store_all(g->pieces, g->count, dedup, workers)
                          : store_with_repeats(g, again, repeats, dedup, workers);
    free(again);
    return rc;
}
