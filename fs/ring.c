/* SPDX-License-Identifier: MIT */
/*
 * Beginning and end of the ring, and replies. The kernel gives a request to an entry nobody is busy
 * with, the one used last first; so a request never waits behind a handler while another server of
 * its queue is idle, and the order in which handlers finish is free. A reply may come from any
 * thread: it is put into the entry's memory, and the server hands the entry back.
 */
#include "fs/ring.h"

#include "fs/ring_crew.h"
#include "fs/ring_offer.h"
#include "fs/ring_server.h"
#include "meta/base/err.h"
#include "meta/base/guard.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"

#include <errno.h>
#include <linux/fuse.h>
#include <sys/eventfd.h>

/* Servers of a queue at first (and where there are many queues). */
#define FIRST_SERVERS      4u
#define FIRST_SERVERS_MANY 2u
#define MANY_QUEUES        16u

bool fold_ring_running(const struct fold_ring *r)
{
    return atomic_load_explicit(&r->running, memory_order_acquire);
}

struct fold_ring_server *fold_ring_find(struct fold_ring *r, uint64_t unique)
{
    struct fold_ring_server *s = fold_ring_serving();
    if (unique == 0) /* a notification */
        return NULL;
    if (s != NULL && atomic_load_explicit(&s->unique, memory_order_relaxed) == unique)
        return s;
    unsigned n = atomic_load(&r->count);
    for (unsigned i = 0; i < n; i++)
        if (atomic_load(&r->servers[i].unique) == unique)
            return &r->servers[i];
    return NULL;
}

/* Puts a reply into the entry. What lies in a mapping that cannot be read is an error for who asked
 * for it. */
static void fill_reply(struct fold_ring_server *s, struct fuse_out_header h,
                       const struct iovec *iov, int count)
{
    size_t len = 0;
    for (int i = 0; i < count && h.error == 0; i++) {
        int rc = iov[i].iov_len <= s->ring->payload_bytes - len ? 0 : -EIO;
        if (rc == 0)
            rc = fold_guard_copy(fold_ring_payload(s->buf) + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
        if (rc != 0) {
            h.error = rc;
            len = 0;
        }
    }
    memcpy(s->header.in_out, &h, sizeof h);
    s->header.info.payload_size = (uint32_t)len;
}

bool fold_ring_reply(struct fold_ring *r, const struct iovec *iov, int count)
{
    struct fuse_out_header h;
    memcpy(&h, iov[0].iov_base, sizeof h);
    uint64_t unique = h.unique;
    struct fold_ring_server *s = fold_ring_find(r, unique);
    if (s == NULL || !atomic_compare_exchange_strong(&s->unique, &unique, 0))
        return false;
    fill_reply(s, h, iov + 1, count - 1);
    if (s == fold_ring_serving()) {
        s->answered_here = true;
        return true;
    }
    fold_lock_take(&s->lock);
    s->answered = true;
    pthread_cond_signal(&s->cond);
    fold_lock_drop(&s->lock);
    return true;
}

static int init_ring(struct fold_ring *r)
{
    r->queues = fold_ring_queues();
    if (r->queues == 0)
        return -FOLD_E_NO_RING;
    unsigned most = (unsigned)fold_knobs.ring_servers;
    unsigned first = FOLD_MIN(r->queues > MANY_QUEUES ? FIRST_SERVERS_MANY : FIRST_SERVERS, most);
    unsigned capacity = r->queues * most;
    r->bind = r->queues <= CPU_SETSIZE && sched_getaffinity(0, sizeof r->allowed, &r->allowed) == 0;
    r->queue = calloc(r->queues, sizeof *r->queue);
    r->servers = calloc(capacity, sizeof *r->servers);
    r->end_fd = eventfd(0, EFD_CLOEXEC);
    if (r->queue == NULL || r->servers == NULL || r->end_fd < 0)
        return -ENOMEM;
    for (; r->capacity < capacity; r->capacity++) {
        fold_lock_init(&r->servers[r->capacity].lock, FOLD_RANK_LEAF, "ring server");
        fold_cond_init(&r->servers[r->capacity].cond);
    }
    int rc = fold_ring_pool_create(r->payload_bytes, &r->pool);
    for (unsigned i = 0; rc == 0 && i < r->queues * first; i++)
        rc = fold_ring_enlarge(r, i % r->queues, first);
    return rc;
}

int fold_ring_create(int fd, size_t payload_bytes, fold_ring_handler handler, void *arg,
                     struct fold_ring **out)
{
    struct fold_ring *r = calloc(1, sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    r->fd = fd;
    r->end_fd = -1;
    r->payload_bytes = payload_bytes;
    r->handler = handler;
    r->arg = arg;
    fold_lock_init(&r->lock, FOLD_RANK_LEAF, "ring");
    fold_cond_init(&r->cond);
    int rc = init_ring(r);
    if (rc != 0) {
        fold_ring_destroy(r);
        return rc;
    }
    *out = r;
    return 0;
}

void fold_ring_start(struct fold_ring *r)
{
    fold_lock_take(&r->lock);
    r->phase = FOLD_RING_RUNS;
    pthread_cond_broadcast(&r->cond);
    fold_lock_drop(&r->lock);
}

void fold_ring_stop(struct fold_ring *r)
{
    const uint64_t one = 1;
    atomic_store(&r->ending, true);
    fold_ring_end_growth(r);
    if (r->end_fd >= 0 && write(r->end_fd, &one, sizeof one) != (ssize_t)sizeof one)
        fold_warn("FUSE over io_uring: telling the threads to end: %s", strerror(errno));
    for (unsigned i = 0; i < atomic_load(&r->count); i++) {
        struct fold_ring_server *s = &r->servers[i];
        fold_lock_take(&s->lock);
        pthread_cond_signal(&s->cond);
        fold_lock_drop(&s->lock);
        if (s->place == FOLD_PLACE_THREAD)
            pthread_join(s->thread, NULL);
        s->place = FOLD_PLACE_FREE; /* nobody else is there any more */
    }
}

void fold_ring_destroy(struct fold_ring *r)
{
    if (r == NULL)
        return;
    fold_ring_stop(r);
    for (unsigned i = 0; i < atomic_load(&r->count); i++)
        fold_ring_server_fini(&r->servers[i]);
    for (unsigned i = 0; i < r->capacity; i++) {
        pthread_cond_destroy(&r->servers[i].cond);
        fold_lock_fini(&r->servers[i].lock);
    }
    if (r->end_fd >= 0)
        close(r->end_fd);
    fold_bufpool_destroy(r->pool);
    pthread_cond_destroy(&r->cond);
    fold_lock_fini(&r->lock);
    free(r->queue);
    free(r->servers);
    free(r);
}
