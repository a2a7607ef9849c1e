/* SPDX-License-Identifier: MIT */
/*
 * The slice map against a plain byte array: random inserts, overlaps and punches in all shapes.
 */
#include "fs/budget.h"
#include "fs/slicemap.h"
#include "tests/support/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SPACE 60000u

struct model {
    uint8_t byte[SPACE];
    bool have[SPACE];
};

static uint64_t rng_state;

static uint32_t rng(uint32_t below)
{
    return (uint32_t)(rig_random(&rng_state) >> 33) % below;
}

static void check(const struct fold_slices *m, const struct model *model)
{
    uint64_t at = 0, bytes = 0;
    struct fold_slice_pos pos;
    for (const struct fold_slice *s = fold_slices_seek(m, 0, &pos); s != NULL;
         s = fold_slices_next(m, &pos)) {
        assert_true(s->len > 0 && s->off >= at);
        for (; at < s->off; at++)
            assert_false(model->have[at]);
        for (uint32_t i = 0; i < s->len; i++, at++) {
            assert_true(model->have[at]);
            assert_int_equal(s->data[i], model->byte[at]);
        }
        bytes += s->len;
    }
    for (; at < SPACE; at++)
        assert_false(model->have[at]);
    assert_int_equal(bytes, m->bytes);
}

static void insert(struct fold_slices *m, struct model *model, struct fold_budget *budget,
                   uint32_t off, uint32_t len)
{
    struct fold_buf *b = fold_buf_arena(budget, len);
    assert_non_null(b);
    for (uint32_t i = 0; i < len; i++) {
        b->mem[i] = (uint8_t)rng(256);
        model->byte[off + i] = b->mem[i];
        model->have[off + i] = true;
    }
    struct fold_slice s = {.off = off, .data = b->mem, .buf = b, .len = len};
    assert_int_equal(fold_slices_insert(m, &s), 0);
}

static void random_edits(void **state)
{
    (void)state;
    struct fold_budget *budget;
    assert_int_equal(fold_budget_create(1u << 30, &budget), 0);
    for (unsigned round = 0; round < 20; round++) {
        rng_state = 0x1234567 + round;
        struct fold_slices m = {0};
        static struct model model;
        memset(&model, 0, sizeof model);
        uint32_t longest = round % 2 != 0 ? 5000 : 60;
        for (unsigned op = 0; op < 3000; op++) {
            uint32_t off = rng(SPACE - longest - 1);
            uint32_t len = 1 + rng(longest);
            if (rng(4) != 0) {
                insert(&m, &model, budget, off, len);
            } else {
                assert_int_equal(fold_slices_punch(&m, off, len), 0);
                memset(model.have + off, 0, len);
            }
            if (op % 100 == 0)
                check(&m, &model);
        }
        check(&m, &model);
        uint32_t off = rng(SPACE - 1000);
        uint64_t covered = 0;
        for (uint32_t i = 0; i < 1000; i++)
            covered += model.have[off + i];
        assert_int_equal(fold_slices_covered(&m, off, 1000), covered);
        assert_int_equal(fold_slices_punch(&m, 100, UINT64_MAX), 0);
        memset(model.have + 100, 0, SPACE - 100);
        check(&m, &model);
        fold_slices_clear(&m);
        assert_int_equal(fold_budget_used(budget), 0); /* every buffer was given back */
    }
    fold_budget_destroy(budget);
}

static void neighbours_in_one_buffer_merge(void **state)
{
    (void)state;
    struct fold_budget *budget;
    assert_int_equal(fold_budget_create(1u << 30, &budget), 0);
    struct fold_buf *b = fold_buf_arena(budget, 3000);
    struct fold_slices m = {0};
    for (uint32_t i = 0; i < 3; i++) {
        struct fold_slice s = {.off = 1000u * i, .data = b->mem + 1000u * i, .buf = b, .len = 1000};
        fold_buf_ref(b);
        assert_int_equal(fold_slices_insert(&m, &s), 0);
    }
    struct fold_slice_pos pos;
    const struct fold_slice *s = fold_slices_seek(&m, 0, &pos);
    assert_int_equal(s->len, 3000);
    assert_null(fold_slices_next(&m, &pos));
    fold_slices_clear(&m);
    assert_true(fold_budget_used(budget) > 0);
    fold_buf_put(b);
    assert_int_equal(fold_budget_used(budget), 0);
    fold_budget_destroy(budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_edits),
        cmocka_unit_test(neighbours_in_one_buffer_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
