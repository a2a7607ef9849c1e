/* SPDX-License-Identifier: MIT */
/*
 * The fingerprints that go are kept as a Bloom filter of two bytes each, since there may be
 * millions of them. Every record that stays and passes the filter is noted: few, because few
 * fingerprints have two records, and about one in four hundred passes by accident.
 */
#include "meta/heirs.h"

#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/log.h"
#include "meta/storeparts.h"

#include <errno.h>

#define PROBES   4u
#define KEY_BITS 16u
#define MIN_BITS 4096u

struct heir {
    uint64_t w[2];
    struct fold_loc loc;
    unsigned rank; /* the highest is the best one */
};

struct fold_heirs {
    uint64_t *bits;
    uint64_t mask; /* number of bits - 1; a power of two less one */
    struct heir *found;
    size_t count, cap;
};

int fold_heirs_create(size_t count, struct fold_heirs **out)
{
    struct fold_heirs *h = calloc(1, sizeof *h);
    uint64_t bits = MIN_BITS;
    while (bits / KEY_BITS < count)
        bits *= 2;
    if (h != NULL)
        h->bits = calloc(bits / 64, sizeof *h->bits);
    if (h == NULL || h->bits == NULL) {
        free(h);
        return -ENOMEM;
    }
    h->mask = bits - 1;
    *out = h;
    return 0;
}

void fold_heirs_destroy(struct fold_heirs *h)
{
    if (h == NULL)
        return;
    free(h->bits);
    free(h->found);
    free(h);
}

static uint64_t probe(const struct fold_heirs *h, const uint64_t w[2], unsigned n)
{
    return (w[0] + n * (w[1] | 1)) & h->mask;
}

void fold_heirs_leave(struct fold_heirs *h, const uint64_t w[2])
{
    for (unsigned n = 0; n < PROBES; n++) {
        uint64_t bit = probe(h, w, n);
        h->bits[bit / 64] |= UINT64_C(1) << bit % 64;
    }
}

static bool may_leave(const struct fold_heirs *h, const uint64_t w[2])
{
    bool all = true;
    for (unsigned n = 0; all && n < PROBES; n++) {
        uint64_t bit = probe(h, w, n);
        all = (h->bits[bit / 64] >> bit % 64 & 1) != 0;
    }
    return all;
}

/* What goes from a segment that stays. */
static const struct fold_gaps *gaps_of(const struct fold_punch *punch, uint32_t seg)
{
    for (size_t i = 0; i < punch->count; i++)
        if (punch->items[i].seg == seg)
            return punch->items[i].gaps;
    return NULL;
}

/* A live record is best; one whose readers are led elsewhere is of use only to whoever counts. */
static unsigned rank_of(struct fold_store *store, const struct fold_livemap *live,
                        struct fold_loc loc)
{
    struct fold_loc to = loc;
    return fold_livemap_test(live, loc) ? 2 : !fold_forward_step(store->forward, &to);
}

static int look_into(struct fold_heirs *h, struct fold_store *store, uint32_t seg,
                     const struct fold_gaps *gaps, const struct fold_livemap *live)
{
    FOLD_AUTO(free) struct fold_seg_entry *entries = NULL;
    uint32_t count;
    int rc = fold_reader_table(store->reader, seg, &entries, &count);
    if (rc < 0)
        return rc == -ENOMEM ? rc : 0;
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const struct fold_seg_entry *e = &entries[i];
        struct fold_loc loc = {seg, e->off};
        if (fold_seg_entry_gone(e) || !may_leave(h, e->w) || fold_gaps_cover(gaps, e->off))
            continue;
        rc = FOLD_GROW(h->found, h->cap, h->count + 1, 64);
        if (rc == 0)
            h->found[h->count++] =
                (struct heir){{e->w[0], e->w[1]}, loc, rank_of(store, live, loc)};
    }
    return rc;
}

static int by_fp(const void *a, const void *b)
{
    const struct heir *x = a, *y = b;
    if (x->w[0] != y->w[0])
        return x->w[0] < y->w[0] ? -1 : 1;
    return (x->w[1] > y->w[1]) - (x->w[1] < y->w[1]);
}

/* Of one fingerprint the best comes first. */
static int by_fp_and_rank(const void *a, const void *b)
{
    const struct heir *x = a, *y = b;
    int order = by_fp(a, b);
    return order != 0 ? order : (x->rank < y->rank) - (x->rank > y->rank);
}

int fold_heirs_find(struct fold_heirs *h, struct fold_store *store, const struct fold_punch *punch,
                    const struct fold_livemap *live)
{
    int rc = 0;
    uint32_t last = fold_segset_last(store->set);
    for (uint32_t number = 1; rc == 0 && number <= last; number++) {
        const struct fold_seg *seg = fold_segset_get(store->set, number);
        if (seg == NULL || atomic_load(&seg->state) != FOLD_SEG_SEALED ||
            atomic_load(&seg->condemned))
            continue;
        const struct fold_gaps *gaps =
            atomic_load(&seg->doomed) != NULL ? gaps_of(punch, number) : NULL;
        rc = look_into(h, store, number, gaps, live);
    }
    if (rc < 0 || h->count == 0)
        return rc;
    qsort(h->found, h->count, sizeof *h->found, by_fp_and_rank);
    size_t kept = 0;
    for (size_t i = 0; i < h->count; i++)
        if (kept == 0 || by_fp(&h->found[kept - 1], &h->found[i]) != 0)
            h->found[kept++] = h->found[i];
    h->count = kept;
    return 0;
}

bool fold_heirs_get(const struct fold_heirs *h, const uint64_t w[2], struct fold_loc *loc)
{
    struct heir key = {.w = {w[0], w[1]}};
    const struct heir *at =
        h->count > 0 ? bsearch(&key, h->found, h->count, sizeof key, by_fp) : NULL;
    if (at != NULL)
        *loc = at->loc;
    return at != NULL;
}
