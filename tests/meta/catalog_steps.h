/* SPDX-License-Identifier: MIT */
/*
 * Numbered commits for tests of the catalog. Every commit i writes one of 16 slots (inodes
 * 100..115) and inode 99; so the content of the catalog tells which prefix of the commits it is,
 * and whether it is exactly one.
 */
#ifndef FOLD_TESTS_META_CATALOG_STEPS_H
#define FOLD_TESTS_META_CATALOG_STEPS_H

#include "tests/meta/catalog_rig.h"

#define SLOTS 16
#define MARK  99

FOLD_UNUSED static int commit_next(struct fold_catalog *c, fold_lsn *lsn)
{
    fold_lsn i = fold_catalog_lsn(c) + 1;
    struct fold_txn *t = fold_txn_begin(c);
    struct fold_attr a = {
        .ino = 100 + i % SLOTS, .mode = S_IFREG | 0644, .size = i, .parent = i * 3};
    fold_inode_store(t, &a);
    a.ino = MARK;
    fold_inode_store(t, &a);
    if (i % 5 == 0)
        fold_orphan_add(t, i);
    fold_txn_count(t, 1, 0, 0, (int64_t)i);
    return fold_txn_commit(t, lsn);
}

FOLD_UNUSED static void commit_many(struct fold_catalog *c, int n)
{
    fold_lsn lsn;
    while (n-- > 0)
        assert_int_equal(commit_next(c, &lsn), 0);
}

struct orphans {
    uint64_t n, last;
};

static int see_orphan(void *arg, fold_ino ino)
{
    struct orphans *o = arg;
    o->n++;
    o->last = ino;
    return 0;
}

/* The prefix the catalog holds; fails the test if it holds none exactly. */
FOLD_UNUSED static fold_lsn prefix(struct fold_catalog *c)
{
    struct fold_attr a;
    fold_lsn p = 0;
    int rc = fold_inode_load(c, MARK, &a);
    if (rc == 0)
        p = a.size;
    else
        assert_int_equal(rc, -ENOENT);
    for (fold_lsn s = 0; s < SLOTS; s++) {
        fold_lsn want = p < s ? 0 : p - (p - s) % SLOTS;
        rc = fold_inode_load(c, 100 + s, &a);
        if (want == 0) {
            assert_int_equal(rc, -ENOENT);
        } else {
            assert_int_equal(rc, 0);
            assert_int_equal(a.size, want);
            assert_int_equal(a.parent, want * 3);
        }
    }
    struct orphans o = {0, 0};
    assert_int_equal(fold_orphan_each(c, see_orphan, &o), 0);
    assert_int_equal(o.n, p / 5);
    assert_int_equal(fold_catalog_lsn(c), p);
    struct fold_counters sum;
    fold_catalog_counters(c, &sum);
    assert_int_equal(sum.files, p);
    assert_int_equal(sum.logical_bytes, p * (p + 1) / 2);
    return p;
}

/* What a filesystem does: commits, syncs, checkpoints, ignoring refusals. Returns the commits
 * acknowledged. */
FOLD_UNUSED static fold_lsn scenario(struct rig *r)
{
    fold_lsn lsn, done = 0;
    for (int i = 0; i < 12; i++) {
        if (commit_next(r->c, &lsn) == 0)
            done = lsn;
        if (i % 4 == 1 && fold_catalog_sync(r->c, done) == 0)
            assert_true(fold_catalog_durable(r->c) >= done);
        if (i % 5 == 2 && fold_catalog_checkpoint(r->c) == 0)
            assert_true(fold_catalog_durable(r->c) >= done);
    }
    return done;
}

#endif
