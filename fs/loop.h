/* SPDX-License-Identifier: MIT */
/*
 * The request loop: threads that read requests into pooled buffers and dispatch them. A handler may
 * keep the buffer its request came in (large writes do, so that their payload is never copied); the
 * loop then goes on with a fresh one. Where the kernel offers it and the mount options do not say
 * otherwise, requests come by way of io_uring (fs/ring.h), and only what is left comes here.
 */
#ifndef FOLD_FS_LOOP_H
#define FOLD_FS_LOOP_H

#include "fs/buf.h"

#include <stdbool.h>

struct fold_loop;
struct fold_session;
struct fuse_session;

/* Sets up buffers and the hooks of a mounted fuse session. `ready_fd` gets its byte when INIT has
 * been answered. Where io_uring is insisted on: -FOLD_E_NO_RING, -FOLD_E_RING_OFF,
 * -FOLD_E_RING_DENIED. */
int fold_loop_create(struct fold_session *s, struct fuse_session *fuse, int ready_fd,
                     struct fold_loop **out) FOLD_MUST;
void fold_loop_destroy(struct fold_loop *l);

/* Serves with `threads` threads until the kernel ends the session. 0 after an unmount. */
int fold_loop_run(struct fold_loop *l, unsigned threads) FOLD_MUST;

/* True once requests come by way of io_uring. Thread-safe; NULL is fine. */
bool fold_loop_on_ring(const struct fold_loop *l);

/* Brackets a wait of a request for the kernel (fs/callback.h, which is what to use); as
 * fold_ring_wait_begin. */
bool fold_loop_wait_begin(struct fold_loop *l, uint64_t unique, unsigned *queue) FOLD_MUST;
void fold_loop_wait_end(struct fold_loop *l, unsigned queue);

/* True on a thread that serves requests as they come: it must not wait for long. */
bool fold_loop_thread(void);

/* The buffer of the request being handled on this thread, if data[0..len) lies in it; else NULL. */
struct fold_buf *fold_loop_buffer(const void *data, size_t len);

#endif
