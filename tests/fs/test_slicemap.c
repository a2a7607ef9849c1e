/* SPDX-License-Identifier: MIT */
/*
 * The slice map against a plain byte array: random inserts, overlaps and punches in all shapes, and
 * in a second run with memory refused now and then: what is refused changes nothing.
 * test-wraps: malloc reallocarray
 */
#include "fs/budget.h"
#include "fs/slicemap.h"
#include "meta/base/knob.h"
#include "tests/support/random.h"

#include <errno.h>
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

static bool refusing;
static uint32_t refusals;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

static bool refused(void)
{
    if (!refusing || rng(3) != 0)
        return false;
    refusals++;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return refused() ? NULL : __real_malloc(size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return refused() ? NULL : __real_reallocarray(old, count, size);
}

static void insert(struct fold_slices *m, struct model *model, struct fold_budget *budget,
                   uint32_t off, uint32_t len, bool refuse)
{
    struct fold_buf *b = fold_buf_arena(budget, len);
    assert_non_null(b);
    for (uint32_t i = 0; i < len; i++)
        b->mem[i] = (uint8_t)rng(256);
    struct fold_slice s = {.off = off, .data = b->mem, .buf = b, .len = len};
    refusing = refuse;
    int rc = fold_slices_insert(m, &s);
    refusing = false;
    if (rc != 0) {
        assert_true(refuse && rc == -ENOMEM);
        fold_buf_put(b);
        return;
    }
    memcpy(model->byte + off, b->mem, len);
    memset(model->have + off, 1, len);
}

static void edits(bool refuse)
{
    struct fold_budget *budget;
    assert_int_equal(fold_budget_create(1u << 30, &budget), 0);
    for (unsigned round = 0; round < (refuse ? 8 : 20); round++) {
        rng_state = 0x1234567 + round;
        static const uint64_t blocks[] = {64, 2, 3, 7};
        fold_knobs.slice_block = blocks[round % FOLD_ARRAY_LEN(blocks)];
        struct fold_slices m = {0};
        static struct model model;
        memset(&model, 0, sizeof model);
        uint32_t longest = round % 2 != 0 ? 5000 : 60;
        for (unsigned op = 0; op < (refuse ? 500 : 3000); op++) {
            uint32_t off = rng(SPACE - longest - 1);
            uint32_t len = 1 + rng(longest);
            if (rng(4) != 0) {
                insert(&m, &model, budget, off, len, refuse);
            } else {
                refusing = refuse;
                int rc = fold_slices_punch(&m, off, len);
                refusing = false;
                assert_true(rc == 0 || (refuse && rc == -ENOMEM));
                if (rc == 0)
                    memset(model.have + off, 0, len);
            }
            assert_null(m.spare);
            if (op % 100 == 0 || refuse)
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
    fold_knobs_reset();
    fold_budget_destroy(budget);
}

static void random_edits(void **state)
{
    (void)state;
    edits(false);
}

static void refused_edits(void **state)
{
    (void)state;
    edits(true);
    assert_true(refusals > 300);
}

/* Slices of one byte take more memory than their bytes, and that is counted. */
static void small_slices_are_charged(void **state)
{
    (void)state;
    struct fold_budget *budget;
    assert_int_equal(fold_budget_create(1u << 30, &budget), 0);
    struct fold_buf *b = fold_buf_arena(budget, 1000);
    assert_non_null(b);
    uint64_t before = fold_budget_used(budget);
    struct fold_slices m = {0};
    for (uint32_t i = 0; i < 1000; i++) {
        struct fold_slice s = {.off = 2u * i, .data = b->mem + i, .buf = b, .len = 1};
        fold_buf_ref(b);
        assert_int_equal(fold_slices_insert(&m, &s), 0);
    }
    assert_true(fold_budget_used(budget) - before >= 1000 * sizeof(struct fold_slice));
    fold_slices_clear(&m);
    assert_int_equal(fold_budget_used(budget), before);
    fold_buf_put(b);
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
        cmocka_unit_test(refused_edits),
        cmocka_unit_test(small_slices_are_charged),
        cmocka_unit_test(neighbours_in_one_buffer_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
