/* SPDX-License-Identifier: MIT */
/*
 * Transactions and the one place where they enter journal and database.
 *
 * Under the commit lock: number the commit, name the data it needs, append the batch to the journal
 * (page cache), put its entries among those of the recent commits, which the database gets many at
 * a time (meta/recent.h). The totals travel as a note of the journal record and enter the database
 * with each flush. If the append fails nothing has changed. If the database refuses what it is
 * given, the commit is refused, too, and a record that the journal has already is taken back;
 * unless it was for lack of space, the catalog accepts nothing any more, because its memory is in
 * doubt.
 */
#include "meta/commit.h"

#include "meta/base/bytes.h"
#include "meta/base/err.h"
#include "meta/base/log.h"
#include "meta/buckets.h"
#include "meta/redo.h"

#include <assert.h>

#define COUNTERS_VERSION 1

static fold_step_hook step_hook; /* fixed while threads run */
static void *step_arg;

void fold_step_set_hook(fold_step_hook hook, void *arg)
{
    step_hook = hook;
    step_arg = arg;
}

void fold_step(enum fold_step step)
{
    if (FOLD_UNLIKELY(step_hook != NULL))
        step_hook(step_arg, step);
}

size_t fold_counters_encode(uint8_t out[FOLD_COUNTERS_MAX], fold_lsn applied,
                            const struct fold_counters *sum)
{
    struct fold_wr w = fold_wr_init(out, FOLD_COUNTERS_MAX);
    fold_wr_u8(&w, COUNTERS_VERSION);
    fold_wr_varint(&w, applied);
    fold_wr_varint(&w, sum->next_ino);
    fold_wr_varint(&w, sum->files);
    fold_wr_varint(&w, sum->directories);
    fold_wr_varint(&w, sum->others);
    fold_wr_varint(&w, sum->logical_bytes);
    assert(!w.bad);
    return fold_wr_len(&w);
}

int fold_counters_decode(const void *data, size_t len, fold_lsn *applied, struct fold_counters *sum)
{
    struct fold_rd r = fold_rd_init(data, len);
    uint8_t version = fold_rd_u8(&r);
    fold_lsn lsn = fold_rd_varint(&r);
    struct fold_counters v;
    v.next_ino = fold_rd_varint(&r);
    v.files = fold_rd_varint(&r);
    v.directories = fold_rd_varint(&r);
    v.others = fold_rd_varint(&r);
    v.logical_bytes = fold_rd_varint(&r);
    if (!fold_rd_done(&r) || version != COUNTERS_VERSION || v.next_ino <= FOLD_INO_ROOT)
        return -FOLD_E_BAD_CATALOG;
    *applied = lsn;
    *sum = v;
    return 0;
}

int fold_counters_store(struct fold_catalog *c)
{
    struct fold_counters sum;
    fold_catalog_counters(c, &sum);
    uint8_t value[FOLD_COUNTERS_MAX];
    size_t len = fold_counters_encode(value, atomic_load(&c->lsn), &sum);
    int rc = fold_recent_hand_over(c->recent);
    if (rc < 0)
        return rc;
    struct fold_kv_batch *b = fold_kv_batch_create();
    fold_kv_batch_put(b, FOLD_KEY_COUNTERS, sizeof FOLD_KEY_COUNTERS - 1, value, len);
    rc = fold_kv_write(c->kv, b);
    fold_kv_batch_destroy(b);
    return rc;
}

int fold_catalog_fail(struct fold_catalog *c, int rc, const char *what)
{
    int healthy = 0;
    if (atomic_compare_exchange_strong(&c->sick, &healthy, rc))
        fold_error(
            "catalog: %s: %s; no more changes are accepted until the volume is mounted again", what,
            fold_err_text(rc));
    return rc;
}

struct fold_txn *fold_txn_begin(struct fold_catalog *c)
{
    struct fold_txn *t = calloc(1, sizeof *t);
    if (t == NULL)
        abort();
    t->catalog = c;
    t->batch = fold_kv_batch_create();
    return t;
}

void fold_txn_abort(struct fold_txn *t)
{
    if (t == NULL)
        return;
    while (t->buckets != NULL) {
        struct fold_txn_bucket *b = t->buckets;
        t->buckets = b->next;
        free(b->data);
        free(b);
    }
    fold_kv_batch_destroy(t->batch);
    free(t);
}

void fold_txn_count(struct fold_txn *t, int64_t files, int64_t directories, int64_t others,
                    int64_t logical_bytes)
{
    t->files += files;
    t->directories += directories;
    t->others += others;
    t->logical_bytes += logical_bytes;
}

/* Totals never go below zero: a wrong total must not look like a huge one. */
static uint64_t add_signed(const _Atomic uint64_t *total, int64_t delta)
{
    uint64_t v = atomic_load_explicit(total, memory_order_relaxed);
    uint64_t sum = v + (uint64_t)delta;
    return delta < 0 && sum > v ? 0 : sum;
}

static int commit_locked(struct fold_catalog *c, struct fold_txn *t, fold_lsn *lsn)
    FOLD_REQUIRES(c->commit)
{
    if (atomic_load(&c->sick) != 0)
        return -FOLD_E_SICK;
    int rc = fold_recent_make_room(c->recent, t->batch);
    if (rc < 0)
        return rc == -ENOSPC ? rc : fold_catalog_fail(c, rc, "the database refused commits");
    fold_lsn next = atomic_load_explicit(&c->lsn, memory_order_relaxed) + 1;
    struct fold_counters sum = {
        .next_ino = atomic_load(&c->next_ino),
        .files = add_signed(&c->files, t->files),
        .directories = add_signed(&c->directories, t->directories),
        .others = add_signed(&c->others, t->others),
        .logical_bytes = add_signed(&c->logical_bytes, t->logical_bytes),
    };
    uint8_t value[FOLD_COUNTERS_MAX];
    size_t value_len = fold_counters_encode(value, next, &sum);

    struct fold_dep deps[FOLD_STORE_MAX_DEPS];
    struct fold_journal_record rec = {
        .lsn = next, .deps = deps, .note = value, .note_len = value_len};
    rc = fold_store_deps(c->store, deps, &rec.ndeps);
    if (rc < 0)
        return rc;
    rec.data = fold_kv_batch_data(t->batch, &rec.len);
    rc = fold_journal_append(c->journal, &rec);
    if (rc == -FOLD_E_SICK)
        return fold_catalog_fail(c, rc, "the journal could not be restored after a failed write");
    if (rc < 0)
        return rc;
    fold_step(FOLD_STEP_APPENDED);
    rc = fold_recent_add(c->recent, t->batch);
    if (rc < 0) {
        /* Out of space is a refusal before anything was done; it passes. Else the database's memory
         * is in doubt. */
        int undo = fold_journal_take_back(c->journal);
        if (rc != -ENOSPC || undo < 0)
            (void)fold_catalog_fail(c, rc, "the database refused a commit");
        return undo < 0 ? undo : rc;
    }
    for (const struct fold_txn_bucket *b = t->buckets; b != NULL; b = b->next)
        fold_buckets_change(c->buckets, b->dir, b->hash, b->data, b->len);
    atomic_store_explicit(&c->files, sum.files, memory_order_relaxed);
    atomic_store_explicit(&c->directories, sum.directories, memory_order_relaxed);
    atomic_store_explicit(&c->others, sum.others, memory_order_relaxed);
    atomic_store_explicit(&c->logical_bytes, sum.logical_bytes, memory_order_relaxed);
    atomic_store(&c->pending, fold_journal_pending(c->journal));
    atomic_store(&c->lsn, next);
    *lsn = next;
    return 0;
}

static int append_redo_locked(struct fold_catalog *c, const void *data, size_t len)
    FOLD_REQUIRES(c->commit)
{
    if (atomic_load(&c->sick) != 0)
        return -FOLD_E_SICK;
    fold_lsn next = atomic_load_explicit(&c->lsn, memory_order_relaxed) + 1;
    struct fold_counters sum;
    fold_catalog_counters(c, &sum);
    uint8_t value[FOLD_COUNTERS_MAX];
    struct fold_journal_record rec = {.lsn = next, .note = value, .data = data, .len = len};
    rec.note_len = fold_counters_encode(value, next, &sum);
    int rc = fold_journal_append(c->journal, &rec);
    if (rc == -FOLD_E_SICK)
        return fold_catalog_fail(c, rc, "the journal could not be restored after a failed write");
    if (rc == 0) {
        atomic_store(&c->pending, fold_journal_pending(c->journal));
        atomic_store(&c->lsn, next);
    }
    return rc;
}

int fold_commit_redo(struct fold_catalog *c, struct fold_dep marks[FOLD_STORE_MAX_DEPS],
                     size_t *count)
{
    FOLD_AUTO(free) uint8_t *buf = malloc(FOLD_REDO_MAX);
    if (buf == NULL)
        return -E2BIG;
    struct fold_wr w = fold_wr_init(buf, FOLD_REDO_MAX);
    fold_wr_u64(&w, FOLD_REDO_MAGIC);
    size_t len;
    int rc =
        fold_store_unlogged(c->store, w.p, FOLD_REDO_MAX - fold_wr_len(&w), &len, marks, count);
    if (rc < 0 || len == 0)
        return rc;
    fold_lock_take(&c->commit);
    rc = append_redo_locked(c, buf, fold_wr_len(&w) + len);
    fold_lock_drop(&c->commit);
    return rc;
}

int fold_txn_commit(struct fold_txn *t, fold_lsn *lsn)
{
    struct fold_catalog *c = t->catalog;
    int rc = c->read_only ? -EROFS : 0;
    if (rc == 0 && atomic_load(&c->pending) > 4 * c->journal_bytes)
        rc = fold_checkpoint_throttle(c);
    if (rc == 0) {
        fold_lock_take(&c->commit);
        rc = commit_locked(c, t, lsn);
        fold_lock_drop(&c->commit);
    }
    if (rc == 0 && atomic_load(&c->pending) > c->journal_bytes)
        fold_checkpoint_want(c);
    fold_txn_abort(t);
    return rc;
}
