/* SPDX-License-Identifier: MIT */
/*
 * Ranked locks over pthreads. In checking builds a thread keeps the stack of what it holds and
 * aborts when it takes a lock whose rank is below the highest one held (equal ranks are allowed:
 * callers order them).
 */
#include "meta/base/lock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>

#ifdef FOLD_LOCK_CHECK
#define MAX_HELD 64
static __thread struct {
    const void *lock;
    const char *name;
    uint16_t rank;
} held[MAX_HELD];
static __thread unsigned held_count;

static void note_take(const void *lock, uint16_t rank, const char *name)
{
    for (unsigned i = 0; i < held_count; i++) {
        if (held[i].rank > rank || held[i].lock == lock) {
            fprintf(stderr, "foldfs: lock order: '%s' (%u) taken while '%s' (%u) is held\n", name,
                    rank, held[i].name, held[i].rank);
            abort();
        }
    }
    assert(held_count < MAX_HELD);
    held[held_count].lock = lock;
    held[held_count].name = name;
    held[held_count].rank = rank;
    held_count++;
}

static void note_drop(const void *lock)
{
    for (unsigned i = held_count; i > 0; i--) {
        if (held[i - 1].lock == lock) {
            held[i - 1] = held[held_count - 1];
            held_count--;
            return;
        }
    }
    fprintf(stderr, "foldfs: a lock was dropped that this thread does not hold\n");
    abort();
}
#else
#define note_take(lock, rank, name) ((void)0)
#define note_drop(lock)             ((void)0)
#endif

void fold_lock_init(struct fold_lock *l, enum fold_rank rank, const char *name)
{
    int rc = pthread_mutex_init(&l->mutex, NULL);
    assert(rc == 0);
    (void)rc;
    l->rank = (uint16_t)rank;
    l->name = name;
}

void fold_lock_fini(struct fold_lock *l)
{
    int rc = pthread_mutex_destroy(&l->mutex);
    assert(rc == 0);
    (void)rc;
}

void fold_lock_take(struct fold_lock *l) FOLD_NO_ANALYSIS
{
    note_take(l, l->rank, l->name);
    int rc = pthread_mutex_lock(&l->mutex);
    assert(rc == 0);
    (void)rc;
}

bool fold_lock_try(struct fold_lock *l) FOLD_NO_ANALYSIS
{
    if (pthread_mutex_trylock(&l->mutex) != 0)
        return false;
    note_take(l, l->rank, l->name);
    return true;
}

void fold_lock_drop(struct fold_lock *l) FOLD_NO_ANALYSIS
{
    note_drop(l);
    int rc = pthread_mutex_unlock(&l->mutex);
    assert(rc == 0);
    (void)rc;
}

int fold_lock_wait(struct fold_lock *l, pthread_cond_t *cond, const struct timespec *deadline)
{
    note_drop(l);
    int rc = deadline != NULL ? pthread_cond_timedwait(cond, &l->mutex, deadline)
                              : pthread_cond_wait(cond, &l->mutex);
    note_take(l, l->rank, l->name);
    assert(rc == 0 || rc == ETIMEDOUT);
    return rc == ETIMEDOUT ? -ETIMEDOUT : 0;
}

void fold_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(cond, &attr);
    assert(rc == 0);
    (void)rc;
    pthread_condattr_destroy(&attr);
}

void fold_rwlock_init(struct fold_rwlock *l, enum fold_rank rank, const char *name)
{
    int rc = pthread_rwlock_init(&l->lock, NULL);
    assert(rc == 0);
    (void)rc;
    l->rank = (uint16_t)rank;
    l->name = name;
}

void fold_rwlock_fini(struct fold_rwlock *l)
{
    int rc = pthread_rwlock_destroy(&l->lock);
    assert(rc == 0);
    (void)rc;
}

void fold_rwlock_read(struct fold_rwlock *l)
{
    note_take(l, l->rank, l->name);
    int rc = pthread_rwlock_rdlock(&l->lock);
    assert(rc == 0);
    (void)rc;
}

void fold_rwlock_write(struct fold_rwlock *l)
{
    note_take(l, l->rank, l->name);
    int rc = pthread_rwlock_wrlock(&l->lock);
    assert(rc == 0);
    (void)rc;
}

void fold_rwlock_drop(struct fold_rwlock *l)
{
    note_drop(l);
    int rc = pthread_rwlock_unlock(&l->lock);
    assert(rc == 0);
    (void)rc;
}
