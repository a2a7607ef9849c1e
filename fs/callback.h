/* SPDX-License-Identifier: MIT */
/*
 * Requests that wait for the kernel. To have the kernel write back and forget what it caches of a
 * file is a call that returns only when the kernel is through, and for that the kernel may send
 * requests: to write what is dirty, to finish what was being read or cut off. A handler that made
 * the call itself would keep a thread, and over io_uring an entry, that those requests may need.
 *
 * So the call is made here, by threads that do nothing else, and the request goes on afterwards. It
 * keeps its entry meanwhile, but such requests never hold more than half of a queue's entries, nor
 * more of the background requests that the kernel allows than `callback_background`. What must not
 * happen in `fn` and afterwards is waiting for the kernel in any other way.
 */
#ifndef FOLD_FS_CALLBACK_H
#define FOLD_FS_CALLBACK_H

#include "fs/itable.h"

struct fold_callbacks;
struct fold_session;

/* Part of what is allocated for the request. The caller sets the first group. */
struct fold_callback {
    void (*fn)(void *arg); /* run on the worker pool when the kernel is through */
    void *arg;
    bool quick;               /* fn is short: it is run at once, by the thread that waited */
    struct fold_inode *inode; /* with a reference of the caller's, until fn runs */
    uint64_t off, len;        /* what the kernel is to write back and forget; len > 0 */
    uint64_t unique;          /* of the request: fold_raw_request.unique in its handler */
    bool background;          /* the kernel may have sent it as a background request: AIO */

    struct fold_session *session;
    unsigned queue;
};

/*
 * Begins to wait. False: too many requests wait already, or memory is short; nothing has begun, fn
 * is not run, and the request must be answered without waiting. No lock of rank FLUSH or later is
 * held. From a handler or a worker.
 */
bool fold_callback_begin(struct fold_session *s, struct fold_callback *c) FOLD_MUST;

int fold_callbacks_create(struct fold_callbacks **out) FOLD_MUST;

/* Nothing begins any more; returns when the calls under way have come back and what follows from
 * them is on the worker pool. NULL is fine, here and below. */
void fold_callbacks_stop(struct fold_callbacks *all);

/* After the worker pool has gone. */
void fold_callbacks_destroy(struct fold_callbacks *all);

#endif
