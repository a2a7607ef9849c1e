/* SPDX-License-Identifier: MIT */
/*
 * Nobody knows beforehand how recipes are spread over inode numbers. So one walker starts with
 * everything, and whoever has nothing to do is given the second half of what somebody else has
 * before him: of the inodes, or of one large file's pages. Halves may be empty; then it is halved
 * again.
 * Every walker has an iterator of its own. All are opened while no commit can come in between, so
 * they show the same state: an extent that is copied and then removed is met in one place at least.
 */
#include "meta/walk.h"

#include "meta/base/err.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"
#include "meta/base/workers.h"
#include "meta/commit.h"
#include "meta/recent.h"

#include <errno.h>
#include <time.h>

#define WALKERS_MAX 16u
/* No file has more pages. */
#define PAGES_END (UINT64_C(1) << 44)

struct place {
    fold_ino ino;
    uint64_t page;
};

struct range {
    struct place from, to; /* without `to` */
};

struct walk {
    struct fold_catalog *catalog;
    fold_walk_fn fn;
    void *arg;
    struct fold_kv_iter *iters[WALKERS_MAX];
    struct fold_lock lock;
    pthread_cond_t changed;
    struct range spare;      /* guarded by lock */
    bool has_spare;          /* guarded by lock */
    unsigned active;         /* guarded by lock: walkers that have a range */
    _Atomic unsigned hungry; /* walkers that have none; written under lock */
    _Atomic int rc;
    _Atomic uint64_t cpu_ns;
};

static bool before(struct place a, struct place b)
{
    return a.ino != b.ino ? a.ino < b.ino : a.page < b.page;
}

/* A place behind `at` that halves what is left of a range; false if it cannot be halved. */
static bool halve(const struct walk *w, struct place at, struct place to, struct place *mid)
{
    fold_ino next_ino = atomic_load(&w->catalog->next_ino);
    fold_ino end = next_ino > at.ino + 1 && next_ino < to.ino ? next_ino : to.ino;
    if (end - at.ino >= 2) {
        *mid = (struct place){at.ino + (end - at.ino) / 2, 0};
        return true;
    }
    if (to.ino > at.ino && to.page > 0) {
        *mid = (struct place){to.ino, 0};
        return true;
    }
    uint64_t pages = to.ino > at.ino ? PAGES_END : to.page;
    if (pages <= at.page + 1)
        return false;
    *mid = (struct place){at.ino, at.page + (pages - at.page) / 2};
    return true;
}

/* Gives half of what lies before a walker away, if nothing else is there to be taken. */
static void share(struct walk *w, struct place at, struct place *to)
{
    struct place mid;
    if (!halve(w, at, *to, &mid))
        return;
    fold_lock_take(&w->lock);
    if (!w->has_spare) {
        w->spare = (struct range){mid, *to};
        w->has_spare = true;
        *to = mid;
        (void)pthread_cond_signal(&w->changed);
    }
    fold_lock_drop(&w->lock);
}

static int take_page(struct walk *w, const struct fold_kv_entry *e, struct place at,
                     struct fold_page *page)
{
    int rc = fold_page_refill(e->val, e->val_len, at.page, page);
    if (rc == -FOLD_E_BAD_RECIPE)
        fold_error("catalog: inode %llu page %llu: %s", (unsigned long long)at.ino,
                   (unsigned long long)at.page, fold_err_text(rc));
    return rc < 0 ? rc : w->fn(w->arg, at.ino, at.page, page);
}

static int walk_range(struct walk *w, struct fold_kv_iter *it, struct range r)
{
    struct fold_page page = {NULL, 0, 0};
    struct fold_kv_entry e;
    struct fold_key key;
    fold_key_pair(&key, FOLD_TABLE_RECIPE, r.from.ino, r.from.page);
    int rc = fold_kv_iter_seek(it, key.bytes, key.len, &e);
    for (uint32_t n = 1; rc > 0 && atomic_load_explicit(&w->rc, memory_order_relaxed) == 0; n++) {
        struct place at;
        if (!fold_key_read_pair(e.key, e.key_len, FOLD_TABLE_RECIPE, &at.ino, &at.page)) {
            rc = -FOLD_E_BAD_CATALOG;
            break;
        }
        if (!before(at, r.to)) {
            rc = 0;
            break;
        }
        if (n % fold_knobs.walk_look_every == 0 &&
            atomic_load_explicit(&w->hungry, memory_order_relaxed) > 0)
            share(w, at, &r.to);
        rc = take_page(w, &e, at, &page);
        if (rc == 0)
            rc = fold_kv_iter_next(it, &e);
    }
    fold_page_fini(&page);
    return FOLD_MIN(rc, 0);
}

/* The next range for somebody who has none; false when there will be none. */
static bool next_range(struct walk *w, struct range *r)
{
    fold_lock_take(&w->lock);
    atomic_fetch_add(&w->hungry, 1);
    while (!w->has_spare && w->active > 0)
        (void)fold_lock_wait(&w->lock, &w->changed, NULL);
    atomic_fetch_sub(&w->hungry, 1);
    bool has = w->has_spare && atomic_load(&w->rc) == 0;
    if (has) {
        *r = w->spare;
        w->has_spare = false;
        w->active++;
    }
    fold_lock_drop(&w->lock);
    return has;
}

static void range_done(struct walk *w, int rc)
{
    int none = 0;
    if (rc < 0)
        (void)atomic_compare_exchange_strong(&w->rc, &none, rc);
    fold_lock_take(&w->lock);
    w->active--;
    (void)pthread_cond_broadcast(&w->changed);
    fold_lock_drop(&w->lock);
}

static uint64_t thread_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void walker(void *arg, size_t i)
{
    struct walk *w = arg;
    struct range r;
    uint64_t start = thread_ns();
    while (next_range(w, &r))
        range_done(w, walk_range(w, w->iters[i], r));
    atomic_fetch_add(&w->cpu_ns, thread_ns() - start);
}

static int open_iters(struct walk *w, unsigned n)
{
    struct fold_key from, to;
    fold_key_ino(&from, FOLD_TABLE_RECIPE, 0);
    fold_key_table_end(&to, FOLD_TABLE_RECIPE);
    int rc = 0;
    fold_lock_take(&w->catalog->commit);
    for (unsigned i = 0; rc == 0 && i < n; i++)
        rc = fold_recent_iter_open(w->catalog->recent, from.bytes, from.len, to.bytes, to.len, true,
                                   &w->iters[i]);
    fold_lock_drop(&w->catalog->commit);
    return rc;
}

int fold_walk_run(struct fold_catalog *c, struct fold_workers *workers, unsigned walkers,
                  fold_walk_fn fn, void *arg, uint64_t *cpu_ns)
{
    struct walk w = {.catalog = c, .fn = fn, .arg = arg, .has_spare = true};
    unsigned n = workers != NULL ? FOLD_MAX(FOLD_MIN(walkers, WALKERS_MAX), 1u) : 1;
    w.spare.to = (struct place){UINT64_MAX, PAGES_END};
    fold_lock_init(&w.lock, FOLD_RANK_LEAF, "recipe walk");
    fold_cond_init(&w.changed);
    int rc = open_iters(&w, n);
    if (rc == 0 && n == 1)
        walker(&w, 0);
    else if (rc == 0)
        fold_workers_parallel(workers, n, walker, &w);
    for (unsigned i = 0; i < n; i++)
        fold_kv_iter_close(w.iters[i]);
    (void)pthread_cond_destroy(&w.changed);
    fold_lock_fini(&w.lock);
    *cpu_ns = atomic_load(&w.cpu_ns);
    return rc < 0 ? rc : atomic_load(&w.rc);
}
