/* SPDX-License-Identifier: MIT */
/*
 * The collector ended after each of its steps, as by the death of the process: the volume opens
 * again and every chunk that a recipe names is there with its bytes; the next collection finishes
 * the work. ctest-labels: crash
 */
#include "tests/meta/revive_rig.h"

#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/storeparts.h"

#include <fcntl.h>

#define STEPS 6u

static bool each_third(fold_ino ino)
{
    return ino % 3 == 0;
}

static void death_at_each_step(void **state)
{
    (void)state;
    for (unsigned stop = 1; stop <= STEPS; stop++) {
        prepare();
        uint64_t before = host_bytes();
        collect_and_die(true, stop);
        struct fold_volume *v = open_volume();
        check_kept(v);
        struct fold_collect_result r;
        assert_int_equal(collect(v, true, NULL, &r), 0);
        check_kept(v);
        assert_int_equal(fold_volume_close(v, true), 0);
        assert_true(host_bytes() < before / 2);
        v = open_volume();
        check_kept(v);
        assert_int_equal(fold_volume_close(v, true), 0);
        clean_up();
    }
}

static void what_goes_is_not_found_what_stays_is(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_collect_result r;
    struct fold_loc loc;
    assert_true(find_chunk(v, 2 * PER_INO, &loc));
    /* Without a recipe it goes; afterwards it is not found any more. */
    assert_int_equal(collect(v, true, NULL, &r), 0);
    assert_false(find_chunk(v, 2 * PER_INO, &loc));
    /* What is kept is found, at its new place. */
    assert_true(find_chunk(v, 3 * PER_INO, &loc));
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

/* It finds dead chunks after the marking and names them in a recipe before the files go. */
static void a_writer_revives_dead_chunks(void **state)
{
    (void)state;
    prepare();
    struct revive w = {.v = open_volume(), .dead = 2, .at = 2, .every = 1};
    struct fold_collect_result r;
    collect_beside(&w, true, &r);
    assert_int_equal(w.found, PER_INO);
    assert_int_equal(fold_volume_close(w.v, true), 0);
    clean_up();
}

static void numbers_never_come_back(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        if (kept(ino))
            remove_file(v, ino);
    struct fold_collect_result r;
    assert_int_equal(collect(v, true, NULL, &r), 0);
    assert_true(r.segments_removed > 10);
    assert_int_equal(fold_volume_close(v, true), 0);
    v = open_volume();
    uint8_t bytes[CHUNK];
    fill(bytes, 1);
    struct fold_put put = {.data = bytes, .len = CHUNK, .fp = fp_of(1)};
    assert_int_equal(fold_store_put(v->store, &put, 1), 0);
    assert_true(put.loc.seg > r.segments_removed);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

/* Makes the recipes of the kept files name the places where their chunks are now. */
static fold_lsn lead_recipes(struct fold_volume *v)
{
    fold_lsn lsn = 0;
    for (fold_ino ino = 2; ino < 2 + INODES; ino++) {
        struct fold_page page = {0};
        assert_int_equal(fold_recipe_load(v->catalog, ino, 0, &page), 0);
        for (uint32_t i = 0; i < page.count; i++)
            page.extents[i].loc = fold_store_where(v->store, page.extents[i].loc);
        struct fold_txn *t = fold_txn_begin(v->catalog);
        assert_int_equal(fold_recipe_store(t, ino, 0, &page), 0);
        assert_int_equal(fold_txn_commit(t, &lsn), 0);
        fold_page_fini(&page);
    }
    return lsn;
}

struct tables {
    struct fold_catalog *catalog;
    fold_lsn durable; /* when a forwarding table was removed */
    unsigned removed;
};

static int see_removal(void *arg, enum fold_io_op op, int fd, const char *name)
{
    struct tables *t = arg;
    (void)fd;
    if (op != FOLD_IO_UNLINK || strlen(name) < 4 || strcmp(name + strlen(name) - 4, ".fwd") != 0)
        return 0;
    if (t->removed++ == 0)
        t->durable = fold_catalog_durable(t->catalog);
    return 0;
}

/* Else a power cut could bring recipes back that need them. */
static void tables_stay_until_nothing_durable_names_them(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_collect_result r;
    assert_int_equal(collect(v, true, NULL, &r), 0);
    assert_true(r.segments_copied > 0);
    fold_lsn led = lead_recipes(v);
    struct tables t = {.catalog = v->catalog};
    fold_io_set_fault(see_removal, &t);
    assert_int_equal(collect(v, true, NULL, &r), 0);
    fold_io_set_fault(NULL, NULL);
    assert_int_equal(r.segments_removed, 0);
    assert_true(t.removed > 0);
    assert_true(t.durable >= led);
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

static void forged_tables_cannot_hold_it_up(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_page page = {0};
    assert_int_equal(fold_recipe_load(v->catalog, 3, 0, &page), 0);
    struct fold_loc loc = page.extents[0].loc, next = {loc.seg, loc.off + FOLD_SEG_ALIGN};
    fold_page_fini(&page);
    struct fold_forward_entry ring[] = {{loc.off, next}, {next.off, loc}};
    assert_int_equal(fold_forward_add(v->store->forward, loc.seg, ring, 2), 0);
    struct fold_collect_result r;
    (void)alarm(60);
    assert_int_equal(collect(v, true, NULL, &r), 0);
    (void)alarm(0);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

/* Copies carry checksums of their own: what rots after it was verified must not be copied. */
static void rot_is_not_moved_as_whole(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    check_kept(v);
    struct fold_page page = {0};
    assert_int_equal(fold_recipe_load(v->catalog, 3, 0, &page), 0);
    struct fold_loc loc = page.extents[5].loc;
    fold_page_fini(&page);
    char path[160];
    (void)snprintf(path, sizeof path, "%s/segments/%08x.seg", base, loc.seg);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "rot", 3, loc.off + 1000), 3);
    (void)close(fd);
    struct fold_collect_result r;
    assert_int_equal(collect(v, true, NULL, &r), 0);
    assert_true(r.segments_copied > 0);
    struct fold_view view;
    assert_int_equal(fold_store_view(v->store, loc, &view), -FOLD_E_BAD_RECORD);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(death_at_each_step),
        cmocka_unit_test(what_goes_is_not_found_what_stays_is),
        cmocka_unit_test(a_writer_revives_dead_chunks),
        cmocka_unit_test(numbers_never_come_back),
        cmocka_unit_test(tables_stay_until_nothing_durable_names_them),
        cmocka_unit_test(forged_tables_cannot_hold_it_up),
        cmocka_unit_test(rot_is_not_moved_as_whole),
    };
    kept = each_third;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
