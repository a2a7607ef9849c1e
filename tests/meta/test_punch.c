/* SPDX-License-Identifier: MIT */
/*
 * Punching: what is dead in segments that stay goes back to the host, is found by nobody afterwards
 * whatever is rebuilt, and what lives beside it stays whole, also when the process dies at any
 * step. ctest-labels: crash
 */
#include "collect_rig.h"

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

static bool found(struct fold_volume *v, uint32_t seed)
{
    struct fold_fp fp = fp_of(seed);
    const struct fold_fp *fps[] = {&fp};
    struct fold_loc loc;
    enum fold_hit hit;
    assert_int_equal(fold_store_find(v->store, fps, 1, true, &loc, &hit), 0);
    return hit != FOLD_HIT_NONE;
}

/* Chunks that are gone are not found, those of kept files are; returns how many deleted ones still
 * are. */
static unsigned deleted_found(struct fold_volume *v)
{
    unsigned n = 0;
    for (fold_ino ino = 2; ino < 2 + INODES; ino++)
        for (uint32_t i = 0; i < PER_INO; i++) {
            bool is = found(v, (uint32_t)ino * PER_INO + i);
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
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_collect_result r;
    assert_int_equal(collect(v, false, NULL, &r), 0);
    assert_int_equal(fold_volume_close(v, true), 0);
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s/index", base);
    assert_int_equal(system(command), 0);
    v = open_volume();
    assert_true(deleted_found(v) <= FEW);
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    check_sound(true);
    clean_up();
}

/* With its table damaged a segment is read record by record, over the holes. */
static void a_scan_steps_over_holes(void **state)
{
    (void)state;
    prepare();
    struct fold_volume *v = open_volume();
    struct fold_collect_result r;
    assert_int_equal(collect(v, false, NULL, &r), 0);
    assert_int_equal(fold_volume_close(v, true), 0);
    char path[160];
    snprintf(path, sizeof path, "%s/segments/00000002.seg", base);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(pwrite(fd, "?", 1, st.st_size - 100), 1); /* in the table */
    close(fd);
    snprintf(path, sizeof path, "rm -rf %s/index", base);
    assert_int_equal(system(path), 0);
    v = open_volume();
    assert_true(deleted_found(v) <= FEW);
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
    clean_up();
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
            _exit(collect(v, false, &stop, &r) == 0 ? 1 : 2); /* not reached: it dies at the step */
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 77);
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

/* A writer that meets dead chunks just before their segment is looked at keeps them. */
struct revive {
    struct fold_volume *v;
    struct fold_gate *gate;
    unsigned at;
    unsigned found;
};

static int revive_at(void *arg, unsigned step)
{
    struct revive *w = arg;
    if (step != w->at)
        return 0;
    unsigned token = fold_gate_enter(w->gate);
    struct fold_page page = {0};
    for (uint32_t i = 0; i < PER_INO; i++) {
        struct fold_fp fp = fp_of(3 * PER_INO + i);
        const struct fold_fp *fps[] = {&fp};
        struct fold_loc loc;
        enum fold_hit hit;
        assert_int_equal(fold_store_find(w->v->store, fps, 1, true, &loc, &hit), 0);
        w->found += hit != FOLD_HIT_NONE;
        struct fold_extent e = {
            .off = (uint64_t)i * CHUNK, .len = CHUNK, .loc = loc, .kind = FOLD_EXTENT_DATA};
        if (hit != FOLD_HIT_NONE && i % 8 == 3)
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

static void revived_chunks_stay(void **state)
{
    (void)state;
    static uint8_t want[CHUNK], got[CHUNK];
    for (unsigned at = 1; at <= STEPS; at++) {
        prepare();
        struct revive w = {.v = open_volume(), .at = at};
        assert_int_equal(fold_gate_create(&w.gate), 0);
        struct fold_collect_options opt = {.arg = &w, .step = revive_at};
        struct fold_collect_result r;
        assert_int_equal(fold_collect_run(w.v->store, w.v->catalog, w.gate, &opt, &r), 0);
        assert_int_equal(w.found, at <= 2 ? PER_INO : 0); /* doomed from then on */
        assert_true(r.segments_punched > 0);
        struct fold_page page = {0};
        assert_int_equal(fold_recipe_load(w.v->catalog, 500, 0, &page), 0);
        for (uint32_t i = 0; i < page.count; i++) {
            struct fold_view view;
            assert_int_equal(fold_store_view(w.v->store, page.extents[i].loc, &view), 0);
            assert_int_equal(fold_store_decode(w.v->store, &view, got), 0);
            fold_store_unview(w.v->store, &view);
            fill(want, 3 * PER_INO + (uint32_t)(page.extents[i].off / CHUNK));
            assert_memory_equal(got, want, CHUNK);
        }
        fold_page_fini(&page);
        check_kept(w.v);
        fold_gate_destroy(w.gate);
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
    v = open_volume();
    assert_true(deleted_found(v) <= FEW);
    check_kept(v);
    assert_int_equal(fold_volume_close(v, true), 0);
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
