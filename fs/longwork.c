/* SPDX-License-Identifier: MIT */
/*
 * A ring of users with requests, each with a queue of its own. A request whose slice is over is the
 * next of its user again, so that a user holds what a request in work holds (tables, the gate) once
 * only; but interrupted ones go before it. A slice is one task of the worker
 * pool, queued behind what is there already; its end queues the next.
 */
#include "fs/longwork.h"

#include "fs/session.h"
#include "meta/base/clock.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/workers.h"

#include <errno.h>
#include <time.h>

/* Pause before memory for a task is asked for again. */
#define SHORT_OF_MEMORY_MS 20

struct fold_longs_user {
    uid_t uid;
    bool running; /* one of its requests has a slice */
    struct fold_long *head, **tail;
    struct fold_longs_user *next; /* in the ring */
};

struct fold_longs {
    struct fold_workers *workers;
    unsigned at_once;
    struct fold_lock lock;
    struct fold_longs_user *last; /* of the ring, as all below guarded by lock; NULL: none */
    unsigned running;             /* slices handed out */
    atomic_bool stop;
    atomic_uint hurries; /* how often all of then were interrupted */
};

int fold_longs_create(struct fold_workers *workers, unsigned at_once, struct fold_longs **out)
{
    struct fold_longs *all = calloc(1, sizeof *all);
    if (all == NULL)
        return -ENOMEM;
    all->workers = workers;
    all->at_once = FOLD_MAX(at_once, 1u);
    fold_lock_init(&all->lock, FOLD_RANK_LEAF, "long requests");
    *out = all;
    return 0;
}

void fold_longs_stop(struct fold_longs *all)
{
    if (all != NULL)
        atomic_store(&all->stop, true);
}

void fold_longs_hurry(struct fold_longs *all)
{
    atomic_fetch_add(&all->hurries, 1);
}

void fold_longs_destroy(struct fold_longs *all)
{
    if (all == NULL)
        return;
    fold_lock_fini(&all->lock);
    free(all);
}

bool fold_long_due(const struct fold_long *l)
{
    return fold_clock_ms() >= l->until_ms;
}

bool fold_long_interrupted(const struct fold_long *l)
{
    return atomic_load(&l->all->stop) || atomic_load(&l->all->hurries) != l->hurries ||
           fuse_req_interrupted(l->req) != 0;
}

/* Takes the user's next request out of its queue. */
static struct fold_long *take(struct fold_longs_user *u)
{
    struct fold_long **at = &u->head;
    while (*at != NULL && !fold_long_interrupted(*at))
        at = &(*at)->next;
    if (*at == NULL)
        at = &u->head;
    struct fold_long *l = *at;
    *at = l->next;
    if (l->next == NULL)
        u->tail = at;
    return l;
}

/* Puts it back to where it is the next. */
static void put_back(struct fold_longs_user *u, struct fold_long *l)
{
    l->next = u->head;
    u->head = l;
    if (l->next == NULL)
        u->tail = &l->next;
}

/* Whose turn it is: the next user none of whose requests has a slice. NULL: nobody's. */
static struct fold_long *choose_locked(struct fold_longs *all) FOLD_REQUIRES(all->lock)
{
    struct fold_longs_user *u = all->last;
    if (u == NULL || all->running >= all->at_once)
        return NULL;
    do {
        u = u->next;
        if (!u->running) {
            u->running = true;
            all->running++;
            all->last = u;
            return take(u);
        }
    } while (u != all->last);
    return NULL;
}

static void nap(void)
{
    const struct timespec t = {.tv_nsec = SHORT_OF_MEMORY_MS * 1000000};
    nanosleep(&t, NULL);
}

static void run_slice(void *arg);

/* Hands out slices as long as there are takers. */
static void hand_out(struct fold_longs *all)
{
    for (;;) {
        fold_lock_take(&all->lock);
        struct fold_long *l = choose_locked(all);
        fold_lock_drop(&all->lock);
        if (l == NULL)
            return;
        while (fold_workers_submit(all->workers, run_slice, l) != 0)
            nap();
    }
}

/* Takes a user without requests out of the ring. */
static void leave_locked(struct fold_longs *all, struct fold_longs_user *u) FOLD_REQUIRES(all->lock)
{
    struct fold_longs_user *before = u;
    while (before->next != u)
        before = before->next;
    before->next = u->next;
    if (all->last == u)
        all->last = before != u ? before : NULL;
    free(u);
}

static void run_slice(void *arg)
{
    struct fold_long *l = arg;
    struct fold_longs *all = l->all;
    struct fold_longs_user *u = l->user;
    l->until_ms = fold_clock_ms() + fold_knobs.long_slice_ms;
    bool done = l->step(l->arg);
    fold_lock_take(&all->lock);
    u->running = false;
    all->running--;
    if (!done)
        put_back(u, l);
    else if (u->head == NULL)
        leave_locked(all, u);
    fold_lock_drop(&all->lock);
    hand_out(all);
}

/* The user, put behind the one that was served last if it is new. NULL if memory is short. */
static struct fold_longs_user *user_locked(struct fold_longs *all, uid_t uid)
    FOLD_REQUIRES(all->lock)
{
    struct fold_longs_user *u = all->last;
    if (u != NULL) {
        do {
            if (u->uid == uid)
                return u;
            u = u->next;
        } while (u != all->last);
    }
    u = calloc(1, sizeof *u);
    if (u == NULL)
        return NULL;
    u->uid = uid;
    u->tail = &u->head;
    u->next = u;
    if (all->last != NULL) {
        u->next = all->last->next;
        all->last->next = u;
    }
    all->last = u;
    return u;
}

static bool enlist(struct fold_longs *all, struct fold_long *l)
{
    fold_lock_take(&all->lock);
    struct fold_longs_user *u = user_locked(all, fuse_req_ctx(l->req)->uid);
    if (u != NULL) {
        l->user = u;
        l->next = NULL;
        *u->tail = l;
        u->tail = &l->next;
    }
    fold_lock_drop(&all->lock);
    return u != NULL;
}

static void run_first(void *arg)
{
    struct fold_long *l = arg;
    struct fold_longs *all = l->all;
    l->until_ms = fold_clock_ms() + fold_knobs.long_first_ms;
    if (l->step(l->arg))
        return;
    l->queued = true;
    while (!enlist(all, l))
        nap();
    hand_out(all);
}

void fold_long_start(struct fold_session *s, struct fold_long *l)
{
    l->all = s->longs;
    l->queued = false;
    l->hurries = atomic_load(&s->longs->hurries);
    if (fold_workers_submit(s->workers, run_first, l) != 0)
        run_first(l);
}
