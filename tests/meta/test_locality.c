/* SPDX-License-Identifier: MIT */
/* The locality cache: finds what was loaded, never anything else, stays within its budget, prefers
 * what is hit. */
#include "blob_rig.h"

#include "meta/locality.h"

#define PER_SEG 500u

static struct fold_fp fp_of(uint32_t seg, uint32_t i)
{
    return rig_fp((uint64_t)seg << 32 | i, 16);
}

static void load(struct fold_locality *l, uint32_t seg)
{
    struct fold_seg_entry e[PER_SEG];
    for (uint32_t i = 0; i < PER_SEG; i++) {
        struct fold_fp fp = fp_of(seg, i);
        e[i] = (struct fold_seg_entry){{fp.w[0], fp.w[1]}, 4096 + 16 * i, 100};
    }
    fold_locality_load(l, seg, e, PER_SEG);
}

/* How many of the segment's chunks are found; every answer must be right. */
static size_t found_of(struct fold_locality *l, uint32_t seg)
{
    size_t found = 0;
    for (uint32_t i = 0; i < PER_SEG; i++) {
        struct fold_fp fp = fp_of(seg, i);
        const struct fold_fp *ask = &fp;
        struct fold_loc loc = {0, 0};
        if (fold_locality_find(l, &ask, 1, &loc) == 0) {
            assert_int_equal(loc.seg, 0);
            continue;
        }
        assert_int_equal(loc.seg, seg);
        assert_int_equal(loc.off, 4096 + 16 * i);
        found++;
    }
    return found;
}

static void finds_what_was_loaded(void **state FOLD_UNUSED)
{
    struct fold_locality *l;
    assert_int_equal(fold_locality_create(1u << 20, &l), 0);
    assert_int_equal(found_of(l, 1), 0);
    load(l, 1);
    load(l, 2);
    load(l, 2); /* twice changes nothing */
    assert_int_equal(found_of(l, 1), PER_SEG);
    assert_int_equal(found_of(l, 2), PER_SEG);
    assert_int_equal(found_of(l, 3), 0);
    fold_locality_drop(l, 1);
    assert_int_equal(found_of(l, 1), 0);
    assert_int_equal(found_of(l, 2), PER_SEG);
    fold_locality_destroy(l);
}

static void skips_what_is_known(void **state FOLD_UNUSED)
{
    struct fold_locality *l;
    assert_int_equal(fold_locality_create(1u << 20, &l), 0);
    load(l, 1);
    struct fold_fp fp = fp_of(1, 3);
    const struct fold_fp *ask[] = {&fp, &fp};
    struct fold_loc locs[] = {{9, 16}, {0, 0}};
    assert_int_equal(fold_locality_find(l, ask, 2, locs), 1);
    assert_int_equal(locs[0].seg, 9);
    assert_int_equal(locs[1].seg, 1);
    fold_locality_destroy(l);
}

static void stays_within_its_budget(void **state FOLD_UNUSED)
{
    const uint64_t budget = 400000;
    struct fold_locality *l;
    assert_int_equal(fold_locality_create(budget, &l), 0);
    for (uint32_t seg = 1; seg <= 200; seg++) {
        load(l, seg);
        assert_true(fold_locality_bytes(l) <= budget);
        assert_true(found_of(l, seg) >= PER_SEG * 97 / 100);
        /* segment 1 is asked for all the time and stays */
        assert_true(found_of(l, 1) >= PER_SEG * 90 / 100);
    }
    assert_int_equal(found_of(l, 100), 0);
    assert_true(found_of(l, 199) > 0);
    fold_locality_destroy(l);
}

static void too_small_a_budget_is_harmless(void **state FOLD_UNUSED)
{
    struct fold_locality *l;
    assert_int_equal(fold_locality_create(1, &l), 0);
    load(l, 1);
    assert_int_equal(found_of(l, 1), 0);
    fold_locality_destroy(l);
}

static void wants_after_a_second_hit(void **state FOLD_UNUSED)
{
    struct fold_locality *l;
    assert_int_equal(fold_locality_create(1u << 20, &l), 0);
    assert_false(fold_locality_wants(l, 5));
    assert_true(fold_locality_wants(l, 5));
    assert_false(fold_locality_wants(l, 6));
    fold_locality_destroy(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_loaded),
        cmocka_unit_test(skips_what_is_known),
        cmocka_unit_test(stays_within_its_budget),
        cmocka_unit_test(too_small_a_budget_is_harmless),
        cmocka_unit_test(wants_after_a_second_hit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
