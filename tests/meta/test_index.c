/* SPDX-License-Identifier: MIT */
/* The fingerprint index: loads, lookups, summaries, persistence, faults, and a damaged database. */
#include "blob_rig.h"

#include "meta/index.h"
#include "meta/kv.h"

#define PER_SEG 300u

static struct fold_seg_summary summary(uint32_t seg)
{
    return (struct fold_seg_summary){
        .ident = {seg, 16, rig_mix(seg), 1u << 20},
        .file_bytes = (uint32_t)fold_seg_sealed_bytes(40960, PER_SEG),
        .data_end = 40960,
        .whole_end = 40960,
        .count = PER_SEG,
    };
}

static int load_segment(struct fold_index *ix, uint32_t seg)
{
    struct fold_index_entry e[PER_SEG];
    struct fold_seg_summary sum = summary(seg);
    for (uint32_t i = 0; i < PER_SEG; i++) {
        struct fold_fp fp = rig_fp((uint64_t)seg << 32 | i, 16);
        e[i] = (struct fold_index_entry){{fp.w[0], fp.w[1]}, {seg, 4096 + 16 * i}};
    }
    struct fold_index_load load = {.entries = e, .count = PER_SEG, .added = &sum, .added_count = 1};
    return fold_index_apply(ix, &load);
}

static size_t found_of(struct fold_index *ix, uint32_t seg)
{
    size_t found = 0;
    for (uint32_t i = 0; i < PER_SEG; i++) {
        struct fold_fp fp = rig_fp((uint64_t)seg << 32 | i, 16);
        struct fold_loc loc;
        int rc = fold_index_get(ix, &fp, &loc);
        if (rc == -ENOENT)
            continue;
        assert_int_equal(rc, 0);
        assert_int_equal(loc.seg, seg);
        assert_int_equal(loc.off, 4096 + 16 * i);
        found++;
    }
    return found;
}

static int count_summary(void *arg, const struct fold_seg_summary *sum)
{
    uint32_t *count = arg;
    struct fold_seg_summary want = summary(sum->ident.seg);
    assert_true(sum->ident.salt == want.ident.salt);
    assert_true(sum->ident.seg > *count / 1000); /* rising */
    *count = *count % 1000 + 1 + sum->ident.seg * 1000;
    return 0;
}

static int count_fp(void *arg, const struct fold_fp *fp FOLD_UNUSED, struct fold_loc loc)
{
    size_t *count = arg;
    assert_true(loc.seg > 0);
    ++*count;
    return 0;
}

static void expect(struct fold_index *ix, uint32_t segments, size_t fps)
{
    uint32_t sums = 0;
    size_t count = 0;
    assert_int_equal(fold_index_summaries(ix, count_summary, &sums), 0);
    assert_int_equal(sums % 1000, segments);
    assert_int_equal(fold_index_each(ix, count_fp, &count), 0);
    assert_int_equal(count, fps);
}

static void loads_and_persists(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_index *ix;
    rig_init(&r);
    assert_int_equal(fold_index_open(r.fd, 0, false, &ix), 0);
    expect(ix, 0, 0);
    for (uint32_t seg = 1; seg <= 6; seg++)
        assert_int_equal(load_segment(ix, seg), 0);
    assert_int_equal(fold_index_generation(ix), 6);
    uint32_t gone[] = {4, 2};
    struct fold_fp fp = rig_fp(UINT64_C(2) << 32 | 7, 16);
    struct fold_index_entry del = {{fp.w[0], fp.w[1]}, {0, 0}};
    struct fold_index_load load = {.entries = &del, .count = 1, .gone = gone, .gone_count = 2};
    assert_int_equal(fold_index_apply(ix, &load), 0);
    for (int again = 0; again < 3; again++) {
        expect(ix, 4, 6 * PER_SEG - 1);
        assert_int_equal(found_of(ix, 1), PER_SEG);
        assert_int_equal(found_of(ix, 2), PER_SEG - 1);
        assert_int_equal(found_of(ix, 9), 0);
        assert_int_equal(fold_index_generation(ix), 7);
        assert_true(fold_index_bytes(ix) > 0);
        fold_index_close(ix);
        assert_int_equal(fold_index_open(r.fd, 1u << 20, again == 0, &ix), 0);
    }
    fold_index_close(ix);
    rig_fini(&r);
}

static void equal_keys_take_the_last_place(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_index *ix;
    struct fold_loc loc;
    rig_init(&r);
    assert_int_equal(fold_index_open(r.fd, 0, false, &ix), 0);
    struct fold_fp fp = rig_fp(1, 16);
    struct fold_index_entry e[] = {{{fp.w[0], fp.w[1]}, {3, 32}},
                                   {{fp.w[0], fp.w[1]}, {3, 48}},
                                   {{fp.w[0], fp.w[1]}, {2, 64}}};
    struct fold_index_load load = {.entries = e, .count = 3};
    assert_int_equal(fold_index_apply(ix, &load), 0);
    assert_int_equal(fold_index_get(ix, &fp, &loc), 0);
    assert_int_equal(loc.seg, 3);
    assert_int_equal(loc.off, 48);
    fold_index_close(ix);
    rig_fini(&r);
}

static int kv_fault_hook(void *arg, enum fold_kv_op op FOLD_UNUSED)
{
    struct rig_fault *f = arg;
    return ++f->seen == f->at ? f->rc : 0;
}

static void a_failed_load_shows_nothing(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_index *ix;
    rig_init(&r);
    assert_int_equal(fold_index_open(r.fd, 0, false, &ix), 0);
    static const int points[] = {1,           2,           100,         PER_SEG + 1,
                                 PER_SEG + 2, PER_SEG + 3, PER_SEG + 4, PER_SEG + 5};
    int failures = 0;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(points); i++) {
        struct rig_fault fault = {.at = points[i], .rc = -ENOSPC};
        fold_kv_set_fault(kv_fault_hook, &fault);
        int rc = load_segment(ix, 1);
        fold_kv_set_fault(NULL, NULL);
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOSPC);
        failures++;
        expect(ix, 0, 0);
        assert_int_equal(fold_index_generation(ix), 0);
    }
    assert_true(failures >= 6);
    assert_int_equal(load_segment(ix, 1), 0);
    expect(ix, 1, PER_SEG);
    fold_index_close(ix);
    rig_fini(&r);
}

static int smash(void *arg, const char *name)
{
    const struct rig *r = arg;
    char path[300];
    if (strncmp(name, "MANIFEST", 8) != 0)
        return 0;
    (void)snprintf(path, sizeof path, "index/%s", name);
    int fd = rig_file(r, path);
    assert_int_equal(ftruncate(fd, 5), 0);
    (void)close(fd);
    return 0;
}

static void a_damaged_database_is_replaced(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_index *ix;
    rig_init(&r);
    assert_int_equal(fold_index_open(r.fd, 0, false, &ix), 0);
    assert_int_equal(load_segment(ix, 1), 0);
    fold_index_close(ix);
    int dirfd = openat(r.fd, "index", O_RDONLY | O_DIRECTORY);
    assert_int_equal(fold_io_list(dirfd, smash, &r), 0);
    (void)close(dirfd);
    fold_log_set_level((enum fold_log_level) - 1);
    assert_true(fold_index_open(r.fd, 0, true, &ix) < 0);
    assert_int_equal(fold_index_open(r.fd, 0, false, &ix), 0);
    expect(ix, 0, 0);
    assert_int_equal(load_segment(ix, 1), 0);
    expect(ix, 1, PER_SEG);
    fold_index_close(ix);
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_and_persists),
        cmocka_unit_test(equal_keys_take_the_last_place),
        cmocka_unit_test(a_failed_load_shows_nothing),
        cmocka_unit_test(a_damaged_database_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
