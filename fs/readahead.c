/* SPDX-License-Identifier: MIT */
/*
 * What counts as a stream depends on the size of its requests: 4 KiB reads all over a file hit a
 * window of megabytes often, and each hit would read megabytes for nothing.
 */
#include "fs/readahead.h"

#include "fs/readpath.h"
#include "fs/session.h"
#include "meta/base/knob.h"
#include "meta/base/workers.h"

#include <stdlib.h>

/* This many requests may be answered out of order. */
#define REORDERED 8u
/* A stream has four times what it has read asked for ahead of it, within these bounds. */
#define AHEAD_SHARE 4u

uint64_t fold_readahead_note(struct fold_readahead *a, uint64_t off, uint64_t end)
{
    uint64_t size = end - off, slack = REORDERED * size;
    uint64_t next = atomic_exchange_explicit(&a->next, end, memory_order_relaxed);
    if (off + slack < next || off > next + slack) {
        atomic_store_explicit(&a->run, 0, memory_order_relaxed);
        return 0;
    }
    return atomic_fetch_add_explicit(&a->run, size, memory_order_relaxed) + size;
}

bool fold_readahead_range(struct fold_readahead *a, uint64_t end, uint64_t run, uint64_t *from,
                          uint64_t *len)
{
    uint64_t ahead = FOLD_MIN(run, fold_knobs.readahead_max / AHEAD_SHARE) * AHEAD_SHARE;
    if (ahead < fold_knobs.readahead_min)
        return false;
    uint64_t done = atomic_load_explicit(&a->done, memory_order_relaxed);
    bool begun = done > end && done <= end + 2 * fold_knobs.readahead_max;
    if (begun && done >= end + ahead / 2)
        return false;
    atomic_store_explicit(&a->done, end + ahead, memory_order_relaxed);
    *from = begun ? done : end;
    *len = end + ahead - *from;
    return true;
}

struct task {
    struct fold_session *session;
    struct fold_inode *inode; /* referenced */
    uint64_t from, len;
};

static void run_task(void *arg)
{
    struct task *t = arg;
    fold_read_prefetch(t->session, t->inode, t->from, t->len);
    fold_itable_put(t->session->inodes, t->inode);
    free(t);
}

void fold_readahead_start(struct fold_session *s, struct fold_inode *inode, uint64_t from,
                          uint64_t len)
{
    struct task *t = malloc(sizeof *t);
    if (t != NULL) {
        *t = (struct task){s, inode, from, len};
        if (fold_workers_submit(s->workers, run_task, t) == 0)
            return;
        free(t);
    }
    fold_itable_put(s->inodes, inode);
}
