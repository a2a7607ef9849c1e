/* SPDX-License-Identifier: MIT */
/*
 * A server is a thread with an io_uring of its own and one entry of one queue in it. The kernel
 * gives a request to an entry nobody is busy with, the one used last first; so a request never
 * waits behind a handler while another server of its queue is idle, and the order in which handlers
 * finish is free. Where all servers of a queue wait for replies by other threads, one more begins.
 * A reply may come from any thread: it is put into the entry's memory, and the server hands the
 * entry back, which in the same system call fetches the next request.
 *
 * Servers stay on the processor of their queue, where the caller is: waking them is a switch of
 * threads and no message to another processor. Long transfers may go where there is time.
 *
 * `unique` says whose reply is expected. Whoever exchanges it for 0 owns the entry's memory until
 * `answered` is set.
 */
#include "fs/ring.h"

#include "fs/buf.h"
#include "fs/ring_offer.h"
#include "fs/ring_proto.h"
#include "fs/uring.h"
#include "meta/base/err.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>

/* Servers of a queue at first (and where there are many queues), and at most. */
#define FIRST_SERVERS      4u
#define FIRST_SERVERS_MANY 2u
#define MOST_SERVERS       32u
#define MANY_QUEUES        16u
/* Free buffers kept for payloads that handlers keep. */
#define KEPT_BUFFERS 64u
/* Room for header and argument in front of a payload. */
#define LEAD (sizeof(struct fuse_in_header) + sizeof((struct fold_ring_header){0}.argument) + 24)
/* Payloads of writes from this size on are moved to where the handler may keep them. */
#define KEEP_BYTES (256u << 10)
/* Transfers from this size on are not bound to the caller's processor. */
#define LONG_TRANSFER (128u << 10)

enum { EVENT_REQUEST, EVENT_END };

enum phase { PHASE_WAIT, PHASE_RUN, PHASE_END };

struct server {
    struct fold_ring_header header; /* the kernel's and the owner's of the request in turn */
    struct fold_ring *ring;
    struct fold_uring *uring;
    struct fold_buf *buf; /* LEAD bytes, then the payload, at a fixed address */
    void *spare;          /* address space to move a payload away */
    struct iovec iov[2];
    pthread_t thread;
    unsigned queue;
    bool started;
    bool at_home;            /* on the queue's processor; the server's own */
    bool answered_here;      /* by the server itself; its own */
    _Atomic uint64_t unique; /* of the request to be answered, else 0 */
    struct fold_lock lock;
    pthread_cond_t cond;
    bool answered; /* by another thread; guarded by lock */
};

struct queue {
    atomic_uint busy; /* servers with a request */
    unsigned servers; /* guarded by the ring's lock */
    bool served;      /* the kernel took an entry; likewise */
};

struct fold_ring {
    int fd;     /* the device */
    int end_fd; /* readable when servers shall end */
    fold_ring_handler handler;
    void *arg;
    size_t payload_bytes;
    struct fold_bufpool *pool;
    struct server *servers; /* room for `capacity`; never moves */
    unsigned capacity;
    atomic_uint count; /* begun; rises under lock */
    struct queue *queue;
    unsigned queues;
    bool bind;         /* queues and processors are numbered alike */
    cpu_set_t allowed; /* where the process may run */
    atomic_bool running;
    atomic_bool ending;
    struct fold_lock lock;
    pthread_cond_t cond;
    enum phase phase; /* guarded by lock */
    bool refused;     /* the kernel turned a server down, and it was logged; guarded by lock */
    unsigned covered; /* queues with a server; guarded by lock */
};

static __thread struct server *serving;

/* Says once why the kernel did not want a server. */
static void note_refusal(struct fold_ring *r, int rc)
{
    fold_lock_take(&r->lock);
    bool first = !r->refused;
    r->refused = true;
    fold_lock_drop(&r->lock);
    if (first)
        fold_warn("FUSE over io_uring: the kernel refused an entry (%s)%s", strerror(-rc),
                  fold_ring_running(r) ? "" : "; requests go through /dev/fuse");
}

static void note_served(struct fold_ring *r, unsigned queue)
{
    fold_lock_take(&r->lock);
    if (!r->queue[queue].served) {
        r->queue[queue].served = true;
        r->covered++;
        if (r->covered == r->queues)
            atomic_store(&r->running, true);
    }
    fold_lock_drop(&r->lock);
}

bool fold_ring_running(const struct fold_ring *r)
{
    return atomic_load_explicit(&r->running, memory_order_acquire);
}

static void fill_command(struct server *s, enum fold_ring_op op, uint64_t commit_id)
{
    struct io_uring_sqe *sqe = fold_uring_next(s->uring);
    struct fold_ring_cmd cmd = {.commit_id = commit_id, .queue = (uint16_t)s->queue};
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = s->ring->fd;
    sqe->cmd_op = op;
    sqe->user_data = EVENT_REQUEST;
    if (op == FOLD_RING_REGISTER) {
        sqe->addr = (uintptr_t)s->iov;
        sqe->len = FOLD_ARRAY_LEN(s->iov);
    }
    memcpy((uint8_t *)sqe + offsetof(struct io_uring_sqe, cmd), &cmd, sizeof cmd);
}

static void fill_end_watch(struct server *s)
{
    struct io_uring_sqe *sqe = fold_uring_next(s->uring);
    sqe->opcode = IORING_OP_POLL_ADD;
    sqe->fd = s->ring->end_fd;
    sqe->poll32_events = POLLIN;
    sqe->user_data = EVENT_END;
}

/* Puts the thread where it is to run; only where that changes. */
static void settle(struct server *s, bool at_home)
{
    struct fold_ring *r = s->ring;
    if (!r->bind || s->at_home == at_home)
        return;
    cpu_set_t home;
    CPU_ZERO(&home);
    CPU_SET(s->queue, &home);
    s->at_home = at_home;
    if (!CPU_ISSET(s->queue, &r->allowed))
        return;
    (void)sched_setaffinity(0, sizeof home, at_home ? &home : &r->allowed);
}

static bool is_long(const struct server *s, const struct fuse_in_header *h)
{
    struct fuse_read_in in;
    if (h->opcode == FUSE_WRITE)
        return s->header.info.payload_size >= LONG_TRANSFER;
    if (h->opcode != FUSE_READ)
        return false;
    memcpy(&in, s->header.argument, sizeof in);
    return in.size >= LONG_TRANSFER;
}

static uint8_t *payload_of(const struct fold_buf *b)
{
    return b->mem + LEAD;
}

/* Moves the payload of a long write into a buffer that may be kept; NULL: it stays. */
static struct fold_buf *take_payload(struct server *s, const struct fuse_in_header *h)
{
    struct fold_bufpool *pool = s->ring->pool;
    if (h->opcode != FUSE_WRITE || s->header.info.payload_size < KEEP_BYTES)
        return NULL;
    struct fold_buf *fresh = fold_bufpool_get(pool);
    if (fresh != NULL && fold_bufpool_move(pool, s->buf, fresh, &s->spare) != 0) {
        fold_buf_put(fresh);
        return NULL;
    }
    return fresh;
}

/* Puts the parts of a request together in front of its payload in `b`. NULL if the kernel wrote
 * nonsense. */
static uint8_t *assemble(const struct server *s, const struct fuse_in_header *h,
                         const struct fold_buf *b)
{
    size_t payload = s->header.info.payload_size, argument;
    if (payload > s->ring->payload_bytes ||
        __builtin_sub_overflow((size_t)h->len, sizeof *h + payload, &argument) ||
        argument > sizeof s->header.argument)
        return NULL;
    uint8_t *request = payload_of(b) - argument - sizeof *h;
    memcpy(request, h, sizeof *h);
    memcpy(request + sizeof *h, s->header.argument, argument);
    return request;
}

/* The next free place for a server of this queue; NULL if there shall be no more. */
static struct server *new_place(struct fold_ring *r, unsigned queue, unsigned most)
{
    struct server *s = NULL;
    fold_lock_take(&r->lock);
    unsigned i = atomic_load(&r->count);
    if (i < r->capacity && r->queue[queue].servers < most && r->phase != PHASE_END) {
        s = &r->servers[i];
        s->ring = r;
        s->queue = queue;
        fold_lock_init(&s->lock, FOLD_RANK_LEAF, "ring server");
        fold_cond_init(&s->cond);
        r->queue[queue].servers++;
        atomic_store(&r->count, i + 1); /* from here on there is something to undo */
    }
    fold_lock_drop(&r->lock);
    return s;
}

static void *server_main(void *arg);

static int start_server(struct server *s)
{
    struct fold_ring *r = s->ring;
    s->buf = fold_bufpool_get(r->pool);
    s->spare = fold_bufpool_spare(r->pool);
    if (s->buf == NULL || s->spare == NULL)
        return -ENOMEM;
    s->iov[0] = (struct iovec){&s->header, sizeof s->header};
    s->iov[1] = (struct iovec){payload_of(s->buf), r->payload_bytes};
    int rc = fold_uring_create(2, &s->uring);
    if (rc != 0)
        return rc == -ENOMEM ? rc : -FOLD_E_RING_DENIED;
    rc = -pthread_create(&s->thread, NULL, server_main, s);
    s->started = rc == 0;
    return rc;
}

/* A request waits for somebody else's reply; should all servers of the queue be busy, another one
 * sees to those to come. */
static void reinforce(struct fold_ring *r, unsigned queue)
{
    fold_lock_take(&r->lock);
    bool all_busy = atomic_load(&r->queue[queue].busy) >= r->queue[queue].servers;
    fold_lock_drop(&r->lock);
    struct server *s = all_busy ? new_place(r, queue, MOST_SERVERS) : NULL;
    int rc = s != NULL ? start_server(s) : 0;
    if (rc != 0)
        fold_warn("FUSE over io_uring: no further thread: %s", fold_err_text(rc));
}

/* False if the session ended first; then nobody will answer any more. */
static bool wait_answered(struct server *s)
{
    uint64_t unique = atomic_load(&s->unique);
    if (s->answered_here)
        return true;
    reinforce(s->ring, s->queue);
    fold_lock_take(&s->lock);
    bool given_up = false;
    while (!s->answered && !given_up) {
        /* Who lost the exchange is about to answer. */
        given_up = atomic_load(&s->ring->ending) && unique != 0 &&
                   atomic_compare_exchange_strong(&s->unique, &unique, 0);
        if (!given_up)
            (void)fold_lock_wait(&s->lock, &s->cond, NULL);
    }
    s->answered = false;
    fold_lock_drop(&s->lock);
    return !given_up;
}

/* Handles the request that is in the entry, and prepares the entry's way back. */
static int handle(struct server *s)
{
    struct fold_ring *r = s->ring;
    struct fuse_in_header h;
    memcpy(&h, s->header.in_out, sizeof h);
    uint64_t commit_id = s->header.info.commit_id;
    atomic_fetch_add(&r->queue[s->queue].busy, 1);
    settle(s, !is_long(s, &h));
    s->answered_here = false;
    atomic_store(&s->unique, h.unique);
    serving = s;
    struct fold_buf *taken = take_payload(s, &h);
    uint8_t *request = assemble(s, &h, taken != NULL ? taken : s->buf);
    if (request != NULL) {
        r->handler(r->arg, request, h.len, taken);
    } else {
        fold_buf_put(taken);
        struct fuse_out_header bad = {.len = sizeof bad, .error = -EIO, .unique = h.unique};
        fold_error("FUSE over io_uring: a request of %u bytes with a payload of %u", h.len,
                   s->header.info.payload_size);
        (void)fold_ring_reply(r, &(struct iovec){&bad, sizeof bad}, 1);
    }
    serving = NULL;
    bool answered = wait_answered(s);
    atomic_fetch_sub(&r->queue[s->queue].busy, 1);
    if (!answered)
        return -ESHUTDOWN;
    fill_command(s, FOLD_RING_COMMIT, commit_id);
    return 0;
}

/* 0 with a request in the entry, 1 if nothing has happened, -ESHUTDOWN when it is time to end, or
 * the error the kernel answered with. */
static int take_event(struct server *s)
{
    uint64_t event;
    int result;
    if (!fold_uring_take(s->uring, &event, &result))
        return 1;
    if (event == EVENT_END)
        return -ESHUTDOWN;
    return FOLD_MIN(result, 0);
}

/* As take_event; an error says that the kernel does not want the entry. */
static int enlist(struct server *s)
{
    int rc = fold_uring_enable(s->uring);
    if (rc == 0) {
        fill_end_watch(s);
        fill_command(s, FOLD_RING_REGISTER, 0);
        rc = fold_uring_submit(s->uring, false);
    }
    return rc == 0 ? take_event(s) : rc;
}

/* What ends a server in the course of things: the session has ended or is about to. */
static bool is_farewell(int rc)
{
    return rc == -ESHUTDOWN || rc == -ENOTCONN || rc == -ECONNABORTED || rc == -ENOENT ||
           rc == -ECANCELED || rc == -ENODEV;
}

static void *server_main(void *arg)
{
    struct server *s = arg;
    struct fold_ring *r = s->ring;
    pthread_setname_np(pthread_self(), "fold-ring");
    fold_lock_take(&r->lock);
    while (r->phase == PHASE_WAIT)
        (void)fold_lock_wait(&r->lock, &r->cond, NULL);
    bool run = r->phase == PHASE_RUN;
    fold_lock_drop(&r->lock);
    if (!run)
        return NULL;
    settle(s, true);
    int rc = enlist(s);
    if (rc >= 0)
        note_served(r, s->queue);
    else if (!is_farewell(rc))
        note_refusal(r, rc);
    if (rc < 0)
        return NULL;
    while (rc >= 0) {
        if (rc == 0)
            rc = handle(s);
        if (rc >= 0)
            rc = fold_uring_submit(s->uring, true);
        if (rc >= 0)
            rc = take_event(s);
    }
    if (!is_farewell(rc))
        fold_error("FUSE over io_uring: a queue lost a thread: %s", strerror(-rc));
    return NULL;
}

bool fold_ring_reply(struct fold_ring *r, const struct iovec *iov, int count)
{
    struct fuse_out_header h;
    memcpy(&h, iov[0].iov_base, sizeof h);
    uint64_t unique = h.unique;
    if (unique == 0)
        return false; /* a notification */
    struct server *s = serving;
    if (s == NULL || atomic_load_explicit(&s->unique, memory_order_relaxed) != unique) {
        s = NULL;
        unsigned n = atomic_load(&r->count);
        for (unsigned i = 0; i < n && s == NULL; i++)
            if (atomic_load(&r->servers[i].unique) == unique)
                s = &r->servers[i];
    }
    if (s == NULL || !atomic_compare_exchange_strong(&s->unique, &unique, 0))
        return false;
    size_t len = 0;
    for (int i = 1; i < count && h.error == 0; i++) {
        if (iov[i].iov_len > r->payload_bytes - len) {
            h.error = -EIO;
            len = 0;
        } else {
            memcpy(payload_of(s->buf) + len, iov[i].iov_base, iov[i].iov_len);
            len += iov[i].iov_len;
        }
    }
    memcpy(s->header.in_out, &h, sizeof h);
    s->header.info.payload_size = (uint32_t)len;
    if (s == serving) {
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
    unsigned first = r->queues > MANY_QUEUES ? FIRST_SERVERS_MANY : FIRST_SERVERS;
    r->capacity = r->queues * MOST_SERVERS;
    r->bind = r->queues <= CPU_SETSIZE && sched_getaffinity(0, sizeof r->allowed, &r->allowed) == 0;
    r->queue = calloc(r->queues, sizeof *r->queue);
    r->servers = calloc(r->capacity, sizeof *r->servers);
    r->end_fd = eventfd(0, EFD_CLOEXEC);
    if (r->queue == NULL || r->servers == NULL || r->end_fd < 0)
        return -ENOMEM;
    int rc = fold_bufpool_create(LEAD + r->payload_bytes, LEAD, KEPT_BUFFERS, &r->pool);
    for (unsigned i = 0; rc == 0 && i < r->queues * first; i++)
        rc = start_server(new_place(r, i % r->queues, first));
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

static void enter_phase(struct fold_ring *r, enum phase phase)
{
    fold_lock_take(&r->lock);
    r->phase = phase;
    pthread_cond_broadcast(&r->cond);
    fold_lock_drop(&r->lock);
}

void fold_ring_start(struct fold_ring *r)
{
    enter_phase(r, PHASE_RUN);
}

void fold_ring_stop(struct fold_ring *r)
{
    const uint64_t one = 1;
    atomic_store(&r->ending, true);
    enter_phase(r, PHASE_END);
    if (r->end_fd >= 0 && write(r->end_fd, &one, sizeof one) != (ssize_t)sizeof one)
        fold_warn("FUSE over io_uring: telling the threads to end: %s", strerror(errno));
    /* A server is begun by one further to the front, which is joined before. */
    for (unsigned i = 0; i < atomic_load(&r->count); i++) {
        struct server *s = &r->servers[i];
        fold_lock_take(&s->lock);
        pthread_cond_signal(&s->cond);
        fold_lock_drop(&s->lock);
        if (s->started)
            pthread_join(s->thread, NULL);
        s->started = false;
    }
}

void fold_ring_destroy(struct fold_ring *r)
{
    if (r == NULL)
        return;
    fold_ring_stop(r);
    for (unsigned i = 0; i < atomic_load(&r->count); i++) {
        struct server *s = &r->servers[i];
        fold_uring_destroy(s->uring); /* the kernel lets go of the memory */
        fold_bufpool_spare_free(r->pool, s->spare);
        fold_buf_put(s->buf);
        pthread_cond_destroy(&s->cond);
        fold_lock_fini(&s->lock);
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
