/* SPDX-License-Identifier: MIT */
/*
 * Lists are arrays of (fingerprint, offset), one per slot. One set-associative hash over all slots
 * finds a candidate in a single cache line: eight cells of (tag, slot, position), each a word.
 * Cells are never cleaned: a cell is believed only after the list it points to shows the full
 * fingerprint, so a list can be dropped by freeing it. A full line loses the cell of the least
 * recently hit list; that entry is then found through the index. One read-write lock: lookups of a
 * batch share it, loading a list takes it for the time of filling cells.
 */
#include "meta/locality.h"

#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"

#include <errno.h>
#include <stdatomic.h>

#define CELLS        8u
#define RECENT       64u
#define MAX_SLOTS    16384u
#define POS_BITS     32u
#define SLOT_BITS    14u
#define BYTES_A_CELL 22u /* of budget per cell: 8 for itself and 0.6 list entries of 24 bytes */

struct item {
    uint64_t w[2];
    uint32_t off;
};

struct list {
    uint32_t seg; /* 0 = free */
    uint32_t count;
    struct item *items;
    _Atomic uint64_t used; /* clock of the last hit */
};

struct fold_locality {
    struct fold_rwlock lock;
    uint64_t budget; /* for lists; fixed */
    uint64_t bytes;  /* in lists; guarded by lock */
    uint64_t lines;  /* fixed */
    uint64_t *cells; /* guarded by lock; CELLS per line; inside `table` */
    void *table;
    uint32_t slots;    /* fixed */
    struct list *list; /* guarded by lock, `used` atomic */
    _Atomic uint64_t clock;
    _Atomic uint32_t recent[RECENT]; /* segments hit lately, by number */
};

static uint64_t *line_of(const struct fold_locality *l, uint64_t w0)
{
    return &l->cells[(uint64_t)(((unsigned __int128)w0 * l->lines) >> 64) * CELLS];
}

/* Tag from bits that do not choose the line; never 0. */
static uint64_t cell_of(uint64_t w1, uint32_t slot, uint32_t pos)
{
    uint64_t tag = (w1 & 0x1ffff) | 0x20000;
    return tag << (POS_BITS + SLOT_BITS) | (uint64_t)slot << POS_BITS | pos;
}

static uint64_t tag_of(uint64_t cell)
{
    return cell >> (POS_BITS + SLOT_BITS);
}

static uint32_t slot_of(uint64_t cell)
{
    return (uint32_t)(cell >> POS_BITS) & ((1u << SLOT_BITS) - 1);
}

int fold_locality_create(uint64_t budget_bytes, struct fold_locality **out)
{
    struct fold_locality *l = calloc(1, sizeof *l);
    if (l == NULL)
        return -ENOMEM;
    uint64_t lines = FOLD_MAX(budget_bytes / BYTES_A_CELL / CELLS, fold_knobs.locality_lines);
    uint64_t table = lines * CELLS * sizeof *l->cells;
    l->budget = budget_bytes > table ? budget_bytes - table : 0;
    l->lines = lines;
    l->slots = (uint32_t)FOLD_MIN(FOLD_MAX(budget_bytes >> 12, (uint64_t)16), (uint64_t)MAX_SLOTS);
    /* Not aligned_alloc and memset: pages of the table cost memory and time only when used. */
    l->table = calloc(1, table + FOLD_CACHELINE);
    l->list = calloc(l->slots, sizeof *l->list);
    fold_rwlock_init(&l->lock, FOLD_RANK_CACHE, "locality");
    if (l->table == NULL || l->list == NULL) {
        fold_locality_destroy(l);
        return -ENOMEM;
    }
    uintptr_t lead = -(uintptr_t)l->table % FOLD_CACHELINE;
    l->cells = (uint64_t *)(void *)((uint8_t *)l->table + lead);
    *out = l;
    return 0;
}

void fold_locality_destroy(struct fold_locality *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; l->list != NULL && i < l->slots; i++)
        free(l->list[i].items);
    free(l->list);
    free(l->table);
    fold_rwlock_fini(&l->lock);
    free(l);
}

/* The list that really holds the fingerprint, and where. */
static const struct item *confirm(const struct fold_locality *l, uint64_t cell,
                                  const struct fold_fp *fp, struct list **from)
{
    struct list *list = &l->list[slot_of(cell)];
    uint32_t pos = (uint32_t)cell;
    if (pos >= list->count)
        return NULL;
    const struct item *item = &list->items[pos];
    if (item->w[0] != fp->w[0] || item->w[1] != fp->w[1])
        return NULL;
    *from = list;
    return item;
}

static bool find_one(struct fold_locality *l, const struct fold_fp *fp, uint64_t now,
                     struct fold_loc *loc)
{
    const uint64_t *line = line_of(l, fp->w[0]);
    uint64_t tag = tag_of(cell_of(fp->w[1], 0, 0));
    for (unsigned i = 0; i < CELLS; i++) {
        struct list *list;
        if (tag_of(line[i]) != tag || slot_of(line[i]) >= l->slots)
            continue;
        const struct item *item = confirm(l, line[i], fp, &list);
        if (item == NULL)
            continue;
        *loc = (struct fold_loc){list->seg, item->off};
        atomic_store_explicit(&list->used, now, memory_order_relaxed);
        return true;
    }
    return false;
}

size_t fold_locality_find(struct fold_locality *l, const struct fold_fp *const *fps, size_t n,
                          struct fold_loc *locs)
{
    size_t found = 0;
    uint64_t now = atomic_fetch_add_explicit(&l->clock, 1, memory_order_relaxed) + 1;
    fold_rwlock_read(&l->lock);
    for (size_t i = 0; i < n; i++)
        if (locs[i].seg == 0)
            __builtin_prefetch(line_of(l, fps[i]->w[0]));
    for (size_t i = 0; i < n && l->bytes > 0; i++)
        if (locs[i].seg == 0)
            found += find_one(l, fps[i], now, &locs[i]);
    fold_rwlock_drop(&l->lock);
    return found;
}

bool fold_locality_wants(struct fold_locality *l, uint32_t seg)
{
    _Atomic uint32_t *mark = &l->recent[seg % RECENT];
    return atomic_exchange_explicit(mark, seg, memory_order_relaxed) == seg;
}

static void list_free(struct fold_locality *l, struct list *list)
{
    if (list->seg != 0)
        l->bytes -= (uint64_t)list->count * sizeof(struct item);
    free(list->items);
    list->items = NULL;
    list->seg = 0;
    list->count = 0;
}

/* A free slot with room for `bytes` in the budget; the least recently hit lists give way. NULL if
 * it can never fit. */
static struct list *make_room(struct fold_locality *l, uint32_t seg, uint64_t bytes)
{
    for (;;) {
        struct list *oldest = NULL;
        struct list *empty = NULL;
        for (uint32_t i = 0; i < l->slots; i++) {
            struct list *list = &l->list[i];
            if (list->seg == seg)
                return NULL;
            if (list->seg == 0)
                empty = empty != NULL ? empty : list;
            else if (oldest == NULL || atomic_load(&list->used) < atomic_load(&oldest->used))
                oldest = list;
        }
        if (empty != NULL && l->bytes + bytes <= l->budget)
            return empty;
        if (oldest == NULL)
            return NULL;
        list_free(l, oldest);
    }
}

/* True if the cell of `line` still leads to an entry that belongs there. */
static bool cell_true(const struct fold_locality *l, const uint64_t *line, uint64_t cell)
{
    uint32_t slot = slot_of(cell);
    uint32_t pos = (uint32_t)cell;
    if (cell == 0 || slot >= l->slots || pos >= l->list[slot].count)
        return false;
    const struct item *item = &l->list[slot].items[pos];
    return line_of(l, item->w[0]) == line && cell_of(item->w[1], slot, pos) == cell;
}

/* The cell to overwrite: an empty or outdated one, else that of the least recently hit list. */
static unsigned victim(const struct fold_locality *l, const uint64_t *line)
{
    uint64_t oldest = UINT64_MAX;
    unsigned choice = 0;
    for (unsigned i = 0; i < CELLS; i++)
        if (line[i] == 0)
            return i;
    for (unsigned i = 0; i < CELLS; i++) {
        if (!cell_true(l, line, line[i]))
            return i;
        uint64_t used = atomic_load_explicit(&l->list[slot_of(line[i])].used, memory_order_relaxed);
        if (used < oldest) {
            oldest = used;
            choice = i;
        }
    }
    return choice;
}

static void enter(struct fold_locality *l, uint32_t slot, uint32_t pos)
{
    const struct item *item = &l->list[slot].items[pos];
    uint64_t *line = line_of(l, item->w[0]);
    line[victim(l, line)] = cell_of(item->w[1], slot, pos);
}

void fold_locality_load(struct fold_locality *l, uint32_t seg, const struct fold_seg_entry *entries,
                        uint32_t count)
{
    struct item *items = malloc(count * sizeof *items);
    if (items == NULL || count == 0) {
        free(items);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        items[i] = (struct item){{entries[i].w[0], entries[i].w[1]}, entries[i].off};
    fold_rwlock_write(&l->lock);
    struct list *list = make_room(l, seg, count * sizeof *items);
    if (list != NULL) {
        list->seg = seg;
        list->count = count;
        list->items = items;
        items = NULL;
        atomic_store(&list->used, atomic_load(&l->clock));
        l->bytes += (uint64_t)count * sizeof(struct item);
        for (uint32_t i = 0; i < count; i++)
            enter(l, (uint32_t)(list - l->list), i);
    }
    fold_rwlock_drop(&l->lock);
    free(items);
}

void fold_locality_drop(struct fold_locality *l, uint32_t seg)
{
    fold_rwlock_write(&l->lock);
    for (uint32_t i = 0; i < l->slots; i++)
        if (l->list[i].seg == seg)
            list_free(l, &l->list[i]);
    fold_rwlock_drop(&l->lock);
    atomic_store(&l->recent[seg % RECENT], 0);
}

uint64_t fold_locality_bytes(struct fold_locality *l)
{
    fold_rwlock_read(&l->lock);
    uint64_t bytes = l->bytes + l->lines * CELLS * sizeof *l->cells;
    fold_rwlock_drop(&l->lock);
    return bytes;
}
