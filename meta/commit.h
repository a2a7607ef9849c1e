/* SPDX-License-Identifier: MIT */
/*
 * The inside of the catalog and of a transaction, for the files that make up the catalog (catalog,
 * commit, checkpoint and the tables). Everyone else uses meta/catalog.h.
 */
#ifndef FOLD_META_COMMIT_H
#define FOLD_META_COMMIT_H

#include "meta/base/lock.h"
#include "meta/catalog.h"
#include "meta/journal.h"
#include "meta/keys.h"
#include "meta/kv.h"
#include "meta/namehash.h"
#include "meta/recent.h"

#include <stdatomic.h>

struct fold_catalog {
    /* Fixed after open. */
    struct fold_kv *kv;
    struct fold_buckets *buckets;
    struct fold_recent *recent; /* between commits and kv: entries are read through it */
    struct fold_journal *journal;
    struct fold_store *store;
    struct fold_shadow *shadow; /* read-only: the private copy of the database */
    int dirfd;
    struct fold_namehash names;
    uint64_t journal_bytes;
    bool read_only;
    bool has_thread;
    pthread_t thread; /* checkpoints in the background; owned by open and close */

    struct fold_lock
        commit; /* order of commits: lsn, totals, journal append and database write go together */
    _Atomic fold_lsn lsn;     /* newest commit; written under commit */
    _Atomic uint64_t pending; /* journal bytes since the last checkpoint; written under commit */
    _Atomic uint64_t next_ino;
    _Atomic uint64_t files, directories, others, logical_bytes; /* written under commit */

    _Atomic fold_lsn durable;
    _Atomic int sick; /* 0, or the error after which nothing is accepted any more */

    struct fold_lock state; /* leaf: the fields below */
    pthread_cond_t changed; /* any of them changed */
    bool syncing;           /* a thread is making commits durable for all */
    bool checkpointing;     /* a thread is in fold_catalog_checkpoint */
    bool wanted;            /* the background thread is asked for a checkpoint */
    bool stopping;
    int checkpoint_rc; /* result of the last checkpoint */
    fold_lsn flushed;  /* the database on disk holds the commits up to here */
};

/* A directory bucket as the transaction left it. */
struct fold_txn_bucket {
    struct fold_txn_bucket *next;
    fold_ino dir;
    uint64_t hash; /* number of the bucket */
    uint8_t *data;
    size_t len; /* 0: removed */
};

struct fold_txn {
    struct fold_catalog *catalog;
    struct fold_kv_batch *batch;
    struct fold_txn_bucket *buckets;
    bool has_pages; /* recipe pages were put */
    int64_t files, directories, others, logical_bytes;
};

/* How the database of the catalog is opened; 0 = the default. */
struct fold_kv_options fold_catalog_kv_options(uint64_t cache_bytes, uint64_t journal_bytes);

/* Value of FOLD_KEY_COUNTERS and note of each journal record. */
#define FOLD_COUNTERS_MAX 80 /* at most FOLD_JOURNAL_NOTE_MAX */
size_t fold_counters_encode(uint8_t out[FOLD_COUNTERS_MAX], fold_lsn applied,
                            const struct fold_counters *sum);
int fold_counters_decode(const void *data, size_t len, fold_lsn *applied,
                         struct fold_counters *sum) FOLD_MUST;

/* Puts lsn and totals into the database; before each flush, with commits held off. */
int fold_counters_store(struct fold_catalog *c) FOLD_MUST;

/* Stops accepting commits for good; logs the first time. Returns `rc`. */
int fold_catalog_fail(struct fold_catalog *c, int rc, const char *what);

/* Asks the background thread for a checkpoint. */
void fold_checkpoint_want(struct fold_catalog *c);

/* Waits while the journal is far larger than it should be. 0 or why it cannot shrink. */
int fold_checkpoint_throttle(struct fold_catalog *c) FOLD_MUST;

int fold_checkpoint_start(struct fold_catalog *c) FOLD_MUST; /* starts the thread */
void fold_checkpoint_stop(struct fold_catalog *c);

/* Points at which a crash test may stop the process. */
enum fold_step {
    FOLD_STEP_STORE_SYNCED = 1, /* checkpoint: data durable, lock not taken */
    FOLD_STEP_JOURNAL_SYNCED,   /* everything durable, old journal still current */
    FOLD_STEP_ROTATED,          /* new journal current, flush not started */
    FOLD_STEP_FLUSHING,         /* flush started, commits go on */
    FOLD_STEP_FLUSHED,          /* database durable, old journal still there */
    FOLD_STEP_RETIRED,          /* old journal gone */
    FOLD_STEP_APPENDED,         /* commit: in the journal, not in the database */
    FOLD_STEP_REPLAYED,         /* open: replayed, old journal still there */
    FOLD_STEP_RESTARTED         /* open: fresh journal */
};

/* Test seam: called at each step. Set before threads start; NULL removes it. */
typedef void (*fold_step_hook)(void *arg, enum fold_step step);
void fold_step_set_hook(fold_step_hook hook, void *arg);
void fold_step(enum fold_step step);

/*
 * Appends what the store has not safe yet to the journal, if that is little: 0 and *marks (to be
 * given to fold_store_logged once the journal is synced); -E2BIG if the store must be synced
 * instead; other errors as fold_txn_commit.
 */
int fold_commit_redo(struct fold_catalog *c, struct fold_dep marks[FOLD_STORE_MAX_DEPS],
                     size_t *count) FOLD_MUST;

#endif
