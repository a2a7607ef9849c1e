/* SPDX-License-Identifier: MIT */
/*
 * The index keeps an entry for every stored chunk, whichever of several records of it goes: copies
 * of a collection that was interrupted, and chunks that two writers stored at once.
 * ctest-labels: crash
 */
#include "tests/meta/collect_rig.h"

#include "meta/base/knob.h"
#include "meta/gaps.h"
#include "meta/storeparts.h"

#include <errno.h>

#define STEPS 6u

static bool each_third(fold_ino ino)
{
    return ino % 3 == 0;
}

static unsigned find_lost(struct fold_volume *v, uint32_t seg)
{
    struct fold_seg_entry *entries;
    uint32_t count;
    unsigned lost = 0;
    assert_int_equal(fold_reader_table(v->store->reader, seg, &entries, &count), 0);
    for (uint32_t i = 0; i < count; i++) {
        struct fold_fp fp = {{entries[i].w[0], entries[i].w[1], 0, 0}};
        struct fold_loc loc;
        if (!fold_seg_entry_gone(&entries[i]))
            lost += fold_index_get(v->store->index, &fp, &loc) != 0;
    }
    free(entries);
    return lost;
}

/* Records of sealed segments of which the index knows no record with their fingerprint. */
static unsigned lost_entries(struct fold_volume *v)
{
    unsigned lost = 0;
    assert_int_equal(fold_sealer_flush(v->store->sealer), 0);
    for (uint32_t n = 1; n <= fold_segset_last(v->store->set); n++) {
        const struct fold_seg *seg = fold_segset_get(v->store->set, n);
        if (seg != NULL && atomic_load(&seg->state) == FOLD_SEG_SEALED)
            lost += find_lost(v, n);
    }
    return lost;
}

static void expect_complete(struct fold_volume *v)
{
    assert_int_equal(lost_entries(v), 0);
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        for (uint32_t i = 0; kept(ino) && i < PER_INO; i++) {
            struct fold_loc loc;
            assert_true(find_chunk(v, ino * PER_INO + i, &loc));
        }
}

/* Recipes of the files that prepare() removes, as they were. */
static struct fold_page pages[INODES];

static void name_again(struct fold_volume *v, fold_ino ino, const struct fold_page *page)
{
    struct fold_txn *t = fold_txn_begin(v->catalog);
    struct fold_attr attr = {
        .ino = ino, .mode = S_IFREG | 0600, .nlink = 1, .size = PER_INO * CHUNK};
    fold_inode_store(t, &attr);
    assert_int_equal(fold_recipe_store(t, ino, 0, page), 0);
    fold_lsn lsn;
    assert_int_equal(fold_txn_commit(t, &lsn), 0);
}

static bool all(fold_ino ino)
{
    (void)ino;
    return true;
}

/* A volume whose files are all there, and their recipes in `pages`. */
static struct fold_volume *prepare_all(void)
{
    kept = all;
    prepare();
    struct fold_volume *v = open_volume();
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        assert_int_equal(fold_recipe_load(v->catalog, ino, 0, &pages[ino - 2]), 0);
    return v;
}

/* Nothing that is lost from now on is mended by a collection. */
static void call_complete(struct fold_volume *v)
{
    struct fold_index_load load = {.complete = true};
    assert_int_equal(fold_index_apply(v->store->index, &load), 0);
}

static void remove_some(struct fold_volume *v)
{
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        if (!each_third(ino))
            remove_file(v, ino);
}

/* A power cut undoes deletions that were not durable. */
static void undo_removal(struct fold_volume *v)
{
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        if (!each_third(ino))
            name_again(v, ino, &pages[ino - 2]);
}

static void finish(struct fold_volume *v)
{
    struct fold_collect_result r;
    assert_int_equal(collect(v, true, NULL, &r), 0);
    expect_complete(v);
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    v = open_volume();
    expect_complete(v);
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    for (unsigned i = 0; i < INODES; i++)
        fold_page_fini(&pages[i]);
    clean_up();
}

/* How often the collection asks until the answer is no. */
static bool cut_off(void *arg)
{
    unsigned *left = arg;
    return *left == 0 || --*left == 0;
}

/* Copies of one segment were made durable, and nothing leads to them yet. */
static bool die_after_copying(void *arg)
{
    if (cut_off(arg))
        _exit(77);
    return false;
}

static int collect_with(struct fold_volume *v, struct fold_collect_options opt)
{
    struct fold_gate *gate;
    struct fold_collect_result r;
    assert_int_equal(fold_gate_create(&gate), 0);
    opt.full = true;
    int rc = fold_collect_run(v->store, v->catalog, gate, &opt, &r);
    fold_gate_destroy(gate);
    return rc;
}

static void copies_of_a_cancelled_collection_go(void **state)
{
    (void)state;
    for (unsigned looks = 20; looks <= 620; looks += 120) {
        struct fold_volume *v = prepare_all();
        unsigned left = looks;
        struct fold_collect_options opt = {.arg = &left, .cancelled = cut_off};
        call_complete(v);
        remove_some(v);
        assert_int_equal(collect_with(v, opt), -ECANCELED);
        undo_removal(v);
        finish(v);
    }
}

static void copies_of_a_dead_collection_go(void **state)
{
    (void)state;
    for (unsigned segments = 1; segments < 16; segments += 5) {
        struct fold_volume *v = prepare_all();
        unsigned left = segments;
        struct fold_collect_options opt = {.arg = &left, .busy = die_after_copying};
        int status;
        call_complete(v);
        remove_some(v);
        assert_int_equal(fold_volume_close(v, true), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(collect_with(open_volume(), opt)); /* not reached */
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 77);
        v = open_volume();
        undo_removal(v);
        finish(v);
    }
}

static void death_at_each_step(void **state)
{
    (void)state;
    for (unsigned stop = 1; stop <= STEPS; stop++) {
        kept = each_third;
        prepare();
        collect_and_die(true, stop);
        finish(open_volume());
    }
}

/* Stores every chunk of a file once more and names the new records in the recipe. */
static void store_twice(struct fold_volume *v, fold_ino ino, fold_ino as)
{
    struct fold_page page = {0};
    put_chunks(v, &page, ino * PER_INO, PER_INO, true);
    name_again(v, as, &page);
    fold_page_fini(&page);
}

#define SECOND 1000u /* inode numbers of the files that name the second records */

/* Of two records the earlier or the later one goes, sealed or in an open segment. */
static void one_of_two_records_goes(void **state)
{
    (void)state;
    for (unsigned shape = 0; shape < 4; shape++) {
        bool later_goes = (shape & 1) != 0, open = (shape & 2) != 0;
        struct fold_volume *v = prepare_all();
        call_complete(v);
        for (fold_ino ino = 2; ino < 2 + INODES; ino++)
            store_twice(v, ino, SECOND + ino);
        if (!open) {
            assert_int_equal(fold_volume_close(v, true), 0);
            v = open_volume();
        }
        for (fold_ino ino = 2; ino < 2 + INODES; ino++) {
            remove_file(v, later_goes ? SECOND + ino : ino);
            if (!later_goes) /* kept under its old name for check_kept */
                assert_int_equal(fold_recipe_load(v->catalog, SECOND + ino, 0, &pages[ino - 2]), 0);
        }
        for (fold_ino ino = 2; !later_goes && ino < 2 + INODES; ino++)
            name_again(v, ino, &pages[ino - 2]);
        finish(v);
    }
}

static unsigned forgotten;

static void note_dropped(void *arg, const struct fold_fp *fp)
{
    (void)arg;
    (void)fp;
    forgotten++;
}

/* Whoever keeps fingerprints in memory must not forget one whose other record is not indexed yet.
 */
static void a_record_in_an_open_segment_counts(void **state)
{
    (void)state;
    struct fold_volume *v = prepare_all();
    struct fold_gate *gate;
    struct fold_collect_result r;
    fold_ino last = 1 + INODES;
    for (fold_ino ino = 2; ino < last; ino++)
        remove_file(v, ino);
    store_twice(v, 2, 2);
    assert_int_equal(fold_gate_create(&gate), 0);
    struct fold_collect_options opt = {.dropped = note_dropped};
    forgotten = 0;
    assert_int_equal(fold_collect_run(v->store, v->catalog, gate, &opt, &r), 0);
    fold_gate_destroy(gate);
    assert_int_equal(forgotten, (INODES - 2) * PER_INO);
    for (uint32_t i = 0; i < PER_INO; i++) {
        struct fold_loc loc;
        assert_true(find_chunk(v, 2 * PER_INO + i, &loc));
    }
    assert_int_equal(fold_volume_close(v, true), 0);
    for (unsigned i = 0; i < INODES; i++)
        fold_page_fini(&pages[i]);
    clean_up();
}

static unsigned learnt;

static void note_added(void *arg, const struct fold_fp *fp)
{
    (void)arg;
    (void)fp;
    learnt++;
}

/* A store that an earlier version hurt. */
static void lost_entries_come_back(void **state)
{
    (void)state;
    struct fold_volume *v = prepare_all();
    struct fold_gate *gate;
    struct fold_collect_result r;
    struct fold_index_entry lost[PER_INO];
    for (uint32_t i = 0; i < PER_INO; i++) {
        struct fold_fp fp = fp_of(5 * PER_INO + i);
        lost[i] = (struct fold_index_entry){{fp.w[0], fp.w[1]}, {0, 0}};
    }
    struct fold_index_load load = {.entries = lost, .count = PER_INO};
    assert_int_equal(fold_index_apply(v->store->index, &load), 0);
    assert_int_equal(lost_entries(v), PER_INO);
    fold_knobs.reindex_map_bytes = 1; /* one segment at a time */
    assert_int_equal(fold_gate_create(&gate), 0);
    struct fold_collect_options opt = {.added = note_added};
    learnt = 0;
    assert_int_equal(fold_collect_run(v->store, v->catalog, gate, &opt, &r), 0);
    assert_int_equal(learnt, PER_INO);
    assert_int_equal(r.reindexed, PER_INO);
    expect_complete(v);
    assert_int_equal(fold_collect_run(v->store, v->catalog, gate, &opt, &r), 0);
    assert_int_equal(r.reindexed, 0);
    fold_knobs_reset();
    fold_gate_destroy(gate);
    finish(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_of_a_cancelled_collection_go),
        cmocka_unit_test(copies_of_a_dead_collection_go),
        cmocka_unit_test(death_at_each_step),
        cmocka_unit_test(one_of_two_records_goes),
        cmocka_unit_test(a_record_in_an_open_segment_counts),
        cmocka_unit_test(lost_entries_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
