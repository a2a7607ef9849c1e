/* SPDX-License-Identifier: MIT */
/*
 * The memory of directory buckets: it forgets rather than say what is not so any more, alone and
 * below the names of a catalog that one thread changes while others look.
 */
#include "catalog_rig.h"

#include "meta/buckets.h"
#include "meta/dentry.h"

#include <pthread.h>

#define LOOKERS 3
#define CHANGES 4000u
#define NAMES   3u

static bool known(struct fold_buckets *b, uint64_t hash, const char *want)
{
    uint8_t data[FOLD_BUCKET_KEPT];
    size_t len = 0;
    if (!fold_buckets_get(b, 7, hash, data, &len))
        return false;
    assert_int_equal(len, strlen(want));
    assert_memory_equal(data, want, len);
    return true;
}

static void newer_wins(void **state)
{
    (void)state;
    struct fold_buckets *b;
    assert_int_equal(fold_buckets_create(&b), 0);
    assert_false(known(b, 1, ""));
    uint64_t mark = fold_buckets_mark(b);
    fold_buckets_fill(b, 7, 1, "", 0, mark);
    assert_true(known(b, 1, ""));
    fold_buckets_change(b, 7, 1, "one", 3);
    assert_true(known(b, 1, "one"));
    fold_buckets_fill(b, 7, 1, "", 0, mark); /* read before the change */
    assert_true(known(b, 1, "one"));

    /* Others may take its place; what was read before the change stays refused. */
    for (uint64_t hash = 2; hash < 20000; hash++)
        fold_buckets_fill(b, 7, hash, "other", 5, fold_buckets_mark(b));
    assert_false(known(b, 1, "one"));
    fold_buckets_fill(b, 7, 1, "", 0, mark);
    assert_false(known(b, 1, ""));
    fold_buckets_fill(b, 7, 1, "one", 3, fold_buckets_mark(b));
    assert_true(known(b, 1, "one"));

    /* What is too long is not kept, and does not leave the shorter one behind. */
    char text[FOLD_BUCKET_KEPT + 1];
    memset(text, 'x', sizeof text);
    fold_buckets_change(b, 7, 1, text, sizeof text);
    assert_false(known(b, 1, "one"));
    fold_buckets_fill(b, 7, 1, text, sizeof text, fold_buckets_mark(b));
    assert_false(known(b, 1, "one"));
    fold_buckets_destroy(b);
    fold_buckets_destroy(NULL);
}

/* A directory just made lacks every name it was not given, and the newest directories are known. */
static void young_directories(void **state)
{
    (void)state;
    struct fold_buckets *b;
    uint64_t seed = 99;
    assert_int_equal(fold_buckets_create(&b), 0);
    assert_false(fold_buckets_absent(b, 7, 1));
    fold_buckets_born(b, 7);
    assert_true(fold_buckets_absent(b, 7, 1));
    assert_false(fold_buckets_absent(b, 8, 1));
    uint64_t hashes[100];
    unsigned wrong = 0;
    for (unsigned i = 0; i < 100; i++) {
        hashes[i] = rig_random(&seed) >> 12;
        fold_buckets_note(b, 7, hashes[i]);
        for (unsigned k = 0; k <= i; k++)
            assert_false(fold_buckets_absent(b, 7, hashes[k]));
        wrong += !fold_buckets_absent(b, 7, rig_random(&seed) >> 12);
    }
    assert_in_range(wrong, 0, 5);
    for (fold_ino dir = 100; dir < 1100; dir++)
        fold_buckets_born(b, dir);
    assert_false(fold_buckets_absent(b, 7, 1)); /* others took its place */
    assert_true(fold_buckets_absent(b, 1099, 1));
    fold_buckets_note(b, 7, 1);
    assert_true(fold_buckets_absent(b, 1099, 1));
    fold_buckets_destroy(b);
}

struct looking {
    struct rig *r;
    _Atomic uint64_t begun, done; /* changes; odd numbers of a name's changes leave it there */
    _Atomic bool stop;
};

/* Even changes add name `(i / 2) % NAMES`, odd ones remove it again. */
static void name_of(uint64_t change, char *name)
{
    (void)snprintf(name, 8, "n%u", (unsigned)(change / 2 % NAMES));
}

static void *look(void *arg)
{
    struct looking *l = arg;
    uint64_t checked = 0;
    while (!atomic_load(&l->stop)) {
        uint64_t done = atomic_load(&l->done);
        char name[8];
        name_of(done, name);
        struct fold_dentry d;
        int rc = fold_dentry_load(l->r->c, 50, name, 2, &d);
        if (atomic_load(&l->begun) != done)
            continue;
        /* Nothing changed meanwhile: the next change would add the name (even), or remove it. */
        if (rc != (done % 2 == 0 ? -ENOENT : 0))
            abort();
        checked++;
        struct fold_dentry_iter *it;
        const char *found;
        size_t len;
        if (checked % 8 == 0 && fold_dentry_iter_open(l->r->c, 50, 0, &it) == 0) {
            while (fold_dentry_iter_next(it, &d, &found, &len) > 0)
                ;
            fold_dentry_iter_close(it);
        }
    }
    return NULL;
}

static void names_are_never_old(void **state)
{
    (void)state;
    struct rig r;
    rig_create(&r);
    fold_dentry_born(r.c, 50);
    struct looking l = {.r = &r};
    pthread_t threads[LOOKERS];
    for (unsigned i = 0; i < LOOKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look, &l), 0);
    for (uint64_t i = 0; i < CHANGES; i++) {
        char name[8];
        name_of(i, name);
        struct fold_txn *t = fold_txn_begin(r.c);
        atomic_store(&l.begun, i + 1);
        if (i % 2 == 0)
            assert_int_equal(fold_dentry_add(t, 50, name, 2, 60 + i, 8), 0);
        else
            assert_int_equal(fold_dentry_remove(t, 50, name, 2), 0);
        rig_commit(t);
        atomic_store(&l.done, i + 1);
    }
    atomic_store(&l.stop, true);
    for (unsigned i = 0; i < LOOKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    rig_destroy(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_wins),
        cmocka_unit_test(young_directories),
        cmocka_unit_test(names_are_never_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
