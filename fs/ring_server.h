/* SPDX-License-Identifier: MIT */
/*
 * What the files of the io_uring transport share: the ring, its queues, and its servers. A server
 * is a thread with an io_uring of its own and one entry of one queue in it.
 *
 * A server's `unique` says whose reply is expected. Whoever exchanges it for 0 owns the entry's
 * memory until `answered` is set.
 */
#ifndef FOLD_FS_RING_SERVER_H
#define FOLD_FS_RING_SERVER_H

#include "fs/buf.h"
#include "fs/ring.h"
#include "fs/ring_proto.h"
#include "meta/base/lock.h"

#include <sched.h>

struct fold_uring;

enum fold_ring_phase { FOLD_RING_WAITS, FOLD_RING_RUNS, FOLD_RING_ENDS };

/* What stands at a server's place in the ring's array. */
enum fold_ring_place { FOLD_PLACE_FREE, FOLD_PLACE_STARTING, FOLD_PLACE_THREAD };

struct fold_ring_server {
    struct fold_ring_header header; /* the kernel's and the owner's of the request in turn */
    struct fold_ring *ring;
    struct fold_uring *uring;
    struct fold_buf *buf; /* room for header and argument, then the payload, at a fixed address */
    void *spare;          /* address space to move a payload away */
    struct iovec iov[2];
    pthread_t thread;
    unsigned queue;
    enum fold_ring_place place; /* guarded by the ring's lock */
    bool enlisted;              /* the kernel took the entry; likewise */
    bool ended;                 /* the thread is about to return; likewise */
    bool at_home;               /* on the queue's processor; the server's own */
    bool answered_here;         /* by the server itself; its own */
    _Atomic uint64_t unique;    /* of the request to be answered, else 0 */
    struct fold_lock lock;
    pthread_cond_t cond;
    bool answered; /* by another thread; guarded by lock */
};

struct fold_ring_queue {
    atomic_uint busy; /* servers with a request */
    unsigned servers; /* threads begun and not ended, as the following guarded by the ring's lock */
    unsigned enlisted; /* of them, those whose entry the kernel has */
    unsigned waiting;  /* of them, those whose request waits for the kernel */
    uint64_t retry_ms; /* monotonic time before which no further thread is tried */
    bool served;       /* the kernel took an entry at some time */
};

struct fold_ring {
    int fd;     /* the device */
    int end_fd; /* readable when servers shall end */
    fold_ring_handler handler;
    void *arg;
    size_t payload_bytes;
    struct fold_bufpool *pool;
    struct fold_ring_server *servers; /* room for `capacity`; never moves */
    unsigned capacity;
    atomic_uint count; /* places used up to now; rises under lock */
    struct fold_ring_queue *queue;
    unsigned queues;
    bool bind;         /* queues and processors are numbered alike */
    cpu_set_t allowed; /* where the process may run */
    atomic_bool running;
    atomic_bool ending;
    struct fold_lock lock;
    pthread_cond_t cond;        /* a change of what follows, or of a queue's counts */
    enum fold_ring_phase phase; /* guarded by lock */
    unsigned starting;          /* servers being begun; guarded by lock */
    unsigned covered;           /* queues that were served; guarded by lock */
    bool refused; /* the kernel turned a server down, and it was logged; guarded by lock */
};

/* Where the payload lies in a buffer of the ring's pool. */
uint8_t *fold_ring_payload(const struct fold_buf *b);

/* The pool such buffers come from. */
int fold_ring_pool_create(size_t payload_bytes, struct fold_bufpool **out) FOLD_MUST;

/* Memory, io_uring and thread of a server whose `ring` and `queue` are set. After a failure it has
 * none of them. */
int fold_ring_server_start(struct fold_ring_server *s) FOLD_MUST;

/* Gives back what a server without a thread has. */
void fold_ring_server_fini(struct fold_ring_server *s);

/* The server that holds a request which is not answered yet; NULL if none does. */
struct fold_ring_server *fold_ring_find(struct fold_ring *r, uint64_t unique);

/* The server that the calling thread is, while it handles a request; else NULL. */
struct fold_ring_server *fold_ring_serving(void);

#endif
