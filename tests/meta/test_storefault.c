/* SPDX-License-Identifier: MIT */
/*
 * Each call into the host filesystem, and each into the database, fails once at every point of a
 * workload. Whatever the store acknowledged must be there afterwards, and the store must work
 * again.
 * ctest-labels: slow
 */
#include "deps_rig.h"

#include "meta/base/knob.h"
#include "meta/kv.h"

#include <pthread.h>

#define BEFORE 20u
#define DURING 120u
#define LEN    2500u

static int kv_hook(void *arg, enum fold_kv_op op FOLD_UNUSED)
{
    struct rig_fault *f = arg;
    return atomic_fetch_add(&f->seen, 1) + 1 == f->at ? f->rc : 0;
}

/* Stores ten chunks with one call; true if it was acknowledged. */
static bool put_ten(struct rig *r, uint64_t from, struct fold_loc *locs)
{
    static uint8_t data[10][LEN];
    struct fold_put puts[10];
    for (uint64_t i = 0; i < 10; i++) {
        rig_fill(from + i, data[i], LEN);
        puts[i] = (struct fold_put){.data = data[i], .len = LEN, .fp = rig_fp(from + i, 16)};
    }
    if (fold_store_put(r->store, puts, 10) < 0)
        return false;
    for (uint64_t i = 0; i < 10; i++)
        locs[from + i] = puts[i].loc;
    return true;
}

/* Opens, stores, syncs, heals and closes with faults possible anywhere; remembers what was
 * acknowledged. */
static void workload(struct rig *r, struct fold_loc *locs, bool *acked)
{
    if (fold_store_open(r->fd, &r->opt, &r->store) < 0) {
        r->store = NULL;
        return;
    }
    for (uint64_t i = BEFORE; i < BEFORE + DURING; i += 10) {
        bool good = put_ten(r, i, locs);
        for (uint64_t k = i; k < i + 10; k++)
            acked[k] = good;
        if (i % 40 == 20)
            (void)!fold_store_sync(r->store);
        struct fold_fp fp = rig_fp(i % 7, 16);
        const struct fold_fp *ask = &fp;
        struct fold_loc loc;
        enum fold_hit hit;
        (void)!fold_store_find(r->store, &ask, 1, true, &loc, &hit);
        (void)rig_read(r->store, locs[3], 3, LEN);
    }
    uint8_t data[LEN];
    struct fold_fp fp = rig_fp(4, 16);
    rig_fill(4, data, LEN);
    (void)!fold_store_heal(r->store, locs[4], data, LEN, &fp);
    (void)fold_store_close(r->store, true);
    r->store = NULL;
}

/* After the fault: all that was acknowledged reads back, and the store takes more. */
static void judge(struct rig *r, const struct fold_loc *locs, const bool *acked)
{
    for (int again = 0; again < 2; again++) {
        rig_open(r);
        for (uint64_t i = 0; i < BEFORE + DURING; i++) {
            if (!acked[i] || i == 4)
                continue;
            struct fold_loc loc;
            enum fold_hit hit;
            assert_int_equal(rig_read(r->store, locs[i], i, LEN), 0);
            assert_true(rig_find(r, i, &loc, &hit));
            assert_int_equal(rig_read(r->store, loc, i, LEN), 0);
        }
        (void)rig_put(r, 1000 + (uint64_t)again, LEN);
        assert_int_equal(fold_store_sync(r->store), 0);
        rig_close(r, true);
    }
}

/* One round with operation number `at` failing; false if the workload has fewer. */
static bool round_with(int at, int rc, int only, bool kv)
{
    static struct fold_loc locs[BEFORE + DURING];
    static bool acked[BEFORE + DURING];
    struct rig r;
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    r.opt.segment_bytes = 64u << 10;
    memset(acked, 0, sizeof acked);
    rig_open(&r);
    for (uint64_t i = 0; i < BEFORE; i += 10)
        assert_true(put_ten(&r, i, locs));
    for (uint64_t i = 0; i < BEFORE; i++)
        acked[i] = true;
    assert_int_equal(fold_store_sync(r.store), 0);
    rig_close(&r, false);
    char name[40];
    (void)snprintf(name, sizeof name, "segments/%08x.seg", locs[4].seg);
    int fd = rig_file(&r, name);
    rig_flip(fd, locs[4].off + 70, 1);
    (void)close(fd);
    struct rig_fault fault = {.at = at, .rc = rc, .only = only};
    if (kv)
        fold_kv_set_fault(kv_hook, &fault);
    else
        fold_io_set_fault(rig_fault_hook, &fault);
    workload(&r, locs, acked);
    fold_io_set_fault(NULL, NULL);
    fold_kv_set_fault(NULL, NULL);
    judge(&r, locs, acked);
    rig_fini(&r);
    return atomic_load(&fault.seen) >= at;
}

/* Every place; under a checker that is slow, every FOLD_FAULT_STEP-th. */
static int step(void)
{
    const char *text = getenv("FOLD_FAULT_STEP");
    long n = text != NULL ? strtol(text, NULL, 10) : 1;
    return n > 0 && n < 1000 ? (int)n : 1;
}

static void each_call_fails_with_eio(void **state FOLD_UNUSED)
{
    int at = 1;
    while (round_with(at, -EIO, -1, false))
        at += step();
    assert_true(at > 40);
}

static void each_call_fails_with_enospc(void **state FOLD_UNUSED)
{
    int at = 1;
    while (round_with(at, -ENOSPC, -1, false))
        at += 2 * step();
    assert_true(at > 40);
}

static void each_write_is_short(void **state FOLD_UNUSED)
{
    int at = 1;
    while (round_with(at, 100, FOLD_IO_WRITE, false))
        at += step();
    assert_true(at > 15);
}

static void each_database_call_fails(void **state FOLD_UNUSED)
{
    int at = 1;
    while (round_with(at, -FOLD_E_CATALOG_IO, -1, true))
        at += (at < 20 ? 1 : 23) * step();
    assert_true(at > 100);
}

static void a_full_disk_stops_nothing_for_long(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_loc loc;
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    struct fold_loc first = rig_put(&r, 1, LEN);
    struct rig_fault fault = {.at = 1, .rc = -ENOSPC, .only = FOLD_IO_WRITE};
    for (int i = 0; i < 3; i++) {
        fault.seen = 0;
        fold_io_set_fault(rig_fault_hook, &fault);
        assert_int_equal(rig_try_put(&r, 3, LEN, &loc), -ENOSPC);
    }
    fold_io_set_fault(NULL, NULL);
    loc = rig_put(&r, 3, LEN);
    assert_int_equal(loc.seg, first.seg);
    assert_int_equal(fold_store_sync(r.store), 0);
    rig_close(&r, true);
    rig_fini(&r);
}

static void a_failed_sync_is_never_forgotten(void **state FOLD_UNUSED)
{
    struct fold_dep deps[FOLD_STORE_MAX_DEPS];
    struct rig r;
    struct fold_loc loc;
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    loc = rig_put(&r, 1, LEN);
    struct rig_fault fault = {.at = 1, .rc = -EIO, .only = FOLD_IO_SYNC};
    fold_io_set_fault(rig_fault_hook, &fault);
    assert_int_equal(fold_store_sync(r.store), -EIO);
    fold_io_set_fault(NULL, NULL);
    assert_int_equal(fold_store_sync(r.store), -EIO);
    assert_int_equal(rig_deps(r.store, deps), 1);
    assert_int_equal(rig_read(r.store, loc, 1, LEN), 0);
    assert_int_equal(rig_try_put(&r, 3, LEN, &loc), -FOLD_E_SICK);
    assert_int_equal(fold_store_close(r.store, true), -EIO);
    r.store = NULL;
    rig_fini(&r);
}

static atomic_bool syncs_wait;
static _Atomic int syncs_return;

static int hold_syncs(void *arg FOLD_UNUSED, enum fold_io_op op, int fd FOLD_UNUSED,
                      const char *name FOLD_UNUSED)
{
    while (op == FOLD_IO_SYNC && atomic_load(&syncs_wait))
        (void)usleep(1000);
    return op == FOLD_IO_SYNC ? atomic_load(&syncs_return) : 0;
}

static void *let_go(void *arg FOLD_UNUSED)
{
    (void)usleep(50000);
    atomic_store(&syncs_wait, false);
    return NULL;
}

/* While syncs hang more segments come to be not durable than a journal record may name. A commit
 * must then wait for the disk, and fail with it: a record that names some would be believed after a
 * power cut that took the others. */
static void more_dependencies_than_can_be_named(void **state FOLD_UNUSED)
{
    static const int outcomes[] = {0, -EIO};
    for (unsigned k = 0; k < 2; k++) {
        struct fold_dep deps[FOLD_STORE_MAX_DEPS];
        struct rig r;
        rig_init(&r);
        fold_log_set_level((enum fold_log_level) - 1);
        fold_knobs.store_deps = 3;
        rig_open(&r);
        atomic_store(&syncs_return, outcomes[k]);
        atomic_store(&syncs_wait, true);
        fold_io_set_fault(hold_syncs, NULL);
        uint32_t first = rig_put(&r, 1, LEN).seg;
        uint64_t seed = 3;
        while (rig_put(&r, seed, LEN).seg < first + 3)
            seed += 2;
        pthread_t thread;
        size_t n = 99;
        assert_int_equal(pthread_create(&thread, NULL, let_go, NULL), 0);
        assert_int_equal(fold_store_deps(r.store, deps, &n), outcomes[k]);
        assert_false(atomic_load(&syncs_wait));
        if (outcomes[k] == 0)
            assert_int_equal(n, 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(fold_store_close(r.store, true), outcomes[k]);
        fold_io_set_fault(NULL, NULL);
        fold_knobs_reset();
        r.store = NULL;
        rig_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_fails_with_eio),
        cmocka_unit_test(each_call_fails_with_enospc),
        cmocka_unit_test(each_write_is_short),
        cmocka_unit_test(each_database_call_fails),
        cmocka_unit_test(a_full_disk_stops_nothing_for_long),
        cmocka_unit_test(a_failed_sync_is_never_forgotten),
        cmocka_unit_test(more_dependencies_than_can_be_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
