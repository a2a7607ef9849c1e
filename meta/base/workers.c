/* SPDX-License-Identifier: MIT */
/*
 * The worker pool: a list of tasks under one lock, one condition variable. Parallel loops share an
 * index by atomic increment; helpers that arrive late find nothing left and go away, so the caller
 * waits only for work begun.
 */
#include "meta/base/workers.h"

#include "meta/base/lock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

struct task {
    struct task *next;
    void (*fn)(void *arg);
    void *arg;
};

struct fold_workers {
    struct fold_lock lock;
    pthread_cond_t wake;
    struct task *head, **tail; /* guarded by lock */
    unsigned idle;             /* guarded by lock */
    bool stop;                 /* guarded by lock */
    unsigned count;
    char name[16];
    pthread_t threads[];
};

struct loop {
    struct fold_lock lock;
    pthread_cond_t done;
    void (*fn)(void *arg, size_t i);
    void *arg;
    size_t n;
    atomic_size_t next;
    unsigned refs;    /* guarded by lock: the caller and every helper task not yet finished */
    unsigned running; /* guarded by lock: threads inside fn */
};

static void *worker_main(void *arg)
{
    struct fold_workers *w = arg;
    pthread_setname_np(pthread_self(), w->name);
    fold_lock_take(&w->lock);
    for (;;) {
        while (w->head == NULL && !w->stop) {
            w->idle++;
            (void)fold_lock_wait(&w->lock, &w->wake, NULL);
            w->idle--;
        }
        struct task *t = w->head;
        if (t == NULL)
            break;
        w->head = t->next;
        if (w->head == NULL)
            w->tail = &w->head;
        fold_lock_drop(&w->lock);
        t->fn(t->arg);
        free(t);
        fold_lock_take(&w->lock);
    }
    fold_lock_drop(&w->lock);
    return NULL;
}

int fold_workers_create(unsigned count, const char *name, struct fold_workers **out)
{
    struct fold_workers *w = calloc(1, sizeof *w + count * sizeof w->threads[0]);
    if (w == NULL)
        return -ENOMEM;
    fold_lock_init(&w->lock, FOLD_RANK_QUEUE, "workers");
    fold_cond_init(&w->wake);
    w->tail = &w->head;
    snprintf(w->name, sizeof w->name, "%s", name);
    for (unsigned i = 0; i < count; i++) {
        int rc = pthread_create(&w->threads[i], NULL, worker_main, w);
        if (rc != 0) {
            fold_workers_destroy(w);
            return -rc;
        }
        w->count++;
    }
    *out = w;
    return 0;
}

void fold_workers_destroy(struct fold_workers *w)
{
    if (w == NULL)
        return;
    fold_lock_take(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->wake);
    fold_lock_drop(&w->lock);
    for (unsigned i = 0; i < w->count; i++)
        pthread_join(w->threads[i], NULL);
    pthread_cond_destroy(&w->wake);
    fold_lock_fini(&w->lock);
    free(w);
}

int fold_workers_submit(struct fold_workers *w, void (*fn)(void *arg), void *arg)
{
    struct task *t = malloc(sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    *t = (struct task){.fn = fn, .arg = arg};
    fold_lock_take(&w->lock);
    *w->tail = t;
    w->tail = &t->next;
    pthread_cond_signal(&w->wake);
    fold_lock_drop(&w->lock);
    return 0;
}

static void loop_run(struct loop *l)
{
    for (;;) {
        size_t i = atomic_fetch_add(&l->next, 1);
        if (i >= l->n)
            return;
        l->fn(l->arg, i);
    }
}

static void loop_unref(struct loop *l)
{
    fold_lock_take(&l->lock);
    bool last = --l->refs == 0;
    fold_lock_drop(&l->lock);
    if (!last)
        return;
    pthread_cond_destroy(&l->done);
    fold_lock_fini(&l->lock);
    free(l);
}

static void loop_help(void *arg)
{
    struct loop *l = arg;
    fold_lock_take(&l->lock);
    bool work = atomic_load(&l->next) < l->n;
    if (work)
        l->running++;
    fold_lock_drop(&l->lock);
    if (work) {
        loop_run(l);
        fold_lock_take(&l->lock);
        l->running--;
        pthread_cond_signal(&l->done);
        fold_lock_drop(&l->lock);
    }
    loop_unref(l);
}

void fold_workers_parallel(struct fold_workers *w, size_t n, void (*fn)(void *arg, size_t i),
                           void *arg)
{
    fold_lock_take(&w->lock);
    size_t helpers = FOLD_MIN((size_t)w->idle, n > 0 ? n - 1 : 0);
    fold_lock_drop(&w->lock);
    struct loop *l = helpers > 0 ? calloc(1, sizeof *l) : NULL;
    if (l == NULL) {
        for (size_t i = 0; i < n; i++)
            fn(arg, i);
        return;
    }
    fold_lock_init(&l->lock, FOLD_RANK_LEAF, "parallel loop");
    fold_cond_init(&l->done);
    l->fn = fn;
    l->arg = arg;
    l->n = n;
    l->refs = 1 + (unsigned)helpers;
    for (size_t i = 0; i < helpers; i++)
        if (fold_workers_submit(w, loop_help, l) != 0)
            loop_unref(l);
    loop_run(l);
    fold_lock_take(&l->lock);
    while (l->running > 0)
        (void)fold_lock_wait(&l->lock, &l->done, NULL);
    fold_lock_drop(&l->lock);
    loop_unref(l);
}
