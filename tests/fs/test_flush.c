/* SPDX-License-Identifier: MIT */
/*
 * What a flush reports is true: after success nothing is dirty and the catalog has the file; after
 * a refusal of memory everything is dirty as before; after a refusal by the disk every handle is
 * told. test-wraps: malloc reallocarray
 */
#include "tests/fs/content_rig.h"

#include "meta/base/io.h"

static atomic_bool refusing;
static atomic_uint countdown;

static bool refused(void)
{
    return atomic_load(&refusing) && atomic_fetch_sub(&countdown, 1) == 1;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

void *__wrap_malloc(size_t size)
{
    /* The catalog, like its database, dies without memory for a transaction. */
    return size >= 64 && refused() ? NULL : __real_malloc(size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return refused() ? NULL : __real_reallocarray(old, count, size);
}

static void small_limits(void)
{
    fold_knobs.window_slices = 5;
    fold_knobs.window_bytes = 2000;
    fold_knobs.slice_block = 3;
    fold_knobs.arena_min = 64;
    fold_knobs.arena_max = 512;
}

static void random_writes(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 6; round++) {
        struct rig r;
        rig_setup_chunks(&r, round % 2 == 0 ? FOLD_CUT_CDC : FOLD_CUT_FIXED, 4096u << round);
        r.seed += round;
        if (round < 4)
            small_limits();
        rig_churn(&r, 400, round % 3 == 0 ? 60 : 9000, 20);
        rig_check(&r);
        assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
        rig_check_clean(&r);
        rig_check(&r);
        rig_remount_and_check(&r);
        rig_teardown(&r);
    }
}

/* A file open for long is flushed by the closing of the volume, too. */
static void left_dirty(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    small_limits();
    rig_churn(&r, 200, 300, 1000);
    fold_flush_stream(r.session, r.inode);
    rig_check(&r);
    rig_remount_and_check(&r);
    rig_teardown(&r);
}

/* Memory refused at each place in turn: an error is reported and nothing is lost, or it worked. */
static void no_memory(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    small_limits();
    unsigned failures = 0;
    for (unsigned at = 1; at < 150; at++) {
        rig_churn(&r, 6, 3000, 1000);
        uint64_t before = fold_data_pending(r.inode);
        atomic_store(&countdown, at);
        atomic_store(&refusing, true);
        int rc = fold_flush_inode(r.session, r.inode);
        atomic_store(&refusing, false);
        if (rc == 0) {
            rig_check_clean(&r);
        } else {
            failures++;
            assert_int_equal(rc, -ENOMEM);
            assert_true(fold_data_pending(r.inode) <= before);
            assert_true(fold_data_dirty(r.inode));
        }
        rig_check(&r);
    }
    assert_true(failures > 10);
    assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
    rig_check_clean(&r);
    rig_remount_and_check(&r);
    rig_teardown(&r);
}

static atomic_int refusal; /* what the disk says to writes; 0: it takes them */

static int refuse_writes(void *arg, enum fold_io_op op, int fd, const char *name)
{
    (void)arg;
    (void)fd;
    (void)name;
    return op == FOLD_IO_WRITE ? atomic_load(&refusal) : 0;
}

/* What the disk refuses is reported, by the flush and to every handle, and the file ends where its
 * stored content does; what was stored before stays. */
static void refused_by_the_disk(void **state)
{
    (void)state;
    static const int codes[] = {-EIO, -ENOSPC};
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(codes); i++) {
        struct rig r;
        fold_io_set_fault(refuse_writes, NULL); /* before there are threads */
        rig_setup(&r);
        assert_int_equal(rig_write(&r, 0, 30000, false), 0);
        assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
        uint64_t size = r.size;
        assert_int_equal(rig_write(&r, 30000, 30000, false), 0);
        atomic_uint seen = 0;
        atomic_store(&refusal, codes[i]);
        assert_true(fold_flush_inode(r.session, r.inode) < 0);
        atomic_store(&refusal, 0);
        assert_true(fold_data_error(r.inode->data, &seen) < 0);
        assert_int_equal(fold_data_error(r.inode->data, &seen), 0);
        memset(r.model + size, 0, r.size - size);
        r.size = size;
        rig_check(&r);
        (void)rig_unmount(&r); /* the journal may have failed, too: then closing says so */
        rig_mount(&r);
        rig_check(&r);
        rig_teardown(&r);
        fold_io_set_fault(NULL, NULL);
    }
}

/* A file that was cut off a moment ago and is open is being rewritten, as long as the knob says. */
static void being_rewritten(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    assert_int_equal(rig_write(&r, 0, 5000, false), 0);
    assert_int_equal(fold_flush_inode(r.session, r.inode), 0);
    rig_truncate(&r, 0);
    assert_false(fold_flush_rewritten(r.inode)); /* nobody has it open */
    fold_lock_take(&r.inode->lock);
    r.inode->opens++;
    fold_lock_drop(&r.inode->lock);
    assert_true(fold_flush_rewritten(r.inode));
    fold_knobs.rewrite_ms = 0;
    assert_false(fold_flush_rewritten(r.inode));
    fold_lock_take(&r.inode->lock);
    r.inode->opens--;
    fold_lock_drop(&r.inode->lock);
    rig_remount_and_check(&r);
    rig_teardown(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_writes),   cmocka_unit_test(left_dirty),
        cmocka_unit_test(no_memory),       cmocka_unit_test(refused_by_the_disk),
        cmocka_unit_test(being_rewritten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
