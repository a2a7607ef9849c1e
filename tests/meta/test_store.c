/* SPDX-License-Identifier: MIT */
/*
 * The store as its users see it: what is put comes back, is found again by fingerprint wherever it
 * is known, survives clean and unclean ends; damage gives errors and never other bytes, and heals.
 */
#include "deps_rig.h"

#define LEN 3000u
#define N   400u

static void put_many(struct rig *r, uint64_t from, uint64_t to, struct fold_loc *locs)
{
    for (uint64_t i = from; i < to; i++)
        locs[i] = rig_put(r, i, LEN + (uint32_t)i);
}

static void check_many(struct rig *r, uint64_t from, uint64_t to, const struct fold_loc *locs)
{
    for (uint64_t i = from; i < to; i++)
        assert_int_equal(rig_read(r->store, locs[i], i, LEN + (uint32_t)i), 0);
}

static void find_many(struct rig *r, uint64_t from, uint64_t to, const struct fold_loc *locs)
{
    for (uint64_t i = from; i < to; i++) {
        struct fold_loc loc;
        enum fold_hit hit;
        assert_true(rig_find(r, i, &loc, &hit));
        assert_true(fold_loc_equal(loc, locs[i]));
    }
}

static void comes_back_in_every_shape(void **state FOLD_UNUSED)
{
    static const uint32_t widths[] = {16, 32};
    static const enum fold_codec codecs[] = {FOLD_CODEC_NONE, FOLD_CODEC_LZ4, FOLD_CODEC_ZSTD};
    for (unsigned k = 0; k < 6; k++) {
        static struct fold_loc locs[N];
        struct rig r;
        struct fold_store_info info;
        rig_init(&r);
        r.opt.fp_width = widths[k % 2];
        r.opt.codec = codecs[k / 2];
        rig_open(&r);
        put_many(&r, 0, N, locs);
        check_many(&r, 0, N, locs);
        find_many(&r, 0, N, locs);
        fold_store_info(r.store, &info);
        assert_int_equal(info.chunks, N);
        assert_true(k / 2 == 0 ? info.stored_bytes > info.raw_bytes
                               : info.stored_bytes < info.raw_bytes * 3 / 4);
        rig_close(&r, true);
        rig_open(&r);
        check_many(&r, 0, N, locs);
        find_many(&r, 0, N, locs);
        fold_store_info(r.store, &info);
        assert_int_equal(info.chunks, N);
        assert_int_equal(info.open_segments, 0);
        rig_fini(&r);
    }
}

static void sizes_from_one_byte_to_four_mib(void **state FOLD_UNUSED)
{
    static const uint32_t lens[] = {1, 2, 15, 16, 17, 4096, 65537, (4u << 20) - 1, 4u << 20};
    struct fold_loc locs[2 * FOLD_ARRAY_LEN(lens)];
    struct fold_loc none;
    struct rig r;
    rig_init(&r);
    r.opt.segment_bytes = 16u << 20;
    rig_open(&r);
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(locs); i++)
        locs[i] = rig_put(&r, i, lens[i / 2]);
    for (unsigned i = 0; i < FOLD_ARRAY_LEN(locs); i++)
        assert_int_equal(rig_read(r.store, locs[i], i, lens[i / 2]), 0);
    assert_int_equal(rig_try_put(&r, 9, (4u << 20) + 1, &none), -EINVAL);
    rig_fini(&r);
}

static void a_call_may_carry_many(void **state FOLD_UNUSED)
{
    enum { MANY = 700 };
    static uint8_t data[MANY][LEN];
    static struct fold_put puts[MANY];
    struct rig r;
    rig_init(&r);
    rig_open(&r);
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t seed = i % 500; /* the last 200 repeat */
        rig_fill(seed, data[i], LEN);
        puts[i] = (struct fold_put){.data = data[i], .len = LEN, .fp = rig_fp(seed, 16)};
    }
    assert_int_equal(fold_store_put(r.store, puts, MANY), 0);
    for (uint64_t i = 0; i < MANY; i++) {
        assert_int_equal(puts[i].found, i >= 500);
        if (i >= 500)
            assert_true(fold_loc_equal(puts[i].loc, puts[i - 500].loc));
        assert_int_equal(rig_read(r.store, puts[i].loc, i % 500, LEN), 0);
    }
    rig_fini(&r);
}

static void equal_fingerprints_do_not_mix_contents(void **state FOLD_UNUSED)
{
    static uint8_t data[4][LEN];
    struct fold_put puts[4];
    struct rig r;
    rig_init(&r);
    rig_open(&r);
    for (uint64_t i = 0; i < 4; i++) {
        rig_fill(i / 2 + 1, data[i], LEN);
        puts[i] = (struct fold_put){.data = data[i], .len = LEN, .fp = rig_fp(7, 16)};
    }
    assert_int_equal(fold_store_put(r.store, puts, 4), 0);
    assert_true(!puts[0].found && puts[1].found && !puts[2].found);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(rig_read(r.store, puts[i].loc, i / 2 + 1, LEN), 0);
    bool equal;
    assert_int_equal(fold_store_compare(r.store, puts[0].loc, data[3], LEN, &equal), 0);
    assert_false(equal);
    assert_int_equal(fold_store_compare(r.store, puts[3].loc, data[3], LEN, &equal), 0);
    assert_true(equal);
    assert_int_equal(fold_store_compare(r.store, puts[3].loc, data[3], LEN - 1, &equal), 0);
    assert_false(equal);
    uint8_t other[LEN];
    rig_fill(77, other, LEN);
    struct fold_put third = {.data = other, .len = LEN, .fp = rig_fp(7, 16)};
    assert_int_equal(fold_store_put(r.store, &third, 1), 0);
    assert_false(third.found);
    assert_int_equal(rig_read(r.store, third.loc, 77, LEN), 0);
    puts[0].force = true;
    struct fold_loc before = puts[0].loc;
    assert_int_equal(fold_store_put(r.store, puts, 1), 0);
    assert_false(puts[0].found || fold_loc_equal(before, puts[0].loc));
    rig_fini(&r);
}

static void wide_fingerprints_are_compared_whole(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_loc loc;
    enum fold_hit hit;
    rig_init(&r);
    r.opt.fp_width = 32;
    for (int indexed = 0; indexed < 2; indexed++) {
        rig_open(&r);
        if (indexed == 0)
            (void)rig_put(&r, 5, LEN);
        struct fold_fp fp = rig_fp(5, 32);
        const struct fold_fp *ask = &fp;
        assert_int_equal(fold_store_find(r.store, &ask, 1, true, &loc, &hit), 0);
        assert_int_equal(hit, indexed == 0 ? FOLD_HIT_OPEN : FOLD_HIT_INDEX);
        fp.w[3] ^= 1;
        assert_int_equal(fold_store_find(r.store, &ask, 1, true, &loc, &hit), 0);
        assert_int_equal(hit, FOLD_HIT_NONE);
        rig_close(&r, true);
    }
    rig_fini(&r);
}

static void hits_come_from_the_right_place(void **state FOLD_UNUSED)
{
    static struct fold_loc locs[N];
    struct fold_loc loc;
    enum fold_hit hit;
    struct rig r;
    rig_init(&r);
    rig_open(&r);
    put_many(&r, 0, N, locs);
    rig_close(&r, true);
    rig_open(&r);
    struct fold_fp fp = rig_fp(0, 16);
    const struct fold_fp *ask = &fp;
    assert_int_equal(fold_store_find(r.store, &ask, 1, false, &loc, &hit), 0);
    assert_int_equal(hit, FOLD_HIT_NONE);
    assert_true(rig_find(&r, 0, &loc, &hit));
    assert_int_equal(hit, FOLD_HIT_INDEX);
    assert_true(rig_find(&r, 1, &loc, &hit));
    assert_int_equal(hit, FOLD_HIT_INDEX);
    assert_true(rig_find(&r, 2, &loc, &hit));
    assert_int_equal(hit, FOLD_HIT_LOCALITY);
    assert_false(rig_find(&r, N, &loc, &hit));
    rig_put(&r, N, LEN);
    assert_true(rig_find(&r, N, &loc, &hit));
    assert_int_equal(hit, FOLD_HIT_OPEN);
    rig_fini(&r);
}

/* Full segments are sealed and indexed behind the writers' backs; the open table does not grow with
 * the data. */
static void full_segments_move_to_the_index(void **state FOLD_UNUSED)
{
    static struct fold_loc locs[N * 4];
    struct fold_loc loc;
    enum fold_hit hit = FOLD_HIT_OPEN;
    struct rig r;
    rig_init(&r);
    r.opt.segment_bytes = 64u << 10;
    rig_open(&r);
    put_many(&r, 0, N * 4, locs);
    for (int i = 0; i < 1000 && hit == FOLD_HIT_OPEN; i++) {
        assert_true(rig_find(&r, 0, &loc, &hit));
        (void)usleep(10000);
    }
    assert_true(hit == FOLD_HIT_INDEX || hit == FOLD_HIT_LOCALITY);
    assert_true(fold_loc_equal(loc, locs[0]));
    rig_fini(&r);
}

static int count_fp(void *arg, const struct fold_fp *fp FOLD_UNUSED,
                    struct fold_loc loc FOLD_UNUSED)
{
    size_t *count = arg;
    return ++*count == 1000 ? -ECANCELED : 0;
}

static void unclean_ends_lose_nothing(void **state FOLD_UNUSED)
{
    static struct fold_loc locs[N];
    struct rig r;
    rig_init(&r);
    r.opt.appenders = 2;
    uint64_t stamp = 0;
    for (uint64_t round = 0; round < 8; round++) {
        rig_open(&r);
        assert_int_equal(fold_store_stamp(r.store), stamp);
        check_many(&r, 0, round * 50, locs);
        find_many(&r, 0, round * 50, locs);
        put_many(&r, round * 50, round * 50 + 50, locs);
        stamp = fold_store_stamp(r.store);
        size_t count = 0;
        assert_int_equal(fold_store_each(r.store, count_fp, &count), 0);
        assert_int_equal(count, round * 50 + 50);
        rig_close(&r, round == 4);
    }
    rig_fini(&r);
}

static void read_only_changes_nothing(void **state FOLD_UNUSED)
{
    static struct fold_loc locs[N];
    struct fold_loc loc;
    struct rig r;
    rig_init(&r);
    rig_open(&r);
    put_many(&r, 0, 150, locs);
    rig_close(&r, false);
    int fd = rig_file(&r, "segments/00000001.seg");
    off_t size = rig_size(fd);
    assert_int_equal(ftruncate(fd, size + 7), 0); /* a torn tail, if it is the open one */
    r.opt.read_only = true;
    rig_open(&r);
    check_many(&r, 0, 150, locs);
    find_many(&r, 0, 150, locs);
    assert_int_equal(rig_try_put(&r, 1000, LEN, &loc), -EROFS);
    assert_int_equal(fold_store_sync(r.store), 0);
    rig_close(&r, true);
    assert_int_equal(rig_size(fd), size + 7);
    (void)close(fd);
    rig_fini(&r);
}

static void dependencies_name_what_is_not_durable(void **state FOLD_UNUSED)
{
    struct fold_dep deps[FOLD_STORE_MAX_DEPS];
    struct rig r;
    rig_init(&r);
    rig_open(&r);
    assert_int_equal(rig_deps(r.store, deps), 0);
    struct fold_loc loc = rig_put(&r, 1, LEN);
    assert_int_equal(rig_deps(r.store, deps), 1);
    assert_int_equal(deps[0].seg, loc.seg);
    assert_true(deps[0].end > loc.off + LEN);
    assert_true(fold_store_holds(r.store, deps[0]));
    assert_false(fold_store_holds(r.store, (struct fold_dep){deps[0].seg, deps[0].end + 1}));
    assert_false(fold_store_holds(r.store, (struct fold_dep){deps[0].seg + 1, 1}));
    assert_int_equal(fold_store_sync(r.store), 0);
    struct fold_dep later[FOLD_STORE_MAX_DEPS];
    assert_int_equal(rig_deps(r.store, later), 0);
    (void)rig_put(&r, 3, LEN);
    assert_int_equal(rig_deps(r.store, later), 1);
    assert_true(later[0].end > deps[0].end);
    rig_close(&r, false);
    /* The second record is lost with the power: only the first dependency holds. */
    char name[40];
    (void)snprintf(name, sizeof name, "segments/%08x.seg", later[0].seg);
    int fd = rig_file(&r, name);
    assert_int_equal(ftruncate(fd, later[0].end - 20), 0);
    (void)close(fd);
    for (int again = 0; again < 3; again++) {
        rig_open(&r);
        assert_true(fold_store_holds(r.store, deps[0]));
        assert_false(fold_store_holds(r.store, later[0]));
        struct fold_loc fresh = rig_put(&r, 100 + (uint64_t)again, LEN);
        assert_int_not_equal(fresh.seg, later[0].seg); /* lost offsets are never used again */
        rig_close(&r, again == 1);
    }
    rig_fini(&r);
}

struct watch {
    struct rig *rig;
    size_t named; /* dependencies when the names of the segments were about to be synced */
};

static int look_at_deps(void *arg, enum fold_io_op op, int fd, const char *name FOLD_UNUSED)
{
    struct watch *w = arg;
    struct fold_dep deps[FOLD_STORE_MAX_DEPS];
    struct stat st;
    if (op == FOLD_IO_SYNC && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        w->named = rig_deps(w->rig->store, deps);
    return 0;
}

static void a_file_without_a_durable_name_is_a_dependency(void **state FOLD_UNUSED)
{
    struct fold_dep deps[FOLD_STORE_MAX_DEPS];
    struct rig r;
    rig_init(&r);
    rig_open(&r);
    (void)rig_put(&r, 1, LEN);
    struct watch w = {.rig = &r};
    fold_io_set_fault(look_at_deps, &w);
    assert_int_equal(fold_store_sync(r.store), 0);
    fold_io_set_fault(NULL, NULL);
    assert_int_equal(w.named, 1);
    assert_int_equal(rig_deps(r.store, deps), 0);
    rig_close(&r, true);
    rig_fini(&r);
}

static void a_gap_in_the_middle_is_remembered(void **state FOLD_UNUSED)
{
    struct fold_dep deps[3][FOLD_STORE_MAX_DEPS];
    struct fold_loc locs[3];
    struct rig r;
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    for (uint64_t i = 0; i < 3; i++) {
        locs[i] = rig_put(&r, i, LEN);
        assert_int_equal(rig_deps(r.store, deps[i]), 1);
    }
    rig_close(&r, false);
    int fd = rig_file(&r, "segments/00000001.seg");
    rig_flip(fd, locs[1].off + 99,
             2); /* a page that never reached the disk before the power went */
    (void)close(fd);
    for (int again = 0; again < 3; again++) {
        rig_open(&r);
        assert_true(fold_store_holds(r.store, deps[0][0]));
        assert_false(fold_store_holds(r.store, deps[1][0]));
        assert_false(fold_store_holds(r.store, deps[2][0]));
        assert_int_equal(rig_read(r.store, locs[0], 0, LEN), 0);
        assert_int_equal(rig_read(r.store, locs[1], 1, LEN), -FOLD_E_BAD_RECORD);
        assert_int_equal(rig_read(r.store, locs[2], 2, LEN), 0);
        rig_close(&r, true);
    }
    rig_fini(&r);
}

static void a_lost_index_is_rebuilt(void **state FOLD_UNUSED)
{
    static struct fold_loc locs[N];
    struct rig r;
    char path[100];
    rig_init(&r);
    rig_open(&r);
    put_many(&r, 0, N, locs);
    rig_close(&r, true);
    (void)snprintf(path, sizeof path, "%s/index", r.path);
    (void)nftw(path, rig_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    rig_open(&r);
    check_many(&r, 0, N, locs);
    find_many(&r, 0, N, locs);
    rig_close(&r, true);
    rig_open(&r);
    find_many(&r, 0, N, locs);
    rig_fini(&r);
}

static void damage_is_found_and_healed(void **state FOLD_UNUSED)
{
    static struct fold_loc locs[N];
    struct fold_store_info info;
    struct rig r;
    rig_init(&r);
    r.opt.segment_bytes = 8u << 20;
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    put_many(&r, 0, 40, locs);
    rig_close(&r, true);
    int fd = rig_file(&r, "segments/00000001.seg");
    rig_flip(fd, locs[10].off + 60, 3); /* payload */
    rig_flip(fd, locs[11].off + 5, 3);  /* header */
    rig_open(&r);
    for (uint64_t i = 10; i < 12; i++) {
        uint8_t data[LEN + N];
        uint32_t len = LEN + (uint32_t)i;
        bool equal = true;
        struct fold_fp fp = rig_fp(i, 16);
        rig_fill(i, data, len);
        assert_int_equal(rig_read(r.store, locs[i], i, len), -FOLD_E_BAD_RECORD);
        assert_int_equal(fold_store_compare(r.store, locs[i], data, len, &equal),
                         -FOLD_E_BAD_RECORD);
        assert_int_equal(fold_store_heal(r.store, locs[i], data, len, &fp), 0);
        assert_int_equal(rig_read(r.store, locs[i], i, len), 0);
        assert_int_equal(fold_store_heal(r.store, locs[i], data, len, &fp), 0); /* nothing to do */
    }
    fold_store_info(r.store, &info);
    assert_int_equal(info.damaged, 2);
    assert_int_equal(info.healed, 2);
    for (int again = 0; again < 3; again++) {
        check_many(&r, 0, 40, locs);
        struct fold_loc loc;
        enum fold_hit hit;
        for (uint64_t i = 0; i < 40; i++) {
            assert_true(rig_find(&r, i, &loc, &hit));
            assert_int_equal(rig_read(r.store, loc, i, LEN + (uint32_t)i), 0);
        }
        rig_close(&r, again == 1);
        rig_open(&r);
    }
    (void)close(fd);
    rig_fini(&r);
}

/* Every bit of a small sealed segment flipped in turn: the right bytes or an error. */
static void no_flip_gives_other_bytes(void **state FOLD_UNUSED)
{
    static struct fold_loc locs[N];
    struct rig r;
    unsigned errors = 0;
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    r.opt.verify = FOLD_VERIFY_ALWAYS;
    rig_open(&r);
    for (uint64_t i = 0; i < 4; i++)
        locs[i] = rig_put(&r, i, 200);
    rig_close(&r, true);
    int fd = rig_file(&r, "segments/00000001.seg");
    off_t size = rig_size(fd);
    rig_open(&r);
    for (off_t at = 0; at < size; at = at == 64 ? 4096 : at + 1) {
        rig_flip(fd, at, (unsigned)at % 8);
        for (uint64_t i = 0; i < 4; i++)
            errors += rig_read(r.store, locs[i], i, 200) != 0;
        rig_flip(fd, at, (unsigned)at % 8);
    }
    assert_true(errors > 4 * 100);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(rig_read(r.store, locs[i], i, 200), 0);
    (void)close(fd);
    rig_fini(&r);
}

/* The same with a segment that was open when the process died, opened again after each flip. */
static void no_flip_survives_recovery(void **state FOLD_UNUSED)
{
    struct fold_loc locs[4];
    struct rig r;
    static uint8_t image[64u << 10];
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    for (uint64_t i = 0; i < 4; i++)
        locs[i] = rig_put(&r, i, 200);
    rig_close(&r, false);
    int fd = rig_file(&r, "segments/00000001.seg");
    off_t size = rig_size(fd);
    assert_int_equal(pread(fd, image, (size_t)size, 0), size);
    for (off_t at = 4096; at < size; at += 5) {
        rig_flip(fd, at, (unsigned)at % 8);
        rig_open(&r);
        struct fold_loc fresh = rig_put(&r, 50, 333); /* must not land on a place that was cut */
        for (uint64_t i = 0; i < 4; i++)
            (void)rig_read(r.store, locs[i], i, 200);
        assert_int_equal(rig_read(r.store, fresh, 50, 333), 0);
        rig_close(&r, false);
        char name[40];
        (void)snprintf(name, sizeof name, "segments/%08x.seg", fresh.seg);
        if (fresh.seg != 1)
            assert_int_equal(unlinkat(r.fd, name, 0), 0);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, image, (size_t)size, 0), size);
    }
    (void)close(fd);
    rig_fini(&r);
}

static void lost_places_are_errors(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_view v;
    rig_init(&r);
    fold_log_set_level((enum fold_log_level) - 1);
    rig_open(&r);
    struct fold_loc loc = rig_put(&r, 1, LEN);
    const struct fold_loc wrong[] = {{0, 0},        {loc.seg, 0},        {loc.seg, loc.off + 16},
                                     {loc.seg, 1},  {loc.seg, 1u << 24}, {loc.seg, UINT32_MAX},
                                     {99, loc.off}, {UINT32_MAX, 4096},  {loc.seg, 4095}};
    for (size_t i = 0; i < FOLD_ARRAY_LEN(wrong); i++) {
        int rc = fold_store_view(r.store, wrong[i], &v);
        assert_true(rc == -FOLD_E_LOST_CHUNK || rc == -FOLD_E_BAD_RECORD);
        fold_store_prefetch(r.store, wrong[i], 1u << 20);
    }
    rig_close(&r, true);
    rig_open(&r);
    int fd = rig_file(&r, "segments/00000001.seg");
    assert_int_equal(ftruncate(fd, 4096), 0); /* behind the back of the running store */
    assert_true(fold_store_view(r.store, loc, &v) < 0);
    (void)close(fd);
    rig_close(&r, false);
    assert_int_equal(unlinkat(r.fd, "segments/00000001.seg", 0), 0);
    rig_open(&r);
    assert_int_equal(fold_store_view(r.store, loc, &v), -FOLD_E_LOST_CHUNK);
    struct fold_loc fresh = rig_put(&r, 1, LEN);
    assert_true(fresh.seg > loc.seg); /* its number is never used again */
    rig_fini(&r);
}

static void pins_can_be_doubled(void **state FOLD_UNUSED)
{
    struct rig r;
    struct fold_view a;
    struct fold_view b;
    rig_init(&r);
    r.opt.codec = FOLD_CODEC_NONE;
    rig_open(&r);
    struct fold_loc loc = rig_put(&r, 1, LEN);
    assert_int_equal(fold_store_view(r.store, loc, &a), 0);
    fold_store_view_dup(r.store, &a, &b);
    fold_store_unview(r.store, &a);
    uint8_t want[LEN];
    rig_fill(1, want, LEN);
    assert_int_equal(b.codec, FOLD_CODEC_NONE);
    assert_memory_equal(b.payload, want, LEN);
    fold_store_unview(r.store, &b);
    fold_store_unview(r.store, &b); /* twice is harmless */
    rig_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_in_every_shape),
        cmocka_unit_test(sizes_from_one_byte_to_four_mib),
        cmocka_unit_test(a_call_may_carry_many),
        cmocka_unit_test(equal_fingerprints_do_not_mix_contents),
        cmocka_unit_test(wide_fingerprints_are_compared_whole),
        cmocka_unit_test(hits_come_from_the_right_place),
        cmocka_unit_test(full_segments_move_to_the_index),
        cmocka_unit_test(unclean_ends_lose_nothing),
        cmocka_unit_test(read_only_changes_nothing),
        cmocka_unit_test(dependencies_name_what_is_not_durable),
        cmocka_unit_test(a_file_without_a_durable_name_is_a_dependency),
        cmocka_unit_test(a_gap_in_the_middle_is_remembered),
        cmocka_unit_test(a_lost_index_is_rebuilt),
        cmocka_unit_test(damage_is_found_and_healed),
        cmocka_unit_test(no_flip_gives_other_bytes),
        cmocka_unit_test(no_flip_survives_recovery),
        cmocka_unit_test(lost_places_are_errors),
        cmocka_unit_test(pins_can_be_doubled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
