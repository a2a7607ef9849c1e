/* SPDX-License-Identifier: MIT */
/*
 * The collector ended after each of its steps, as by the death of the process: the volume opens
 * again and every chunk that a recipe names is there with its bytes; the next collection finishes
 * the work. ctest-labels: crash
 */
#include "collect_rig.h"

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
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            struct fold_volume *v = open_volume();
            struct fold_collect_result r;
            _exit(collect(v, true, &stop, &r) == 0 ? 1 : 2); /* not reached: it dies at the step */
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 77);
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
    struct fold_gate *gate;
    assert_int_equal(fold_gate_create(&gate), 0);
    struct fold_collect_result r;
    struct fold_collect_options opt = {.full = true};
    struct fold_fp fp = fp_of(2 * PER_INO);
    const struct fold_fp *fps[] = {&fp};
    struct fold_loc loc;
    enum fold_hit hit;
    assert_int_equal(fold_store_find(v->store, fps, 1, true, &loc, &hit), 0);
    assert_int_not_equal(hit, FOLD_HIT_NONE);
    /* Without a recipe it goes; afterwards it is not found any more. */
    assert_int_equal(fold_collect_run(v->store, v->catalog, gate, &opt, &r), 0);
    assert_int_equal(fold_store_find(v->store, fps, 1, true, &loc, &hit), 0);
    assert_int_equal(hit, FOLD_HIT_NONE);
    /* What is kept is found, at its new place. */
    fp = fp_of(3 * PER_INO);
    assert_int_equal(fold_store_find(v->store, fps, 1, true, &loc, &hit), 0);
    assert_int_not_equal(hit, FOLD_HIT_NONE);
    fold_gate_destroy(gate);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

/* A writer that finds a dead chunk after the marking and names it in a recipe before the files go.
 */
struct revive {
    struct fold_volume *v;
    struct fold_gate *gate;
    bool found;
};

static int revive_at(void *arg, unsigned step)
{
    struct revive *w = arg;
    if (step != 2)
        return 0;
    unsigned token = fold_gate_enter(w->gate);
    struct fold_page page = {0};
    for (uint32_t i = 0; i < PER_INO; i++) {
        struct fold_fp fp = fp_of(2 * PER_INO + i);
        const struct fold_fp *fps[] = {&fp};
        struct fold_loc loc;
        enum fold_hit hit;
        assert_int_equal(fold_store_find(w->v->store, fps, 1, true, &loc, &hit), 0);
        w->found = hit != FOLD_HIT_NONE;
        struct fold_extent e = {
            .off = (uint64_t)i * CHUNK, .len = CHUNK, .loc = loc, .kind = FOLD_EXTENT_DATA};
        assert_int_equal(fold_page_insert(&page, &e), 0);
    }
    struct fold_txn *t = fold_txn_begin(w->v->catalog);
    assert_int_equal(fold_recipe_store(t, 500, 0, &page), 0);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
    fold_page_fini(&page);
    fold_gate_leave(w->gate, token);
    return 0;
}

static void a_writer_revives_a_dead_chunk(void **state)
{
    (void)state;
    prepare();
    struct revive w = {.v = open_volume()};
    assert_int_equal(fold_gate_create(&w.gate), 0);
    struct fold_collect_options opt = {.full = true, .arg = &w, .step = revive_at};
    struct fold_collect_result r;
    assert_int_equal(fold_collect_run(w.v->store, w.v->catalog, w.gate, &opt, &r), 0);
    assert_true(w.found);
    struct fold_page page = {0};
    static uint8_t want[CHUNK], got[CHUNK];
    assert_int_equal(fold_recipe_load(w.v->catalog, 500, 0, &page), 0);
    for (uint32_t i = 0; i < page.count; i++) {
        struct fold_view view;
        assert_int_equal(fold_store_view(w.v->store, page.extents[i].loc, &view), 0);
        assert_int_equal(fold_store_decode(w.v->store, &view, got), 0);
        fold_store_unview(w.v->store, &view);
        fill(want, 2 * PER_INO + i);
        assert_memory_equal(got, want, CHUNK);
    }
    fold_page_fini(&page);
    check_kept(w.v);
    fold_gate_destroy(w.gate);
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
        cmocka_unit_test(a_writer_revives_a_dead_chunk),
        cmocka_unit_test(numbers_never_come_back),
        cmocka_unit_test(tables_stay_until_nothing_durable_names_them),
        cmocka_unit_test(forged_tables_cannot_hold_it_up),
        cmocka_unit_test(rot_is_not_moved_as_whole),
    };
    kept = each_third;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
