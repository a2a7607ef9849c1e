/* SPDX-License-Identifier: MIT */
/*
 * The three system calls and two mappings of an io_uring, without a library: one kind of command, a
 * handful under way, always one thread. Work of the kernel runs when that thread asks for it
 * (DEFER_TASKRUN), so nothing interrupts a handler.
 */
#include "fs/uring.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define SQE_BYTES 128u

struct fold_uring {
    int fd;
    uint8_t *queues; /* both queues: one mapping on every kernel that has 128-byte entries */
    size_t queues_len;
    uint8_t *sqes;
    size_t sqes_len;
    atomic_uint *sq_tail; /* shared with the kernel, as the following */
    atomic_uint *cq_head;
    atomic_uint *cq_tail;
    struct io_uring_cqe *cqes;
    unsigned sq_mask;
    unsigned cq_mask;
    unsigned filled; /* submissions not handed over yet */
};

static unsigned get_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static int map_queues(struct fold_uring *u, const struct io_uring_params *p)
{
    size_t sq_end = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
    size_t cq_end = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
    u->queues_len = FOLD_MAX(sq_end, cq_end);
    u->sqes_len = (size_t)p->sq_entries * SQE_BYTES;
    void *queues = mmap(NULL, u->queues_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                        u->fd, IORING_OFF_SQ_RING);
    if (queues == MAP_FAILED)
        return -errno;
    u->queues = queues;
    void *sqes = mmap(NULL, u->sqes_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd,
                      IORING_OFF_SQES);
    if (sqes == MAP_FAILED)
        return -errno;
    u->sqes = sqes;
    u->sq_tail = (atomic_uint *)(void *)(u->queues + p->sq_off.tail);
    u->cq_head = (atomic_uint *)(void *)(u->queues + p->cq_off.head);
    u->cq_tail = (atomic_uint *)(void *)(u->queues + p->cq_off.tail);
    u->cqes = (struct io_uring_cqe *)(void *)(u->queues + p->cq_off.cqes);
    u->sq_mask = get_u32(u->queues + p->sq_off.ring_mask);
    u->cq_mask = get_u32(u->queues + p->cq_off.ring_mask);
    /* Submission i always lies in slot i. */
    for (uint32_t i = 0; i < p->sq_entries; i++)
        memcpy(u->queues + p->sq_off.array + i * sizeof i, &i, sizeof i);
    return 0;
}

int fold_uring_create(unsigned entries, struct fold_uring **out)
{
    struct io_uring_params p = {.flags = IORING_SETUP_SQE128 | IORING_SETUP_R_DISABLED |
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    struct fold_uring *u = calloc(1, sizeof *u);
    if (u == NULL)
        return -ENOMEM;
    u->fd = (int)syscall(__NR_io_uring_setup, entries, &p);
    int rc = u->fd < 0 ? -errno : 0;
    if (rc == 0)
        rc = (p.features & IORING_FEAT_SINGLE_MMAP) != 0 ? map_queues(u, &p) : -EINVAL;
    if (rc != 0) {
        fold_uring_destroy(u);
        return rc;
    }
    *out = u;
    return 0;
}

void fold_uring_destroy(struct fold_uring *u)
{
    if (u == NULL)
        return;
    if (u->sqes != NULL)
        munmap(u->sqes, u->sqes_len);
    if (u->queues != NULL)
        munmap(u->queues, u->queues_len);
    if (u->fd >= 0)
        close(u->fd);
    free(u);
}

int fold_uring_enable(struct fold_uring *u)
{
    long n = syscall(__NR_io_uring_register, u->fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    return n < 0 ? -errno : 0;
}

struct io_uring_sqe *fold_uring_next(struct fold_uring *u)
{
    unsigned tail = atomic_load_explicit(u->sq_tail, memory_order_relaxed) + u->filled++;
    void *sqe = u->sqes + (size_t)(tail & u->sq_mask) * SQE_BYTES;
    memset(sqe, 0, SQE_BYTES);
    return sqe;
}

static bool has_completion(const struct fold_uring *u)
{
    return atomic_load_explicit(u->cq_head, memory_order_relaxed) !=
           atomic_load_explicit(u->cq_tail, memory_order_acquire);
}

int fold_uring_submit(struct fold_uring *u, bool wait)
{
    unsigned left = u->filled;
    unsigned tail = atomic_load_explicit(u->sq_tail, memory_order_relaxed);
    atomic_store_explicit(u->sq_tail, tail + left, memory_order_release);
    u->filled = 0;
    while (left > 0 || (wait && !has_completion(u))) {
        /* GETEVENTS also without waiting: it runs what the kernel has put off. */
        long n = syscall(__NR_io_uring_enter, u->fd, left, wait ? 1u : 0u, IORING_ENTER_GETEVENTS,
                         NULL, 0);
        if (n < 0 && errno != EINTR && errno != EAGAIN && errno != EBUSY)
            return -errno;
        if (n > 0)
            left -= FOLD_MIN(left, (unsigned)n);
    }
    return 0;
}

bool fold_uring_take(struct fold_uring *u, uint64_t *user_data, int *result)
{
    if (!has_completion(u))
        return false;
    unsigned head = atomic_load_explicit(u->cq_head, memory_order_relaxed);
    const struct io_uring_cqe *c = &u->cqes[head & u->cq_mask];
    *user_data = c->user_data;
    *result = c->res;
    atomic_store_explicit(u->cq_head, head + 1, memory_order_release);
    return true;
}
