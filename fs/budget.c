/* SPDX-License-Identifier: MIT */
/*
 * A counter, and a list of replies held back. Parked replies go out oldest first from whichever
 * thread frees memory.
 */
#include "fs/budget.h"

#include "meta/base/lock.h"

#include <errno.h>

struct parked {
    struct parked *next;
    fuse_req_t req;
    size_t count;
};

struct fold_budget {
    uint64_t limit; /* fixed */
    _Atomic uint64_t used;
    atomic_uint waiting; /* length of the list, for a look without the lock */
    struct fold_lock lock;
    struct parked *head, **tail; /* guarded by lock */
};

int fold_budget_create(uint64_t limit_bytes, struct fold_budget **out)
{
    struct fold_budget *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    b->limit = limit_bytes;
    b->tail = &b->head;
    fold_lock_init(&b->lock, FOLD_RANK_BUDGET, "budget");
    *out = b;
    return 0;
}

void fold_budget_destroy(struct fold_budget *b)
{
    if (b == NULL)
        return;
    fold_lock_fini(&b->lock);
    free(b);
}

void fold_budget_add(struct fold_budget *b, uint64_t bytes)
{
    atomic_fetch_add(&b->used, bytes);
}

static void release_parked(struct fold_budget *b)
{
    fold_lock_take(&b->lock);
    struct parked *list = NULL;
    if (atomic_load(&b->used) < b->limit) {
        list = b->head;
        b->head = NULL;
        b->tail = &b->head;
        atomic_store(&b->waiting, 0);
    }
    fold_lock_drop(&b->lock);
    while (list != NULL) {
        struct parked *p = list;
        list = p->next;
        fuse_reply_write(p->req, p->count);
        free(p);
    }
}

void fold_budget_sub(struct fold_budget *b, uint64_t bytes)
{
    uint64_t now = atomic_fetch_sub(&b->used, bytes) - bytes;
    if (now < b->limit && atomic_load(&b->waiting) > 0)
        release_parked(b);
}

uint64_t fold_budget_used(const struct fold_budget *b)
{
    return atomic_load(&b->used);
}

bool fold_budget_pressed(const struct fold_budget *b)
{
    return atomic_load(&b->used) > b->limit / 2;
}

void fold_budget_reply_write(struct fold_budget *b, fuse_req_t req, size_t count)
{
    struct parked *p = atomic_load(&b->used) >= b->limit ? malloc(sizeof *p) : NULL;
    if (p == NULL) {
        fuse_reply_write(req, count);
        return;
    }
    *p = (struct parked){.req = req, .count = count};
    fold_lock_take(&b->lock);
    *b->tail = p;
    b->tail = &p->next;
    atomic_fetch_add(&b->waiting, 1);
    fold_lock_drop(&b->lock);
    /* Memory may have been freed between the look and the parking. */
    if (atomic_load(&b->used) < b->limit)
        release_parked(b);
}
