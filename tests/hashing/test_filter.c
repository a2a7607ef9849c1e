/* SPDX-License-Identifier: MIT */
/*
 * The filter against a model: a multiset of keys in plain memory. What the model holds must never
 * be missed, through insertions, deletions, growth, divisions, many copies and lack of memory.
 */
#include "tests/hashing/filter_rig.h"

#include "meta/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

static bool is_maybe(const struct fold_filter *f, uint64_t i)
{
    return count_maybe(f, i, i + 1) == 1;
}

static void empty_says_no(void **state)
{
    (void)state;
    struct fold_filter *f = filter_of(0);
    assert_int_equal(count_maybe(f, 0, 10000), 0);
    assert_false(fold_filter_delete(f, &(struct fold_fp){{1, 2, 3, 4}}));
    assert_int_equal(info_of(f).keys, 0);
    fold_filter_destroy(f);
    fold_filter_destroy(NULL);
}

/* A filter made for its keys: all found, few others, 18 bits each, 95 % full. */
static void sized_filter_keeps_its_promises(void **state)
{
    (void)state;
    const uint64_t keys = 1000000;
    struct fold_filter *f = filter_of(keys);
    insert_range(f, 0, keys);
    assert_int_equal(count_maybe(f, 0, keys), keys);
    const uint64_t strangers = 2000000;
    uint64_t wrong = count_maybe(f, 1ull << 40, (1ull << 40) + strangers);
    assert_true(wrong < strangers / 5000); /* 0.02 % */
    assert_true(wrong > strangers / 50000);
    struct fold_filter_info info = info_of(f);
    assert_int_equal(info.keys, keys);
    assert_int_equal(info.doublings, 0);
    assert_false(info.blind);
    assert_true(info.bytes * 8 < keys * 184 / 10);
    assert_true(keys * 100 >= info.slots * 94);
    fold_filter_destroy(f);
}

/* From the smallest filter through several divisions; bits per key must stay where they are all the
 * way. */
static void growth_loses_nothing(void **state)
{
    (void)state;
    struct fold_filter *f = filter_of(0);
    uint64_t done = 0;
    for (uint64_t keys = 150000; keys <= 1500000; keys += keys / 3) {
        insert_range(f, done, keys);
        done = keys;
        struct fold_filter_info info = info_of(f);
        assert_int_equal(info.keys, keys);
        if (keys > 300000)
            assert_true(info.bytes * 8 < keys * 1875 / 100);
    }
    assert_int_equal(count_maybe(f, 0, done), done);
    struct fold_filter_info info = info_of(f);
    assert_in_range(info.doublings, 2, 4);
    uint64_t wrong = count_maybe(f, 1ull << 40, (1ull << 40) + 1000000);
    assert_true(wrong < 3000);
    fold_filter_destroy(f);
}

/* All keys that the model has must be found. */
static void check_model(const struct fold_filter *f, const uint8_t *model, uint64_t universe,
                        uint64_t seed)
{
    struct fold_fp fps[BATCH];
    uint64_t maybe[BATCH / 64];
    size_t n = 0;
    for (uint64_t i = 0; i < universe; i++) {
        if (model[i] > 0)
            fps[n++] = fp_of(i + seed);
        if (n == BATCH || (i + 1 == universe && n > 0)) {
            fold_filter_probe(f, fps, n, maybe);
            for (size_t k = 0; k < n; k++)
                assert_true(maybe[k / 64] >> k % 64 & 1);
            n = 0;
        }
    }
}

/* Random insertions and deletions against counts of each key; the set breathes so that regions
 * divide and tidy up. */
static void random_model(void **state)
{
    (void)state;
    uint64_t seed = (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)seed);
    const uint64_t universe = 500000;
    uint8_t *model = calloc(universe, 1);
    assert_non_null(model);
    struct fold_filter *f = filter_of(0);
    uint64_t rnd = seed;
    uint64_t live = 0;
    for (int phase = 0; phase < 5; phase++) {
        unsigned inserts = phase % 2 == 0 ? 80 : 30; /* per cent */
        for (int step = 0; step < 330000; step++) {
            rnd = rnd * 6364136223846793005ull + 1442695040888963407ull;
            uint64_t i = (rnd >> 32) * universe >> 32;
            struct fold_fp fp = fp_of(i + seed);
            if ((rnd >> 10) % 100 < inserts) {
                /* Mostly single keys, some twice or three times. */
                if (model[i] >= 1 + i % 3)
                    continue;
                assert_int_equal(fold_filter_insert(f, &fp), 0);
                model[i]++;
                live++;
            } else if (model[i] > 0) {
                assert_true(fold_filter_delete(f, &fp));
                model[i]--;
                live--;
            }
        }
        check_model(f, model, universe, seed);
        struct fold_filter_info info = info_of(f);
        assert_int_equal(info.keys, live);
        assert_false(info.blind);
    }
    for (uint64_t i = 0; i < universe; i++) {
        struct fold_fp fp = fp_of(i + seed);
        for (; model[i] > 0; model[i]--)
            assert_true(fold_filter_delete(f, &fp));
    }
    assert_int_equal(info_of(f).keys, 0);
    /* Nothing but what stands for good, four entries alike by chance, may be left. */
    uint64_t left = count_maybe(f, seed, seed + universe);
    print_message("left %llu\n", (unsigned long long)left);
    assert_true(left < universe / 2000);
    fold_filter_destroy(f);
    free(model);
}

/* Three copies are counted; from the fourth on the key stays whatever is deleted. */
static void copies_are_counted_to_three(void **state)
{
    (void)state;
    struct fold_filter *f = filter_of(0);
    struct fold_fp fp = fp_of(7);
    for (int copies = 1; copies <= 3; copies++) {
        for (int i = 0; i < copies; i++)
            assert_int_equal(fold_filter_insert(f, &fp), 0);
        for (int i = 0; i < copies; i++) {
            assert_true(is_maybe(f, 7));
            assert_true(fold_filter_delete(f, &fp));
        }
        assert_false(is_maybe(f, 7));
        assert_false(fold_filter_delete(f, &fp));
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(fold_filter_insert(f, &fp), 0);
    assert_int_equal(info_of(f).keys, 1000);
    for (int i = 0; i < 999; i++)
        assert_true(fold_filter_delete(f, &fp));
    assert_true(is_maybe(f, 7));
    /* Thousands of hot keys with hundreds of copies do not crowd anyone out. */
    for (int round = 0; round < 50; round++)
        insert_range(f, 1000, 5000);
    insert_range(f, 10000, 160000);
    assert_int_equal(count_maybe(f, 1000, 5000), 4000);
    assert_int_equal(count_maybe(f, 10000, 160000), 150000);
    assert_false(info_of(f).blind);
    fold_filter_destroy(f);
}

/* Copies that were added at different ages of the filter are deleted one by one. */
static void copies_of_different_ages(void **state)
{
    (void)state;
    struct fold_filter *f = filter_of(0);
    const uint64_t keys = 20000;
    insert_range(f, 0, keys);
    insert_range(f, 1ull << 50, (1ull << 50) + 400000);
    insert_range(f, 0, keys);
    insert_range(f, 1ull << 51, (1ull << 51) + 800000);
    insert_range(f, 0, keys);
    assert_true(info_of(f).doublings >= 2);
    for (int copies = 3; copies > 0; copies--) {
        assert_int_equal(count_maybe(f, 0, keys), keys);
        for (uint64_t i = 0; i < keys; i++) {
            struct fold_fp fp = fp_of(i);
            assert_true(fold_filter_delete(f, &fp));
        }
        assert_int_equal(count_maybe(f, 1ull << 50, (1ull << 50) + 400000), 400000);
        assert_int_equal(count_maybe(f, 1ull << 51, (1ull << 51) + 800000), 800000);
    }
    assert_true(count_maybe(f, 0, keys) < keys / 200);
    fold_filter_destroy(f);
}

/* Out of memory to grow: nothing is missed, and once there is memory again all is as it should be.
 */
static void blind_until_it_can_grow(void **state)
{
    (void)state;
    struct fold_filter *f = filter_of(0);
    fold_filter_set_limit(f, info_of(f).bytes);
    uint64_t keys = 0;
    while (!info_of(f).blind) {
        assert_true(keys < 200000);
        insert_range(f, keys, keys + 100);
        keys += 100;
    }
    assert_int_equal(count_maybe(f, 1ull << 40, (1ull << 40) + 1000), 1000);
    insert_range(f, keys, keys + 10000);
    keys += 10000;
    char path[32];
    int dir = temp_dir(path);
    assert_int_equal(fold_filter_save(f, dir, "filter", 1), -EAGAIN);
    assert_int_equal(close(dir), 0);
    assert_int_equal(rmdir(path), 0); /* nothing was left there */
    for (uint64_t i = keys - 500; i < keys; i++) {
        struct fold_fp fp = fp_of(i);
        assert_true(fold_filter_delete(f, &fp));
    }
    keys -= 500;
    assert_int_equal(info_of(f).keys, keys);
    fold_filter_set_limit(f, 0);
    insert_range(f, keys, keys + 20000);
    keys += 20000;
    assert_false(info_of(f).blind);
    assert_int_equal(count_maybe(f, 0, keys), keys);
    assert_true(count_maybe(f, 1ull << 40, (1ull << 40) + 100000) < 200);
    fold_filter_destroy(f);
}

/* Too much for too long: it says so, and from then on answers "maybe" for ever. */
static void lost_keys_are_never_denied(void **state)
{
    (void)state;
    struct fold_filter *f = filter_of(0);
    fold_filter_set_limit(f, info_of(f).bytes);
    uint64_t failed = 0;
    for (uint64_t i = 0; i < 300000; i++) {
        struct fold_fp fp = fp_of(i);
        failed += fold_filter_insert(f, &fp) == -ENOMEM;
    }
    assert_true(failed > 0);
    fold_filter_set_limit(f, 0);
    failed = 0;
    for (uint64_t i = 300000; i < 310000; i++) {
        struct fold_fp fp = fp_of(i);
        failed += fold_filter_insert(f, &fp) == -ENOMEM;
    }
    assert_true(failed < 5000); /* there is room again */
    assert_true(info_of(f).blind);
    assert_int_equal(count_maybe(f, 0, 310000), 310000);
    fold_filter_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_says_no),
        cmocka_unit_test(sized_filter_keeps_its_promises),
        cmocka_unit_test(growth_loses_nothing),
        cmocka_unit_test(random_model),
        cmocka_unit_test(copies_are_counted_to_three),
        cmocka_unit_test(copies_of_different_ages),
        cmocka_unit_test(blind_until_it_can_grow),
        cmocka_unit_test(lost_keys_are_never_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
