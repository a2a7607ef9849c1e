/* SPDX-License-Identifier: MIT */
/*
 * What a read collects: dirty over flushing over recipe, holes and cut-offs as zeros, clipped at
 * the size; at every edge of them.
 */
#include "tests/fs/content_rig.h"

#include "meta/base/gate.h"
#include "meta/recipe.h"

/* A file with all three layers: recipe, a list left in `flushing`, and newer dirty bytes. */
static void layered(struct rig *r)
{
    struct fold_data *d = r->inode->data;
    rig_churn(r, 150, 4000, 10);
    assert_int_equal(fold_flush_inode(r->session, r->inode), 0);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(rig_write(r, rig_below(r, 150000), 1 + rig_below(r, 3000), false), 0);
    fold_turn_wait(r->inode);
    fold_rwlock_write(&d->map);
    fold_slices_clear(&d->flushing);
    d->flushing = d->dirty;
    d->dirty = (struct fold_slices){0};
    fold_rwlock_drop(&d->map);
    fold_turn_drop(r->session, r->inode);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(rig_write(r, rig_below(r, 150000), 1 + rig_below(r, 3000), false), 0);
}

static void layers(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        struct rig r;
        rig_setup(&r);
        r.seed += round;
        layered(&r);
        rig_check(&r);
        for (unsigned i = 0; i < 500; i++)
            rig_check_range(&r, rig_below(&r, 220000), 1 + rig_below(&r, i % 2 == 0 ? 20 : 30000));
        /* A cut-off hides what is below it, in all three. */
        rig_truncate(&r, r.size / 2);
        rig_truncate(&r, r.size * 2);
        rig_check(&r);
        for (unsigned i = 0; i < 200; i++)
            rig_check_range(&r, rig_below(&r, 220000), 1 + rig_below(&r, 30000));
        assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
        rig_check_clean(&r);
        rig_remount_and_check(&r);
        rig_teardown(&r);
    }
}

static void edges(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    rig_check_range(&r, 0, 100); /* empty */
    static const uint64_t at[] = {4095, 4096, 4097, FOLD_PAGE_BYTES / 2 - 1};
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(at); i++) {
        assert_int_equal(rig_write(&r, at[i], 1, false), 0);
        if (i % 2 == 0)
            assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
    }
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(at); i++)
        for (int64_t k = -2; k <= 2; k++) {
            rig_check_range(&r, (uint64_t)((int64_t)at[i] + k), 1);
            rig_check_range(&r, (uint64_t)((int64_t)at[i] + k), 5000);
        }
    rig_check_range(&r, r.size, 10);
    rig_teardown(&r);
}

/* The stored content alone, for who holds the flush lock. */
static void recipe_alone(void **state)
{
    (void)state;
    struct rig r;
    uint8_t bytes[2000];
    rig_setup(&r);
    assert_int_equal(rig_write(&r, 0, sizeof bytes, false), 0);
    assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
    memcpy(bytes, r.model, sizeof bytes);
    assert_int_equal(rig_write(&r, 500, 1000, false), 0);
    fold_turn_wait(r.inode);
    unsigned token = fold_gate_enter(r.session->gate);
    struct fold_read read = {0};
    uint8_t have[sizeof bytes];
    assert_int_equal(fold_read_recipe(r.session, r.inode, 0, sizeof bytes, &read), 0);
    assert_int_equal(fold_read_copy(&read, have), 0);
    assert_memory_equal(have, bytes, sizeof bytes);
    fold_read_fini(r.session, &read);
    fold_gate_leave(r.session->gate, token);
    fold_turn_drop(r.session, r.inode);
    rig_check(&r);
    rig_teardown(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers),
        cmocka_unit_test(edges),
        cmocka_unit_test(recipe_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
