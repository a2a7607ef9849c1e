/* SPDX-License-Identifier: MIT */
/*
 * Each call into the host or the database fails once: what was acknowledged is there afterwards,
 * what was refused is not.
 */
#include "tests/meta/catalog_steps.h"

struct countdown {
    int left;
    int rc;
};

static int io_countdown(void *arg, enum fold_io_op op, int fd, const char *name)
{
    struct countdown *d = arg;
    (void)op;
    (void)fd;
    (void)name;
    return --d->left == 0 ? d->rc : 0;
}

static int kv_countdown(void *arg, enum fold_kv_op op)
{
    struct countdown *d = arg;
    (void)op;
    return --d->left == 0 ? d->rc : 0;
}

/* What it names may be gone after a power cut, and the journal record cannot say so. */
static void a_commit_fails_with_the_data_it_needs(void **state)
{
    (void)state;
    struct rig r;
    fold_lsn lsn;
    rig_create(&r);
    commit_many(r.c, 3);
    r.store.deps_rc = -EIO;
    assert_int_equal(commit_next(r.c, &lsn), -EIO);
    r.store.deps_rc = 0;
    assert_int_equal(prefix(r.c), 3);
    commit_many(r.c, 2);
    rig_reopen(&r, false);
    assert_int_equal(prefix(r.c), 5);
    rig_destroy(&r);
}

static void each_failing_call(int rc, bool kv)
{
    bool hit = true;
    for (int nth = 1; hit; nth++) {
        struct rig r;
        rig_create(&r);
        struct countdown d = {nth, rc};
        if (kv)
            fold_kv_set_fault(kv_countdown, &d);
        else
            fold_io_set_fault(io_countdown, &d);
        fold_lsn done = scenario(&r);
        int closed = rig_close(&r, nth % 2 == 0);
        hit = d.left <= 0;
        int rc_open = 0;
        if (!hit) {
            assert_int_equal(closed, 0);
            assert_int_equal(done, 12);
            rc_open = rig_try_open(&r, (struct fold_catalog_options){0});
            hit = d.left <= 0;
        }
        fold_io_set_fault(NULL, NULL);
        fold_kv_set_fault(NULL, NULL);
        if (r.c == NULL) {
            if (!hit)
                assert_int_equal(rc_open, 0);
            rig_open(&r);
        }
        /* Acknowledged commits are there; a refused one is not. */
        assert_int_equal(prefix(r.c), done);
        commit_many(r.c, 1);
        rig_reopen(&r, false);
        assert_int_equal(prefix(r.c), done + 1);
        rig_destroy(&r);
        assert_true(nth < 500);
    }
}

static void failing_host_calls_lose_nothing(void **state)
{
    (void)state;
    each_failing_call(-ENOSPC, false);
    each_failing_call(-EIO, false);
}

static void failing_database_calls_lose_nothing(void **state)
{
    (void)state;
    each_failing_call(-FOLD_E_CATALOG_IO, true);
}

int main(void)
{
    fold_log_set_level(FOLD_LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_commit_fails_with_the_data_it_needs),
        cmocka_unit_test(failing_host_calls_lose_nothing),
        cmocka_unit_test(failing_database_calls_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
