/* SPDX-License-Identifier: MIT */
/*
 * Request buffers are anonymous mappings recycled through a free list; arenas are plain malloc.
 * Pages change places by remapping. A range that pages are moved away from stays mapped all the
 * time, so that nobody else's mapping can get between.
 */
#include "fs/buf.h"

#include "fs/budget.h"
#include "meta/base/lock.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#define PAGE 4096u

struct fold_bufpool {
    struct fold_lock lock;
    struct fold_buf *free; /* guarded by lock */
    unsigned free_count;   /* guarded by lock */
    unsigned keep;
    size_t cap;
    size_t lead;
    size_t map_len;
};

struct fold_buf *fold_buf_arena(struct fold_budget *budget, size_t cap)
{
    struct fold_buf *b = malloc(sizeof *b + cap);
    if (b == NULL)
        return NULL;
    *b = (struct fold_buf){.cap = cap, .mem = (uint8_t *)(b + 1)};
    atomic_init(&b->refs, 1);
    fold_buf_charge(b, budget);
    return b;
}

void fold_buf_charge(struct fold_buf *b, struct fold_budget *budget)
{
    if (b->charged)
        return;
    b->charged = true;
    b->budget = budget;
    fold_budget_add(budget, b->cap);
}

static void pool_release(struct fold_bufpool *p, struct fold_buf *b)
{
    fold_lock_take(&p->lock);
    bool keep = p->free_count < p->keep;
    if (keep) {
        b->next_free = p->free;
        p->free = b;
        p->free_count++;
    }
    fold_lock_drop(&p->lock);
    if (!keep) {
        munmap(b->mem + p->lead - PAGE, p->map_len);
        free(b);
    }
}

void fold_buf_put(struct fold_buf *b)
{
    if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct fold_budget *budget = b->charged ? b->budget : NULL;
    size_t cap = b->cap;
    b->charged = false;
    if (b->pool != NULL)
        pool_release(b->pool, b);
    else
        free(b);
    if (budget != NULL)
        fold_budget_sub(budget, cap);
}

int fold_bufpool_create(size_t cap, size_t lead, unsigned keep, struct fold_bufpool **out)
{
    assert(lead < PAGE);
    struct fold_bufpool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return -ENOMEM;
    fold_lock_init(&p->lock, FOLD_RANK_LEAF, "buffer pool");
    p->cap = cap;
    p->lead = lead;
    p->keep = keep;
    p->map_len = (PAGE + cap + PAGE - 1) / PAGE * PAGE;
    *out = p;
    return 0;
}

void fold_bufpool_destroy(struct fold_bufpool *p)
{
    if (p == NULL)
        return;
    while (p->free != NULL) {
        struct fold_buf *b = p->free;
        p->free = b->next_free;
        munmap(b->mem + p->lead - PAGE, p->map_len);
        free(b);
    }
    fold_lock_fini(&p->lock);
    free(p);
}

static uint8_t *new_map(const struct fold_bufpool *p)
{
    void *map = mmap(NULL, p->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return map != MAP_FAILED ? map : NULL;
}

struct fold_buf *fold_bufpool_get(struct fold_bufpool *p)
{
    fold_lock_take(&p->lock);
    struct fold_buf *b = p->free;
    if (b != NULL) {
        p->free = b->next_free;
        p->free_count--;
    }
    fold_lock_drop(&p->lock);
    if (b == NULL) {
        b = calloc(1, sizeof *b);
        if (b == NULL)
            return NULL;
        uint8_t *map = new_map(p);
        if (map == NULL) {
            free(b);
            return NULL;
        }
        b->mem = map + PAGE - p->lead;
        b->cap = p->cap;
        b->pool = p;
    }
    atomic_store(&b->refs, 1);
    return b;
}

void *fold_bufpool_spare(const struct fold_bufpool *p)
{
    return new_map(p);
}

void fold_bufpool_spare_free(const struct fold_bufpool *p, void *spare)
{
    if (spare != NULL)
        munmap(spare, p->map_len);
}

/* Moves pages; `from` stays mapped, without any. */
static int move_pages_over(const struct fold_bufpool *p, void *from, void *to)
{
    void *got =
        mremap(from, p->map_len, p->map_len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
    return got == MAP_FAILED ? -errno : 0;
}

int fold_bufpool_move(struct fold_bufpool *p, struct fold_buf *fixed, struct fold_buf *fresh,
                      void **spare)
{
    uint8_t *kept = fixed->mem + p->lead - PAGE;
    uint8_t *given = fresh->mem + p->lead - PAGE;
    int rc = move_pages_over(p, kept, *spare);
    if (rc != 0)
        return rc;
    fresh->mem = (uint8_t *)*spare + PAGE - p->lead;
    *spare = given;
    /* A failure leaves `fixed` without pages; they come as they are touched. */
    rc = move_pages_over(p, given, kept);
    (void)rc;
    return 0;
}
