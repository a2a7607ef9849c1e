/* SPDX-License-Identifier: MIT */
/*
 * A fixed pool of threads with one queue. Tasks may block (disk, locks); those that wait for other
 * tasks of the same pool must help instead (fold_workers_parallel does). Joined by
 * fold_workers_destroy.
 */
#ifndef FOLD_META_BASE_WORKERS_H
#define FOLD_META_BASE_WORKERS_H

#include "meta/base/attr.h"

struct fold_workers;

/* `count` >= 1 threads, named `name` (at most 15 bytes). -ENOMEM, -EAGAIN. */
int fold_workers_create(unsigned count, const char *name, struct fold_workers **out) FOLD_MUST;

/* Runs what is queued to the end, then joins the threads. NULL is fine. */
void fold_workers_destroy(struct fold_workers *w);

/* Queues fn(arg). -ENOMEM: not queued. */
int fold_workers_submit(struct fold_workers *w, void (*fn)(void *arg), void *arg) FOLD_MUST;

/*
 * Calls fn(arg, i) for each i in [0, n) on the caller's thread and on idle threads of the pool;
 * returns when all are done. The caller takes part, so it may itself be a task of the pool.
 */
void fold_workers_parallel(struct fold_workers *w, size_t n, void (*fn)(void *arg, size_t i),
                           void *arg);

#endif
