/* SPDX-License-Identifier: MIT */
/*
 * A frozen file has nothing dirty and nothing hidden, and freezing ends: beside a writer that never
 * rests, with limits so small that a flush takes many windows, and when the disk refuses.
 */
#include "tests/fs/content_rig.h"

#include "fs/freeze.h"
#include "meta/base/io.h"

#include <pthread.h>

struct writer {
    struct rig *rig;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint writes;
};

/* Single bytes at odd places, as fast as it can. */
static void *write_all_the_time(void *arg)
{
    struct writer *w = arg;
    uint64_t seed = 77, dirty;
    while (!atomic_load(&w->stop)) {
        uint8_t byte = (uint8_t)rig_random_mixed(&seed);
        uint64_t off = rig_random_mixed(&seed) % 100000;
        assert_int_equal(
            rig_write_bytes(w->rig->session, w->rig->inode, off, &byte, 1, false, &dirty), 0);
        atomic_fetch_add(&w->writes, 1);
    }
    return NULL;
}

static void check_frozen(const struct rig *r)
{
    const struct fold_data *d = r->inode->data;
    assert_int_equal(d->dirty.bytes, 0);
    assert_int_equal(d->flushing.bytes, 0);
    assert_true(d->hidden_from == UINT64_MAX);
}

static void beside_a_writer(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    fold_knobs.window_slices = 300;
    fold_knobs.window_bytes = 1000;
    fold_knobs.freeze_flushes = 1;
    struct writer w = {.rig = &r};
    assert_int_equal(pthread_create(&w.thread, NULL, write_all_the_time, &w), 0);
    for (unsigned i = 0; i < 8; i++) {
        while (atomic_load(&w.writes) < i * 100)
            (void)sched_yield();
        assert_int_equal(fold_inode_freeze(r.session, r.inode), 0);
        check_frozen(&r);
        fold_inode_thaw(r.session, r.inode);
    }
    atomic_store(&w.stop, true);
    pthread_join(w.thread, NULL);
    rig_teardown(&r);
}

/* What the last of the flushes beside writers leaves is stored under the lock. */
static void each_number_of_flushes(void **state)
{
    (void)state;
    for (uint64_t flushes = 1; flushes <= 2; flushes++) {
        struct rig r;
        rig_setup(&r);
        fold_knobs.freeze_flushes = flushes;
        rig_churn(&r, 100, 3000, 1000);
        rig_truncate(&r, r.size / 2);
        assert_int_equal(fold_inode_freeze(r.session, r.inode), 0);
        check_frozen(&r);
        fold_inode_thaw(r.session, r.inode);
        rig_remount_and_check(&r);
        rig_teardown(&r);
    }
}

/* The same file twice, and a file without any content. */
static void one_or_two(void **state)
{
    (void)state;
    struct rig r;
    rig_setup(&r);
    rig_churn(&r, 50, 3000, 1000);
    assert_int_equal(fold_inode_freeze2(r.session, r.inode, r.inode), 0);
    check_frozen(&r);
    fold_inode_thaw2(r.session, r.inode, r.inode);
    struct fold_attr attr = {.ino = RIG_INO + 1, .mode = S_IFREG | 0644, .nlink = 1};
    struct fold_inode *other;
    assert_int_equal(fold_itable_add(r.session->inodes, &attr, &other), 0);
    rig_churn(&r, 50, 3000, 1000);
    assert_int_equal(fold_inode_freeze2(r.session, other, r.inode), 0);
    check_frozen(&r);
    fold_inode_thaw2(r.session, other, r.inode);
    fold_itable_put(r.session->inodes, other);
    rig_check(&r);
    rig_teardown(&r);
}

static atomic_bool refusing;

static int refuse_writes(void *arg, enum fold_io_op op, int fd, const char *name)
{
    (void)arg;
    (void)fd;
    (void)name;
    return op == FOLD_IO_WRITE && atomic_load(&refusing) ? -EIO : 0;
}

/* No lock is left behind by a failure. */
static void refused_by_the_disk(void **state)
{
    (void)state;
    struct rig r;
    fold_io_set_fault(refuse_writes, NULL); /* before there are threads */
    rig_setup(&r);
    assert_int_equal(rig_write(&r, 0, 30000, false), 0);
    atomic_store(&refusing, true);
    assert_true(fold_inode_freeze(r.session, r.inode) < 0);
    atomic_store(&refusing, false);
    assert_true(fold_turn_try(r.inode));
    fold_turn_drop(r.session, r.inode);
    fold_rwlock_write(&r.inode->data->map);
    fold_rwlock_drop(&r.inode->data->map);
    (void)rig_unmount(&r);
    rig_mount(&r);
    rig_teardown(&r);
    fold_io_set_fault(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beside_a_writer),
        cmocka_unit_test(each_number_of_flushes),
        cmocka_unit_test(one_or_two),
        cmocka_unit_test(refused_by_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
