/* SPDX-License-Identifier: MIT */
/*
 * A sync is a numbered round. A caller is served by the first round that starts after it came: it
 * waits for that round, or leads it if no round is running. `lock` guards list and rounds and is
 * never held across a system call.
 */
#include "meta/barrier.h"

#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"

#include <errno.h>

struct watched {
    struct fold_segment *seg;
    uint64_t entry; /* its directory entry is durable once that many are */
};

struct fold_barrier {
    int dirfd;
    struct fold_lock lock;
    pthread_cond_t cond;
    struct watched *segs;    /* guarded by lock */
    size_t count;            /* guarded by lock */
    size_t cap;              /* guarded by lock */
    uint64_t started;        /* rounds; guarded by lock */
    uint64_t finished;       /* rounds; guarded by lock */
    uint64_t entries_made;   /* directory entries; guarded by lock */
    uint64_t entries_synced; /* guarded by lock */
    bool entries_syncing;    /* guarded by lock */
    _Atomic int error;       /* written under lock, once */
};

int fold_barrier_create(int dirfd, struct fold_barrier **out)
{
    struct fold_barrier *b = calloc(1, sizeof *b);
    if (b == NULL)
        return -ENOMEM;
    b->dirfd = dirfd;
    b->entries_made = 1;
    fold_lock_init(&b->lock, FOLD_RANK_STORE, "barrier");
    fold_cond_init(&b->cond);
    *out = b;
    return 0;
}

void fold_barrier_destroy(struct fold_barrier *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        fold_segment_unref(b->segs[i].seg);
    free(b->segs);
    (void)pthread_cond_destroy(&b->cond);
    fold_lock_fini(&b->lock);
    free(b);
}

int fold_barrier_add(struct fold_barrier *b, struct fold_segment *s, bool fresh)
{
    fold_lock_take(&b->lock);
    int rc = FOLD_GROW(b->segs, b->cap, b->count + 1, 16);
    if (rc == 0) {
        fold_segment_ref(s);
        b->entries_made += fresh;
        b->segs[b->count++] = (struct watched){s, fresh ? b->entries_made : 1};
    }
    fold_lock_drop(&b->lock);
    return rc;
}

void fold_barrier_remove(struct fold_barrier *b, struct fold_segment *s)
{
    bool found = false;
    fold_lock_take(&b->lock);
    for (size_t i = 0; i < b->count && !found; i++) {
        if (b->segs[i].seg == s) {
            b->segs[i] = b->segs[--b->count];
            found = true;
        }
    }
    fold_lock_drop(&b->lock);
    if (found)
        fold_segment_unref(s);
}

int fold_barrier_error(struct fold_barrier *b)
{
    return atomic_load_explicit(&b->error, memory_order_acquire);
}

static void set_error(struct fold_barrier *b, int rc)
{
    int none = 0;
    (void)atomic_compare_exchange_strong(&b->error, &none, rc);
}

/* Makes the names of the segment files durable, one thread at a time. */
static int sync_names(struct fold_barrier *b)
{
    fold_lock_take(&b->lock);
    uint64_t target = b->entries_made;
    while (b->entries_syncing)
        (void)fold_lock_wait(&b->lock, &b->cond, NULL);
    int rc = fold_barrier_error(b);
    bool needed = b->entries_synced < target && rc == 0;
    if (needed) {
        b->entries_syncing = true;
        target = b->entries_made;
    }
    fold_lock_drop(&b->lock);
    if (!needed)
        return rc;
    rc = fold_io_fsync(b->dirfd);
    fold_lock_take(&b->lock);
    b->entries_syncing = false;
    if (rc == 0)
        b->entries_synced = FOLD_MAX(b->entries_synced, target);
    else
        set_error(b, rc);
    (void)pthread_cond_broadcast(&b->cond);
    fold_lock_drop(&b->lock);
    if (rc < 0)
        fold_error("segments: making file names durable failed: %s", fold_err_text(rc));
    return rc;
}

int fold_barrier_sync_one(struct fold_barrier *b, struct fold_segment *s)
{
    int rc = fold_segment_sync(s);
    if (rc < 0 && fold_segment_failed(s) < 0)
        set_error(b, rc);
    return rc < 0 ? rc : sync_names(b);
}

/* Copies the segments with bytes that are not durable; *out is malloc'd. */
static int pending(struct fold_barrier *b, struct fold_segment ***out, size_t *n)
{
    fold_lock_take(&b->lock);
    struct fold_segment **list = malloc((b->count + 1) * sizeof *list);
    *n = 0;
    for (size_t i = 0; list != NULL && i < b->count; i++) {
        struct fold_segment *s = b->segs[i].seg;
        if (fold_segment_synced(s) < atomic_load(&fold_segment_info(s)->data_end)) {
            fold_segment_ref(s);
            list[(*n)++] = s;
        }
    }
    fold_lock_drop(&b->lock);
    *out = list;
    return list != NULL ? 0 : -ENOMEM;
}

static int round_run(struct fold_barrier *b)
{
    struct fold_segment **list;
    size_t n;
    int rc = pending(b, &list, &n);
    if (rc < 0)
        return rc;
    for (size_t i = 0; n > 1 && i < n; i++)
        fold_segment_push(list[i]);
    for (size_t i = 0; i < n; i++) {
        int one = fold_segment_sync(list[i]);
        if (one < 0) {
            set_error(b, one);
            rc = rc < 0 ? rc : one;
        }
        fold_segment_unref(list[i]);
    }
    free(list);
    return rc < 0 ? rc : sync_names(b);
}

int fold_barrier_sync(struct fold_barrier *b)
{
    int rc = 0;
    fold_lock_take(&b->lock);
    uint64_t mine = b->started + 1;
    while (b->finished < mine && rc == 0) {
        if (b->started > b->finished) {
            (void)fold_lock_wait(&b->lock, &b->cond, NULL);
            continue;
        }
        uint64_t number = ++b->started;
        fold_lock_drop(&b->lock);
        rc = round_run(b);
        fold_lock_take(&b->lock);
        if (rc == -ENOMEM)
            b->started--; /* the round did nothing; whoever waits leads the next one */
        else
            b->finished = number;
        (void)pthread_cond_broadcast(&b->cond);
    }
    fold_lock_drop(&b->lock);
    return rc < 0 ? rc : fold_barrier_error(b);
}

/* One piece: what segment `s` has beyond what is safe. */
static int log_segment(struct fold_segment *s, struct fold_wr *w, struct fold_dep *mark)
{
    const struct fold_seg *info = fold_segment_info(s);
    uint32_t end = atomic_load_explicit(&info->data_end, memory_order_acquire);
    uint32_t from = fold_segment_safe(s);
    *mark = (struct fold_dep){info->ident.seg, end};
    if (from >= end)
        return 0;
    uint32_t len = end - from;
    if ((size_t)(w->end - w->p) < 12 + (size_t)len || fold_segment_failed(s) < 0)
        return -E2BIG;
    fold_wr_u32(w, info->ident.seg);
    fold_wr_u32(w, from);
    fold_wr_u32(w, len);
    int rc = fold_segment_read(s, from, w->p, len);
    if (rc == 0)
        w->p += len;
    return rc;
}

int fold_barrier_unlogged(struct fold_barrier *b, void *buf, size_t cap, size_t *len,
                          struct fold_dep marks[FOLD_STORE_MAX_DEPS], size_t *count)
{
    fold_lock_take(&b->lock);
    bool fresh = b->entries_synced < b->entries_made;
    fold_lock_drop(&b->lock);
    struct fold_segment **list;
    size_t n;
    int rc = fresh ? -E2BIG : pending(b, &list, &n);
    if (rc < 0)
        return rc;
    struct fold_wr w = fold_wr_init(buf, cap);
    if (n > FOLD_STORE_MAX_DEPS || fold_barrier_error(b) < 0)
        rc = -E2BIG;
    for (size_t i = 0; i < n; i++) {
        if (rc == 0)
            rc = log_segment(list[i], &w, &marks[i]);
        fold_segment_unref(list[i]);
    }
    free(list);
    *len = fold_wr_len(&w);
    *count = n;
    return rc;
}

void fold_barrier_logged(struct fold_barrier *b, const struct fold_dep *marks, size_t count)
{
    fold_lock_take(&b->lock);
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; i < b->count; i++)
            if (fold_segment_info(b->segs[i].seg)->ident.seg == marks[k].seg)
                fold_segment_logged(b->segs[i].seg, marks[k].end);
    fold_lock_drop(&b->lock);
}

/* Most dependencies that are named. */
static size_t deps_max(void)
{
    return (size_t)FOLD_MIN(fold_knobs.store_deps, (uint64_t)FOLD_STORE_MAX_DEPS);
}

/* Returns the number of dependencies; those beyond the most are counted, not stored. */
static size_t list_deps(struct fold_barrier *b, struct fold_dep deps[FOLD_STORE_MAX_DEPS])
{
    size_t n = 0;
    fold_lock_take(&b->lock);
    for (size_t i = 0; i < b->count; i++) {
        const struct watched *w = &b->segs[i];
        const struct fold_seg *info = fold_segment_info(w->seg);
        uint32_t end = atomic_load_explicit(&info->data_end, memory_order_acquire);
        /* Bytes that are on the disk are of no use while the file's name is not. */
        if (fold_segment_synced(w->seg) >= end && b->entries_synced >= w->entry)
            continue;
        if (n < deps_max())
            deps[n] = (struct fold_dep){info->ident.seg, end};
        n++;
    }
    fold_lock_drop(&b->lock);
    return n;
}

int fold_barrier_deps(struct fold_barrier *b, struct fold_dep deps[FOLD_STORE_MAX_DEPS],
                      size_t *count)
{
    size_t n = list_deps(b, deps);
    if (n > deps_max()) {
        int rc = fold_barrier_sync(b);
        if (rc < 0)
            return rc;
        n = 0; /* what was put meanwhile is nothing the caller can need */
    }
    *count = n;
    return 0;
}
