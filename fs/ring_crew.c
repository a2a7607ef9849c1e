/* SPDX-License-Identifier: MIT */
/*
 * A place in the ring's array is taken and counted under the ring's lock before its server is
 * begun, and given back under it if that fails. A server that ended by itself leaves its thread to
 * be joined by whoever takes the place next, or by the end of the ring.
 */
#include "fs/ring_crew.h"

#include "meta/base/clock.h"
#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"

#include <errno.h>

/* A place for a server, with the ring's lock held; NULL if all are taken. */
static struct fold_ring_server *free_place(struct fold_ring *r)
{
    unsigned n = atomic_load(&r->count);
    for (unsigned i = 0; i < n; i++) {
        struct fold_ring_server *s = &r->servers[i];
        if (s->place == FOLD_PLACE_FREE || (s->place == FOLD_PLACE_THREAD && s->ended))
            return s;
    }
    return n < r->capacity ? &r->servers[n] : NULL;
}

/* Takes and counts a place. *left: a thread that ended there is to be joined. */
static struct fold_ring_server *take_place(struct fold_ring *r, unsigned queue, unsigned most,
                                           bool *left)
{
    struct fold_ring_queue *q = &r->queue[queue];
    struct fold_ring_server *s = NULL;
    fold_lock_take(&r->lock);
    if (q->servers < most && r->phase != FOLD_RING_ENDS && fold_clock_ms() >= q->retry_ms)
        s = free_place(r);
    if (s != NULL) {
        *left = s->place == FOLD_PLACE_THREAD;
        s->place = FOLD_PLACE_STARTING;
        s->ended = false;
        s->ring = r;
        s->queue = queue;
        q->servers++;
        r->starting++;
        if (s == &r->servers[atomic_load(&r->count)])
            atomic_fetch_add(&r->count, 1);
    }
    fold_lock_drop(&r->lock);
    return s;
}

/* The server has begun, or could not be (`rc`). */
static void settle_place(struct fold_ring_server *s, int rc)
{
    struct fold_ring *r = s->ring;
    struct fold_ring_queue *q = &r->queue[s->queue];
    fold_lock_take(&r->lock);
    s->place = rc == 0 ? FOLD_PLACE_THREAD : FOLD_PLACE_FREE;
    if (rc != 0) {
        q->servers--;
        q->retry_ms = fold_clock_ms() + fold_knobs.ring_retry_ms;
    }
    r->starting--;
    pthread_cond_broadcast(&r->cond);
    fold_lock_drop(&r->lock);
}

int fold_ring_enlarge(struct fold_ring *r, unsigned queue, unsigned most)
{
    bool left = false;
    struct fold_ring_server *s = take_place(r, queue, most, &left);
    if (s == NULL)
        return -EAGAIN;
    if (left) {
        pthread_join(s->thread, NULL);
        fold_ring_server_fini(s);
    }
    int rc = fold_ring_server_start(s);
    settle_place(s, rc);
    return rc;
}

void fold_ring_reinforce(struct fold_ring *r, unsigned queue)
{
    fold_lock_take(&r->lock);
    bool all_busy = atomic_load(&r->queue[queue].busy) >= r->queue[queue].servers;
    fold_lock_drop(&r->lock);
    int rc = all_busy ? fold_ring_enlarge(r, queue, (unsigned)fold_knobs.ring_servers) : 0;
    if (rc != 0 && rc != -EAGAIN)
        fold_warn("FUSE over io_uring: no further thread: %s", fold_err_text(rc));
}

void fold_ring_end_growth(struct fold_ring *r)
{
    fold_lock_take(&r->lock);
    r->phase = FOLD_RING_ENDS;
    pthread_cond_broadcast(&r->cond);
    while (r->starting > 0)
        (void)fold_lock_wait(&r->lock, &r->cond, NULL);
    fold_lock_drop(&r->lock);
}

bool fold_ring_await_start(struct fold_ring *r)
{
    fold_lock_take(&r->lock);
    while (r->phase == FOLD_RING_WAITS)
        (void)fold_lock_wait(&r->lock, &r->cond, NULL);
    bool run = r->phase == FOLD_RING_RUNS;
    fold_lock_drop(&r->lock);
    return run;
}

void fold_ring_note_enlisted(struct fold_ring_server *s)
{
    struct fold_ring *r = s->ring;
    struct fold_ring_queue *q = &r->queue[s->queue];
    fold_lock_take(&r->lock);
    s->enlisted = true;
    q->enlisted++;
    if (!q->served) {
        q->served = true;
        r->covered++;
        if (r->covered == r->queues)
            atomic_store(&r->running, true);
    }
    pthread_cond_broadcast(&r->cond);
    fold_lock_drop(&r->lock);
}

void fold_ring_note_ended(struct fold_ring_server *s)
{
    struct fold_ring *r = s->ring;
    struct fold_ring_queue *q = &r->queue[s->queue];
    fold_lock_take(&r->lock);
    if (s->enlisted)
        q->enlisted--;
    s->enlisted = false;
    q->servers--;
    q->retry_ms = fold_clock_ms() + fold_knobs.ring_retry_ms;
    s->ended = true;
    pthread_cond_broadcast(&r->cond);
    fold_lock_drop(&r->lock);
}

void fold_ring_note_refusal(struct fold_ring *r, int rc)
{
    fold_lock_take(&r->lock);
    bool first = !r->refused;
    r->refused = true;
    fold_lock_drop(&r->lock);
    if (first)
        fold_warn("FUSE over io_uring: the kernel refused an entry (%s)%s", strerror(-rc),
                  fold_ring_running(r) ? "" : "; requests go through /dev/fuse");
}

/*
 * One more request of the queue begins to wait. 1: it may; 0: not with the servers there are, and
 * all of them are enlisted; -1: the ring ends.
 */
static int admit_wait(struct fold_ring *r, struct fold_ring_queue *q)
{
    int verdict = 0;
    fold_lock_take(&r->lock);
    while (r->phase == FOLD_RING_RUNS && 2 * (q->waiting + 1) > q->enlisted &&
           q->enlisted < q->servers)
        (void)fold_lock_wait(&r->lock, &r->cond, NULL);
    if (r->phase != FOLD_RING_RUNS) {
        verdict = -1;
    } else if (2 * (q->waiting + 1) <= q->enlisted) {
        q->waiting++;
        verdict = 1;
    }
    fold_lock_drop(&r->lock);
    return verdict;
}

bool fold_ring_wait_begin(struct fold_ring *r, uint64_t unique, unsigned *queue)
{
    const struct fold_ring_server *s = fold_ring_find(r, unique);
    *queue = FOLD_RING_NO_QUEUE;
    if (s == NULL)
        return true;
    int verdict;
    while ((verdict = admit_wait(r, &r->queue[s->queue])) == 0)
        if (fold_ring_enlarge(r, s->queue, (unsigned)fold_knobs.ring_servers) != 0)
            return false;
    *queue = s->queue;
    return verdict > 0;
}

void fold_ring_wait_end(struct fold_ring *r, unsigned queue)
{
    if (queue == FOLD_RING_NO_QUEUE)
        return;
    fold_lock_take(&r->lock);
    r->queue[queue].waiting--;
    fold_lock_drop(&r->lock);
}

struct fold_ring_crew fold_ring_crew(struct fold_ring *r, unsigned queue)
{
    struct fold_ring_queue *q = &r->queue[queue];
    fold_lock_take(&r->lock);
    struct fold_ring_crew crew = {
        .servers = q->servers, .enlisted = q->enlisted, .waiting = q->waiting};
    fold_lock_drop(&r->lock);
    return crew;
}
