/* SPDX-License-Identifier: MIT */
/*
 * Writing and cutting off in memory, against a model: sizes, times, the largest offset, and a write
 * that memory is short for changes nothing.
 * test-wraps: malloc
 */
#include "tests/fs/content_rig.h"

static bool refusing;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    return refusing ? NULL : __real_malloc(size);
}

/* Never flushed: everything is read back from memory, with arenas of all sizes. */
static void in_memory(void **state)
{
    (void)state;
    static const uint64_t arenas[][2] = {{4096, 256 << 10}, {1, 1}, {64, 100}};
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(arenas); i++) {
        struct rig r;
        rig_setup(&r);
        fold_knobs.arena_min = arenas[i][0];
        fold_knobs.arena_max = arenas[i][1];
        rig_churn(&r, 500, 2000, 1u << 30);
        rig_check(&r);
        assert_true(fold_data_dirty(r.inode));
        for (unsigned n = 0; n < 200; n++)
            rig_check_range(&r, rig_below(&r, 300000), 1 + rig_below(&r, 5000));
        rig_remount_and_check(&r);
        rig_teardown(&r);
    }
}

/* Cut off and extended over what is dirty, what is stored, and what is both. */
static void cuts(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(rig_write(&r, rig_below(&r, 50000), 1 + rig_below(&r, 20000), false), 0);
        if (i % 3 == 0)
            assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
        rig_truncate(&r, rig_below(&r, 70000));
        if (i % 5 == 0)
            rig_truncate(&r, r.size + rig_below(&r, 10000));
        rig_check(&r);
        uint64_t blocks = fold_data_mapped(r.inode);
        assert_true(blocks <= (r.size + 4095) / 4096 * 4096);
    }
    rig_remount_and_check(&r);
    rig_teardown(&r);
}

static void largest_file(void **state)
{
    (void)state;
    struct rig r;
    uint64_t dirty;
    rig_setup(&r);
    assert_int_equal(rig_write_bytes(r.session, r.inode, FOLD_FILE_MAX, "x", 1, false, &dirty),
                     -EFBIG);
    assert_int_equal(rig_write_bytes(r.session, r.inode, UINT64_MAX, "x", 1, false, &dirty),
                     -EFBIG);
    assert_int_equal(
        fold_data_truncate(r.session, r.inode, (uint64_t)FOLD_FILE_MAX + 1, false, NULL), -EFBIG);
    rig_check(&r);
    assert_int_equal(rig_write_bytes(r.session, r.inode, FOLD_FILE_MAX - 1, "x", 1, false, &dirty),
                     0);
    assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
    rig_check_clean(&r);
    struct fold_read read = {0};
    uint8_t byte = 0;
    assert_int_equal(fold_read_collect(r.session, r.inode, FOLD_FILE_MAX - 1, 10, &read), 0);
    assert_int_equal(read.len, 1);
    assert_int_equal(fold_read_copy(&read, &byte), 0);
    assert_int_equal(byte, 'x');
    fold_read_fini(r.session, &read);
    rig_truncate(&r, 0);
    rig_check(&r);
    rig_teardown(&r);
}

/* Mode, size and content stay what they were when a write cannot be taken. */
static void no_memory(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    fold_knobs.arena_min = 1;
    fold_knobs.arena_max = 1;
    fold_knobs.slice_block = 2;
    rig_churn(&r, 100, 300, 1u << 30);
    uint8_t bytes[100] = {1};
    uint64_t dirty;
    for (unsigned i = 0; i < 100; i++) {
        refusing = true;
        int rc = rig_write_bytes(r.session, r.inode, rig_below(&r, 200000), bytes, sizeof bytes,
                                 false, &dirty);
        refusing = false;
        assert_int_equal(rc, -ENOMEM);
        rig_check(&r);
    }
    rig_remount_and_check(&r);
    rig_teardown(&r);
}

/* Set-user-id goes with a write by somebody without privileges; set-group-id only where it means
 * execution. */
static void privileges(void **state)
{
    (void)state;
    static const uint32_t modes[][2] = {{04755, 0755},  {02755, 0755},  {06711, 0711},
                                        {02644, 02644}, {06644, 02644}, {0644, 0644}};
    struct rig r;
    rig_setup(&r);
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(modes); i++) {
        uint64_t dirty;
        r.inode->attr.mode = S_IFREG | modes[i][0];
        assert_int_equal(rig_write_bytes(r.session, r.inode, 0, "x", 1, false, &dirty), 0);
        assert_int_equal(r.inode->attr.mode, S_IFREG | modes[i][0]);
        assert_int_equal(rig_write_bytes(r.session, r.inode, 0, "x", 1, true, &dirty), 0);
        assert_int_equal(r.inode->attr.mode, S_IFREG | modes[i][1]);
        r.inode->attr.mode = S_IFREG | modes[i][0];
        assert_int_equal(fold_data_truncate(r.session, r.inode, 0, true, NULL), 0);
        assert_int_equal(r.inode->attr.mode, S_IFREG | modes[i][1]);
    }
    rig_teardown(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_memory), cmocka_unit_test(cuts),       cmocka_unit_test(largest_file),
        cmocka_unit_test(no_memory), cmocka_unit_test(privileges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
