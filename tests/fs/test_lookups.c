/* SPDX-License-Identifier: MIT */
/*
 * The map of kernel lookups against a plain array, its memory bound, and a count that runs over.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fs/lookups.h"
#include "tests/support/random.h"

#define INOS 4096

/* Sequential numbers, and numbers far apart that begin their search close together. */
static fold_ino ino_of(size_t i)
{
    return i % 2 == 0 ? (fold_ino)i + 1 : ((fold_ino)i << 40) + 1;
}

static void test_model(void **state)
{
    (void)state;
    static uint64_t model[INOS];
    struct fold_lookups l = {0};
    uint64_t seed = 88172645463325252u;
    size_t used = 0;
    for (int step = 0; step < 400000; step++) {
        /* Long phases of growing and of shrinking. */
        bool grow = rig_random(&seed) % 100 < (step / 50000 % 2 == 0 ? 70u : 30u);
        size_t i = rig_random(&seed) % INOS;
        if (grow) {
            bool first;
            assert_int_equal(fold_lookups_add(&l, ino_of(i), &first), 0);
            assert_int_equal(first, model[i] == 0);
            used += model[i]++ == 0;
        } else {
            uint64_t n = rig_random(&seed) % 4 + 1;
            bool gone = model[i] > 0 && model[i] <= n;
            assert_int_equal(fold_lookups_drop(&l, ino_of(i), n), gone);
            model[i] -= model[i] < n ? model[i] : n;
            used -= gone;
        }
        assert_int_equal(fold_lookups_has(&l, ino_of(i)), model[i] > 0);
        assert_int_equal(l.used, used);
    }
    for (size_t i = 0; i < INOS; i++) {
        assert_int_equal(fold_lookups_has(&l, ino_of(i)), model[i] > 0);
        if (model[i] > 0)
            assert_true(fold_lookups_drop(&l, ino_of(i), model[i]));
    }
    assert_int_equal(l.used, 0);
    fold_lookups_fini(&l);
}

static void test_memory(void **state)
{
    (void)state;
    struct fold_lookups l = {0};
    bool first;
    for (fold_ino ino = 1; ino <= 200000; ino++) {
        assert_int_equal(fold_lookups_add(&l, ino, &first), 0);
        if (l.used > 1000)
            assert_true(l.cap * (sizeof *l.inos + sizeof *l.counts) <= 24 * l.used);
    }
    for (fold_ino ino = 1; ino <= 199000; ino++) {
        assert_true(fold_lookups_drop(&l, ino, 1));
        assert_true(l.cap * (sizeof *l.inos + sizeof *l.counts) <= 25 * l.used);
    }
    fold_lookups_fini(&l);
}

/* A count that no longer fits stays for good rather than being forgotten early. */
static void test_overflow(void **state)
{
    (void)state;
    struct fold_lookups l = {0};
    bool first;
    assert_int_equal(fold_lookups_add(&l, 5, &first), 0);
    for (size_t i = 0; i < l.cap; i++)
        if (l.inos[i] == 5)
            l.counts[i] = UINT32_MAX - 1;
    assert_int_equal(fold_lookups_add(&l, 5, &first), 0);
    assert_int_equal(fold_lookups_add(&l, 5, &first), 0);
    assert_false(first);
    assert_false(fold_lookups_drop(&l, 5, UINT64_C(1) << 40));
    assert_true(fold_lookups_has(&l, 5));
    fold_lookups_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
