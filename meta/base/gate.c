/* SPDX-License-Identifier: MIT */
/*
 * Counters are striped over cache lines by thread. A thread may read the current set, be delayed,
 * and count itself into a set that has just been waited for; so a wait flips twice, which meets
 * such a straggler in one of its rounds.
 */
#include "meta/base/gate.h"

#include "meta/base/lock.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

#define STRIPES 16u
#define POLL_NS 200000

struct stripe {
    _Atomic int64_t inside;
    char pad[FOLD_CACHELINE - sizeof(_Atomic int64_t)];
};

struct fold_gate {
    struct stripe set[2][STRIPES];
    atomic_uint current;   /* index of the set that enter counts in */
    struct fold_lock lock; /* one wait at a time */
};

static unsigned own_stripe(void)
{
    static atomic_uint next;
    static __thread unsigned mine;
    if (mine == 0)
        mine = atomic_fetch_add(&next, 1) % STRIPES + 1;
    return mine - 1;
}

int fold_gate_create(struct fold_gate **out)
{
    struct fold_gate *g = aligned_alloc(FOLD_CACHELINE, (sizeof *g + FOLD_CACHELINE - 1) /
                                                            FOLD_CACHELINE * FOLD_CACHELINE);
    if (g == NULL)
        return -ENOMEM;
    memset(g, 0, sizeof *g);
    fold_lock_init(&g->lock, FOLD_RANK_LEAF, "gate");
    *out = g;
    return 0;
}

void fold_gate_destroy(struct fold_gate *g)
{
    if (g == NULL)
        return;
    fold_lock_fini(&g->lock);
    free(g);
}

unsigned fold_gate_enter(struct fold_gate *g)
{
    unsigned set = atomic_load(&g->current);
    unsigned stripe = own_stripe();
    atomic_fetch_add(&g->set[set][stripe].inside, 1);
    return set * STRIPES + stripe;
}

void fold_gate_leave(struct fold_gate *g, unsigned token)
{
    atomic_fetch_sub(&g->set[token / STRIPES][token % STRIPES].inside, 1);
}

static int64_t inside(struct fold_gate *g, unsigned set)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < STRIPES; i++)
        sum += atomic_load(&g->set[set][i].inside);
    return sum;
}

void fold_gate_wait(struct fold_gate *g)
{
    static const struct timespec pause = {.tv_nsec = POLL_NS};
    fold_lock_take(&g->lock);
    for (unsigned round = 0; round < 2; round++) {
        unsigned old = atomic_load(&g->current);
        atomic_store(&g->current, 1 - old);
        while (inside(g, old) != 0)
            nanosleep(&pause, NULL);
    }
    fold_lock_drop(&g->lock);
}
