/* SPDX-License-Identifier: MIT */
/*
 * Segments move through two lists: `full` (to be sealed) and `sealed` (to be indexed). What fails
 * goes back to its list and is tried again after a pause, or at the next flush; a segment whose
 * data cannot be made durable is put aside: it stays readable and its fingerprints stay in the open
 * index until the volume is closed. The thread owns the segments it works on; `lock` guards the
 * lists and is not held across I/O.
 */
#include "meta/sealer.h"

#include "meta/base/err.h"
#include "meta/base/grow.h"
#include "meta/base/knob.h"
#include "meta/base/lock.h"
#include "meta/base/log.h"
#include "meta/gaps.h"

#include <assert.h>
#include <errno.h>
#include <time.h>

#define RETRY_S 1

struct list {
    struct fold_segment **segs;
    size_t count;
    size_t cap;
};

struct fold_sealer {
    struct fold_barrier *barrier;
    struct fold_openindex *open;
    struct fold_index *index;
    pthread_t thread;
    struct fold_lock lock;
    pthread_cond_t work;
    pthread_cond_t idle;
    struct list full;   /* guarded by lock */
    struct list sealed; /* guarded by lock */
    struct list aside;  /* guarded by lock */
    size_t enough;      /* sealed segments that make a load; guarded by lock */
    uint64_t wanted;    /* flushes asked for; guarded by lock */
    uint64_t done;      /* flushes served by a complete pass; guarded by lock */
    unsigned holds;     /* guarded by lock */
    bool loading;       /* guarded by lock */
    bool stop;          /* guarded by lock */
    bool pausing;       /* the last pass failed; guarded by lock */
    int error;          /* of the last pass; guarded by lock */
};

/* Running out of memory for a pointer is the one failure nothing can be done about. */
static void list_push(struct list *l, struct fold_segment *seg)
{
    if (FOLD_GROW(l->segs, l->cap, l->count + 1, 16) < 0)
        abort();
    l->segs[l->count++] = seg;
}

static struct list list_take(struct list *l)
{
    struct list taken = *l;
    *l = (struct list){NULL, 0, 0};
    return taken;
}

static void list_free(struct list *l)
{
    for (size_t i = 0; i < l->count; i++)
        fold_segment_unref(l->segs[i]);
    free(l->segs);
}

/* Seals one segment and files it where it belongs now. */
static int seal_one(struct fold_sealer *s, struct fold_segment *seg)
{
    int rc = fold_segment_table(seg);
    if (rc == 0)
        rc = fold_barrier_sync_one(s->barrier, seg);
    if (rc == 0)
        rc = fold_segment_seal(seg);
    if (rc == 0)
        fold_barrier_remove(s->barrier, seg);
    fold_lock_take(&s->lock);
    if (rc == 0)
        list_push(&s->sealed, seg);
    else if (fold_segment_failed(seg) != 0)
        list_push(&s->aside, seg);
    else
        list_push(&s->full, seg);
    fold_lock_drop(&s->lock);
    return rc;
}

/* Takes the first segment to seal; NULL if there is none or the thread shall end. */
static struct fold_segment *next_full(struct fold_sealer *s)
{
    struct fold_segment *seg = NULL;
    fold_lock_take(&s->lock);
    if (!s->stop && s->full.count > 0) {
        seg = s->full.segs[0];
        s->full.count--;
        memmove(s->full.segs, s->full.segs + 1, s->full.count * sizeof(struct fold_segment *));
        (void)pthread_cond_broadcast(&s->idle);
    }
    fold_lock_drop(&s->lock);
    return seg;
}

/* One try for each of the first `n` segments. */
static int seal_all(struct fold_sealer *s, size_t n)
{
    int first = 0;
    for (size_t i = 0; i < n; i++) {
        struct fold_segment *seg = next_full(s);
        if (seg == NULL)
            break;
        int rc = seal_one(s, seg);
        first = first != 0 ? first : rc;
    }
    return first;
}

/* Builds one load of all entries of the segments. */
static int load_build(const struct list *l, struct fold_index_load *load,
                      struct fold_seg_summary *sums)
{
    size_t total = 0;
    uint32_t count;
    for (size_t i = 0; i < l->count; i++) {
        (void)fold_segment_entries(l->segs[i], &count);
        total += count;
        fold_seg_summarise(fold_segment_info(l->segs[i]), &sums[i]);
    }
    struct fold_index_entry *entries = malloc((total + 1) * sizeof *entries);
    if (entries == NULL)
        return -ENOMEM;
    size_t at = 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct fold_seg_entry *e = fold_segment_entries(l->segs[i], &count);
        for (uint32_t k = 0; k < count; k++)
            if (!fold_seg_entry_gone(&e[k]))
                entries[at++] = (struct fold_index_entry){{e[k].w[0], e[k].w[1]},
                                                          {sums[i].ident.seg, e[k].off}};
    }
    *load = (struct fold_index_load){
        .entries = entries, .count = at, .added = sums, .added_count = l->count};
    return 0;
}

static int load_apply(struct fold_sealer *s, const struct list *l)
{
    struct fold_index_load load;
    struct fold_seg_summary *sums = calloc(l->count, sizeof *sums);
    int rc = sums != NULL ? load_build(l, &load, sums) : -ENOMEM;
    if (rc == 0) {
        rc = fold_index_apply(s->index, &load);
        free(load.entries);
    }
    free(sums);
    return rc;
}

static void forget_open(struct fold_sealer *s, const struct fold_segment *seg)
{
    uint32_t count;
    uint32_t number = fold_segment_info(seg)->ident.seg;
    const struct fold_seg_entry *e = fold_segment_entries(seg, &count);
    for (uint32_t k = 0; k < count; k++)
        if (!fold_seg_entry_gone(&e[k]))
            fold_openindex_remove(s->open, e[k].w, number);
}

/* Indexes what is sealed, if that is enough or somebody wants it now. */
static int index_all(struct fold_sealer *s, bool now)
{
    struct list sealed = {NULL, 0, 0};
    bool behind = fold_index_backlog(s->index) > fold_knobs.merge_backlog;
    fold_lock_take(&s->lock);
    s->enough = behind ? fold_knobs.load_segments_large : fold_knobs.load_segments;
    while (now && s->holds > 0 && !s->stop)
        (void)fold_lock_wait(&s->lock, &s->work, NULL);
    bool due = s->sealed.count >= (now ? 1 : s->enough) && s->holds == 0 && !s->stop;
    if (due) {
        sealed = list_take(&s->sealed);
        s->loading = true;
    }
    fold_lock_drop(&s->lock);
    if (!due)
        return 0;
    int rc = load_apply(s, &sealed);
    for (size_t i = 0; i < sealed.count && rc == 0; i++)
        forget_open(s, sealed.segs[i]);
    fold_lock_take(&s->lock);
    s->loading = false;
    for (size_t i = 0; i < sealed.count && rc < 0; i++) {
        list_push(&s->sealed, sealed.segs[i]);
        sealed.segs[i] = NULL;
    }
    (void)pthread_cond_broadcast(&s->idle);
    fold_lock_drop(&s->lock);
    list_free(&sealed);
    if (rc < 0)
        fold_warn("loading the fingerprint index failed and will be tried again: %s",
                  fold_err_text(rc));
    return rc;
}

static bool has_work_locked(const struct fold_sealer *s)
{
    return s->full.count > 0 || s->wanted > s->done ||
           (s->sealed.count >= s->enough && s->holds == 0);
}

/* After a failure: waits a moment, unless a flush comes. */
static void pause_locked(struct fold_sealer *s)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RETRY_S;
    while (!s->stop && s->wanted == s->done)
        if (fold_lock_wait(&s->lock, &s->work, &until) == -ETIMEDOUT)
            break;
}

static void *run(void *arg)
{
    struct fold_sealer *s = arg;
    fold_lock_take(&s->lock);
    while (!s->stop) {
        if (s->pausing)
            pause_locked(s);
        while (!s->stop && !has_work_locked(s))
            (void)fold_lock_wait(&s->lock, &s->work, NULL);
        uint64_t serving = s->wanted;
        bool now = serving > s->done;
        size_t full = s->full.count;
        fold_lock_drop(&s->lock);
        int rc = seal_all(s, full);
        int indexed = index_all(s, now);
        fold_lock_take(&s->lock);
        s->error = rc < 0 ? rc : indexed;
        s->pausing = s->error < 0;
        s->done = serving;
        (void)pthread_cond_broadcast(&s->idle);
    }
    fold_lock_drop(&s->lock);
    return NULL;
}

int fold_sealer_start(struct fold_barrier *barrier, struct fold_openindex *open,
                      struct fold_index *index, struct fold_sealer **out)
{
    struct fold_sealer *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -ENOMEM;
    s->barrier = barrier;
    s->open = open;
    s->index = index;
    s->enough = fold_knobs.load_segments;
    fold_lock_init(&s->lock, FOLD_RANK_STORE, "sealer");
    fold_cond_init(&s->work);
    fold_cond_init(&s->idle);
    int rc = -pthread_create(&s->thread, NULL, run, s);
    if (rc < 0) {
        fold_lock_fini(&s->lock);
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void fold_sealer_stop(struct fold_sealer *s)
{
    if (s == NULL)
        return;
    fold_lock_take(&s->lock);
    s->stop = true;
    (void)pthread_cond_broadcast(&s->work);
    fold_lock_drop(&s->lock);
    (void)pthread_join(s->thread, NULL);
    list_free(&s->full);
    list_free(&s->sealed);
    list_free(&s->aside);
    (void)pthread_cond_destroy(&s->work);
    (void)pthread_cond_destroy(&s->idle);
    fold_lock_fini(&s->lock);
    free(s);
}

void fold_sealer_submit(struct fold_sealer *s, struct fold_segment *seg)
{
    fold_lock_take(&s->lock);
    list_push(&s->full, seg);
    (void)pthread_cond_signal(&s->work);
    fold_lock_drop(&s->lock);
}

void fold_sealer_adopt(struct fold_sealer *s, struct fold_segment *seg)
{
    fold_lock_take(&s->lock);
    list_push(&s->sealed, seg);
    (void)pthread_cond_signal(&s->work);
    fold_lock_drop(&s->lock);
}

int fold_sealer_throttle(struct fold_sealer *s)
{
    int rc = 0;
    fold_lock_take(&s->lock);
    while (s->full.count > fold_knobs.full_segments && !s->pausing && !s->stop)
        (void)fold_lock_wait(&s->lock, &s->idle, NULL);
    if (s->full.count > fold_knobs.full_segments || s->sealed.count > fold_knobs.sealed_segments)
        rc = s->error;
    fold_lock_drop(&s->lock);
    return rc;
}

int fold_sealer_flush(struct fold_sealer *s)
{
    fold_lock_take(&s->lock);
    uint64_t mine = ++s->wanted;
    (void)pthread_cond_broadcast(&s->work);
    while (s->done < mine && !s->stop)
        (void)fold_lock_wait(&s->lock, &s->idle, NULL);
    int rc = s->error;
    fold_lock_drop(&s->lock);
    return rc;
}

void fold_sealer_hold(struct fold_sealer *s)
{
    fold_lock_take(&s->lock);
    s->holds++;
    while (s->loading)
        (void)fold_lock_wait(&s->lock, &s->idle, NULL);
    fold_lock_drop(&s->lock);
}

void fold_sealer_release(struct fold_sealer *s)
{
    fold_lock_take(&s->lock);
    s->holds--;
    (void)pthread_cond_broadcast(&s->work);
    fold_lock_drop(&s->lock);
}
