/* SPDX-License-Identifier: MIT */
/*
 * The life of a server: it offers its entry to the kernel, handles the request that comes in it,
 * waits for the reply, and hands the entry back, which in the same system call fetches the next
 * request.
 *
 * Servers stay on the processor of their queue, where the caller is: waking them is a switch of
 * threads and no message to another processor. Long transfers may go where there is time.
 */
#include "fs/ring_server.h"

#include "fs/ring_crew.h"
#include "fs/uring.h"
#include "meta/base/err.h"
#include "meta/base/log.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>

/* Free buffers kept for payloads that handlers keep. */
#define KEPT_BUFFERS 64u
/* Room for header and argument in front of a payload. */
#define LEAD (sizeof(struct fuse_in_header) + sizeof((struct fold_ring_header){0}.argument) + 24)
/* Payloads of writes from this size on are moved to where the handler may keep them. */
#define KEEP_BYTES (256u << 10)
/* Transfers from this size on are not bound to the caller's processor. */
#define LONG_TRANSFER (128u << 10)

enum { EVENT_REQUEST, EVENT_END };

static __thread struct fold_ring_server *serving;

struct fold_ring_server *fold_ring_serving(void)
{
    return serving;
}

uint8_t *fold_ring_payload(const struct fold_buf *b)
{
    return b->mem + LEAD;
}

int fold_ring_pool_create(size_t payload_bytes, struct fold_bufpool **out)
{
    return fold_bufpool_create(LEAD + payload_bytes, LEAD, KEPT_BUFFERS, out);
}

static void fill_command(struct fold_ring_server *s, enum fold_ring_op op, uint64_t commit_id)
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

static void fill_end_watch(struct fold_ring_server *s)
{
    struct io_uring_sqe *sqe = fold_uring_next(s->uring);
    sqe->opcode = IORING_OP_POLL_ADD;
    sqe->fd = s->ring->end_fd;
    sqe->poll32_events = POLLIN;
    sqe->user_data = EVENT_END;
}

/* Puts the thread where it is to run; only where that changes. */
static void settle(struct fold_ring_server *s, bool at_home)
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

static bool is_long(const struct fold_ring_server *s, const struct fuse_in_header *h)
{
    struct fuse_read_in in;
    if (h->opcode == FUSE_WRITE)
        return s->header.info.payload_size >= LONG_TRANSFER;
    if (h->opcode != FUSE_READ)
        return false;
    memcpy(&in, s->header.argument, sizeof in);
    return in.size >= LONG_TRANSFER;
}

/* Moves the payload of a long write into a buffer that may be kept; NULL: it stays. */
static struct fold_buf *take_payload(struct fold_ring_server *s, const struct fuse_in_header *h)
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
static uint8_t *assemble(const struct fold_ring_server *s, const struct fuse_in_header *h,
                         const struct fold_buf *b)
{
    size_t payload = s->header.info.payload_size, argument;
    if (payload > s->ring->payload_bytes ||
        __builtin_sub_overflow((size_t)h->len, sizeof *h + payload, &argument) ||
        argument > sizeof s->header.argument)
        return NULL;
    uint8_t *request = fold_ring_payload(b) - argument - sizeof *h;
    memcpy(request, h, sizeof *h);
    memcpy(request + sizeof *h, s->header.argument, argument);
    return request;
}

/* False if the session ended first; then nobody will answer any more. */
static bool wait_answered(struct fold_ring_server *s)
{
    uint64_t unique = atomic_load(&s->unique);
    if (s->answered_here)
        return true;
    fold_ring_reinforce(s->ring, s->queue);
    fold_lock_take(&s->lock);
    bool given_up = false;
    while (!s->answered && !given_up) {
        /* The loser of the exchange is another thread, which is about to reply. */
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
static int handle(struct fold_ring_server *s)
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
static int take_event(struct fold_ring_server *s)
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
static int enlist(struct fold_ring_server *s)
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

/* Serves until something ends it: the reason. */
static int serve(struct fold_ring_server *s)
{
    settle(s, true);
    int rc = enlist(s);
    if (rc < 0) {
        if (!is_farewell(rc))
            fold_ring_note_refusal(s->ring, rc);
        return -ESHUTDOWN;
    }
    fold_ring_note_enlisted(s);
    while (rc >= 0) {
        if (rc == 0)
            rc = handle(s);
        if (rc >= 0)
            rc = fold_uring_submit(s->uring, true);
        if (rc >= 0)
            rc = take_event(s);
    }
    return rc;
}

static void *server_main(void *arg)
{
    struct fold_ring_server *s = arg;
    pthread_setname_np(pthread_self(), "fold-ring");
    int rc = fold_ring_await_start(s->ring) ? serve(s) : -ESHUTDOWN;
    if (!is_farewell(rc))
        fold_error("FUSE over io_uring: a queue lost a thread: %s", strerror(-rc));
    fold_ring_note_ended(s);
    return NULL;
}

int fold_ring_server_start(struct fold_ring_server *s)
{
    struct fold_ring *r = s->ring;
    s->at_home = false;
    s->buf = fold_bufpool_get(r->pool);
    s->spare = fold_bufpool_spare(r->pool);
    int rc = s->buf != NULL && s->spare != NULL ? 0 : -ENOMEM;
    if (rc == 0) {
        s->iov[0] = (struct iovec){&s->header, sizeof s->header};
        s->iov[1] = (struct iovec){fold_ring_payload(s->buf), r->payload_bytes};
        rc = fold_uring_create(2, &s->uring);
        if (rc != 0 && rc != -ENOMEM)
            rc = -FOLD_E_RING_DENIED;
    }
    if (rc == 0)
        rc = -pthread_create(&s->thread, NULL, server_main, s);
    if (rc != 0)
        fold_ring_server_fini(s);
    return rc;
}

void fold_ring_server_fini(struct fold_ring_server *s)
{
    fold_uring_destroy(s->uring); /* the kernel lets go of the memory */
    s->uring = NULL;
    fold_bufpool_spare_free(s->ring->pool, s->spare);
    s->spare = NULL;
    fold_buf_put(s->buf);
    s->buf = NULL;
}
