/* SPDX-License-Identifier: MIT */
/* A scrub that is ended again and again forgets neither its place nor the damage it found. */
#include "tests/meta/collect_rig.h"

#include "meta/base/knob.h"
#include "meta/scrub.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <fcntl.h>

static bool all(fold_ino ino)
{
    (void)ino;
    return true;
}

static bool believe(void *arg, const void *raw, size_t len, const struct fold_fp *fp)
{
    (void)arg;
    (void)raw;
    (void)len;
    (void)fp;
    return true;
}

/* How often it asks whether to go on: about twice a segment. */
static bool cut_off(void *arg)
{
    unsigned *left = arg;
    return *left > 0 && --*left == 0;
}

static struct fold_scrub_result result;

/* Ends after `looks` looks; 0: never. */
static int scrub(struct fold_volume *v, unsigned looks, bool restart)
{
    struct fold_gate *gate;
    fold_scrub_free(&result);
    assert_int_equal(fold_gate_create(&gate), 0);
    struct fold_scrub_options opt = {
        .arg = &looks, .matches = believe, .cancelled = cut_off, .restart = restart};
    int rc = fold_scrub_run(v->store, v->catalog, gate, v->fd, &opt, &result);
    fold_gate_destroy(gate);
    return rc;
}

static struct fold_loc chunk_of(struct fold_volume *v, fold_ino ino)
{
    struct fold_page page = {0};
    assert_int_equal(fold_recipe_load(v->catalog, ino, 0, &page), 0);
    struct fold_loc loc = page.extents[3].loc;
    fold_page_fini(&page);
    return loc;
}

static void spoil(struct fold_loc loc)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/segments/%08x.seg", base, loc.seg);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "rot", 3, loc.off + 1000), 3);
    (void)close(fd);
}

static bool names(struct fold_loc loc)
{
    for (size_t i = 0; i < result.count; i++)
        if (fold_loc_equal(result.damage[i].loc, loc))
            return result.damage[i].file_count == 1;
    return false;
}

/* Runs it in short pieces until it ends by itself; true if the last one named the damage. */
static bool finish_in_pieces(struct fold_volume *v, struct fold_loc loc, unsigned looks)
{
    unsigned runs = 0;
    int rc;
    while ((rc = scrub(v, looks, false)) == -ECANCELED)
        assert_true(++runs < 1000);
    assert_int_equal(rc, 0);
    return names(loc);
}

static void damage_found_is_found_again(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_loc early = chunk_of(v, 3), late = chunk_of(v, 1 + INODES);
    spoil(early);
    assert_int_equal(scrub(v, 14, true), -ECANCELED);
    assert_true(names(early));
    /* The next run goes on where this one was, and names the damage all the same. */
    assert_int_equal(scrub(v, 0, false), 0);
    assert_true(result.resumed_at > early.seg && names(early));
    assert_int_equal(result.count, 1);
    assert_true(fold_reader_damaged(v->store->reader) == 1);
    /* A whole run names it, too. */
    assert_int_equal(scrub(v, 0, false), 0);
    assert_true(result.resumed_at == 0 && names(early));

    /* Across a remount, and with more damage behind. */
    assert_int_equal(scrub(v, 14, true), -ECANCELED);
    assert_int_equal(fold_volume_close(v, true), 0);
    spoil(late);
    v = open_volume();
    assert_true(finish_in_pieces(v, early, 20));
    assert_true(names(late));

    /* Nothing is said of what was healed meanwhile. */
    static uint8_t bytes[CHUNK];
    struct fold_fp fp = fp_of(3 * PER_INO + 3);
    assert_int_equal(scrub(v, 14, true), -ECANCELED);
    fill(bytes, 3 * PER_INO + 3);
    assert_int_equal(fold_store_heal(v->store, early, bytes, CHUNK, &fp), 0);
    assert_false(finish_in_pieces(v, early, 20));
    assert_true(names(late));
    fold_scrub_free(&result);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

/* What cannot be remembered is read again. */
static void more_damage_than_can_be_listed(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_loc loc = chunk_of(v, 3);
    spoil(loc);
    fold_knobs.scrub_bad_segments = 0;
    assert_int_equal(scrub(v, 14, true), -ECANCELED);
    assert_int_equal(scrub(v, 0, false), 0);
    assert_true(result.resumed_at == loc.seg && names(loc));
    fold_knobs_reset();
    fold_scrub_free(&result);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_found_is_found_again),
        cmocka_unit_test(more_damage_than_can_be_listed),
    };
    kept = all;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
