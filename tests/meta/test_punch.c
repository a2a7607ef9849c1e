/* SPDX-License-Identifier: MIT */
/*
 * Punching: what is dead in segments that stay goes back to the host, is found by nobody afterwards
 * whatever is rebuilt, and what lives beside it stays whole, also when the process dies at any
 * step. ctest-labels: crash
 */
#include "tests/meta/revive_rig.h"

#include "meta/base/io.h"
#include "meta/base/log.h"
#include "meta/check.h"
#include "meta/gaps.h"
#include "meta/storeparts.h"

#include <errno.h>
#include <fcntl.h>

#define STEPS 8u
/* Chunks of deleted files in runs too short to be punched: where segments end. */
#define FEW 12u

static bool most(fold_ino ino)
{
    return ino % 3 != 0;
}

/* Chunks that are gone are not found, those of kept files are; returns how many deleted ones still
 * are. */
static unsigned deleted_found(struct fold_volume *v)
{
    unsigned n = 0;
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        for (uint32_t i = 0; i < PER_INO; i++) {
            struct fold_loc loc;
            bool is = find_chunk(v, ino * PER_INO + i, &loc);
            if (kept(ino))
                assert_true(is);
            else
                n += is;
        }
    return n;
}

/* What fsck says of segments, chunks and the index. */
static void check_sound(bool data)
{
    struct fold_check_options opt = {.data = data};
    struct fold_check_result r;
    assert_int_equal(fold_check_run(base, &opt, &r), 0);
    for (size_t i = 0; i < r.count; i++) {
        const struct fold_problem *p = &r.problems[i];
        bool ours = strncmp(p->code, "segment.", 8) == 0 || strncmp(p->code, "index.", 6) == 0 ||
                    strncmp(p->code, "chunk.", 6) == 0;
        if (ours && p->severity != FOLD_SEVERITY_NOTE)
            fail_msg("%s: %s: %s", p->code, p->object, p->message);
    }
    fold_check_free(&r);
}

static unsigned gap_files(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/segments", base);
    DIR *d = opendir(path);
    assert_non_null(d);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += fold_gaps_name_parse(e->d_name) != 0;
    closedir(d);
    return n;
}

/* A volume that was collected, and closed again. */
static void prepare_punched(void)
{
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_collect_result r;
    assert_int_equal(collect(v, false, NULL, &r), 0);
    assert_int_equal(fold_volume_close(v, true), 0);
}

static void check_reopened(void)
{
    struct fold_volume *v = open_volume();
    assert_true(deleted_found(v) <= FEW);
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
}

static void remove_index(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s/index", base);
    assert_int_equal(system(command), 0);
}

static void dead_runs_go(void **state)
{
    (void)state;
    prepare();
    uint64_t before = host_bytes();
    struct fold_volume *v = open_volume();
    struct fold_store_info was, is;
    fold_store_info(v->store, &was);
    struct fold_collect_result r;
    assert_int_equal(collect(v, false, NULL, &r), 0);
    assert_true(r.segments_punched > 5);
    assert_int_equal(r.segments_copied, 0);
    fold_store_info(v->store, &is);
    assert_true(is.segment_bytes + r.punched_bytes + r.freed_bytes == was.segment_bytes);
    assert_true(is.garbage_bytes < was.stored_bytes / 20);
    assert_true(is.chunks < was.chunks * 3 / 4);
    assert_true(deleted_found(v) <= FEW);
    check_kept(v);
    /* Another collection finds nothing to do. */
    assert_int_equal(collect(v, false, NULL, &r), 0);
    assert_int_equal(r.segments_punched, 0);
    assert_int_equal(fold_volume_close(v, true), 0);
    assert_true(host_bytes() < before * 3 / 4);
    assert_true(gap_files() > 5);
    check_sound(true);
    v = open_volume();
    struct fold_store_info again;
    fold_store_info(v->store, &again);
    assert_true(again.chunks == is.chunks && again.raw_bytes == is.raw_bytes);
    assert_true(again.segment_bytes == is.segment_bytes);
    assert_true(deleted_found(v) <= FEW);
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

/* The index is made anew from the tables, which still list what was punched. */
static void a_rebuilt_index_does_not_know_them(void **state)
{
    (void)state;
    prepare_punched();
    remove_index();
    check_reopened();
    check_sound(true);
    clean_up();
}

/* With its table damaged a segment is read record by record, over the holes. */
static void a_scan_steps_over_holes(void **state)
{
    (void)state;
    prepare_punched();
    char path[160];
    snprintf(path, sizeof path, "%s/segments/00000002.seg", base);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(pwrite(fd, "?", 1, st.st_size - 100), 1); /* in the table */
    close(fd);
    remove_index();
    check_reopened();
    clean_up();
}

static void death_at_each_step(void **state)
{
    (void)state;
    for (unsigned stop = 1; stop <= STEPS; stop++) {
        prepare();
        uint64_t before = host_bytes();
        collect_and_die(false, stop);
        check_sound(true);
        struct fold_volume *v = open_volume();
        check_kept(v);
        /* What is still found still has its bytes: nothing half gone is believed. */
        if (stop >= 7) {
            assert_true(deleted_found(v) <= FEW);
            assert_true(host_bytes() < before * 3 / 4);
        }
        struct fold_collect_result r;
        assert_int_equal(collect(v, false, NULL, &r), 0);
        assert_true(deleted_found(v) <= FEW);
        check_kept(v);
        assert_int_equal(fold_volume_close(v, true), 0);
        assert_true(host_bytes() < before * 3 / 4);
        check_sound(true);
        clean_up();
    }
}

/* What a writer meets just before its segment is looked at is kept. */
static void revived_chunks_stay(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= STEPS; at++) {
        prepare();
        struct revive w = {.v = open_volume(), .dead = 3, .at = at, .every = 8};
        struct fold_collect_result r;
        collect_beside(&w, false, &r);
        assert_int_equal(w.found, at <= 2 ? PER_INO : 0); /* doomed from then on */
        assert_true(r.segments_punched > 0);
        assert_int_equal(fold_volume_close(w.v, true), 0);
        clean_up();
    }
}

/* A segment with gaps whose rest dies goes as a whole, list and all. */
static void all_goes_in_the_end(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_collect_result r;
    assert_int_equal(collect(v, false, NULL, &r), 0);
    assert_true(gap_files() > 0);
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        if (kept(ino))
            remove_file(v, ino);
    assert_int_equal(collect(v, true, NULL, &r), 0);
    assert_int_equal(gap_files(), 0);
    struct fold_store_info info;
    fold_store_info(v->store, &info);
    assert_int_equal(info.segment_bytes, 0);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
}

/* Fails the sync of the directory after a list of gaps was renamed. */
static int fail_after_rename(void *arg, enum fold_io_op op, int fd, const char *name)
{
    bool *renamed = arg;
    (void)fd;
    if (op == FOLD_IO_RENAME && strstr(name, ".gap.new") != NULL)
        *renamed = true;
    else if (op == FOLD_IO_SYNC && *renamed) {
        *renamed = false;
        return -EIO;
    }
    return 0;
}

static void a_list_that_may_be_there_is_believed(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_collect_result r;
    bool renamed = false;
    fold_log_set_level((enum fold_log_level) - 1);
    fold_io_set_fault(fail_after_rename, &renamed);
    assert_int_equal(collect(v, false, NULL, &r), 0);
    fold_io_set_fault(NULL, NULL);
    fold_log_set_level(FOLD_LOG_ERROR);
    assert_int_equal(r.segments_punched, 0);
    assert_true(gap_files() > 5);
    unsigned known = 0;
    for (uint32_t n = 1; n <= fold_segset_last(v->store->set); n++) {
        const struct fold_seg *seg = fold_segset_get(v->store->set, n);
        known += seg != NULL && atomic_load(&seg->gap_bytes) > 0;
    }
    assert_int_equal(known, gap_files());
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    check_reopened();
    check_sound(true);
    clean_up();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_that_may_be_there_is_believed),
        cmocka_unit_test(dead_runs_go),
        cmocka_unit_test(a_rebuilt_index_does_not_know_them),
        cmocka_unit_test(a_scan_steps_over_holes),
        cmocka_unit_test(death_at_each_step),
        cmocka_unit_test(revived_chunks_stay),
        cmocka_unit_test(all_goes_in_the_end),
    };
    kept = most;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
