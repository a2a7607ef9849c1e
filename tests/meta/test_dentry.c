/* SPDX-License-Identifier: MIT */
/*
 * Directory entries against a model, with the real hash and with one that makes names collide, in
 * stores with keyed names and in those of before.
 */
#include "tests/meta/catalog_rig.h"

#include "meta/base/knob.h"
#include "meta/dentry.h"

#define NAMES 60

struct slot {
    fold_ino ino; /* 0: absent */
    uint8_t type;
    uint64_t cookie;
    bool seen;
};

struct model {
    struct slot dirs[2][NAMES];
};

static uint64_t few_hashes(const char *name, size_t len)
{
    (void)len;
    return (uint64_t)(uint8_t)name[0] % 3 << 60;
}

/* Names that spread over the three hashes, of all lengths. */
static size_t make_name(unsigned i, char *name)
{
    size_t len = i == 7 ? FOLD_NAME_MAX : 1 + i * 4 % 90;
    memset(name, 'a' + (char)(i % 26), len);
    if (len > 1)
        name[len - 1] = (char)('A' + i / 26);
    name[0] = (char)('a' + i % 26);
    name[len] = '\0';
    if (len == 1)
        len = (size_t)snprintf(name, 8, "%c%u", 'a' + i % 26, i);
    return len;
}

static void check_lookup(struct rig *r, struct model *m)
{
    for (unsigned d = 0; d < 2; d++)
        for (unsigned i = 0; i < NAMES; i++) {
            char name[FOLD_NAME_MAX + 1];
            size_t len = make_name(i, name);
            struct slot *s = &m->dirs[d][i];
            struct fold_dentry e;
            int rc = fold_dentry_load(r->c, 10 + d, name, len, &e);
            assert_int_equal(rc, s->ino != 0 ? 0 : -ENOENT);
            if (rc < 0) {
                s->cookie = 0;
                continue;
            }
            assert_int_equal(e.ino, s->ino);
            assert_int_equal(e.type, s->type);
            assert_true(e.cookie > 2 && e.cookie < (uint64_t)1 << 63);
            if (s->cookie != 0)
                assert_int_equal(e.cookie, s->cookie); /* fixed while the entry lives */
            s->cookie = e.cookie;
        }
}

/* Lists directory `d` from `after`, which must give exactly the entries behind it in rising order.
 */
static void check_list(struct rig *r, struct model *m, unsigned d, uint64_t after)
{
    struct fold_dentry_iter *it;
    assert_int_equal(fold_dentry_iter_open(r->c, 10 + d, after, &it), 0);
    for (unsigned i = 0; i < NAMES; i++)
        m->dirs[d][i].seen = false;
    uint64_t last = after;
    bool small = rig_keyed && fold_knobs.bucket_slots == 128;
    uint64_t end = UINT64_C(1) << (small ? 31 : 63);
    struct fold_dentry e;
    const char *name;
    size_t len;
    int rc;
    while ((rc = fold_dentry_iter_next(it, &e, &name, &len)) > 0) {
        assert_true(e.cookie > last && e.cookie < end);
        last = e.cookie;
        assert_int_equal(strlen(name), len);
        unsigned i = 0;
        char want[FOLD_NAME_MAX + 1];
        while (i < NAMES && (make_name(i, want) != len || memcmp(want, name, len) != 0))
            i++;
        assert_true(i < NAMES);
        assert_int_equal(m->dirs[d][i].ino, e.ino);
        assert_int_equal(m->dirs[d][i].cookie, e.cookie);
        assert_int_equal(m->dirs[d][i].type, e.type);
        assert_false(m->dirs[d][i].seen);
        m->dirs[d][i].seen = true;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(fold_dentry_iter_next(it, &e, &name, &len), 0);
    fold_dentry_iter_close(it);
    for (unsigned i = 0; i < NAMES; i++)
        assert_int_equal(m->dirs[d][i].seen,
                         m->dirs[d][i].ino != 0 && m->dirs[d][i].cookie > after);
}

static void change(struct fold_txn *t, struct model *m, uint64_t *seed)
{
    unsigned d = (unsigned)(rig_random(seed) % 2), i = (unsigned)(rig_random(seed) % NAMES);
    char name[FOLD_NAME_MAX + 1];
    size_t len = make_name(i, name);
    struct slot *s = &m->dirs[d][i];
    if (rig_random(seed) % 2 == 0) {
        int rc = fold_dentry_remove(t, 10 + d, name, len);
        assert_int_equal(rc, s->ino != 0 ? 0 : -ENOENT);
        s->ino = 0;
        s->cookie = 0; /* a new life may get another one */
    } else {
        fold_ino ino = rig_random(seed) >> rig_random(seed) % 60 | 1;
        uint8_t type = (uint8_t)(rig_random(seed) % 15);
        assert_int_equal(fold_dentry_store(t, 10 + d, name, len, ino, type), 0);
        s->ino = ino;
        s->type = type;
    }
}

static void run_model(void)
{
    static struct model m;
    memset(&m, 0, sizeof m);
    struct rig r;
    rig_create(&r);
    uint64_t seed = 777;
    for (int round = 0; round < 250; round++) {
        struct fold_txn *t = fold_txn_begin(r.c);
        for (uint64_t n = rig_random(&seed) % 6; n > 0; n--)
            change(t, &m, &seed);
        rig_commit(t);
        check_lookup(&r, &m);
        unsigned d = (unsigned)round % 2;
        check_list(&r, &m, d, 0);
        struct slot *some = &m.dirs[d][rig_random(&seed) % NAMES];
        check_list(&r, &m, d, some->cookie);
        if (some->cookie != 0)
            check_list(&r, &m, d, some->cookie - 1);
        if (round % 60 == 30)
            rig_reopen(&r, round % 120 == 30);
    }
    rig_destroy(&r);
}

static void follows_a_model(void **state)
{
    (void)state;
    run_model();
}

static void follows_a_model_with_collisions(void **state)
{
    (void)state;
    fold_namehash_set_hook(few_hashes);
    run_model();
    fold_namehash_set_hook(NULL);
}

/* Buckets so small that most names lie behind full ones. */
static void follows_a_model_with_small_buckets(void **state)
{
    (void)state;
    assert_int_equal(fold_knobs_set("name_hash_bits=2,bucket_slots=3"), 0);
    run_model();
    assert_int_equal(fold_knobs_set("name_hash_bits=0,bucket_slots=1"), 0);
    run_model();
    fold_knobs_reset();
}

/* rename within one directory, both names in one bucket, one transaction */
static void two_names_of_a_bucket_in_one_transaction(void **state)
{
    (void)state;
    fold_namehash_set_hook(few_hashes);
    struct rig r;
    rig_create(&r);
    struct fold_dentry e;
    struct fold_txn *t = fold_txn_begin(r.c);
    assert_int_equal(fold_dentry_store(t, 10, "a-old", 5, 50, 8), 0);
    assert_int_equal(fold_dentry_store(t, 10, "a-rest", 6, 51, 8), 0);
    rig_commit(t);
    t = fold_txn_begin(r.c);
    assert_int_equal(fold_dentry_remove(t, 10, "a-old", 5), 0);
    assert_int_equal(fold_dentry_store(t, 10, "a-new", 5, 50, 8), 0);
    assert_int_equal(fold_dentry_remove(t, 10, "a-old", 5), -ENOENT);
    rig_commit(t);
    assert_int_equal(fold_dentry_load(r.c, 10, "a-old", 5, &e), -ENOENT);
    assert_int_equal(fold_dentry_load(r.c, 10, "a-new", 5, &e), 0);
    assert_int_equal(e.ino, 50);
    assert_int_equal(fold_dentry_load(r.c, 10, "a-rest", 6, &e), 0);
    assert_int_equal(e.ino, 51);
    rig_destroy(&r);
    fold_namehash_set_hook(NULL);
}

static void a_listing_does_not_see_later_changes(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    struct fold_txn *t = fold_txn_begin(r.c);
    for (unsigned i = 0; i < NAMES; i++) {
        char name[FOLD_NAME_MAX + 1];
        size_t len = make_name(i, name);
        assert_int_equal(fold_dentry_store(t, 10, name, len, 100 + i, 8), 0);
    }
    rig_commit(t);
    struct fold_dentry_iter *it;
    assert_int_equal(fold_dentry_iter_open(r.c, 10, 0, &it), 0);
    t = fold_txn_begin(r.c);
    for (unsigned i = 0; i < NAMES; i++) {
        char name[FOLD_NAME_MAX + 1];
        size_t len = make_name(i, name);
        assert_int_equal(fold_dentry_remove(t, 10, name, len), 0);
    }
    assert_int_equal(fold_dentry_store(t, 10, "late", 4, 9, 8), 0);
    rig_commit(t);
    struct fold_dentry e;
    const char *name;
    size_t len, n = 0;
    while (fold_dentry_iter_next(it, &e, &name, &len) > 0) {
        assert_string_not_equal(name, "late");
        n++;
    }
    assert_int_equal(n, NAMES);
    fold_dentry_iter_close(it);
    rig_destroy(&r);
}

static void refuses_bad_names(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    char name[FOLD_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    struct fold_txn *t = fold_txn_begin(r.c);
    assert_int_equal(fold_dentry_store(t, 10, name, FOLD_NAME_MAX + 1, 5, 8), -ENAMETOOLONG);
    assert_int_equal(fold_dentry_store(t, 10, name, FOLD_NAME_MAX, 5, 8), 0);
    rig_commit(t);
    rig_destroy(&r);
}

static void adding_does_not_replace(void **state)
{
    (void)state;
    fold_namehash_set_hook(few_hashes);
    struct rig r;
    struct fold_dentry e;
    rig_create(&r);
    struct fold_txn *t = fold_txn_begin(r.c);
    assert_int_equal(fold_dentry_add(t, 10, "ax", 2, 5, 8), 0);
    assert_int_equal(fold_dentry_add(t, 10, "ax", 2, 6, 8), -EEXIST);
    assert_int_equal(fold_dentry_add(t, 10, "ay", 2, 6, 8), 0);
    rig_commit(t);
    t = fold_txn_begin(r.c);
    assert_int_equal(fold_dentry_add(t, 10, "ax", 2, 7, 4), -EEXIST);
    assert_int_equal(fold_dentry_remove(t, 10, "ay", 2), 0);
    assert_int_equal(fold_dentry_add(t, 10, "ay", 2, 8, 4), 0);
    rig_commit(t);
    assert_int_equal(fold_dentry_load(r.c, 10, "ax", 2, &e), 0);
    assert_int_equal(e.ino, 5);
    assert_int_equal(e.type, 8);
    assert_int_equal(fold_dentry_load(r.c, 10, "ay", 2, &e), 0);
    assert_int_equal(e.ino, 8);
    fold_namehash_set_hook(NULL);
    rig_destroy(&r);
}

static void damaged_buckets_are_refused(void **state)
{
    (void)state;
    fold_namehash_set_hook(few_hashes);
    struct rig r;
    rig_create(&r);
    struct fold_key key;
    uint64_t number;
    assert_int_equal(fold_dentry_bucket_of(r.c, 10, "ax", 2, &number), 0);
    fold_key_pair(&key, FOLD_TABLE_DENTRY, 10, number);
    static const struct bad {
        const char *bytes;
        size_t len;
    } seeded[] =
        {
            {"\0\10\5\0", 4},             /* empty name */
            {"\0\10\0\1a", 5},            /* no inode */
            {"\0\10\5\2a", 5},            /* name longer than the bytes */
            {"\200\20\10\5\1a", 6},       /* slot 2048 */
            {"\1\10\5\1a\1\10\5\1b", 10}, /* slots do not rise */
            {"\0\10\5\1a\0", 6},          /* junk behind */
        },
      keyed[] = {
          {"\2\0\10\5\1a", 6}, /* a flag nobody knows */
          {"\0\0\10\5\0", 5},  /* as above */
          {"\0\0\10\0\1a", 6},
          {"\0\0\10\5\2a", 6},
          {"\0\200\1\10\5\1a", 7}, /* slot 128 */
          {"\1\1\10\5\1a\1\10\5\1b", 11},
      };
    for (size_t i = 0; i < FOLD_ARRAY_LEN(seeded); i++) {
        const struct bad *bad = rig_keyed ? &keyed[i] : &seeded[i];
        struct fold_txn *t = fold_txn_begin(r.c);
        fold_kv_batch_put(t->batch, key.bytes, key.len, bad->bytes, bad->len);
        rig_commit(t);
        struct fold_dentry e;
        assert_int_equal(fold_dentry_load(r.c, 10, "ax", 2, &e), -FOLD_E_BAD_CATALOG);
        t = fold_txn_begin(r.c);
        assert_int_equal(fold_dentry_store(t, 10, "ax", 2, 6, 8), -FOLD_E_BAD_CATALOG);
        fold_txn_abort(t);
        struct fold_dentry_iter *it;
        const char *name;
        size_t len;
        int rc;
        assert_int_equal(fold_dentry_iter_open(r.c, 10, 0, &it), 0);
        while ((rc = fold_dentry_iter_next(it, &e, &name, &len)) > 0)
            continue;
        assert_int_equal(rc, -FOLD_E_BAD_CATALOG);
        fold_dentry_iter_close(it);
    }
    fold_namehash_set_hook(NULL);
    rig_destroy(&r);
}

static uint64_t one_hash(const char *name, size_t len)
{
    (void)name;
    (void)len;
    return UINT64_C(77) << 40;
}

/* Buckets of directory 10 in the database. */
static size_t count_buckets(struct rig *r)
{
    struct fold_kv_iter *it;
    struct fold_kv_entry e;
    struct fold_key from, to;
    size_t n = 0;
    fold_key_ino(&from, FOLD_TABLE_DENTRY, 10);
    fold_key_ino(&to, FOLD_TABLE_DENTRY, 11);
    assert_int_equal(
        fold_recent_iter_open(r->c->recent, from.bytes, from.len, to.bytes, to.len, true, &it), 0);
    while (fold_kv_iter_next(it, &e) > 0)
        n++;
    fold_kv_iter_close(it);
    return n;
}

#define MANY 600u /* names of one hash: five buckets */

struct crowd {
    uint64_t cookie[MANY]; /* 0: absent */
    unsigned present;
};

static void check_crowd(struct rig *r, struct crowd *m)
{
    struct fold_dentry_iter *it;
    struct fold_dentry e;
    const char *name;
    size_t len;
    unsigned seen = 0;
    uint64_t last = 0;
    assert_int_equal(fold_dentry_iter_open(r->c, 10, 0, &it), 0);
    while (fold_dentry_iter_next(it, &e, &name, &len) > 0) {
        assert_true(e.cookie > last && e.ino <= MANY && m->cookie[e.ino - 1] != 0);
        assert_true(m->cookie[e.ino - 1] == 1 || m->cookie[e.ino - 1] == e.cookie);
        m->cookie[e.ino - 1] = last = e.cookie;
        seen++;
    }
    fold_dentry_iter_close(it);
    assert_int_equal(seen, m->present);
    for (unsigned i = 0; i < MANY; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "n%u", i);
        int rc = fold_dentry_load(r->c, 10, text, (size_t)n, &e);
        assert_int_equal(rc, m->cookie[i] != 0 ? 0 : -ENOENT);
        assert_true(rc < 0 || (e.ino == i + 1 && e.cookie == m->cookie[i]));
    }
}

/* Adds or removes a name; *t is committed by the caller. */
static void toggle(struct fold_txn *t, struct crowd *m, unsigned i)
{
    char text[16];
    size_t len = (size_t)snprintf(text, sizeof text, "n%u", i);
    if (m->cookie[i] != 0) {
        assert_int_equal(fold_dentry_add(t, 10, text, len, 9, 8), -EEXIST);
        assert_int_equal(fold_dentry_remove(t, 10, text, len), 0);
        m->cookie[i] = 0;
        m->present--;
    } else {
        assert_int_equal(fold_dentry_remove(t, 10, text, len), -ENOENT);
        assert_int_equal(fold_dentry_add(t, 10, text, len, i + 1, 8), 0);
        m->cookie[i] = 1;
        m->present++;
    }
}

/* More names of one hash than a bucket has slots for. */
static void a_full_bucket_is_no_limit(void **state)
{
    (void)state;
    if (!rig_keyed)
        return;
    static struct crowd m;
    memset(&m, 0, sizeof m);
    struct rig r;
    uint64_t seed = 99;
    fold_namehash_set_hook(one_hash);
    rig_create(&r);
    for (unsigned i = 0; i < MANY; i++) {
        struct fold_txn *t = fold_txn_begin(r.c);
        toggle(t, &m, i);
        rig_commit(t);
        if (i == 127)
            assert_int_equal(count_buckets(&r), 1);
        if (i == 128)
            assert_int_equal(count_buckets(&r), 2);
    }
    check_crowd(&r, &m);
    assert_int_equal(count_buckets(&r), 5);
    assert_true(m.cookie[127] < UINT64_C(1) << 31);
    for (unsigned round = 0; round < 60; round++) {
        struct fold_txn *t = fold_txn_begin(r.c);
        for (unsigned n = 0; n < 40; n++)
            toggle(t, &m, (unsigned)(rig_random_mixed(&seed) >> 32) % MANY);
        rig_commit(t);
        check_crowd(&r, &m);
        if (round % 20 == 10)
            rig_reopen(&r, round == 10);
    }
    for (unsigned k = 0; k < MANY; k++) { /* from the first levels on, so that later ones stay */
        unsigned i = k * 7 % MANY;
        struct fold_txn *t = fold_txn_begin(r.c);
        if (m.cookie[i] != 0)
            toggle(t, &m, i);
        rig_commit(t);
        if (k % 50 == 0)
            check_crowd(&r, &m);
    }
    assert_int_equal(m.present, 0);
    assert_int_equal(count_buckets(&r), 0);
    fold_namehash_set_hook(NULL);
    rig_destroy(&r);
}

/* Stores of before have 2048 slots for a hash, and no more. */
static void seeded_buckets_have_a_limit(void **state)
{
    (void)state;
    if (rig_keyed)
        return;
    struct rig r;
    char text[16];
    fold_namehash_set_hook(one_hash);
    rig_create(&r);
    struct fold_txn *t = fold_txn_begin(r.c);
    for (unsigned i = 0; i <= 2048; i++) {
        size_t len = (size_t)snprintf(text, sizeof text, "n%u", i);
        assert_int_equal(fold_dentry_add(t, 10, text, len, i + 1, 8), i < 2048 ? 0 : -ENOSPC);
    }
    assert_int_equal(fold_dentry_remove(t, 10, "n7", 2), 0);
    assert_int_equal(fold_dentry_add(t, 10, text, strlen(text), 7, 8), 0);
    rig_commit(t);
    fold_namehash_set_hook(NULL);
    rig_destroy(&r);
}

#define CROWD 200000u

/* Of many names some have the same hash: each has an offset of its own that fits 31 bits. */
static void cookies_are_small_and_unique(void **state)
{
    (void)state;
    if (!rig_keyed)
        return;
    struct rig r;
    char text[16];
    rig_create(&r);
    for (unsigned i = 0; i < CROWD;) {
        struct fold_txn *t = fold_txn_begin(r.c);
        for (unsigned n = 0; n < 1000; n++, i++) {
            size_t len = (size_t)snprintf(text, sizeof text, "n%u", i);
            assert_int_equal(fold_dentry_add(t, 10, text, len, i + 1, 8), 0);
        }
        rig_commit(t);
    }
    struct fold_dentry_iter *it;
    struct fold_dentry e;
    const char *name;
    size_t len;
    unsigned seen = 0, same = 0;
    uint64_t last = 2;
    assert_int_equal(fold_dentry_iter_open(r.c, 10, 0, &it), 0);
    while (fold_dentry_iter_next(it, &e, &name, &len) > 0) {
        assert_true(e.cookie > last && e.cookie < UINT64_C(1) << 31);
        same += e.cookie >> 7 == last >> 7;
        last = e.cookie;
        seen++;
    }
    fold_dentry_iter_close(it);
    assert_int_equal(seen, CROWD);
    assert_true(same > 600 && same < 2400); /* 1190 pairs are expected of 24 bits */
    rig_destroy(&r);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_a_model),
        cmocka_unit_test(follows_a_model_with_collisions),
        cmocka_unit_test(follows_a_model_with_small_buckets),
        cmocka_unit_test(two_names_of_a_bucket_in_one_transaction),
        cmocka_unit_test(a_listing_does_not_see_later_changes),
        cmocka_unit_test(refuses_bad_names),
        cmocka_unit_test(adding_does_not_replace),
        cmocka_unit_test(damaged_buckets_are_refused),
        cmocka_unit_test(a_full_bucket_is_no_limit),
        cmocka_unit_test(seeded_buckets_have_a_limit),
        cmocka_unit_test(cookies_are_small_and_unique),
    };
    return cmocka_run_group_tests_name(rig_keyed ? "keyed" : "seeded", tests, NULL, NULL);
}

int main(void)
{
    fold_log_set_level(FOLD_LOG_ERROR);
    int failed = run_all();
    rig_keyed = true;
    return failed + run_all();
}
