/* SPDX-License-Identifier: MIT */
/*
 * Open addressing with linear probing; two parallel arrays so that a slot costs 12 bytes. Grows by
 * half at 7/8 full, shrinks below 1/2, and closes gaps on removal instead of leaving tombstones.
 */
#include "fs/lookups.h"

#include <errno.h>

#define MIN_CAP 16

/* Slots are chosen by multiplication, so that capacities need not be powers of two. */
static size_t home(const struct fold_lookups *l, fold_ino ino)
{
    uint64_t h = ino * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(((h >> 32) * (uint64_t)l->cap) >> 32);
}

static size_t next(const struct fold_lookups *l, size_t i)
{
    return i + 1 == l->cap ? 0 : i + 1;
}

/* The slot of `ino`, or the free slot where it would go. There is always a free one. */
static size_t find(const struct fold_lookups *l, fold_ino ino)
{
    size_t i = home(l, ino);
    while (l->inos[i] != 0 && l->inos[i] != ino)
        i = next(l, i);
    return i;
}

static int resize(struct fold_lookups *l, size_t cap)
{
    struct fold_lookups new = {.cap = cap, .used = l->used};
    new.inos = calloc(cap, sizeof *new.inos);
    new.counts = malloc(cap * sizeof *new.counts);
    if (new.inos == NULL || new.counts == NULL) {
        fold_lookups_fini(&new);
        return -ENOMEM;
    }
    for (size_t i = 0; i < l->cap; i++) {
        if (l->inos[i] == 0)
            continue;
        size_t to = find(&new, l->inos[i]);
        new.inos[to] = l->inos[i];
        new.counts[to] = l->counts[i];
    }
    fold_lookups_fini(l);
    *l = new;
    return 0;
}

void fold_lookups_fini(struct fold_lookups *l)
{
    free(l->inos);
    free(l->counts);
    *l = (struct fold_lookups){0};
}

int fold_lookups_add(struct fold_lookups *l, fold_ino ino, bool *first)
{
    if (l->cap == 0 || l->used + 1 > l->cap - l->cap / 8) {
        int rc = resize(l, l->cap == 0 ? MIN_CAP : l->cap + l->cap / 2);
        if (rc < 0)
            return rc;
    }
    size_t i = find(l, ino);
    *first = l->inos[i] == 0;
    if (*first) {
        l->inos[i] = ino;
        l->counts[i] = 0;
        l->used++;
    }
    if (l->counts[i] != UINT32_MAX)
        l->counts[i]++;
    return 0;
}

/* Empties slot `gap` and moves later entries of the same run back into it. */
static void remove_at(struct fold_lookups *l, size_t gap)
{
    for (size_t i = next(l, gap); l->inos[i] != 0; i = next(l, i)) {
        size_t want = home(l, l->inos[i]);
        size_t from_want = i >= want ? i - want : i + l->cap - want;
        size_t from_gap = i >= gap ? i - gap : i + l->cap - gap;
        if (from_want < from_gap)
            continue;
        l->inos[gap] = l->inos[i];
        l->counts[gap] = l->counts[i];
        gap = i;
    }
    l->inos[gap] = 0;
    l->used--;
}

bool fold_lookups_drop(struct fold_lookups *l, fold_ino ino, uint64_t n)
{
    if (l->cap == 0)
        return false;
    size_t i = find(l, ino);
    if (l->inos[i] == 0 || l->counts[i] == UINT32_MAX)
        return false;
    if (l->counts[i] > n) {
        l->counts[i] -= (uint32_t)n;
        return false;
    }
    remove_at(l, i);
    if (l->cap > MIN_CAP && l->used < l->cap / 2) {
        size_t cap = l->used + l->used / 2;
        /* Without memory for a smaller table the larger one does as well. */
        int rc = resize(l, FOLD_MAX(cap, MIN_CAP));
        (void)rc;
    }
    return true;
}

bool fold_lookups_has(const struct fold_lookups *l, fold_ino ino)
{
    return l->cap != 0 && l->inos[find(l, ino)] != 0;
}
