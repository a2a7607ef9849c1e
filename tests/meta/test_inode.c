/* SPDX-License-Identifier: MIT */
/*
 * Inodes, symlinks and orphans against an in-memory model, across restarts.
 */
#include "tests/meta/catalog_rig.h"

#define INODES 200

static struct fold_attr random_attr(fold_ino ino, uint64_t *seed)
{
    struct fold_attr a = {
        .ino = ino,
        .mode = (uint32_t)rig_random(seed),
        .uid = (uint32_t)rig_random(seed),
        .gid = (uint32_t)rig_random(seed),
        .nlink = (uint32_t)rig_random(seed) % 5,
        .rdev = rig_random(seed) >> rig_random(seed) % 64,
        .size = rig_random(seed) >> rig_random(seed) % 64,
        .mapped = rig_random(seed) >> rig_random(seed) % 64,
        .parent = rig_random(seed) >> rig_random(seed) % 64,
        .flags = (uint32_t)rig_random(seed) & 15,
        .btime = {(time_t)rig_random(seed) >> rig_random(seed) % 64,
                  (long)(rig_random(seed) % 1000000000)},
    };
    a.mtime = a.ctime = a.atime = a.btime;
    uint64_t which = rig_random(seed);
    if (which & 1)
        a.mtime.tv_nsec = (a.mtime.tv_nsec + 1) % 1000000000;
    if (which & 2)
        a.ctime.tv_sec = -5;
    if (which & 4)
        a.atime = (struct timespec){INT64_MIN, 999999999};
    return a;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same(const struct fold_attr *a, const struct fold_attr *b)
{
    return a->ino == b->ino && a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
           a->nlink == b->nlink && a->rdev == b->rdev && a->size == b->size &&
           a->mapped == b->mapped && a->parent == b->parent && a->flags == b->flags &&
           same_time(a->atime, b->atime) && same_time(a->mtime, b->mtime) &&
           same_time(a->ctime, b->ctime) && same_time(a->btime, b->btime);
}

struct model {
    struct fold_attr attrs[INODES]; /* ino 0: absent */
    uint64_t seen;
    fold_ino last;
};

static int compare_one(void *arg, const struct fold_attr *a)
{
    struct model *m = arg;
    if (a->ino == FOLD_INO_ROOT)
        return 0;
    assert_true(a->ino > m->last && a->ino >= 1000 && a->ino < 1000 + INODES);
    assert_true(same(a, &m->attrs[a->ino - 1000]));
    m->last = a->ino;
    m->seen++;
    return 0;
}

static void follows_a_model(void **state)
{
    (void)state;
    static struct model m;
    struct rig r;
    rig_create(&r);
    uint64_t seed = 12345;
    for (int round = 0; round < 400; round++) {
        struct fold_txn *t = fold_txn_begin(r.c);
        for (uint64_t n = rig_random(&seed) % 8; n > 0; n--) {
            fold_ino i = rig_random(&seed) % INODES;
            if (rig_random(&seed) % 4 == 0) {
                fold_inode_remove(t, 1000 + i);
                m.attrs[i].ino = 0;
            } else {
                m.attrs[i] = random_attr(1000 + i, &seed);
                fold_inode_store(t, &m.attrs[i]);
            }
        }
        rig_commit(t);
        if (round % 100 == 50)
            rig_reopen(&r, round % 200 == 50);
        else if (round % 40 == 3)
            assert_int_equal(fold_catalog_checkpoint(r.c), 0);
    }
    uint64_t present = 0;
    for (fold_ino i = 0; i < INODES; i++) {
        struct fold_attr a;
        int rc = fold_inode_load(r.c, 1000 + i, &a);
        assert_int_equal(rc, m.attrs[i].ino != 0 ? 0 : -ENOENT);
        if (rc == 0) {
            present++;
            assert_true(same(&a, &m.attrs[i]));
        }
    }
    m.seen = 0;
    m.last = 0;
    assert_int_equal(fold_inode_each(r.c, compare_one, &m), 0);
    assert_int_equal(m.seen, present);
    rig_destroy(&r);
}

static int stop_at_once(void *arg, const struct fold_attr *a)
{
    (void)a;
    (*(int *)arg)++;
    return -ECANCELED;
}

static void a_walk_can_be_stopped(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    int calls = 0;
    assert_int_equal(fold_inode_each(r.c, stop_at_once, &calls), -ECANCELED);
    assert_int_equal(calls, 1);
    rig_destroy(&r);
}

/* Every cut of a good value and values with impossible content are refused, not misread. */
static void damaged_inodes_are_refused(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_attr a;
    struct fold_key key;
    fold_key_ino(&key, FOLD_TABLE_INODE, FOLD_INO_ROOT);
    struct fold_kv_value v;
    assert_int_equal(fold_recent_hand_over(r.c->recent), 0);
    assert_int_equal(fold_kv_get(r.c->kv, key.bytes, key.len, &v), 0);
    uint8_t good[256];
    size_t good_len = v.len;
    assert_true(good_len < sizeof good - 1 && good_len < 40);
    memcpy(good, v.data, good_len);
    fold_kv_value_fini(&v);
    good[good_len] = 0;
    for (size_t len = 0; len <= good_len + 1; len++) {
        struct fold_txn *t = fold_txn_begin(r.c);
        fold_kv_batch_put(t->batch, key.bytes, key.len, good, len);
        rig_commit(t);
        assert_int_equal(fold_inode_load(r.c, FOLD_INO_ROOT, &a),
                         len == good_len ? 0 : -FOLD_E_BAD_CATALOG);
    }
    good[0] = 2; /* another version */
    struct fold_txn *t = fold_txn_begin(r.c);
    fold_kv_batch_put(t->batch, key.bytes, key.len, good, good_len);
    rig_commit(t);
    assert_int_equal(fold_inode_load(r.c, FOLD_INO_ROOT, &a), -FOLD_E_BAD_CATALOG);
    rig_destroy(&r);
}

static void golden_value(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_attr a = {.ino = 5,
                          .mode = S_IFREG | 0644,
                          .uid = 1000,
                          .gid = 100,
                          .nlink = 1,
                          .size = 300,
                          .mapped = 300,
                          .parent = 0,
                          .flags = 1,
                          .btime = {1, 2},
                          .mtime = {1, 2},
                          .ctime = {-1, 3},
                          .atime = {1, 2}};
    struct fold_txn *t = fold_txn_begin(r.c);
    fold_inode_store(t, &a);
    rig_commit(t);
    struct fold_kv_value v;
    assert_int_equal(fold_recent_hand_over(r.c->recent), 0);
    assert_int_equal(fold_kv_get(r.c->kv, "I\0\0\0\0\0\0\0\5", 9, &v), 0);
    static const uint8_t want[] = {1, 2, 0xa4, 0x83, 0x02, 0xe8, 0x07, 100, 1, 0, 0xac, 2, 0xac,
                                   2, 0, 1,    2,    2,    0,    0,    0,   1, 3, 0,    0, 0};
    assert_int_equal(v.len, sizeof want);
    assert_memory_equal(v.data, want, sizeof want);
    fold_kv_value_fini(&v);
    rig_destroy(&r);
}

static void symlinks_keep_their_targets(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    char longest[FOLD_SYMLINK_MAX + 1], buf[FOLD_SYMLINK_MAX + 1];
    memset(longest, 'x', FOLD_SYMLINK_MAX);
    longest[FOLD_SYMLINK_MAX] = '\0';
    struct fold_txn *t = fold_txn_begin(r.c);
    fold_symlink_store(t, 7, "../else where");
    fold_symlink_store(t, 8, longest);
    fold_symlink_store(t, 9, "gone");
    rig_commit(t);
    t = fold_txn_begin(r.c);
    fold_symlink_remove(t, 9);
    rig_commit(t);
    rig_reopen(&r, false);
    assert_int_equal(fold_symlink_load(r.c, 7, buf), 0);
    assert_string_equal(buf, "../else where");
    assert_int_equal(fold_symlink_load(r.c, 8, buf), 0);
    assert_string_equal(buf, longest);
    assert_int_equal(fold_symlink_load(r.c, 9, buf), -ENOENT);
    rig_destroy(&r);
}

struct cleanup {
    struct fold_catalog *c;
    int n;
};

static int drop_orphan(void *arg, fold_ino ino)
{
    struct cleanup *u = arg;
    struct fold_txn *t = fold_txn_begin(u->c);
    fold_orphan_remove(t, ino);
    rig_commit(t);
    return ++u->n == 15 ? -ECANCELED : 0;
}

static void orphans_can_be_dropped_on_the_way(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_txn *t = fold_txn_begin(r.c);
    for (fold_ino i = 1; i <= 20; i++)
        fold_orphan_add(t, i * 1000);
    rig_commit(t);
    struct cleanup u = {r.c, 0};
    assert_int_equal(fold_orphan_each(r.c, drop_orphan, &u), -ECANCELED);
    rig_reopen(&r, false);
    u = (struct cleanup){r.c, 20};
    assert_int_equal(fold_orphan_each(r.c, drop_orphan, &u), 0);
    assert_int_equal(u.n, 25);
    assert_int_equal(fold_orphan_each(r.c, drop_orphan, &u), 0);
    assert_int_equal(u.n, 25);
    rig_destroy(&r);
}

int main(void)
{
    fold_log_set_level(FOLD_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_a_model),
        cmocka_unit_test(a_walk_can_be_stopped),
        cmocka_unit_test(damaged_inodes_are_refused),
        cmocka_unit_test(golden_value),
        cmocka_unit_test(symlinks_keep_their_targets),
        cmocka_unit_test(orphans_can_be_dropped_on_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
