/* SPDX-License-Identifier: MIT */
/*
 * Bitmaps found through an array indexed by segment number. No two records start in the same 64
 * bytes, since the smallest record is 64 bytes long.
 */
#include "meta/livemap.h"

#include <errno.h>
#include <stdatomic.h>

#define GRAIN 64u

struct fold_livemap {
    uint32_t first, last;    /* range of segment numbers */
    uint32_t words;          /* of each bitmap */
    _Atomic uint64_t **maps; /* NULL: not covered */
    _Atomic uint64_t *bits;
};

int fold_livemap_create(const uint32_t *segs, size_t n, uint32_t bytes, struct fold_livemap **out)
{
    struct fold_livemap *m = calloc(1, sizeof *m);
    if (m == NULL)
        return -ENOMEM;
    m->first = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        m->first = FOLD_MIN(m->first, segs[i]);
        m->last = FOLD_MAX(m->last, segs[i]);
    }
    m->words = bytes / GRAIN / 64 + 1;
    size_t range = n > 0 ? (size_t)(m->last - m->first) + 1 : 1;
    m->maps = calloc(range, sizeof *m->maps);
    m->bits = calloc(n > 0 ? n : 1, m->words * sizeof *m->bits);
    if (m->maps == NULL || m->bits == NULL) {
        fold_livemap_destroy(m);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        m->maps[segs[i] - m->first] = m->bits + i * m->words;
    *out = m;
    return 0;
}

void fold_livemap_destroy(struct fold_livemap *m)
{
    if (m == NULL)
        return;
    free(m->maps);
    free((void *)(uintptr_t)m->bits);
    free(m);
}

static _Atomic uint64_t *word_of(const struct fold_livemap *m, struct fold_loc loc)
{
    if (loc.seg < m->first || loc.seg > m->last)
        return NULL;
    _Atomic uint64_t *map = m->maps[loc.seg - m->first];
    uint32_t word = loc.off / GRAIN / 64;
    return map != NULL && word < m->words ? &map[word] : NULL;
}

static uint64_t bit_of(struct fold_loc loc)
{
    return UINT64_C(1) << (loc.off / GRAIN % 64);
}

void fold_livemap_mark(struct fold_livemap *m, struct fold_loc loc)
{
    _Atomic uint64_t *w = word_of(m, loc);
    if (w != NULL && (atomic_load_explicit(w, memory_order_relaxed) & bit_of(loc)) == 0)
        atomic_fetch_or_explicit(w, bit_of(loc), memory_order_relaxed);
}

bool fold_livemap_test(const struct fold_livemap *m, struct fold_loc loc)
{
    _Atomic uint64_t *w = word_of(m, loc);
    return w != NULL && (atomic_load_explicit(w, memory_order_relaxed) & bit_of(loc)) != 0;
}
