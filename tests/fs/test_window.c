/* SPDX-License-Identifier: MIT */
/*
 * Windows of a flush at their limits: however small they are, each leaves the list shorter, the
 * last one says so, and what they commit together is the file.
 */
#include "tests/fs/content_rig.h"

#include "fs/window.h"

/* Lets the windows run over what is dirty now; returns how many there were. */
static unsigned run(struct rig *r, unsigned how)
{
    struct fold_data *d = r->inode->data;
    unsigned windows = 0;
    fold_turn_wait(r->inode);
    fold_rwlock_write(&d->map);
    fold_slices_clear(&d->flushing);
    d->flushing = d->dirty;
    d->dirty = (struct fold_slices){0};
    fold_buf_put(d->arena);
    d->arena = NULL;
    fold_rwlock_drop(&d->map);
    for (bool done = false; !done; windows++) {
        uint64_t before = d->flushing.bytes;
        assert_int_equal(fold_window_store(r->session, r->inode, how, &done), 0);
        assert_true(done || d->flushing.bytes < before);
    }
    if ((how & FOLD_FLUSH_HOLD_TAIL) == 0)
        assert_int_equal(d->flushing.bytes, 0);
    else
        assert_true(d->flushing.bytes < r->session->cut.max);
    fold_turn_drop(r->session, r->inode);
    return windows;
}

/* Bytes of a file of `len`, one by one, in falling order: slices that never merge. */
static void scatter(struct rig *r, uint32_t len)
{
    for (uint32_t i = len; i > 0; i--)
        assert_int_equal(rig_write(r, i - 1, 1, false), 0);
}

static void limits(struct rig *r, uint64_t slices, uint64_t bytes, uint32_t len)
{
    fold_knobs.window_slices = slices;
    fold_knobs.window_bytes = bytes;
    scatter(r, len);
    unsigned windows = run(r, 0);
    if (slices >= len && bytes >= len)
        assert_int_equal(windows, 1);
    rig_check(r);
    rig_remount_and_check(r);
}

static void by_slices(void **state)
{
    (void)state;
    static const uint32_t chunkers[] = {FOLD_CUT_CDC, FOLD_CUT_FIXED};
    for (unsigned c = 0; c < FOLD_ARRAY_LEN(chunkers); c++) {
        struct rig r;
        rig_setup_chunks(&r, chunkers[c], 4096);
        limits(&r, 1, 1, 3000);        /* less than a chunk */
        limits(&r, 100, 16 << 20, 99); /* one below, at, and above the limit */
        limits(&r, 100, 16 << 20, 100);
        limits(&r, 100, 16 << 20, 101);
        limits(&r, 100, 16 << 20, 60000); /* many chunks */
        limits(&r, 16384, 100, 60000);
        rig_teardown(&r);
    }
}

/* Chunks longer than any window. */
static void long_chunks(void **state)
{
    (void)state;
    struct rig r;
    rig_setup_chunks(&r, FOLD_CUT_CDC, 256 << 10);
    limits(&r, 1000, 5000, 200000);
    rig_teardown(&r);
    rig_setup_chunks(&r, FOLD_CUT_FIXED, 256 << 10);
    limits(&r, 1000, 5000, 400000);
    rig_teardown(&r);
}

/* Pieces that do not touch: a window may end behind each. */
static void apart(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    fold_knobs.window_slices = 7;
    for (uint32_t i = 0; i < 200; i++)
        assert_int_equal(rig_write(&r, 3000 * (uint64_t)i, 100, false), 0);
    assert_int_equal(run(&r, 0), (200 + 6) / 7);
    rig_check(&r);
    rig_remount_and_check(&r);
    rig_teardown(&r);
}

/* A held tail is the end of the last run, and less than a chunk; the rest is stored. */
static void held_tail(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    fold_knobs.window_slices = 3;
    assert_int_equal(rig_write(&r, 0, 1000, false), 0);
    assert_int_equal(rig_write(&r, 50000, 70000, false), 0);
    assert_int_equal(rig_write(&r, 200000, 100, false), 0);
    (void)run(&r, FOLD_FLUSH_HOLD_TAIL);
    assert_int_equal(r.inode->data->flushing.bytes, 100);
    rig_check(&r);
    assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
    rig_check_clean(&r);
    rig_remount_and_check(&r);
    rig_teardown(&r);
}

/* Appends take up the chunks that earlier appends cut short, as many as the knob allows. */
static void continued_chunks(void **state)
{
    (void)state;
    static const uint64_t tails[] = {1, 2, 16};
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(tails); i++) {
        struct rig r;
        rig_setup(&r);
        fold_knobs.window_tails = tails[i];
        for (unsigned n = 0; n < 60; n++) {
            assert_int_equal(rig_write(&r, r.size, 1 + rig_below(&r, 700), false), 0);
            (void)run(&r, 0);
        }
        rig_check(&r);
        rig_remount_and_check(&r);
        rig_teardown(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_slices), cmocka_unit_test(long_chunks),      cmocka_unit_test(apart),
        cmocka_unit_test(held_tail), cmocka_unit_test(continued_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
