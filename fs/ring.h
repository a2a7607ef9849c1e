/* SPDX-License-Identifier: MIT */
/*
 * Requests by way of io_uring. The kernel has a queue for each processor it may ever have, and
 * sends a request to the queue of the processor the caller runs on; each queue is served by a few
 * threads, which handle one request at a time, from taking it to its reply. What it does not send
 * this way (forgets, interrupts) is still read from the device.
 */
#ifndef FOLD_FS_RING_H
#define FOLD_FS_RING_H

#include "meta/base/attr.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/uio.h>

struct fold_buf;
struct fold_ring;

/* Handles one request, laid out as /dev/fuse would have it. `buf` is the buffer that request lies
 * in if it may be kept, with a reference the function takes over; NULL if it may not. */
typedef void (*fold_ring_handler)(void *arg, uint8_t *request, size_t len, struct fold_buf *buf);

/*
 * Threads, rings and memory for the device `fd` with payloads of up to `payload_bytes`; nothing is
 * said to the kernel yet. -FOLD_E_RING_DENIED where the process may have no io_uring, -ENOMEM,
 * -EAGAIN.
 */
int fold_ring_create(int fd, size_t payload_bytes, fold_ring_handler handler, void *arg,
                     struct fold_ring **out) FOLD_MUST;

/* Registers with the kernel: once, right after the INIT reply that asked for the transport. What
 * goes wrong is logged; requests then stay with the device. */
void fold_ring_start(struct fold_ring *r);

/* True once requests come this way; they never stop doing so. Thread-safe. */
bool fold_ring_running(const struct fold_ring *r);

/* Takes a reply (a struct fuse_out_header and what follows it) if its request came this way; any
 * thread. False: it belongs to the device. */
bool fold_ring_reply(struct fold_ring *r, const struct iovec *iov, int count);

/* What fold_ring_wait_begin says of requests that did not come this way. */
#define FOLD_RING_NO_QUEUE UINT_MAX

/*
 * The request `unique` is going to wait for something the kernel does, for which the kernel may
 * send requests that need entries of their own. At most half of the entries of a queue may be held
 * by such requests; where there are too few, more are begun. False: this one must be answered
 * without waiting. After true, to be ended with what came in *queue; before the answer or after.
 * Thread-safe; may wait until a thread has begun.
 */
bool fold_ring_wait_begin(struct fold_ring *r, uint64_t unique, unsigned *queue) FOLD_MUST;
void fold_ring_wait_end(struct fold_ring *r, unsigned queue);

/* How a queue is served: threads, those of them the kernel has an entry of, and requests that wait
 * for the kernel. */
struct fold_ring_crew {
    unsigned servers, enlisted, waiting;
};
struct fold_ring_crew fold_ring_crew(struct fold_ring *r, unsigned queue);

/* Ends and joins the threads; requests not yet taken by a handler are
 * dropped without a reply. */
void fold_ring_stop(struct fold_ring *r);

/* Stops. Buffers that were kept must have been given back. NULL is fine. */
void fold_ring_destroy(struct fold_ring *r);

#endif
