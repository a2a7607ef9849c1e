/* SPDX-License-Identifier: MIT */
/*
 * Two levels of tables indexed by segment number. Pages are allocated once and published with a
 * release store; entries become visible when their state does. `lock` serialises additions only.
 */
#include "meta/segset.h"

#include "meta/base/err.h"
#include "meta/base/lock.h"
#include "meta/gaps.h"

#include <assert.h>

#define PAGE_BITS  12u
#define PAGE_SEGS  (1u << PAGE_BITS)
#define ROOT_PAGES (1u << (32 - PAGE_BITS))

typedef struct fold_seg *_Atomic page_ref;

struct fold_segset {
    struct fold_lock lock;
    _Atomic uint32_t last; /* highest number in use */
    page_ref *root;        /* untouched parts cost address space only */
};

int fold_segset_create(struct fold_segset **out)
{
    struct fold_segset *set = calloc(1, sizeof *set);
    if (set == NULL)
        return -ENOMEM;
    set->root = calloc(ROOT_PAGES, sizeof *set->root);
    if (set->root == NULL) {
        free(set);
        return -ENOMEM;
    }
    fold_lock_init(&set->lock, FOLD_RANK_LEAF, "segset");
    *out = set;
    return 0;
}

void fold_segset_destroy(struct fold_segset *set)
{
    if (set == NULL)
        return;
    for (uint64_t i = 0; i <= atomic_load(&set->last) >> PAGE_BITS; i++)
        free(atomic_load_explicit(&set->root[i], memory_order_relaxed));
    free(set->root);
    fold_lock_fini(&set->lock);
    free(set);
}

struct fold_seg *fold_segset_get(const struct fold_segset *set, uint32_t seg)
{
    struct fold_seg *page =
        atomic_load_explicit(&set->root[seg >> PAGE_BITS], memory_order_acquire);
    if (page == NULL)
        return NULL;
    struct fold_seg *s = &page[seg & (PAGE_SEGS - 1)];
    return atomic_load_explicit(&s->state, memory_order_acquire) != FOLD_SEG_UNKNOWN ? s : NULL;
}

void fold_segset_note(struct fold_segset *set, uint32_t seg)
{
    uint32_t last = atomic_load(&set->last);
    while (last < seg && !atomic_compare_exchange_weak(&set->last, &last, seg))
        continue;
}

uint32_t fold_segset_reserve(struct fold_segset *set)
{
    uint32_t last = atomic_load(&set->last);
    while (last < UINT32_MAX)
        if (atomic_compare_exchange_weak(&set->last, &last, last + 1))
            return last + 1;
    return 0;
}

/* The entry's memory, made if missing; NULL without memory. */
static struct fold_seg *place(struct fold_segset *set, uint32_t seg) FOLD_REQUIRES(set->lock)
{
    page_ref *ref = &set->root[seg >> PAGE_BITS];
    struct fold_seg *page = atomic_load_explicit(ref, memory_order_relaxed);
    if (page == NULL) {
        page = calloc(PAGE_SEGS, sizeof *page);
        if (page == NULL)
            return NULL;
        atomic_store_explicit(ref, page, memory_order_release);
    }
    return &page[seg & (PAGE_SEGS - 1)];
}

struct fold_seg *fold_segset_add(struct fold_segset *set, const struct fold_seg_ident *id,
                                 uint32_t data_end)
{
    fold_segset_note(set, id->seg);
    fold_lock_take(&set->lock);
    struct fold_seg *s = place(set, id->seg);
    if (s != NULL) {
        assert(atomic_load(&s->state) == FOLD_SEG_UNKNOWN);
        s->ident = *id;
        atomic_store(&s->data_end, data_end);
        atomic_store(&s->whole_end, data_end);
        atomic_store(&s->file_bytes, data_end);
        atomic_store_explicit(&s->state, FOLD_SEG_OPEN, memory_order_release);
    }
    fold_lock_drop(&set->lock);
    return s;
}

int fold_segset_seal(struct fold_segset *set, const struct fold_seg_summary *sum)
{
    fold_segset_note(set, sum->ident.seg);
    fold_lock_take(&set->lock);
    struct fold_seg *s = place(set, sum->ident.seg);
    if (s != NULL) {
        if (atomic_load(&s->state) == FOLD_SEG_UNKNOWN)
            s->ident = sum->ident; /* readers look at it only after the state */
        atomic_store(&s->file_bytes, sum->file_bytes);
        atomic_store(&s->count, sum->count);
        atomic_store(&s->raw_bytes, sum->raw_bytes);
        atomic_store(&s->stored_bytes, sum->stored_bytes);
        atomic_store(&s->whole_end, sum->whole_end);
        atomic_store(&s->data_end, sum->data_end);
        atomic_store_explicit(&s->state, FOLD_SEG_SEALED, memory_order_release);
    }
    fold_lock_drop(&set->lock);
    return s != NULL ? 0 : -ENOMEM;
}

void fold_segset_gaps(struct fold_seg *seg, const struct fold_gaps *g)
{
    atomic_store(&seg->gap_bytes, fold_gaps_bytes(g));
    atomic_store(&seg->gap_freed, fold_gaps_freed(g));
    atomic_store(&seg->gap_records, g != NULL ? g->records : 0);
    atomic_store(&seg->gap_raw, g != NULL ? g->raw_bytes : 0);
}

static uint64_t less(uint64_t all, uint64_t part)
{
    return all - FOLD_MIN(all, part);
}

uint64_t fold_seg_occupied(const struct fold_seg *seg)
{
    return less(atomic_load(&seg->file_bytes), atomic_load(&seg->gap_freed));
}

uint64_t fold_seg_stored(const struct fold_seg *seg)
{
    return less(atomic_load(&seg->stored_bytes), atomic_load(&seg->gap_bytes));
}

void fold_seg_summarise(const struct fold_seg *seg, struct fold_seg_summary *out)
{
    *out = (struct fold_seg_summary){
        .ident = seg->ident,
        .file_bytes = atomic_load(&seg->file_bytes),
        .data_end = atomic_load(&seg->data_end),
        .whole_end = atomic_load(&seg->whole_end),
        .count = atomic_load(&seg->count),
        .raw_bytes = atomic_load(&seg->raw_bytes),
        .stored_bytes = atomic_load(&seg->stored_bytes),
    };
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint32_t fold_segset_last(const struct fold_segset *set)
{
    return atomic_load(&set->last);
}

void fold_segset_totals(const struct fold_segset *set, struct fold_segset_totals *out)
{
    struct fold_segset_totals t = {0};
    uint32_t last = atomic_load(&set->last);
    for (uint64_t i = 1; i <= last; i++) {
        const struct fold_seg *s = fold_segset_get(set, (uint32_t)i);
        if (s == NULL) {
            if (atomic_load_explicit(&set->root[i >> PAGE_BITS], memory_order_relaxed) == NULL)
                i |= PAGE_SEGS - 1;
            continue;
        }
        uint8_t state = atomic_load(&s->state);
        if (state == FOLD_SEG_GONE)
            continue;
        uint32_t count = atomic_load(&s->count);
        if (count > 0)
            t.stamp += mix(mix(s->ident.salt + i) + count);
        t.segments++;
        t.open += state == FOLD_SEG_OPEN;
        t.chunks += less(count, atomic_load(&s->gap_records));
        t.raw_bytes += less(atomic_load(&s->raw_bytes), atomic_load(&s->gap_raw));
        t.stored_bytes += fold_seg_stored(s);
        t.file_bytes += atomic_load(&s->file_bytes);
        t.occupied_bytes += fold_seg_occupied(s);
    }
    *out = t;
}
