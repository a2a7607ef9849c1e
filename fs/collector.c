/* SPDX-License-Identifier: MIT */
/*
 * One cycle at a time under `running`. Background cycles copy at a bounded rate; a full one runs as
 * fast as it is told.
 */
#include "fs/collector.h"

#include "fs/ballast.h"
#include "fs/edit.h"
#include "fs/flush.h"
#include "fs/freeze.h"
#include "fs/pagecache.h"
#include "fs/refold.h"
#include "fs/session.h"
#include "fs/waitroom.h"
#include "hashing/dedup.h"
#include "meta/base/err.h"
#include "meta/base/log.h"

#include <errno.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOOK_SECONDS 5
/* What compactions and lookups of the index freed stays with the allocator, tens of megabytes of
 * it, unless it is told to give it back. */
#define TRIM_LOOKS 6u
/* Released bytes that start a cycle: an eighth of all data, but not less than this; less when idle
 * or short of space. */
#define RELEASED_MIN    (256ull << 20)
#define BACKGROUND_RATE (64ull << 20)
#define NICE            10
/* Threads that walk when somebody asked for a collection; by itself it takes one. */
#define WALKERS 4u
/* Recipe pages led to new places in one collection; the next one goes on. */
#define MOVED_MAX (1u << 20)

struct moved_page {
    fold_ino ino;
    uint64_t page_no;
};

struct fold_collector {
    struct fold_session *session;
    struct fold_lock running; /* one cycle at a time; held for all of it */
    struct fold_lock lock;
    pthread_cond_t wake;
    bool stop;           /* guarded by lock */
    atomic_bool pressed; /* somebody waits for space; changed under lock */
    atomic_bool stopping;
    _Atomic uint64_t released; /* since the last cycle began */
    pthread_t thread;
    const struct fold_collect_options *user; /* of the running cycle */
    struct moved_page *moved;                /* of the running cycle */
    size_t moved_count, moved_cap;
    fold_lsn busy_lsn; /* of the running cycle: seen at the last look */
};

static bool cancelled(void *arg)
{
    struct fold_collector *c = arg;
    const struct fold_collect_options *u = c->user;
    return atomic_load(&c->stopping) || (u->cancelled != NULL && u->cancelled(u->arg));
}

static void progress(void *arg, const struct fold_collect_progress *p)
{
    struct fold_collector *c = arg;
    if (c->user->progress != NULL)
        c->user->progress(c->user->arg, p);
}

/* Somebody waits for an fsync, or committed something since the last look. */
static bool busy(void *arg)
{
    struct fold_collector *c = arg;
    fold_lsn lsn = fold_catalog_lsn(c->session->volume->catalog);
    bool moved_on = lsn != c->busy_lsn;
    c->busy_lsn = lsn;
    return moved_on || atomic_load(&c->session->fsyncs) > 0;
}

static void dropped(void *arg, const struct fold_fp *fp)
{
    struct fold_collector *c = arg;
    fold_dedup_forget(c->session->dedup, fp);
}

static void added(void *arg, const struct fold_fp *fp)
{
    struct fold_collector *c = arg;
    fold_dedup_learn(c->session->dedup, fp);
}

static void moved(void *arg, fold_ino ino, uint64_t page_no)
{
    struct fold_collector *c = arg;
    if (c->moved_count == MOVED_MAX)
        return;
    if (c->moved_count == c->moved_cap) {
        size_t cap = c->moved_cap > 0 ? c->moved_cap * 2 : 256;
        struct moved_page *grown = realloc(c->moved, cap * sizeof *grown);
        if (grown == NULL)
            return; /* the table simply lives longer */
        c->moved = grown;
        c->moved_cap = cap;
    }
    c->moved[c->moved_count++] = (struct moved_page){ino, page_no};
}

/* Lets one recipe page name the places where its chunks are now. */
static int lead_page(struct fold_session *s, struct fold_inode *inode, uint64_t page_no)
{
    int rc = fold_inode_freeze(s, inode);
    if (rc != 0)
        return rc;
    struct fold_cached_page *page;
    rc = fold_pagecache_get(s->pages, inode->ino, page_no, &page);
    if (rc == 0) {
        struct fold_edit e;
        fold_edit_begin(&e, s, inode);
        for (uint32_t i = 0; i < page->page.count; i++) {
            struct fold_extent x = page->page.extents[i];
            struct fold_loc to = x.loc;
            if (x.kind == FOLD_EXTENT_DATA)
                to = fold_store_where(s->volume->store, x.loc);
            if (fold_loc_equal(to, x.loc))
                continue;
            x.loc = to;
            fold_edit_extent(&e, &x);
        }
        fold_cached_put(&page->cached);
        fold_lock_take(&inode->lock);
        uint64_t size = inode->disk_size;
        fold_lock_drop(&inode->lock);
        rc = fold_edit_end(&e, size);
    }
    fold_inode_thaw(s, inode);
    return rc;
}

static int lead_recipes(struct fold_collector *c)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->moved_count && !cancelled(c); i++) {
        struct fold_inode *inode;
        rc = fold_itable_get(c->session->inodes, c->moved[i].ino, &inode);
        if (rc == -ESTALE) {
            rc = 0; /* removed meanwhile */
            continue;
        }
        if (rc == 0) {
            rc = lead_page(c->session, inode, c->moved[i].page_no);
            fold_itable_put(c->session->inodes, inode);
        }
    }
    return rc;
}

/* A full host must not keep the collector from making room: what else could be done is done next
 * time. */
static int unless_full(int rc)
{
    return rc == -ENOSPC || rc == -FOLD_E_FULL ? 0 : rc;
}

static int cycle(struct fold_collector *c, const struct fold_collect_options *user,
                 struct fold_collect_result *out)
{
    struct fold_collect_options opt = {
        .full = user->full,
        .hurry = user->hurry,
        .rate = user->rate,
        .workers = c->session->workers,
        .walkers = user->walkers != 0 ? user->walkers : WALKERS,
        .arg = c,
        .progress = progress,
        .cancelled = cancelled,
        .busy = busy,
        .dropped = dropped,
        .added = added,
        .moved = moved,
    };
    struct fold_session *s = c->session;
    c->user = user;
    c->moved_count = 0;
    uint64_t seen = atomic_load(&c->released);
    int rc = fold_collect_run(s->volume->store, s->volume->catalog, s->gate, &opt, out);
    if (rc == 0) {
        atomic_fetch_sub(&c->released, seen);
        if (!user->hurry)
            rc = unless_full(lead_recipes(c)); /* tables simply live longer */
    }
    return rc;
}

/* How often those who wait for a collection to end look whether they still have to. */
#define TURN_MS 50

/* Waits until nobody else collects, unless whoever asked is gone meanwhile. */
static int take_turn(struct fold_collector *c, bool (*gone)(void *arg), void *arg)
    FOLD_TRY(false, c->running)
{
    const struct timespec pause = {.tv_nsec = TURN_MS * 1000000};
    while (!fold_lock_try(&c->running)) {
        if (atomic_load(&c->stopping) || (gone != NULL && gone(arg)))
            return -ECANCELED;
        nanosleep(&pause, NULL);
    }
    return 0;
}

/* For those who wait for space. What is left in segments that are mostly live is looked at only if
 * the rest is not enough. */
static void relieve(struct fold_collector *c)
{
    struct fold_waitroom *room = c->session->waitroom;
    struct fold_collect_options how = {.hurry = true};
    struct fold_collect_result r = {0};
    if (take_turn(c, NULL, NULL) != 0)
        return;
    fold_ballast_adjust(c->session->ballast);
    int rc = cycle(c, &how, &r);
    if (rc == 0 && fold_waitroom_short(room)) {
        how.full = true;
        rc = cycle(c, &how, &r);
    }
    fold_lock_drop(&c->running);
    if (rc != 0 && rc != -ECANCELED)
        fold_warn("collection stopped: %s", fold_err_text(rc));
}

void fold_collector_press(struct fold_collector *c)
{
    if (c == NULL)
        return;
    fold_lock_take(&c->lock);
    atomic_store(&c->pressed, true);
    pthread_cond_broadcast(&c->wake);
    fold_lock_drop(&c->lock);
}

bool fold_collector_may_free(struct fold_collector *c)
{
    return c != NULL && !atomic_load(&c->stopping) &&
           (atomic_load(&c->pressed) || atomic_load(&c->released) >= FOLD_COLLECT_WORTH_BYTES);
}

int fold_collector_run(struct fold_collector *c, const struct fold_collect_options *opt,
                       struct fold_collect_result *out)
{
    bool spared = false; /* a collection is no reason to store half a rewritten file */
    /* Before the turn: a flush without room waits for a collection, which must not wait for it. */
    int rc = opt->full ? unless_full(fold_flush_due(c->session, &spared)) : 0;
    if (rc == 0)
        rc = take_turn(c, opt->cancelled, opt->arg);
    if (rc != 0)
        return rc;
    fold_ballast_adjust(c->session->ballast);
    const struct fold_refold_stop stop = {opt->cancelled, opt->arg};
    if (rc == 0 && opt->full)
        rc = unless_full(
            fold_refolder_run(c->session->refolder, opt->cancelled != NULL ? &stop : NULL));
    if (rc == 0)
        rc = cycle(c, opt, out);
    if (rc == 0 && opt->full) {
        /* Recipes were led away from forwarded places: a second look retires the tables and what
         * was kept for them. */
        struct fold_collect_result again = {0};
        if (c->moved_count > 0 || out->segments_copied > 0)
            rc = cycle(c, opt, &again);
        if (again.segments_seen > 0)
            out->segments_seen = out->segments_removed + again.segments_seen;
        out->freed_bytes += again.freed_bytes;
        out->segments_removed += again.segments_removed;
        out->segments_copied += again.segments_copied;
        out->copied_bytes += again.copied_bytes;
        out->segments_punched += again.segments_punched;
        out->punched_bytes += again.punched_bytes;
        out->tables_retired += again.tables_retired;
        out->garbage_bytes = again.segments_seen > 0 ? again.garbage_bytes : out->garbage_bytes;
        if (rc == 0)
            rc = unless_full(fold_catalog_shrink(c->session->volume->catalog, cancelled, c));
    }
    fold_lock_drop(&c->running);
    return rc;
}

int fold_collector_hold(struct fold_collector *c, bool (*gone)(void *arg), void *arg)
{
    return c != NULL ? take_turn(c, gone, arg) : 0;
}

void fold_collector_release(struct fold_collector *c)
{
    if (c != NULL)
        fold_lock_drop(&c->running);
}

void fold_collector_released(struct fold_collector *c, uint64_t bytes)
{
    if (c != NULL)
        atomic_fetch_add_explicit(&c->released, bytes, memory_order_relaxed);
}

bool fold_collector_due(const struct fold_collector_look *l)
{
    if (l->released >= FOLD_MAX(RELEASED_MIN, l->logical / 8))
        return true;
    if (l->released >= FOLD_COLLECT_IDLE_BYTES && l->idle_seconds >= FOLD_COLLECT_IDLE_SECONDS)
        return true;
    return l->released > 0 && l->host_free < l->host_blocks / 20 &&
           l->since_seconds >= l->pause_seconds;
}

unsigned fold_collector_pause(unsigned before, uint64_t freed)
{
    if (freed >= FOLD_COLLECT_WORTH_BYTES)
        return 0;
    return before == 0 ? FOLD_COLLECT_PAUSE_FIRST : FOLD_MIN(before * 2, FOLD_COLLECT_PAUSE_MOST);
}

/* When cycles start by themselves; of the collector's thread. */
struct pace {
    unsigned idle_seconds, since_seconds, pause_seconds;
};

static bool due(struct fold_collector *c, const struct pace *p)
{
    struct fold_session *s = c->session;
    struct fold_counters counters;
    struct statvfs host;
    fold_catalog_counters(s->volume->catalog, &counters);
    struct fold_collector_look l = {.released = atomic_load(&c->released),
                                    .logical = counters.logical_bytes,
                                    .idle_seconds = p->idle_seconds,
                                    .since_seconds = p->since_seconds,
                                    .pause_seconds = p->pause_seconds,
                                    .host_free = UINT64_MAX};
    if (fstatvfs(s->volume->fd, &host) == 0) {
        l.host_free = host.f_bavail;
        l.host_blocks = host.f_blocks;
    }
    return fold_collector_due(&l);
}

/* By itself it collects behind everybody else, and walks on one thread. Returns what was freed. */
static uint64_t collect_in_background(struct fold_collector *c)
{
    static const struct fold_collect_options how = {.rate = BACKGROUND_RATE, .walkers = 1};
    struct fold_collect_result r;
    int rc = fold_collector_run(c, &how, &r);
    if (rc == 0 && r.segments_removed + r.segments_punched > 0)
        fold_info("collected: %llu segments removed, %llu punched, %llu bytes freed",
                  (unsigned long long)r.segments_removed, (unsigned long long)r.segments_punched,
                  (unsigned long long)(r.freed_bytes + r.punched_bytes));
    else if (rc != 0 && rc != -ECANCELED)
        fold_warn("collection stopped: %s", fold_err_text(rc));
    return rc == 0 ? r.freed_bytes + r.punched_bytes : 0;
}

static void *collector_main(void *arg)
{
    struct fold_collector *c = arg;
    pthread_setname_np(pthread_self(), "fold-collect");
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    fold_lsn seen = 0;
    struct pace pace = {0};
    unsigned looks = 0;
    fold_lock_take(&c->lock);
    while (!c->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += LOOK_SECONDS;
        if (!atomic_load(&c->pressed))
            (void)fold_lock_wait(&c->lock, &c->wake, &until);
        if (c->stop)
            break;
        fold_lock_drop(&c->lock);
        if (atomic_load(&c->pressed)) {
            relieve(c);
            atomic_store(&c->pressed, false);
            fold_waitroom_look(c->session->waitroom);
        }
        if (++looks % TRIM_LOOKS == 0)
            (void)malloc_trim(0);
        fold_ballast_adjust(c->session->ballast);
        fold_lsn lsn = fold_catalog_lsn(c->session->volume->catalog);
        pace.idle_seconds = lsn == seen ? pace.idle_seconds + LOOK_SECONDS : 0;
        pace.since_seconds += LOOK_SECONDS;
        seen = lsn;
        if (due(c, &pace)) {
            pace.pause_seconds = fold_collector_pause(pace.pause_seconds, collect_in_background(c));
            pace.since_seconds = 0;
        }
        fold_lock_take(&c->lock);
    }
    fold_lock_drop(&c->lock);
    return NULL;
}

int fold_collector_create(struct fold_session *s, struct fold_collector **out)
{
    struct fold_collector *c = calloc(1, sizeof *c);
    if (c == NULL)
        return -ENOMEM;
    c->session = s;
    /* What earlier mounts left is not known: a look when nobody is writing, or nothing is left. */
    struct fold_store_info info;
    fold_store_info(s->volume->store, &info);
    atomic_store(&c->released, info.chunks > 0 ? FOLD_COLLECT_IDLE_BYTES : 0);
    fold_lock_init(&c->running, FOLD_RANK_SESSION, "collection");
    fold_lock_init(&c->lock, FOLD_RANK_LEAF, "collector");
    fold_cond_init(&c->wake);
    int rc = pthread_create(&c->thread, NULL, collector_main, c);
    if (rc != 0) {
        free(c);
        return -rc;
    }
    *out = c;
    return 0;
}

void fold_collector_stop(struct fold_collector *c)
{
    if (c == NULL)
        return;
    atomic_store(&c->stopping, true);
    fold_lock_take(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->wake);
    fold_lock_drop(&c->lock);
    pthread_join(c->thread, NULL);
    fold_waitroom_look(c->session->waitroom);
}

void fold_collector_destroy(struct fold_collector *c)
{
    if (c == NULL)
        return;
    pthread_cond_destroy(&c->wake);
    fold_lock_fini(&c->lock);
    fold_lock_fini(&c->running);
    free(c->moved);
    free(c);
}
