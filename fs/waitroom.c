/* SPDX-License-Identifier: MIT */
/*
 * A list, the oldest first, and one thread that looks through it when a collection has ended and
 * when the oldest has waited long enough. What it finds room for goes, in order; the rest goes when
 * the collector has nothing left to free. The lock is not held while somebody is called.
 */
#include "fs/waitroom.h"

#include "fs/collector.h"
#include "fs/loop.h"
#include "fs/session.h"
#include "fs/space.h"
#include "meta/base/clock.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define LINGER_MS 50

struct waiting {
    struct waiting *next;
    uint64_t bytes;
    uint64_t until_ms;
    void (*fn)(void *arg);
    void *arg;
};

struct fold_waitroom {
    struct fold_session *session;
    pthread_t thread;
    struct fold_lock lock;
    pthread_cond_t cond;
    struct waiting *head, **tail; /* guarded by lock */
    uint64_t bytes;               /* that those in the list need; guarded by lock */
    bool news;                    /* guarded by lock */
    bool closed;                  /* guarded by lock */
    atomic_uint count;            /* length of the list, changed under lock */
    _Atomic uint64_t lingering;   /* bytes that lingering threads want to claim */
};

static void append_locked(struct fold_waitroom *w, struct waiting *e)
{
    e->next = NULL;
    *w->tail = e;
    w->tail = &e->next;
    w->bytes += e->bytes;
    atomic_fetch_add(&w->count, 1);
}

/* Takes the whole list. */
static struct waiting *take_locked(struct fold_waitroom *w)
{
    struct waiting *list = w->head;
    w->head = NULL;
    w->tail = &w->head;
    w->bytes = 0;
    atomic_store(&w->count, 0);
    return list;
}

/* Splits the list: who may go is returned, the others wait on. */
static struct waiting *admit(struct fold_waitroom *w)
{
    uint64_t now = fold_clock_ms();
    uint64_t room = fold_space_room(w->session);
    bool hope = fold_collector_may_free(w->session->collector);
    struct waiting *gone = NULL, **end = &gone;
    fold_lock_take(&w->lock);
    struct waiting *list = take_locked(w);
    bool all = !hope || w->closed;
    while (list != NULL) {
        struct waiting *e = list;
        list = e->next;
        bool fits = e->bytes <= room;
        room -= fits ? e->bytes : 0;
        if (!fits && !all && e->until_ms > now) {
            append_locked(w, e);
            continue;
        }
        e->next = NULL;
        *end = e;
        end = &e->next;
    }
    fold_lock_drop(&w->lock);
    return gone;
}

/* Waits until there is something to look at. False: the room is closed and empty. */
static bool await(struct fold_waitroom *w)
{
    fold_lock_take(&w->lock);
    while (w->head == NULL && !w->closed)
        (void)fold_lock_wait(&w->lock, &w->cond, NULL);
    while (w->head != NULL && !w->closed && !w->news) {
        uint64_t until = w->head->until_ms, now = fold_clock_ms();
        if (until <= now)
            break;
        struct timespec at = fold_clock_after(until - now);
        (void)fold_lock_wait(&w->lock, &w->cond, &at);
    }
    w->news = false;
    bool more = w->head != NULL;
    fold_lock_drop(&w->lock);
    return more;
}

static void *room_main(void *arg)
{
    struct fold_waitroom *w = arg;
    pthread_setname_np(pthread_self(), "fold-waitroom");
    while (await(w)) {
        for (struct waiting *list = admit(w); list != NULL;) {
            struct waiting *e = list;
            list = e->next;
            e->fn(e->arg);
            free(e);
        }
        if (atomic_load(&w->count) > 0)
            fold_collector_press(w->session->collector);
    }
    return NULL;
}

int fold_waitroom_create(struct fold_session *s, struct fold_waitroom **out)
{
    struct fold_waitroom *w = calloc(1, sizeof *w);
    if (w == NULL)
        return -ENOMEM;
    w->session = s;
    w->tail = &w->head;
    fold_lock_init(&w->lock, FOLD_RANK_LEAF, "waiting room");
    fold_cond_init(&w->cond);
    int rc = -pthread_create(&w->thread, NULL, room_main, w);
    if (rc != 0) {
        fold_lock_fini(&w->lock);
        free(w);
        return rc;
    }
    *out = w;
    return 0;
}

void fold_waitroom_close(struct fold_waitroom *w)
{
    if (w == NULL)
        return;
    fold_lock_take(&w->lock);
    bool first = !w->closed;
    w->closed = true;
    pthread_cond_broadcast(&w->cond);
    fold_lock_drop(&w->lock);
    if (first)
        pthread_join(w->thread, NULL);
}

void fold_waitroom_destroy(struct fold_waitroom *w)
{
    if (w == NULL)
        return;
    pthread_cond_destroy(&w->cond);
    fold_lock_fini(&w->lock);
    free(w);
}

bool fold_waitroom_advises(struct fold_waitroom *w, uint64_t bytes)
{
    if (w == NULL || (atomic_load(&w->count) == 0 && fold_space_has(w->session, bytes)))
        return false;
    return fold_collector_may_free(w->session->collector);
}

bool fold_waitroom_enter(struct fold_waitroom *w, uint64_t bytes, void (*fn)(void *arg), void *arg)
{
    if (w == NULL)
        return false;
    struct waiting *e = malloc(sizeof *e);
    if (e == NULL)
        return false;
    *e = (struct waiting){.bytes = bytes,
                          .until_ms = fold_clock_ms() + fold_knobs.space_wait_ms,
                          .fn = fn,
                          .arg = arg};
    /* Over io_uring each keeps a server of its queue busy. */
    uint64_t most = fold_loop_on_ring(atomic_load(&w->session->loop))
                        ? fold_knobs.space_waiting_ring
                        : fold_knobs.space_waiting;
    fold_lock_take(&w->lock);
    bool enters = !w->closed && atomic_load(&w->count) < most;
    if (enters) {
        append_locked(w, e);
        pthread_cond_signal(&w->cond);
    }
    fold_lock_drop(&w->lock);
    if (enters)
        fold_collector_press(w->session->collector);
    else
        free(e);
    return enters;
}

static bool claimable(struct fold_session *s, uint64_t bytes)
{
    if (fold_space_claim(s, bytes) < 0)
        return false;
    fold_space_unclaim(s, bytes);
    return true;
}

bool fold_waitroom_linger(struct fold_waitroom *w, uint64_t bytes, uint64_t since_ms)
{
    const struct timespec nap = {.tv_nsec = LINGER_MS * 1000000};
    bool room = false;
    if (w == NULL)
        return false;
    struct fold_collector *c = w->session->collector;
    atomic_fetch_add(&w->lingering, bytes);
    while (!room && fold_collector_may_free(c) &&
           fold_clock_ms() - since_ms < fold_knobs.space_wait_ms) {
        fold_collector_press(c);
        (void)nanosleep(&nap, NULL);
        room = claimable(w->session, bytes);
    }
    atomic_fetch_sub(&w->lingering, bytes);
    return room;
}

void fold_waitroom_look(struct fold_waitroom *w)
{
    if (w == NULL)
        return;
    fold_lock_take(&w->lock);
    w->news = true;
    pthread_cond_signal(&w->cond);
    fold_lock_drop(&w->lock);
}

bool fold_waitroom_short(struct fold_waitroom *w)
{
    if (w == NULL)
        return false;
    uint64_t lingering = atomic_load(&w->lingering);
    if (lingering > 0 && !claimable(w->session, lingering))
        return true;
    if (atomic_load(&w->count) == 0)
        return false;
    fold_lock_take(&w->lock);
    uint64_t bytes = w->bytes;
    fold_lock_drop(&w->lock);
    return bytes > fold_space_room(w->session);
}
