/* SPDX-License-Identifier: MIT */
/*
 * The inode table on a real catalog: references and ghosts against a model, nothing dirty is
 * evicted, and threads that make objects come and go all the time lose no change.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/itable.h"
#include "meta/inode.h"
#include "meta/volume.h"
#include "tests/support/random.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>

#define FIRST_INO 1000

struct rig {
    char path[64];
    struct fold_volume *volume;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void rig_create(struct rig *r)
{
    struct fold_volume_params params = {.chunker = 1, .hash = 1, .codec = 1, .chunk_size = 16384};
    struct fold_volume_options opt = {.store = {.fp_width = 16, .codec = FOLD_CODEC_LZ4}};
    (void)snprintf(r->path, sizeof r->path, "/tmp/fold-test-XXXXXX");
    assert_non_null(mkdtemp(r->path));
    assert_int_equal(fold_volume_format(r->path, &params), 0);
    assert_int_equal(fold_volume_open(r->path, &opt, &r->volume), 0);
}

static void rig_destroy(struct rig *r)
{
    assert_int_equal(fold_volume_close(r->volume, false), 0);
    (void)nftw(r->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void store(struct fold_catalog *c, const struct fold_attr *attr)
{
    struct fold_txn *t = fold_txn_begin(c);
    fold_lsn lsn;
    fold_inode_store(t, attr);
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
}

static void make(struct fold_catalog *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct fold_attr attr = {.ino = FIRST_INO + i, .mode = S_IFREG | 0644, .nlink = 1};
        store(c, &attr);
    }
}

static struct fold_inode *get(struct fold_itable *t, fold_ino ino)
{
    struct fold_inode *inode = NULL;
    assert_int_equal(fold_itable_get(t, ino, &inode), 0);
    assert_non_null(inode);
    assert_int_equal(inode->ino, ino);
    return inode;
}

static void make_ghost(struct fold_itable *t, struct fold_inode *inode)
{
    fold_lock_take(&inode->lock);
    inode->attr.nlink = 0;
    fold_itable_ghost_locked(t, inode);
    fold_lock_drop(&inode->lock);
}

static void test_missing(void **state)
{
    (void)state;
    struct rig r;
    struct fold_itable *t;
    struct fold_inode *inode = NULL;
    rig_create(&r);
    assert_int_equal(fold_itable_create(r.volume->catalog, 64, &t), 0);
    assert_int_equal(fold_itable_get(t, 99999, &inode), -ESTALE);
    assert_int_equal(fold_itable_find(t, FOLD_INO_ROOT, &inode), -ENOENT);
    struct fold_inode *root = get(t, FOLD_INO_ROOT);
    assert_true(S_ISDIR(root->type));
    assert_int_equal(fold_itable_find(t, FOLD_INO_ROOT, &inode), 0);
    assert_ptr_equal(inode, root);
    fold_itable_put(t, inode);
    fold_itable_put(t, root);
    fold_itable_put(t, NULL);
    fold_itable_destroy(t);
    rig_destroy(&r);
}

static void collect(void *arg, struct fold_inode *inode)
{
    uint64_t *seen = arg;
    assert_true(inode->ino - FIRST_INO < 64);
    assert_int_equal(*seen & UINT64_C(1) << (inode->ino - FIRST_INO), 0);
    *seen |= UINT64_C(1) << (inode->ino - FIRST_INO);
}

static void clean(void *arg, struct fold_inode *inode)
{
    (void)arg;
    fold_lock_take(&inode->lock);
    inode->attr_dirty = false;
    fold_lock_drop(&inode->lock);
}

/* With no cache at all, what is dirty stays until it is clean, and is found by each_dirty whether
 * in use or not. */
static void test_dirty_stays(void **state)
{
    (void)state;
    struct rig r;
    struct fold_itable *t;
    struct fold_inode *inode = NULL, *used = NULL;
    rig_create(&r);
    make(r.volume->catalog, 64);
    assert_int_equal(fold_itable_create(r.volume->catalog, 0, &t), 0);
    uint64_t want = 0, seen = 0;
    for (size_t i = 0; i < 64; i++) {
        inode = get(t, FIRST_INO + i);
        if (i % 3 == 0) {
            fold_lock_take(&inode->lock);
            inode->attr.uid = 7;
            inode->attr_dirty = true;
            fold_lock_drop(&inode->lock);
            want |= UINT64_C(1) << i;
        }
        if (i == 30)
            used = inode;
        else
            fold_itable_put(t, inode);
    }
    fold_itable_each_dirty(t, collect, &seen);
    assert_int_equal(seen, want);
    for (size_t i = 0; i < 64; i++) {
        int rc = fold_itable_find(t, FIRST_INO + i, &inode);
        assert_int_equal(rc, i % 3 == 0 ? 0 : -ENOENT);
        if (rc == 0) {
            assert_int_equal(inode->attr.uid, 7);
            fold_itable_put(t, inode);
        }
    }
    fold_itable_each_dirty(t, clean, NULL);
    for (size_t i = 0; i < 64; i++)
        if (i != 30)
            assert_int_equal(fold_itable_find(t, FIRST_INO + i, &inode), -ENOENT);
    fold_itable_put(t, used);
    assert_int_equal(fold_itable_find(t, FIRST_INO + 30, &inode), -ENOENT);
    fold_itable_destroy(t);
    rig_destroy(&r);
}

/* The least recently used go first, and no more are kept than asked for. */
static void test_cache_is_bounded(void **state)
{
    (void)state;
    struct rig r;
    struct fold_itable *t;
    struct fold_inode *inode;
    size_t kept = 0, n = 4000, cached = 640;
    rig_create(&r);
    make(r.volume->catalog, n);
    assert_int_equal(fold_itable_create(r.volume->catalog, cached, &t), 0);
    for (size_t i = 0; i < n; i++) {
        fold_itable_put(t, get(t, FIRST_INO + i));
        fold_itable_put(t, get(t, FIRST_INO)); /* always in use: must survive */
    }
    for (size_t i = 0; i < n; i++) {
        if (fold_itable_find(t, FIRST_INO + i, &inode) == 0) {
            kept++;
            fold_itable_put(t, inode);
        }
    }
    assert_in_range(kept, cached / 2, cached);
    assert_int_equal(fold_itable_find(t, FIRST_INO, &inode), 0);
    fold_itable_put(t, inode);
    fold_itable_destroy(t);
    rig_destroy(&r);
}

#define MODEL_INODES 48
#define MODEL_REFS   6

struct model {
    struct fold_inode *refs[MODEL_REFS];
    unsigned ref_count;
    uint64_t lookups;
    bool ghost;
};

/* Is the object required to be there, forbidden, or may it be cached? */
static void check(struct fold_itable *t, size_t i, const struct model *m)
{
    struct fold_inode *inode = NULL;
    int rc = fold_itable_find(t, FIRST_INO + i, &inode);
    if (m->ref_count > 0 || (m->ghost && m->lookups > 0))
        assert_int_equal(rc, 0);
    else if (m->ghost)
        assert_int_equal(rc, -ENOENT);
    if (rc == 0) {
        assert_int_equal(inode->ghost, m->ghost);
        if (m->ref_count > 0)
            assert_ptr_equal(inode, m->refs[0]);
        fold_itable_put(t, inode);
    }
}

static void model_step(struct fold_itable *t, size_t i, struct model *m, unsigned what)
{
    bool alive = !m->ghost || m->ref_count > 0 || m->lookups > 0;
    switch (what) {
    case 0:
    case 1:
        if (m->ref_count < MODEL_REFS && alive)
            m->refs[m->ref_count++] = get(t, FIRST_INO + i);
        break;
    case 2:
    case 3:
        if (m->ref_count > 0)
            fold_itable_put(t, m->refs[--m->ref_count]);
        break;
    case 4:
        if (alive && (m->ref_count > 0 || !m->ghost)) {
            assert_int_equal(fold_itable_lookup(t, FIRST_INO + i), 0);
            m->lookups++;
        }
        break;
    case 5:
        if (m->lookups > 0) {
            uint64_t n = m->lookups > 2 ? 2 : m->lookups;
            fold_itable_forget(t, FIRST_INO + i, n);
            m->lookups -= n;
        }
        break;
    case 6:
        if (m->ref_count > 0 && !m->ghost && i % 2 == 0) {
            make_ghost(t, m->refs[0]);
            m->ghost = true;
        }
        break;
    default:
        if (m->ref_count > 0 && m->ref_count < MODEL_REFS) {
            fold_itable_ref(t, m->refs[0]);
            m->refs[m->ref_count++] = m->refs[0];
        }
        break;
    }
}

static void test_model(void **state)
{
    (void)state;
    struct rig r;
    struct fold_itable *t;
    static struct model models[MODEL_INODES];
    uint64_t seed = 2463534242u;
    rig_create(&r);
    make(r.volume->catalog, MODEL_INODES);
    assert_int_equal(fold_itable_create(r.volume->catalog, 32, &t), 0);
    memset(models, 0, sizeof models);
    for (int step = 0; step < 60000; step++) {
        size_t i = rig_random(&seed) % MODEL_INODES;
        struct model *m = &models[i];
        model_step(t, i, m, (unsigned)(seed >> 32) % 8);
        check(t, i, m);
        if (m->ghost && m->ref_count == 0 && m->lookups == 0) {
            /* Gone for good; as in a catalog that never reuses numbers, only the test brings it
             * back. */
            *m = (struct model){0};
        }
    }
    for (size_t i = 0; i < MODEL_INODES; i++)
        while (models[i].ref_count > 0)
            fold_itable_put(t, models[i].refs[--models[i].ref_count]);
    fold_itable_destroy(t); /* ghosts the kernel never forgot are freed here */
    rig_destroy(&r);
}

/* An inode that was never in the catalog: known while referenced, gone without a trace as a ghost.
 */
static void test_add(void **state)
{
    (void)state;
    struct rig r;
    struct fold_itable *t;
    struct fold_inode *inode = NULL, *again = NULL;
    struct fold_attr attr = {.ino = 5000, .mode = S_IFDIR | 0755, .nlink = 2, .size = 3};
    rig_create(&r);
    assert_int_equal(fold_itable_create(r.volume->catalog, 8, &t), 0);
    assert_int_equal(fold_itable_add(t, &attr, &inode), 0);
    assert_int_equal(inode->type, S_IFDIR);
    assert_int_equal(inode->disk_size, 3);
    assert_int_equal(fold_itable_get(t, 5000, &again), 0);
    assert_ptr_equal(inode, again);
    fold_itable_put(t, again);
    make_ghost(t, inode);
    fold_itable_put(t, inode);
    assert_int_equal(fold_itable_get(t, 5000, &again), -ESTALE);
    fold_itable_destroy(t);
    rig_destroy(&r);
}

#define THREADS 4
#define ROUNDS  3000
#define SHARED  24

struct racer {
    struct fold_itable *t;
    struct fold_catalog *c;
    uint64_t seed;
};

/* Adds one to a number kept in the inode, in memory and in the catalog. */
static void *race(void *arg)
{
    struct racer *r = arg;
    for (int i = 0; i < ROUNDS; i++) {
        (void)rig_random(&r->seed);
        struct fold_inode *inode = NULL;
        struct fold_txn *txn = fold_txn_begin(r->c);
        fold_lsn lsn;
        if (fold_itable_get(r->t, FIRST_INO + r->seed % SHARED, &inode) < 0)
            abort();
        fold_lock_take(&inode->lock);
        inode->attr.uid++;
        fold_inode_store(txn, &inode->attr);
        if (fold_txn_commit(txn, &lsn) < 0)
            abort();
        fold_lock_drop(&inode->lock);
        fold_itable_put(r->t, inode);
        if (i % 4 == 0) {
            fold_ino first = FIRST_INO + (r->seed >> 8) % (SHARED - 8);
            fold_ino next[8];
            for (fold_ino k = 0; k < 8; k++)
                next[k] = first + k;
            fold_itable_preload(r->t, next, 8);
        }
    }
    return NULL;
}

static void test_preload(void **state)
{
    (void)state;
    struct rig r;
    struct fold_itable *t;
    struct fold_inode *inode = NULL;
    rig_create(&r);
    make(r.volume->catalog, 200);
    assert_int_equal(fold_itable_create(r.volume->catalog, 4096, &t), 0);
    struct fold_inode *used = get(t, FIRST_INO + 3);
    used->attr.uid = 5; /* memory is newer than the catalog */
    fold_ino inos[FOLD_PRELOAD_MAX];
    for (size_t i = 0; i < 100; i++)
        inos[i] = FIRST_INO + 2 * i; /* the last do not exist */
    inos[1] = FIRST_INO + 3;
    inos[99] = FIRST_INO + 5000;
    fold_itable_preload(t, inos, 100);
    for (size_t i = 0; i < 99; i++) {
        assert_int_equal(fold_itable_find(t, inos[i], &inode), 0);
        assert_int_equal(inode->ino, inos[i]);
        assert_int_equal(inode->attr.uid, i == 1 ? 5 : 0);
        fold_itable_put(t, inode);
    }
    assert_int_equal(fold_itable_find(t, inos[99], &inode), -ENOENT);
    assert_int_equal(fold_itable_find(t, FIRST_INO + 1, &inode), -ENOENT);
    fold_itable_put(t, used);
    fold_itable_preload(t, inos, 0);
    fold_itable_destroy(t);

    /* What is preloaded is evicted like everything else. */
    assert_int_equal(fold_itable_create(r.volume->catalog, 0, &t), 0);
    fold_itable_preload(t, inos, 99);
    for (size_t i = 0; i < 99; i++)
        assert_int_equal(fold_itable_find(t, inos[i], &inode), -ENOENT);
    fold_itable_destroy(t);
    rig_destroy(&r);
}

static void test_threads_lose_nothing(void **state)
{
    (void)state;
    struct rig r;
    struct fold_itable *t;
    pthread_t threads[THREADS];
    struct racer racers[THREADS];
    rig_create(&r);
    make(r.volume->catalog, SHARED);
    /* No cache: every put evicts, every get loads. */
    assert_int_equal(fold_itable_create(r.volume->catalog, 0, &t), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){t, r.volume->catalog, 777 + i};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    uint64_t sum = 0;
    for (size_t i = 0; i < SHARED; i++) {
        struct fold_inode *inode = get(t, FIRST_INO + i);
        struct fold_attr attr;
        assert_int_equal(fold_inode_load(r.volume->catalog, inode->ino, &attr), 0);
        assert_int_equal(attr.uid, inode->attr.uid);
        sum += attr.uid;
        fold_itable_put(t, inode);
    }
    assert_int_equal(sum, THREADS * ROUNDS);
    fold_itable_destroy(t);
    rig_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_dirty_stays),
        cmocka_unit_test(test_cache_is_bounded),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_preload),
        cmocka_unit_test(test_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
