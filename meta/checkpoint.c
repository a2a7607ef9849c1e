/* SPDX-License-Identifier: MIT */
/*
 * Making commits durable: group sync of store and journal, and checkpoints, which move commits from
 * the journal into the database's files.
 *
 * Sync: whoever comes first leads, makes everything committed so far durable, and answers for all
 * who waited. Store and journal may reach the disk in any order, because replay verifies that the
 * data of a commit is there.
 *
 * Checkpoint: what the database writes to disk must be a prefix of the commits whose data is
 * durable. So with commits held off, data and journal are synced, the journal rotates and the
 * database switches its memtable; the writing itself goes on beside new commits. Only when it is
 * done may the old journal go.
 *
 * A failed sync is final: the host may have dropped the pages, so nothing later could make up for
 * it.
 */
#include "meta/commit.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/knob.h"
#include "meta/base/log.h"

/* One flush of the journal where there is little data, else one of the segments and one of the
 * journal. */
static int sync_commits(struct fold_catalog *c)
{
    struct fold_dep marks[FOLD_STORE_MAX_DEPS];
    size_t count = 0;
    int rc = fold_commit_redo(c, marks, &count);
    bool logged = rc == 0;
    if (!logged)
        rc = fold_store_sync(c->store);
    if (rc == 0)
        rc = fold_journal_sync(c->journal);
    if (rc == 0 && logged)
        fold_store_logged(c->store, marks, count);
    return rc;
}

int fold_catalog_sync(struct fold_catalog *c, fold_lsn lsn)
{
    int rc = 0;
    fold_lock_take(&c->state);
    while (atomic_load(&c->durable) < lsn) {
        rc = atomic_load(&c->sick);
        if (rc != 0)
            break;
        if (c->syncing) {
            (void)fold_lock_wait(&c->state, &c->changed, NULL);
            continue;
        }
        c->syncing = true;
        fold_lock_drop(&c->state);

        fold_lsn target = atomic_load(&c->lsn);
        rc = sync_commits(c);
        if (rc < 0)
            (void)fold_catalog_fail(c, rc, "making commits durable failed");

        fold_lock_take(&c->state);
        c->syncing = false;
        if (rc == 0 && atomic_load(&c->durable) < target)
            atomic_store(&c->durable, target);
        (void)pthread_cond_broadcast(&c->changed);
        if (rc < 0)
            break;
    }
    fold_lock_drop(&c->state);
    return rc;
}

/* All commits, with their data. Only then may the database write them. */
static int make_durable_locked(struct fold_catalog *c) FOLD_REQUIRES(c->commit)
{
    if (atomic_load(&c->sick) != 0)
        return -FOLD_E_SICK;
    int rc = fold_store_sync(c->store);
    if (rc == 0)
        rc = fold_journal_sync(c->journal);
    return rc < 0 ? fold_catalog_fail(c, rc, "making commits durable failed") : 0;
}

/* The part that holds commits off: *upto is the newest commit the flush will contain. */
static int begin_flush(struct fold_catalog *c, fold_lsn *upto)
{
    fold_lock_take(&c->commit);
    fold_lsn lsn = atomic_load(&c->lsn);
    int rc = make_durable_locked(c);
    if (rc == 0) {
        fold_step(FOLD_STEP_JOURNAL_SYNCED);
        fold_journal_rotate(c->journal);
        fold_step(FOLD_STEP_ROTATED);
        rc = fold_counters_store(c);
        if (rc == 0)
            rc = fold_kv_flush(c->kv, false);
    }
    fold_lock_drop(&c->commit);
    *upto = lsn;
    return rc;
}

static void note_durable(struct fold_catalog *c, fold_lsn lsn)
{
    fold_lock_take(&c->state);
    if (atomic_load(&c->durable) < lsn)
        atomic_store(&c->durable, lsn);
    (void)pthread_cond_broadcast(&c->changed);
    fold_lock_drop(&c->state);
}

/* A database that runs out of space while it writes refuses commits: do not let it start. */
static int room_to_flush(struct fold_catalog *c)
{
    uint64_t space;
    int rc = fold_io_space(c->dirfd, &space);
    if (rc < 0)
        return rc;
    return space < atomic_load(&c->pending) + fold_knobs.checkpoint_slack_bytes ? -FOLD_E_FULL : 0;
}

static int checkpoint(struct fold_catalog *c, fold_lsn *flushed)
{
    int rc = atomic_load(&c->sick) != 0 ? -FOLD_E_SICK : room_to_flush(c);
    if (rc == 0)
        rc = fold_journal_prepare(c->journal);
    if (rc < 0)
        return rc;
    /* Most of the data goes out here; what is left for the lock is what arrived meanwhile. */
    rc = fold_store_sync(c->store);
    if (rc < 0)
        return fold_catalog_fail(c, rc, "making data durable failed");
    fold_step(FOLD_STEP_STORE_SYNCED);
    fold_lsn upto;
    rc = begin_flush(c, &upto);
    if (rc < 0)
        return rc;
    note_durable(c, upto);
    fold_step(FOLD_STEP_FLUSHING);
    rc = fold_kv_flush_wait(c->kv);
    if (rc < 0)
        return rc;
    fold_step(FOLD_STEP_FLUSHED);
    fold_journal_retire(c->journal);
    fold_lock_take(&c->commit);
    atomic_store(&c->pending, fold_journal_pending(c->journal));
    fold_lock_drop(&c->commit);
    fold_step(FOLD_STEP_RETIRED);
    *flushed = upto;
    return 0;
}

int fold_catalog_checkpoint(struct fold_catalog *c)
{
    if (c->read_only)
        return 0;
    fold_lsn goal = atomic_load(&c->lsn);
    fold_lock_take(&c->state);
    while (c->checkpointing)
        (void)fold_lock_wait(&c->state, &c->changed, NULL);
    int rc = 0;
    if (c->flushed < goal) {
        fold_lsn flushed = c->flushed;
        c->checkpointing = true;
        fold_lock_drop(&c->state);
        rc = checkpoint(c, &flushed);
        fold_lock_take(&c->state);
        if (rc < 0 && rc != c->checkpoint_rc)
            fold_error("catalog: checkpoint failed: %s", fold_err_text(rc));
        c->checkpointing = false;
        c->checkpoint_rc = rc;
        c->flushed = flushed;
        (void)pthread_cond_broadcast(&c->changed);
    }
    fold_lock_drop(&c->state);
    return rc;
}

void fold_checkpoint_want(struct fold_catalog *c)
{
    fold_lock_take(&c->state);
    if (!c->wanted) {
        c->wanted = true;
        (void)pthread_cond_broadcast(&c->changed);
    }
    fold_lock_drop(&c->state);
}

int fold_checkpoint_throttle(struct fold_catalog *c)
{
    /* The background thread does the work; a failure is reported once per attempt, so writers fail
     * instead of hanging. */
    fold_lock_take(&c->state);
    c->checkpoint_rc = 0;
    c->wanted = true;
    (void)pthread_cond_broadcast(&c->changed);
    int rc = 0;
    while (rc == 0 && atomic_load(&c->pending) > 4 * c->journal_bytes) {
        if (atomic_load(&c->sick) != 0)
            rc = -FOLD_E_SICK;
        else if (c->checkpoint_rc < 0)
            rc = c->checkpoint_rc;
        else if (c->stopping)
            break;
        else
            (void)fold_lock_wait(&c->state, &c->changed, NULL);
    }
    fold_lock_drop(&c->state);
    return rc;
}

static void *run(void *arg)
{
    struct fold_catalog *c = arg;
    fold_lock_take(&c->state);
    while (!c->stopping) {
        if (!c->wanted) {
            (void)fold_lock_wait(&c->state, &c->changed, NULL);
            continue;
        }
        c->wanted = false;
        fold_lock_drop(&c->state);
        int rc = fold_catalog_checkpoint(c);
        fold_lock_take(&c->state);
        /* Whoever asked meanwhile may still wait: for what was too much all the same, or for the
         * outcome of another try. */
        if (rc == 0)
            c->wanted = atomic_load(&c->pending) > c->journal_bytes;
        if (rc < 0 && !c->stopping) {
            /* Commits keep asking: once a second is often enough for a disk that says no. */
            struct timespec until;
            (void)clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += 1;
            while (!c->stopping && fold_lock_wait(&c->state, &c->changed, &until) == 0)
                continue;
        }
    }
    fold_lock_drop(&c->state);
    return NULL;
}

/* Merging begins with a flush: what it takes along must be durable, and no commit may slip in. */
static int merge(struct fold_catalog *c, bool (*cancelled)(void *arg), void *arg)
{
    struct fold_kv_merge *m = NULL;
    fold_lock_take(&c->commit);
    int rc = make_durable_locked(c);
    if (rc == 0)
        rc = fold_counters_store(c);
    if (rc == 0)
        rc = fold_kv_merge_start(c->kv, &m);
    fold_lock_drop(&c->commit);
    return rc == 0 ? fold_kv_merge_wait(m, cancelled, arg) : rc;
}

int fold_catalog_shrink(struct fold_catalog *c, bool (*cancelled)(void *arg), void *arg)
{
    if (c->read_only)
        return 0;
    int rc = 0;
    fold_journal_lean(c->journal, true);
    /* Twice: the file in use and the spare one change places. */
    for (unsigned round = 0; rc == 0 && round < 2; round++) {
        fold_lsn lsn;
        rc = fold_txn_commit(fold_txn_begin(c), &lsn);
        if (rc == 0)
            rc = fold_catalog_checkpoint(c);
    }
    fold_journal_lean(c->journal, false);
    /* Compacting writes everything once more before it frees anything. */
    uint64_t space;
    if (rc == 0)
        rc = fold_io_space(c->dirfd, &space);
    if (rc == 0 && space > fold_catalog_merge_room(c) + fold_knobs.checkpoint_slack_bytes)
        rc = merge(c, cancelled, arg);
    return rc;
}

int fold_checkpoint_start(struct fold_catalog *c)
{
    int rc = pthread_create(&c->thread, NULL, run, c);
    c->has_thread = rc == 0;
    return -rc;
}

void fold_checkpoint_stop(struct fold_catalog *c)
{
    if (!c->has_thread)
        return;
    fold_lock_take(&c->state);
    c->stopping = true;
    (void)pthread_cond_broadcast(&c->changed);
    fold_lock_drop(&c->state);
    (void)pthread_join(c->thread, NULL);
    c->has_thread = false;
}
