/* SPDX-License-Identifier: MIT */
/*
 * The store on a disk that goes bad while it is used: what cannot be read costs what lies there and
 * nothing else, and what was verified once is verified again.
 */
#include "deps_rig.h"

#include "meta/kv.h"
#include "meta/storeparts.h"

#define LEN 3000u
#define N   40u

/* Cuts the file between the look at its size and the mapping: what is behind cannot be read. */
static int cut_once(void *arg, enum fold_io_op op, int fd, const char *name FOLD_UNUSED)
{
    off_t *at = arg;
    if (op == FOLD_IO_MAP && *at > 0) {
        assert_int_equal(ftruncate(fd, *at), 0);
        *at = 0;
    }
    return 0;
}

static void bad_sectors_cost_what_is_in_them(void **state FOLD_UNUSED)
{
    struct fold_loc locs[N];
    struct fold_dep deps[FOLD_STORE_MAX_DEPS];
    struct rig r;
    rig_init(&r);
    r.opt.segment_bytes = 8u << 20;
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    for (uint64_t i = 0; i < N; i++)
        locs[i] = rig_put(&r, i, LEN + (uint32_t)i);
    rig_close(&r, false);
    off_t cut = (off_t)(locs[21].off & ~4095u);
    assert_true(locs[20].off + 64 < cut);
    fold_io_set_fault(cut_once, &cut);
    rig_open(&r);
    fold_io_set_fault(NULL, NULL);
    for (uint64_t i = 0; i < N; i++) {
        int rc = rig_read(r.store, locs[i], i, LEN + (uint32_t)i);
        assert_int_equal(rc == 0, i < 20);
    }
    /* The record that reaches into the unreadable part was written: what needs it may go on. */
    assert_true(fold_store_holds(r.store, (struct fold_dep){locs[0].seg, locs[21].off}));
    assert_false(fold_store_holds(r.store, (struct fold_dep){locs[0].seg, locs[22].off}));
    (void)rig_put(&r, 100, LEN);
    assert_int_equal(rig_deps(r.store, deps) > 0, 1);
    rig_close(&r, true);
    rig_open(&r);
    for (uint64_t i = 0; i < 20; i++)
        assert_int_equal(rig_read(r.store, locs[i], i, LEN + (uint32_t)i), 0);
    rig_close(&r, true);
    rig_fini(&r);
}

static int index_fails(void *arg FOLD_UNUSED, enum fold_kv_op op)
{
    return op == FOLD_KV_GET ? -FOLD_E_BAD_CATALOG : 0;
}

static void a_damaged_index_costs_duplicates_only(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_loc loc;
    enum fold_hit hit;
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    (void)rig_put(&r, 1, LEN);
    rig_close(&r, true);
    rig_open(&r);
    fold_kv_set_fault(index_fails, NULL);
    assert_false(rig_find(&r, 1, &loc, &hit));
    fold_kv_set_fault(NULL, NULL);
    assert_true(rig_find(&r, 1, &loc, &hit));
    rig_close(&r, true);
    rig_fini(&r);
}

static void a_check_of_before_can_be_taken_back(void **state FOLD_UNUSED)
{
    struct rig r;
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    struct fold_loc loc = rig_put(&r, 1, LEN);
    assert_int_equal(rig_read(r.store, loc, 1, LEN), 0);
    int fd = rig_file(&r, "segments/00000001.seg");
    rig_flip(fd, loc.off + 200, 3);
    (void)close(fd);
    fold_reader_distrust(r.store->reader);
    assert_int_equal(rig_read(r.store, loc, 1, LEN), -FOLD_E_BAD_RECORD);
    rig_close(&r, false);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_sectors_cost_what_is_in_them),
        cmocka_unit_test(a_damaged_index_costs_duplicates_only),
        cmocka_unit_test(a_check_of_before_can_be_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
