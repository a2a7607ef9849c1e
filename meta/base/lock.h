/* SPDX-License-Identifier: MIT */
/*
 * Ranked locks. Every mutex and read-write lock of foldfs has a rank; a thread may only take locks
 * of rising rank. Debug builds (FOLD_LOCK_CHECK) abort with both names on an inversion; release
 * builds are plain pthread locks. The order is explained in docs/LOCKING.md.
 */
#ifndef FOLD_META_BASE_LOCK_H
#define FOLD_META_BASE_LOCK_H

#include "meta/base/attr.h"

#include <pthread.h>
#include <time.h>
#include <stdbool.h>
#include <stdint.h>

/* Taken in this order: a thread holding a lock may take only those further down. */
enum fold_rank {
    FOLD_RANK_SESSION = 10,  /* one collection at a time */
    FOLD_RANK_FLUSH = 20,    /* one flush per inode at a time */
    FOLD_RANK_HANDLE = 25,   /* the position of one open directory */
    FOLD_RANK_DIR = 30,      /* a directory's entries; several at once in inode number order */
    FOLD_RANK_INODE = 40,    /* dirty data and recipe of one inode; several in inode number order */
    FOLD_RANK_ATTR = 45,     /* attributes of one inode; several in inode number order */
    FOLD_RANK_ITABLE = 50,   /* shards of the inode table */
    FOLD_RANK_QUEUE = 60,    /* worker and flusher queues */
    FOLD_RANK_BUDGET = 70,   /* memory budget, parked replies */
    FOLD_RANK_COMMIT = 90,   /* catalog commit order */
    FOLD_RANK_APPEND = 100,  /* one open segment */
    FOLD_RANK_STORE = 110,   /* the set of segments */
    FOLD_RANK_SEGMAP = 120,  /* mappings of segments */
    FOLD_RANK_FILTER = 130,  /* cuckoo filter growth */
    FOLD_RANK_JOURNAL = 140, /* journal file */
    FOLD_RANK_CACHE = 150,   /* shards of caches: decoded chunks, recipe pages, locality */
    FOLD_RANK_LEAF = 200     /* anything that takes no other lock */
};

struct FOLD_CAPABILITY("mutex") fold_lock {
    pthread_mutex_t mutex;
    uint16_t rank;
    const char *name;
};

struct FOLD_CAPABILITY("mutex") fold_rwlock {
    pthread_rwlock_t lock;
    uint16_t rank;
    const char *name;
};

/* `name` must be static storage. Initialisation cannot fail. */
void fold_lock_init(struct fold_lock *l, enum fold_rank rank, const char *name);
void fold_lock_fini(struct fold_lock *l);
void fold_lock_take(struct fold_lock *l) FOLD_ACQUIRE(*l);
bool fold_lock_try(struct fold_lock *l) FOLD_TRY(true, *l);
void fold_lock_drop(struct fold_lock *l) FOLD_RELEASE(*l);

/* Waits on `cond` with the lock held; deadline in CLOCK_MONOTONIC, NULL for none. Returns 0 or
 * -ETIMEDOUT. */
int fold_lock_wait(struct fold_lock *l, pthread_cond_t *cond, const struct timespec *deadline);

/* A condition variable on CLOCK_MONOTONIC. */
void fold_cond_init(pthread_cond_t *cond);

void fold_rwlock_init(struct fold_rwlock *l, enum fold_rank rank, const char *name);
void fold_rwlock_fini(struct fold_rwlock *l);
void fold_rwlock_read(struct fold_rwlock *l) FOLD_NO_ANALYSIS;
void fold_rwlock_write(struct fold_rwlock *l) FOLD_NO_ANALYSIS;
void fold_rwlock_drop(struct fold_rwlock *l) FOLD_NO_ANALYSIS;

#endif
