/* SPDX-License-Identifier: MIT */
/* Forwarding tables: resolving, chains, persistence, faults while saving, damage on disk. */
#include "blob_rig.h"

#include "meta/forward.h"

static struct fold_loc resolve(struct fold_forward *f, uint32_t seg, uint32_t off)
{
    return fold_forward_resolve(f, (struct fold_loc){seg, off});
}

static void add(struct fold_forward *f, uint32_t seg, uint32_t off, uint32_t to_seg,
                uint32_t to_off)
{
    struct fold_forward_entry e = {off, {to_seg, to_off}};
    assert_int_equal(fold_forward_add(f, seg, &e, 1), 0);
}

static void expect(struct fold_forward *f, uint32_t seg, uint32_t off, uint32_t to_seg,
                   uint32_t to_off)
{
    struct fold_loc got = resolve(f, seg, off);
    assert_int_equal(got.seg, to_seg);
    assert_int_equal(got.off, to_off);
}

static void open_dir(struct rig *r, struct fold_forward **f)
{
    rig_dir(r);
    fold_log_set_level(FOLD_LOG_ERROR);
    assert_int_equal(fold_forward_open(r->fd, f), 0);
}

static void resolves_and_persists(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    struct fold_forward *f;
    open_dir(&r, &f);
    expect(f, 1, 4096, 1, 4096);
    struct fold_forward_entry e[] = {
        {6000, {2, 64}}, {4096, {2, 16}}, {5008, {2, 32}}, {5008, {2, 48}}};
    assert_int_equal(fold_forward_add(f, 1, e, 4), 0);
    add(f, 1, 4100, 3, 16);
    add(f, 1, 6000, 3, 32);
    add(f, 2, 16, 4, 16); /* a chain */
    for (int again = 0; again < 2; again++) {
        expect(f, 1, 4096, 4, 16);
        expect(f, 1, 4100, 3, 16);
        expect(f, 1, 5008, 2, 48);
        expect(f, 1, 6000, 3, 32);
        expect(f, 1, 4097, 1, 4097);
        expect(f, 1 + 16384, 4096, 1 + 16384, 4096); /* shares the hint of segment 1 */
        assert_true(fold_forward_has(f, 1));
        assert_false(fold_forward_has(f, 3));
        size_t tables;
        size_t entries;
        fold_forward_count(f, &tables, &entries);
        assert_int_equal(tables, 2);
        assert_int_equal(entries, 5);
        fold_forward_close(f);
        assert_int_equal(fold_forward_open(r.fd, &f), 0);
    }
    assert_int_equal(fold_forward_retire(f, 1), 0);
    assert_int_equal(fold_forward_retire(f, 1), 0);
    expect(f, 1, 4096, 1, 4096);
    fold_forward_close(f);
    assert_int_equal(fold_forward_open(r.fd, &f), 0);
    expect(f, 1, 4096, 1, 4096);
    expect(f, 2, 16, 4, 16);
    fold_forward_close(f);
    rig_fini(&r);
}

/* What is seen now is what the next opening sees. */
static void a_failed_change_leaves_no_doubt(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    struct fold_forward *f, *next;
    open_dir(&r, &f);
    add(f, 1, 16, 2, 16);
    for (uint32_t k = 1;; k++) {
        struct rig_fault fault = {.at = (int)k, .rc = -ENOSPC, .only = -1};
        struct fold_forward_entry e = {16 + 16 * k, {2, 16 + 16 * k}};
        fold_io_set_fault(rig_fault_hook, &fault);
        int rc = fold_forward_add(f, 1, &e, 1);
        fold_io_set_fault(NULL, NULL);
        expect(f, 1, 16, 2, 16);
        assert_int_equal(fold_forward_open(r.fd, &next), 0);
        expect(next, 1, 16, 2, 16);
        struct fold_loc seen = resolve(f, 1, e.off);
        expect(next, 1, e.off, seen.seg, seen.off);
        fold_forward_close(next);
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOSPC);
        assert_true(k < 20);
    }
    fold_forward_close(f);
    rig_fini(&r);
}

static void damaged_tables_are_left_out(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    struct fold_forward *f;
    open_dir(&r, &f);
    fold_log_set_level((enum fold_log_level) - 1);
    add(f, 1, 16, 2, 16);
    add(f, 5, 16, 6, 16);
    fold_forward_close(f);
    int fd = rig_file(&r, "00000001.fwd");
    off_t size = rig_size(fd);
    for (off_t at = 0; at < size; at++) {
        rig_flip(fd, at, (unsigned)at % 8);
        assert_int_equal(fold_forward_open(r.fd, &f), 0);
        expect(f, 1, 16, 1, 16);
        expect(f, 5, 16, 6, 16);
        fold_forward_close(f);
        rig_flip(fd, at, (unsigned)at % 8);
    }
    for (off_t len = 0; len < size; len++) {
        assert_int_equal(ftruncate(fd, len), 0);
        assert_int_equal(fold_forward_open(r.fd, &f), 0);
        expect(f, 1, 16, 1, 16);
        fold_forward_close(f);
    }
    (void)close(fd);
    rig_fini(&r);
}

static void a_loop_ends(void **state FOLD_UNUSED)
{
    struct rig r = {0};
    struct fold_forward *f;
    open_dir(&r, &f);
    add(f, 1, 16, 2, 16);
    add(f, 2, 16, 1, 16);
    (void)resolve(f, 1, 16);
    fold_forward_close(f);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolves_and_persists),
        cmocka_unit_test(a_failed_change_leaves_no_doubt),
        cmocka_unit_test(damaged_tables_are_left_out),
        cmocka_unit_test(a_loop_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
