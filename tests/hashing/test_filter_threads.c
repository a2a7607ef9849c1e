/* SPDX-License-Identifier: MIT */
/*
 * Probes beside writers: keys that are in the filter must be found at every moment, while others
 * come and go and regions grow and divide. Meant to run under the thread sanitizer too, which sees
 * only the plain C probe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hashing/filter.h"

#include <pthread.h>
#include <stdatomic.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

#define STEADY  60000                          /* keys that stay */
#define GROWING (UNDER_TSAN ? 400000 : 700000) /* enough for regions to divide once or twice */
#define READERS 2
#define WRITERS 2
#define BATCH   200

static struct fold_filter *filter;
static atomic_uint_fast64_t grown; /* keys 0 .. grown - 1 of the growing range are in */
static atomic_bool stop;
static atomic_uint_fast64_t missed;
static atomic_uint_fast64_t probed;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185ull;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44dull;
    return x ^ x >> 33;
}

static struct fold_fp fp_of(uint64_t range, uint64_t i)
{
    return (struct fold_fp){{mix(i), mix(i ^ range << 56), 0, 0}};
}

static void *reader(void *arg)
{
    uint64_t rnd = (uintptr_t)arg;
    struct fold_fp fps[BATCH];
    uint64_t maybe[BATCH / 64 + 1];
    while (!atomic_load(&stop)) {
        uint64_t limit = atomic_load(&grown);
        for (size_t i = 0; i < BATCH; i++) {
            rnd = mix(rnd + 1);
            fps[i] = i % 2 == 0 || limit == 0 ? fp_of(1, rnd % STEADY) : fp_of(2, rnd % limit);
        }
        fold_filter_probe(filter, fps, BATCH, maybe);
        for (size_t i = 0; i < BATCH; i++)
            if ((maybe[i / 64] >> i % 64 & 1) == 0)
                atomic_fetch_add(&missed, 1);
        atomic_fetch_add(&probed, BATCH);
    }
    return NULL;
}

/* Adds and removes keys of its own, over and over. */
static void *churner(void *arg)
{
    uint64_t range = (uintptr_t)arg;
    for (uint64_t round = 0; !atomic_load(&stop); round++) {
        uint64_t base = round % 8 * 5000;
        for (uint64_t i = 0; i < 5000 && !atomic_load(&stop); i++) {
            struct fold_fp fp = fp_of(range, base + i);
            assert_int_equal(fold_filter_insert(filter, &fp), 0);
            if (round >= 8 || i >= 100) {
                fp = fp_of(range, round >= 8 ? base + i : base + i - 100);
                assert_true(fold_filter_delete(filter, &fp));
            }
        }
    }
    return NULL;
}

static void nothing_is_missed(void **state)
{
    (void)state;
    pthread_t readers[READERS];
    pthread_t writers[WRITERS];
    assert_int_equal(fold_filter_create_exact(0, &filter), 0);
    for (uint64_t i = 0; i < STEADY; i++) {
        struct fold_fp fp = fp_of(1, i);
        assert_int_equal(fold_filter_insert(filter, &fp), 0);
    }
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, reader, (void *)(i + 1)), 0);
    for (uintptr_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, churner, (void *)(i + 10)), 0);
    for (uint64_t i = 0; i < GROWING; i++) {
        struct fold_fp fp = fp_of(2, i);
        assert_int_equal(fold_filter_insert(filter, &fp), 0);
        if (i % 64 == 63)
            atomic_store(&grown, i + 1);
    }
    while (atomic_load(&probed) < 100000)
        (void)sched_yield();
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(writers[i], NULL), 0);
    print_message("%llu probes\n", (unsigned long long)probed);
    assert_int_equal(missed, 0);
    struct fold_filter_info info;
    fold_filter_info(filter, &info);
    assert_true(info.doublings >= 1);
    fold_filter_destroy(filter);
}

int main(void)
{
    if (UNDER_TSAN)
        assert_int_equal(setenv("FOLDFS_CPU", "scalar", 1), 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
